// SPDX-License-Identifier: BSD-3-Clause
// The op table against an independent reference, and derivatives of known graphs, first and second,
// against central differences.
#include <cmath>
#include <string>
#include <vector>

#include "../support/comparison.hpp"
#include "../support/gradient_check.hpp"
#include "../support/independent_walk.hpp"
#include <doctest/doctest.h>

#include <heddle/graph/passes/schedule.hpp>
#include <heddle/graph/text.hpp>

namespace {

using namespace support;
using heddle::amax;
using heddle::keepdim;
using heddle::mean;
using heddle::sum;
using heddle::symbol;
namespace graph = heddle::graph;

/// Memory for every operand that g reads, row-major: reals in [low, high], indices below `classes`.
struct memory {
  std::vector<std::vector<double>> real;
  std::vector<std::vector<std::int64_t>> integer;
  std::vector<exec::operand> where;

  memory(const graph::graph& g, const std::int64_t* extents, double low, double high,
         int classes = 3) {
    random_source r(7);
    for (const graph::node& n : g.nodes) {
      if (n.code != op::input) continue;
      if (where.size() <= n.a) where.resize(std::size_t{n.a} + 1);
    }
    real.resize(where.size());
    integer.resize(where.size());
    for (const graph::node& n : g.nodes) {
      if (n.code != op::input) continue;
      exec::operand o;
      std::int64_t count = 1;
      for (int p = 7; p >= 0; --p) {
        const unsigned axis = graph::map_axis(static_cast<graph::axis_map>(n.extra), p);
        if (axis > 7) continue;
        o.strides[p] = count;
        count *= extents[axis];
      }
      for (std::int64_t i = 0; i < count; ++i) {
        if (n.type == dtype::f64) real[n.a].push_back(low + (high - low) * r.unit());
        if (n.type == dtype::i64) integer[n.a].push_back(r.below(classes));
      }
      o.data = n.type == dtype::f64 ? reinterpret_cast<std::byte*>(real[n.a].data())
                                    : reinterpret_cast<std::byte*>(integer[n.a].data());
      where[n.a] = o;
    }
  }
};

/// Derives g with respect to its f64 operands below slot `limit`, compares, and goes on to `order`.
void check_derivatives(const std::string& name, const graph::graph& g, const std::int64_t* extents,
                       int order, double low, double high, double tolerance, int limit = 100) {
  memory m(g, extents, low, high);
  graph::derivative_request request;
  request.wanted = graph::list<bool>(m.where.size(), false);
  std::vector<std::vector<double>*> values(m.where.size(), nullptr);
  bool any = false;
  for (const graph::node& n : g.nodes) {
    if (n.code != op::input || n.type != dtype::f64 || n.a >= limit) continue;
    request.wanted[n.a] = true;
    values[n.a] = &m.real[n.a];
    any = true;
  }
  if (!any) return;
  request.seed_slot = static_cast<int>(m.where.size());
  const graph::graph backward = graph::differentiate(g, request);
  gradient_check check(g, extents, m.where, values, nullptr);
  const gradient_comparison c = check.compare(backward, 11);
  CHECK_MESSAGE(std::fabs(c.derived - c.difference) <= tolerance * c.scale + 1e-9,
                name << ": derived " << c.derived << ", by differences " << c.difference << "\n"
                     << graph::to_text(backward));
  const auto twice = graph::differentiate(g, request);
  CHECK(graph::to_text(twice) == graph::to_text(backward));
  if (order > 1) {
    const int slots = static_cast<int>(m.where.size());
    check_derivatives(name + ", again", backward, extents, order - 1, low, high, 10 * tolerance,
                      limit < slots ? limit : slots);
  }
}

graph::graph one_op(op code, dtype type) {
  graph::builder b;
  b.tracing = true;
  const graph::op_info& info = graph::builtin_info(code);
  symbol x[3];
  for (int i = 0; i < info.arity; ++i) {
    const bool condition = info.rule == graph::result_rule::selection && i == 0;
    x[i] = graph::trace_input(b, i, condition ? dtype::boolean : type, 1);
  }
  symbol root = graph::apply(info, x);
  return graph::frame(b, &root, 1);
}

constexpr std::int64_t extents_of_24[8] = {24, 1, 1, 1, 1, 1, 1, 1};

symbol softmax(const symbol& x) {
  const symbol e = exp(x - amax<-1>(x, keepdim));
  return e / sum<-1>(e, keepdim);
}

symbol layer_norm(const symbol& x, const symbol& gamma, const symbol& beta) {
  const symbol c = x - mean<-1>(x, keepdim);
  return c * rsqrt(mean<-1>(square(c), keepdim) + 1e-5) * gamma + beta;
}

template <class Make>
graph::graph traced(Make make) {
  graph::builder b;
  b.tracing = true;
  symbol root = make(b);
  return graph::frame(b, &root, 1);
}

symbol real_input(graph::builder& b, int slot, int rank, unsigned ones = 0) {
  return graph::trace_input(b, slot, dtype::f64, rank, ones);
}

int kernels_of(const graph::graph& g) { return graph::make_schedule(g).kernels(); }

int backward_kernels(const graph::graph& g, int operands) {
  graph::derivative_request request;
  request.wanted = graph::list<bool>(static_cast<std::size_t>(operands), true);
  request.seed_slot = 10;
  request.saved_slot = 20;
  return kernels_of(graph::differentiate_cheapest(g, request));
}

}  // namespace

