// SPDX-License-Identifier: BSD-3-Clause
// Views whose axes make their rank.
// expect: heddle::unsqueeze: the axis is out of range: axes are -rank-1 to rank
// expect: heddle::flatten: the first axis is behind the last
#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/views.hpp>

using namespace heddle;

void use(const tensor<float, 2>& x) {
#ifdef HEDDLE_CONTROL
  static_cast<void>(unsqueeze<2>(x * 2));
  static_cast<void>(flatten<0, 1>(x));
#else
  static_cast<void>(unsqueeze<3>(x * 2));
  static_cast<void>(flatten<1, 0>(x));
#endif
}
