// SPDX-License-Identifier: BSD-3-Clause
// Losses do not broadcast their targets.
// expect: heddle::cross_entropy, nll_loss: the operands are (N, C) and targets (N): ranks 2 and 1
// expect: heddle: a loss of two tensors: their ranks differ, and would be broadcast
#include <heddle/nn/functional.hpp>

using heddle::tensor;

void use(const tensor<float, 2>& x, const tensor<float, 1>& v, const tensor<std::int64_t, 1>& y) {
#ifdef HEDDLE_CONTROL
  static_cast<void>(heddle::cross_entropy(x, y));
  static_cast<void>(heddle::mse_loss(v, v));
#else
  static_cast<void>(heddle::cross_entropy(v, y));
  static_cast<void>(heddle::mse_loss(x, v));
#endif
}
