// SPDX-License-Identifier: BSD-3-Clause
// Simplification keeps every bit: what a graph computes as it was recorded and as the builder makes
// it are compared through the interpreter, at zeros of both signs, infinities, NaN and overflows.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "../support/graph_generator.hpp"
#include <doctest/doctest.h>

#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/graph/text.hpp>

namespace {

using namespace support;
namespace exec = heddle::exec;
using id = std::uint16_t;

constexpr double infinity = std::numeric_limits<double>::infinity();
const double points[] = {0.0, -0.0, 1.5, -1.5, 3.0, infinity, -infinity, std::nan("")};

/// Records nodes as they are: x and y over axis 0 take all pairs of `points`, `up` and
/// `alternating` over axis 1 are 1, 1, 1 and 1, -1, 1.
struct recording {
  graph::builder b;
  dtype type;
  id x = 0, y = 0, up = 0, alternating = 0;

  explicit recording(dtype t) : type(t) {
    b.tracing = true;
    x = input(0, 0);
    y = input(1, 0);
    up = input(2, 1);
    alternating = input(3, 1);
  }
  id emit(graph::node n) {
    n.varies = graph::varies_of(b.nodes(), n);
    return b.emit(n);
  }
  id input(int slot, unsigned axis) {
    return emit({.code = op::input,
                 .type = type,
                 .a = static_cast<id>(slot),
                 .extra = graph::with_axis(graph::empty_map, 0, axis)});
  }
  id number(double value) {
    return emit({.code = op::constant, .type = type, .extra = std::bit_cast<std::uint64_t>(value)});
  }
  id one(op code, id a, std::uint64_t extra = 0) {
    return emit({.code = code, .type = type, .a = a, .extra = extra});
  }
  id two(op code, id a, id c) { return emit({.code = code, .type = type, .a = a, .b = c}); }
  id as(dtype to, id a) {
    type = to;
    return emit({.code = op::cast, .type = to, .a = a});
  }
};

/// The values over axis 0 of a graph, in double.
std::vector<double> values_of(const graph::graph& g, dtype type, std::int64_t second_extent) {
  std::vector<double> wide[4];
  for (int i = 0; i < 64; ++i) {
    wide[0].push_back(points[i % 8]);
    wide[1].push_back(points[i / 8]);
  }
  wide[2] = {1, 1, 1};
  wide[3] = {1, -1, 1};
  std::vector<std::byte> memory[4];
  exec::operand in[4];
  for (int k = 0; k < 4; ++k) {
    for (const double v : wide[k]) {
      const auto append = [&](auto element) {
        const auto* bytes = reinterpret_cast<const std::byte*>(&element);
        memory[k].insert(memory[k].end(), bytes, bytes + sizeof element);
      };
      if (type == dtype::f64) append(v);
      if (type == dtype::f32) append(static_cast<float>(v));
      if (type == dtype::bf16) append(heddle::bfloat16(v));
      if (type == dtype::f16) append(heddle::float16(v));
    }
    in[k].data = memory[k].data();
    in[k].strides[0] = 1;
  }
  std::vector<double> result(64, 77.0);
  exec::operand out;
  out.data = reinterpret_cast<std::byte*>(result.data());
  out.strides[0] = 1;
  exec::launch l;
  for (std::int64_t& e : l.extents) e = 1;
  l.extents[0] = 64;
  l.extents[1] = second_extent;
  l.inputs = in;
  l.outputs = &out;
  exec::interpret(g, l);
  return result;
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool same =
        std::isnan(a[i]) ? std::isnan(b[i]) : std::memcmp(&a[i], &b[i], sizeof(double)) == 0;
    if (!same) return false;
  }
  return true;
}

/// Checks what `record` records, for each dtype and with 3, 1 and no elements along axis 1.
template <class Record>
void check_kept(const std::string& what, std::initializer_list<dtype> types, Record record) {
  for (const dtype type : types) {
    recording r(type);
    const id root = record(r);
    r.emit({.code = op::store,
            .type = dtype::f64,
            .a = root,
            .b = 0,
            .extra = graph::with_axis(graph::empty_map, 0, 0)});
    graph::graph raw;
    raw.nodes = r.b.nodes();
    const graph::graph simplified = rebuilt(raw);
    for (const std::int64_t extent : {3, 1, 0}) {
      const std::vector<double> want = values_of(raw, type, extent);
      const std::vector<double> got = values_of(simplified, type, extent);
      CHECK_MESSAGE(same_bits(got, want), what << " in " << heddle::name_of(type) << ", " << extent
                                               << " elements along axis 1:\n"
                                               << graph::to_text(simplified));
    }
  }
}

constexpr auto floating = {dtype::f64, dtype::f32, dtype::bf16, dtype::f16};

}  // namespace

TEST_CASE("the difference of equal values, negated, is -0") {
  check_kept("-(x - y)", floating,
             [](recording& r) { return r.one(op::neg, r.two(op::sub, r.x, r.y)); });
}

TEST_CASE("adding or subtracting a zero keeps the sign that IEEE 754 gives the result") {
  for (const double zero : {0.0, -0.0}) {
    check_kept("x + 0", floating,
               [&](recording& r) { return r.two(op::add, r.x, r.number(zero)); });
    check_kept("0 + x", floating,
               [&](recording& r) { return r.two(op::add, r.number(zero), r.x); });
    check_kept("x - 0", floating,
               [&](recording& r) { return r.two(op::sub, r.x, r.number(zero)); });
    check_kept("0 - x", floating,
               [&](recording& r) { return r.two(op::sub, r.number(zero), r.x); });
  }
}

