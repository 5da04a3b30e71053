// SPDX-License-Identifier: BSD-3-Clause
// The graph itself: list, encoding, simplification, sharing, frames, freezing, printing.
#include <string>

#include <doctest/doctest.h>

#include <heddle/graph/passes/schedule.hpp>
#include <heddle/graph/program.hpp>
#include <heddle/graph/text.hpp>

using heddle::dtype;
using heddle::op;
using heddle::symbol;
namespace graph = heddle::graph;

namespace {

using id = std::uint16_t;

id input(graph::builder& b, int slot, dtype type = dtype::f32, graph::axis_map map = 0xFFFFFFF0u) {
  return b.emit({.code = op::input, .type = type, .a = static_cast<id>(slot), .extra = map});
}

template <class F>
std::string thrown_by(F f) {
  try {
    f();
  } catch (const char* sentence) {
    return sentence;
  }
  return "";
}

/// A chain of `length` additions of constants, ending in 64 stores.
template <int Length>
struct long_chain {
  static constexpr graph::graph make() {
    graph::builder b;
    b.tracing = true;
    symbol x = graph::trace_input(b, 0, dtype::f32, 1);
    symbol roots[64];
    for (int i = 0; i < Length; ++i) {
      x = x * x + i;
      roots[i % 64] = x;
    }
    return graph::frame(b, roots, 64);
  }
};

struct tenth {
  static constexpr graph::graph make() {
    graph::builder b;
    b.tracing = true;
    symbol root = graph::trace_input(b, 0, dtype::f64, 1) * 0.1;
    return graph::frame(b, &root, 1);
  }
};

}  // namespace

TEST_CASE("a list grows, copies deeply and moves without copying") {
  graph::list<int> a;
  for (int i = 0; i < 100; ++i) a.push_back(i);
  graph::list<int> b = a;
  b[3] = -1;
  CHECK(a[3] == 3);
  CHECK(b.size() == 100);
  const int* data = a.begin();
  const graph::list<int> c = static_cast<graph::list<int>&&>(a);
  CHECK(c.begin() == data);
  CHECK(a.empty());
  graph::list<int> d(2, 7);
  d.resize(4, 9);
  CHECK(d[1] == 7);
  CHECK(d[3] == 9);
  d = d;
  CHECK(d.back() == 9);
}

TEST_CASE("every kind of node survives its encoding") {
  for (int k = 0; k <= static_cast<int>(op::builtin_count); ++k) {
    const op code =
        k == static_cast<int>(op::builtin_count) ? static_cast<op>(2000) : static_cast<op>(k);
    for (int d = 0; d < heddle::dtype_count; ++d) {
      graph::node n{.code = code, .type = static_cast<dtype>(d), .a = 0x1234};
      if (graph::has_narrow_extra(code)) {
        n.extra = 0xFE43210Fu;
      } else {
        n.b = 0xFFFE;
        n.c = 0x8001;
      }
      graph::node back = graph::decode_word(graph::encode_word(n));
      CHECK(back == n);
    }
  }
}

TEST_CASE("equal nodes are one node, whichever way a commutative op is written") {
  graph::builder b;
  const id x = input(b, 0), y = input(b, 1);
  CHECK(input(b, 0) == x);
  CHECK(b.binary(op::mul, dtype::f32, x, y) == b.binary(op::mul, dtype::f32, y, x));
  CHECK(b.binary(op::sub, dtype::f32, x, y) != b.binary(op::sub, dtype::f32, y, x));
  CHECK(b.constant(dtype::f32, 2) != b.constant(dtype::f64, 2));
}

