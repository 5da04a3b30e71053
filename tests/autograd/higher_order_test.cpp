// SPDX-License-Identifier: BSD-3-Clause
// Second and third derivatives, interpreted, against central differences of the order below.
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/autograd/grad.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/random.hpp>

namespace {

using namespace heddle;

constexpr auto layer_norm = fused([](auto x, auto gamma) {
  const auto c = x - mean<-1>(x, keepdim);
  return c * rsqrt(mean<-1>(square(c), keepdim) + 1e-2) * gamma;
});
constexpr auto softmax = fused([](auto x) {
  const auto e = exp(x - detach(amax<-1>(x, keepdim)));
  return e / sum<-1>(e, keepdim);
});

/// Fixed weights without symmetry.
template <int Rank>
tensor<double, Rank> weights(const extents<Rank>& e) {
  tensor<double, Rank> w = empty<double, Rank>(e);
  double i = 0;
  for (double& v : w) {
    i += 0.61803398874989484820;
    v = 0.5 + (i - std::floor(i));
  }
  return w;
}

/// The scalar sum(w g_n), where g_0 = f(x) and g_n is the gradient of sum(w g_(n-1)).
template <int Order, class F, int Rank>
variable<double, 0> contracted(F f, const variable<double, Rank>& x) {
  if constexpr (Order == 0) {
    const auto y = f(x);
    return sum(y * weights(y.extents()));
  } else {
    const variable<double, 0> lower = contracted<Order - 1>(f, x);
    const variable<double, Rank> g = grad(lower, x, {.create_graph = true});
    return sum(g * weights(g.extents()));
  }
}

/// The largest difference between the gradient of the contraction of this order and differences of
/// it, over what is allowed.
template <int Order, class F, int Rank>
double excess(F f, const tensor<double, Rank>& at, double tolerance) {
  const variable<double, Rank> x(at.clone());
  const variable<double, 0> loss = contracted<Order>(f, x);
  loss.backward();
  const tensor<double, Rank> derived = x.grad();
  double largest = 0;
  for (const double g : derived) largest = std::fmax(largest, std::fabs(g));
  const tensor<double, Rank> moved = at.clone();
  double worst = 0;
  auto place = derived.begin();
  for (std::int64_t i = 0; i < at.size(); ++i, ++place) {
    const double h = 1e-4;
    const auto value = [&](double step) {
      const double start = moved.data()[i];
      moved.data()[i] = start + step;
      const double result = contracted<Order>(f, variable<double, Rank>(moved.clone())).item();
      moved.data()[i] = start;
      return result;
    };
    const double near = (value(h) - value(-h)) / (2 * h);
    const double far = (value(2 * h) - value(-2 * h)) / (4 * h);
    const double measured = near + (near - far) / 3;
    worst = std::fmax(worst, std::fabs(measured - *place) / (tolerance * (largest + 1e-3)));
  }
  return worst;
}

}  // namespace

TEST_CASE("second and third derivatives of element-wise functions agree with differences") {
  const tensor<double, 1> x = rand<double, 1>({7});
  const auto f = [](const auto& v) { return variable(tanh(v * v) * exp(v) / (1 + v)); };
  CHECK(excess<1>(f, x, 1e-7) < 1);
  CHECK(excess<2>(f, x, 1e-7) < 1);
}

TEST_CASE("second derivatives of softmax and layer norm agree with differences") {
  const tensor<double, 2> x = randn<double, 2>({3, 5});
  CHECK(excess<1>([](const auto& v) { return variable(softmax(v)); }, x, 1e-7) < 1);
  const tensor<double, 1> gamma = randn<double, 1>({5});
  const auto norm = [&](const auto& v) { return variable(layer_norm(v, gamma)); };
  CHECK(excess<1>(norm, x, 1e-7) < 1);
  CHECK(excess<2>(norm, x, 1e-6) < 1);
}

TEST_CASE("second derivatives pass through several statements and broadcasts") {
  const tensor<double, 2> x = randn<double, 2>({3, 1});
  const auto f = [](const auto& v) {
    const variable<double, 2> wide =
        v * weights(extents<2>{3, 4});  // an extent that happens to be 1
    const variable<double, 1> s = sum<0>(wide * wide);
    return variable<double, 1>(s * exp(-s));
  };
  CHECK(excess<1>(f, x, 1e-7) < 1);
}

TEST_CASE("second derivatives pass through extrema, where and gathers") {
  const tensor<double, 2> table = randn<double, 2>({5, 3});
  const tensor<std::int64_t, 1> index{4, 0, 4};
  const auto f = [&](const auto& v) {
    const variable<double, 2> rows =
        let([](auto t, auto i) { return square(take(t, i)) * take(t, i); }, v, index);
    return variable<double, 1>(amax<1>(rows) * 2 + sum<1>(where(rows > 0, rows * rows, rows)));
  };
  CHECK(excess<1>(f, table, 1e-6) < 1);
}

TEST_CASE("second derivatives pass through a gather whose table is not saved") {
  const tensor<double, 2> table = randn<double, 2>({5, 3});
  const tensor<std::int64_t, 1> index{4, 0, 4};
  const auto f = [&](const auto& v) {
    const variable<double, 2> rows = let([](auto t, auto i) { return take(t, i) * 2; }, v, index);
    return variable<double, 2>(rows * rows * rows);
  };
  CHECK(excess<1>(f, table, 1e-6) < 1);
}

TEST_CASE("third derivatives of a polynomial are exact") {
  const variable<double, 1> x(tensor<double, 1>{1, 2, 3});
  const variable<double, 0> y = sum(x * x * x * x);
  const auto first = grad(y, x, {.create_graph = true});
  const auto second = grad(variable<double, 0>(sum(first)), x, {.create_graph = true});
  const variable<double, 0> total = sum(second);
  total.backward();
  CHECK(x.grad()(0) == 24);
  CHECK(x.grad()(1) == 48);
  CHECK(x.grad()(2) == 72);
}

TEST_CASE("grad gives 0 for what the output does not depend on, and collects nothing") {
  const variable<double, 1> x(tensor<double, 1>{1, 2}), y(tensor<double, 1>{3, 4});
  const variable<double, 0> loss = sum(x * x);
  const auto [gx, gy] = grad(loss, std::tuple{x, y});
  CHECK(gx.value()(1) == 4);
  CHECK(gy.value()(1) == 0);
  CHECK_FALSE(x.grad().defined());
  CHECK_FALSE(gx.requires_grad());
}

TEST_CASE("grad of a computed variable stops there and is its final gradient") {
  const variable<double, 1> x(tensor<double, 1>{1, 2});
  const variable<double, 1> h = x * x;
  const variable<double, 0> loss = sum(h * h + h);
  const variable<double, 1> g = grad(loss, h);
  CHECK(g.value()(0) == 3);
  CHECK(g.value()(1) == 9);
}
