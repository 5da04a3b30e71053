// SPDX-License-Identifier: BSD-3-Clause
// The schedule of a program as constant tables: which operands each pass reads, which nodes it
// evaluates and what it produces. Host and device bodies are generated from these tables.
#pragma once

#include <heddle/graph/passes/cut.hpp>
#include <heddle/graph/passes/hold.hpp>
#include <heddle/graph/program.hpp>

namespace heddle::inline v0::exec {

/// An operand as one kind of node reads it, or a value that an earlier pass of the nest holds.
struct read_info {
  std::uint16_t slot = 0;  ///< operand slot, or index of the held value
  graph::axis_map map = graph::empty_map;
  dtype type = dtype::f32;
  bool gathered = false;
  bool held = false;
  graph::axis_mask axes = 0;  ///< those that what is read varies along; a gather's index among them
};

/// A value that a pass of a nest writes for later ones, lane by lane.
struct hold_info {
  std::uint16_t node = 0;
  dtype type = dtype::f32;  ///< the one it is computed in
  std::int8_t nest = 0;
};

/// A value that one nest stores and later ones read back: an output and an operand behind those of
/// the statement, contiguous in memory that the launch has for them.
struct crossing_info {
  std::uint16_t output = 0;  ///< slots
  std::uint16_t input = 0;
  graph::axis_map map = graph::empty_map;
  dtype type = dtype::f32;
};

/// A reduction: where its value is kept.
struct reduction_info {
  std::uint16_t node = 0;
  op code = op::sum;
  dtype type = dtype::f32;    ///< compute dtype of its accumulator
  graph::axis_mask kept = 0;  ///< the axes its value varies along
  graph::axis_mask removed = 0;
  std::int8_t nest = 0;
  bool row = false;      ///< a row reduction of its nest
  bool carried = false;  ///< a row reduction that later nests read
  constexpr bool stored() const { return !row || carried; }
};

/// What a pass writes.
struct output_info {
  graph::item_kind kind = graph::item_kind::store;
  std::uint16_t node = 0;
  std::uint16_t slot = 0;  ///< output slot, or index of the reduction or held value
  graph::axis_map map = graph::empty_map;
  dtype type = dtype::f32;  ///< of the elements written
};

struct pass_info {
  std::int8_t nest = 0;
  bool row_pass = false;
  std::int8_t inner = -1;  ///< the axis the innermost loop runs along; -1: none (one element)
  std::uint16_t first_node = 0, node_count = 0;      ///< in plan::nodes
  std::uint16_t first_read = 0, read_count = 0;      ///< in plan::pass_reads
  std::uint16_t first_value = 0, value_count = 0;    ///< in plan::pass_values
  std::uint16_t first_output = 0, output_count = 0;  ///< in plan::outputs
};

struct nest_info {
  graph::axis_mask domain = 0;
  graph::axis_mask row = 0;
  graph::axis_mask barrier = 0;  ///< axis k may not be merged with axis k - 1
  std::int8_t first_pass = 0;
  std::int8_t pass_count = 0;
  bool row_pass = false;  ///< the last pass is the row pass
  bool scatters = false;
  bool terminal = false;
  bool finish = false;  ///< what is part of an earlier nest's sweep: see graph::nest
};

/// The tables, in lists (any graph) …
struct plan {
  graph::list<read_info> reads;
  graph::list<reduction_info> reductions;
  graph::list<hold_info> holds;
  graph::list<crossing_info> crossings;
  graph::list<nest_info> nests;
  graph::list<pass_info> passes;
  graph::list<std::uint16_t> nodes;
  graph::list<std::uint16_t> pass_reads;   ///< indices of reads
  graph::list<std::uint16_t> pass_values;  ///< indices of reductions
  graph::list<output_info> outputs;
};

/// … and as pointers to constant arrays (a program's).
struct plan_view {
  const read_info* reads;
  const reduction_info* reductions;
  const hold_info* holds;
  const crossing_info* crossings;
  const nest_info* nests;
  const pass_info* passes;
  const std::uint16_t* pass_reads;
  const std::uint16_t* pass_values;
  const output_info* outputs;
  int read_count, reduction_count, hold_count, crossing_count, nest_count, pass_count;

