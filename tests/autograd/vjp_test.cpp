// SPDX-License-Identifier: BSD-3-Clause
// Derivatives as expressions, and their own derivatives, compiled.
#include <doctest/doctest.h>

#include <heddle/autograd/gradcheck.hpp>
#include <heddle/exec/profiler.hpp>
#include <heddle/tensor/random.hpp>

using namespace heddle;

namespace {

constexpr auto plain_softmax = fused([](auto x) {
  auto e = exp(x - detach(amax<-1>(x, keepdim)));
  return e / sum<-1>(e, keepdim);
});
constexpr auto plain_layer_norm = fused([](auto x, auto scale, auto shift) {
  auto centered = x - mean<-1>(x, keepdim);
  return centered * rsqrt(mean<-1>(centered * centered, keepdim) + 1e-5) * scale + shift;
});
constexpr auto plain_gelu =
    fused([](auto x) { return 0.5 * x * (1 + erf(x * 0.70710678118654752440)); });
constexpr auto plain_cross_entropy = fused([](auto x, auto target) {
  auto shifted = x - detach(amax<-1>(x, keepdim));
  auto picked = sum<-1>(where(iota<-1>(x) == unsqueeze<-1>(target), shifted, 0));
  return mean(log(sum<-1>(exp(shifted))) - picked);
});

const tensor<double, 2> x = randn<double, 2>({5, 7});
const tensor<double, 2> g = randn<double, 2>({5, 7});
const tensor<double, 1> scale = randn<double, 1>({7});
const tensor<double, 1> shift = randn<double, 1>({7});

}  // namespace

// Backward is given the result and does not compute powers again: that rounds differently.
TEST_CASE("vjp gives the gradient that backward gives") {
  const variable<double, 2> v(x);
  variable<double, 2>(plain_softmax(v)).backward(g);
  const tensor<double, 2> compiled = evaluate(vjp(plain_softmax, g, x));
  auto expected = v.grad().begin();
  for (const double d : compiled) CHECK(d == doctest::Approx(*expected++).epsilon(1e-13));
}

TEST_CASE("compiled second derivatives of softmax, layer norm, gelu and cross entropy are right") {
  const auto check = [](const gradcheck_result& r) {
    INFO(to_string(r));
    CHECK(r);
  };
  check(gradcheck([](auto v, auto seed) { return evaluate(vjp(plain_softmax, seed, v)); },
                  std::tuple{x, g}));
  check(gradcheck([](auto v, auto seed) { return evaluate(vjp(plain_gelu, seed, v)); },
                  std::tuple{x, g}));
  check(gradcheck(
      [](auto v, auto a, auto b, auto seed) {
        return std::get<0>(evaluate(vjp(plain_layer_norm, seed, v, a, b)));
      },
      std::tuple{x, scale, shift, g}));
  check(gradcheck(
      [](auto v, auto a, auto b, auto seed) {
        return std::get<1>(evaluate(vjp(plain_layer_norm, seed, v, a, b)));
      },
      std::tuple{x, scale, shift, g}));
  const tensor<std::int64_t, 1> target{0, 6, 3, 3, 1};
  check(gradcheck(
      [&](auto v, auto seed) {
        return std::get<0>(evaluate(vjp(plain_cross_entropy, seed, v, target)));
      },
      std::tuple{x, randn<double, 0>({})}));
}

TEST_CASE("a compiled second derivative is one kernel") {
  const variable<double, 2> v(x);
  const variable<double, 2> seed(g);
  const variable<double, 2> first = evaluate(vjp(plain_softmax, seed, v));
  const profiler p;
  first.backward(g);
  CHECK(p.kernels() == 1);
}

TEST_CASE("gradients have their operands' extents where no value of them is needed") {
  const auto v = randn<double, 3>({2, 3, 4});
  const tensor<double, 2> seed{{1, 2, 3}, {4, 5, 6}};
  const auto of_rows = evaluate(vjp(fused([](auto t) { return mean<-1>(t); }), seed, v));
  REQUIRE(of_rows.extents() == v.extents());
  for (std::int64_t k = 0; k < 4; ++k) CHECK(of_rows(1, 2, k) == 6.0 / 4);
  const auto of_columns = evaluate(
      vjp(fused([](auto t) { return sum<0>(t); }), tensor<double, 2>(randn<double, 2>({3, 4})), v));
  CHECK(of_columns.extents() == v.extents());
  const auto of_all =
      evaluate(vjp(fused([](auto t) { return mean(t); }), tensor<double, 0>(2.4), v));
  REQUIRE(of_all.extents() == v.extents());
  CHECK(of_all(1, 2, 0) == doctest::Approx(0.1));
}
