// SPDX-License-Identifier: BSD-3-Clause
// The schedule: which loop nests a graph takes, and what each pass over memory computes.
//
// A nest iterates over a domain of axes. Its row axes are those that its row reductions remove; all
// other axes are parallel. For each row the nest runs passes in turn: pass p evaluates what depends
// on the row reductions of earlier passes, and accumulates its own. Reductions over other axes are
// terminal: they are finished when the nest has run, and later nests read them. Work that varies
// only along parallel axes runs once a row, in the row pass.
#pragma once

#include <heddle/graph/op_table.hpp>

namespace heddle::inline v0::graph {

inline constexpr std::int8_t no_pass = -1;

/// How a reduction or root is executed.
enum class item_kind : std::uint8_t {
  store,
  scatter,
  row_reduction,
  terminal_reduction,
  carry,  ///< a row reduction's value written where later nests read it
  hold    ///< a lane's value written where later passes of the nest read it: the host's plans only
};
/// Whether it writes a result of the statement, not a reduction.
constexpr bool writes_result(item_kind kind) {
  return kind == item_kind::store || kind == item_kind::scatter;
}

/// One thing that a pass produces.
struct item {
  std::uint16_t node = no_node;
  item_kind kind = item_kind::store;
  std::int8_t nest = -1;
  std::int8_t pass = 0;  ///< within the nest; the row pass is pass `levels`
};

struct nest {
  axis_mask domain = 0;
  axis_mask row = 0;
  std::int8_t levels = 1;  ///< full passes; a row pass may follow
  bool row_pass = false;
  bool terminal = false;  ///< it leaves terminal reductions
};

/// Whether a nest runs over fewer axes than one of those before it.
template <class Nests>
constexpr bool is_smaller(const Nests& nests, std::size_t nest) {
  for (std::size_t j = 0; j < nest; ++j) {
    if (nests[nest].domain != nests[j].domain && (nests[nest].domain & ~nests[j].domain) == 0) {
      return true;
    }
  }
  return false;
}
/// The first nest of the sweep that a nest is part of: itself, or the nearest one before it that
/// leaves terminal reductions, where it and all between them run over fewer axes and finish that.
template <class Nests>
constexpr std::size_t sweep_of(const Nests& nests, std::size_t nest) {
  std::size_t first = 0;
  for (std::size_t k = 1; k <= nest; ++k) {
    if (!nests[first].terminal || !is_smaller(nests, k)) first = k;
  }
  return first;
}

struct schedule {
  list<nest> nests;
  list<item> items;  ///< by nest, then pass

  /// Number of sweeps over memory.
  constexpr int kernels() const {
    int count = 0;
    for (std::size_t i = 0; i < nests.size(); ++i) count += sweep_of(nests, i) == i ? 1 : 0;
    return count;
  }
};

namespace detail {

/// What the scheduler works on: one entry per reduction and root.
struct work {
  std::uint16_t node = no_node;
  axis_mask domain = 0;   ///< the axes it iterates over
  axis_mask removed = 0;  ///< of a reduction
  bool rebroadcast = false;
  std::int8_t nest = -1;
  std::int8_t level = 0;
  bool row = false;        ///< a row reduction of its nest
  bool row_level = false;  ///< runs in its nest's row pass
};

class scheduler {
 public:
  constexpr explicit scheduler(const graph& g)
      : g_(g), work_of_(g.size(), -1), depends_(g.size()) {}

  constexpr schedule run() {
    collect();
    mark_rebroadcast();
    for (std::size_t w = 0; w < works_.size(); ++w) place(w);
    return result();
  }

 private:
  constexpr void collect() {
    for (std::size_t i = 0; i < g_.size(); ++i) {
      const node& n = g_[i];
      if (!is_reduction(n.code) && !is_root(n.code)) continue;
      work w;
      w.node = static_cast<std::uint16_t>(i);
      w.domain = g_[n.a].varies;
      if (is_reduction(n.code)) w.removed = static_cast<axis_mask>(n.extra);
      if (n.code == op::store) w.domain = n.varies;
      if (n.code == op::scatter_add) {
        w.domain = static_cast<axis_mask>(w.domain | g_[n.b].varies |
                                          mask_of(static_cast<axis_map>(n.extra)));
      }
      work_of_[i] = static_cast<int>(works_.size());
      works_.push_back(w);
    }
  }

  /// A reduction is re-broadcast if something that depends on it varies along an axis it removed.
  constexpr void mark_rebroadcast() {
    // from users to operands: all axes along which anything downstream varies
    list<axis_mask> downstream(g_.size(), axis_mask{0});
    for (std::size_t i = g_.size(); i-- > 0;) {
      const node& n = g_[i];
      if (const int w = work_of_[i]; w >= 0 && is_reduction(n.code)) {
        works_[static_cast<std::size_t>(w)].rebroadcast =
            (downstream[i] & works_[static_cast<std::size_t>(w)].removed) != 0;
      }
      const auto seen = static_cast<axis_mask>(downstream[i] | n.varies);
      for (int k = 0; k < operands_of(n); ++k) downstream[operand(n, k)] |= seen;
    }
  }