TEST_CASE("each op's value is the reference's, at ordinary and special values, in f64 and f32") {
  const double points[] = {0,       -0.0,     1,    -1,    0.5,   -0.5,   2,    -2.75,
                           3,       1e-3,     7.25, -7.25, 80.5,  -100.0, 1e9,  -1e9,
                           unknown, -unknown, NAN,  1e30,  1e-30, 0.1,    -0.1, M_PI};
  for (int k = static_cast<int>(op::neg); k < static_cast<int>(op::builtin_count); ++k) {
    const op code = static_cast<op>(k);
    const graph::op_info& info = graph::builtin_info(code);
    if (info.rule == graph::result_rule::logical) continue;
    for (const dtype type : {dtype::f64, dtype::f32}) {
      const graph::graph g = one_op(code, type);
      std::vector<std::vector<double>> wide(3);
      std::vector<std::vector<float>> narrow(3);
      std::vector<std::uint8_t> truth;
      const bool selects = info.rule == graph::result_rule::selection;
      std::vector<exec::operand> in(3);
      // every pair of points, along one axis
      for (int i = 0; i < 24 * 24; ++i) {
        truth.push_back(static_cast<std::uint8_t>(i % 3 == 0));
        for (const int j : {0, 1, 2}) {
          const double x = points[j == 1 ? i / 24 : i % 24];
          wide[static_cast<std::size_t>(j)].push_back(x);
          narrow[static_cast<std::size_t>(j)].push_back(static_cast<float>(x));
        }
      }
      for (std::size_t j = 0; j < 3; ++j) {
        in[j].data = type == dtype::f64 ? reinterpret_cast<std::byte*>(wide[j].data())
                                        : reinterpret_cast<std::byte*>(narrow[j].data());
        in[j].strides[0] = 1;
      }
      if (selects) in[0].data = reinterpret_cast<std::byte*>(truth.data());
      std::vector<double> out(24 * 24);
      exec::operand to;
      to.data = reinterpret_cast<std::byte*>(out.data());
      to.strides[0] = 1;
      exec::launch l;
      for (std::int64_t& e : l.extents) e = 1;
      l.extents[0] = 24 * 24;
      l.inputs = in.data();
      l.outputs = &to;
      exec::interpret(g, l);
      const independent_walk walk(g, l);
      tally counts;
      for (const expectation& e : walk.expected(g.size() - 1)) {
        const dtype result = g[g.size() - 1].type;
        const std::byte* place =
            to.data + e.offset * static_cast<std::int64_t>(heddle::size_of(result));
        const std::string wrong = compare_element(place, result, e.value, counts);
        CHECK_MESSAGE(wrong.empty(),
                      info.name << " of " << wide[0][static_cast<std::size_t>(e.offset)] << ", "
                                << wide[1][static_cast<std::size_t>(e.offset)] << ": " << wrong);
      }
      CHECK(counts.elements > 200);
    }
  }
}

TEST_CASE("each op's derivative, and the derivative of that, agree with central differences") {
  for (int k = static_cast<int>(op::neg); k < static_cast<int>(op::builtin_count); ++k) {
    const op code = static_cast<op>(k);
    const graph::op_info& info = graph::builtin_info(code);
    if (info.rule == graph::result_rule::comparison || info.rule == graph::result_rule::logical) {
      continue;
    }
    if (code == op::where || code == op::detach) continue;  // below
    const bool half = code == op::log || code == op::sqrt || code == op::rsqrt || code == op::pow ||
                      code == op::div || code == op::log1p;
    check_derivatives(std::string(info.name), one_op(code, dtype::f64), extents_of_24, 3,
                      half ? 0.3 : -2, half ? 2.5 : 2, 1e-7);
  }
}

TEST_CASE("where passes the gradient to the chosen side, detach to nobody") {
  const graph::graph chosen = traced([](graph::builder& b) {
    const symbol x = real_input(b, 0, 1), y = real_input(b, 1, 1);
    return where(x < y, x * x, y * x);
  });
  check_derivatives("where", chosen, extents_of_24, 2, -2, 2, 1e-7);
  const graph::graph held = traced([](graph::builder& b) {
    const symbol x = real_input(b, 0, 1);
    return detach(x) * x;
  });
  graph::derivative_request request;
  request.wanted = graph::list<bool>(1, true);
  request.seed_slot = 1;
  const graph::graph backward = graph::differentiate(held, request);
  CHECK(graph::to_text(backward) ==
        "%0: f64{0} = input 0 [0]\n%1: f64{0} = input 1 [0]\n%2: f64{0} = mul %0 %1\n"
        "%3: f64{0} = store %2 to output 0 [0]\n");
}

