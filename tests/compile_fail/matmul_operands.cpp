// SPDX-License-Identifier: BSD-3-Clause
// There is no product of truth values, and no transposed vector.
// expect: heddle::matmul: the operands are bool; write cast<T>(...)
// expect: heddle::transposed: the operand has fewer than two axes
// flags: -DHEDDLE_PORTABLE_GEMM
#include <heddle/linalg/matmul.hpp>

using heddle::tensor;

void use(const tensor<bool, 2>& mask, const tensor<float, 2>& x, const tensor<float, 1>& v) {
#ifdef HEDDLE_CONTROL
  static_cast<void>(heddle::matmul(heddle::cast<float>(mask), heddle::transposed(x)));
  static_cast<void>(v);
#else
  static_cast<void>(heddle::matmul(mask, mask));
  static_cast<void>(heddle::transposed(v));
  static_cast<void>(x);
#endif
}
