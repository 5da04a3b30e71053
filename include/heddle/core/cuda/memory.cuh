// SPDX-License-Identifier: BSD-3-Clause
// Memory of CUDA devices: allocated and freed in the order of a stream, from the device's own pool,
// which keeps what is freed for the next that asks.
#pragma once

#include <vector>

#include <heddle/core/cuda/stream.cuh>
#include <heddle/core/site.hpp>
#include <heddle/core/storage.hpp>
#include <heddle/core/stream.hpp>

namespace heddle::inline v0::detail {

/// What heddle holds of a device.
struct cuda_arena {
  std::atomic<std::int64_t> live{0};
  std::atomic<std::int64_t> peak{0};
  std::atomic<int> prepared{0};  ///< 1: the pool keeps memory; 2: the device has no pools
};
inline cuda_arena& cuda_arena_of(int index) noexcept {
  static constinit cuda_arena arenas[max_cuda_devices];
  return arenas[index];
}

/// Captures that run. Waiting for a whole device, and freeing memory outside of a stream's order,
/// would end them.
inline std::atomic<int>& running_captures() noexcept {
  static constinit std::atomic<int> count{0};
  return count;
}
/// Waits for the current device; false where that cannot be.
inline bool synchronize_device() noexcept {
  if (running_captures().load(std::memory_order_acquire) > 0) return false;
  const cudaError_t code = cudaDeviceSynchronize();
  note_cuda(code);
  return code == cudaSuccess;
}

/// Throws cuda_error where the run-time is of another major version than the headers.
inline void check_versions(const char* function) {
  int found = 0;
  check_cuda(cudaRuntimeGetVersion(&found), function);
  if (found / 1000 == CUDART_VERSION / 1000) return;
  raise<cuda_error>("heddle::", function,
                    ": the CUDA run-time is not the one of the headers: ", found / 1000, ".",
                    found % 1000 / 10, "; ", CUDART_VERSION / 1000, ".", CUDART_VERSION % 1000 / 10,
                    " is expected");
}

/// Lets the devices that can reach a device's memory copy from and to it without the host. Where it
/// cannot be had, copies go through the host.
inline void open_to_peers(cudaMemPool_t pool, int index) {
  for (int other = 0; other < count_cuda_devices(); ++other) {
    int possible = 0;
    if (other == index) continue;
    note_cuda(cudaDeviceCanAccessPeer(&possible, other, index));
    if (possible == 0) continue;
    cudaMemAccessDesc access{};
    access.location.type = cudaMemLocationTypeDevice;
    access.location.id = other;
    access.flags = cudaMemAccessFlagsProtReadWrite;
    note_cuda(cudaMemPoolSetAccess(pool, &access, 1));
  }
}

/// Makes the device's pool keep what is freed. Whether it has one.
inline bool prepare_pool(int index, const char* function) {
  cuda_arena& arena = cuda_arena_of(index);
  int state = arena.prepared.load(std::memory_order_acquire);
  if (state == 0) [[unlikely]] {
    check_versions(function);
    int supported = 0;
    check_cuda(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, index),
               function);
    if (supported != 0) {
      cudaMemPool_t pool = nullptr;
      check_cuda(cudaDeviceGetDefaultMemPool(&pool, index), function);
      std::uint64_t all = UINT64_MAX;
      check_cuda(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all), function);
      open_to_peers(pool, index);
    }
    state = supported != 0 ? 1 : 2;
    arena.prepared.store(state, std::memory_order_release);
  }
  return state == 1;
}

/// Bytes that the device's pool holds and heddle does not use.
inline std::int64_t cached_bytes(int index) noexcept {
  cudaMemPool_t pool = nullptr;
  std::uint64_t reserved = 0, used = 0;
  if (cuda_arena_of(index).prepared.load(std::memory_order_acquire) != 1) return 0;
  if (cudaDeviceGetDefaultMemPool(&pool, index) != cudaSuccess ||
      cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved) != cudaSuccess ||
      cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return 0;
  }
  return static_cast<std::int64_t>(reserved - used);
}

/// "; in the statement at model.hpp:12", or nothing.
inline std::string statement_text() {
  const source_place at = current_statement();
  return at.line == 0
             ? std::string()
             : "; in the statement at " + std::string(at.file) + ":" + std::to_string(at.line);
}

