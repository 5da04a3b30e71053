// SPDX-License-Identifier: BSD-3-Clause
// A tensor takes values of its own type.
// expect: heddle::tensor: the values of the range are of another type than the tensor's; make a tensor of theirs, then cast
#include <vector>

#include <heddle/tensor/tensor.hpp>

void use(const std::vector<double>& values) {
#ifdef HEDDLE_CONTROL
  static_cast<void>(heddle::tensor<double, 2>(values, {1, 2}));
#else
  static_cast<void>(heddle::tensor<float, 2>(values, {1, 2}));
#endif
}
