// SPDX-License-Identifier: BSD-3-Clause
// What stands in parentheses behind a tensor.
// expect: heddle::tensor: an index is not an integer, a slice or all
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<float, 2>& x) {
#ifdef HEDDLE_CONTROL
  static_cast<void>(x(heddle::all(), 0));
#else
  static_cast<void>(x(0.5, 0));
#endif
}
