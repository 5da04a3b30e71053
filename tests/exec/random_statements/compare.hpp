// SPDX-License-Identifier: BSD-3-Clause
// A compiled statement, its CUDA bodies on host teams, and its gradients, against the interpreter
// on several shapes and strides.
#pragma once

#include <cmath>
#include <cstdint>

#include "../../support/run_bodies.hpp"
#include <doctest/doctest.h>

#include <heddle/autograd/grad.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/random.hpp>

namespace {

using namespace heddle;

std::uint64_t seed = 0;

/// Operands of one shape; a lies transposed or with gaps where `layout` says so.
template <class T>
struct operands {
  tensor<T, 2> a;
  tensor<T, 1> b, c;

  operands(std::int64_t rows, std::int64_t columns, int layout, generator& from) {
    a = layout == 0 ? randn<T, 2>({rows, columns}, from)
        : layout == 1
            ? tensor<T, 2>(randn<T, 2>({columns, rows}, from).transpose())
            : tensor<T, 2>(randn<T, 2>({rows, 3 * columns}, from)(all(), slice(1, 3 * columns, 3)));
    b = randn<T, 1>({columns}, from);
    c = randn<T, 1>({rows}, from);
  }
};

template <class T, int Rank>
double difference(const tensor<T, Rank>& x, const tensor<T, Rank>& y) {
  double worst = 0;
  double scale = 1;
  auto other = y.begin();
  for (const T v : x) {
    scale = std::fmax(scale, std::fabs(static_cast<double>(v)));
    const double gap = std::fabs(static_cast<double>(v) - static_cast<double>(*other));
    worst = std::isnan(gap) ? 1e30 : std::fmax(worst, gap);
    ++other;
  }
  return worst / scale;
}

template <class E, class T, int Rank>
tensor<T, Rank> interpreted(const E& e, const tensor<T, Rank>& like) {
  using statement = exec::statement<E>;
  const exec::bound<statement> b(e);
  exec::operand in[statement::operand_count + 1];
  b.bind_operands(in);
  const tensor<T, Rank> y = empty_like(like);
  const exec::operand out[] = {exec::detail::operand_of(y)};
  exec::launch l;
  for (int i = 0; i < graph::max_axes; ++i) l.extents[i] = b.extents[i];
  l.inputs = in;
  l.outputs = out;
  l.scalars = b.scalars;
  exec::interpret(graph::thaw(typename statement::program{}), l);
  return y;
}

template <class T, class Visit>
void for_each_shape(int number, Visit visit) {
  constexpr std::int64_t shapes[][2] = {{1, 1}, {3, 17}, {33, 5}, {2, 200}};
  generator from(seed * 1000 + static_cast<std::uint64_t>(number));
  for (const auto& shape : shapes) {
    for (int layout = 0; layout < 3; ++layout) {
      CAPTURE(number);
      CAPTURE(shape[0]);
      CAPTURE(shape[1]);
      CAPTURE(layout);
      visit(operands<T>(shape[0], shape[1], layout, from));
    }
  }
}

/// Bodies: also by the bodies of the statement's CUDA kernels, which cost ten times as much to
/// compile.
template <class T, bool Bodies = false, class F>
void check_values(int number, F f) {
  const double tolerance = std::is_same_v<T, double> ? 1e-12 : 1e-4;
  for_each_shape<T>(number, [&](const operands<T>& o) {
    const auto e = let(f, o.a, o.b, o.c);
    const auto y = evaluate(e);
    CHECK(difference(y, interpreted(e, y)) < tolerance);
    if constexpr (Bodies) {
      const auto z = empty_like(y);
      constexpr int teams[] = {1, 2, 31, 32, 33, 64};
      const support::body_run how{.team = teams[number % 6],
                                  .blocks = 1 + number % 4,
                                  .order = static_cast<support::fibre_order>(number % 3)};
      CHECK(!support::run_bodies(how, std::tuple{z}, e).waits_for_ever);
      CHECK(difference(z, y) < tolerance);
    }
  });
}

/// Also the compiled gradients against interpreted ones: those of a graph that is recorded again.
template <class T, class F>
void check_gradients(int number, F f) {
  check_values<T>(number, f);
  for_each_shape<T>(number, [&](const operands<T>& o) {
    const variable<T, 2> a(o.a);
    const variable<T, 1> b(o.b), c(o.c);
    const auto y = evaluate(let(f, a, b, c));
    const variable<T, 0> loss = sum(tanh(y));
    const auto [ga, gb, gc] = grad(loss, std::tuple{a, b, c}, {.create_graph = true});
    loss.backward();
    const auto gap = [](const auto& v, const auto& g) {
      return v.grad().defined() ? difference(v.grad(), g.value()) : 0.0;
    };
    CHECK(gap(a, ga) < 1e-10);
    CHECK(gap(b, gb) < 1e-10);
    CHECK(gap(c, gc) < 1e-10);
  });
}

}  // namespace
