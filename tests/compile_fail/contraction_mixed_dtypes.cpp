// SPDX-License-Identifier: BSD-3-Clause
// Products do not promote: a silent conversion of a matrix costs more than the product.
// flags: -DHEDDLE_PORTABLE_GEMM
// expect: heddle::matmul: the operands' dtypes differ; write cast<T>(
#include <heddle/linalg/matmul.hpp>

heddle::tensor<float, 2> product(heddle::tensor<float, 2> a, heddle::tensor<double, 2> b) {
#ifdef HEDDLE_CONTROL
  return matmul(a, heddle::cast<float>(b));
#else
  return matmul(a, b);
#endif
}
