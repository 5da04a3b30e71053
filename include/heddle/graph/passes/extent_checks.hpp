// SPDX-License-Identifier: BSD-3-Clause
// Which operands the extents of a traced statement come from. An axis is as long as its longest
// operand; what is reduced, counted, enumerated or returned has to be as long as that, or another
// part of the statement would have lengthened it unseen.
#pragma once

#include <heddle/graph/symbol.hpp>

namespace heddle::inline v0::graph {

/// The class byte that marks the axis a gather indexes.
inline constexpr std::uint8_t indexed_class = 0xFE;

/// Most operands of a statement.
inline constexpr std::size_t max_operands = 256;

/// A set of operand slots.
struct slot_set {
  std::uint64_t words[max_operands / 64] = {};

  constexpr void add(std::size_t slot) {
    if (slot < max_operands) words[slot / 64] |= std::uint64_t{1} << slot % 64;
  }
  constexpr void add(const slot_set& other) {
    for (std::size_t i = 0; i < std::size(words); ++i) words[i] |= other.words[i];
  }
  constexpr bool has(std::size_t slot) const {
    return slot < max_operands && (words[slot / 64] >> slot % 64 & 1) != 0;
  }
  constexpr bool empty() const { return *this == slot_set{}; }
  constexpr int size() const {
    int count = 0;
    for (const std::uint64_t word : words) count += std::popcount(word);
    return count;
  }
  constexpr bool operator==(const slot_set&) const = default;
};
constexpr slot_set operator&(const slot_set& a, const slot_set& b) {
  slot_set both;
  for (std::size_t i = 0; i < std::size(both.words); ++i) both.words[i] = a.words[i] & b.words[i];
  return both;
}

/// What operands are to a statement beside being read.
struct operand_roles {
  /// Take part in broadcasting whether they are read or not, and give results their extents: a
  /// destination.
  slot_set kept;
  /// Likewise, and no other operand may lengthen them where they have extent 1: results have their
  /// shape.
  slot_set whole;
};

/// One of these operands has to have the axis' extent, not 1.
struct extent_check {
  axis_mask axis = 0;
  slot_set slots;
};

namespace detail {

constexpr bool holds_class(const builder& trace, std::uint64_t packed, std::uint8_t axis) {
  for (int i = 0; i < max_axes && packed != ~std::uint64_t{0}; ++i) {
    const std::uint8_t c = class_at(packed, i);
    if (c < indexed_class && trace.axis_class(c) == axis) return true;
  }
  return false;
}

/// Ops of a value's shape and not of its elements. While tracing, c is the node of that value,
/// which is no operand; no_node if it is not known.
constexpr bool takes_shape(op code) {
  return code == op::count || code == op::iota || is_random(code);
}

/// The operands that give a value its extent along an axis.
struct extent_source {
  slot_set slots;
  bool all_known = true;
};

/// Finds the operands that give a traced value its extent along an axis.
class extent_sources {
 public:
  constexpr explicit extent_sources(const builder& trace)
      : trace_(trace), marks_(trace.nodes().size(), 0) {}

  /// For node `id` and the class of the axis.
  constexpr extent_source find(std::uint16_t id, std::uint8_t axis) {
    extent_source found;
    ++walk_;
    waiting_ = 0;
    mark(id);
    for (std::size_t k = id + 1u; k-- > 0 && waiting_ > 0;) {
      if (marks_[k] != walk_) continue;
      --waiting_;
      const node& n = trace_.nodes()[k];
      const bool has_classes = n.code == op::input || n.code == op::gather || n.code == op::iota ||
                               is_random(n.code) || is_reduction(n.code);
      if (has_classes && holds_class(trace_, n.extra, axis)) {
        if (is_reduction(n.code)) continue;  // its operand is longer than its value
        if (n.code == op::input) found.slots.add(n.a);
        if (n.code == op::gather) found.slots.add(n.b);
        if (takes_shape(n.code)) {
          if (n.c == no_node) {
            found.all_known = false;
          } else {
            mark(n.c);
          }
        }
      }
      for (int o = 0; o < operands_of(n); ++o) mark(operand(n, o));
    }
    return found;
  }

 private:
  constexpr void mark(std::uint16_t id) {
    if (marks_[id] == walk_) return;
    marks_[id] = walk_;
    ++waiting_;
  }

  const builder& trace_;
  list<int> marks_;  ///< per node: the last walk that came to it
  int walk_ = 0;
  int waiting_ = 0;  ///< nodes marked and not yet looked at
};

/// Checks without repetition. One that cannot fail, as all operands with the axis are among its
/// slots, is left out.
class check_list {
 public:
  constexpr check_list(list<extent_check>& checks, const slot_set* having)
      : checks_(checks), having_(having) {}

  constexpr void add(axis_mask axis, const slot_set& slots) {
    const slot_set& having = having_[std::countr_zero(axis)];
    if (slots.empty() || (having & slots) == having) return;
    const extent_check check{axis, slots};
    for (const extent_check& other : checks_) {
      if (other.axis == check.axis && other.slots == check.slots) return;
    }
    checks_.push_back(check);
  }

 private:
  list<extent_check>& checks_;
  const slot_set* having_;  ///< per axis: the slots that have it
};

}  // namespace detail

}  // namespace heddle::inline v0::graph
