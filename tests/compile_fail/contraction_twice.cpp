// SPDX-License-Identifier: BSD-3-Clause
// A product used twice would be computed twice: it has to be stored first.
// flags: -DHEDDLE_PORTABLE_GEMM
// expect: heddle: this expression holds a contraction and would compute it twice: store it first, tensor h = matmul(
#include <heddle/linalg/matmul.hpp>

heddle::tensor<float, 2> twice(heddle::tensor<float, 2> a, heddle::tensor<float, 2> b) {
#ifdef HEDDLE_CONTROL
  heddle::tensor h = matmul(a, b);
#else
  auto h = matmul(a, b);
#endif
  return h + h;
}
