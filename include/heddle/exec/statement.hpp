// SPDX-License-Identifier: BSD-3-Clause
// A statement: one or more expressions evaluated together, with everything about it that the
// compiler knows: its program, how operands lie in the iteration space, ranks and dtypes of
// results.
#pragma once

#include <heddle/exec/plan.hpp>
#include <heddle/tensor/vjp.hpp>

namespace heddle::inline v0 {

namespace detail {

template <class E>
concept bundle = requires {
  typename E::bundle_tag;
};

/// Whether a leaf of the expression is a variable: then its evaluation is recorded on the tape.
template <class E>
inline constexpr bool holds_variable = requires {
  E::is_variable;
};
template <op Code, class... E>
inline constexpr bool holds_variable<map_expression<Code, E...>> = (holds_variable<E> || ...);
template <class F, class E>
inline constexpr bool holds_variable<unary_expression<F, E>> = holds_variable<E>;
template <class F, class... E>
inline constexpr bool holds_variable<let_expression<F, E...>> = (holds_variable<E> || ...);
template <class F, class... E>
inline constexpr bool holds_variable<let_bundle<F, E...>> = (holds_variable<E> || ...);
template <class F, class Seed, class... E>
inline constexpr bool holds_variable<vjp_bundle<F, Seed, E...>> = (holds_variable<Seed> || ... ||
                                                                   holds_variable<E>);

template <class E>
constexpr int result_count() {
  if constexpr (bundle<E>) {
    return E::count;
  } else {
    return 1;
  }
}

template <class E>
constexpr void trace_results(tracer& t, symbol* roots, int& count) {
  if constexpr (bundle<E>) {
    const auto pack = E::trace_pack(t);
    for (const symbol& s : pack.values) roots[count++] = s;
  } else {
    roots[count++] = trace_operand<E>(t);
  }
}

}  // namespace detail

namespace exec {

/// Traces the results of expressions, one symbol each; t: the places of their operands.
template <class... E>
constexpr void trace_roots(heddle::detail::tracer& t, symbol* roots) {
  int count = 0;
  (heddle::detail::trace_results<E>(t, roots, count), ...);
}
/// Makes one graph of traced results.
constexpr graph::framed frame_roots(heddle::detail::tracer& t, symbol* roots, int count) {
  for (int i = 0; i < count; ++i) {
    if (roots[i].weak != symbol::scalar::none) {
      roots[i] = graph::materialize(t.builder, roots[i], roots[i].type());
    }
  }
  return graph::frame_statement(t.builder, roots, count, t.roles);
}

/// Expressions evaluated as one program.
template <class... E>
struct statement {
  static constexpr int output_count = (heddle::detail::result_count<E>() + ...);
  static_assert(output_count <= 255, "heddle::evaluate: the statement has more than 255 results");

  /// The trace, its graph and the places of its operands.
  static constexpr graph::framed trace() {
    heddle::detail::tracer t;
    return trace(t);
  }
  static constexpr graph::framed trace(heddle::detail::tracer& t) {
    symbol roots[output_count];
    trace_roots<E...>(t, roots);
    return frame_roots(t, roots, output_count);
  }
  static constexpr graph::graph make() { return trace().result; }
  using program = graph::frozen<statement>;

  struct sizes {
    int operands = 0;
    int products = 0;
    int scalars = 0;
    std::size_t checks = 0;
    graph::framing_problem problem = graph::framing_problem::none;
  };
  static constexpr sizes size = [] {
    sizes s;
    heddle::detail::tracer t;
    const graph::framed f = trace(t);
    s.operands = t.operands;
    for (const bool product : t.products) s.products += product ? 1 : 0;
    s.scalars = t.scalars;
    s.checks = f.checks.size();
    s.problem = f.problem;
    return s;
  }();
  static_assert(
      size.problem != graph::framing_problem::axes,
      "heddle: the statement has more than 8 axes, reduced ones included: store a part of "
      "it in a tensor first");
  static_assert(size.problem != graph::framing_problem::aligned,
                "heddle: broadcasting aligns two axes of one value with each other (a reduction "
                "without keepdim combined with its own operand?): use keepdim");
  static_assert(size.problem != graph::framing_problem::operands,
                "heddle: the statement has more than 256 operands: store a part of it in a tensor "
                "first");
  static constexpr int operand_count = size.operands;
  static constexpr int scalar_count = size.scalars;

  struct tables {
    detail::table<graph::axis_map, static_cast<std::size_t>(size.operands)> operand_maps;
    detail::table<std::int8_t, static_cast<std::size_t>(size.operands)> operand_ranks;
    detail::table<bool, static_cast<std::size_t>(size.operands)> variables;
    /// variables that the program reads: those that get a gradient
    detail::table<bool, static_cast<std::size_t>(size.operands)> wanted;
    detail::table<graph::axis_map, static_cast<std::size_t>(output_count)> output_maps;
    detail::table<graph::extent_check, size.checks> checks;
  };
  static constexpr tables table = [] {
    tables t;
    heddle::detail::tracer traced;
    const graph::framed f = trace(traced);
    detail::fill(t.operand_ranks, traced.ranks);
    detail::fill(t.variables, traced.variables);
    for (std::size_t i = 0; i < static_cast<std::size_t>(size.operands); ++i) {
      t.operand_maps.values[i] = i < f.operand_maps.size() ? f.operand_maps[i] : graph::empty_map;
    }
    for (const graph::node& n : f.result.nodes) {
      const std::size_t slot = n.code == op::gather ? n.b : n.a;
      if (n.code == op::input || n.code == op::gather) t.wanted.values[slot] = t.variables[slot];
      if (n.code == op::store) t.output_maps.values[n.b] = static_cast<graph::axis_map>(n.extra);
    }
    detail::fill(t.checks, f.checks);
    return t;
  }();
  /// Whether there is one result, and each operand has its axes, in its order, or rank 0: where
  /// their extents are equal, too, nothing is broadcast.
  static constexpr bool pointwise = [] {
    const graph::axis_map map = table.output_maps.values[0];
    bool same = output_count == 1 && size.checks == 0 && graph::mask_of(map) != 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(size.operands); ++i) {
      const graph::axis_map of_operand = table.operand_maps.values[i];
      same = same && (of_operand == map || graph::mask_of(of_operand) == 0);
    }
    return same;
  }();
};

}  // namespace exec
}  // namespace heddle::inline v0