  /// For each node: the last nest whose terminal results it needs, and, within `nest`, its level.
  struct need {
    std::int8_t after = -1;  ///< must run in a nest later than this one
    std::int8_t nest = -1;   ///< or, at the earliest, in this one, behind its level
    std::int8_t level = 0;
  };

  constexpr need need_of(std::uint16_t id) const {
    const node& n = g_[id];
    need total;
    for (int k = 0; k < operands_of(n); ++k) {
      const std::uint16_t x = operand(n, k);
      const need d = depends_[x];
      if (d.after > total.after) total.after = d.after;
      if (d.nest > total.nest) {
        total.nest = d.nest;
        total.level = d.level;
      } else if (d.nest == total.nest && d.level > total.level) {
        total.level = d.level;
      }
    }
    return total;
  }

  constexpr void place(std::size_t index) {
    work& w = works_[index];
    // needs of everything up to this node, in order
    for (; visited_ <= w.node; ++visited_) {
      depends_[visited_] = need_of(static_cast<std::uint16_t>(visited_));
      if (visited_ == w.node) break;
    }
    const need n = depends_[w.node];
    int at = n.after + 1 > n.nest ? n.after + 1 : n.nest;
    if (at < 0) at = 0;
    for (;
         at < static_cast<int>(nests_.size()) && !fits(w, nests_[static_cast<std::size_t>(at)]);) {
      ++at;
    }
    if (at == static_cast<int>(nests_.size())) open_nest(index);
    nest& home = nests_[static_cast<std::size_t>(at)];
    w.nest = static_cast<std::int8_t>(at);
    w.level = n.nest == at ? n.level : std::int8_t{0};
    w.row_level = w.domain != home.domain;
    w.row = is_reduction(g_[w.node].code) && !w.row_level && w.removed == home.row;
    if (w.row_level) {
      home.row_pass = true;
    } else if (w.level + 1 > home.levels) {
      home.levels = static_cast<std::int8_t>(w.level + 1);
    }
    // what depends on w
    need after = n;
    if (is_reduction(g_[w.node].code)) {
      if (w.row) {
        after.nest = w.nest;
        after.level = static_cast<std::int8_t>(w.level + 1);
      } else {
        after.after = w.nest;
      }
    }
    depends_[w.node] = after;
    visited_ = static_cast<std::size_t>(w.node) + 1;
  }

  constexpr bool fits(const work& w, const nest& home) const {
    if (w.domain == home.domain) return true;
    const auto parallel = static_cast<axis_mask>(home.domain & ~home.row);
    return home.row != 0 && w.domain == parallel;
  }

  /// A new nest for a piece of work. Its row axes: those of the first re-broadcast reduction over
  /// this domain; else those of a reduction that leaves the domain's first axis.
  constexpr void open_nest(std::size_t index) {
    nest made;
    made.domain = works_[index].domain;
    const unsigned first = made.domain & (0u - made.domain);
    axis_mask inner = 0;
    for (std::size_t i = index; i < works_.size(); ++i) {
      const work& w = works_[i];
      if (!is_reduction(g_[w.node].code) || w.domain != made.domain) continue;
      if (w.rebroadcast) {
        made.row = w.removed;
        break;
      }
      if (inner == 0 && (w.removed & first) == 0) inner = w.removed;
    }
    if (made.row == 0) made.row = inner;
    if (nests_.size() == 100) throw "heddle: the statement is too large: over 100 loop nests";
    nests_.push_back(made);
  }

  constexpr schedule result() {
    // row reductions that later nests read are carried out through memory
    list<bool> carried(g_.size(), false);
    list<std::int8_t> nest_of(g_.size(), std::int8_t{-1});
    for (std::size_t w = 0; w < works_.size(); ++w) mark_carried(w, carried);
    schedule s;
    for (std::size_t k = 0; k < nests_.size(); ++k) {
      for (std::size_t w = 0; w < works_.size(); ++w) {
        if (works_[w].nest == static_cast<int>(k) && works_[w].row && carried[works_[w].node]) {
          nests_[k].row_pass = true;
        }
      }
      s.nests.push_back(nests_[k]);
      const int passes = nests_[k].levels + (nests_[k].row_pass ? 1 : 0);
      for (int p = 0; p < passes; ++p) {
        const bool row_pass = p == nests_[k].levels;
        for (const work& w : works_) {
          if (w.nest != static_cast<int>(k)) continue;
          const int pass = w.row_level ? nests_[k].levels : w.level;
          if (pass == p) {
            const op code = g_[w.node].code;
            const item_kind kind = code == op::store         ? item_kind::store
                                   : code == op::scatter_add ? item_kind::scatter
                                   : w.row                   ? item_kind::row_reduction
                                                             : item_kind::terminal_reduction;
            if (kind == item_kind::terminal_reduction) s.nests[k].terminal = true;
            s.items.push_back({w.node, kind, w.nest, static_cast<std::int8_t>(p)});
          }
          if (row_pass && w.row && carried[w.node]) {
            s.items.push_back({w.node, item_kind::carry, w.nest, static_cast<std::int8_t>(p)});
          }
        }
      }
    }
    return s;
  }

