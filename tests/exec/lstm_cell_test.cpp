// SPDX-License-Identifier: BSD-3-Clause
// A layer-norm LSTM cell, written plainly: traced and differentiated by the compiler, interpreted,
// and compiled; its gradients are right. (Ba et al. 2016, eq. 20-22; products with weights
// outside.)
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/autograd/gradcheck.hpp>
#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/tensor/random.hpp>
#include <heddle/tensor/views.hpp>

namespace {

using namespace heddle;

constexpr auto norm = fused([](auto x, auto gamma, auto beta) {
  const auto c = x - mean<-1>(x, keepdim);
  return c * rsqrt(mean<-1>(square(c), keepdim) + 1e-5) * gamma + beta;
});

// Per gate: what comes from the input and from the last state, each normalised, and their sum.
struct cell {
  constexpr auto operator()(auto xi, auto xf, auto xg, auto xo, auto hi, auto hf, auto hg, auto ho,
                            auto c, auto gi, auto gf, auto gg, auto go, auto bi, auto bf, auto bg,
                            auto bo, auto ki, auto kf, auto kg, auto ko, auto gc, auto bc) const {
    const auto i = sigmoid(norm(xi, gi, bi) + norm(hi, ki, bi));
    const auto f = sigmoid(norm(xf, gf, bf) + norm(hf, kf, bf) + 1);
    const auto g = tanh(norm(xg, gg, bg) + norm(hg, kg, bg));
    const auto o = sigmoid(norm(xo, go, bo) + norm(ho, ko, bo));
    const auto next = f * c + i * g;
    return outputs(o * tanh(norm(next, gc, bc)), next);
  }
};

constexpr int matrices = 9;  // then vectors
constexpr int vectors = 14;

struct point {
  std::vector<tensor<double, 2>> matrix;
  std::vector<tensor<double, 1>> vector;

  point(std::int64_t rows, std::int64_t columns) {
    generator random(7);
    for (int k = 0; k < matrices; ++k) matrix.push_back(randn<double, 2>({rows, columns}, random));
    for (int k = 0; k < vectors; ++k) vector.push_back(randn<double, 1>({columns}, random));
  }
};

template <int... M, int... V>
auto cell_of(const std::vector<variable<double, 2>>& m, const std::vector<variable<double, 1>>& v,
             std::integer_sequence<int, M...>, std::integer_sequence<int, V...>) {
  return let(cell{}, m[M]..., v[V]...);
}

auto cell_of(const std::vector<variable<double, 2>>& m, const std::vector<variable<double, 1>>& v) {
  return cell_of(m, v, std::make_integer_sequence<int, matrices>{},
                 std::make_integer_sequence<int, vectors>{});
}

using bundle = decltype(cell_of({}, {}));
using forward = exec::statement<bundle>;
using backward = detail::derivative_of<forward>;

/// Random weights of the two results.
double weighted(const tensor<double, 2>& h, const tensor<double, 2>& c, const tensor<double, 2>& wh,
                const tensor<double, 2>& wc) {
  double total = 0;
  for (std::int64_t k = 0; k < h.size(); ++k) {
    total += h.data()[k] * wh.data()[k] + c.data()[k] * wc.data()[k];
  }
  return total;
}

struct interpreted_cell {
  const graph::graph graph = graph::thaw(forward::program{});
  tensor<double, 2> h, c;

  void run(const point& at) {
    std::vector<exec::operand> in;
    for (const auto& t : at.matrix) in.push_back(exec::detail::operand_of(t));
    for (const auto& t : at.vector) in.push_back(exec::detail::operand_of(t));
    h = empty_like(at.matrix[0]);
    c = empty_like(at.matrix[0]);
    const exec::operand out[] = {exec::detail::operand_of(h), exec::detail::operand_of(c)};
    exec::launch l;
    for (auto& e : l.extents) e = 1;
    l.extents[0] = h.extents()[0];
    l.extents[1] = h.extents()[1];
    l.inputs = in.data();
    l.outputs = out;
    exec::interpret(graph, l);
  }
};

}  // namespace

TEST_CASE("the cell has its nodes, its 23 gradients, and both fit a program") {
  const int nodes = forward::program::node_count;
  const int backward_nodes = backward::program::node_count;
  std::printf("layer-norm LSTM cell: %d nodes forward, %d backward\n", nodes, backward_nodes);
  CHECK(nodes > 100);
  CHECK(nodes < 200);
  CHECK(backward_nodes < 500);
  CHECK(backward::wanted == matrices + vectors);
}

