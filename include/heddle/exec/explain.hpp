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

/// The nodes that nest k evaluates or reads.
inline graph::list<bool> nodes_of_nest(const graph::graph& g, const graph::schedule& s,
                                       std::size_t k) {
  graph::list<bool> needed(g.size(), false);
  graph::mark_needed(g, s, static_cast<int>(k), graph::all_passes, needed,
                     [](std::size_t) { return false; });
  return needed;
}

/// Bytes per element that computing a value in a nest reads.
inline std::int64_t bytes_to_compute(const graph::graph& g, std::size_t value) {
  graph::list<bool> below(value + 1, false);
  below[value] = true;
  std::int64_t bytes = 0;
  for (std::size_t i = value + 1; i-- > 0;) {
    if (!below[i] || is_reduction(g[i].code)) continue;
    bytes += graph::read_bytes(g[i], g[value].varies);
    for (int k = 0; k < graph::operands_of(g[i]); ++k) below[graph::operand(g[i], k)] = true;
  }
  return bytes;
}

/// What crosses the cut before nest k, how, and what the other way would cost: values of its
/// elements that an earlier nest over the same axes has, too, those nearest to the results.
inline std::string crossing_text(const graph::graph& g, const graph::schedule& s, std::size_t k) {
  std::string text;
  const graph::axis_mask domain = s.nests[k].domain;
  const graph::list<bool> needed = nodes_of_nest(g, s, k);
  const auto line = [&](std::size_t value, const std::string& how, std::int64_t taken,
                        const char* other, std::int64_t instead) {
    text += "  %" + std::to_string(value) + how + ": " + std::to_string(taken) +
            " bytes an element; " + other + " would take " + std::to_string(instead) + "\n";
  };
  for (std::size_t i = 0; i < g.size(); ++i) {
    const std::uint16_t slot = graph::read_back_slot(g[i]);
    for (std::size_t x = i; slot != graph::no_node && x < g.size(); ++x) {
      if (g[x].code != op::input || g[x].a != slot || !needed[x]) continue;
      int by = 0;
      for (const graph::item& it : s.items) by = it.node == i ? it.nest : by;
      line(g[i].a,
           " crosses the cut: nest " + std::to_string(by) +
               " stores it, this nest reads it back as %" + std::to_string(x),
           2 * graph::stored_bytes(g[i]), "computing it again", bytes_to_compute(g, g[i].a));
    }
  }
  graph::list<bool> shared(g.size(), false);
  for (std::size_t j = 0; j < k; ++j) {
    if (s.nests[j].domain != domain) continue;
    const graph::list<bool> earlier = nodes_of_nest(g, s, j);
    for (std::size_t i = 0; i < g.size(); ++i) {
      const bool lane = needed[i] && g[i].varies == domain && !is_reduction(g[i].code);
      shared[i] = shared[i] || (lane && earlier[i]);
    }
  }
  graph::list<bool> last(g.size(), false);  // what something that is not shared needs
  const auto mark_last = [&](const graph::node& user) {
    for (int o = 0; o < graph::operands_of(user); ++o) last[graph::operand(user, o)] = true;
  };
  for (std::size_t i = 0; i < g.size(); ++i) {
    if (needed[i] && !shared[i] && !is_reduction(g[i].code)) mark_last(g[i]);
  }
  for (const graph::item& it : s.items) {
    if (static_cast<std::size_t>(it.nest) == k) mark_last(g[it.node]);
  }
  for (std::size_t i = 0; i < g.size(); ++i) {
    if (!last[i] || !shared[i]) continue;
    if (g[i].code == op::input) {
      line(i, " is read again", graph::read_bytes(g[i], domain), "storing it",
           2 * graph::stored_bytes(g[i]));
    } else {
      line(i, " is computed again from its operands", bytes_to_compute(g, i), "storing it",
           2 * graph::stored_bytes(g[i]));
    }
  }
  return text;
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
    if (k > 0) text += crossing_text(g, s, k);
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

/// What evaluating these expressions together does: the program, its loop nests, where it was cut
/// and why, whether what crosses a cut is stored or computed again, bytes moved, operands read more
/// than once, operands that broadcast only because an extent happens to be 1. Nothing is evaluated
/// (contractions among the operands are).
template <class... E, class Configuration = configuration>
[[nodiscard]] std::string explain(const E&... e) {
  using statement = exec::statement<E...>;
  using program = exec::cut_program<typename statement::program>;
  const exec::bound<statement> b(e...);
  std::string text = exec::detail::explain_graph(graph::thaw(program{}));
  if constexpr (exec::library_statement<Configuration, statement>::exists) {
    text += "on a CUDA device one library call computes it together with its product\n";
  }
  exec::launch l;
  for (int i = 0; i < graph::max_axes; ++i) l.extents[i] = b.extents[i];
  if constexpr (exec::side_by_side_program<program>) {
    if (exec::runs_side_by_side(exec::view_of<program>(), l)) {
      text += "on a CUDA device one launch runs its nests side by side\n";
    }
  }
  text += "moves " + std::to_string(exec::detail::bytes_moved(exec::view_of<program>(), l)) +
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
