// SPDX-License-Identifier: BSD-3-Clause
// What is assigned to a view.
// expect: heddle::tensor: what is assigned to a view is no expression and no value
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<float, 2>& x) {
#ifdef HEDDLE_CONTROL
  x(0) = 1.5;
#else
  x(0) = "1.5";
#endif
}
