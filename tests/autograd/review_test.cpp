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

namespace {

/// So that what is read without having been written is no zero.
__attribute__((noinline)) void fill_stack() {
  volatile unsigned char bytes[65536];
  for (auto& b : bytes) b = 0x5a;
}

}  // namespace

TEST_CASE("a result that nothing used has no gradient, whatever lay on the stack") {
  const variable<double, 1> x(tensor<double, 1>{1, 2, 3}), y(tensor<double, 1>{10, 20, 30});
  const variable<double, 1> z = x * x * y * y;
  const variable<double, 0> l = sum(z);
  const auto [gx, gy] = grad(l, std::tuple{x, y}, {.create_graph = true});
  const variable<double, 0> l2 = sum(gy);  // of two results the one
  fill_stack();
  const auto [g] = grad(l2, std::tuple{x}, {.create_graph = true});
  for (std::int64_t i = 0; i < 3; ++i) {
    CHECK(g.value()(i) == doctest::Approx(4 * x.value()(i) * y.value()(i)));
  }
}

TEST_CASE("two layouts of a variable do not add to one gradient, which was there, side by side") {
  constexpr std::int64_t n = 1024;
  const int before = num_threads();
  set_num_threads(3);
  tensor<float, 2> value = zeros<float, 2>({n, n});
  for (std::int64_t i = 0; i < n * n; ++i) value.data()[i] = static_cast<float>(i * 7 % 11);
  std::int64_t wrong = 0;
  for (int repetition = 0; repetition < 5; ++repetition) {
    const variable<float, 2> x(value), y(value);
    const variable<float, 2> a =
        let([](const auto& v, const auto& w) { return v * permute<1, 0>(w); }, x, x);
    const variable<float, 2> twice = y * 2.0f;
    const variable<float, 2> b = x * 3.0f + twice;  // its derivative runs first
    const variable<float, 0> l = sum(a) + sum(b);
    l.backward();
    const tensor<float, 2> g = x.grad();
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < n; ++j) wrong += g(i, j) != 2 * value(j, i) + 3 ? 1 : 0;
    }
  }
  CHECK(wrong == 0);
  set_num_threads(before);
}

TEST_CASE("operands without gradients have no memory in common") {
  for (const std::int64_t n : {40, 1000}) {
    const variable<float, 1> a(ones<float, 1>({n}), false);
    const variable<double, 1> b(ones<double, 1>({n}), false), c(ones<double, 1>({n}));
    const variable<double, 1> y = cast<double>(a) * b * c;
    y.backward(ones<double, 1>({n}));
    CHECK(c.grad()(n - 1) == 1);
  }
}
