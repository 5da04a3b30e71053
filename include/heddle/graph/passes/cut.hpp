// SPDX-License-Identifier: BSD-3-Clause
// What crosses the cuts of a statement. A nest that needs values which an earlier nest over the
// same axes computes, too, may compute them again from their operands, or read them back from
// memory: whichever moves fewer bytes. Values that are read back are stored by the first nest that
// computes them, and the graph says so: they are results of one nest and operands of later ones, so
// that whatever runs a graph needs to know nothing more than where they lie.
#pragma once

#include <heddle/graph/minimum_cut.hpp>
#include <heddle/graph/passes/schedule.hpp>

namespace heddle::inline v0::graph {

namespace detail {

/// Chooses what crosses the cuts of one schedule.
///
/// For one nest the choice is a minimum cut: of all ways from the operands in memory to the nest's
/// results, each is cut once, at an operand (its bytes are read) or at a value that an earlier nest
/// has (its bytes are written, if nobody else has it stored, and read). Nests choose in turn. For
/// two nests over a domain that is the cheapest choice. Where several read back a value, the first
/// one would pay for storing it: `shares` divides the cost among all that may read it.
class cutter {
 public:
  constexpr cutter(const graph& g, const schedule& s, bool shares)
      : g_(g), s_(s), shares_(shares), writer_(g.size(), -1) {
    for (std::size_t k = 0; k < s.nests.size(); ++k) {
      reads_.push_back(list<bool>(g.size(), false));
      evaluates_.push_back(needed_by(k));
      whole_.push_back(evaluates_[k]);
    }
    for (std::size_t k = 1; k < s.nests.size(); ++k) choose(k);
  }

  /// Bytes that the schedule then moves, as traffic_of counts them.
  constexpr std::int64_t bytes() const {
    std::int64_t saved = 0;
    for (std::size_t i = 0; i < g_.size(); ++i) {
      std::int64_t each = writer_[i] < 0 ? 0 : -stored_bytes(g_[i]);
      axis_mask domain = g_[i].varies;
      for (std::size_t k = 0; k < s_.nests.size(); ++k) {
        if (s_.nests[k].domain != domain) continue;
        if (reads_[k][i]) each -= stored_bytes(g_[i]);
        if (whole_[k][i] && !evaluates_[k][i]) each += read_bytes(g_[i], domain);
      }
      saved += each * nominal_elements(domain);
    }
    return traffic_of(g_, s_) - saved;
  }

  /// The graph in which what crosses is stored and read back.
  constexpr graph rewritten() {
    made_.user_ops = g_.user_ops;
    ids_ = list<list<std::uint16_t>>(s_.nests.size(), list<std::uint16_t>(g_.size(), no_node));
    read_back_ = list<std::uint16_t>(g_.size(), no_node);
    for (const node& n : g_.nodes) {
      const int in = n.code == op::input ? n.a : n.code == op::gather ? n.b : -1;
      const int out = n.code == op::store ? n.b : n.code == op::scatter_add ? n.c : -1;
      if (in >= inputs_) inputs_ = static_cast<std::uint16_t>(in + 1);
      if (out >= outputs_) outputs_ = static_cast<std::uint16_t>(out + 1);
    }
    // Work in its order, and with it what it needs: the nests are opened as they were.
    for (std::size_t i = 0; i < g_.size(); ++i) {
      if (!is_reduction(g_[i].code) && !is_root(g_[i].code)) continue;
      std::size_t home = 0;
      for (const item& it : s_.items) {
        if (it.node == i && it.kind != item_kind::carry) home = static_cast<std::size_t>(it.nest);
      }
      emit_for(i, home);
      const std::uint16_t id = add(i, home);
      for (list<std::uint16_t>& ids : ids_) ids[i] = id;
    }
    return static_cast<graph&&>(made_);
  }

