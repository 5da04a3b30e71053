// SPDX-License-Identifier: BSD-3-Clause
// evaluate and assign: where expressions become launches.
#pragma once

#include <tuple>
#include <vector>

#include <heddle/core/site.hpp>
#include <heddle/core/stream.hpp>
#include <heddle/exec/bind.hpp>
#include <heddle/exec/host/flat.hpp>
#include <heddle/exec/in_place.hpp>
#include <heddle/exec/profiler.hpp>
#include <heddle/exec/side_by_side.hpp>
#include <heddle/exec/staged.hpp>
#include <heddle/exec/traced.hpp>
#include <heddle/tensor/tie.hpp>

namespace heddle::inline v0 {

namespace exec::cuda {

/// Queues a program on a CUDA device: cuda/launch.cuh, in units that nvcc compiles.
template <class Program, class Configuration>
void run_program(const launch& l, int inputs, int outputs, storage* const* owners, device where);

}  // namespace exec::cuda

namespace exec::detail {

using heddle::detail::bundle;

/// Whether a pass of a nest reads operand `read` of the plan.
inline bool nest_reads(const plan_view& p, const nest_info& nest, int read) {
  for (int k = nest.first_pass; k < nest.first_pass + nest.pass_count; ++k) {
    for (int i = 0; i < p.passes[k].read_count; ++i) {
      if (p.pass_reads[p.passes[k].first_read + i] == read) return true;
    }
  }
  return false;
}

/// Bytes a launch moves: each nest reads each of its operands once (a gather: the rows taken), and
/// writes each of its outputs once; what crosses from nest to nest is among both.
inline std::int64_t bytes_moved(const plan_view& p, const launch& l) {
  std::int64_t bytes = 0;
  for (int i = 0; i < p.read_count; ++i) {
    const std::int64_t each = host::detail::elements_over(p.reads[i].axes, l) *
                              static_cast<std::int64_t>(size_of(p.reads[i].type));
    for (int k = 0; k < p.nest_count; ++k) bytes += nest_reads(p, p.nests[k], i) ? each : 0;
  }
  for (int k = 0; k < p.pass_count; ++k) {
    for (int i = 0; i < p.passes[k].output_count; ++i) {
      const output_info& out = p.outputs[p.passes[k].first_output + i];
      if (!graph::writes_result(out.kind)) continue;
      // where it accumulates, read and written
      const bool adds =
          l.outputs != nullptr && p.is_own_output(out.slot) && l.outputs[out.slot].accumulates;
      bytes += host::detail::elements_over(graph::mask_of(out.map), l) *
               static_cast<std::int64_t>(size_of(out.type)) * (adds ? 2 : 1);
    }
  }
  return bytes;
}

template <class Program>
inline constexpr int kernel_count =
    graph::make_schedule(graph::thaw(cut_program<Program>{})).kernels();

/// What running and recording a program needs of it, without its type.
struct program_entry {
  const std::uint64_t* words;
  std::size_t word_count;
  int kernels;
  plan_view plan;
  void (*run)(const launch&);
  /// On a CUDA device; null where the unit has no kernels.
  void (*run_cuda)(const launch&, int inputs, int outputs, storage* const* owners, device where);
};
template <class Program, class Configuration>
consteval auto cuda_run_of() {
  decltype(program_entry::run_cuda) run = nullptr;
  if constexpr (Configuration::has(configuration_bits::cuda)) {
    run = &cuda::run_program<Program, Configuration>;
  }
  return run;
}
template <class Program, class Configuration>
inline constexpr program_entry entry_of = {Program::words,
                                           static_cast<std::size_t>(Program::word_count),
                                           kernel_count<Program>,
                                           view_of<cut_program<Program>>(),
                                           &host::run<Program, Configuration>,
                                           cuda_run_of<Program, Configuration>()};

/// What a queued launch keeps: its own copies of all descriptions, and the storages alive.
struct queued_launch {
  void (*run)(const launch&);
  launch l;
  std::vector<operand> operands;  ///< inputs, then outputs
  std::vector<scalar_bits> scalars;
  std::vector<handle<storage>> alive;
  int inputs;

