// SPDX-License-Identifier: BSD-3-Clause
// A node of a graph, its axis maps, and its encoding in 64-bit words.
#pragma once

#include <bit>
#include <cstdint>

#include <heddle/core/dtype.hpp>
#include <heddle/graph/op.hpp>

namespace heddle::inline v0::graph {

/// Most axes of an iteration space, hidden (reduced) axes included.
inline constexpr int max_axes = 8;
/// Most nodes of a graph: operand ids have 16 bits and one value means "none".
inline constexpr std::uint16_t no_node = 0xFFFF;

/// A set of axes of the iteration space, one bit an axis.
using axis_mask = std::uint8_t;

/// Where each axis of an operand lies in the iteration space: one nibble per operand axis, the
/// iteration axis, or `broadcast_axis` (extent 1 or absent), or `indexed_axis` (gather's).
using axis_map = std::uint32_t;
inline constexpr unsigned broadcast_axis = 0xF;
inline constexpr unsigned indexed_axis = 0xE;
inline constexpr axis_map empty_map = 0xFFFFFFFFu;

HEDDLE_HD constexpr unsigned map_axis(axis_map map, int position) {
  return (map >> (4 * position)) & 0xFu;
}
constexpr axis_map with_axis(axis_map map, int position, unsigned axis) {
  return (map & ~(0xFu << (4 * position))) | (axis << (4 * position));
}
HEDDLE_HD constexpr axis_mask mask_of(axis_map map) {
  unsigned mask = 0;
  for (int i = 0; i < max_axes; ++i) {
    const unsigned axis = map_axis(map, i);
    if (axis < max_axes) mask |= 1u << axis;
  }
  return static_cast<axis_mask>(mask);
}

/// The axes of a mask in increasing order.
constexpr axis_map ordered_map(axis_mask mask) {
  axis_map map = empty_map;
  int position = 0;
  for (unsigned axis = 0; axis < max_axes; ++axis) {
    if ((mask >> axis & 1) != 0) map = with_axis(map, position++, axis);
  }
  return map;
}

/// One value of a graph. What a, b, c and extra mean for each op is said beside the op's name.
struct node {
  op code = op::constant;
  dtype type = dtype::f32;
  axis_mask varies = 0;  ///< the iteration axes along which the value is not constant
  std::uint16_t a = no_node;
  std::uint16_t b = no_node;
  std::uint16_t c = no_node;
  std::uint64_t extra = 0;

  constexpr bool operator==(const node&) const = default;
};

/// How many of a, b, c are ids of other nodes (they come first).
constexpr int operand_count(op code, int elementwise_arity) {
  switch (code) {
    case op::input:
    case op::argument:
    case op::constant:
    case op::count:
    case op::iota:
      return 0;
    case op::gather:
    case op::cast:
    case op::sum:
    case op::amax:
    case op::amin:
    case op::store:
      return 1;
    case op::random_uniform:
    case op::random_normal:
    case op::scatter_add:
      return 2;
    default:
      return elementwise_arity;
  }
}

/// Whether a node takes a second word. The others keep `extra` (32 bits) in place of b and c.
constexpr bool has_wide_extra(op code) {
  return code == op::constant || code == op::gather || is_random(code) || is_root(code);
}
HEDDLE_HD constexpr bool has_narrow_extra(op code) {
  return code == op::input || code == op::argument || code == op::count || code == op::iota ||
         is_reduction(code);
}

/// The version of the encoding below: the first byte of each program.
inline constexpr std::uint64_t encoding_version = 1;

constexpr std::uint64_t encode_word(const node& n) {
  std::uint64_t b = n.b;
  std::uint64_t c = n.c;
  if (has_narrow_extra(n.code)) {
    b = n.extra & 0xFFFFu;
    c = (n.extra >> 16) & 0xFFFFu;
  }
  return (static_cast<std::uint64_t>(n.code) << 52) | (static_cast<std::uint64_t>(n.type) << 48) |
         (static_cast<std::uint64_t>(n.a) << 32) | (b << 16) | c;
}

HEDDLE_HD constexpr node decode_word(std::uint64_t word) {
  node n;
  n.code = static_cast<op>(word >> 52);
  n.type = static_cast<dtype>((word >> 48) & 0xFu);
  n.a = static_cast<std::uint16_t>(word >> 32);
  n.b = static_cast<std::uint16_t>(word >> 16);
  n.c = static_cast<std::uint16_t>(word);
  if (has_narrow_extra(n.code)) {
    n.extra = (static_cast<std::uint64_t>(n.c) << 16) | n.b;
    n.b = n.c = no_node;
  }
  return n;
}

// A store whose values a later nest reads back (passes/cut.hpp) says so beside its axis map.

/// The operand slot through which later nests read what a node stores; no_node: they do not.
constexpr std::uint16_t read_back_slot(const node& n) {
  return n.code == op::store ? static_cast<std::uint16_t>((n.extra >> 32) - 1) : no_node;
}
/// The nest that such a store is part of, as nests are opened: their order may change behind that.
constexpr int storing_nest(const node& n) { return static_cast<int>(n.extra >> 48); }
/// The `extra` of such a store.
constexpr std::uint64_t read_back_extra(axis_map map, std::uint16_t slot, int nest) {
  return map | (slot + std::uint64_t{1}) << 32 | static_cast<std::uint64_t>(nest) << 48;
}

constexpr double constant_value(const node& n) {
  return is_floating(n.type) ? std::bit_cast<double>(n.extra)
                             : static_cast<double>(static_cast<std::int64_t>(n.extra));
}

}  // namespace heddle::inline v0::graph