 private:
  /// The nodes that a nest evaluates, reductions and what it reads back left out.
  constexpr list<bool> needed_by(std::size_t nest) const {
    list<bool> needed(g_.size(), false);
    mark_needed(g_, s_, static_cast<int>(nest), all_passes, needed,
                [&](std::size_t i) { return reads_[nest][i]; });
    for (std::size_t i = 0; i < g_.size(); ++i) {
      if (is_reduction(g_[i].code) || reads_[nest][i]) needed[i] = false;
    }
    return needed;
  }

  /// The first nest before `nest`, over the same axes, that evaluates a node; -1: none does.
  constexpr int first_to_evaluate(std::size_t node, std::size_t nest) const {
    for (std::size_t k = 0; k < nest; ++k) {
      const bool same = s_.nests[k].domain == s_.nests[nest].domain;
      if (same && evaluates_[k][node]) return static_cast<int>(k);
    }
    return -1;
  }

  constexpr void choose(std::size_t nest) {
    const axis_mask domain = s_.nests[nest].domain;
    bool any = false;
    for (std::size_t k = 0; k < nest; ++k) any = any || s_.nests[k].domain == domain;
    if (!any) return;
    const list<bool>& needed = whole_[nest];
    const auto crosses = [&](std::size_t i) { return needed[i] && g_[i].varies == domain; };
    // vertex 2 i + 2: a node's operands, or its element in memory; 2 i + 3: its value
    flow_network network(2 * g_.size() + 2);
    for (std::size_t i = 0; i < g_.size(); ++i) {
      if (!crosses(i)) continue;
      const node& n = g_[i];
      if (const std::int64_t read = read_bytes(n, domain); read > 0) {
        network.connect(0, 2 * i + 2, read * scale);
      }
      network.connect(2 * i + 2, 2 * i + 3, cost_of_crossing(i, nest));
      for (int k = 0; k < operands_of(n); ++k) {
        const std::uint16_t x = operand(n, k);
        if (crosses(x)) network.connect(2 * x + 3u, 2 * i + 2, flow_network::unlimited);
      }
    }
    for (const item& it : s_.items) {
      if (static_cast<std::size_t>(it.nest) != nest || it.kind == item_kind::carry) continue;
      for (int k = 0; k < operands_of(g_[it.node]); ++k) {
        const std::uint16_t x = operand(g_[it.node], k);
        if (crosses(x)) network.connect(2 * x + 3u, 1, flow_network::unlimited);
      }
    }
    const list<bool> side = network.source_side();
    for (std::size_t i = 0; i < g_.size(); ++i) {
      if (!crosses(i) || !side[2 * i + 2] || side[2 * i + 3]) continue;
      reads_[nest][i] = true;
      if (writer_[i] < 0) writer_[i] = first_to_evaluate(i, nest);
    }
    evaluates_[nest] = needed_by(nest);
  }

  /// Capacities are bytes in units small enough for shares of them, and for one more for each value
  /// that is read back: of choices that move as many bytes, the one that stores least is taken.
  static constexpr std::int64_t scale = 64 * 1024;

  constexpr std::int64_t cost_of_crossing(std::size_t i, std::size_t nest) const {
    const std::int64_t bytes = stored_bytes(g_[i]) * scale;
    if (writer_[i] >= 0) return bytes + 1;
    if (g_[i].code == op::input || first_to_evaluate(i, nest) < 0) return flow_network::unlimited;
    std::int64_t readers = 1;
    for (std::size_t k = nest + 1; shares_ && k < s_.nests.size(); ++k) {
      if (s_.nests[k].domain == s_.nests[nest].domain && whole_[k][i]) ++readers;
    }
    return bytes + bytes / readers + 1;
  }

  /// Adds a node as one nest has it, if it is not there yet.
  constexpr std::uint16_t add(std::size_t i, std::size_t nest) {
    node n = g_[i];
    const auto renamed = [&](std::uint16_t x) { return ids_[nest][x]; };
    const int operands = operands_of(n);
    if (operands > 0) n.a = renamed(n.a);
    if (operands > 1) n.b = renamed(n.b);
    if (operands > 2) n.c = renamed(n.c);
    for (const list<std::uint16_t>& ids : ids_) {
      if (ids[i] != no_node && made_[ids[i]] == n) return ids[i];
    }
    made_.nodes.push_back(n);
    return static_cast<std::uint16_t>(made_.size() - 1);
  }

