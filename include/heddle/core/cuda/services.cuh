// SPDX-License-Identifier: BSD-3-Clause
// Puts the CUDA backend in place of the seam in backend.hpp when the program starts.
#pragma once

#include <heddle/core/cuda/capture.cuh>
#include <heddle/core/cuda/range.cuh>

namespace heddle::inline v0::detail {

struct cuda_default_streams {
  mutex guard;
  stream_state* of[max_cuda_devices] = {};  // guarded; a reference is kept
};

inline handle<stream_state> default_cuda_stream(device where) {
  static constinit cuda_default_streams defaults;
  const int index = present_index(where, "default_stream");
  lock hold(defaults.guard);
  stream_state*& found = defaults.of[index];
  if (found == nullptr) found = make_handle<cuda_stream>(where, nullptr, false).detach();
  return handle<stream_state>::share(found);
}

inline handle<stream_state> new_cuda_stream(device where) {
  const cuda_device_scope scope(present_index(where, "stream"), "stream");
  cudaStream_t made = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "stream");
  return make_handle<cuda_stream>(where, made, true);
}

inline handle<stream_state> adopt_cuda_stream(device where, void* native) {
  static_cast<void>(present_index(where, "stream::adopt"));
  return make_handle<cuda_stream>(where, static_cast<cudaStream_t>(native), false);
}

inline memory_statistics cuda_memory(device where) {
  const int index = present_index(where, "memory_stats");
  collect_references();
  const cuda_arena& arena = cuda_arena_of(index);
  return {.live = arena.live.load(std::memory_order_relaxed),
          .cached = cached_bytes(index),
          .peak = arena.peak.load(std::memory_order_relaxed)};
}

inline void reset_cuda_peak(device where) {
  cuda_arena& arena = cuda_arena_of(present_index(where, "reset_peak_memory"));
  collect_references();
  arena.peak.store(arena.live.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

inline void empty_cuda_cache(device where) {
  const int index = present_index(where, "empty_cache");
  if (cuda_arena_of(index).prepared.load(std::memory_order_acquire) != 1) return;
  const cuda_device_scope scope(index, "empty_cache");
  cudaMemPool_t pool = nullptr;
  check_cuda(cudaDeviceGetDefaultMemPool(&pool, index), "empty_cache");
  check_cuda(cudaMemPoolTrimTo(pool, 0), "empty_cache");
}

inline constexpr cuda_services cuda_runtime = {
    &count_cuda_devices, &new_cuda_stream,  &default_cuda_stream, &adopt_cuda_stream,
    &allocate_in_order,  &new_cuda_capture, &cuda_memory,         &reset_cuda_peak,
    &empty_cuda_cache,   &ranges_are_read,  &push_range,          &pop_range};

inline const bool cuda_is_in_place = [] {
  cuda_services_in_place.store(&cuda_runtime, std::memory_order_release);
  return true;
}();

}  // namespace heddle::inline v0::detail
