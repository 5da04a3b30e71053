// SPDX-License-Identifier: BSD-3-Clause
// bool has no subtraction, as in PyTorch.
// expect: heddle: bool tensors have no subtraction or negation: use logical_xor or logical_not
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<bool, 1>& a, const heddle::tensor<bool, 1>& b) {
#ifdef HEDDLE_CONTROL
  const heddle::tensor<bool, 1> y = logical_xor(a, b);
#else
  const heddle::tensor<bool, 1> y = a - b;
#endif
  static_cast<void>(y);
}