[[noreturn]] HEDDLE_COLD inline void raise_cuda_memory(std::size_t bytes, device where) {
  std::size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) static_cast<void>(cudaGetLastError());
  raise<out_of_memory>("heddle::allocate: out of memory on ", where, ": ", bytes,
                       " bytes asked for; ", free, " of ", total, " bytes are free, heddle holds ",
                       cuda_arena_of(where.index).live.load(std::memory_order_relaxed),
                       " bytes live and ", cached_bytes(where.index), " bytes cached",
                       statement_text());
}

/// Memory of a device, freed in the order of the stream that it was allocated for, after the work
/// of all other streams that have been recorded.
class cuda_storage final : public storage, public pooled {
 public:
  cuda_storage(std::byte* data, std::size_t bytes, heddle::device where,
               handle<stream_state>&& home) noexcept
      : storage(data, bytes, where), home_(std::move(home)) {}
  ~cuda_storage() override = default;

  void record_stream(stream_state& user) override {
    if (&user == home_.get()) [[likely]]
      return;
    if (static_cast<cuda_stream&>(user).get_capture() != nullptr) return user.keep(*this);
    lock hold(guard_);
    for (const handle<stream_state>& known : users_) {
      if (known.get() == &user) return;
    }
    users_.push_back(handle<stream_state>::share(&user));
  }

 private:
  void dispose() noexcept override {
    cuda_arena_of(device().index)
        .live.fetch_sub(static_cast<std::int64_t>(bytes()), std::memory_order_relaxed);
    if (data() != nullptr && !cuda_is_lost().load(std::memory_order_relaxed)) give_back();
    delete this;
  }
  /// A call that fails here is tried again or done without: nobody could be told.
  void give_back() noexcept {
    const int index = device().index;
    int before = index;
    note_cuda(cudaGetDevice(&before));
    // the default stream is that of the current device
    if (cudaSetDevice(index) != cudaSuccess) note_cuda(cudaSetDevice(index));
    bool ordered = true;
    for (const handle<stream_state>& user : users_) {
      try {
        home_->wait(user->record());
      } catch (...) {
        ordered = false;
      }
    }
    // Without an order the memory would be used by two.
    if (!ordered) ordered = synchronize_device();
    if (ordered && cuda_arena_of(index).prepared.load(std::memory_order_acquire) == 1) {
      note_cuda(cudaFreeAsync(data(), cuda_state(home_).get()));
    } else if (ordered) {
      note_cuda(cudaFree(data()));
    }
    if (before != index) note_cuda(cudaSetDevice(before));
  }

  handle<stream_state> home_;
  mutex guard_;
  std::vector<handle<stream_state>> users_;  // guarded
};

inline cudaError_t try_allocate(void** data, std::size_t bytes, bool pooled, cudaStream_t stream) {
  return pooled ? cudaMallocAsync(data, bytes, stream) : cudaMalloc(data, bytes);
}

inline handle<storage> allocate_cuda(std::size_t bytes, device where) {
  const int index = present_index(where, "allocate");
  const cuda_device_scope scope(index, "allocate");
  handle<stream_state> home = state_of(current_stream(where));
  void* data = nullptr;
  if (bytes > 0) {
    const bool pooled = prepare_pool(index, "allocate");
    const cudaStream_t stream = cuda_state(home).get();
    cudaError_t code = try_allocate(&data, bytes, pooled, stream);
    if (code == cudaErrorMemoryAllocation) {
      // what other streams have freed may be waiting for their work, or be of the wrong size
      static_cast<void>(cudaGetLastError());
      if (!synchronize_device()) check_cuda(cudaStreamSynchronize(stream), "allocate");
      cudaMemPool_t pool = nullptr;
      if (pooled && cudaDeviceGetDefaultMemPool(&pool, index) == cudaSuccess) {
        note_cuda(cudaMemPoolTrimTo(pool, 0));
      }
      code = try_allocate(&data, bytes, pooled, stream);
    }
    if (code == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      raise_cuda_memory(bytes, where);
    }
    check_cuda(code, "allocate");
  }
  cuda_arena& arena = cuda_arena_of(index);
  const std::int64_t live =
      arena.live.fetch_add(static_cast<std::int64_t>(bytes), std::memory_order_relaxed) +
      static_cast<std::int64_t>(bytes);
  std::int64_t peak = arena.peak.load(std::memory_order_relaxed);
  while (live > peak && !arena.peak.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
  }
  try {
    return handle<storage>::adopt(
        new cuda_storage(static_cast<std::byte*>(data), bytes, where, std::move(home)));
  } catch (...) {
    arena.live.fetch_sub(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
    if (data != nullptr) note_cuda(cudaFree(data));
    throw;
  }
}

}  // namespace heddle::inline v0::detail