TEST_CASE("softmax is one kernel forward and one backward, with right derivatives") {
  const graph::graph g = traced([](graph::builder& b) { return softmax(real_input(b, 0, 2)); });
  CHECK(kernels_of(g) == 1);
  CHECK(backward_kernels(g, 1) == 1);
  constexpr std::int64_t extents[8] = {4, 5, 1, 1, 1, 1, 1, 1};
  check_derivatives("softmax", g, extents, 2, -2, 2, 1e-7);
}

TEST_CASE("layer norm with gamma and beta is one kernel each way, with right derivatives") {
  const graph::graph g = traced([](graph::builder& b) {
    return layer_norm(real_input(b, 0, 2), real_input(b, 1, 1), real_input(b, 2, 1));
  });
  CHECK(kernels_of(g) == 1);
  CHECK(backward_kernels(g, 3) == 1);
  constexpr std::int64_t extents[8] = {4, 6, 1, 1, 1, 1, 1, 1};
  check_derivatives("layer norm", g, extents, 2, -2, 2, 1e-6);
}

TEST_CASE("cross entropy of class indices has the derivative softmax - onehot") {
  const graph::graph g = traced([](graph::builder& b) {
    const symbol x = real_input(b, 0, 2);
    symbol column = x;
    column.id = b.emit({.code = op::iota, .type = dtype::i64, .extra = ~0xFFull | x.axis[1]});
    column.axis[0] = symbol::no_axis;
    symbol target = graph::trace_input(b, 1, dtype::i64, 1);
    target.rank = 2;
    target.axis[1] = target.ghost[1] = symbol::no_axis;
    const symbol m = amax<-1>(x, keepdim);
    const symbol lse = log(sum<-1>(exp(x - m))) + amax<-1>(x);
    return mean(lse - sum<-1>(where(column == target, x, 0)));
  });
  CHECK(kernels_of(g) == 1);
  CHECK(backward_kernels(traced([](graph::builder& b) {
                           const symbol x = real_input(b, 0, 2);
                           return mean(log(sum<-1>(exp(x - amax<-1>(x, keepdim)))) + amax<-1>(x));
                         }),
                         1) == 1);
  constexpr std::int64_t extents[8] = {5, 3, 1, 1, 1, 1, 1, 1};
  check_derivatives("cross entropy", g, extents, 2, -2, 2, 1e-7);
}

TEST_CASE("batch norm over axes 0, 2, 3 is one loop nest, with right derivatives") {
  const graph::graph g = traced([](graph::builder& b) {
    const symbol x = real_input(b, 0, 4), gamma = real_input(b, 1, 3, 6);
    const symbol c = x - mean<0, 2, 3>(x, keepdim);
    return c * rsqrt(mean<0, 2, 3>(square(c), keepdim) + 1e-5) * gamma;
  });
  CHECK(graph::make_schedule(g).nests.size() == 1);
  constexpr std::int64_t extents[8] = {2, 3, 2, 3, 1, 1, 1, 1};
  check_derivatives("batch norm", g, extents, 2, -2, 2, 1e-6);
}

TEST_CASE("x / max(x) has the right derivatives, and ties share theirs") {
  const graph::graph g = traced([](graph::builder& b) {
    const symbol x = real_input(b, 0, 1);
    return x / amax<0>(x, keepdim);
  });
  check_derivatives("x / max(x)", g, extents_of_24, 2, 0.5, 2, 1e-7);

  const graph::graph top = traced([](graph::builder& b) { return amax<0>(real_input(b, 0, 1)); });
  graph::derivative_request request;
  request.wanted = graph::list<bool>(1, true);
  request.seed_slot = 1;
  const graph::graph backward = graph::differentiate(top, request);
  double x[4] = {3, 1, 3, 2}, seed = 1, dx[4] = {};
  exec::operand in[2];
  in[0].data = reinterpret_cast<std::byte*>(x);
  in[0].strides[0] = 1;
  in[1].data = reinterpret_cast<std::byte*>(&seed);
  exec::operand out;
  out.data = reinterpret_cast<std::byte*>(dx);
  out.strides[0] = 1;
  exec::launch l;
  for (std::int64_t& e : l.extents) e = 1;
  l.extents[0] = 4;
  l.inputs = in;
  l.outputs = &out;
  exec::interpret(backward, l);
  CHECK(dx[0] == 0.5);
  CHECK(dx[1] == 0);
  CHECK(dx[2] == 0.5);
  CHECK(dx[3] == 0);
}
