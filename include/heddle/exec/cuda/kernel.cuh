// SPDX-License-Identifier: BSD-3-Clause
// The kernels: the bodies, called by the threads of a device.
#pragma once

#include <array>

#include <heddle/core/cuda/capture.cuh>
#include <heddle/core/cuda/kernel.cuh>
#include <heddle/exec/cuda/group.hpp>
#include <heddle/exec/cuda/multi.hpp>
#include <heddle/exec/cuda/side_by_side.hpp>

namespace heddle::inline v0::exec::cuda {

/// Most threads of a block, and how many blocks a multiprocessor should hold at a time.
constexpr int block_limit(access how) {
  return how == access::resident ? resident_team : how == access::held ? held_team : usual_team;
}
constexpr int blocks_at_a_time(access how) {
  return how == access::resident ? resident_teams_at_a_time : usual_teams_at_a_time;
}
template <class Program>
constexpr int blocks_at_a_time(access how) {
  return how == access::resident ? resident_teams_at_a_time
         : how == access::held   ? held_teams_at_a_time(Program::node_count)
                                 : teams_at_a_time(Program::node_count);
}

/// Bytes of parameters that a kernel may have.
#if CUDART_VERSION >= 12010
inline constexpr std::size_t parameter_limit = 32764;
#else
inline constexpr std::size_t parameter_limit = 4096;
#endif

/// What a thread of a kernel does; for kernels with names of their own.
template <class Program, int First, access Access>
__device__ __forceinline__ void run_in_block(const group_arguments<Program, First>& arguments) {
  alignas(16) __shared__ std::byte scratch[scratch_bytes + 16];
  extern __shared__ uint4 rows[];
  const block_team team(scratch, reinterpret_cast<std::byte*>(rows), static_cast<int>(blockIdx.x),
                        static_cast<int>(gridDim.x));
  run_group<Program, First, Access>(team, arguments);
}

/// Likewise where all nests run side by side: without rows in shared memory.
template <class Program>
__device__ __forceinline__ void run_parts_in_block(
    const side_by_side_arguments<Program>& arguments) {
  alignas(16) __shared__ std::byte scratch[scratch_bytes + 16];
  const block_team team(scratch, nullptr, static_cast<int>(blockIdx.x),
                        static_cast<int>(gridDim.x));
  run_side_by_side<Program>(team, arguments);
}

/// The kernel of the launch that begins with nest First of a program.
template <class Program, int First, access Access>
__global__ void __launch_bounds__(block_limit(Access), blocks_at_a_time<Program>(Access))
    kernel(const __grid_constant__ group_arguments<Program, First> arguments) {
  run_in_block<Program, First, Access>(arguments);
}

/// Names the kernel to its observer.
template <class Program, int First, access Access>
struct kernel_id {};

/// Shared memory that a kernel may ask for without being allowed to, beside what it has of its own.
inline constexpr std::int64_t shared_default = (48 << 10) - shared_reserved;

/// Shared memory that a launch asks for.
struct shared_request {
  std::int64_t bytes = 0;
  std::int64_t most = 0;  ///< that any launch on the device asks for
  int device = 0;
};

/// Lets a kernel ask for as much shared memory as any launch on the device.
template <class Program, int First, access Access>
[[nodiscard]] cudaError_t allow_shared(const shared_request& shared) {
  if (shared.bytes <= shared_default) return cudaSuccess;
  static constinit std::atomic<bool> allowed[heddle::max_cuda_devices]{};
  if (allowed[shared.device].load(std::memory_order_relaxed)) return cudaSuccess;
  const cudaError_t code = cudaFuncSetAttribute(kernel<Program, First, Access>,
                                                cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                static_cast<int>(shared.most));
  if (code == cudaSuccess) allowed[shared.device].store(true, std::memory_order_relaxed);
  return code;
}

/// A launch of blocks that form clusters.
class cluster_launch {
 public:
  cluster_launch(int blocks, int team, std::int64_t shared_bytes, int members,
                 cudaStream_t stream) {
    attribute_.id = cudaLaunchAttributeClusterDimension;
    attribute_.val.clusterDim.x = static_cast<unsigned>(members);
    attribute_.val.clusterDim.y = attribute_.val.clusterDim.z = 1;
    configuration_.gridDim = dim3(static_cast<unsigned>(blocks));
    configuration_.blockDim = dim3(static_cast<unsigned>(team));
    configuration_.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
    configuration_.stream = stream;
    configuration_.attrs = &attribute_;
    configuration_.numAttrs = 1;
  }
  cluster_launch(const cluster_launch&) = delete;
  cluster_launch& operator=(const cluster_launch&) = delete;
  [[nodiscard]] const cudaLaunchConfig_t& configuration() const { return configuration_; }

