// SPDX-License-Identifier: BSD-3-Clause
// The caching allocator of the host devices, and its figures.
//
// A block has a size class: multiples of 64 bytes to 512, cut from slabs (slabs.hpp), then four to
// each doubling, of the system's. Free blocks of up to 64 KiB wait in lists of the thread that
// freed them, without a lock; those beyond a limit, and larger blocks, wait in the lists of their
// device's arena. Blocks above 2 GiB are never kept.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <heddle/core/device.hpp>
#include <heddle/core/error.hpp>
#include <heddle/core/reference.hpp>
#include <heddle/core/slabs.hpp>
#include <heddle/core/threads.hpp>

namespace heddle::inline v0 {

/// What a device's memory holds, in bytes.
struct memory_statistics {
  std::int64_t live = 0;    ///< data of storages that exist, as asked for
  std::int64_t cached = 0;  ///< blocks that wait to be used again
  std::int64_t peak = 0;    ///< largest `live` since the last `reset_peak_memory`
};

namespace detail {

inline constexpr int small_classes = 36;  // to 64 KiB
inline constexpr int block_classes = 96;  // to 2 GiB

constexpr int class_of_block(std::size_t bytes) noexcept {
  if (bytes <= 512) return bytes == 0 ? 0 : static_cast<int>((bytes - 1) / 64);
  const std::size_t last = bytes - 1;
  const int exponent = 63 - __builtin_clzll(last);
  return 8 + (exponent - 9) * 4 + static_cast<int>((last >> (exponent - 2)) & 3);
}

constexpr std::size_t bytes_of_class(int block_class) noexcept {
  if (block_class < 8) return static_cast<std::size_t>(block_class + 1) * 64;
  return static_cast<std::size_t>((block_class & 3) + 5) << ((block_class - 8) / 4 + 7);
}

// The same for small classes, and how many blocks a thread keeps: at most 256 KiB of a class, and
// at least four blocks. A table: each allocation asks.
struct small_class {
  std::uint32_t bytes;
  std::uint32_t kept;
};
struct small_class_table {
  small_class of[small_classes];
};
inline constexpr small_class_table small_class_info = [] {
  small_class_table table{};
  for (int c = 0; c < small_classes; ++c) {
    const std::size_t bytes = bytes_of_class(c);
    const std::size_t blocks = (std::size_t{256} << 10) / bytes;
    table.of[c] = {static_cast<std::uint32_t>(bytes),
                   static_cast<std::uint32_t>(blocks > 256 ? 256 : blocks)};
  }
  return table;
}();
constexpr int kept_of_class(int block_class) noexcept {
  return static_cast<int>(small_class_info.of[block_class].kept);
}

/// Whether blocks of a class are cut from slabs.
inline bool is_cut(int block_class) noexcept {
  return block_class < slab_store::classes && slab_store::in_use();
}

// Null where the system has no memory left.
inline void* system_allocate(std::size_t bytes) noexcept {
  if (bytes < huge_page) return std::aligned_alloc(block_alignment, bytes);
  void* block = std::aligned_alloc(huge_page, (bytes + huge_page - 1) / huge_page * huge_page);
#if defined(MADV_HUGEPAGE)
  if (block != nullptr) madvise(block, bytes, MADV_HUGEPAGE);
#endif
  return block;
}

inline void system_release(void* block, std::size_t bytes) noexcept {
  open_block(block, bytes);
  std::free(block);
}

struct arena;

// What one thread keeps of one device. Only that thread writes; the atomics are read by others.
struct device_cache {
  arena* home = nullptr;
  block_list lists[small_classes];
  std::atomic<std::int64_t> live{0};    // change since it was last added to the arena's
  std::int64_t highest = 0;             // largest `live` since then
  std::atomic<std::int64_t> cached{0};  // bytes in `lists`
  device_cache* next = nullptr;         // guarded by the arena
};

struct arena {
  mutex guard{mutex::zeros{}};
  block_list lists[block_classes];  // guarded
  slab_store slabs;                 // guarded
  std::int64_t cached = 0;          // guarded: bytes in `lists`
  device_cache* caches = nullptr;   // guarded
  std::atomic<std::int64_t> live{0};
  std::atomic<std::int64_t> peak{0};