  void operator()() {
    l.inputs = operands.data();
    l.outputs = operands.data() + inputs;
    l.scalars = scalars.data();
    run(l);
  }
};

struct launch_counts {
  int inputs, outputs, scalars;
};

/// Sweeps of a launch on a device: those of nests side by side are one.
inline int kernels_of(const program_entry& entry, const launch& l, device where) {
  const bool together = where.is_cuda() && entry.run_cuda != nullptr &&
                        may_run_side_by_side(entry.plan) && runs_side_by_side(entry.plan, l);
  return together ? 1 : entry.kernels;
}

HEDDLE_COLD inline void record(const program_entry& entry, const launch& l, device where) {
  heddle::detail::record_launch([&] {
    return launch_record{"program",
                         entry.words,
                         entry.word_count,
                         kernels_of(entry, l, where),
                         bytes_moved(entry.plan, l),
                         0,
                         where,
                         {}};
  });
}

HEDDLE_COLD inline void enqueue(const program_entry& entry, const launch& l, launch_counts counts,
                                storage* const* owners, device where) {
  queued_launch q{entry.run, l, {}, {}, {}, counts.inputs};
  q.operands.assign(l.inputs, l.inputs + counts.inputs);
  q.operands.insert(q.operands.end(), l.outputs, l.outputs + counts.outputs);
  q.scalars.assign(l.scalars, l.scalars + counts.scalars);
  for (int i = 0; i < counts.inputs + counts.outputs; ++i) {
    q.alive.push_back(handle<storage>::share(owners[i]));
  }
  current_stream(where).enqueue(static_cast<queued_launch&&>(q));
}

template <class Configuration>
void submit_entry(const program_entry& entry, launch_counts counts, const operand* inputs,
                  const operand* outputs, const scalar_bits* scalars, const std::int64_t* extents,
                  storage* const* owners, device where) {
  if (where.is_meta()) return;
  launch l;
  for (int i = 0; i < graph::max_axes; ++i) l.extents[i] = extents[i];
  l.inputs = inputs;
  l.outputs = outputs;
  l.scalars = scalars;
  if (profiler::active().load(std::memory_order_acquire) != nullptr) [[unlikely]] {
    record(entry, l, where);
  }
  if (where.is_inline()) {
    entry.run(l);
  } else if (where.is_cuda()) {
    if (entry.run_cuda != nullptr) {
      entry.run_cuda(l, counts.inputs, counts.outputs, owners, where);
    } else {
      staged_launch(l, counts.inputs, counts.outputs, owners).run(entry.run);
    }
  } else {
    enqueue(entry, l, counts, owners, where);
  }
}
HEDDLE_ONCE(void submit_entry<configuration>(const program_entry&, launch_counts, const operand*,
                                             const operand*, const scalar_bits*,
                                             const std::int64_t*, storage* const*, device));

/// Runs a program on the stream of its device: at once on cpu(), queued on cpu(i). `owners` are the
/// storages of operands and outputs.
template <class Program, class Configuration, int Operands, int Outputs, int Scalars>
void submit(const operand* inputs, const operand* outputs, const scalar_bits* scalars,
            const std::int64_t* extents, storage* const* owners, device where) {
  submit_entry<Configuration>(entry_of<Program, Configuration>, {Operands, Outputs, Scalars},
                              inputs, outputs, scalars, extents, owners, where);
}

/// Runs a bound statement into the given tensors, which have its results' extents.
template <class Configuration, class Statement, class... T, int... Rank>
void run_into(const bound<Statement>& b, const tensor<T, Rank>&... results) {
  if constexpr (Statement::pointwise && ((Rank == bound<Statement>::common_rank) && ...)) {
    const bool plain = b.contiguous && b.device.is_inline() &&
                       profiler::active().load(std::memory_order_acquire) == nullptr;
    if (plain && (host::run_pointwise<typename Statement::program, Configuration>(
                      b.leaves, b.common, b.scalars, results) &&
                  ...)) {
      return;
    }
  }
  operand inputs[Statement::operand_count + 1];
  b.bind_operands(inputs);
  const operand outputs[] = {operand_of(results)...};
  storage* owners[Statement::operand_count + Statement::output_count];
  for (int i = 0; i < Statement::operand_count; ++i) owners[i] = b.leaves[i].storage;
  int next = Statement::operand_count;
  ((owners[next++] = results.storage().get()), ...);
  submit<typename Statement::program, Configuration, Statement::operand_count,
         Statement::output_count, Statement::scalar_count>(inputs, outputs, b.scalars, b.extents,
                                                           owners, b.device);
}

template <class E, int Index>
struct result_of {
  static constexpr int rank = E::signature.ranks[Index];
  static constexpr dtype type = E::signature.types[Index];
};
template <class E, int Index>
requires(!bundle<E>) struct result_of<E, Index> {
  static constexpr int rank = E::rank;
  static constexpr dtype type = E::type;
};

/// The types of a statement's results, flattened.
template <class... E>
constexpr auto result_tensors() {
  const auto of = []<class X, int... I>(std::type_identity<X>, std::integer_sequence<int, I...>) {
    return std::tuple<tensor<type_of<result_of<X, I>::type>, result_of<X, I>::rank>...>{};
  };
  return std::tuple_cat(
      of(std::type_identity<E>{},
         std::make_integer_sequence<int, heddle::detail::result_count<E>()>{})...);
}

/// New tensors for the results of a bound statement, on its device.
template <class Tuple, class Bound>
Tuple allocate_results(const Bound& b) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return Tuple{std::tuple_element_t<I, Tuple>::allocate(
        b.template output_extents<std::tuple_element_t<I, Tuple>::rank>(static_cast<int>(I)),
        b.device)...};
  }
  (std::make_index_sequence<std::tuple_size_v<Tuple>>{});
}

}  // namespace exec::detail