TEST_CASE("the larger and the smaller of +0 and -0 are the second operand") {
  for (const op code : {op::maximum, op::minimum}) {
    check_kept("the larger", floating, [&](recording& r) { return r.two(code, r.x, r.y); });
    check_kept("the larger", floating, [&](recording& r) { return r.two(code, r.y, r.x); });
  }
}

TEST_CASE("a sum of negated values is +0 where they are zeros") {
  check_kept("sum(-x)", floating, [](recording& r) {
    return r.one(op::sum, r.one(op::neg, r.two(op::mul, r.x, r.up)), 2);
  });
}

TEST_CASE("a sum of scaled values has the sign, the infinities and the NaN of its terms") {
  for (const double factor : {-2.0, 1e308, 1e38, 1e-308, 1e-38, -1.0, 1.0}) {
    for (const op code : {op::mul, op::div}) {
      check_kept("sum(c x)", {dtype::f64, dtype::f32}, [&](recording& r) {
        const id x = r.two(op::mul, r.x, r.alternating);
        return r.one(op::sum, r.two(code, x, r.number(factor)), 2);
      });
    }
  }
}

TEST_CASE("a sum along axes on which its operand is constant is +0 for -0 and for no elements") {
  check_kept("sum", floating, [](recording& r) { return r.one(op::sum, r.x, 2); });
  check_kept("sum over both", floating, [](recording& r) { return r.one(op::sum, r.x, 3); });
  check_kept("sum of a zero", floating,
             [](recording& r) { return r.one(op::sum, r.number(-0.0), 2); });
}

TEST_CASE("negation moves through products, quotients and sums without a change") {
  const auto neg = [](recording& r, id a) { return r.one(op::neg, a); };
  for (const op code : {op::add, op::sub, op::mul, op::div}) {
    check_kept("(-x) y", floating, [&](recording& r) { return r.two(code, neg(r, r.x), r.y); });
    check_kept("x (-y)", floating, [&](recording& r) { return r.two(code, r.x, neg(r, r.y)); });
    check_kept("(-x) (-y)", floating,
               [&](recording& r) { return r.two(code, neg(r, r.x), neg(r, r.y)); });
    check_kept("(-x) y, y being the later node", floating, [&](recording& r) {
      const id negative = neg(r, r.x);
      return r.two(code, negative, r.one(op::detach, r.y));
    });
    for (const double one : {1.0, -1.0}) {
      check_kept("x 1", floating, [&](recording& r) { return r.two(code, r.x, r.number(one)); });
      check_kept("1 x", floating, [&](recording& r) { return r.two(code, r.number(one), r.x); });
    }
  }
  check_kept("-(-x)", floating, [&](recording& r) { return neg(r, neg(r, r.x)); });
}

TEST_CASE("constants are folded as they would be computed, overflow and underflow included") {
  const double numbers[] = {0.0,   -0.0, 1.0,  -1.0,  0.1,   1e8,    -1e8,  65504.0, 1e30,
                            -1e30, 3e38, 1e39, 1e308, 1e-30, -1e-30, 1e-50, 2e-308,  infinity};
  for (const double a : numbers) {
    for (const double c : numbers) {
      for (const op code : {op::add, op::sub, op::mul, op::div}) {
        check_kept("a c, then x", {dtype::f64, dtype::f32, dtype::f16}, [&](recording& r) {
          const id folded = r.two(code, r.number(a), r.number(c));
          return r.two(op::div, r.x, r.two(op::mul, folded, r.one(op::neg, r.number(a))));
        });
      }
    }
    for (const dtype to : {dtype::f64, dtype::f32, dtype::f16}) {
      check_kept("a widened", floating, [&](recording& r) {
        const id x = r.emit({.code = op::cast, .type = to, .a = r.x});
        return r.two(op::div, x, r.as(to, r.number(a)));
      });
    }
  }
}

TEST_CASE("a 16-bit value is rounded by a cast to its own dtype") {
  check_kept("f16 of x 30000", {dtype::f16, dtype::bf16}, [](recording& r) {
    const id large = r.two(op::mul, r.x, r.number(30001));
    return r.two(op::sub, r.as(r.type, large), large);
  });
}

TEST_CASE("an extremum over an empty axis stays one when a choice between equals disappears") {
  check_kept("amin(where(c, x, x))", {dtype::f64, dtype::f32}, [](recording& r) {
    const id chosen = r.emit({.code = op::where,
                              .type = r.type,
                              .a = r.emit({.code = op::cast, .type = dtype::boolean, .a = r.up}),
                              .b = r.x,
                              .c = r.x});
    return r.one(op::amin, chosen, 2);
  });
}

TEST_CASE("a number negated twice as a truth is a truth") {
  graph::builder b;
  const id x = b.constant(dtype::i64, 5);
  const auto negation = [&](id a) { return b.unary(op::logical_not, dtype::boolean, a); };
  CHECK(b[negation(negation(x))].type == dtype::boolean);
  const id truth = b.cast(dtype::boolean, x);
  CHECK(negation(negation(truth)) == truth);
}