 private:
  cudaLaunchAttribute attribute_{};
  cudaLaunchConfig_t configuration_{};
};

/// Teams of a kernel that a device runs at a time where `members` share rows; an error: 0.
template <class Program, int First>
int teams_with_members(int team, const shared_request& shared, int members) {
  // the last answer for each device: bytes and members above the number
  static constinit std::atomic<std::uint64_t> known[heddle::max_cuda_devices]{};
  const auto asked =
      (static_cast<std::uint64_t>(shared.bytes) << 4 | static_cast<std::uint64_t>(members)) << 24;
  std::uint64_t answer = known[shared.device].load(std::memory_order_relaxed);
  constexpr std::uint64_t numbers = (1u << 24) - 1;
  if ((answer & ~numbers) != asked) {
    int clusters = 0;
    const cluster_launch one(members, team, shared.bytes, members, nullptr);
    if (allow_shared<Program, First, access::held>(shared) != cudaSuccess ||
        cudaOccupancyMaxActiveClusters(&clusters, kernel<Program, First, access::held>,
                                       &one.configuration()) != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      return 0;
    }
    answer = asked | static_cast<std::uint64_t>(clusters * members);
    known[shared.device].store(answer, std::memory_order_relaxed);
  }
  return static_cast<int>(answer & numbers);
}

/// The scalars of a program that are the states of draws, by their places.
template <int Capacity>
struct draw_scalars {
  int seed[Capacity == 0 ? 1 : Capacity] = {};
  int offset[Capacity == 0 ? 1 : Capacity] = {};
  int count = 0;
};
template <class Program>
inline constexpr auto captured_draws = [] {
  draw_scalars<Program::node_count> found;
  const auto& nodes = plan_of<Program>.graph_nodes;
  for (int i = 0; i < Program::node_count; ++i) {
    const graph::node& node = nodes[static_cast<std::size_t>(i)];
    if (!is_random(node.code)) continue;
    const graph::node& seed = nodes[static_cast<std::size_t>(node.a)];
    const graph::node& offset = nodes[static_cast<std::size_t>(node.b)];
    if (seed.code != op::argument || offset.code != op::argument) continue;
    found.seed[found.count] = seed.a;
    found.offset[found.count++] = offset.a;
  }
  return found;
}();

/// Within a capture: each replay of the kernel that was queued last draws anew.
template <class Program, class Arguments>
void draw_in_replays(void (*kernel)(Arguments), int blocks, int team, const shared_request& shared,
                     const Arguments& arguments) {
  auto* const into = heddle::detail::current_cuda_capture();
  if (into == nullptr) return;
  constexpr const auto& known = captured_draws<Program>;
  using heddle::detail::cuda_capture;
  std::array<cuda_capture::draw_place, static_cast<std::size_t>(known.count)> draws{};
  bool any = false;
  for (int i = 0; i < known.count; ++i) {
    const auto bits = [&](int slot) {
      return static_cast<std::uint64_t>(arguments.program.scalars[slot].integral);
    };
    const cuda_capture::draw_place draw =
        into->find_draw({bits(known.seed[i]), bits(known.offset[i])});
    draws[static_cast<std::size_t>(i)] = draw;
    any = any || draw.index >= 0;
  }
  if (!any) return;
  into->change_kernel(reinterpret_cast<const void*>(kernel), dim3(static_cast<unsigned>(blocks)),
                      dim3(static_cast<unsigned>(team)), static_cast<std::size_t>(shared.bytes),
                      arguments, [into, draws](Arguments& changed) {
                        for (int i = 0; i < known.count; ++i) {
                          const auto draw = draws[static_cast<std::size_t>(i)];
                          if (draw.index < 0) continue;
                          const random_state now = into->draw(draw);
                          auto* const scalars = changed.program.scalars;
                          scalars[known.seed[i]].integral = static_cast<std::int64_t>(now.seed);
                          scalars[known.offset[i]].integral = static_cast<std::int64_t>(now.offset);
                        }
                      });
}

/// What a launch came to, as the runtime says it; one that is captured and draws, draws anew in
/// each replay.
template <class Program, class Arguments>
cudaError_t after_launch(void (*launched)(Arguments), int blocks, int team,
                         const shared_request& shared, const std::remove_cv_t<Arguments>& arguments,
                         cudaError_t code) {
  if constexpr (captured_draws<Program>.count > 0) {
    if (code == cudaSuccess) {
      draw_in_replays<Program>(launched, blocks, team, shared, arguments);
    }
  }
  return code;
}

/// Queues a launch on the current device; whether that worked is the runtime's answer.
template <class Program, int First, access Access>
[[nodiscard]] cudaError_t launch_kernel(const group_arguments<Program, First>& arguments,
                                        int blocks, int team, const shared_request& shared,
                                        cudaStream_t stream) {
  static_assert(sizeof arguments <= parameter_limit,
                "heddle: the statement has too many operands for one CUDA kernel: its parameters "
                "exceed what a launch takes; store a part of it in a tensor first");
  heddle::detail::kernel_observer<kernel_id<Program, First, Access>>::before_launch();
  if constexpr (Access == access::held) {
    cudaError_t code = allow_shared<Program, First, Access>(shared);
    if (code != cudaSuccess) return code;
    const int members = arguments.template nest<First>().shape.members;
    if (members > 1) {
      const cluster_launch all(blocks, team, shared.bytes, members, stream);
      code = cudaLaunchKernelEx(&all.configuration(), kernel<Program, First, Access>, arguments);
      return after_launch<Program>(kernel<Program, First, Access>, blocks, team, shared, arguments,
                                   code);
    }
  }
  kernel<Program, First, Access><<<static_cast<unsigned>(blocks), static_cast<unsigned>(team),
                                   static_cast<std::size_t>(shared.bytes), stream>>>(arguments);
  return after_launch<Program>(kernel<Program, First, Access>, blocks, team, shared, arguments,
                               cudaPeekAtLastError());
}

/// The kernel of a program whose nests run side by side.
template <class Program>
__global__ void __launch_bounds__(block_limit(access::strided),
                                  blocks_at_a_time<Program>(access::strided))
    side_by_side_kernel(const __grid_constant__ side_by_side_arguments<Program> arguments) {
  run_parts_in_block(arguments);
}
template <class Program>
struct side_by_side_kernel_id {};
/// Whether a program has that kernel.
template <class Program>
consteval bool has_side_by_side_kernel() {
  if constexpr (side_by_side_program<Program>) {
    return sizeof(side_by_side_arguments<Program>) <= parameter_limit;
  }
  return false;
}

template <class Program>
[[nodiscard]] cudaError_t launch_side_by_side_kernel(
    const side_by_side_arguments<Program>& arguments, int team, cudaStream_t stream) {
  heddle::detail::kernel_observer<side_by_side_kernel_id<Program>>::before_launch();
  const int blocks = arguments.first_team[side_by_side_arguments<Program>::nests];
  side_by_side_kernel<Program>
      <<<static_cast<unsigned>(blocks), static_cast<unsigned>(team), 0, stream>>>(arguments);
  return after_launch<Program>(side_by_side_kernel<Program>, blocks, team, {}, arguments,
                               cudaPeekAtLastError());
}

/// The kernel that merges partial results apart.
template <class Program, int First>
__global__ void __launch_bounds__(usual_team)
    merge_kernel(const __grid_constant__ group_arguments<Program, First> arguments) {
  alignas(16) __shared__ std::byte scratch[scratch_bytes + 16];
  alignas(16) __shared__ std::byte parts[merge_bytes];
  const block_team team(scratch, parts, static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x));
  run_merge<Program, First>(team, arguments);
}
template <class Program, int First>
struct merge_kernel_id {};

