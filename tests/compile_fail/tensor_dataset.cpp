// SPDX-License-Identifier: BSD-3-Clause
// A dataset of tensors has one at least, and each an axis of samples.
// expect: heddle::tensor_dataset: give at least one tensor
// expect: heddle::tensor_dataset: a tensor has no axis that counts samples
#include <heddle/data/dataset.hpp>

using heddle::tensor_dataset;

void use(const heddle::tensor<float, 1>& x, const heddle::tensor<float, 0>& scalar) {
#ifdef HEDDLE_CONTROL
  const tensor_dataset<heddle::tensor<float, 1>> one(x);
  static_cast<void>(scalar);
#else
  const tensor_dataset<> none;
  const tensor_dataset<heddle::tensor<float, 0>> one(scalar);
  static_cast<void>(none);
  static_cast<void>(x);
#endif
  static_cast<void>(one);
}
