// SPDX-License-Identifier: BSD-3-Clause
// A layer of float called with double.
// expect: heddle::linear: the input's dtype is not the weight's; write cast<T>
// flags: -DHEDDLE_PORTABLE_GEMM
#include <heddle/nn/linear.hpp>

#ifdef HEDDLE_CONTROL
using number = float;
#else
using number = double;
#endif

heddle::variable<float, 2> f(const heddle::nn::linear& m, const heddle::tensor<number, 2>& x) {
  return m(x);
}
