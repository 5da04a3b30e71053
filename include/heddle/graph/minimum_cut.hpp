// SPDX-License-Identifier: BSD-3-Clause
// The minimum cut of a small network, by augmenting paths, shortest first (Edmonds, Karp 1972).
#pragma once

#include <cstdint>

#include <heddle/graph/list.hpp>

namespace heddle::inline v0::graph {

/// Edges with capacities between vertices 0, 1, …; vertex 0 is the source, vertex 1 the sink.
class flow_network {
 public:
  /// More than any sum of capacities that a caller gives.
  static constexpr std::int64_t unlimited = std::int64_t{1} << 60;

  constexpr explicit flow_network(std::size_t vertices) : first_(vertices, none) {}

  constexpr void connect(std::size_t from, std::size_t to, std::int64_t capacity) {
    add(from, to, capacity);
    add(to, from, 0);
  }

  /// Which vertices lie on the source's side of the minimum cut that is nearest to the source.
  constexpr list<bool> source_side() {
    list<int> come;  // by vertex, the edge that it was reached by
    while (reach(come)) {
      std::int64_t least = unlimited;
      for (std::size_t v = sink; v != source; v = edge_to(come, v).from) {
        const std::int64_t left = edge_to(come, v).capacity;
        if (left < least) least = left;
      }
      for (std::size_t v = sink; v != source;) {
        const auto e = static_cast<std::size_t>(come[v]);
        edges_[e].capacity -= least;
        edges_[e ^ 1].capacity += least;
        v = edges_[e].from;
      }
    }
    list<bool> side(first_.size(), false);
    for (std::size_t v = 0; v < side.size(); ++v) side[v] = v == source || come[v] != none;
    return side;
  }

 private:
  static constexpr int none = -1;
  static constexpr std::size_t source = 0, sink = 1;
  struct edge {
    std::size_t from = 0, to = 0;
    std::int64_t capacity = 0;
    int next = none;  ///< of the edges that leave `from`
  };

  constexpr void add(std::size_t from, std::size_t to, std::int64_t capacity) {
    edges_.push_back({from, to, capacity, first_[from]});
    first_[from] = static_cast<int>(edges_.size()) - 1;
  }
  constexpr const edge& edge_to(const list<int>& come, std::size_t v) const {
    return edges_[static_cast<std::size_t>(come[v])];
  }
  /// Walks from the source over what capacity is left; whether that leads to the sink.
  constexpr bool reach(list<int>& come) const {
    come = list<int>(first_.size(), none);
    list<std::size_t> queue;
    queue.push_back(source);
    for (std::size_t at = 0; at < queue.size(); ++at) {
      for (int e = first_[queue[at]]; e != none; e = edges_[static_cast<std::size_t>(e)].next) {
        const edge& each = edges_[static_cast<std::size_t>(e)];
        if (each.capacity == 0 || each.to == source || come[each.to] != none) continue;
        come[each.to] = e;
        if (each.to == sink) return true;
        queue.push_back(each.to);
      }
    }
    return false;
  }

  list<int> first_;
  list<edge> edges_;
};

}  // namespace heddle::inline v0::graph
