// SPDX-License-Identifier: BSD-3-Clause
// A statement too large: reductions of unrelated operands need axes of their own, and there are 8.
// expect: heddle: the statement has more than 8 axes, reduced ones included: store a part of it in a tensor first
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<float, 3>& a, const heddle::tensor<float, 3>& b,
         const heddle::tensor<float, 3>& c) {
#ifdef HEDDLE_CONTROL
  const heddle::tensor<float, 0> ab = sum(a) + sum(b);
  const heddle::tensor<float, 0> y = ab + sum(c);
#else
  const heddle::tensor<float, 0> y = sum(a) + sum(b) + sum(c);
#endif
  static_cast<void>(y);
}