namespace exec {

/// A statement that one library call computes whole, the products in it included: whether that can
/// be. linalg/epilogue.hpp knows which do.
template <class Configuration, class Statement>
struct library_statement {
  static constexpr bool exists = false;
};

}  // namespace exec

namespace detail {

/// Evaluates expressions that hold variables; autograd/ defines it.
template <class Configuration, class... E>
auto evaluate_recorded(const E&... e);

template <class Configuration, class... E>
auto evaluate_tensors(const E&... e) {
  using statement = exec::statement<E...>;
  using results = decltype(exec::detail::result_tensors<E...>());
  if constexpr (exec::library_statement<Configuration, statement>::exists) {
    results made;
    if (exec::library_statement<Configuration, statement>::compute(std::get<0>(made), e...)) {
      return made;
    }
  }
  const exec::bound<statement> b(e...);
  results made = exec::detail::allocate_results<results>(b);
  std::apply([&](const auto&... t) { exec::detail::run_into<Configuration>(b, t...); }, made);
  return made;
}
/// The same where nothing is compiled.
template <class Configuration, class... E>
auto evaluate_traced(const E&... e) {
  using results = decltype(exec::detail::result_tensors<E...>());
  const exec::traced_bound b = exec::bind_traced<Configuration>(exec::detail::collector{}, e...);
  results made = exec::detail::allocate_results<results>(b);
  std::apply([&](const auto&... t) { exec::run_traced<Configuration>(b, t...); }, made);
  return made;
}
template <class Configuration>
inline constexpr bool is_unfused = Configuration::has(configuration_bits::unfused);

template <class T, int Rank, class E>
struct onto_expression;

template <class Configuration, class... E>
auto evaluate_in(const E&... e) {
  if constexpr (sizeof...(E) == 1 && (requires { e.compute(); } && ...)) {
    return (e.compute(), ...);  // a contraction by itself: its library call
  } else if constexpr ((detail::holds_variable<E> || ...)) {
    return evaluate_recorded<Configuration>(e...);
  } else {
    auto made = [&] {
      if constexpr (is_unfused<Configuration>) {
        return evaluate_traced<Configuration>(e...);
      } else {
        return evaluate_tensors<Configuration>(e...);
      }
    }();
    if constexpr (std::tuple_size_v<decltype(made)> == 1) {
      return std::get<0>(static_cast<decltype(made)&&>(made));
    } else {
      return made;
    }
  }
}

/// Evaluates e into a tensor of its extents, on its device. What e reads there it reads element by
/// element.
template <class Configuration, class T, int Rank, class E>
void evaluate_into(const tensor<T, Rank>& result, const E& e) {
  if constexpr (is_unfused<Configuration>) {
    const exec::traced_bound b = exec::bind_traced<Configuration>(exec::detail::collector{}, e);
    exec::run_traced<Configuration>(b, result);
  } else {
    const exec::bound<exec::statement<E>> b(e);
    exec::detail::run_into<Configuration>(b, result);
  }
}

}  // namespace detail

