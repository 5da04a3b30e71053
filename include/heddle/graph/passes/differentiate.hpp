// SPDX-License-Identifier: BSD-3-Clause
// Reverse-mode differentiation: one sweep over the nodes from the last to the first. The result is
// again a graph, so it is fused, printed, interpreted and differentiated like any other.
#pragma once

#include <heddle/graph/passes/dead_code.hpp>

namespace heddle::inline v0::graph {

/// What to differentiate and where the result's new operands stand.
struct derivative_request {
  list<bool> wanted;    ///< per operand slot of the forward graph: whether to give its gradient
  int seed_slot = 0;    ///< operand slot of output 0's incoming gradient; the others follow
  int saved_slot = -1;  ///< operand slot of output 0's saved value; -1: recompute from operands
  /// operand slot of the first row value (row_values) that was kept; -1: recompute them
  int kept_slot = -1;
};

/// Reductions whose values are few beside their operands: one for each row, of softmax the maximum
/// and the sum. A derivative that is given them passes over memory less often. They are kept in the
/// dtype that they are computed in.
constexpr list<std::uint16_t> row_values(const node* nodes, std::size_t count) {
  list<std::uint16_t> found;
  for (std::size_t i = 0; i < count; ++i) {
    const node& n = nodes[i];
    if (is_reduction(n.code) && is_floating(n.type) && n.varies != 0 && n.extra != 0) {
      found.push_back(static_cast<std::uint16_t>(i));
    }
  }
  return found;
}

namespace detail {

/// Gradients on their way to a node, summed per set of axes still to be reduced: sums are linear,
/// so one reduction serves all contributions that need the same one.
class pending_gradients {
 public:
  constexpr pending_gradients(builder& b, std::size_t count) : b_(b), heads_(count, -1) {}

  /// value: a gradient that stands for something varying along `along`.
  constexpr void add(std::uint16_t node, axis_mask node_varies, axis_mask along,
                     std::uint16_t value) {
    const auto reduced = static_cast<axis_mask>(along & ~node_varies);
    for (int i = heads_[node]; i >= 0; i = entries_[i].next) {
      if (entries_[i].reduced != reduced) continue;
      entries_[i].value = b_.binary(op::add, b_[value].type, entries_[i].value, value);
      return;
    }
    entries_.push_back({reduced, value, heads_[node]});
    heads_[node] = static_cast<int>(entries_.size()) - 1;
  }
  constexpr bool has(std::uint16_t node) const { return heads_[node] >= 0; }
  constexpr std::uint16_t total(std::uint16_t node) const {
    std::uint16_t sum = no_node;
    for (int i = heads_[node]; i >= 0; i = entries_[i].next) {
      const entry e = entries_[i];
      const dtype type = b_[e.value].type;
      const std::uint16_t part = b_.unary(op::sum, type, e.value, e.reduced);
      sum = sum == no_node ? part : b_.binary(op::add, type, sum, part);
    }
    return sum;
  }

