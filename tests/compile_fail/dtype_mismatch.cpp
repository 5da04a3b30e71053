// SPDX-License-Identifier: BSD-3-Clause
// Mixed dtypes promote; a narrower tensor takes the result only through a cast.
// expect: heddle::tensor: the expression's dtype is not the tensor's; write cast<T>(x)
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<float, 1>& x, const heddle::tensor<double, 1>& y) {
#ifdef HEDDLE_CONTROL
  const heddle::tensor<float, 1> z = heddle::cast<float>(x + y);
#else
  const heddle::tensor<float, 1> z = x + y;
#endif
  static_cast<void>(z);
}
