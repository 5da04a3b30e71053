// SPDX-License-Identifier: BSD-3-Clause
// Pinned host memory through which what is sent to a device passes: the copy is then done by the
// device while the caller goes on.
#pragma once

#include <cstring>
#include <vector>

#include <heddle/core/cuda/memory.cuh>

namespace heddle::inline v0::detail {

/// A block of pinned memory, and the point at which it is free again.
struct staging_block {
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  handle<event_state> free;
};

struct staging_pool : pooled {
  mutex guard;
  std::vector<staging_block> blocks;  // guarded
};
inline staging_pool& staging_blocks() {
  static staging_pool& pool = *new staging_pool;  // outlives the run-time
  return pool;
}

/// Bytes above which a block is not kept: the run-time stages such copies itself.
inline constexpr std::size_t staged_bytes = std::size_t{8} << 20;
/// Blocks that are kept at most.
inline constexpr std::size_t staging_limit = 8;

/// A free block of at least `bytes`; null data where all are in use.
inline staging_block take_staging(std::size_t bytes) {
  staging_pool& pool = staging_blocks();
  {
    lock hold(pool.guard);
    for (staging_block& block : pool.blocks) {
      if (block.bytes < bytes || (block.free && !block.free->query())) continue;
      staging_block taken = std::move(block);
      block = std::move(pool.blocks.back());
      pool.blocks.pop_back();
      return taken;
    }
    if (pool.blocks.size() >= staging_limit) return {};
  }
  std::size_t rounded = 4096;
  while (rounded < bytes) rounded *= 2;
  void* made = nullptr;
  if (cudaHostAlloc(&made, rounded, cudaHostAllocPortable) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return {};
  }
  return {static_cast<std::byte*>(made), rounded, nullptr};
}

/// Copies from host memory, which may be used again at once, to memory of the queue's device.
inline void send_staged(void* to, const std::byte* from, std::size_t bytes,
                        const handle<stream_state>& queue) {
  if (cuda_state(queue).get_capture() != nullptr) {
    refuse_capture(
        "copies from the host, whose memory a replay would not read again; make tensors on the "
        "device and write into them before a replay");
  }
  const cudaStream_t stream = cuda_state(queue).get();
  staging_block block;
  if (bytes <= staged_bytes) block = take_staging(bytes);
  if (block.data == nullptr) {
    // pageable memory: the run-time has read it when the call returns
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream), "copy");
    return;
  }
  std::memcpy(block.data, from, bytes);
  try {
    check_cuda(cudaMemcpyAsync(to, block.data, bytes, cudaMemcpyHostToDevice, stream), "copy");
    block.free = queue->record();
  } catch (...) {
    // the device may be reading the block: without an answer it stays until the process ends
    if (cudaStreamSynchronize(stream) == cudaSuccess) note_cuda(cudaFreeHost(block.data));
    throw;
  }
  staging_pool& pool = staging_blocks();
  lock hold(pool.guard);
  pool.blocks.push_back(std::move(block));
}

}  // namespace heddle::inline v0::detail
