// SPDX-License-Identifier: BSD-3-Clause
// Writing in place does not convert.
// expect: heddle::assign: the value's dtype is not the destination's; write cast<T>(x)
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<float, 1>& x, const heddle::tensor<double, 1>& y) {
#ifdef HEDDLE_CONTROL
  heddle::assign(x, heddle::cast<float>(x + y));
#else
  heddle::assign(x, x + y);
#endif
}
