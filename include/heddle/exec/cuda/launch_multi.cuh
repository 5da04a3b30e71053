// SPDX-License-Identifier: BSD-3-Clause
// Lists of tensors on CUDA devices, as an optimizer's step: one kernel for as many as its
// parameters hold.
#pragma once

#include <heddle/exec/cuda/launch.cuh>
#include <heddle/exec/multi.hpp>

namespace heddle::inline v0::exec::cuda {

/// Groups of tensors that the parameters of one kernel have room for.
template <class Program>
consteval int groups_of_launch() {
  constexpr std::size_t one = sizeof(multi_arguments<Program, 1>);
  constexpr std::size_t each = sizeof(multi_arguments<Program, 2>) - one;
  return static_cast<int>((parameter_limit - one) / each) + 1;
}

/// Queues a program over a list of tensors.
template <class Program, class Configuration, int Operands>
void run_multi_program(const multi_group<Operands>* groups, std::size_t count,
                       const multi_shared& shared, device where) {
  constexpr int per_launch = groups_of_launch<Program>();
  constexpr int team = usual_team;
  const heddle::detail::launch_range range("multi_assign");
  const handle<detail::stream_state> queue = heddle::detail::state_of(current_stream(where));
  const detail::cuda_device_scope scope(where.index, "multi_assign");
  detail::cuda_stream& state = detail::cuda_state(queue);
  for (std::size_t k = 0; k < count; ++k) {
    for (storage* owner : groups[k].owners) {
      if (owner != nullptr) owner->record_stream(state);
    }
    for (int i = 0; i < detail::nest_layout<Program, 0>::output_count; ++i) {
      const output_info out = plan_of<Program>.outputs[static_cast<std::size_t>(i)];
      if (graph::writes_result(out.kind)) state.note_written(groups[k].owners[out.slot]);
    }
  }
  for (int i = 0; i < shared.reads + shared.results; ++i) {
    shared.owners[i]->record_stream(state);
    if (i >= shared.reads) state.note_written(shared.owners[i]);
  }
  multi_launches<Program, Operands, per_launch> launches(groups, count, shared, team,
                                                         detail::blocks_for(where.index));
  handle<storage> workspace;
  if (launches.workspace_bytes() > 0) {
    workspace = storage::allocate(static_cast<std::size_t>(launches.workspace_bytes()), where);
  }
  detail::cuda_stream::words words;
  if constexpr (detail::needs_words<Program>()) words = state.get_words();
  launches.place(workspace ? workspace->data() : nullptr, words.ticket);
  for (const auto& one : launches.all()) {
    detail::check_cuda(one.how == access::wide ? launch_multi_kernel<Program, access::wide>(
                                                     one.with, one.blocks, team, state.get())
                                               : launch_multi_kernel<Program, access::strided>(
                                                     one.with, one.blocks, team, state.get()),
                       "multi_assign");
  }
}

}  // namespace heddle::inline v0::exec::cuda
