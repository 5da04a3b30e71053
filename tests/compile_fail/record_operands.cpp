// SPDX-License-Identifier: BSD-3-Clause
// What a recorded function takes and what its backward returns.
// expect: heddle::record: an input is neither tensor nor variable; evaluate it first
// expect: heddle::record: a gradient is no tensor, variable or expression; write no_gradient() for an input that has none
#include <heddle/autograd/function.hpp>

using heddle::variable;

void use(const heddle::tensor<float, 1>& y, const variable<float, 1>& x) {
#ifdef HEDDLE_CONTROL
  const variable<float, 1> given(x * 2);
  static_cast<void>(heddle::record(
      y, [](const auto&) { return std::tuple{heddle::no_gradient()}; }, x));
#else
  const auto given = x * 2;
  static_cast<void>(heddle::record(
      y, [](const auto&) { return std::tuple{0}; }, x));
#endif
  static_cast<void>(heddle::record(
      y, [](const auto& g) { return std::tuple{g}; }, given));
}
