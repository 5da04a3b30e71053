// SPDX-License-Identifier: BSD-3-Clause
// An expression written twice, with symbols and with plain arrays; and a model of which axes
// broadcasting makes one.
#pragma once

#include <algorithm>
#include <string>

#include "plain_array.hpp"
#include "public_functions.hpp"

namespace support {

/// A value of an expression: as a symbol and as an array. `label` names the axis of each position
/// (-1: none, its extent is 1), `past` the axis that a reduction with keepdim left behind.
struct twin {
  symbol s;
  plain_array a;
  std::vector<int> label;
  std::vector<int> past;
  double bound = 0;  ///< of the size of its elements

  bool is_number() const { return a.weak != plain_array::number::none; }
};

/// An operand's memory, row-major.
struct operand_memory {
  dtype type = dtype::f32;
  shape_of shape;
  std::vector<int> label;
  std::vector<std::byte> bytes;
};

/// Which labels name one axis: the axes of operands that broadcasting has aligned.
class axis_model {
 public:
  int add(std::int64_t extent) {
    parents_.push_back(static_cast<int>(parents_.size()));
    extents_.push_back(extent);
    return parents_.back();
  }
  int axis_of(int label) const {
    while (parents_[static_cast<std::size_t>(label)] != label) {
      label = parents_[static_cast<std::size_t>(label)];
    }
    return label;
  }
  void unify(int a, int b) { parents_[static_cast<std::size_t>(axis_of(a))] = axis_of(b); }
  int axes() const {
    int count = 0;
    for (int i = 0; i < static_cast<int>(parents_.size()); ++i) count += axis_of(i) == i ? 1 : 0;
    return count;
  }
  /// Whether all extents of each axis that are not 1 agree.
  bool agrees() const {
    for (std::size_t i = 0; i < parents_.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (axis_of(static_cast<int>(i)) != axis_of(static_cast<int>(j))) continue;
        if (extents_[i] != 1 && extents_[j] != 1 && extents_[i] != extents_[j]) return false;
      }
    }
    return true;
  }
  /// Whether the label's extent is 1 and its axis' is not.
  bool is_lengthened(int label) const {
    for (std::size_t i = 0; i < parents_.size(); ++i) {
      if (extents_[i] != 1 && axis_of(static_cast<int>(i)) == axis_of(label)) return true;
    }
    return false;
  }
  /// Broadcasting: positions aligned from the right are one axis; `past` ones count.
  void broadcast(const std::vector<const twin*>& operands, twin& result) {
    std::size_t rank = 0;
    for (const twin* t : operands) rank = std::max(rank, t->label.size());
    result.label.assign(rank, -1);
    result.past.assign(rank, -1);
    for (std::size_t right = 0; right < rank; ++right) {
      int& merged = result.label[rank - 1 - right];
      int& past = result.past[rank - 1 - right];
      const auto join = [&](int& into, int label) {
        if (into >= 0) unify(into, label);
        into = label;
      };
      for (const twin* t : operands) {
        if (right >= t->label.size()) continue;
        if (const int x = t->label[t->label.size() - 1 - right]; x >= 0) join(merged, x);
        if (const int x = t->past[t->past.size() - 1 - right]; x >= 0) join(past, x);
      }
      if (merged >= 0 && past >= 0) unify(merged, past);
      if (merged >= 0) past = -1;
    }
  }
  /// Whether two positions are one axis.
  bool aligns(const std::vector<int>& label) const {
    for (std::size_t p = 0; p < label.size(); ++p) {
      for (std::size_t q = 0; q < p; ++q) {
        if (label[p] >= 0 && label[q] >= 0 && axis_of(label[p]) == axis_of(label[q])) {
          return true;
        }
      }
    }
    return false;
  }

 private:
  std::vector<int> parents_;
  std::vector<std::int64_t> extents_;
};

/// The shape of a node's value, and the axes of its positions.
struct value_shape {
  std::uint16_t node;
  std::vector<int> label;
  shape_of shape;
};

struct expression {
  graph::builder trace;
  std::vector<operand_memory> operands;
  std::vector<heddle::exec::scalar_bits> scalars;
  std::vector<twin> roots;
  axis_model axes;
  std::vector<value_shape> shapes;
  int rejected = 0;   ///< uses refused while they were recorded
  std::string wrong;  ///< what should have been refused and was not, or the other way round
};

}  // namespace support