  /// Whether an output is the statement's own, not a value that crosses to a later nest.
  constexpr bool is_own_output(int slot) const {
    return crossing_count == 0 || slot < crossings[0].output;
  }
  /// Likewise of an operand.
  constexpr bool is_own_input(int slot) const {
    return crossing_count == 0 || slot < crossings[0].input;
  }
};

namespace detail {

constexpr int last_axis(graph::axis_mask mask) {
  return mask == 0 ? -1 : 31 - std::countl_zero(static_cast<unsigned>(mask));
}

constexpr std::uint16_t read_index(plan& p, const graph::node& n) {
  const bool gathered = n.code == op::gather;
  const std::uint16_t slot = gathered ? n.b : n.a;
  const auto map = static_cast<graph::axis_map>(n.extra);
  for (std::size_t i = 0; i < p.reads.size(); ++i) {
    const read_info& r = p.reads[i];
    if (!r.held && r.slot == slot && r.map == map && r.gathered == gathered) {
      return static_cast<std::uint16_t>(i);
    }
  }
  p.reads.push_back({slot, map, n.type, gathered, false, n.varies});
  return static_cast<std::uint16_t>(p.reads.size() - 1);
}

/// Index of the value of a node that a nest holds; the first pass that asks writes it.
constexpr std::uint16_t hold_index(plan& p, const graph::graph& g, int nest, std::uint16_t node) {
  for (std::size_t i = 0; i < p.holds.size(); ++i) {
    if (p.holds[i].nest == nest && p.holds[i].node == node) return static_cast<std::uint16_t>(i);
  }
  p.holds.push_back({node, compute_dtype(g[node].type), static_cast<std::int8_t>(nest)});
  return static_cast<std::uint16_t>(p.holds.size() - 1);
}
constexpr std::uint16_t held_read_index(plan& p, const graph::graph& g, int nest,
                                        std::uint16_t node) {
  const std::uint16_t slot = hold_index(p, g, nest, node);
  for (std::size_t i = 0; i < p.reads.size(); ++i) {
    if (p.reads[i].held && p.reads[i].slot == slot) return static_cast<std::uint16_t>(i);
  }
  p.reads.push_back({slot, graph::empty_map, p.holds[slot].type, false, true});
  return static_cast<std::uint16_t>(p.reads.size() - 1);
}

constexpr int reduction_index(const plan& p, std::uint16_t node) {
  for (std::size_t i = 0; i < p.reductions.size(); ++i) {
    if (p.reductions[i].node == node) return static_cast<int>(i);
  }
  return -1;
}

constexpr void add_pass(plan& p, const graph::graph& g, const graph::schedule& s, int nest,
                        int pass, const graph::list<std::int8_t>& held) {
  const graph::nest& home = s.nests[static_cast<std::size_t>(nest)];
  pass_info info;
  info.nest = static_cast<std::int8_t>(nest);
  info.row_pass = pass == home.levels;
  const auto parallel = static_cast<graph::axis_mask>(home.domain & ~home.row);
  const int inner = last_axis(home.domain);
  info.inner = static_cast<std::int8_t>(inner);
  // a row pass has one element, unless rows lie side by side along the innermost axis
  if (info.row_pass && inner >= 0 && (parallel >> inner & 1) == 0) info.inner = -1;
  info.first_node = static_cast<std::uint16_t>(p.nodes.size());
  info.first_read = static_cast<std::uint16_t>(p.pass_reads.size());
  info.first_value = static_cast<std::uint16_t>(p.pass_values.size());
  info.first_output = static_cast<std::uint16_t>(p.outputs.size());
  graph::list<bool> needed(g.size(), false);
  mark_pass(g, s, nest, pass, needed, held);
  for (std::size_t i = 0; i < g.size(); ++i) {
    if (!needed[i]) continue;
    const auto id = static_cast<std::uint16_t>(i);
    p.nodes.push_back(id);
    if (held[i] != graph::no_pass && held[i] < pass) {
      p.pass_reads.push_back(held_read_index(p, g, nest, id));
    } else if (g[i].code == op::input || g[i].code == op::gather) {
      p.pass_reads.push_back(read_index(p, g[i]));
    } else if (is_reduction(g[i].code)) {
      p.pass_values.push_back(static_cast<std::uint16_t>(reduction_index(p, id)));
    }
  }
  for (const graph::item& it : s.items) {
    if (it.nest != nest || it.pass != pass) continue;
    const graph::node& n = g[it.node];
    output_info out;
    out.kind = it.kind;
    out.node = it.node;
    out.type = n.type;
    if (graph::writes_result(it.kind)) {
      out.slot = it.kind == graph::item_kind::store ? n.b : n.c;
      out.map = static_cast<graph::axis_map>(n.extra);
    } else {
      out.slot = static_cast<std::uint16_t>(reduction_index(p, it.node));
      out.type = compute_dtype(n.type);
    }
    p.outputs.push_back(out);
  }
  for (std::size_t i = 0; i < g.size(); ++i) {
    if (held[i] != pass) continue;
    const auto id = static_cast<std::uint16_t>(i);
    const std::uint16_t slot = hold_index(p, g, nest, id);
    p.outputs.push_back({graph::item_kind::hold, id, slot, graph::empty_map, p.holds[slot].type});
  }
  info.node_count = static_cast<std::uint16_t>(p.nodes.size() - info.first_node);
  info.read_count = static_cast<std::uint16_t>(p.pass_reads.size() - info.first_read);
  info.value_count = static_cast<std::uint16_t>(p.pass_values.size() - info.first_value);
  info.output_count = static_cast<std::uint16_t>(p.outputs.size() - info.first_output);
  p.passes.push_back(info);
}

/// Axes that may not merge with the axis before them: some mask tells the two apart, or a node
/// counts along them.
constexpr graph::axis_mask barriers(const graph::graph& g, const plan& p, const nest_info& nest) {
  unsigned barrier = 0;
  const auto split = [&barrier](unsigned mask) {
    for (int k = 1; k < graph::max_axes; ++k) {
      if ((mask >> k & 1u) != (mask >> (k - 1) & 1u)) barrier |= 1u << k;
    }
  };
  split(nest.row);
  for (const reduction_info& r : p.reductions) split(r.removed);
  for (const graph::node& n : g.nodes) {
    if (n.code == op::iota) barrier |= 3u << n.extra;
    if (is_random(n.code) || n.code == op::gather || n.code == op::scatter_add) barrier |= 0xFFu;
  }
  return static_cast<graph::axis_mask>(barrier);
}

}  // namespace detail

/// A program whose plan holds values from pass to pass.
template <class Program>
struct holding : Program {};

template <class Program>
inline constexpr bool is_holding = false;
template <class Program>
inline constexpr bool is_holding<holding<Program>> = true;

/// The tables of a graph; `holds`: for a machine that holds values from pass to pass.
constexpr plan make_plan(const graph::graph& g, bool holds = false) {
  const graph::schedule s = graph::make_schedule(g);
  plan p;
  for (const graph::item& it : s.items) {
    if (it.kind == graph::item_kind::carry) {
      p.reductions[static_cast<std::size_t>(detail::reduction_index(p, it.node))].carried = true;
    }
    if (it.kind != graph::item_kind::row_reduction &&
        it.kind != graph::item_kind::terminal_reduction) {
      continue;
    }
    const graph::node& n = g[it.node];
    p.reductions.push_back({it.node, n.code, compute_dtype(n.type), n.varies,
                            static_cast<graph::axis_mask>(n.extra), it.nest,
                            it.kind == graph::item_kind::row_reduction, false});
  }
  for (const graph::node& n : g.nodes) {
    const std::uint16_t slot = graph::read_back_slot(n);
    if (slot == graph::no_node) continue;
    p.crossings.push_back({n.b, slot, static_cast<graph::axis_map>(n.extra), n.type});
  }
  for (std::size_t k = 0; k < s.nests.size(); ++k) {
    nest_info nest;
    nest.domain = s.nests[k].domain;
    nest.row = s.nests[k].row;
    nest.row_pass = s.nests[k].row_pass;
    nest.terminal = s.nests[k].terminal;
    nest.finish = s.nests[k].finish;
    nest.first_pass = static_cast<std::int8_t>(p.passes.size());
    nest.pass_count = static_cast<std::int8_t>(s.nests[k].levels + (nest.row_pass ? 1 : 0));
    nest.barrier = detail::barriers(g, p, nest);
    for (const graph::item& it : s.items) {
      if (static_cast<std::size_t>(it.nest) != k) continue;
      if (it.kind == graph::item_kind::scatter) nest.scatters = true;
    }
    p.nests.push_back(nest);
    const auto id = static_cast<int>(k);
    graph::list<std::int8_t> held(g.size(), graph::no_pass);
    if (holds) held = graph::held_values(g, s, id);
    for (int pass = 0; pass < nest.pass_count; ++pass) detail::add_pass(p, g, s, id, pass, held);
  }
  return p;
}

namespace detail {

struct plan_sizes {
  std::size_t reads, reductions, holds, crossings, nests, passes, nodes, pass_reads, pass_values,
      outputs;
};
constexpr plan_sizes sizes_of(const plan& p) {
  return {p.reads.size(),       p.reductions.size(), p.holds.size(), p.crossings.size(),
          p.nests.size(),       p.passes.size(),     p.nodes.size(), p.pass_reads.size(),
          p.pass_values.size(), p.outputs.size()};
}

template <class T, std::size_t Size>
struct table {
  T values[Size == 0 ? 1 : Size] = {};
  HEDDLE_HD constexpr const T& operator[](std::size_t i) const { return values[i]; }
};
template <class T, std::size_t Size>
constexpr void fill(table<T, Size>& to, const graph::list<T>& from) {
  std::size_t i = 0;
  for (const T& each : from) to.values[i++] = each;
}

template <class Program>
inline constexpr plan_sizes program_plan_sizes = sizes_of(make_plan(graph::thaw(Program{}),
                                                                    is_holding<Program>));

template <class Program>
struct frozen_plan {
  static constexpr plan_sizes sizes = program_plan_sizes<Program>;
  table<graph::node, static_cast<std::size_t>(Program::node_count)> graph_nodes;
  table<read_info, sizes.reads> reads;
  table<reduction_info, sizes.reductions> reductions;
  table<hold_info, sizes.holds> holds;
  table<crossing_info, sizes.crossings> crossings;
  table<nest_info, sizes.nests> nests;
  table<pass_info, sizes.passes> passes;
  table<std::uint16_t, sizes.nodes> nodes;
  table<std::uint16_t, sizes.pass_reads> pass_reads;
  table<std::uint16_t, sizes.pass_values> pass_values;
  table<output_info, sizes.outputs> outputs;
};

template <class Program>
consteval frozen_plan<Program> freeze_plan() {
  const graph::graph g = graph::thaw(Program{});
  const plan p = make_plan(g, is_holding<Program>);
  frozen_plan<Program> f;
  fill(f.graph_nodes, g.nodes);
  fill(f.reads, p.reads);
  fill(f.reductions, p.reductions);
  fill(f.holds, p.holds);
  fill(f.crossings, p.crossings);
  fill(f.nests, p.nests);
  fill(f.passes, p.passes);
  fill(f.nodes, p.nodes);
  fill(f.pass_reads, p.pass_reads);
  fill(f.pass_values, p.pass_values);
  fill(f.outputs, p.outputs);
  return f;
}

}  // namespace detail

/// The tables of a program, made once by the compiler.
template <class Program>
inline constexpr detail::frozen_plan<Program> plan_of = detail::freeze_plan<Program>();

template <class Program>
constexpr plan_view view_of() {
  const auto& p = plan_of<Program>;
  return {p.reads.values,
          p.reductions.values,
          p.holds.values,
          p.crossings.values,
          p.nests.values,
          p.passes.values,
          p.pass_reads.values,
          p.pass_values.values,
          p.outputs.values,
          static_cast<int>(p.sizes.reads),
          static_cast<int>(p.sizes.reductions),
          static_cast<int>(p.sizes.holds),
          static_cast<int>(p.sizes.crossings),
          static_cast<int>(p.sizes.nests),
          static_cast<int>(p.sizes.passes)};
}

namespace detail {

template <class Program>
struct cut_of {
  static constexpr graph::graph make() { return graph::cut_cheapest(graph::thaw(Program{})); }
};

/// Whether two nests of a program run over the same axes.
template <class Program>
consteval bool may_cross() {
  const auto& p = plan_of<Program>;
  for (std::size_t k = 1; k < p.sizes.nests; ++k) {
    for (std::size_t i = 0; i < k; ++i) {
      if (p.nests[i].domain == p.nests[k].domain) return true;
    }
  }
  return false;
}
template <class Program>
consteval auto choose_cut() {
  if constexpr (may_cross<Program>()) {
    return graph::frozen<cut_of<Program>>{};
  } else {
    return Program{};
  }
}

}  // namespace detail

/// What runs in a program's place: the program itself, or, where values had better cross from one
/// of its nests to another than be computed again, one that stores them and reads them back.
template <class Program>
using cut_program = decltype(detail::choose_cut<Program>());

}  // namespace heddle::inline v0::exec
