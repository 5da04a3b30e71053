// SPDX-License-Identifier: BSD-3-Clause
// Expressions as values: what they hold, how they move, what their types say before evaluation.
#include <cmath>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/creation.hpp>

namespace {

using namespace heddle;

constexpr auto silu = fused([](auto x) { return x * sigmoid(x); });
constexpr auto gated = fused([](auto x, auto g) { return silu(x) * g; });

auto sum_of_locals() {
  const tensor<float, 1> a{1, 2, 3};
  const tensor<float, 1> b{10, 20, 30};
  const float two = 2;
  return a * two + b;
}

template <class E>
constexpr int rank_of(const E&) {
  return E::rank;
}

}  // namespace

TEST_CASE("an expression returned from a function holds its operands") {
  const auto e = sum_of_locals();
  const std::vector<float> other(1000, 7.0f);  // memory that was freed would be taken again
  const tensor<float, 1> y = e;
  const tensor<float, 1> again = e;
  CHECK(y(2) == 36);
  CHECK(again(0) == 12);
  CHECK(other[0] == 7);
}

TEST_CASE("an expression shares its operands: what is written later is what it reads") {
  tensor<float, 1> a{1, 2, 3};
  const auto e = a * 2;
  a += 1.0f;
  CHECK(evaluate(e)(0) == 4);
  a = tensor<float, 1>{100, 100, 100};  // rebound: the expression keeps the old one
  CHECK(evaluate(e)(0) == 4);
}

TEST_CASE("expressions copy, move and nest") {
  auto e = sum_of_locals();
  auto copy = e;
  const auto moved = std::move(e);
  const auto nested = (copy + moved) * silu(moved - copy) + 1;
  const tensor<float, 1> y = nested;
  CHECK(y(0) == 1);
  std::vector<decltype(copy)> several;
  several.push_back(copy);
  several.push_back(std::move(copy));
  CHECK(evaluate(several[1])(1) == 24);
}

TEST_CASE("fused functions take tensors, expressions and numbers, and call each other") {
  const tensor<float, 1> x{0, 0, 0};
  CHECK(evaluate(gated(x + 1, 3))(0) == doctest::Approx(3 / (1 + std::exp(-1.0))));
  CHECK(evaluate(gated(x + 1, x - 2))(2) == doctest::Approx(-2 / (1 + std::exp(-1.0))));
  const tensor<float, 1> nested = let([](auto v) { return gated(v + 1, silu(v) + 2); }, x);
  CHECK(nested(0) == doctest::Approx(2 / (1 + std::exp(-1.0))));
}

TEST_CASE("ranks and dtypes are known before anything is computed") {
  const tensor<float, 2> x = ones<float, 2>({2, 3});
  const tensor<double, 1> row = ones<double, 1>({3});
  static_assert(decltype(x + row)::rank == 2);
  static_assert(decltype(x + row)::type == dtype::f64);
  static_assert(decltype(sum<0>(x))::rank == 1);
  static_assert(decltype(sum(x))::rank == 0);
  static_assert(decltype(mean<0>(x, keepdim))::rank == 2);
  static_assert(decltype(x == x)::type == dtype::boolean);
  static_assert(decltype(unsqueeze<0>(x))::rank == 3);
  static_assert(decltype(cast<bfloat16>(x))::type == dtype::bf16);
  CHECK(rank_of(silu(x)) == 2);
}
