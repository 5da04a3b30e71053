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
};

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

  // 2. Seeds, then the sweep.
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

/// A measure of the bytes a graph reads, extents being unknown: each axis counts as 16 elements.
constexpr double bytes_read(const graph& g) {
  double total = 0;
  for (const node& n : g.nodes) {
    if (n.code != op::input && n.code != op::gather) continue;
    double bytes = static_cast<double>(size_of(n.type));
    for (unsigned mask = n.varies; mask != 0; mask &= mask - 1) bytes *= 16;
    total += bytes;
  }
  return total;
}

/// The cheaper, in bytes read (then in nodes), of recomputing from operands and of reading saved
/// outputs. request.saved_slot says where those would stand; the result's uses of it tell which.
constexpr graph differentiate_cheapest(const graph& forward, derivative_request request) {
  graph reading = differentiate(forward, request);
  request.saved_slot = -1;
  graph recomputing = differentiate(forward, request);
  const double a = bytes_read(reading);
  const double b = bytes_read(recomputing);
  const bool read = a < b || (a == b && reading.size() < recomputing.size());
  return read ? static_cast<graph&&>(reading) : static_cast<graph&&>(recomputing);
}

}  // namespace heddle::inline v0::graph
