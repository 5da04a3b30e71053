// SPDX-License-Identifier: BSD-3-Clause
// The schedule: which loop nests a graph takes, and what each pass over memory computes.
//
// A nest iterates over a domain of axes. Its row axes are those that its row reductions remove; all
// other axes are parallel. For each row the nest runs passes in turn: pass p evaluates what depends
// on the row reductions of earlier passes, and accumulates its own. Reductions over other axes are
// terminal: they are finished when the nest has run, and later nests read them. Work that varies
// only along parallel axes runs once a row, in the row pass.
//
// Where reductions over one domain could choose different row axes, each choice is tried, and the
// one whose nests move fewest bytes is kept. Extents are not known here: see traffic_of for how
// bytes are counted.
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
  bool terminal = false;    ///< it has terminal reductions
  bool reads_back = false;  ///< it reads values that an earlier nest stores: see passes/cut.hpp
  /// It finishes an earlier nest: it runs over fewer axes and reads merged results. What another
  /// nest stores is read in a sweep behind that.
  bool finish = false;
};

/// Marks the nests that finish others: each finishes the last one that does not itself, if that
/// leaves something to be finished.
constexpr void mark_finishes(list<nest>& nests) {
  std::size_t begin = 0;
  for (std::size_t k = 0; k < nests.size(); ++k) {
    nest& n = nests[k];
    bool smaller = false;
    for (std::size_t j = 0; j < k; ++j) {
      smaller = smaller || (n.domain != nests[j].domain && (n.domain & ~nests[j].domain) == 0);
    }
    n.finish = k > 0 && nests[begin].terminal && smaller && !n.reads_back;
    if (!n.finish) begin = k;
  }
}

struct schedule {
  list<nest> nests;
  list<item> items;  ///< by nest, then pass

  /// Number of sweeps over memory.
  constexpr int kernels() const {
    int count = 0;
    for (const nest& n : nests) count += n.finish ? 0 : 1;
    return count;
  }
};

/// For mark_needed: the items of all passes of a nest.
inline constexpr int all_passes = -1;

/// Marks the nodes that the items of a pass of a nest need, stopping at what is there already:
/// reductions, and nodes for which stops(node) holds. Roots and the items' own reductions are not
/// marked.
template <class Stops>
constexpr void mark_needed(const graph& g, const schedule& s, int nest, int pass,
                           list<bool>& needed, Stops stops) {
  for (const item& it : s.items) {
    if (it.nest != nest || (pass != all_passes && it.pass != pass)) continue;
    if (it.kind == item_kind::carry) {
      needed[it.node] = true;
      continue;
    }
    for (int k = 0; k < operands_of(g[it.node]); ++k) needed[operand(g[it.node], k)] = true;
  }
  for (std::size_t i = g.size(); i-- > 0;) {
    if (!needed[i] || is_reduction(g[i].code) || stops(i)) continue;
    for (int k = 0; k < operands_of(g[i]); ++k) needed[operand(g[i], k)] = true;
  }
}

/// The same, stopping at what an earlier pass holds (`held`: by node, the pass or no_pass).
constexpr void mark_pass(const graph& g, const schedule& s, int nest, int pass, list<bool>& needed,
                         const list<std::int8_t>& held) {
  mark_needed(g, s, nest, pass, needed,
              [&](std::size_t i) { return held[i] != no_pass && held[i] < pass; });
}

/// Bytes that an element of a value takes where it is stored between nests: in its compute dtype,
/// so that no bit changes.
constexpr std::int64_t stored_bytes(const node& n) {
  return static_cast<std::int64_t>(size_of(compute_dtype(n.type)));
}

/// Bytes per element that evaluating a node reads from memory in a nest over `domain`. What varies
/// along fewer axes is of lower order, stays in caches and counts nothing.
constexpr std::int64_t read_bytes(const node& n, axis_mask domain) {
  const bool reads = n.code == op::input || n.code == op::gather;
  return reads && n.varies == domain ? static_cast<std::int64_t>(size_of(n.type)) : 0;
}

/// Elements of a domain, as though each extent was 32: a nest over more axes outweighs those over
/// fewer.
constexpr std::int64_t nominal_elements(axis_mask domain) {
  return std::int64_t{1} << (5 * std::popcount(static_cast<unsigned>(domain)));
}

