// SPDX-License-Identifier: BSD-3-Clause
// More indices than axes are refused.
// expect: heddle::tensor: there are more indices than axes
#include <heddle/exec/evaluate.hpp>

float use(const heddle::tensor<float, 2>& x) {
#ifdef HEDDLE_CONTROL
  return x(0, 1);
#else
  return x(0, 1, 2);
#endif
}
