// SPDX-License-Identifier: BSD-3-Clause
// The op of a user's own program in docs/adding-an-op.md.
#include <doctest/doctest.h>

#include <heddle/autograd/gradcheck.hpp>

//! [user_op]
constexpr auto softsign = static_cast<heddle::op>(1024);  // op::user, and from there on

template <>
struct heddle::op_traits<softsign> {
  static constexpr std::string_view name = "softsign";
  // on the host and on devices, for float and double
  template <class T>
  HEDDLE_HD static T value(T x) {
    return x / (1 + math::abs(x));
  }
  // of the operand x, the value y and the incoming gradient g
  static constexpr grads<1> derivative(symbol x, symbol, symbol g) {
    const symbol d = 1 + abs(x);
    return {g / (d * d)};
  }
};
//! [user_op]

TEST_CASE("a user's op has values, derivatives, and a place in lambdas") {
  //! [use]
  const heddle::tensor<double, 1> x{-3, 0.5, 2};
  heddle::tensor<double, 1> y = heddle::apply_op<softsign>(x * 2);
  constexpr auto gate =
      heddle::fused([](auto a, auto b) { return a * heddle::apply_op<softsign>(b); });
  const auto result = heddle::gradcheck(
      [&](const auto& a, const auto& b) { return evaluate(gate(a, b)); }, std::tuple{y, x});
  //! [use]
  CHECK(y(1) == 0.5);
  CHECK_MESSAGE(result, to_string(result));
}
