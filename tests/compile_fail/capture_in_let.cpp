// SPDX-License-Identifier: BSD-3-Clause
// A lambda with a capture cannot be traced.
// expect: heddle::let: the lambda captures something: a program is made from its type alone; pass captured values as arguments
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<float, 1>& x, float eps) {
#ifdef HEDDLE_CONTROL
  const heddle::tensor<float, 1> y = heddle::let([](auto v, auto e) { return v * v + e; }, x, eps);
  static_cast<void>(y);
#else
  static_cast<void>(heddle::let([eps](auto v) { return v * v + eps; }, x));
#endif
}
