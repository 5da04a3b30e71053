// SPDX-License-Identifier: BSD-3-Clause
// What a launch over many tensors runs over.
#pragma once

#include <heddle/tensor/any_tensor.hpp>

namespace heddle::inline v0::exec {

/// One group of contiguous tensors of one size that a program reads, and writes in part.
template <int Operands>
struct multi_group {
  std::byte* data[Operands] = {};
  storage* owners[Operands] = {};
  std::int64_t count = 0;

  template <class T, int Rank>
  void set(int operand, const tensor<T, Rank>& t) {
    data[operand] = reinterpret_cast<std::byte*>(t.data());
    owners[operand] = t.storage().get();
  }
  void set(int operand, const any_tensor& t) {
    data[operand] = t.data();
    owners[operand] = t.storage().get();
  }
};

}  // namespace heddle::inline v0::exec
