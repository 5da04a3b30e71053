// SPDX-License-Identifier: BSD-3-Clause
// A tensor would lose the gradient of an expression that holds a variable.
// expect: heddle::tensor: the expression holds a variable: make a variable of it, or take the values of variables with value()
#include <heddle/autograd/record.hpp>

void use(const heddle::variable<float, 1>& x) {
#ifdef HEDDLE_CONTROL
  const heddle::variable<float, 1> y = x * 2;
#else
  const heddle::tensor<float, 1> y = x * 2;
#endif
  static_cast<void>(y);
}