template <class Program, int First>
[[nodiscard]] cudaError_t launch_merge_kernel(const group_arguments<Program, First>& arguments,
                                              int blocks, int team, cudaStream_t stream) {
  heddle::detail::kernel_observer<merge_kernel_id<Program, First>>::before_launch();
  merge_kernel<Program, First>
      <<<static_cast<unsigned>(blocks), static_cast<unsigned>(team), 0, stream>>>(arguments);
  return after_launch<Program>(merge_kernel<Program, First>, blocks, team, {}, arguments,
                               cudaPeekAtLastError());
}

/// The kernels before and after that of a sorted scatter.
template <class Program, int First, sorted_step Step>
__global__ void __launch_bounds__(usual_team)
    sorted_kernel(const __grid_constant__ group_arguments<Program, First> arguments) {
  const block_team team(nullptr, nullptr, static_cast<int>(blockIdx.x),
                        static_cast<int>(gridDim.x));
  run_sorted_step<Program, First, Step>(team, arguments);
}
template <class Program, int First, sorted_step Step>
struct sorted_kernel_id {};

template <class Program, int First, sorted_step Step>
[[nodiscard]] cudaError_t launch_sorted_kernel(const group_arguments<Program, First>& arguments,
                                               int blocks, int team, cudaStream_t stream) {
  heddle::detail::kernel_observer<sorted_kernel_id<Program, First, Step>>::before_launch();
  sorted_kernel<Program, First, Step>
      <<<static_cast<unsigned>(blocks), static_cast<unsigned>(team), 0, stream>>>(arguments);
  return cudaPeekAtLastError();
}

