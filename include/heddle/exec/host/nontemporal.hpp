// SPDX-License-Identifier: BSD-3-Clause
// Outputs larger than the last-level cache are written past it: a store that goes through the cache
// first reads the line that it is about to overwrite.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <unistd.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace heddle::inline v0::exec::host {

namespace detail {

// A virtual machine may name a cache that it shares with others: 32 MiB at most.
inline std::int64_t last_level_cache_bytes() noexcept {
  constexpr std::int64_t most = std::int64_t{32} << 20;
#if defined(_SC_LEVEL3_CACHE_SIZE)
  const long known = ::sysconf(_SC_LEVEL3_CACHE_SIZE);
  if (known > 0 && known < most) return known;
#endif
  return most;
}

}  // namespace detail

/// Outputs of this many bytes and more are written past the caches. Tests lower it.
inline std::atomic<std::int64_t>& nontemporal_bytes() noexcept {
  static std::atomic<std::int64_t> bytes{detail::last_level_cache_bytes()};
  return bytes;
}

namespace detail {

#if defined(__SSE2__)
inline constexpr bool has_nontemporal_stores = true;
/// Copies to memory that is not read soon. Call `end_nontemporal` before other threads may read it.
inline void copy_nontemporal(std::byte* to, const std::byte* from, std::int64_t bytes) {
  const auto ahead = static_cast<std::int64_t>(-reinterpret_cast<std::uintptr_t>(to) & 15);
  std::int64_t i = ahead < bytes ? ahead : bytes;
  std::memcpy(to, from, static_cast<std::size_t>(i));
  for (; i + 64 <= bytes; i += 64) {
    __m128i line[4];
    std::memcpy(line, from + i, 64);
    for (int k = 0; k < 4; ++k) _mm_stream_si128(reinterpret_cast<__m128i*>(to + i) + k, line[k]);
  }
  std::memcpy(to + i, from + i, static_cast<std::size_t>(bytes - i));
}
inline void end_nontemporal() { _mm_sfence(); }
#else
inline constexpr bool has_nontemporal_stores = false;
inline void copy_nontemporal(std::byte* to, const std::byte* from, std::int64_t bytes) {
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
}
inline void end_nontemporal() {}
#endif

/// Whether an output of so many bytes is written that way.
inline bool is_written_past_caches(std::int64_t bytes) {
  return has_nontemporal_stores && bytes >= nontemporal_bytes().load(std::memory_order_relaxed);
}

}  // namespace detail

}  // namespace heddle::inline v0::exec::host
