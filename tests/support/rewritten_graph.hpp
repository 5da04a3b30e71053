// SPDX-License-Identifier: BSD-3-Clause
// A graph recorded a second time: simplified, or with its nodes edited.
#pragma once

#include <vector>

#include <heddle/graph/passes/dead_code.hpp>

namespace support {

namespace graph = heddle::graph;

/// The recorded nodes sent through a simplifying builder, dead code removed.
inline graph::graph rebuilt(const graph::graph& raw) {
  graph::builder b;
  b.user_ops = raw.user_ops;
  std::vector<std::uint16_t> renamed;
  for (graph::node n : raw.nodes) {
    const int operands = graph::operands_of(n);
    if (operands > 0) n.a = renamed[n.a];
    if (operands > 1) n.b = renamed[n.b];
    if (operands > 2) n.c = renamed[n.c];
    renamed.push_back(b.emit(n));
  }
  return graph::remove_dead_code(b.nodes(), b.user_ops);
}

/// g with `edit(node, emit, so_far)` applied to each node, whose operands are already those of the
/// new graph; what it emits comes before the node.
template <class Edit>
graph::graph rewritten(const graph::graph& g, Edit edit) {
  graph::graph result;
  result.user_ops = g.user_ops;
  std::vector<std::uint16_t> renamed;
  const auto emit = [&result](graph::node n) {
    n.varies = graph::varies_of(result.nodes, n);
    result.nodes.push_back(n);
    return static_cast<std::uint16_t>(result.size() - 1);
  };
  for (graph::node n : g.nodes) {
    const int operands = graph::operands_of(n);
    if (operands > 0) n.a = renamed[n.a];
    if (operands > 1) n.b = renamed[n.b];
    if (operands > 2) n.c = renamed[n.c];
    edit(n, emit, result);
    renamed.push_back(emit(n));
  }
  return result;
}

}  // namespace support
