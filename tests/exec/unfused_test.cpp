// SPDX-License-Identifier: BSD-3-Clause
// What only a build with HEDDLE_UNFUSED does: it says at run time what a compiler that traces says.
#include "../support/said.hpp"
#include <doctest/doctest.h>

#include <heddle/autograd/grad.hpp>
#include <heddle/exec/profiler.hpp>
#include <heddle/tensor/vjp.hpp>

#if defined(HEDDLE_UNFUSED)

using heddle::shape_error;
using heddle::tensor;
using support::said;

namespace {

template <class E>
std::string refusal(const E& e) {
  return said<shape_error>([&] { (void)heddle::evaluate(e); });
}

template <int... I>
auto sum_of_many(const tensor<float, 0>& x, std::integer_sequence<int, I...>) {
  return heddle::let([](auto... all) { return (all + ...); }, (static_cast<void>(I), x)...);
}

}  // namespace

TEST_CASE("an unfused statement that is no program says why") {
  const auto x = heddle::ones<float, 2>({2, 3});
  const auto y = heddle::ones<float, 1>({3});
  CHECK(refusal(heddle::let([](auto a) { return a + heddle::sum<1>(a); }, x))
            .find("aligns two axes of one value") != std::string::npos);
  CHECK(refusal(exp(heddle::let([](auto) { return heddle::symbol(2.0); }, x))) ==
        "heddle: a number alone is not a statement");
  const tensor<float, 0> one = heddle::sum(y);
  CHECK(refusal(sum_of_many(one, std::make_integer_sequence<int, 257>{})) ==
        "heddle: the statement has more than 256 operands: store a part of it in a tensor first");
  CHECK(heddle::evaluate(sum_of_many(one, std::make_integer_sequence<int, 256>{})).item() == 768);
}

TEST_CASE("an unfused vjp says why it is none") {
  constexpr auto doubled = heddle::fused([](auto a) { return a + a; });
  constexpr auto looked_up =
      heddle::fused([](auto table, auto index) { return take(table, index); });
  const auto x = heddle::ones<float, 2>({2, 3});
  const auto seed = heddle::ones<float, 1>({3});
  CHECK(refusal(vjp(doubled, seed, x)) ==
        "heddle::vjp: the seed's rank is not the lambda's result's");
  const tensor<std::int64_t, 1> index{1, 0};
  CHECK(refusal(vjp(looked_up, x, x, index)) ==
        "heddle::vjp: the lambda gathers from an operand, whose gradient is no expression");
}

TEST_CASE("an unfused statement is interpreted, and so is its gradient") {
  const heddle::variable<float, 1> x(tensor<float, 1>{1, 2, 3});
  const heddle::profiler watch;
  const heddle::variable<float, 0> y = heddle::sum(x * x);
  y.backward();
  CHECK(x.grad()(2) == 6);
  int interpreted = 0;
  for (const heddle::launch_record& launch : watch.launches()) {
    CHECK(std::string(launch.name) != "program");
    interpreted += std::string(launch.name) == "interpret" ? 1 : 0;
  }
  CHECK(interpreted >= 2);
}

#endif
