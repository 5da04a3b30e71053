// SPDX-License-Identifier: BSD-3-Clause
// Each tied destination has a value.
// expect: heddle::assign: give as many values as destinations are tied
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<float, 1>& a, const heddle::tensor<float, 1>& b) {
#ifdef HEDDLE_CONTROL
  heddle::assign(heddle::tie(a, b), b * 1, a * 1);
#else
  heddle::assign(heddle::tie(a, b), b * 1);
#endif
}
