// SPDX-License-Identifier: BSD-3-Clause
// A reduction without keepdim beside its own operand aligns an axis with another one.
// expect: heddle: broadcasting aligns two axes of one value with each other (a reduction without keepdim combined with its own operand?): use keepdim
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<float, 2>& x) {
#ifdef HEDDLE_CONTROL
  const heddle::tensor<float, 2> y =
      heddle::let([](auto v) { return v / heddle::sum<1>(v, heddle::keepdim); }, x);
#else
  const heddle::tensor<float, 2> y = heddle::let([](auto v) { return v / heddle::sum<1>(v); }, x);
#endif
  static_cast<void>(y);
}
