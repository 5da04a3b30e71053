// SPDX-License-Identifier: BSD-3-Clause
// record: functions with derivatives by hand; views of variables.
#include <doctest/doctest.h>

#include <heddle/autograd/grad.hpp>
#include <heddle/autograd/gradcheck.hpp>
#include <heddle/autograd/views.hpp>
#include <heddle/tensor/random.hpp>

using namespace heddle;

namespace {

generator numbers(5);
tensor<double, 3> point() { return randn<double, 3>({2, 3, 4}, numbers); }

template <class T, int Rank>
variable<T, Rank> cubed(const variable<T, Rank>& x) {
  return record(
      tensor<T, Rank>(x.value() * x.value() * x.value()),
      [](const auto& g, const auto& y) { return std::tuple{g * 3.0 * y * y}; }, x);
}

}  // namespace

TEST_CASE("a recorded function has its derivative by hand, at every order") {
  const variable<double, 1> x(tensor<double, 1>{1, 2, -3});
  const variable first = grad(variable(sum(cubed(x))), x, {.create_graph = true});
  const variable second = grad(variable(sum(first)), x, {.create_graph = true});
  const variable third = grad(variable(sum(second)), x);
  for (std::int64_t i = 0; i < 3; ++i) {
    const double v = x.value()(i);
    CHECK(first.value()(i) == doctest::Approx(3 * v * v));
    CHECK(second.value()(i) == doctest::Approx(6 * v));
    CHECK(third.value()(i) == doctest::Approx(6));
  }
}

TEST_CASE("inputs without gradients are not differentiated, and unwanted gradients not computed") {
  const variable<double, 1> x(tensor<double, 1>{1, 2});
  const tensor<double, 1> c{3, 4};
  int computed = 0;
  const variable y = record(
      tensor<double, 1>(x.value() * c),
      [&computed](const auto& g, const auto&, const auto& k) {
        ++computed;
        return std::tuple{g * k, no_gradient()};
      },
      x, c);
  y.backward(tensor<double, 1>{1, 1});
  CHECK(computed == 1);
  CHECK(x.grad()(1) == 4);
  const no_grad off;
  CHECK_FALSE(cubed(x).requires_grad());
}

TEST_CASE("a recorded function notices that its input was written, and a graph that was freed") {
  const tensor<double, 1> value{1, 2};
  const variable<double, 1> x(value);
  const variable y = cubed(x);
  assign(value, value * 2);
  CHECK_THROWS_AS(y.backward(tensor<double, 1>{1, 1}), state_error);
  const variable z = cubed(x);
  z.backward(tensor<double, 1>{1, 1});
  CHECK_THROWS_AS(z.backward(tensor<double, 1>{1, 1}), state_error);
}

TEST_CASE("views of variables have the gradients of their elements") {
  const std::tuple one{point()};
  CHECK(gradcheck([](const auto& x) { return variable(transpose(x) * 2); }, one));
  CHECK(gradcheck([](const auto& x) { return variable(exp(transpose<0, 2>(x))); }, one));
  CHECK(gradcheck([](const auto& x) { return variable(exp(permute<2, 0, 1>(x))); }, one));
  CHECK(gradcheck([](const auto& x) { return variable(exp(reshape(x, {4, -1}))); }, one));
  CHECK(gradcheck([](const auto& x) { return variable(exp(flatten<1>(x))); }, one));
  CHECK(gradcheck([](const auto& x) { return variable(exp(narrow<1>(x, 1, 2))); }, one));
  CHECK(gradcheck([](const auto& x) { return variable(exp(select<2>(x, -1))); }, one));
  CHECK(
      gradcheck([](const auto& x) { return variable(exp(squeeze<0>(narrow<0>(x, 1, 1)))); }, one));
}

TEST_CASE("views of variables have second derivatives") {
  const variable<double, 3> x(point());
  const variable y = sum(cubed(narrow<1>(permute<1, 2, 0>(x), 1, 2)));
  const variable g = grad(y, x, {.create_graph = true});
  const variable h = grad(variable(sum(g)), x);
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) {
      for (std::int64_t k = 0; k < 4; ++k) {
        const double v = x.value()(i, j, k);
        const bool in = k == 1 || k == 2;
        CHECK(g.value()(i, j, k) == doctest::Approx(in ? 3 * v * v : 0));
        CHECK(h.value()(i, j, k) == doctest::Approx(in ? 6 * v : 0));
      }
    }
  }
}

TEST_CASE("a variable moved to another device brings its gradient back") {
  const variable<double, 1> x(tensor<double, 1>{1, 2});
  const variable<double, 1> y = to(x, cpu(1));
  CHECK(y.device() == cpu(1));
  const variable z = y * y;
  z.backward(tensor<double, 1>({1, 1}, cpu(1)));
  CHECK(x.grad().device() == cpu());
  CHECK(x.grad()(1) == 4);
}