/// Evaluates expressions in one statement: one program, in as few sweeps over memory as it allows.
/// Returns the tensor (a variable, if an operand is one), or a tuple for several results.
/// Throws shape_error, device_error, index_error (gathers), out_of_memory.
template <class E, class Configuration = configuration>
auto evaluate(const E& e, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const detail::statement_scope here(file, line);
  return detail::evaluate_in<Configuration>(e);
}
template <class... E, class Configuration = configuration>
requires(sizeof...(E) > 1) auto evaluate(const E&... e) {
  return detail::evaluate_in<Configuration>(e...);
}

namespace detail {

template <class Configuration, class E>
tensor<type_of<E::type>, E::rank> evaluate_expression(const E& e) {
  static_assert(
      !holds_variable<E>,
      "heddle::tensor: the expression holds a variable: make a variable of it, or take the "
      "values of variables with value()");
  if constexpr (holds_variable<E>) {
    return {};
  } else {
    return evaluate_in<Configuration>(e);
  }
}

/// E broadcast to the shape of a destination, which is not read.
template <class T, int Rank, class E>
struct onto_expression {
  using expression_tag = void;
  static constexpr int rank = Rank;
  static constexpr dtype type = E::type;

  const tensor<T, Rank>* destination;
  const E* value;

  static constexpr symbol trace(tracer& t) {
    t.roles.kept.add(static_cast<std::size_t>(t.operands));
    const symbol shape = trace_operand<tensor<T, Rank>>(t);
    symbol result = trace_operand<E>(t);
    if (result.weak != symbol::scalar::none) {
      result = graph::materialize(t.builder, result, dtype_of<T>);
    }
    graph::broadcast_axes(t.builder, result, shape);
    result.id = t.builder.cast(dtype_of<T>, result.id);
    return result;
  }
  template <class Visitor>
  void visit(Visitor& v) const {
    visit_operand(*destination, v);
    visit_operand(*value, v);
  }
};
template <class T, int Rank, class E>
inline constexpr bool holds_variable<onto_expression<T, Rank, E>> = holds_variable<E>;

template <class T, int Rank>
void check_assignable(const tensor<T, Rank>& to, const extents<Rank>& given) {
  static_cast<void>(to.device());
  if (to.extents() != given) {
    raise<shape_error>("heddle::assign: the value cannot be broadcast to the destination: ", given,
                       " is not ", to.extents(), "; extents must be equal or 1");
  }
  if (repeats_elements(to.extents().data(), to.strides().data(), Rank)) {
    raise<shape_error>(
        "heddle::assign: several indices of the destination name one element: strides ",
        to.strides(), " of ", to.extents(), "; assign to a clone");
  }
}

/// No two destinations are the same elements. (Whether they share some is not looked at.)
inline void check_distinct(const memory_map* maps, int count) {
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < i; ++j) {
      if (maps[i].empty() || !same_map(maps[i], maps[j])) continue;
      raise<shape_error>("heddle::assign: destinations ", j, " and ", i,
                         " are the same elements; each takes one value only");
    }
  }
}

/// What holds for destinations of any statement.
template <class Bound, class... T, int... Rank>
void check_destinations(const Bound& b, const tensor<T, Rank>&... destination) {
  int k = 0;
  (check_assignable(destination, b.template output_extents<Rank>(k++)), ...);
  if constexpr (sizeof...(destination) > 1) {
    const memory_map maps[] = {{destination.data(), destination.extents().data(),
                                destination.strides().data(), Rank, sizeof(T)}...};
    check_distinct(maps, static_cast<int>(sizeof...(destination)));
  }
}