/// Bytes that a schedule moves. Each nest reads its operands once, in whatever pass, and writes
/// its results once; reductions count nothing.
constexpr std::int64_t traffic_of(const graph& g, const schedule& s) {
  std::int64_t bytes = 0;
  for (std::size_t k = 0; k < s.nests.size(); ++k) {
    const axis_mask domain = s.nests[k].domain;
    list<bool> needed(g.size(), false);
    mark_needed(g, s, static_cast<int>(k), all_passes, needed, [](std::size_t) { return false; });
    std::int64_t each = 0;
    for (std::size_t i = 0; i < g.size(); ++i) {
      if (needed[i]) each += read_bytes(g[i], domain);
    }
    for (const item& it : s.items) {
      const bool written = static_cast<std::size_t>(it.nest) == k && it.kind == item_kind::store;
      if (written && g[it.node].varies == domain) {
        each += static_cast<std::int64_t>(size_of(g[it.node].type));
      }
    }
    bytes += each * nominal_elements(domain);
  }
  return bytes;
}

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
  /// `chosen`: of the row axes that each nest could have, in the order in which nests are opened,
  /// which it takes; further nests take the first.
  constexpr scheduler(const graph& g, const list<std::uint8_t>& chosen)
      : g_(g),
        chosen_(chosen),
        work_of_(g.size(), -1),
        stored_by_(g.size(), no_node),
        depends_(g.size()) {}

  constexpr schedule run() {
    collect();
    mark_rebroadcast();
    for (std::size_t w = 0; w < works_.size(); ++w) place(w);
    return result();
  }

  /// What to choose next, after `run`, so that all choices come; empty: they have.
  constexpr list<std::uint8_t> next_choice() const {
    list<std::uint8_t> next;
    for (std::size_t k = options_.size(); k-- > 0;) {
      const int taken = taken_[k] + 1;
      if (taken == options_[k]) continue;
      for (std::size_t i = 0; i < k; ++i) next.push_back(taken_[i]);
      next.push_back(static_cast<std::uint8_t>(taken));
      break;
    }
    return next;
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
      if (const std::uint16_t slot = read_back_slot(n); slot != no_node) {
        for (std::size_t k = i + 1; k < g_.size(); ++k) {
          if (g_[k].code == op::input && g_[k].a == slot) stored_by_[k] = w.node;
        }
      }
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
      if (stored_by_[i] != no_node) downstream[stored_by_[i]] |= seen;
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
    if (stored_by_[id] != no_node) total.after = home_of(stored_by_[id]);
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
    const auto open = static_cast<int>(nests_.size());
    if (read_back_slot(g_[w.node]) != no_node && at < storing_nest(g_[w.node])) {
      at = storing_nest(g_[w.node]) < open ? storing_nest(g_[w.node]) : open;
    }
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

  /// A new nest for a piece of work. Its row axes: the chosen ones of those that re-broadcast
  /// reductions over this domain remove; else those of a reduction that leaves the domain's first
  /// axis.
  constexpr void open_nest(std::size_t index) {
    nest made;
    made.domain = works_[index].domain;
    const unsigned first = made.domain & (0u - made.domain);
    axis_mask inner = 0;
    list<axis_mask> rows;
    for (std::size_t i = index; i < works_.size(); ++i) {
      const work& w = works_[i];
      if (!is_reduction(g_[w.node].code) || w.domain != made.domain) continue;
      if (inner == 0 && (w.removed & first) == 0) inner = w.removed;
      bool known = !w.rebroadcast;
      for (const axis_mask row : rows) known = known || row == w.removed;
      if (!known) rows.push_back(w.removed);
    }
    const std::uint8_t taken =
        nests_.size() < chosen_.size() ? chosen_[nests_.size()] : std::uint8_t{0};
    made.row = taken < rows.size() ? rows[taken] : inner;
    options_.push_back(static_cast<std::uint8_t>(rows.size() > 1 ? rows.size() : 1));
    taken_.push_back(taken);
    if (nests_.size() == 100) throw "heddle: the statement is too large: over 100 loop nests";
    nests_.push_back(made);
  }

  constexpr schedule result() {
    // row reductions that later nests read are carried out through memory
    list<bool> carried(g_.size(), false);
    for (std::size_t w = 0; w < works_.size(); ++w) mark_carried(w, carried);
    mark_terminals();
    mark_finishes(nests_);
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

  constexpr std::int8_t home_of(std::uint16_t id) const {
    return works_[static_cast<std::size_t>(work_of_[id])].nest;
  }

  constexpr void mark_terminals() {
    for (const work& w : works_) {
      if (!w.row && is_reduction(g_[w.node].code)) {
        nests_[static_cast<std::size_t>(w.nest)].terminal = true;
      }
    }
  }

  /// Marks row reductions of other nests that work w reads, and whether it reads what others store.
  constexpr void mark_carried(std::size_t index, list<bool>& carried) {
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
      if (stored_by_[i] != no_node) nests_[static_cast<std::size_t>(w.nest)].reads_back = true;
      for (int k = 0; k < operands_of(g_[i]); ++k) seen[operand(g_[i], k)] = true;
    }
  }

  const graph& g_;
  const list<std::uint8_t>& chosen_;
  list<int> work_of_;
  list<std::uint16_t> stored_by_;  ///< of an operand that is read back: the store
  list<need> depends_;
  list<work> works_;
  list<nest> nests_;
  list<std::uint8_t> options_;  ///< how many row axes each nest could have …
  list<std::uint8_t> taken_;    ///< … and which it has
  std::size_t visited_ = 0;
};

