// SPDX-License-Identifier: BSD-3-Clause
// Independent expressions of one statement on a CUDA device: one launch where they are small, and
// the values of the host in any case.
#include <cmath>

#include "cuda_case.hpp"
#include <doctest/doctest.h>

#include <heddle/core/cuda_graph.hpp>
#include <heddle/heddle.hpp>

namespace {

using namespace heddle;

/// The largest difference from the host's.
template <class T, int Rank>
double off_by(const tensor<T, Rank>& on_device, const tensor<T, Rank>& wanted) {
  const tensor<T, Rank> got = on_device.to(cpu()).contiguous();
  const tensor<T, Rank> want = wanted.contiguous();
  if (got.extents() != want.extents()) return INFINITY;
  double most = 0;
  for (std::int64_t i = 0; i < want.size(); ++i) {
    most = std::fmax(most, std::fabs(static_cast<double>(got.data()[i] - want.data()[i])));
  }
  return most;
}

/// What a function returns, which launches so many kernels and has the profiler count them.
template <class F>
auto with_kernels(int expected, F f) {
  const profiler recorded;
#if !defined(HEDDLE_TEST_ON_GPU)
  stand_in::reset_counters();
#endif
  auto made = f();
#if !defined(HEDDLE_TEST_ON_GPU)
  CHECK(stand_in::launches() == static_cast<std::uint64_t>(expected));
#endif
  CHECK(recorded.kernels() == expected);
  return made;
}

generator numbers(5);
tensor<float, 2> matrix(std::int64_t rows, std::int64_t columns) {
  return randn<float, 2>({rows, columns}, numbers);
}
tensor<float, 1> vector(std::int64_t n) { return randn<float, 1>({n}, numbers); }

}  // namespace

TEST_CASE("independent small expressions of a statement are one kernel") {
  const support::cuda_case clean;
  const tensor<float, 2> x = matrix(37, 30);
  const tensor<float, 1> v = vector(500);
  const tensor<float, 2> dx = x.to(cuda(0));
  const tensor<float, 1> dv = v.to(cuda(0));
  const auto [a, b] = with_kernels(1, [&] { return evaluate(dx * 2 + 1, exp(dv)); });
  CHECK(off_by(a, evaluate(x * 2 + 1)) <= 1e-6);
  CHECK(off_by(b, evaluate(exp(v))) <= 1e-5);
  const auto [s, c, m, y] = with_kernels(
      1, [&] { return evaluate(sum(dx), sum<0>(dx * 0.5f), mean(dv), softmax<-1>(dx)); });
  CHECK(off_by(s, evaluate(sum(x))) <= 1e-3);
  CHECK(off_by(c, evaluate(sum<0>(x * 0.5f))) <= 1e-4);
  CHECK(off_by(m, evaluate(mean(v))) <= 1e-5);
  CHECK(off_by(y, evaluate(softmax<-1>(x))) <= 1e-5);
}

TEST_CASE("large expressions of a statement are kernels of their own") {
  const support::cuda_case clean;
  const tensor<float, 1> large = vector(exec::side_by_side_elements), v = vector(7);
  const tensor<float, 1> there = large.to(cuda(0)), dv = v.to(cuda(0));
  const auto [a, s] = with_kernels(2, [&] { return evaluate(there + 1, sum(dv)); });
  CHECK(off_by(a, evaluate(large + 1)) == 0);
  CHECK(off_by(s, evaluate(sum(v))) <= 1e-5);
}

TEST_CASE("running statistics are updated by one kernel, in a captured graph, too") {
  const support::cuda_case clean;
  const tensor<float, 2> x = matrix(40, 12);
  const tensor<float, 2> batch = x.to(cuda(0));
  const tensor<float, 1> losses = vector(9).to(cuda(0));
  const tensor<float, 1> average = zeros<float, 1>({12}, cuda(0));
  const tensor<float, 0> smooth = zeros<float, 0>({}, cuda(0));
  const auto update = [&] {
    assign(tie(average, smooth), average * 0.5f + mean<0>(batch), smooth * 0.5f + mean(losses));
    return smooth;
  };
  static_cast<void>(with_kernels(1, update));
  const tensor<float, 1> once = average.to(cpu());
  CHECK(off_by(once.to(cuda(0)), evaluate(mean<0>(x))) <= 1e-5);
  const cuda_graph step(cuda(0), update);
  step.replay();
  step.replay();
  CHECK(off_by(average, evaluate(once * 1.75f)) <= 1e-5);
}

TEST_CASE("gradients of independent expressions are the host's") {
  const support::cuda_case clean;
  const tensor<float, 2> x = matrix(6, 5);
  const tensor<float, 1> y = vector(11);
  const auto gradients = [&](device where) {
    const variable<float, 2> v(x.to(where));
    const variable<float, 1> w(y.to(where));
    const auto [a, b] = evaluate(sum(tanh(v)), sum(w * w));
    const variable<float, 0> total = a + b;
    total.backward();
    return std::pair{v.grad(), w.grad()};
  };
  const auto [on_device, of_vector] = gradients(cuda(0));
  const auto [here, of_vector_here] = gradients(cpu());
  CHECK(off_by(on_device, here) <= 1e-5);
  CHECK(off_by(of_vector, of_vector_here) <= 1e-5);
}

TEST_CASE(
    "gradients of one variable that two independent nests make are added one after the other") {
  const support::cuda_case clean;
  const tensor<float, 2> m = matrix(30, 20), n = matrix(25, 20);
  const tensor<float, 1> u = vector(20);
  const auto gradient = [&](device where) {
    const variable<float, 1> v(u.to(where));
    const tensor<float, 2> p = m.to(where), q = n.to(where);
    const variable<float, 1> y = sum<0>(softmax<0>(p * v) * p) + sum<0>(softmax<0>(q * v) * q);
    const tensor<float, 1> seed = ones<float, 1>({20}, where);
    const profiler watch;
    y.backward(seed);
    if (where.is_cuda()) CHECK(watch.kernels() > 1);
    return v.grad();
  };
  CHECK(off_by(gradient(cuda(0)), gradient(cpu())) <= 1e-5);
}
