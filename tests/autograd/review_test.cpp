// SPDX-License-Identifier: BSD-3-Clause
// What gradients may share, and what backward refuses.
#include <doctest/doctest.h>

#include <heddle/autograd/function.hpp>
#include <heddle/autograd/grad.hpp>
#include <heddle/autograd/views.hpp>

namespace {

using namespace heddle;

}  // namespace

TEST_CASE("collected gradients share memory with no other gradient") {
  const variable<float, 1> a(tensor<float, 1>{1, 2, 3});
  const variable<float, 1> b(tensor<float, 1>{1, 2, 3});
  const variable<float, 1> s = record(
      tensor<float, 1>(a.value() + b.value()),
      [](const auto& g) {
        return std::tuple{g, g};
      },
      a, b);
  const variable<float, 0> loss = sum(s * 2.0f);
  loss.backward();
  tensor<float, 1> halved = a.grad();
  halved *= 0.5f;
  for (const float v : b.grad()) CHECK(v == 2.0f);
}

TEST_CASE("collected gradients share no memory with the seed") {
  const variable<float, 2> x(tensor<float, 2>{{1, 2}, {3, 4}});
  tensor<float, 1> seed{1, 1, 1, 1};
  const variable<float, 1> flat = reshape(x, {4});
  flat.backward(seed);
  seed.fill_(7);
  for (const float v : x.grad()) CHECK(v == 1.0f);
  x.grad().zero_();
  for (const float v : seed) CHECK(v == 7.0f);
}

TEST_CASE("backward refuses create_graph, which leaves could not keep") {
  const variable<float, 0> x(tensor<float, 0>(3.0f));
  const variable<float, 0> y = x * x;
  CHECK_THROWS_AS(y.backward({.create_graph = true}), state_error);
  y.backward();
  CHECK(x.grad().item() == 6.0f);
}

TEST_CASE("grad with create_graph records sums of gradients within no_grad, too") {
  const variable<float, 1> x(tensor<float, 1>{1, 2, 3});
  const variable<float, 1> squares = x * x;
  const variable<float, 1> cubes = x * x * x;
  const variable<float, 0> loss = sum(squares) + sum(cubes);
  const variable<float, 1> g = [&] {
    const no_grad off;
    return grad(loss, x, {.create_graph = true});
  }();
  REQUIRE(g.requires_grad());
  const variable<float, 0> total = sum(g);
  const variable<float, 1> second = grad(total, x);
  CHECK(second.value()(0) == doctest::Approx(8));
  CHECK(second.value()(2) == doctest::Approx(20));
}

TEST_CASE("grad refuses a seed of other extents than the output's") {
  const variable<float, 1> x(tensor<float, 1>{1, 2, 3});
  const variable<float, 1> y = x * 2.0f;
  const tensor<float, 1> seed{1};
  CHECK_THROWS_AS(static_cast<void>(grad(y, std::tuple{x}, seed)), shape_error);
}

TEST_CASE("a leaf's values keep their extents") {
  variable<float, 1> x(tensor<float, 1>{1, 2, 3});
  CHECK_THROWS_AS(x.set_value(tensor<float, 1>{1, 2, 3, 4, 5}), shape_error);
  x.set_value(tensor<float, 1>{4, 5, 6});
  CHECK(x.value()(0) == 4.0f);
}

TEST_CASE("a recorded function's gradients have the extents of its inputs") {
  const variable<float, 2> x(tensor<float, 2>{{1, 2, 3}, {4, 5, 6}});
  const variable<float, 2> y = record(
      tensor<float, 2>(x.value() * 2.0f), [](const auto& g) { return std::tuple{transpose(g)}; },
      x);
  CHECK_THROWS_AS(y.backward(ones<float, 2>({2, 3})), shape_error);
}
