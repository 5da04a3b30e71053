// SPDX-License-Identifier: BSD-3-Clause
// A tensor of another rank than the expression's is refused where it is made.
// expect: heddle::tensor: the expression's rank is not the tensor's; write tensor<T, rank of the expression>
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<float, 2>& x) {
#ifdef HEDDLE_CONTROL
  const heddle::tensor<float, 2> y = x * 2;
#else
  const heddle::tensor<float, 1> y = x * 2;
#endif
  static_cast<void>(y);
}
