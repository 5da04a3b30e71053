// SPDX-License-Identifier: BSD-3-Clause
// The program of a statement's derivative, what it reads of the statement's evaluation, and the
// program that keeps that.
#pragma once

#include <heddle/autograd/request.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/graph/passes/differentiate.hpp>

namespace heddle::inline v0::detail {

/// The derivative of a statement. Operand slots: the statement's own, then one seed per result,
/// then one saved value per result, then one for each row value of the statement. Outputs:
/// gradients of the variables among its operands, as graph::gradient_slots has them.
template <class Statement>
struct derivative_of {
  static constexpr int operands = Statement::operand_count;
  static constexpr int outputs = Statement::output_count;
  static constexpr int row_values = [] {
    const auto& nodes = exec::plan_of<typename Statement::program>.graph_nodes;
    return static_cast<int>(graph::row_values(nodes.values, Statement::program::node_count).size());
  }();
  static constexpr int kept_slot = operands + 2 * outputs;
  static constexpr int slots = kept_slot + row_values;

  static constexpr graph::list<bool> wanted_slots() {
    graph::list<bool> chosen(static_cast<std::size_t>(operands), false);
    for (std::size_t i = 0; i < chosen.size(); ++i) chosen[i] = Statement::table.wanted[i];
    return chosen;
  }
  static constexpr graph::derivative_request request() {
    return {wanted_slots(), operands, operands + outputs, kept_slot};
  }
  static constexpr graph::graph make() {
    return graph::differentiate_cheapest(graph::thaw(typename Statement::program{}), request());
  }
  using program = graph::frozen<derivative_of>;

  /// Slots that the derivative reads.
  static constexpr auto reads = [] {
    exec::detail::table<bool, static_cast<std::size_t>(slots)> t;
    const auto& p = exec::plan_of<program>;
    for (int i = 0; i < static_cast<int>(p.sizes.reads); ++i) t.values[p.reads[i].slot] = true;
    return t;
  }();
  static constexpr int variables = [] {
    int n = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(operands); ++i) {
      n += Statement::table.variables[i] ? 1 : 0;
    }
    return n;
  }();
  static constexpr int wanted = [] {
    int n = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(operands); ++i) {
      n += Statement::table.wanted[i] ? 1 : 0;
    }
    return n;
  }();
  /// The gradients that the program writes: the slot of each, and its place among the wanted ones.
  static constexpr graph::list<std::size_t> gradient_slots() {
    const auto& nodes = exec::plan_of<typename Statement::program>.graph_nodes;
    return graph::gradient_slots(nodes.values, Statement::program::node_count, wanted_slots());
  }
  static constexpr int gradients = static_cast<int>(gradient_slots().size());
  static constexpr auto places = [] {
    exec::detail::table<gradient_place, static_cast<std::size_t>(gradients)> t;
    const auto slots = gradient_slots();
    int variable = -1;
    for (std::size_t k = 0; k < slots.size(); ++k) {
      if (k == 0 || slots[k] != slots[k - 1]) ++variable;
      t.values[k] = {static_cast<int>(slots[k]), variable};
    }
    return t;
  }();
  /// Saved operands and results: how many, and how many strides they have in all.
  static constexpr bool saves(int slot) {
    return reads[static_cast<std::size_t>(slot)] && (slot < operands || slot >= operands + outputs);
  }
  static constexpr int saved = [] {
    int n = 0;
    for (int i = 0; i < slots; ++i) n += saves(i) ? 1 : 0;
    return n;
  }();
  static constexpr int saved_strides = [] {
    int n = 0;
    for (int i = 0; i < operands; ++i) {
      if (saves(i)) n += Statement::table.operand_ranks[static_cast<std::size_t>(i)] + 1;
    }
    return n;
  }();
  /// The row values that the derivative reads: how many, and where each varies.
  static constexpr int kept = [] {
    int n = 0;
    for (int i = kept_slot; i < slots; ++i) n += saves(i) ? 1 : 0;
    return n;
  }();
  /// As `make`, without row values. Frozen, so that running the program differentiates nothing.
  struct recomputing {
    static constexpr graph::graph make() {
      return graph::differentiate_recomputing(graph::thaw(typename Statement::program{}),
                                              request());
    }
  };
  static consteval auto choose_recorded() {
    if constexpr (kept == 0) {
      return program{};
    } else {
      return graph::frozen<recomputing>{};
    }
  }
  /// The program that orders above the first differentiate.
  using recorded_program = decltype(choose_recorded());
  struct kept_value {
    std::uint16_t node = 0;
    graph::axis_map map = graph::empty_map;
    dtype type = dtype::f32;
  };
  static constexpr auto kept_values = [] {
    exec::detail::table<kept_value, static_cast<std::size_t>(kept)> t;
    const auto& nodes = exec::plan_of<typename Statement::program>.graph_nodes;
    int candidate = kept_slot;
    std::size_t next = 0;
    for (const std::uint16_t id : graph::row_values(nodes.values, Statement::program::node_count)) {
      if (!saves(candidate++)) continue;
      t.values[next++] = {id, graph::ordered_map(nodes.values[id].varies),
                          compute_dtype(nodes.values[id].type)};
    }
    return t;
  }();
  /// Axes of the iteration space.
  static constexpr int axes = [] {
    unsigned all = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(operands); ++i) {
      all |= graph::mask_of(Statement::table.operand_maps[i]);
    }
    return std::bit_width(all);
  }();
};