/// Writes the results of a statement into tensors: through temporaries where a destination overlaps
/// an operand.
template <class Configuration, class Statement, class... T, int... Rank>
void assign_bound(const exec::bound<Statement>& b, const tensor<T, Rank>&... destination) {
  bool conflict = false;
  int slot = 0;
  const auto check = [&](const auto& one) {
    const auto result = static_cast<std::size_t>(slot++);
    const graph::axis_map map = Statement::table.output_maps.values[result];
    constexpr auto operands = static_cast<std::size_t>(Statement::operand_count);
    for (int i = 0; i < Statement::operand_count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      conflict =
          conflict || (operand_is_read<Statement>.values[at] &&
                       conflicts(one, map, b.leaves[i], Statement::table.operand_maps.values[at],
                                 b.leaves[i].size, b.extents,
                                 read_in_place<Statement>[result * operands + at]));
    }
  };
  (check(destination), ...);
  (destination.storage()->bump_version(), ...);
  if (!conflict) {
    exec::detail::run_into<Configuration>(b, destination...);
    return;
  }
  auto made = exec::detail::allocate_results<std::tuple<tensor<T, Rank>...>>(b);
  std::apply([&](const auto&... t) { exec::detail::run_into<Configuration>(b, t...); }, made);
  std::apply(
      [&](const auto&... t) {
        (copy_elements({destination.storage(), destination.data(), destination.strides().data()},
                       {t.storage(), t.data(), t.strides().data()}, t.extents().data(), Rank,
                       sizeof(T)),
         ...);
      },
      made);
}

/// Assigns several expressions to several tensors in one statement.
template <class Configuration, class... T, int... Rank, class... E>
void assign_all(const std::tuple<const tensor<T, Rank>&...>& to, const E&... e) {
  static_assert(
      ((E::rank <= Rank) && ...),
      "heddle::assign: the value has more axes than the destination; reduce or squeeze it");
  static_assert(
      !(holds_variable<E> || ...),
      "heddle::assign: the value holds a variable: a tensor does not keep its gradient; take "
      "the values of variables with value()");
  static_assert(((E::type == dtype_of<T> || weak_expression<E>)&&...),
                "heddle::assign: the value's dtype is not the destination's; write cast<T>(x)");
  std::apply(
      [&](const auto&... destination) {
        if constexpr (is_unfused<Configuration>) {
          // the interpreter has all values before it writes one
          const exec::traced_bound b = exec::bind_traced<Configuration>(
              exec::detail::collector{}, onto_expression<T, Rank, E>{&destination, &e}...);
          check_destinations(b, destination...);
          (destination.storage()->bump_version(), ...);
          exec::run_traced<Configuration>(b, destination...);
        } else {
          using statement = exec::statement<onto_expression<T, Rank, E>...>;
          const exec::bound<statement> b(onto_expression<T, Rank, E>{&destination, &e}...);
          check_destinations(b, destination...);
          assign_bound<Configuration>(b, destination...);
        }
      },
      to);
}

template <class Configuration, class T, int Rank, class E>
void assign_expression(const tensor<T, Rank>& destination, const E& e) {
  assign_all<Configuration>(std::tuple<const tensor<T, Rank>&>(destination), e);
}

template <class Configuration, class... D, class... E, std::size_t... I>
void assign_tied(const tied<D...>& to, std::index_sequence<I...>, const E&... e) {
  assign_all<Configuration>(std::tie(get<static_cast<int>(I)>(to)...), e...);
}

}  // namespace detail

/// Writes the value of e, broadcast to x's extents, into x's elements. Through a temporary where x
/// overlaps an operand by another layout, or a reduction reads it.
/// Throws shape_error where e cannot be broadcast to x.
template <class T, int Rank, class E, class Configuration = configuration>
requires expression<E>
void assign(const tensor<T, Rank>& x, const E& e, const char* file = __builtin_FILE(),
            int line = __builtin_LINE()) {
  const detail::statement_scope here(file, line);
  detail::assign_expression<Configuration>(x, e);
}
template <class T, int Rank>
void assign(const tensor<T, Rank>& x,
            std::type_identity_t<typename tensor<T, Rank>::list_value> value) {
  tensor<T, Rank> filled = x;
  filled.fill_(value);
}

/// `assign(tie(m, v, p), e1, e2, e3)`: all values are computed from what was there before; one
/// launch. The destinations share no elements. Throws shape_error where two are the same.
template <class... D, class... E, class Configuration = configuration>
void assign(const tied<D...>& destinations, const E&... e) {
  static_assert(sizeof...(D) == sizeof...(E),
                "heddle::assign: give as many values as destinations are tied");
  detail::assign_tied<Configuration>(destinations, std::index_sequence_for<D...>{}, e...);
}

}  // namespace heddle::inline v0

#if defined(__CUDACC__)
#include <heddle/exec/cuda/launch.cuh>  // the definition that program_entry needs
#endif