/// Schedules that are tried of one graph, at most.
inline constexpr int most_schedules = 16;

/// Calls f(schedule) for each choice of row axes; first comes that of the first re-broadcast
/// reductions.
template <class F>
constexpr void for_each_schedule(const graph& g, F f) {
  list<std::uint8_t> chosen;
  for (int i = 0; i < most_schedules; ++i) {
    scheduler s(g, chosen);
    f(s.run());
    list<std::uint8_t> next = s.next_choice();
    if (next.empty()) return;
    chosen = static_cast<list<std::uint8_t>&&>(next);
  }
}

/// Has each nest that finishes a sweep come directly behind it, as soon as all that it reads is
/// there: independent nests would else stand between them.
class nest_order {
 public:
  constexpr nest_order(const graph& g, const schedule& given) : g_(g), given_(given) {
    for (std::size_t k = 0; k < given.nests.size(); ++k) find_reads(k);
  }

  constexpr schedule run() {
    schedule made;
    while (made.nests.size() < given_.nests.size()) append(next(made.nests), made);
    mark_finishes(made.nests);
    return made;
  }

 private:
  /// The nests that leave what nest k reads: reductions, and values that are stored between nests.
  constexpr void find_reads(std::size_t k) {
    list<bool> seen(g_.size(), false);
    mark_needed(g_, given_, static_cast<int>(k), all_passes, seen,
                [](std::size_t) { return false; });
    list<bool> reads(given_.nests.size(), false);
    for (const item& it : given_.items) {
      const auto from = static_cast<std::size_t>(it.nest);
      if (from != k && leaves_what_is_read(it.node, seen)) reads[from] = true;
    }
    reads_.push_back(reads);
    place_.push_back(-1);
  }
  constexpr bool leaves_what_is_read(std::uint16_t id, const list<bool>& seen) const {
    if (is_reduction(g_[id].code)) return seen[id];
    const std::uint16_t slot = read_back_slot(g_[id]);
    for (std::size_t i = 0; slot != no_node && i < g_.size(); ++i) {
      if (seen[i] && g_[i].code == op::input && g_[i].a == slot) return true;
    }
    return false;
  }
  constexpr bool is_ready(std::size_t k) const {
    if (place_[k] >= 0) return false;
    for (std::size_t other = 0; other < place_.size(); ++other) {
      if (reads_[k][other] && place_[other] < 0) return false;
    }
    return true;
  }
  /// The first nest that would be part of the last sweep, else the first one.
  constexpr std::size_t next(const list<nest>& made) const {
    list<nest> tried = made;
    tried.push_back({});
    nest& last = tried[tried.size() - 1];
    for (std::size_t k = 0; k < place_.size(); ++k) {
      if (!is_ready(k)) continue;
      last = given_.nests[k];
      mark_finishes(tried);
      if (last.finish) return k;
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
  list<list<bool>> reads_;   ///< by nest: which others leave what it reads
  list<std::int8_t> place_;  ///< by nest: where it comes, -1: not yet
};

}  // namespace detail

/// The loop nests and passes of a graph: of the possible row axes, those by which fewest bytes are
/// moved; where several are, those of the first re-broadcast reductions. Deterministic; for one
/// choice linear but for the number of roots.
constexpr schedule make_schedule(const graph& g) {
  schedule best;
  std::int64_t least = -1;  // bytes of `best`, once there is another to compare with
  detail::for_each_schedule(g, [&](schedule&& s) {
    if (best.nests.empty()) {
      best = static_cast<schedule&&>(s);
      return;
    }
    if (least < 0) least = traffic_of(g, best);
    const std::int64_t bytes = traffic_of(g, s);
    if (bytes >= least) return;
    least = bytes;
    best = static_cast<schedule&&>(s);
  });
  if (best.nests.size() < 3) return best;
  return detail::nest_order(g, best).run();
}

}  // namespace heddle::inline v0::graph
