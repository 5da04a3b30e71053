// SPDX-License-Identifier: BSD-3-Clause
// A tensor of rank 0 is no matrix and no vector.
// flags: -DHEDDLE_PORTABLE_GEMM
// expect: heddle::matmul: an operand has rank 0
#include <heddle/linalg/matmul.hpp>

#ifdef HEDDLE_CONTROL
constexpr int rank = 1;
#else
constexpr int rank = 0;
#endif

heddle::tensor<float, 1> product(heddle::tensor<float, 2> a, heddle::tensor<float, rank> b) {
  return matmul(a, b);
}
