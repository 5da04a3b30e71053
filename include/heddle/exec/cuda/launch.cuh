// SPDX-License-Identifier: BSD-3-Clause
// Programs on CUDA devices: from a launch's operands to kernels in a stream.
#pragma once

#include <climits>
#include <mutex>

#include <heddle/core/cuda/range.cuh>
#include <heddle/exec/cuda/kernel.cuh>
#include <heddle/exec/cuda/prepare.hpp>
#include <heddle/exec/host/run.hpp>
#include <heddle/tensor/cuda/copy.cuh>

namespace heddle::inline v0::exec::cuda {

namespace detail {

using heddle::detail::check_cuda;
using heddle::detail::cuda_device_scope;
using heddle::detail::cuda_state;
using heddle::detail::cuda_stream;
using heddle::detail::stream_state;

/// Whether kernels for devices of this compute capability were compiled with clusters.
constexpr bool clusters_compiled([[maybe_unused]] int major) {
#if defined(__CUDA_ARCH_LIST__)
  for (const int arch : {__CUDA_ARCH_LIST__}) {
    if (arch >= 900 && arch / 100 == major) return true;
  }
#endif
  return false;
}

/// What the division of work needs to know of a device.
struct device_limits {
  int multiprocessors = 0;
  int shared_memory = 0;  ///< bytes of a multiprocessor
  int row_memory = 0;     ///< bytes that a block may have
  bool clusters = false;
};
inline const device_limits& limits_of(int index) {
  static device_limits found[max_cuda_devices];
  static std::once_flag asked[max_cuda_devices];
  std::call_once(asked[index], [index] {
    const auto ask = [index](cudaDeviceAttr what) {
      int value = 0;
      check_cuda(cudaDeviceGetAttribute(&value, what, index), "evaluate");
      return value;
    };
    device_limits& to = found[index];
    to.multiprocessors = ask(cudaDevAttrMultiProcessorCount);
    to.shared_memory = ask(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
    to.row_memory = ask(cudaDevAttrMaxSharedMemoryPerBlockOptin) - shared_reserved;
    to.clusters = clusters_compiled(ask(cudaDevAttrComputeCapabilityMajor)) &&
                  ask(cudaDevAttrClusterLaunch) != 0;
  });
  return found[index];
}
/// Blocks that keep a device busy.
inline int blocks_for(int index) {
  return blocks_of_multiprocessor * limits_of(index).multiprocessors;
}

/// The bits of a reduction's identity, as partial results hold it.
inline std::uint64_t identity_bits(op code, dtype type) {
  std::byte value[8] = {};
  host::detail::fill_identity(value, 1, code, type);
  std::uint64_t bits = 0;
  std::memcpy(&bits, value, sizeof bits);
  return bits;
}

inline void fill_partials(const identity_fill& fill, cudaStream_t stream) {
  const std::int64_t extent = fill.count, stride = 1;
  std::size_t size = 0;
  host::detail::with_lane_type(fill.type, [&size](auto zero) { size = sizeof zero; });
  heddle::detail::copy_within({&extent, 1, size}, {fill.at, &stride}, {nullptr, nullptr},
                              identity_bits(fill.code, fill.type), stream);
}

inline void clear_scattered(const plan_view& p, const launch& l, cudaStream_t stream) {
  for (int k = 0; k < p.nest_count; ++k) {
    if (!p.nests[k].scatters) continue;
    host::detail::for_each_table(
        p, p.nests[k], l, [&](const output_info& out, const operand& o, std::int64_t count) {
          if (count == 0 || o.accumulates) return;
          check_cuda(cudaMemsetAsync(o.data, 0, static_cast<std::size_t>(count) * size_of(out.type),
                                     stream),
                     "evaluate");
        });
  }
}

/// Blocks of `team` threads, one each for `count` things, as far as a device takes them at a time.
inline int blocks_of(std::int64_t count, int team, int most) {
  return static_cast<int>(
      std::clamp(ceil_divide(count, team), std::int64_t{1}, std::int64_t{most}));
}

/// Before the kernel of a sorted scatter.
template <class Program, int First>
void sort_scatter(prepared<Program>& ready, const launch& l, int device, cudaStream_t stream) {
  ready.template sort_rows<First>(
      l,
      [&](const group_arguments<Program, First>& a) {
        const std::int64_t rows = a.template nest<First>().shape.rows;
        const int blocks = blocks_of(rows, usual_team, blocks_for(device));
        check_cuda(
            launch_sorted_kernel<Program, First, sorted_step::words>(a, blocks, usual_team, stream),
            "evaluate");
      },
      [&](sort_buffers& buffers, std::int64_t count, int bits) {
        word_sorter_in_place.load(std::memory_order_acquire)(buffers, count, bits,
                                                             heddle::cuda(device));
      });
}
/// And behind it.
template <class Program, int First>
void add_shared_sums(const group_arguments<Program, First>& a, int team, int device,
                     cudaStream_t stream) {
  const nest_shape& shape = a.template nest<First>().shape;
  check_cuda(launch_sorted_kernel<Program, First, sorted_step::shared_sums>(
                 a, blocks_of(shape.segments, shape.groups, blocks_for(device)), team, stream),
             "evaluate");
}

/// The nests from Nest to End, which finish a launch whose partial results were merged apart.
template <class Program, int Nest, int End>
void launch_finish(prepared<Program>& ready, const launch& l, int device, cudaStream_t stream) {
  if constexpr (Nest < End) {
    const nest_choice choice = ready.choice(Nest);
    const auto arguments = ready.template group<Nest>(l);
    const shared_request none{0, limits_of(device).row_memory, device};
    check_cuda(launch_kernel<Program, Nest, access::strided>(arguments, choice.blocks, choice.team,
                                                             none, stream),
               "evaluate");
    launch_finish<Program, finish_end<Program>(Nest), End>(ready, l, device, stream);
  }
}

template <class Program, int First>
void launch_from(prepared<Program>& ready, const launch& l, int device, cudaStream_t stream) {
  if constexpr (First < static_cast<int>(plan_of<Program>.sizes.nests)) {
    const nest_choice choice = ready.choice(First);
    if constexpr (owned_scatter<Program, First>) {
      if (choice.sorted) sort_scatter<Program, First>(ready, l, device, stream);
    }
    const auto arguments = ready.template group<First>(l);
    const shared_request shared{choice.row_bytes, limits_of(device).row_memory, device};
    cudaError_t code = cudaSuccess;
    const auto launch_as = [&]<access How>(std::integral_constant<access, How>) {
      if (choice.how != How) return;
      code =
          launch_kernel<Program, First, How>(arguments, choice.blocks, choice.team, shared, stream);
    };
    if constexpr (has_held_body<Program, First>()) {
      launch_as(std::integral_constant<access, access::held>{});
    }
    if constexpr (has_other_bodies<Program, First>()) {
      launch_as(std::integral_constant<access, access::strided>{});
      launch_as(std::integral_constant<access, access::wide>{});
      if constexpr (nest_layout<Program, First>::inner_in_row) {
        launch_as(std::integral_constant<access, access::resident>{});
      }
    }
    check_cuda(code, "evaluate");
    if constexpr (keeps_axes<Program, First>()) {
      if (choice.merge_blocks > 0) {
        check_cuda(launch_merge_kernel<Program, First>(arguments, choice.merge_blocks,
                                                       merge_team(choice.team), stream),
                   "evaluate");
        launch_finish<Program, First + 1, decltype(arguments)::end>(ready, l, device, stream);
      }
    }
    if constexpr (owned_scatter<Program, First>) {
      if (choice.sorted) add_shared_sums<Program, First>(arguments, choice.team, device, stream);
    }
    launch_from<Program, decltype(arguments)::end>(ready, l, device, stream);
  }
}

/// launch_limits::teams_at_a_time of a program.
template <class Program>
int teams_that_share(const void* context, int nest, int team, std::int64_t bytes, int members) {
  const int index = static_cast<const device*>(context)->index;
  const shared_request shared{bytes, limits_of(index).row_memory, index};
  int teams = 0;
  [&]<int... Nest>(std::integer_sequence<int, Nest...>) {
    const auto ask = [&]<int N>(std::integral_constant<int, N>) {
      if constexpr (has_held_body<Program, N>()) {
        if (N == nest) teams = teams_with_members<Program, N>(team, shared, members);
      }
    };
    (ask(std::integral_constant<int, Nest>{}), ...);
  }
  (std::make_integer_sequence<int, static_cast<int>(plan_of<Program>.sizes.nests)>{});
  return teams;
}

/// Whether a program's kernels need the stream's words.
template <class Program>
consteval bool needs_words() {
  const auto& p = plan_of<Program>;
  bool needed = false;
  for (int i = 0; i < static_cast<int>(p.sizes.nests); ++i) {
    needed = needed || p.nests[i].terminal || p.nests[i].scatters ||
             !is_independent(view_of<Program>(), i);
  }
  for (int i = 0; i < static_cast<int>(p.sizes.reads); ++i) needed = needed || p.reads[i].gathered;
  return needed;
}

/// Queues a launch that is prepared.
template <class Program>
void run_prepared(prepared<Program>& ready, const launch& l, device where, cuda_stream& state) {
  handle<storage> workspace;
  if (ready.workspace_bytes() > 0) {
    workspace = storage::allocate(static_cast<std::size_t>(ready.workspace_bytes()), where);
  }
  cuda_stream::words words;
  if constexpr (needs_words<Program>()) words = state.get_words();
  ready.place(workspace ? workspace->data() : nullptr, words.ticket, words.bad_index);
  ready.for_each_fill(l, [&](const identity_fill& fill) { fill_partials(fill, state.get()); });
  clear_scattered(view_of<Program>(), l, state.get());
  if constexpr (has_side_by_side_kernel<Program>()) {
    if (ready.side_by_side()) {
      return check_cuda(
          launch_side_by_side_kernel(ready.parts(l), ready.choice(0).team, state.get()),
          "evaluate");
    }
  }
  launch_from<Program, 0>(ready, l, where.index, state.get());
}

/// An operand without a storage is one element of zeros, which lies on the host: a launch's inputs
/// with the device's zeros in its place.
template <class Program>
class zeros_in_place {
  static constexpr int slots = [] {
    const auto& p = plan_of<Program>;
    int highest = -1;
    for (int i = 0; i < static_cast<int>(p.sizes.reads); ++i) {
      highest = p.reads[i].slot > highest ? p.reads[i].slot : highest;
    }
    return highest + 1;
  }();

 public:
  zeros_in_place(const launch& l, storage* const* owners, cuda_stream& stream) : given_(l.inputs) {
    bool any = false;
    for (int i = 0; i < slots; ++i)
      any = any || (owners[i] == nullptr && given_[i].data != nullptr);
    if (!any) return;
    std::byte* const zero = stream.get_words().zero;
    for (int i = 0; i < slots; ++i) {
      filled_[i] = given_[i];
      if (owners[i] == nullptr && given_[i].data != nullptr) filled_[i].data = zero;
    }
    given_ = filled_;
  }
  [[nodiscard]] const operand* inputs() const noexcept { return given_; }

 private:
  const operand* given_;
  operand filled_[slots + 1];
};

}  // namespace detail

/// Queues a program on the current stream of its device. `owners`: the storages of inputs and
/// outputs.
template <class Program, class Configuration>
void run_program(const launch& given, int inputs, int outputs, storage* const* owners,
                 device where) {
  using cut = cut_program<Program>;
  const heddle::detail::launch_range range("evaluate");
  const handle<detail::stream_state> queue = heddle::detail::state_of(current_stream(where));
  const detail::cuda_device_scope scope(where.index, "evaluate");
  detail::cuda_stream& state = detail::cuda_state(queue);
  for (int i = 0; i < inputs + outputs; ++i) {
    if (owners[i] != nullptr) owners[i]->record_stream(state);
    if (i >= inputs) state.note_written(owners[i]);
  }
  const detail::zeros_in_place<Program> zeros(given, owners, state);
  launch l = given;
  l.inputs = zeros.inputs();
  launch_limits limits;
  limits.max_blocks = detail::blocks_for(where.index);
  // the device hands blocks out as others end: no round of them is a half one
  limits.max_blocks_of_maps = INT_MAX;
  if constexpr (has_side_by_side_kernel<cut>()) limits.side_by_side = side_by_side_elements;
  const detail::device_limits& known = detail::limits_of(where.index);
  limits.row_memory = known.row_memory;
  limits.shared_memory = known.shared_memory;
  limits.multiprocessors = known.multiprocessors;
  if (known.clusters) {
    limits.max_members = max_members;
    limits.teams_at_a_time = detail::teams_that_share<detail::program_of_rows<cut>>;
    limits.context = &where;
  }
  if (word_sorter_in_place.load(std::memory_order_acquire) != nullptr) {
    limits.sorted_rows = sorted_scatter_rows;
  }
  prepared<cut> ready(l, limits);
  if constexpr (detail::computes_twice<cut>()) {
    if (ready.holds()) {
      prepared<holding<cut>> with_values(l, limits);
      if (with_values.holds()) return detail::run_prepared(with_values, l, where, state);
      limits.row_memory = 0;
      prepared<cut> neither(l, limits);
      return detail::run_prepared(neither, l, where, state);
    }
  }
  detail::run_prepared(ready, l, where, state);
}

}  // namespace heddle::inline v0::exec::cuda
