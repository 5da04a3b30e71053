// SPDX-License-Identifier: BSD-3-Clause
// Fusion, asserted: how many sweeps over memory a statement takes, and how many bytes they move.
#include <cmath>
#include <cstdint>

#include <doctest/doctest.h>

#include <heddle/autograd/gradcheck.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/random.hpp>
#include <heddle/tensor/views.hpp>

namespace {

using namespace heddle;

constexpr auto softmax = fused([](auto x) {
  const auto e = exp(x - detach(amax<-1>(x, keepdim)));
  return e / sum<-1>(e, keepdim);
});
constexpr auto layer_norm = fused([](auto x, auto gamma, auto beta, auto eps) {
  const auto c = x - mean<-1>(x, keepdim);
  return c * rsqrt(mean<-1>(square(c), keepdim) + eps) * gamma + beta;
});
constexpr auto batch_norm = fused([](auto x, auto gamma, auto beta, auto eps) {
  const auto c = x - mean<0, 2, 3>(x, keepdim);
  return c * rsqrt(mean<0, 2, 3>(square(c), keepdim) + eps) * unsqueeze<-1>(unsqueeze<-1>(gamma)) +
         unsqueeze<-1>(unsqueeze<-1>(beta));
});
constexpr auto gelu = fused([](auto x) { return x * 0.5 * (1 + erf(x * 0.70710678118654752440)); });
constexpr auto cross_entropy = fused([](auto logits, auto target) {
  const auto shifted = logits - detach(amax<-1>(logits, keepdim));
  const auto picked = where(iota<1>(logits) == unsqueeze<1>(target), shifted, 0);
  return mean(log(sum<-1>(exp(shifted))) - sum<-1>(picked));
});

struct counted_work {
  int kernels = 0;
  std::int64_t bytes = 0;
};

template <class F>
counted_work work_of(F f) {
  const profiler p;
  f();
  return {p.kernels(), p.bytes()};
}

}  // namespace

TEST_CASE("a map of four operands is one kernel that reads each once") {
  const tensor<float, 2> a = randn<float, 2>({12, 40}), b = randn<float, 2>({12, 40});
  const tensor<float, 1> c = randn<float, 1>({40});
  const counted_work w = work_of([&] { return evaluate(maximum(a * b + c, 0) * 2); });
  CHECK(w.kernels == 1);
  CHECK(w.bytes == (3 * 480 + 40) * 4);
}

TEST_CASE("softmax and layer norm are one kernel forward and one backward") {
  variable<float, 2> x(randn<float, 2>({12, 40}));
  const variable<float, 1> gamma(randn<float, 1>({40})), beta(randn<float, 1>({40}));
  const tensor<float, 2> seed = randn<float, 2>({12, 40});

  variable<float, 2> y;
  counted_work w = work_of([&] { y = softmax(x); });
  CHECK(w.kernels == 1);
  CHECK(w.bytes == 2 * 480 * 4);
  w = work_of([&] { y.backward(seed); });
  CHECK(w.kernels == 1);
  CHECK(w.bytes == 3 * 480 * 4);

  w = work_of([&] { y = layer_norm(x, gamma, beta, 1e-5); });
  CHECK(w.kernels == 1);
  CHECK(w.bytes == (2 * 480 + 2 * 40 + 2 * 12) * 4);  // a sum and a sum of squares a row are kept
  x.zero_grad();
  w = work_of([&] { y.backward(seed); });
  CHECK(w.kernels == 1);
  CHECK(w.bytes == (3 * 480 + 3 * 40 + 2 * 12) * 4);
}

TEST_CASE("gelu and cross entropy are one kernel forward and one backward") {
  const variable<float, 2> x(randn<float, 2>({12, 40}));
  const tensor<float, 2> seed = randn<float, 2>({12, 40});
  variable<float, 2> y;
  CHECK(work_of([&] { y = gelu(x); }).kernels == 1);
  CHECK(work_of([&] { y.backward(seed); }).kernels == 1);

  const tensor<std::int64_t, 1> target = full<std::int64_t, 1>({12}, 3);
  variable<float, 0> loss;
  x.zero_grad();
  CHECK(work_of([&] { loss = cross_entropy(x, target); }).kernels == 1);
  CHECK(work_of([&] { loss.backward(); }).kernels == 1);
}

