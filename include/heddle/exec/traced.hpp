// SPDX-License-Identifier: BSD-3-Clause
// Statements as HEDDLE_UNFUSED runs them: traced when they first run instead of by the compiler,
// and interpreted node by node. Such a build compiles in a fraction of the time and runs slowly;
// what it computes is the same but for rounding.
#pragma once

#include <heddle/exec/bind.hpp>
#include <heddle/exec/interpret/submit.hpp>

namespace heddle::inline v0::exec {

/// What a trace tells of a statement.
struct traced_statement {
  graph::graph result;
  std::vector<graph::axis_map> operand_maps;
  std::vector<graph::axis_map> output_maps;
  std::vector<graph::extent_check> checks;
  std::vector<bool> wanted;  ///< per operand: a variable that the graph reads
  int scalars = 0;
};

/// A traced statement with its leaves; the run-time counterpart of `bound`.
struct traced_bound {
  const traced_statement* of;
  std::vector<leaf_view> leaves;
  std::vector<scalar_bits> scalars;
  std::int64_t extents[graph::max_axes] = {};
  heddle::device device;

  explicit traced_bound(const traced_statement& s)
      : of(&s),
        leaves(s.operand_maps.size()),
        scalars(static_cast<std::size_t>(s.scalars)),
        device(cpu()) {}

  template <int Rank>
  heddle::extents<Rank> output_extents(int k) const {
    heddle::extents<Rank> result;
    for (int i = 0; i < Rank; ++i) {
      const unsigned axis = graph::map_axis(of->output_maps[static_cast<std::size_t>(k)], i);
      result[i] = axis < graph::max_axes ? extents[axis] : 1;
    }
    return result;
  }
};

namespace detail {

/// Traces and frames a statement.
template <class Configuration>
traced_statement make_traced(void (*trace)(heddle::detail::tracer&, symbol*), int outputs) {
  heddle::detail::tracer t;
  graph::framed f;
  std::vector<symbol> roots(static_cast<std::size_t>(outputs));
  try {
    trace(t, roots.data());
    f = frame_roots(t, roots.data(), outputs);
    graph::refuse_problem(f.problem);
  } catch (const char* sentence) {  // a compiler that traces shows it in its error
    raise<shape_error>(sentence);
  }
  traced_statement s;
  s.scalars = t.scalars;
  const auto operands = static_cast<std::size_t>(t.operands);
  for (std::size_t i = 0; i < operands; ++i) {
    s.operand_maps.push_back(i < f.operand_maps.size() ? f.operand_maps[i] : graph::empty_map);
  }
  s.wanted.resize(operands, false);
  s.output_maps.resize(static_cast<std::size_t>(outputs), graph::empty_map);
  for (const graph::node& n : f.result.nodes) {
    const std::size_t slot = n.code == op::gather ? n.b : n.a;
    if (n.code == op::input || n.code == op::gather) s.wanted[slot] = t.variables[slot];
    if (n.code == op::store) s.output_maps[n.b] = static_cast<graph::axis_map>(n.extra);
  }
  for (const graph::extent_check& check : f.checks) s.checks.push_back(check);
  s.result = static_cast<graph::graph&&>(f.result);
  return s;
}

/// What bound::finish does.
template <class Configuration>
void finish_binding(traced_bound& b) {
  const int count = static_cast<int>(b.leaves.size());
  b.device = common_device(b.leaves.data(), count);
  broadcast_extents(b.leaves.data(), b.of->operand_maps.data(), count, b.extents);
  check_extents(b.of->checks.data(), b.of->checks.size(), b.leaves.data(),
                b.of->operand_maps.data(), count, b.extents);
}

/// The launch of a bound statement, its outputs still missing.
template <class Configuration>
interpreted_launch begin_launch(const traced_bound& b) {
  interpreted_launch l;
  l.of = b.of->result;
  l.inputs = static_cast<int>(b.leaves.size());
  for (std::size_t i = 0; i < b.leaves.size(); ++i) {
    bind_leaf(l.operands.emplace_back(), b.leaves[i], b.of->operand_maps[i], b.extents);
    l.owners.push_back(handle<storage>::share(b.leaves[i].storage));
  }
  l.scalars = b.scalars;
  for (int i = 0; i < graph::max_axes; ++i) l.extents[i] = b.extents[i];
  return l;
}

template <class Configuration>
void submit_traced(const traced_bound& b, const operand* outputs, storage* const* owners,
                   int count) {
  interpreted_launch l = begin_launch<Configuration>(b);
  for (int i = 0; i < count; ++i) {
    l.operands.push_back(outputs[i]);
    l.owners.push_back(handle<storage>::share(owners[i]));
  }
  submit_interpreted<Configuration>(static_cast<interpreted_launch&&>(l), b.device);
}

#if defined(HEDDLE_UNFUSED)
HEDDLE_ONCE(traced_statement make_traced<configuration>(void (*)(heddle::detail::tracer&, symbol*),
                                                        int));
#endif
HEDDLE_ONCE(void finish_binding<configuration>(traced_bound&));
HEDDLE_ONCE(interpreted_launch begin_launch<configuration>(const traced_bound&));
HEDDLE_ONCE(void submit_traced<configuration>(const traced_bound&, const operand*, storage* const*,
                                              int));

}  // namespace detail

/// The trace of expressions of these types, made once.
template <class Configuration, class... E>
const traced_statement& traced_of() {
  static const traced_statement s = detail::make_traced<Configuration>(
      &trace_roots<E...>, (heddle::detail::result_count<E>() + ...));
  return s;
}

/// Binds expressions. The visitor is derived from detail::collector.
template <class Configuration, class Visitor, class... E>
traced_bound bind_traced(Visitor&& visitor, const E&... e) {
  traced_bound b(traced_of<Configuration, E...>());
  static_cast<detail::collector&>(visitor) = {b.leaves.data(), b.scalars.data()};
  (heddle::detail::visit_operand(e, visitor), ...);
  detail::finish_binding<Configuration>(b);
  return b;
}

/// Runs a traced statement into tensors that have its results' extents.
template <class Configuration, class... T, int... Rank>
void run_traced(const traced_bound& b, const tensor<T, Rank>&... results) {
  const operand outputs[] = {detail::operand_of(results)...};
  storage* const owners[] = {results.storage().get()...};
  detail::submit_traced<Configuration>(b, outputs, owners, static_cast<int>(sizeof...(results)));
}

}  // namespace heddle::inline v0::exec
