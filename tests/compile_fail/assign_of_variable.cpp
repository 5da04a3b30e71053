// SPDX-License-Identifier: BSD-3-Clause
// Writing into a tensor would lose the gradient, too.
// expect: heddle::assign: the value holds a variable: a tensor does not keep its gradient; take the values of variables with value()
#include <heddle/autograd/record.hpp>

void use(const heddle::tensor<float, 1>& y, const heddle::variable<float, 1>& x) {
#ifdef HEDDLE_CONTROL
  heddle::assign(y, x.value() * 2);
#else
  heddle::assign(y, x * 2);
#endif
}
