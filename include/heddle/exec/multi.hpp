// SPDX-License-Identifier: BSD-3-Clause
// One launch over many tensors: the same program over each group of a list, as an optimizer's step
// over all parameters of one dtype and device.
#pragma once

#include <vector>

#include <heddle/exec/evaluate.hpp>
#include <heddle/exec/multi_group.hpp>

namespace heddle::inline v0::exec {

namespace cuda {

/// Queues an element-wise program over a list on a CUDA device: cuda/launch.cuh.
template <class Program, class Configuration, int Operands>
void run_multi_program(const multi_group<Operands>* groups, std::size_t count,
                       const scalar_bits* scalars, device where);

}  // namespace cuda

namespace detail {

template <class X, int>
struct repeated {
  using type = X;
};

/// The statement of F over flat tensors of T and floating scalars.
template <class F, class T, class Operands, class Scalars>
struct multi_statement;
template <class F, class T, int... Operands, int... Scalars>
struct multi_statement<F, T, std::integer_sequence<int, Operands...>,
                       std::integer_sequence<int, Scalars...>> {
  static constexpr int outputs =
      static_cast<int>(sizeof(heddle::detail::make_signature<
                                  F, typename repeated<tensor<T, 1>, Operands>::type...,
                                  typename repeated<scalar_expression<false>, Scalars>::type...>()
                                  .ranks) /
                       sizeof(int));
  using single = let_expression<F, typename repeated<tensor<T, 1>, Operands>::type...,
                                typename repeated<scalar_expression<false>, Scalars>::type...>;
  using several = let_bundle<F, typename repeated<tensor<T, 1>, Operands>::type...,
                             typename repeated<scalar_expression<false>, Scalars>::type...>;
  using expression = std::conditional_t<outputs == 1, single, several>;
  using type = statement<expression>;
};

template <class Program, class Configuration, int Operands, int Outputs>
void run_groups(const multi_group<Operands>* groups, std::size_t count,
                const scalar_bits* scalars) {
  for (std::size_t k = 0; k < count; ++k) {
    const multi_group<Operands>& g = groups[k];
    if (g.count == 0) continue;
    operand inputs[Operands];
    operand outputs[Outputs];
    for (int i = 0; i < Operands; ++i) {
      inputs[i].data = g.data[i];
      inputs[i].strides[0] = 1;
    }
    for (int i = 0; i < Outputs; ++i) {
      outputs[i].data = g.data[i];
      outputs[i].strides[0] = 1;
    }
    launch l;
    for (int i = 0; i < graph::max_axes; ++i) l.extents[i] = 1;
    l.extents[0] = g.count;
    l.inputs = inputs;
    l.outputs = outputs;
    l.scalars = scalars;
    host::run<Program, Configuration>(l);
  }
}

/// Without kernels: on the host, over copies.
template <class Program, class Configuration, int Operands, int Outputs>
void run_groups_staged(std::vector<multi_group<Operands>> groups, const scalar_bits* scalars) {
  host_copies copies;
  for (const auto& g : groups) {
    for (int i = 0; i < Operands; ++i) copies.add(g.owners[i], i < Outputs);
  }
  for (auto& g : groups) {
    for (int i = 0; i < Operands; ++i) g.data[i] = copies.place_of(g.owners[i], g.data[i]);
  }
  run_groups<Program, Configuration, Operands, Outputs>(groups.data(), groups.size(), scalars);
  copies.write_back();
}

/// The same where nothing is compiled: a launch a group.
template <class Configuration, class Expression, int Outputs, int Operands>
void interpret_groups(const std::vector<multi_group<Operands>>& groups,
                      const std::vector<scalar_bits>& scalars, device where) {
  for (const multi_group<Operands>& g : groups) {
    if (g.count == 0) continue;
    interpreted_launch l;
    l.of = traced_of<Configuration, Expression>().result;
    l.inputs = Operands;
    for (int i = 0; i < Operands + Outputs; ++i) {
      const int of = i < Operands ? i : i - Operands;
      operand& o = l.operands.emplace_back();
      o.data = g.data[of];
      o.strides[0] = 1;
      l.owners.push_back(handle<storage>::share(g.owners[of]));
    }
    l.scalars = scalars;
    for (std::int64_t& extent : l.extents) extent = 1;
    l.extents[0] = g.count;
    submit_interpreted<Configuration>(static_cast<interpreted_launch&&>(l), where);
  }
}

/// Runs the program over the groups on the current stream of their device: at once on cpu().
template <class T, class Program, class Configuration, int Outputs, int Operands, int Scalars>
void submit_groups(const std::vector<multi_group<Operands>>& groups, device where,
                   const scalar_bits (&bits)[Scalars]) {
  std::int64_t elements = 0;
  for (const auto& g : groups) elements += g.count;
  heddle::detail::record_launch([&] {
    return launch_record{"multi",
                         Program::words,
                         static_cast<std::size_t>(Program::word_count),
                         1,
                         elements * (Operands + Outputs) * static_cast<std::int64_t>(sizeof(T)),
                         0,
                         where,
                         {}};
  });
  if (where.is_inline()) {
    run_groups<Program, Configuration, Operands, Outputs>(groups.data(), groups.size(), bits);
    return;
  }
  if (where.is_cuda()) {
    if constexpr (Configuration::has(configuration_bits::cuda)) {
      cuda::run_multi_program<Program, Configuration>(groups.data(), groups.size(), bits, where);
    } else {
      run_groups_staged<Program, Configuration, Operands, Outputs>(groups, bits);
    }
    return;
  }
  struct task {
    std::vector<multi_group<Operands>> groups;
    std::vector<handle<storage>> alive;
    scalar_bits bits[Scalars];
    void operator()() {
      run_groups<Program, Configuration, Operands, Outputs>(groups.data(), groups.size(), bits);
    }
  };
  task queued{groups, {}, {}};
  for (const auto& g : groups) {
    for (storage* owner : g.owners) queued.alive.push_back(handle<storage>::share(owner));
  }
  for (int i = 0; i < Scalars; ++i) queued.bits[i] = bits[i];
  current_stream(where).enqueue(static_cast<task&&>(queued));
}

}  // namespace detail

/// Runs F, a stateless function object of `Operands` symbols of rank 1 and as many scalars as are
/// given, over each group; its first result is written to operand 0 of the group, the second to
/// operand 1, and so on. Results are computed from what was there before. One launch on the device
/// `where`: the tensors are of dtype T, contiguous and there. Groups of size 0 are left out.
template <class T, int Operands, class F, class... Scalar, class Configuration = configuration>
void multi_assign(F, const std::vector<multi_group<Operands>>& groups, device where,
                  Scalar... scalar) {
  using chosen =
      detail::multi_statement<F, T, std::make_integer_sequence<int, Operands>,
                              std::make_integer_sequence<int, static_cast<int>(sizeof...(Scalar))>>;
  constexpr int outputs = chosen::outputs;
  static_assert(std::is_empty_v<F>, "heddle::multi_assign: the function captures something");
  static_assert(outputs <= Operands, "heddle::multi_assign: there are more results than operands");
  if (groups.empty()) return;
  for (const auto& g : groups) {
    for (int i = 0; i < outputs; ++i) g.owners[i]->bump_version();
  }
  if (where.is_meta()) return;
  scalar_bits bits[sizeof...(Scalar) + 1];
  int next = 0;
  ((bits[next++].floating = static_cast<double>(scalar)), ...);
  if constexpr (heddle::detail::is_unfused<Configuration>) {
    detail::interpret_groups<Configuration, typename chosen::expression, outputs>(
        groups, {bits, bits + next}, where);
  } else {
    using program = typename chosen::type::program;
    static_assert(heddle::detail::is_element_wise<program>(),
                  "heddle::multi_assign: the function is not element-wise");
    detail::submit_groups<T, program, Configuration, outputs>(groups, where, bits);
  }
}

}  // namespace heddle::inline v0::exec

#if defined(__CUDACC__)
#include <heddle/exec/cuda/launch_multi.cuh>  // lists on CUDA devices
#endif