TEST_CASE("softmax of plain operators is one kernel that reads its operand four times") {
  const tensor<float, 2> x = randn<float, 2>({12, 40});
  tensor<float, 2> y;
  const counted_work w = work_of(
      [&] { y = exp(x - amax<-1>(x, keepdim)) / sum<-1>(exp(x - amax<-1>(x, keepdim)), keepdim); });
  CHECK(w.kernels == 1);
  CHECK(w.bytes == 5 * 480 * 4);
  const tensor<float, 2> z = softmax(x);
  for (std::int64_t i = 0; i < 12; ++i) {
    for (std::int64_t j = 0; j < 40; ++j) CHECK(y(i, j) == doctest::Approx(z(i, j)));
  }
}

TEST_CASE("batch norm over axes 0, 2 and 3 is one loop nest") {
  const tensor<double, 4> x = randn<double, 4>({3, 5, 4, 9});
  const tensor<double, 1> gamma = randn<double, 1>({5}), beta = randn<double, 1>({5});
  tensor<double, 4> y;
  const counted_work w = work_of([&] { y = batch_norm(x, gamma, beta, 1e-5); });
  CHECK(w.kernels == 1);
  CHECK(w.bytes == (2 * 540 + 10) * 8);
  for (std::int64_t c = 0; c < 5; ++c) {
    double m = 0, v = 0;
    const tensor<double, 3> part = select<1>(x, c);
    for (const double e : part) m += e / 108;
    for (const double e : part) v += (e - m) * (e - m) / 108;
    for (std::int64_t k = 0; k < 9; ++k) {
      CHECK(y(2, c, 3, k) ==
            doctest::Approx((x(2, c, 3, k) - m) / std::sqrt(v + 1e-5) * gamma(c) + beta(c)));
    }
  }
}

TEST_CASE("the derived gradients of these definitions agree with differences") {
  const auto at = [](const gradcheck_result& r) { return to_string(r); };
  const tensor<double, 2> x = randn<double, 2>({4, 19});
  const tensor<double, 1> gamma = randn<double, 1>({19}), beta = randn<double, 1>({19});
  gradcheck_result r = gradcheck([](auto v) { return variable(softmax(v)); }, std::tuple{x});
  CHECK_MESSAGE(r, at(r));
  r = gradcheck([](auto v, auto g, auto b) { return variable(layer_norm(v, g, b, 1e-5)); },
                std::tuple{x, gamma, beta});
  CHECK_MESSAGE(r, at(r));
  r = gradcheck([](auto v) { return variable(gelu(v)); }, std::tuple{x});
  CHECK_MESSAGE(r, at(r));
  const tensor<std::int64_t, 1> target{0, 18, 3, 7};
  r = gradcheck([&](auto v) { return variable(cross_entropy(v, target)); }, std::tuple{x});
  CHECK_MESSAGE(r, at(r));
  r = gradcheck(
      [](auto v, auto g, auto b) { return variable(batch_norm(v, g, b, 1e-5)); },
      std::tuple{randn<double, 4>({2, 3, 2, 5}), randn<double, 1>({3}), randn<double, 1>({3})});
  CHECK_MESSAGE(r, at(r));
  r = gradcheck([](auto v) { return variable(v / amax(v)); }, std::tuple{x});
  CHECK_MESSAGE(r, at(r));
}

TEST_CASE("a gradient of an extremum is shared among ties") {
  const variable<double, 2> x(tensor<double, 2>{{1, 3, 3}, {2, 2, 2}, {5, 1, 0}});
  const variable<double, 1> y = amax<1>(x);
  y.backward(tensor<double, 1>{1, 1, 1});
  const tensor<double, 2> g = x.grad();
  CHECK(g(0, 0) == 0);
  CHECK(g(0, 1) == 0.5);
  CHECK(g(1, 2) == doctest::Approx(1.0 / 3));
  CHECK(g(2, 0) == 1);
}
