// SPDX-License-Identifier: BSD-3-Clause
// What a launch over many tensors runs over.
#pragma once

#include <heddle/exec/launch.hpp>
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

/// What all groups of a launch have in common: single elements that they read, single elements that
/// come out of all of them, numbers. Of a program, the operands and outputs behind those of a
/// group.
struct multi_shared {
  std::byte* const* data = nullptr;  ///< what is read, then what is written
  storage* const* owners = nullptr;
  int reads = 0;
  int results = 0;
  const scalar_bits* scalars = nullptr;
};

}  // namespace heddle::inline v0::exec
