// SPDX-License-Identifier: BSD-3-Clause
// Held values: what one pass of a nest computes at a cost and a later pass of it needs again is
// written to a buffer of a row's length and read from there. Softmax computes its powers once.
#pragma once

#include <heddle/graph/passes/schedule.hpp>

namespace heddle::inline v0::graph {

namespace detail {

/// Chooses what the passes of one nest hold.
class holder {
 public:
  constexpr holder(const graph& g, const schedule& s, int nest)
      : g_(g),
        s_(s),
        nest_(nest),
        held_(g.size(), no_pass),
        first_(g.size(), no_pass),
        costly_(g.size(), false) {}

  constexpr list<std::int8_t> run() {
    const int levels = s_.nests[static_cast<std::size_t>(nest_)].levels;
    for (int pass = 0; levels > 1 && pass < levels; ++pass) {
      list<bool> needed(g_.size(), false);
      mark_pass(g_, s_, nest_, pass, needed, held_);
      if (mark_costly(needed)) choose(pass);
      for (std::size_t i = 0; i < g_.size(); ++i) {
        if (needed[i] && first_[i] == no_pass) first_[i] = static_cast<std::int8_t>(pass);
      }
    }
    return static_cast<list<std::int8_t>&&>(held_);
  }

 private:
  /// Marks the nodes that the pass would evaluate at a cost, or from one that it would.
  constexpr bool mark_costly(const list<bool>& needed) {
    bool any = false;
    for (std::size_t i = 0; i < g_.size(); ++i) {
      const node& n = g_[i];
      costly_[i] = false;
      if (!needed[i] || is_reduction(n.code) || held_[i] != no_pass) continue;
      bool costly = is_costly(n.code);
      for (int k = 0; k < operands_of(n); ++k) costly = costly || costly_[operand(n, k)];
      costly_[i] = costly && is_lane(n);
      any = any || costly_[i];
    }
    return any;
  }

  /// Either the last values that two passes share, or those of costly ops alone: the fewer.
  constexpr void choose(int pass) {
    const list<std::uint16_t> last = cut(pass, false);
    const list<std::uint16_t> ops = cut(pass, true);
    for (const std::uint16_t i : last.size() <= ops.size() ? last : ops) held_[i] = first_[i];
  }

  /// The first of the nodes that may be held on all ways from the pass's results down.
  constexpr list<std::uint16_t> cut(int pass, bool ops_only) const {
    list<std::int8_t> ends = held_;
    for (std::size_t i = 0; i < g_.size(); ++i) {
      const node& n = g_[i];
      const bool fits = costly_[i] && first_[i] != no_pass && is_floating(n.type) &&
                        n.varies == s_.nests[static_cast<std::size_t>(nest_)].domain;
      if (fits && (is_costly(n.code) || !ops_only)) ends[i] = first_[i];
    }
    list<bool> needed(g_.size(), false);
    mark_pass(g_, s_, nest_, pass, needed, ends);
    list<std::uint16_t> chosen;
    for (std::size_t i = 0; i < g_.size(); ++i) {
      if (needed[i] && ends[i] != held_[i]) chosen.push_back(static_cast<std::uint16_t>(i));
    }
    return chosen;
  }

  constexpr bool is_lane(const node& n) const {
    const unsigned domain = s_.nests[static_cast<std::size_t>(nest_)].domain;
    return (n.varies & std::bit_floor(domain)) != 0;
  }

  const graph& g_;
  const schedule& s_;
  int nest_;
  list<std::int8_t> held_;
  list<std::int8_t> first_;  ///< the first pass that evaluates a node
  list<bool> costly_;
};

}  // namespace detail

/// For each node, the pass of a nest that writes its value for later passes to read; no_pass where
/// it is not held.
constexpr list<std::int8_t> held_values(const graph& g, const schedule& s, int nest) {
  return detail::holder(g, s, nest).run();
}

}  // namespace heddle::inline v0::graph