TEST_CASE("neutral operands, double negations and constants disappear") {
  graph::builder b;
  const id x = input(b, 0), y = input(b, 1);
  const id zero = b.constant(dtype::f32, 0), one = b.constant(dtype::f32, 1);
  const id minus = b.constant(dtype::f32, -1), negative_zero = b.constant(dtype::f32, -0.0);
  const auto neg = [&](id v) { return b.unary(op::neg, dtype::f32, v); };
  CHECK(b.binary(op::add, dtype::f32, x, negative_zero) == x);
  CHECK(b.binary(op::add, dtype::f32, negative_zero, x) == x);
  CHECK(b.binary(op::sub, dtype::f32, x, zero) == x);
  CHECK(b.binary(op::sub, dtype::f32, negative_zero, x) == neg(x));
  CHECK(b.binary(op::mul, dtype::f32, x, one) == x);
  CHECK(b.binary(op::mul, dtype::f32, minus, x) == neg(x));
  CHECK(b.binary(op::div, dtype::f32, x, one) == x);
  CHECK(neg(neg(x)) == x);
  CHECK(b.binary(op::add, dtype::f32, x, neg(y)) == b.binary(op::sub, dtype::f32, x, y));
  CHECK(b.binary(op::mul, dtype::f32, neg(x), neg(y)) == b.binary(op::mul, dtype::f32, x, y));
  CHECK(b.binary(op::add, dtype::f32, one, one) == b.constant(dtype::f32, 2));
  CHECK(b.emit({.code = op::where,
                .type = dtype::f32,
                .a = input(b, 2, dtype::boolean),
                .b = x,
                .c = x}) == x);
  CHECK(b.cast(dtype::f32, x) == x);
}

TEST_CASE("multiplication by zero stays: it may be a NaN; integers and 16-bit casts do not fold") {
  graph::builder b;
  const id x = input(b, 0);
  CHECK(b[b.binary(op::mul, dtype::f32, x, b.constant(dtype::f32, 0))].code == op::mul);
  const id tenth16 = b.constant(dtype::bf16, 0.1);
  CHECK(b[b.cast(dtype::f16, tenth16)].code == op::cast);
  CHECK(b[b.cast(dtype::f32, tenth16)].code == op::constant);
}

TEST_CASE("zeros of integers are neutral, and their sums let constants and signs out") {
  graph::builder b;
  const id x = input(b, 0, dtype::i64, 0xFFFFFF10u), y = input(b, 1, dtype::i64, 0xFFFFFF10u);
  const id zero = b.constant(dtype::i64, 0), three = b.constant(dtype::i64, 3);
  const auto neg = [&](id v) { return b.unary(op::neg, dtype::i64, v); };
  const auto sum = [&](id v) { return b.unary(op::sum, dtype::i64, v, 2); };
  CHECK(b.binary(op::add, dtype::i64, x, zero) == x);
  CHECK(b.binary(op::sub, dtype::i64, zero, x) == neg(x));
  CHECK(neg(b.binary(op::sub, dtype::i64, x, y)) == b.binary(op::sub, dtype::i64, y, x));
  CHECK(b.binary(op::maximum, dtype::i64, x, y) == b.binary(op::maximum, dtype::i64, y, x));
  CHECK(sum(neg(x)) == neg(sum(x)));
  CHECK(sum(b.binary(op::mul, dtype::i64, three, x)) ==
        b.binary(op::mul, dtype::i64, sum(x), three));
}

TEST_CASE("axes along which a value does not vary leave its reductions; real factors stay") {
  graph::builder b;
  const id x = input(b, 0, dtype::f32, 0xFFFFFF10u);    // [0,1]
  const id row = input(b, 1, dtype::f32, 0xFFFFFFF0u);  // [0]
  const auto sum = [&](id v) { return b.unary(op::sum, dtype::f32, v, 2); };
  for (const id factor : {b.constant(dtype::f32, 0.5), row}) {
    CHECK(b[sum(b.binary(op::mul, dtype::f32, x, factor))].code == op::sum);
    CHECK(b[sum(b.binary(op::div, dtype::f32, x, factor))].code == op::sum);
  }
  const id repeated = sum(row);
  CHECK(b[repeated].varies == 1);
  for (const graph::node& n : b.nodes()) {
    if (n.code == op::sum) CHECK(b[n.a].varies == 3);
  }
  CHECK(sum(b.unary(op::neg, dtype::f32, x)) ==
        b.binary(op::sub, dtype::f32, b.constant(dtype::f32, 0), sum(x)));
  CHECK(b.unary(op::amax, dtype::f32, row, 2) == row);
  CHECK(b.unary(op::sum, dtype::f32, x, 0) == x);
}

