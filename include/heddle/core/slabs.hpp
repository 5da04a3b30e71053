// SPDX-License-Identifier: BSD-3-Clause
// Where the smallest blocks of the host's memory come from: cut side by side from slabs, as
// malloc would put 64 to 128 bytes between blocks that are aligned to a cache line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <sys/mman.h>

#include <heddle/core/config.hpp>

// Present where the program runs under AddressSanitizer or LeakSanitizer, whichever unit asked for
// it.
extern "C" {
__attribute__((weak)) void __asan_poison_memory_region(void const volatile*, std::size_t);
__attribute__((weak)) void __asan_unpoison_memory_region(void const volatile*, std::size_t);
__attribute__((weak)) void __lsan_enable();
}

namespace heddle::inline v0::detail {

/// Alignment of all blocks: a cache line, and an AVX-512 register.
inline constexpr std::size_t block_alignment = 64;
inline constexpr std::size_t huge_page = std::size_t{2} << 20;

struct free_block {
  free_block* next;
};

// Under AddressSanitizer a waiting block may not be touched, apart from its link.
inline void close_block(void* block, std::size_t from, std::size_t to) noexcept {
  if (&__asan_poison_memory_region != nullptr) {
    __asan_poison_memory_region(static_cast<std::byte*>(block) + from, to - from);
  }
}
inline void open_block(void* block, std::size_t bytes) noexcept {
  if (&__asan_unpoison_memory_region != nullptr) __asan_unpoison_memory_region(block, bytes);
}

struct block_list {
  free_block* head = nullptr;
  int count = 0;

  void push(void* block, std::size_t bytes) noexcept {
    head = ::new (block) free_block{head};
    ++count;
    close_block(block, sizeof(free_block), bytes);
  }
  void* pop() noexcept {
    free_block* block = head;
    if (block != nullptr) {
      head = block->next;
      --count;
    }
    return block;
  }
};

/// The head of a slab, which is 64 KiB, aligned to as many: a block's address says which slab is
/// its own. Blocks of one size lie behind the head.
struct slab {
  static constexpr std::size_t bytes = std::size_t{64} << 10;

  slab* next = nullptr;  // of those that hold no blocks
  // While `release` looks at the blocks that wait: how many are in this slab, and how many of them
  // it has taken up.
  std::int32_t waiting = 0;
  std::int32_t seen = 0;

  static slab* of(void* block) noexcept {
    return reinterpret_cast<slab*>(reinterpret_cast<std::uintptr_t>(block) & ~(bytes - 1));
  }
  std::byte* first_block() noexcept { return reinterpret_cast<std::byte*>(this) + block_alignment; }
};

/// The slabs of a device, guarded by its arena. Of all zeros: no slab yet.
class slab_store {
 public:
  /// Blocks up to 512 bytes: multiples of 64, by class.
  static constexpr int classes = 8;
  static constexpr std::size_t bytes_of(int block_class) noexcept {
    return static_cast<std::size_t>(block_class + 1) * block_alignment;
  }
  /// Not under a sanitizer: each block is then one of malloc's, between red zones, and what it
  /// points to is found.
  static bool in_use() noexcept {
    return &__asan_poison_memory_region == nullptr && &__lsan_enable == nullptr;
  }

  /// A block that was never used since its slab was taken; null where the system has no memory
  /// left.
  void* cut(int block_class) noexcept {
    rest& from = rests_[block_class];
    const std::size_t bytes = bytes_of(block_class);
    if (from.begin == nullptr || from.begin + bytes > from.end) {
      slab* const taken = take();
      if (taken == nullptr) return nullptr;
      from = {taken->first_block(), reinterpret_cast<std::byte*>(taken) + slab::bytes};
    }
    void* const block = from.begin;
    from.begin += bytes;
    return block;
  }
  /// How many blocks can be cut before the next slab is taken.
  [[nodiscard]] int left(int block_class) const noexcept {
    const rest& from = rests_[block_class];
    return static_cast<int>(static_cast<std::size_t>(from.end - from.begin) /
                            bytes_of(block_class));
  }

  /// Of blocks of one class that wait, gives slabs of which all blocks do back to the system. The
  /// others stay in the list.
  void release(block_list& list, int block_class) noexcept {
    for (free_block* block = list.head; block != nullptr; block = block->next) {
      ++slab::of(block)->waiting;
    }
    free_block* block = list.head;
    list = {};
    while (block != nullptr) {
      free_block* const next = block->next;
      slab* const owner = slab::of(block);
      const bool whole = owner->waiting == blocks_cut(owner, block_class);
      if (!whole) list.push(block, bytes_of(block_class));
      if (++owner->seen == owner->waiting) {
        owner->seen = owner->waiting = 0;
        if (whole) give_back(owner, block_class);
      }
      block = next;
    }
  }

 private:
  struct rest {
    std::byte* begin;
    std::byte* end;
  };

  slab* take() noexcept {
    slab* taken = waiting_;
    if (taken != nullptr) {
      waiting_ = taken->next;
    } else {
      if (region_.begin == region_.end && !take_region()) return nullptr;
      taken = reinterpret_cast<slab*>(region_.begin);
      region_.begin += slab::bytes;
    }
    return ::new (static_cast<void*>(taken)) slab;
  }

  // As large as a huge page; all but the first ask for one.
  bool take_region() noexcept {
    const auto map = [](std::size_t bytes) {
      void* const place =
          mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      return place == MAP_FAILED ? nullptr : static_cast<std::byte*>(place);
    };
    std::byte* const place = map(2 * huge_page);
    if (place == nullptr) return false;
    const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(place);
    const std::size_t before = (huge_page - address % huge_page) % huge_page;
    std::byte* const begin = place + before;
    if (before != 0) munmap(place, before);
    munmap(begin + huge_page, huge_page - before);
#if defined(MADV_HUGEPAGE)
    if (region_.begin != nullptr) madvise(begin, huge_page, MADV_HUGEPAGE);
#endif
    region_ = {begin, begin + huge_page};
    return true;
  }

  [[nodiscard]] std::int32_t blocks_cut(slab* s, int block_class) const noexcept {
    const rest& from = rests_[block_class];
    const bool current = from.begin != nullptr && slab::of(from.begin - 1) == s;
    const std::byte* const end =
        current ? from.begin : reinterpret_cast<std::byte*>(s) + slab::bytes;
    return static_cast<std::int32_t>(static_cast<std::size_t>(end - s->first_block()) /
                                     bytes_of(block_class));
  }

  // The addresses stay the store's; their pages go.
  void give_back(slab* s, int block_class) noexcept {
    rest& from = rests_[block_class];
    if (from.begin != nullptr && slab::of(from.begin - 1) == s) from = {};
    madvise(s, slab::bytes, MADV_DONTNEED);
    s->next = waiting_;
    waiting_ = s;
  }

  rest rests_[classes] = {};  // of the slabs that blocks are being cut from
  rest region_ = {};
  slab* waiting_ = nullptr;
};

}  // namespace heddle::inline v0::detail