  void add_live(std::int64_t change, std::int64_t highest) noexcept {
    const std::int64_t before = live.fetch_add(change, std::memory_order_relaxed);
    std::int64_t seen = peak.load(std::memory_order_relaxed);
    while (seen < before + highest &&
           !peak.compare_exchange_weak(seen, before + highest, std::memory_order_relaxed)) {
    }
  }
};

// Arenas outlive everything: storages may be dropped after main returns.
inline arena& arena_of(int index) noexcept {
  static constinit arena arenas[1 + max_host_devices];
  return arenas[index + 1];
}

struct thread_caches {
  device_cache* of[1 + max_host_devices] = {};
  bool ended = false;
};
inline constinit thread_local thread_caches this_thread_caches;

inline void add_cached(device_cache& cache, std::int64_t bytes) noexcept {
  cache.cached.store(cache.cached.load(std::memory_order_relaxed) + bytes,
                     std::memory_order_relaxed);
}

inline void flush_live(device_cache& cache) noexcept {
  cache.home->add_live(cache.live.load(std::memory_order_relaxed), cache.highest);
  cache.live.store(0, std::memory_order_relaxed);
  cache.highest = 0;
}

inline void count_live(device_cache* cache, int index, std::int64_t change) noexcept {
  // Gathered per thread: so much may another thread's figures be late.
  constexpr std::int64_t gathered = std::int64_t{64} << 10;
  if (cache == nullptr) {
    arena_of(index).add_live(change, change > 0 ? change : 0);
    return;
  }
  const std::int64_t live = cache->live.load(std::memory_order_relaxed) + change;
  cache->live.store(live, std::memory_order_relaxed);
  if (live > cache->highest) cache->highest = live;
  if (live > gathered || live < -gathered) flush_live(*cache);
}

// Moves blocks of a class from the thread to the arena until `kept` are left. The arena is locked.
inline void move_to_arena(device_cache& cache, int block_class, int kept) noexcept {
  const std::size_t bytes = bytes_of_class(block_class);
  std::int64_t moved = 0;
  while (cache.lists[block_class].count > kept) {
    cache.home->lists[block_class].push(cache.lists[block_class].pop(), bytes);
    moved += static_cast<std::int64_t>(bytes);
  }
  cache.home->cached += moved;
  add_cached(cache, -moved);
}

struct caches_holder {
  bool engaged = false;
  ~caches_holder() {
    this_thread_caches.ended = true;
    for (device_cache*& cache : this_thread_caches.of) {
      if (cache == nullptr) continue;
      flush_live(*cache);
      {
        lock hold(cache->home->guard);
        for (int c = 0; c < small_classes; ++c) move_to_arena(*cache, c, 0);
        device_cache** link = &cache->home->caches;
        while (*link != cache) link = &(*link)->next;
        *link = cache->next;
      }
      delete cache;
      cache = nullptr;
    }
  }
};

HEDDLE_NOINLINE inline device_cache* make_cache(int index) noexcept {
  if (this_thread_caches.ended) return nullptr;
  static thread_local caches_holder holder;
  holder.engaged = true;
  device_cache* cache = new (std::nothrow) device_cache;
  if (cache == nullptr) return nullptr;
  cache->home = &arena_of(index);
  lock hold(cache->home->guard);
  cache->next = cache->home->caches;
  cache->home->caches = cache;
  return this_thread_caches.of[index + 1] = cache;
}

// Null in a thread past its thread-local destructors.
inline device_cache* cache_of(int index) noexcept {
  device_cache* cache = this_thread_caches.of[index + 1];
  return cache != nullptr ? cache : make_cache(index);
}

inline void release_lists(block_list* lists, int count) noexcept {
  for (int c = 0; c < count; ++c) {
    while (void* block = lists[c].pop()) system_release(block, bytes_of_class(c));
  }
}

// Gives back to the system what the arena and the calling thread keep of a device.
HEDDLE_NOINLINE inline void release_cached(int index) noexcept {
  device_cache* cache = this_thread_caches.of[index + 1];
  arena& home = arena_of(index);
  block_list taken[block_classes];
  {
    lock hold(home.guard);
    for (int c = 0; cache != nullptr && c < small_classes; ++c) move_to_arena(*cache, c, 0);
    home.cached = 0;
    for (int c = 0; c < block_classes; ++c) {
      if (is_cut(c)) {
        home.slabs.release(home.lists[c], c);
        home.cached += home.lists[c].count * static_cast<std::int64_t>(bytes_of_class(c));
      } else {
        taken[c] = home.lists[c];
        home.lists[c] = {};
      }
    }
  }
  release_lists(taken, block_classes);
}

// A block that waits in the arena, or null. Half of what the thread may keep comes along.
inline void* take_from_arena(arena& home, int block_class, device_cache* cache) noexcept {
  const std::size_t rounded = bytes_of_class(block_class);
  lock hold(home.guard);
  block_list& list = home.lists[block_class];
  void* const block = list.pop();
  if (block == nullptr) return nullptr;
  std::int64_t along = 0;
  if (cache != nullptr && block_class < small_classes) {
    for (int n = kept_of_class(block_class) / 2; n > 0 && list.count > 0; --n) {
      cache->lists[block_class].push(list.pop(), rounded);
      along += static_cast<std::int64_t>(rounded);
    }
    add_cached(*cache, along);
  }
  home.cached -= static_cast<std::int64_t>(rounded) + along;
  open_block(block, rounded);
  return block;
}

// A new block from a slab, or null. Some more come along, the one that lies next on top.
inline void* cut_blocks(arena& home, int block_class, device_cache* cache) noexcept {
  constexpr int most = 32;
  lock hold(home.guard);
  void* const block = home.slabs.cut(block_class);
  if (block == nullptr || cache == nullptr) return block;
  const int left = home.slabs.left(block_class);
  const int count = left < most ? left : most;
  void* cut[most];
  for (int i = 0; i < count; ++i) cut[i] = home.slabs.cut(block_class);
  const std::size_t bytes = bytes_of_class(block_class);
  for (int i = count; i > 0; --i) cache->lists[block_class].push(cut[i - 1], bytes);
  add_cached(*cache, count * static_cast<std::int64_t>(bytes));
  return block;
}

// No block waits in the thread: asks the arena, then the system.
HEDDLE_NOINLINE inline void* allocate_slowly(std::size_t bytes, int index, device_cache* cache) {
  arena& home = arena_of(index);
  const int block_class = class_of_block(bytes);
  const bool kept = block_class < block_classes;
  const std::size_t rounded =
      kept ? bytes_of_class(block_class)
           : (bytes > SIZE_MAX - huge_page ? bytes
                                           : (bytes + huge_page - 1) / huge_page * huge_page);
  if (kept) {
    if (void* block = take_from_arena(home, block_class, cache)) return block;
  }
  // More than half of the address space is refused here: malloc would answer so, sanitizers abort.
  const bool possible = bytes <= (std::size_t{1} << 46);
  const auto get = [&] {
    return is_cut(block_class) ? cut_blocks(home, block_class, cache) : system_allocate(rounded);
  };
  void* block = possible ? get() : nullptr;
  if (block == nullptr && possible) {
    for (int i = -1; i < max_host_devices; ++i) release_cached(i);
    block = get();
  }
  if (block == nullptr) {
    raise<out_of_memory>("heddle::allocate: the system has no memory left: ", bytes,
                         " bytes were asked for on ",
                         device{device_kind::host, static_cast<std::int16_t>(index)},
                         "; free tensors, or use smaller ones");
  }
  return block;
}

/// A block of at least `bytes`, aligned to 64, for the host device `index` (-1: `cpu()`).
/// Throws out_of_memory. Not counted as live: storages are.
inline void* allocate_block(std::size_t bytes, int index) {
  device_cache* cache = cache_of(index);
  const int block_class = class_of_block(bytes);
  if (cache != nullptr && block_class < small_classes) {
    if (void* block = cache->lists[block_class].pop()) {
      const std::size_t rounded = small_class_info.of[block_class].bytes;
      add_cached(*cache, -static_cast<std::int64_t>(rounded));
      open_block(block, rounded);
      return block;
    }
  }
  return allocate_slowly(bytes, index, cache);
}

HEDDLE_NOINLINE inline void release_slowly(void* block, int block_class, int index,
                                           device_cache* cache) noexcept {
  arena& home = arena_of(index);
  if (block_class >= block_classes) {
    std::free(block);
    return;
  }
  lock hold(home.guard);
  if (cache != nullptr && block_class < small_classes) {
    move_to_arena(*cache, block_class, kept_of_class(block_class) / 2);
  } else {
    home.lists[block_class].push(block, bytes_of_class(block_class));
    home.cached += static_cast<std::int64_t>(bytes_of_class(block_class));
  }
}

/// Takes back a block of `allocate_block(bytes, index)`, in any thread.
inline void release_block(void* block, std::size_t bytes, int index) noexcept {
  device_cache* cache = cache_of(index);
  const int block_class = class_of_block(bytes);
  if (cache == nullptr || block_class >= small_classes) {
    release_slowly(block, block_class, index, cache);
    return;
  }
  const std::size_t rounded = small_class_info.of[block_class].bytes;
  block_list& list = cache->lists[block_class];
  list.push(block, rounded);
  add_cached(*cache, static_cast<std::int64_t>(rounded));
  if (list.count > kept_of_class(block_class)) [[unlikely]] {
    release_slowly(nullptr, block_class, index, cache);
  }
}

}  // namespace detail

/// Gives `new` and `delete` of a class to the block pool: a base beside `counted`.
struct pooled {
  static void* operator new(std::size_t bytes) { return detail::allocate_block(bytes, -1); }
  static void* operator new(std::size_t, void* place) noexcept { return place; }
  static void operator delete(void* block, std::size_t bytes) noexcept {
    detail::release_block(block, bytes, -1);
  }
  static void operator delete(void*, void*) noexcept {}
};

}  // namespace heddle::inline v0