TEST_CASE("the compiled cell, forward and backward, agrees with the interpreter and differences") {
  point at(3, 21);
  std::vector<variable<double, 2>> m;
  std::vector<variable<double, 1>> v;
  for (const auto& t : at.matrix) m.emplace_back(t.clone());
  for (const auto& t : at.vector) v.emplace_back(t.clone());
  const auto [h, c] = evaluate(cell_of(m, v));
  interpreted_cell reference;
  reference.run(at);
  for (std::int64_t k = 0; k < h.size(); ++k) {
    CHECK(h.value().data()[k] == doctest::Approx(reference.h.data()[k]).epsilon(1e-12));
    CHECK(c.value().data()[k] == doctest::Approx(reference.c.data()[k]).epsilon(1e-12));
  }
  generator random(11);
  const tensor<double, 2> wh = randn<double, 2>({3, 21}, random);
  const tensor<double, 2> wc = randn<double, 2>({3, 21}, random);
  const variable<double, 0> loss = sum(h * wh + c * wc);
  loss.backward();
  // central differences of the interpreted cell, in one direction per operand
  const auto along = [&](double* data, const double* direction, std::int64_t n, double step) {
    for (std::int64_t k = 0; k < n; ++k) data[k] += step * direction[k];
    reference.run(at);
    for (std::int64_t k = 0; k < n; ++k) data[k] -= step * direction[k];
    return weighted(reference.h, reference.c, wh, wc);
  };
  const auto check = [&](const auto& t, const auto& gradient) {
    std::vector<double> direction(static_cast<std::size_t>(t.size()));
    double derived = 0;
    double scale = 0;
    for (std::size_t k = 0; k < direction.size(); ++k) {
      direction[k] = std::cos(1.7 * static_cast<double>(k));
      derived += direction[k] * gradient.data()[k];
      scale += std::fabs(direction[k] * gradient.data()[k]);
    }
    const double step = 1e-4;
    const auto d = [&](double s) {
      return (along(t.data(), direction.data(), t.size(), s) -
              along(t.data(), direction.data(), t.size(), -s)) /
             (2 * s);
    };
    const double near = d(step);
    const double measured = near + (near - d(2 * step)) / 3;
    CHECK(std::fabs(measured - derived) < 1e-8 * scale + 1e-9);
    CHECK(scale > 1e-3);
  };
  for (std::size_t k = 0; k < m.size(); ++k) check(at.matrix[k], m[k].grad());
  for (std::size_t k = 0; k < v.size(); ++k) check(at.vector[k], v[k].grad());
}

TEST_CASE("the cell's derivative, interpreted, equals the compiled one") {
  const point at(2, 9);
  std::vector<variable<double, 2>> m;
  std::vector<variable<double, 1>> v;
  for (const auto& t : at.matrix) m.emplace_back(t.clone());
  for (const auto& t : at.vector) v.emplace_back(t.clone());
  const auto [h, c] = evaluate(cell_of(m, v));
  const variable<double, 0> loss = sum(h * c);
  loss.backward();

  // without the row values that the compiled one is given
  const graph::graph derivative = graph::thaw(backward::recorded_program{});
  const tensor<double, 2> seed_h = c.value(), seed_c = h.value();
  std::vector<exec::operand> in, out;
  for (const auto& t : at.matrix) in.push_back(exec::detail::operand_of(t));
  for (const auto& t : at.vector) in.push_back(exec::detail::operand_of(t));
  for (const auto& t : {seed_h, seed_c, h.value(), c.value()}) {
    in.push_back(exec::detail::operand_of(t));
  }
  std::vector<tensor<double, 2>> gm;
  std::vector<tensor<double, 1>> gv;
  for (int k = 0; k < matrices; ++k) gm.push_back(zeros<double, 2>({2, 9}));
  for (int k = 0; k < vectors; ++k) gv.push_back(zeros<double, 1>({9}));
  for (const auto& t : gm) out.push_back(exec::detail::operand_of(t));
  for (const auto& t : gv) out.push_back(exec::detail::operand_of(t));
  exec::launch l;
  for (auto& e : l.extents) e = 1;
  l.extents[0] = 2;
  l.extents[1] = 9;
  l.inputs = in.data();
  l.outputs = out.data();
  exec::interpret(derivative, l);
  double worst = 0;
  const auto compare = [&](const auto& a, const auto& b) {
    for (std::int64_t k = 0; k < a.size(); ++k) {
      worst = std::fmax(worst, std::fabs(a.data()[k] - b.data()[k]) / (1 + std::fabs(b.data()[k])));
    }
  };
  for (std::size_t k = 0; k < gm.size(); ++k) compare(gm[k], m[k].grad());
  for (std::size_t k = 0; k < gv.size(); ++k) compare(gv[k], v[k].grad());
  CHECK(worst < 1e-11);
}
