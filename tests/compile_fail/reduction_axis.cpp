// SPDX-License-Identifier: BSD-3-Clause
// An axis that the operand lacks is refused by the function's name.
// expect: heddle::sum: an axis is out of range: axes are -rank to rank - 1
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<float, 2>& x) {
#ifdef HEDDLE_CONTROL
  const heddle::tensor<float, 1> y = heddle::sum<1>(x);
  static_cast<void>(y);
#else
  static_cast<void>(heddle::sum<2>(x));
#endif
}