  /// Marks row reductions of other nests that work w reads.
  constexpr void mark_carried(std::size_t index, list<bool>& carried) const {
    const work& w = works_[index];
    list<bool> seen(g_.size(), false);
    const node& root = g_[w.node];
    for (int k = 0; k < operands_of(root); ++k) seen[operand(root, k)] = true;
    for (std::size_t i = w.node; i-- > 0;) {
      if (!seen[i]) continue;
      if (work_of_[i] >= 0) {
        const work& other = works_[static_cast<std::size_t>(work_of_[i])];
        if (other.row && other.nest != w.nest) carried[i] = true;
        continue;
      }
      for (int k = 0; k < operands_of(g_[i]); ++k) seen[operand(g_[i], k)] = true;
    }
  }

  const graph& g_;
  list<int> work_of_;
  list<need> depends_;
  list<work> works_;
  list<nest> nests_;
  std::size_t visited_ = 0;
};

/// Has each nest that finishes a sweep come directly behind it, as soon as all that it reads is
/// there: independent nests would else stand between them.
class nest_order {
 public:
  constexpr nest_order(const graph& g, const schedule& given) : g_(g), given_(given) {
    for (std::size_t k = 0; k < given.nests.size(); ++k) find_reads(k);
  }

  constexpr schedule run() {
    schedule made;
    while (made.nests.size() < given_.nests.size()) append(next(made), made);
    return made;
  }

 private:
  /// The nests whose reductions nest k reads.
  constexpr void find_reads(std::size_t k) {
    list<bool> seen(g_.size(), false);
    for (const item& it : given_.items) {
      if (static_cast<std::size_t>(it.nest) != k || it.kind == item_kind::carry) continue;
      for (int i = 0; i < operands_of(g_[it.node]); ++i) seen[operand(g_[it.node], i)] = true;
    }
    for (std::size_t i = g_.size(); i-- > 0;) {
      if (!seen[i] || is_reduction(g_[i].code)) continue;
      for (int j = 0; j < operands_of(g_[i]); ++j) seen[operand(g_[i], j)] = true;
    }
    list<bool> reads(given_.nests.size(), false);
    for (const item& it : given_.items) {
      if (is_reduction(g_[it.node].code) && seen[it.node]) {
        reads[static_cast<std::size_t>(it.nest)] = static_cast<std::size_t>(it.nest) != k;
      }
    }
    reads_.push_back(reads);
    place_.push_back(-1);
  }
  constexpr bool is_ready(std::size_t k) const {
    if (place_[k] >= 0) return false;
    for (std::size_t other = 0; other < place_.size(); ++other) {
      if (reads_[k][other] && place_[other] < 0) return false;
    }
    return true;
  }
  /// The first nest that would be part of the last sweep, else the first one.
  constexpr std::size_t next(const schedule& made) const {
    list<nest> tried = made.nests;
    tried.push_back({});
    for (std::size_t k = 0; k < place_.size(); ++k) {
      if (!is_ready(k)) continue;
      tried[tried.size() - 1] = given_.nests[k];
      if (sweep_of(tried, tried.size() - 1) < tried.size() - 1) return k;
    }
    std::size_t first = 0;
    while (!is_ready(first)) ++first;
    return first;
  }
  constexpr void append(std::size_t k, schedule& made) {
    place_[k] = static_cast<std::int8_t>(made.nests.size());
    made.nests.push_back(given_.nests[k]);
    for (item it : given_.items) {
      if (static_cast<std::size_t>(it.nest) != k) continue;
      it.nest = place_[k];
      made.items.push_back(it);
    }
  }

  const graph& g_;
  const schedule& given_;
  list<list<bool>> reads_;   ///< by nest: which others' reductions it reads
  list<std::int8_t> place_;  ///< by nest: where it comes, -1: not yet
};

}  // namespace detail

/// The loop nests and passes of a graph. Deterministic; linear but for the number of roots.
constexpr schedule make_schedule(const graph& g) {
  schedule made = detail::scheduler(g).run();
  if (made.nests.size() < 3) return made;
  return detail::nest_order(g, made).run();
}

/// Marks the nodes that the items of one pass need, stopping at what is there already: reductions,
/// and what an earlier pass holds (`held`: by node, the pass or no_pass). Roots and the items' own
/// reductions are not marked.
constexpr void mark_pass(const graph& g, const schedule& s, int nest, int pass, list<bool>& needed,
                         const list<std::int8_t>& held) {
  for (const item& it : s.items) {
    if (it.nest != nest || it.pass != pass) continue;
    if (it.kind == item_kind::carry) {
      needed[it.node] = true;
      continue;
    }
    for (int k = 0; k < operands_of(g[it.node]); ++k) needed[operand(g[it.node], k)] = true;
  }
  for (std::size_t i = g.size(); i-- > 0;) {
    if (!needed[i] || is_reduction(g[i].code)) continue;
    if (held[i] != no_pass && held[i] < pass) continue;
    for (int k = 0; k < operands_of(g[i]); ++k) needed[operand(g[i], k)] = true;
  }
}

}  // namespace heddle::inline v0::graph
