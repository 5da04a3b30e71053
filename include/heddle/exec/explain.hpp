// SPDX-License-Identifier: BSD-3-Clause
// explain: what a statement compiles to, in words.
#pragma once

#include <heddle/exec/evaluate.hpp>
#include <heddle/graph/text.hpp>

namespace heddle::inline v0 {

namespace exec::detail {

inline const char* kind_text(graph::item_kind kind) {
  switch (kind) {
    case graph::item_kind::store:
      return "store";
    case graph::item_kind::scatter:
      return "scatter";
    case graph::item_kind::row_reduction:
      return "row reduction";
    case graph::item_kind::terminal_reduction:
      return "reduction finished after the nest";
    default:
      return "carried to later nests";
  }
}

/// Why nest k is not part of an earlier one.
inline std::string cut_text(const graph::graph& g, const graph::schedule& s, std::size_t k) {
  for (const graph::item& it : s.items) {
    if (static_cast<std::size_t>(it.nest) != k) continue;
    graph::list<bool> below(it.node + 1u, false);
    below[it.node] = true;
    graph::detail::mark_operands(g.nodes, below);
    for (const graph::item& other : s.items) {
      if (static_cast<std::size_t>(other.nest) < k && other.node < it.node && below[other.node] &&
          is_reduction(g[other.node].code)) {
        return "%" + std::to_string(it.node) + " needs %" + std::to_string(other.node) +
               ", which is complete only after nest " + std::to_string(other.nest);
      }
    }
  }
  return "it runs over axes " + graph::detail::axes_text(s.nests[k].domain) +
         ", the nests before it over others";
}

inline std::string explain_graph(const graph::graph& g) {
  const graph::schedule s = graph::make_schedule(g);
  std::string text = "program of " + std::to_string(g.size()) + " nodes, " +
                     std::to_string(s.kernels()) + (s.kernels() == 1 ? " kernel\n" : " kernels\n");
  text += graph::to_text(g);
  for (std::size_t k = 0; k < s.nests.size(); ++k) {
    const graph::nest& n = s.nests[k];
    text += "nest " + std::to_string(k) + " over axes " + graph::detail::axes_text(n.domain);
    if (n.row != 0) text += ", a row spans " + graph::detail::axes_text(n.row);
    text += ", " + std::to_string(n.levels) + (n.levels == 1 ? " pass" : " passes");
    if (n.row_pass) text += " and one per row";
    if (k > 0) text += "; cut: " + cut_text(g, s, k);
    text += "\n";
    for (const graph::item& it : s.items) {
      if (static_cast<std::size_t>(it.nest) != k) continue;
      text += "  pass " + std::to_string(it.pass) + ": %" + std::to_string(it.node) + " " +
              kind_text(it.kind) + "\n";
    }
  }
  return text;
}

/// Operands that lie at the same place are one tensor spelled several times.
inline std::string repeated_reads(const leaf_view* leaves, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    int reads = 1;
    bool first = true;
    for (int k = 0; k < count; ++k) {
      if (k == i || leaves[k].data != leaves[i].data || leaves[k].rank != leaves[i].rank) continue;
      bool same = true;
      for (int d = 0; d < leaves[i].rank; ++d) {
        same = same && leaves[k].extents[d] == leaves[i].extents[d] &&
               leaves[k].strides[d] == leaves[i].strides[d];
      }
      if (!same) continue;
      ++reads;
      first = first && i < k;
    }
    if (reads > 1 && first) {
      text += "operand " + std::to_string(i) + " is read " + std::to_string(reads) +
              " times under different names; write let(...) or fused(...) to read it once\n";
    }
  }
  return text;
}

}  // namespace exec::detail

/// What evaluating these expressions together does: the program, its loop nests and why it was cut,
/// bytes moved, operands read more than once, operands that broadcast only because an extent
/// happens to be 1. Nothing is evaluated (contractions among the operands are).
template <class... E, class Configuration = configuration>
[[nodiscard]] std::string explain(const E&... e) {
  using statement = exec::statement<E...>;
  const exec::bound<statement> b(e...);
  std::string text = exec::detail::explain_graph(graph::thaw(typename statement::program{}));
  if constexpr (exec::library_statement<Configuration, statement>::exists) {
    text += "on a CUDA device one library call computes it together with its product\n";
  }
  exec::launch l;
  for (int i = 0; i < graph::max_axes; ++i) l.extents[i] = b.extents[i];
  if constexpr (exec::side_by_side_program<typename statement::program>) {
    if (exec::runs_side_by_side(exec::view_of<typename statement::program>(), l)) {
      text += "on a CUDA device one launch runs its nests side by side\n";
    }
  }
  text +=
      "moves " +
      std::to_string(exec::detail::bytes_moved(exec::view_of<typename statement::program>(), l)) +
      " bytes\n";
  text += exec::detail::repeated_reads(b.leaves, statement::operand_count);
  for (int i = 0; i < statement::operand_count; ++i) {
    for (int k = 0; k < b.leaves[i].rank; ++k) {
      const unsigned axis = graph::map_axis(statement::table.operand_maps.values[i], k);
      if (axis < graph::max_axes && b.leaves[i].extents[k] == 1 && b.extents[axis] != 1) {
        text +=
            "operand " + std::to_string(i) + " happens to have extent 1 along its axis " +
            std::to_string(k) +
            ": its gradient is made at the broadcast shape and summed; unsqueeze or keepdim say "
            "so statically\n";
      }
    }
  }
  return text;
}

}  // namespace heddle::inline v0
