// SPDX-License-Identifier: BSD-3-Clause
// Without a library the sentence names what to link.
// expect: heddle::matmul: no host GEMM is linked: link heddle::host (oneDNN), or define HEDDLE_PORTABLE_GEMM to use heddle's own plain loop
#ifdef HEDDLE_CONTROL
#define HEDDLE_PORTABLE_GEMM
#endif
#include <heddle/linalg/matmul.hpp>

heddle::tensor<float, 2> product(heddle::tensor<float, 2> a, heddle::tensor<float, 2> b) {
  return matmul(a, b);
}
