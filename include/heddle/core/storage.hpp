// SPDX-License-Identifier: BSD-3-Clause
// `storage`: the counted block of memory that tensors and views share.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>

#include <heddle/core/backend.hpp>

namespace heddle::inline v0 {

/// A counted block of memory on one device. Use through `handle<storage>`; copies of tensors and
/// views share one.
class storage : public counted {
 public:
  /// `bytes` uninitialised bytes, aligned to 64; on `meta()` none at all, and `data()` is null.
  /// Throws out_of_memory, and device_error for a device heddle is not built for.
  [[nodiscard]] static handle<storage> allocate(std::size_t bytes, device where = cpu());

  /// Memory of the user's, whose `deleter(context)` is called when the last handle is gone (null:
  /// nothing is). The deleter must not throw. Any thread may run it.
  [[nodiscard]] static handle<storage> wrap(void* data, std::size_t bytes, device where = cpu(),
                                            void (*deleter)(void* context) = nullptr,
                                            void* context = nullptr);

  /// The first byte, an address of the device; null on meta().
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  /// As asked for, on meta() too; the block may be larger.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  /// Where the bytes are.
  [[nodiscard]] heddle::device device() const noexcept { return device_; }

  /// Says that work on a stream uses the memory: it goes back only after what is there by then.
  /// heddle says so of its own work. Streams of host devices keep handles instead.
  virtual void record_stream(detail::stream_state& user) { user.keep(*this); }

  /// How often the content was written since it was made; who saved it compares.
  [[nodiscard]] std::uint32_t version() const noexcept {
    return version_.load(std::memory_order_relaxed);
  }
  /// Called by whoever writes, where the writing statement stands in program order.
  void bump_version() noexcept {
    version_.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

 protected:
  storage(std::byte* data, std::size_t bytes, heddle::device where) noexcept
      : data_(data), bytes_(bytes), device_(where) {}
  ~storage() override = default;
  void dispose() noexcept override;

  static constexpr std::size_t header_bytes = 64;
  // Above this size data are a block of their own: a power of two stays one.
  static constexpr std::size_t joined_bytes = std::size_t{32} << 10;

 private:
  std::byte* data_;
  std::size_t bytes_;
  std::atomic<std::uint32_t> version_{0};
  heddle::device device_;
};

namespace detail {

class wrapped_storage final : public storage, public pooled {
 public:
  wrapped_storage(std::byte* data, std::size_t bytes, heddle::device where, void (*deleter)(void*),
                  void* context) noexcept
      : storage(data, bytes, where), deleter_(deleter), context_(context) {}
  ~wrapped_storage() override = default;

 private:
  void dispose() noexcept override {
    if (deleter_ != nullptr) deleter_(context_);
    delete this;
  }

  void (*deleter_)(void*);
  void* context_;
};

}  // namespace detail

inline handle<storage> storage::allocate(std::size_t bytes, heddle::device where) {
  static_assert(sizeof(storage) <= header_bytes, "a storage fills one cache line");
  if (where.is_meta()) {
    return handle<storage>::adopt(::new (detail::allocate_block(header_bytes, -1))
                                      storage(nullptr, bytes, where));
  }
  if (where.is_cuda()) return detail::cuda_backend(where, "allocate").allocate(bytes, where);
  const int index = where.index;
  std::byte* block = nullptr;
  std::byte* data = nullptr;
  if (bytes <= joined_bytes) {
    block = static_cast<std::byte*>(detail::allocate_block(header_bytes + bytes, index));
    data = block + header_bytes;
  } else {
    block = static_cast<std::byte*>(detail::allocate_block(header_bytes, index));
    try {
      data = static_cast<std::byte*>(detail::allocate_block(bytes, index));
    } catch (...) {
      detail::release_block(block, header_bytes, index);
      throw;
    }
  }
  detail::count_live(detail::this_thread_caches.of[index + 1], index,
                     static_cast<std::int64_t>(bytes));
  return handle<storage>::adopt(::new (block) storage(data, bytes, where));
}

inline handle<storage> storage::wrap(void* data, std::size_t bytes, heddle::device where,
                                     void (*deleter)(void*), void* context) {
  return handle<storage>::adopt(
      new detail::wrapped_storage(static_cast<std::byte*>(data), bytes, where, deleter, context));
}

inline void storage::dispose() noexcept {
  const heddle::device where = device_;
  const std::size_t bytes = bytes_;
  std::byte* data = data_;
  this->~storage();
  if (where.is_meta()) {
    detail::release_block(this, header_bytes, -1);
    return;
  }
  const int index = where.index;
  if (bytes <= joined_bytes) {
    detail::release_block(this, header_bytes + bytes, index);
  } else {
    detail::release_block(data, bytes, index);
    detail::release_block(this, header_bytes, index);
  }
  detail::count_live(detail::this_thread_caches.of[index + 1], index,
                     -static_cast<std::int64_t>(bytes));
}

/// The bytes a device holds. On the host, allocations of other threads may count up to 64 KiB a
/// thread late; the calling thread's own figures are exact. Drops what other threads returned to
/// this one first. `meta()` holds nothing.
inline memory_statistics memory_stats(device which) {
  if (which.is_meta()) return {};
  if (which.is_cuda()) return detail::cuda_backend(which, "memory_stats").memory(which);
  const int index = which.index;
  collect_references();
  if (detail::device_cache* cache = detail::this_thread_caches.of[index + 1]) {
    detail::flush_live(*cache);
  }
  detail::arena& home = detail::arena_of(index);
  detail::lock hold(home.guard);
  memory_statistics result;
  result.live = home.live.load(std::memory_order_relaxed);
  result.cached = home.cached;
  for (const detail::device_cache* cache = home.caches; cache != nullptr; cache = cache->next) {
    result.live += cache->live.load(std::memory_order_relaxed);
    result.cached += cache->cached.load(std::memory_order_relaxed);
  }
  const std::int64_t peak = home.peak.load(std::memory_order_relaxed);
  result.peak = peak > result.live ? peak : result.live;
  return result;
}

/// Starts `memory_stats(which).peak` again at what is live now.
inline void reset_peak_memory(device which) {
  if (which.is_meta()) return;
  if (which.is_cuda()) return detail::cuda_backend(which, "reset_peak_memory").reset_peak(which);
  const std::int64_t live = memory_stats(which).live;
  detail::arena_of(which.index).peak.store(live, std::memory_order_relaxed);
}

/// `memory_stats` in words: "cuda:0: 65536 bytes live, 0 cached, 131072 at most".
inline std::string memory_report(device which) {
  const memory_statistics now = memory_stats(which);
  return to_string(which) + ": " + std::to_string(now.live) + " bytes live, " +
         std::to_string(now.cached) + " cached, " + std::to_string(now.peak) + " at most";
}

/// Gives waiting blocks back to the system: all of the arenas' and of the CUDA devices', and of
/// small ones the calling thread's.
inline void empty_cache() {
  collect_references();
  for (int index = -1; index < max_host_devices; ++index) detail::release_cached(index);
  for (int index = 0; index < cuda_device_count(); ++index) {
    detail::cuda_backend(cuda(index), "empty_cache").empty_cache(cuda(index));
  }
}

}  // namespace heddle::inline v0
