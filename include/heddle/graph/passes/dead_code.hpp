// SPDX-License-Identifier: BSD-3-Clause
// Drops nodes that no root needs and numbers the rest without gaps.
#pragma once

#include <heddle/graph/passes/frame.hpp>

namespace heddle::inline v0::graph {

constexpr graph remove_dead_code(const list<node>& nodes, const list<const op_info*>& user_ops) {
  list<bool> needed(nodes.size(), false);
  for (std::size_t i = 0; i < nodes.size(); ++i) needed[i] = is_root(nodes[i].code);
  detail::mark_operands(nodes, needed);
  graph result;
  result.nodes.reserve(nodes.size());
  list<std::uint16_t> renamed(nodes.size(), no_node);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (!needed[i]) continue;
    node n = nodes[i];
    const int operands = operands_of(n);
    if (operands > 0) n.a = renamed[n.a];
    if (operands > 1) n.b = renamed[n.b];
    if (operands > 2) n.c = renamed[n.c];
    renamed[i] = static_cast<std::uint16_t>(result.nodes.size());
    result.nodes.push_back(n);
    if (n.code >= op::user) {
      const op_info* info = &find_info(n.code, user_ops);
      bool known = false;
      for (const op_info* other : result.user_ops) known = known || other == info;
      if (!known) result.user_ops.push_back(info);
    }
  }
  return result;
}

}  // namespace heddle::inline v0::graph