  /// Adds what a reduction or root of a nest needs.
  constexpr void emit_for(std::size_t work, std::size_t nest) {
    list<bool> needed(g_.size(), false);
    const node& n = g_[work];
    for (int k = 0; k < operands_of(n); ++k) needed[operand(n, k)] = true;
    emit(needed, work, nest);
  }
  constexpr void emit(list<bool>& needed, std::size_t end, std::size_t nest) {
    list<std::uint16_t>& ids = ids_[nest];
    for (std::size_t i = end; i-- > 0;) {
      if (!needed[i] || ids[i] != no_node || reads_[nest][i]) continue;
      for (int k = 0; k < operands_of(g_[i]); ++k) needed[operand(g_[i], k)] = true;
    }
    for (std::size_t i = 0; i < end; ++i) {
      if (needed[i] && ids[i] == no_node) ids[i] = reads_[nest][i] ? cross(i) : add(i, nest);
    }
  }

  /// The operand through which a value is read back; the first who asks has it stored.
  constexpr std::uint16_t cross(std::size_t i) {
    if (read_back_[i] != no_node) return read_back_[i];
    const auto writer = static_cast<std::size_t>(writer_[i]);
    list<bool> needed(g_.size(), false);
    needed[i] = true;
    emit(needed, i + 1, writer);
    const axis_map map = ordered_map(g_[i].varies);
    node stored{.code = op::store, .type = compute_dtype(g_[i].type), .varies = g_[i].varies};
    stored.a = ids_[writer][i];
    if (g_[i].type != stored.type) {
      node cast{.code = op::cast, .type = stored.type, .varies = stored.varies, .a = stored.a};
      made_.nodes.push_back(cast);
      stored.a = static_cast<std::uint16_t>(made_.size() - 1);
    }
    stored.b = outputs_++;
    stored.extra = read_back_extra(map, inputs_, writer_[i]);
    made_.nodes.push_back(stored);
    made_.nodes.push_back({.code = op::input,
                           .type = stored.type,
                           .varies = stored.varies,
                           .a = inputs_++,
                           .extra = map});
    return read_back_[i] = static_cast<std::uint16_t>(made_.size() - 1);
  }

  const graph& g_;
  const schedule& s_;
  bool shares_;
  list<int> writer_;            ///< by node, the nest that stores it; -1: none
  list<list<bool>> reads_;      ///< by nest and node: whether the nest reads it back
  list<list<bool>> evaluates_;  ///< … whether it computes it
  list<list<bool>> whole_;      ///< … whether it would without reading anything back
  graph made_;
  list<list<std::uint16_t>> ids_;  ///< by nest and node: its id in `made_`
  list<std::uint16_t> read_back_;  ///< by node: the operand that reads it back
  std::uint16_t inputs_ = 0, outputs_ = 0;
};

}  // namespace detail

/// Whether several nests run over the same axes: else nothing of size crosses from one to another.
constexpr bool nests_share_a_domain(const schedule& s) {
  for (std::size_t k = 1; k < s.nests.size(); ++k) {
    for (std::size_t i = 0; i < k; ++i) {
      if (s.nests[i].domain == s.nests[k].domain) return true;
    }
  }
  return false;
}

/// The graph, cut where that moves fewest bytes: with what crosses stored and read back, where that
/// is less than computing it again, and the row axes that suit that. A graph that is cut already
/// stays as it is.
constexpr graph cut_cheapest(const graph& g) {
  for (const node& n : g.nodes) {
    if (read_back_slot(n) != no_node) return g;
  }
  graph best = g;
  std::int64_t least = traffic_of(g, make_schedule(g));
  detail::for_each_schedule(g, [&](const schedule& s) {
    if (!nests_share_a_domain(s)) return;
    for (const bool shares : {false, true}) {
      detail::cutter c(g, s, shares);
      if (c.bytes() >= least) continue;
      least = c.bytes();
      best = c.rewritten();
    }
  });
  return best;
}

}  // namespace heddle::inline v0::graph
