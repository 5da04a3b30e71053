// SPDX-License-Identifier: BSD-3-Clause
// The kernels: the bodies, called by the threads of a device.
#pragma once

#include <heddle/core/cuda/kernel.cuh>
#include <heddle/exec/cuda/group.hpp>
#include <heddle/exec/cuda/multi.hpp>

namespace heddle::inline v0::exec::cuda {

/// Most threads of a block. Rows held in registers may take more, as long as 128 registers a thread
/// are left: a layer norm's derivative needs over 64.
constexpr int block_limit(access how) { return how == access::resident ? resident_team : 256; }
/// Blocks that a multiprocessor should hold at a time. Said, and not left to the assembler, which
/// would rather spill than take more registers than its own guess.
constexpr int blocks_at_a_time(access how) { return how == access::resident ? 1 : 2; }

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

/// The kernel of the launch that begins with nest First of a program.
template <class Program, int First, access Access>
__global__ void __launch_bounds__(block_limit(Access), blocks_at_a_time(Access))
    kernel(const __grid_constant__ group_arguments<Program, First> arguments) {
  run_in_block<Program, First, Access>(arguments);
}

/// Names the kernel to its observer.
template <class Program, int First, access Access>
struct kernel_id {};

/// Shared memory that a kernel may ask for without being allowed to.
inline constexpr std::int64_t shared_default = 48 << 10;

/// Shared memory that a launch asks for.
struct shared_request {
  std::int64_t bytes = 0;
  std::int64_t most = 0;  ///< that any launch on the device asks for
  int device = 0;
};

/// Queues a launch on the current device; whether that worked is the runtime's answer.
template <class Program, int First, access Access>
[[nodiscard]] cudaError_t launch_kernel(const group_arguments<Program, First>& arguments,
                                        int blocks, int team, const shared_request& shared,
                                        cudaStream_t stream) {
  static_assert(sizeof arguments <= parameter_limit,
                "heddle: the statement has too many operands for one CUDA kernel: its parameters "
                "exceed what a launch takes; store a part of it in a tensor first");
  heddle::detail::kernel_observer<kernel_id<Program, First, Access>>::before_launch();
  if constexpr (Access == access::wide) {
    if (shared.bytes > shared_default) {
      static constinit std::atomic<bool> allowed[heddle::max_cuda_devices]{};
      if (!allowed[shared.device].load(std::memory_order_relaxed)) {
        const cudaError_t code = cudaFuncSetAttribute(kernel<Program, First, Access>,
                                                      cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                      static_cast<int>(shared.most));
        if (code != cudaSuccess) return code;
        allowed[shared.device].store(true, std::memory_order_relaxed);
      }
    }
  }
  kernel<Program, First, Access><<<static_cast<unsigned>(blocks), static_cast<unsigned>(team),
                                   static_cast<std::size_t>(shared.bytes), stream>>>(arguments);
  return cudaPeekAtLastError();
}

/// The kernels before and after that of a sorted scatter.
template <class Program, int First, sorted_step Step>
__global__ void __launch_bounds__(256)
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

/// The kernel of an element-wise program over a list of tensors.
template <class Program, access Access, int Groups>
__global__ void __launch_bounds__(block_limit(Access), blocks_at_a_time(Access))
    multi_kernel(const __grid_constant__ multi_arguments<Program, Groups> arguments) {
  alignas(16) __shared__ std::byte scratch[scratch_bytes + 16];
  const block_team team(scratch, nullptr, static_cast<int>(blockIdx.x),
                        static_cast<int>(gridDim.x));
  run_multi<Program, Access>(team, arguments);
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
  return cudaPeekAtLastError();
}

}  // namespace heddle::inline v0::exec::cuda