 private:
  struct entry {
    axis_mask reduced = 0;
    std::uint16_t value = no_node;
    int next = -1;
  };
  builder& b_;
  list<int> heads_;
  list<entry> entries_;
};

/// The gradient of one read of an operand.
struct read_gradient {
  std::size_t slot = 0;
  std::size_t read = 0;  ///< the forward node that reads it
  std::uint16_t value = no_node;
};

/// The reads of the wanted operands, by slot; a table may be read by several gathers and directly.
constexpr list<read_gradient> wanted_reads(const node* nodes, std::size_t count,
                                           const list<bool>& wanted) {
  list<read_gradient> reads;
  for (std::size_t slot = 0; slot < wanted.size(); ++slot) {
    if (!wanted[slot]) continue;
    const std::size_t before = reads.size();
    for (std::size_t i = 0; i < count; ++i) {
      const node& n = nodes[i];
      const bool reads_it =
          (n.code == op::input && n.a == slot) || (n.code == op::gather && n.b == slot);
      if (reads_it) reads.push_back({slot, i, no_node});
    }
    if (reads.size() == before) {
      throw "heddle: a gradient is wanted of an operand that the statement does not read";
    }
  }
  return reads;
}

}  // namespace detail

/// The operand slot that each output of a derivative is a gradient of, in slot order. An operand
/// that several nodes read has several, and their sum is its gradient.
constexpr list<std::size_t> gradient_slots(const node* nodes, std::size_t count,
                                           const list<bool>& wanted) {
  list<std::size_t> slots;
  for (const detail::read_gradient& r : detail::wanted_reads(nodes, count, wanted)) {
    slots.push_back(r.slot);
  }
  return slots;
}

namespace detail {

/// Nodes that a gradient can come to: not through a detach.
constexpr list<bool> reached_by_gradients(const graph& forward) {
  list<bool> reached(forward.size(), false);
  for (std::size_t i = forward.size(); i-- > 0;) {
    const node& n = forward[i];
    if (is_root(n.code)) reached[n.a] = true;
    if (!reached[i] || n.code == op::detach || is_root(n.code)) continue;
    for (int k = 0; k < operands_of(n); ++k) reached[operand(n, k)] = true;
  }
  return reached;
}

}  // namespace detail

/// The graph of the gradients of the wanted operands: one store (or scatter_add) for each read, in
/// the order of gradient_slots.
constexpr graph differentiate(const graph& forward, const derivative_request& request) {
  builder b;
  b.user_ops = forward.user_ops;
  const std::size_t count = forward.size();

  // 1. The forward values again, under new ids; or the saved outputs in their place.
  list<std::uint16_t> saved(count, no_node);
  if (request.saved_slot >= 0) {
    for (const node& n : forward.nodes) {
      if (n.code != op::store) continue;
      const auto map = static_cast<axis_map>(n.extra);
      const node& value = forward[n.a];
      const bool leaf = value.code == op::input || value.code == op::constant;
      if (leaf || mask_of(map) != value.varies) continue;
      saved[n.a] = b.emit({.code = op::input,
                           .type = value.type,
                           .a = static_cast<std::uint16_t>(request.saved_slot + n.b),
                           .extra = map});
    }
  }
  if (request.kept_slot >= 0) {
    const list<std::uint16_t> kept = row_values(forward.nodes.begin(), count);
    const list<bool> differentiated = detail::reached_by_gradients(forward);
    for (std::size_t k = 0; k < kept.size(); ++k) {
      const node& value = forward[kept[k]];
      // An extremum's gradient goes to the elements that equal it: to the bit, and so computed with
      // them.
      if (value.code != op::sum && differentiated[kept[k]]) continue;
      saved[kept[k]] =
          b.emit({.code = op::input,
                  .type = compute_dtype(value.type),
                  .a = static_cast<std::uint16_t>(static_cast<std::size_t>(request.kept_slot) + k),
                  .extra = ordered_map(value.varies)});
    }
  }
  // A saved quotient by a kept value gives its dividend back: of softmax, no power is computed.
  for (const node& n : forward.nodes) {
    if (n.code != op::store || saved[n.a] == no_node || request.kept_slot < 0) continue;
    const node& value = forward[n.a];
    if (value.code != op::div || saved[value.a] != no_node || saved[value.b] == no_node) continue;
    const node& dividend = forward[value.a];
    if (dividend.varies != value.varies || dividend.type != value.type) continue;
    if (operands_of(dividend) == 0) continue;
    saved[value.a] = b.binary(op::mul, value.type, saved[n.a], saved[value.b]);
  }
  list<std::uint16_t> now(count, no_node);
  list<bool> needs(count, false);
  for (std::size_t i = 0; i < count; ++i) {
    node n = forward[i];
    if (is_root(n.code)) continue;
    const int operands = operands_of(n);
    for (int k = 0; k < operands; ++k) needs[i] = needs[i] || needs[operand(n, k)];
    if (n.code == op::input) needs[i] = n.a < request.wanted.size() && request.wanted[n.a];
    if (n.code == op::gather) needs[i] = n.b < request.wanted.size() && request.wanted[n.b];
    if (!is_floating(n.type) || n.code == op::detach) needs[i] = false;
    if (operands > 0) n.a = now[n.a];
    if (operands > 1) n.b = now[n.b];
    if (operands > 2) n.c = now[n.c];
    if (saved[i] != no_node) {
      now[i] = saved[i];
    } else {
      now[i] = n.code == op::detach ? n.a : b.emit(n);
    }
  }

  // 2. Seeds, then the sweep. What it adds is simplified by more rules; the forward values are not,
  // as extrema are compared with them.
  b.reassociates = true;
  detail::pending_gradients pending(b, count);
  for (const node& n : forward.nodes) {
    if (!is_root(n.code) || !needs[n.a]) continue;
    const auto map = static_cast<axis_map>(n.extra);
    if (n.code == op::scatter_add) {
      // the gradient of what was added at an index is the one that stands there
      const std::uint16_t seed = b.emit({.code = op::gather,
                                         .type = forward[n.a].type,
                                         .a = now[n.b],
                                         .b = static_cast<std::uint16_t>(request.seed_slot + n.c),
                                         .extra = map});
      pending.add(n.a, forward[n.a].varies,
                  static_cast<axis_mask>(forward[n.b].varies | mask_of(map)), seed);
      continue;
    }
    const std::uint16_t seed = b.emit({.code = op::input,
                                       .type = forward[n.a].type,
                                       .a = static_cast<std::uint16_t>(request.seed_slot + n.b),
                                       .extra = map});
    pending.add(n.a, forward[n.a].varies, mask_of(map), seed);
  }
  list<detail::read_gradient> results =
      detail::wanted_reads(forward.nodes.begin(), count, request.wanted);
  const auto result_of = [&results](std::size_t read) -> detail::read_gradient& {
    std::size_t k = 0;
    while (results[k].read != read) ++k;
    return results[k];
  };
  for (std::size_t i = count; i-- > 0;) {
    const node& n = forward[i];
    const auto id = static_cast<std::uint16_t>(i);
    if (!needs[i] || !pending.has(id)) continue;
    const std::uint16_t g = pending.total(id);
    const auto contribute = [&](std::uint16_t to, std::uint16_t value, axis_mask along) {
      if (needs[to]) pending.add(to, forward[to].varies, along, b.cast(forward[to].type, value));
    };
    if (n.code == op::input || n.code == op::gather) {
      result_of(i).value = g;
    } else if (n.code == op::cast || n.code == op::sum) {
      // a sum's operand gets the gradient broadcast along the summed axes
      contribute(n.a, g, n.varies);
    } else if (is_reduction(n.code)) {
      // ties share the gradient of an extremum
      const dtype type = b[g].type;
      const std::uint16_t tie = b.binary(op::equal, dtype::boolean, now[n.a], now[i]);
      const std::uint16_t ties = b.unary(op::sum, type, b.cast(type, tie), n.extra);
      const std::uint16_t share = b.binary(op::div, type, g, ties);
      contribute(
          n.a,
          b.emit({.code = op::where, .type = type, .a = tie, .b = share, .c = b.constant(type, 0)}),
          forward[n.a].varies);
    } else if (is_elementwise(n.code)) {
      const op_info& info = find_info(n.code, forward.user_ops);
      symbol operands[3];
      symbol derivatives[3];
      for (int k = 0; k < info.arity; ++k) operands[k] = symbol(b, now[operand(n, k)]);
      info.derivative(operands, symbol(b, now[i]), symbol(b, g), derivatives);
      for (int k = 0; k < info.arity; ++k) {
        const std::uint16_t to = operand(n, k);
        if (!derivatives[k].valid() || !needs[to]) continue;
        contribute(to, materialize(b, derivatives[k], forward[to].type).id, n.varies);
      }
    }
  }

  // 3. One root per read of a wanted operand; what nothing depends on has gradient 0.
  for (std::size_t output = 0; output < results.size(); ++output) {
    const detail::read_gradient& r = results[output];
    const node& read = forward[r.read];
    const std::uint16_t value = r.value == no_node ? b.constant(read.type, 0) : r.value;
    if (read.code == op::gather) {
      b.emit({.code = op::scatter_add,
              .type = read.type,
              .a = value,
              .b = now[read.a],
              .c = static_cast<std::uint16_t>(output),
              .extra = read.extra});
    } else {
      b.emit({.code = op::store,
              .type = read.type,
              .a = value,
              .b = static_cast<std::uint16_t>(output),
              .extra = read.extra});
    }
  }
  return remove_dead_code(b.nodes(), b.user_ops);
}

/// What a graph costs, extents being unknown: each axis counts as 16 elements.
struct graph_cost {
  double bytes = 0;  ///< read, but of kept row values
  double work = 0;   ///< steps
};
constexpr graph_cost cost_of(const graph& g, int kept_slot) {
  const auto elements = [](unsigned mask) {
    double count = 1;
    for (; mask != 0; mask &= mask - 1) count *= 16;
    return count;
  };
  graph_cost cost;
  for (const node& n : g.nodes) {
    if (n.code == op::input || n.code == op::gather) {
      if (kept_slot >= 0 && n.code == op::input && n.a >= kept_slot) continue;
      cost.bytes += elements(n.varies) * static_cast<double>(size_of(n.type));
    } else if (!is_root(n.code)) {
      // a reduction ends a pass over its operand, and what the next pass needs is computed again
      const double steps = is_reduction(n.code) || is_long_chain(n.code) ? 8 : 1;
      cost.work += elements(is_reduction(n.code) ? g[n.a].varies : n.varies) * steps;
    }
  }
  return cost;
}

namespace detail {

constexpr bool reads_slot(const graph& g, std::size_t slot) {
  for (const node& n : g.nodes) {
    if (n.code == op::input && n.a == slot) return true;
    if (n.code == op::gather && n.b == slot) return true;
  }
  return false;
}

}  // namespace detail

/// The cheaper, in bytes read (then in nodes), of recomputing from operands and of reading saved
/// outputs. request.saved_slot says where those would stand; the result's uses of it tell which.
constexpr graph differentiate_recomputing(const graph& forward, derivative_request request) {
  request.kept_slot = -1;
  graph reading = differentiate(forward, request);
  request.saved_slot = -1;
  graph recomputing = differentiate(forward, request);
  const double a = cost_of(reading, -1).bytes;
  const double b = cost_of(recomputing, -1).bytes;
  const bool read = a < b || (a == b && reading.size() < recomputing.size());
  return read ? static_cast<graph&&>(reading) : static_cast<graph&&>(recomputing);
}

/// The same, or a derivative that is given row values, where that is less work and reads no more.
/// One that takes them reads all operands and outputs that the other one does: orders above the
/// first differentiate that.
constexpr graph differentiate_cheapest(const graph& forward, derivative_request request) {
  graph best = differentiate_recomputing(forward, request);
  if (request.kept_slot < 0 || row_values(forward.nodes.begin(), forward.size()).size() == 0) {
    return best;
  }
  const graph first = best;
  graph_cost least = cost_of(best, -1);
  const int saved_slot = request.saved_slot;
  for (int reading = 0; reading < 2; ++reading) {
    request.saved_slot = reading == 0 ? -1 : saved_slot;
    graph other = differentiate(forward, request);
    const graph_cost cost = cost_of(other, request.kept_slot);
    bool better = cost.bytes <= least.bytes && cost.work < least.work;
    bool takes_kept = false;
    bool lacks = false;
    for (const node& n : other.nodes) {
      takes_kept = takes_kept || (n.code == op::input && n.a >= request.kept_slot);
    }
    for (int slot = 0; slot < request.kept_slot; ++slot) {
      const auto at = static_cast<std::size_t>(slot);
      lacks = lacks || (detail::reads_slot(first, at) && !detail::reads_slot(other, at));
    }
    better = better && !(takes_kept && lacks);
    if (!better) continue;
    best = static_cast<graph&&>(other);
    least = cost;
  }
  return best;
}

}  // namespace heddle::inline v0::graph