TEST_CASE("broadcasting aligns axes from the right and a frame numbers them") {
  graph::builder b;
  b.tracing = true;
  const symbol x = graph::trace_input(b, 0, dtype::f32, 3);
  const symbol y = graph::trace_input(b, 1, dtype::f32, 2, 1);  // (1, n)
  symbol root = x + y;
  const graph::graph g = graph::frame(b, &root, 1);
  CHECK(graph::to_text(g) ==
        "%0: f32{0,1,2} = input 0 [0,1,2]\n%1: f32{2} = input 1 [1,2]\n"
        "%2: f32{0,1,2} = add %0 %1\n%3: f32{0,1,2} = store %2 to output 0 [0,1,2]\n");
}

TEST_CASE("mistakes are thrown as sentences") {
  CHECK(thrown_by([] {
          graph::builder b;
          b.tracing = true;
          const symbol x = graph::trace_input(b, 0, dtype::f32, 1);
          (void)heddle::sum<1>(x);
        }) == "heddle: a reduction names an axis that the operand lacks");
  CHECK(thrown_by([] {
          graph::builder b;
          b.tracing = true;
          const symbol x = graph::trace_input(b, 0, dtype::f32, 2);
          symbol root = x + heddle::sum<0>(x);  // aligns axis 1's sum with axis 1: fine
          symbol crossed = x + heddle::sum<1>(x);
          symbol roots[] = {root, crossed};
          (void)graph::frame(b, roots, 2);
        }).find("aligns two axes of one value with each other") != std::string::npos);
  CHECK(thrown_by([] {
          graph::builder b;
          b.tracing = true;
          const symbol x = graph::trace_input(b, 0, dtype::boolean, 1);
          (void)(x - x);
        }) ==
        "heddle: bool tensors have no subtraction or negation: use logical_xor or logical_not");
  CHECK(thrown_by([] {
          graph::builder b;
          b.tracing = true;
          symbol roots[3];
          for (int i = 0; i < 3; ++i) roots[i] = graph::trace_input(b, i, dtype::f32, 4);
          (void)graph::frame(b, roots, 3);
        }).find("more than 8 axes") != std::string::npos);
  CHECK(thrown_by([] {
          const std::uint64_t words[] = {std::uint64_t{9} << 56};
          (void)graph::decode(words, 1);
        }) == "heddle: the program's words have another encoding version");
}

TEST_CASE("promotion gives the result's dtype, and scalars only raise the category") {
  graph::builder b;
  b.tracing = true;
  const auto x = [&](dtype d) { return graph::trace_input(b, 0, d, 1); };
  CHECK((x(dtype::bf16) + x(dtype::f16)).type() == dtype::f32);
  CHECK((x(dtype::u8) * x(dtype::i32)).type() == dtype::i32);
  CHECK((x(dtype::f16) * 2.5).type() == dtype::f16);
  CHECK((x(dtype::i32) * 2).type() == dtype::i32);
  CHECK((x(dtype::i32) * 2.5).type() == dtype::f32);
  CHECK((x(dtype::boolean) + x(dtype::boolean)).type() == dtype::boolean);
  CHECK((x(dtype::i32) / x(dtype::i32)).type() == dtype::f32);
  CHECK((x(dtype::f64) < x(dtype::i64)).type() == dtype::boolean);
  CHECK(heddle::sum<0>(x(dtype::boolean)).type() == dtype::i64);
}

