// SPDX-License-Identifier: BSD-3-Clause
// A composed function with a capture is refused where it is defined.
// expect: heddle::fused: the lambda captures something: a program is made from its type alone; pass captured values as arguments
#include <heddle/exec/evaluate.hpp>

void use(float eps) {
#ifdef HEDDLE_CONTROL
  const auto f = heddle::fused([](auto v, auto e) { return v * v + e; });
  static_cast<void>(eps);
#else
  const auto f = heddle::fused([eps](auto v) { return v * v + eps; });
#endif
  static_cast<void>(f);
}
