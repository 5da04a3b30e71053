// SPDX-License-Identifier: BSD-3-Clause
// Graphs as text and as Graphviz DOT, for people.
#pragma once

#include <cstdio>
#include <string>

#include <heddle/graph/program.hpp>

namespace heddle::inline v0::graph {

namespace detail {

inline std::string axes_text(axis_mask mask) {
  std::string text = "{";
  for (int i = 0; i < max_axes; ++i) {
    if ((mask >> i & 1) == 0) continue;
    if (text.size() > 1) text += ',';
    text += std::to_string(i);
  }
  return text + "}";
}

inline std::string map_text(axis_map map) {
  int rank = max_axes;
  while (rank > 0 && map_axis(map, rank - 1) == broadcast_axis) --rank;
  std::string text = "[";
  for (int i = 0; i < rank; ++i) {
    if (i > 0) text += ',';
    const unsigned axis = map_axis(map, i);
    text += axis == broadcast_axis ? "1" : axis == indexed_axis ? "index" : std::to_string(axis);
  }
  return text + "]";
}

inline std::string number_text(const node& n) {
  if (!is_floating(n.type)) return std::to_string(static_cast<std::int64_t>(n.extra));
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.17g", constant_value(n));
  return buffer;
}

/// "mul %2 %3", "input 0 [0,1]", …
inline std::string describe(const graph& g, const node& n) {
  std::string text(name_of(n.code, g.user_ops));
  for (int i = 0; i < operands_of(n); ++i) text += " %" + std::to_string(operand(n, i));
  const auto map = static_cast<axis_map>(n.extra);
  switch (n.code) {
    case op::input:
      return text + " " + std::to_string(n.a) + " " + map_text(map);
    case op::argument:
      return text + " " + std::to_string(n.a);
    case op::constant:
      return text + " " + number_text(n);
    case op::iota:
      return text + " along " + std::to_string(n.extra);
    case op::count:
    case op::sum:
    case op::amax:
    case op::amin:
      return text + " over " + axes_text(static_cast<axis_mask>(n.extra));
    case op::gather:
      return text + " from input " + std::to_string(n.b) + " " + map_text(map);
    case op::random_uniform:
    case op::random_normal:
      return text + " " + map_text(map);
    case op::store:
      text += " to output " + std::to_string(n.b) + " " + map_text(map);
      if (read_back_slot(n) == no_node) return text;
      return text + ", read back as input " + std::to_string(read_back_slot(n));
    case op::scatter_add:
      return text + " to output " + std::to_string(n.c) + " " + map_text(map);
    default:
      return text;
  }
}

}  // namespace detail

/// One line a node: `%3: f32{0,1} = mul %1 %2`.
inline std::string to_text(const graph& g) {
  std::string text;
  for (std::size_t i = 0; i < g.size(); ++i) {
    const node& n = g[i];
    text += "%" + std::to_string(i) + ": ";
    text += name_of(n.type);
    text += detail::axes_text(n.varies) + " = " + detail::describe(g, n) + "\n";
  }
  return text;
}

/// The graph as Graphviz DOT; operands point to their users.
inline std::string to_dot(const graph& g) {
  std::string text = "digraph program {\n  node [shape=box, fontname=monospace];\n";
  for (std::size_t i = 0; i < g.size(); ++i) {
    const node& n = g[i];
    text += "  n" + std::to_string(i) + " [label=\"" + detail::describe(g, n) + "\\n";
    text += name_of(n.type);
    text += detail::axes_text(n.varies) + "\"];\n";
    for (int k = 0; k < operands_of(n); ++k) {
      text += "  n" + std::to_string(operand(n, k)) + " -> n" + std::to_string(i) + ";\n";
    }
  }
  return text + "}\n";
}

}  // namespace heddle::inline v0::graph