TEST_CASE("a constant keeps all its bits through a program") {
  const graph::graph g = graph::thaw(graph::frozen<tenth>{});
  bool found = false;
  for (const graph::node& n : g.nodes) {
    if (n.code != op::constant) continue;
    found = true;
    CHECK(graph::constant_value(n) == 0.1);
  }
  CHECK(found);
}

TEST_CASE("a graph of over 1024 nodes and 64 outputs freezes into a program and thaws the same") {
  const graph::graph made = long_chain<520>::make();
  CHECK(made.size() > 1024);
  const graph::graph thawed = graph::thaw(graph::frozen<long_chain<520>>{});
  CHECK(graph::to_text(thawed) == graph::to_text(made));
  const graph::schedule s = graph::make_schedule(thawed);
  CHECK(s.kernels() == 1);
  int stores = 0;
  for (const graph::item& it : s.items) stores += it.kind == graph::item_kind::store ? 1 : 0;
  CHECK(stores == 64);
}

TEST_CASE("the derivative of a scatter is a gather of the incoming gradient") {
  graph::builder b;
  const id index = input(b, 0, dtype::i64);
  const id x = input(b, 1, dtype::f64, 0xFFFFFF10u);
  b.emit({.code = op::scatter_add,
          .type = dtype::f64,
          .a = x,
          .b = index,
          .c = 0,
          .extra = 0xFFFFFF1Eu});
  graph::graph g;
  g.nodes = b.nodes();
  graph::derivative_request request;
  request.wanted = graph::list<bool>(2, false);
  request.wanted[1] = true;
  request.seed_slot = 2;
  CHECK(graph::to_text(graph::differentiate(g, request)) ==
        "%0: i64{0} = input 0 [0]\n%1: f64{0,1} = gather %0 from input 2 [index,1]\n"
        "%2: f64{0,1} = store %1 to output 0 [0,1]\n");
}

TEST_CASE("dead code goes and the rest is numbered without gaps") {
  graph::builder b;
  const id x = input(b, 0), y = input(b, 1);
  b.unary(op::exp, dtype::f32, y);
  b.emit({.code = op::store, .type = dtype::f32, .a = x, .b = 0, .extra = 0xFFFFFFF0u});
  const graph::graph g = graph::remove_dead_code(b.nodes(), b.user_ops);
  CHECK(graph::to_text(g) == "%0: f32{0} = input 0 [0]\n%1: f32{0} = store %0 to output 0 [0]\n");
}

TEST_CASE("a graph prints as DOT") {
  graph::builder b;
  const id x = input(b, 0);
  b.emit({.code = op::store, .type = dtype::f32, .a = x, .b = 0, .extra = 0xFFFFFFF0u});
  graph::graph g;
  g.nodes = b.nodes();
  CHECK(graph::to_dot(g) ==
        "digraph program {\n  node [shape=box, fontname=monospace];\n"
        "  n0 [label=\"input 0 [0]\\nf32{0}\"];\n"
        "  n1 [label=\"store %0 to output 0 [0]\\nf32{0}\"];\n  n0 -> n1;\n}\n");
}

TEST_CASE("a reduction read by a later nest is finished in an earlier one") {
  // y = x - mean over everything of x, then a column sum of y
  graph::builder b;
  b.tracing = true;
  const symbol x = graph::trace_input(b, 0, dtype::f32, 2);
  const symbol y = x - heddle::mean(x);
  symbol roots[] = {y, heddle::sum<0>(y)};
  const graph::graph g = graph::frame(b, roots, 2);
  const graph::schedule s = graph::make_schedule(g);
  CHECK(s.items.size() == 4);
  int sums = 0;
  for (const graph::item& it : s.items) {
    if (heddle::is_reduction(g[it.node].code)) ++sums;
  }
  CHECK(sums == 2);
}
