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

/// What a reduction removes and a result has is as long as the iteration space is: one of these
/// operand slots has to have the axis' extent, not 1.
struct reduction_check {
  graph::axis_mask axis = 0;
  std::uint64_t slots = 0;
};

namespace detail {

using heddle::detail::tracer;

/// Operand slots that reach each reduction along an axis it removes, and each result along its
/// axes. Checks that cannot fail, as all operands with the axis are among the slots, are left out.
constexpr graph::list<reduction_check> reduction_checks(const graph::framed& f,
                                                        std::uint64_t whole) {
  const graph::graph& g = f.result;
  graph::list<reduction_check> checks;
  std::uint64_t having[graph::max_axes] = {};  // slots with the axis
  const std::size_t slots = f.operand_maps.size();
  if (slots > 64) return checks;
  std::uint64_t unread = ~std::uint64_t{0};  // a destination, say
  for (const graph::node& n : g.nodes) {
    if (n.code == op::input) unread &= ~(std::uint64_t{1} << n.a);
    if (n.code == op::gather) unread &= ~(std::uint64_t{1} << n.b);
  }
  for (std::size_t slot = 0; slot < slots; ++slot) {
    for (int axis = 0; axis < graph::max_axes; ++axis) {
      if ((graph::mask_of(f.operand_maps[slot]) >> axis & 1) == 0) continue;
      having[axis] |= std::uint64_t{1} << slot;
    }
  }
  const auto add = [&](int axis, std::uint64_t found) {
    if (found == 0 || (having[axis] & ~found) == 0) return;
    const reduction_check check{static_cast<graph::axis_mask>(1u << axis), found};
    for (const reduction_check& other : checks) {
      if (other.axis == check.axis && other.slots == check.slots) return;
    }
    checks.push_back(check);
  };
  for (std::size_t i = 0; i < g.size(); ++i) {
    const bool root = g[i].code == op::store;
    if (!root && !is_reduction(g[i].code)) continue;
    const unsigned mask = root ? graph::mask_of(static_cast<graph::axis_map>(g[i].extra))
                               : static_cast<unsigned>(g[i].extra);
    for (int axis = 0; axis < graph::max_axes; ++axis) {
      if ((mask >> axis & 1u) == 0) continue;
      // not through reductions over the same axis: their operands' extent is not their value's
      graph::list<bool> below(i + 1, false);
      below[g[i].a] = true;
      std::uint64_t found = root ? unread & having[axis] : 0;
      for (std::size_t k = i; k-- > 0;) {
        const graph::node& n = g[k];
        if (!below[k] || (n.varies >> axis & 1) == 0) continue;
        if (n.code == op::input) found |= std::uint64_t{1} << n.a;
        if (n.code == op::gather) found |= std::uint64_t{1} << n.b;
        // coordinates and random numbers have whatever extent there is
        if (root && (n.code == op::iota || is_random(n.code))) found = ~std::uint64_t{0};
        for (int o = 0; o < graph::operands_of(n); ++o) below[graph::operand(n, o)] = true;
      }
      add(axis, found);
    }
  }
  for (std::size_t slot = 0; slot < slots; ++slot) {
    if ((whole >> slot & 1) == 0) continue;
    const unsigned mask = graph::mask_of(f.operand_maps[slot]);
    for (int axis = 0; axis < graph::max_axes; ++axis) {
      if ((mask >> axis & 1u) != 0) add(axis, std::uint64_t{1} << slot);
    }
  }
  return checks;
}

}  // namespace detail

/// Expressions evaluated as one program.
template <class... E>
struct statement {
  static constexpr int output_count = (heddle::detail::result_count<E>() + ...);
  static_assert(output_count <= 255, "heddle::evaluate: the statement has more than 255 results");
  static constexpr bool has_variable = (heddle::detail::holds_variable<E> || ...);

  /// The trace, its graph and the places of its operands.
  static constexpr graph::framed trace() {
    heddle::detail::tracer t;
    return trace(t);
  }
  static constexpr graph::framed trace(heddle::detail::tracer& t) {
    symbol roots[output_count];
    int count = 0;
    (heddle::detail::trace_results<E>(t, roots, count), ...);
    for (symbol& root : roots) {
      if (root.weak != symbol::scalar::none) {
        root = graph::materialize(t.builder, root, root.type());
      }
    }
    return graph::frame_statement(t.builder, roots, output_count);
  }
  static constexpr graph::graph make() { return trace().result; }
  using program = graph::frozen<statement>;

  struct sizes {
    int operands = 0;
    int scalars = 0;
    std::size_t checks = 0;
    graph::framing_problem problem = graph::framing_problem::none;
  };
  static constexpr sizes size = [] {
    sizes s;
    heddle::detail::tracer t;
    const graph::framed f = trace(t);
    s.operands = t.operands;
    s.scalars = t.scalars;
    s.checks = detail::reduction_checks(f, t.whole).size();
    s.problem = f.problem;
    return s;
  }();
  static_assert(
      size.problem != graph::framing_problem::axes,
      "heddle: the statement has more than 8 axes, reduced ones included: store a part of "
      "it in a tensor first");
  static_assert(size.problem != graph::framing_problem::aligned,
                "heddle: broadcasting aligns two axes of one operand with each other (a reduction "
                "without keepdim combined with its own operand?): use keepdim");
  static constexpr int operand_count = size.operands;
  static constexpr int scalar_count = size.scalars;

  struct tables {
    detail::table<graph::axis_map, static_cast<std::size_t>(size.operands)> operand_maps;
    detail::table<std::int8_t, static_cast<std::size_t>(size.operands)> operand_ranks;
    detail::table<bool, static_cast<std::size_t>(size.operands)> variables;
    /// variables that the program reads: those that get a gradient
    detail::table<bool, static_cast<std::size_t>(size.operands)> wanted;
    detail::table<graph::axis_map, static_cast<std::size_t>(output_count)> output_maps;
    detail::table<reduction_check, size.checks> checks;
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
    detail::fill(t.checks, detail::reduction_checks(f, traced.whole));
    return t;
  }();
};

}  // namespace exec
}  // namespace heddle::inline v0