/// run_in_block of launches over lists.
template <class Program, access Access, int Groups>
__device__ __forceinline__ void run_list_in_block(
    const multi_arguments<Program, Groups>& arguments) {
  alignas(16) __shared__ std::byte scratch[scratch_bytes + 16];
  const block_team team(scratch, nullptr, static_cast<int>(blockIdx.x),
                        static_cast<int>(gridDim.x));
  run_multi<Program, Access>(team, arguments);
}

/// The kernel of a program over a list of tensors.
template <class Program, access Access, int Groups>
__global__ void __launch_bounds__(block_limit(Access), blocks_at_a_time(Access))
    multi_kernel(const __grid_constant__ multi_arguments<Program, Groups> arguments) {
  run_list_in_block<Program, Access>(arguments);
}
template <class Program, access Access, int Groups>
struct multi_kernel_id {};

template <class Program, access Access, int Groups>
[[nodiscard]] cudaError_t launch_multi_kernel(const multi_arguments<Program, Groups>& arguments,
                                              int blocks, int team, cudaStream_t stream) {
  static_assert(sizeof arguments <= parameter_limit);
  heddle::detail::kernel_observer<multi_kernel_id<Program, Access, Groups>>::before_launch();
  multi_kernel<Program, Access, Groups>
      <<<static_cast<unsigned>(blocks), static_cast<unsigned>(team), 0, stream>>>(arguments);
  const cudaError_t code = cudaPeekAtLastError();
  auto* const into = heddle::detail::current_cuda_capture();
  if (code != cudaSuccess || into == nullptr || !into->scalars) return code;
  using changed = multi_arguments<Program, Groups>;
  into->change_kernel(reinterpret_cast<const void*>(&multi_kernel<Program, Access, Groups>),
                      dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(team)), 0,
                      arguments, [write = into->scalars](changed& to) {
                        double now[heddle::detail::graph_capture::most_scalars];
                        write->write(now);
                        for (int i = 0; i < program_arguments<Program>::scalar_count; ++i) {
                          to.group.program.scalars[i].floating = now[i];
                        }
                      });
  return code;
}

}  // namespace heddle::inline v0::exec::cuda