/// What a recorded statement runs: its program, which also stores the row values that its
/// derivative reads, as outputs behind its own.
template <class Statement>
struct recorded_statement {
  using derivative = derivative_of<Statement>;
  static constexpr graph::graph make() {
    graph::graph g = graph::thaw(typename Statement::program{});
    for (int k = 0; k < derivative::kept; ++k) {
      const auto& value = derivative::kept_values[static_cast<std::size_t>(k)];
      graph::node store;
      store.code = op::store;
      store.type = value.type;
      store.varies = g[value.node].varies;
      store.a = value.node;
      if (g[value.node].type != value.type) {
        graph::node cast;
        cast.code = op::cast;
        cast.type = value.type;
        cast.varies = store.varies;
        cast.a = value.node;
        store.a = static_cast<std::uint16_t>(g.size());
        g.nodes.push_back(cast);
      }
      store.b = static_cast<std::uint16_t>(Statement::output_count + k);
      store.extra = value.map;
      g.nodes.push_back(store);
    }
    return g;
  }
  static consteval auto choose() {
    if constexpr (derivative::kept == 0) {
      return typename Statement::program{};
    } else {
      return graph::frozen<recorded_statement>{};
    }
  }
  using program = decltype(choose());
};

/// The memory of row values, by their place among those that are kept.
template <class Statement>
using kept_memory = handle<storage>[derivative_of<Statement>::kept + 1];

/// Runs a bound statement into its results, and keeps its row values.
template <class Configuration, class Statement, class... T, int... Rank>
void run_recorded_into(const exec::bound<Statement>& b, kept_memory<Statement>& kept,
                       const tensor<T, Rank>&... results) {
  using derivative = derivative_of<Statement>;
  if constexpr (derivative::kept == 0) {
    exec::detail::run_into<Configuration>(b, results...);
  } else {
    constexpr int outputs = Statement::output_count;
    exec::operand inputs[Statement::operand_count + 1];
    b.bind_operands(inputs);
    exec::operand out[outputs + derivative::kept] = {exec::detail::operand_of(results)...};
    storage* owners[Statement::operand_count + outputs + derivative::kept];
    for (int i = 0; i < Statement::operand_count; ++i) owners[i] = b.leaves[i].storage;
    int next = Statement::operand_count;
    ((owners[next++] = results.storage().get()), ...);
    for (int k = 0; k < derivative::kept; ++k) {
      const auto& value = derivative::kept_values[static_cast<std::size_t>(k)];
      exec::operand& o = out[outputs + k];
      const std::int64_t count = exec::contiguous_strides(o, value.map, b.extents);
      kept[k] = storage::allocate(static_cast<std::size_t>(count) * size_of(value.type), b.device);
      o.data = kept[k]->data();
      owners[next++] = kept[k].get();
    }
    exec::detail::submit<typename recorded_statement<Statement>::program, Configuration,
                         Statement::operand_count, outputs + derivative::kept,
                         Statement::scalar_count>(inputs, out, b.scalars, b.extents, owners,
                                                  b.device);
  }
}

}  // namespace heddle::inline v0::detail
