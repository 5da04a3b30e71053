// SPDX-License-Identifier: BSD-3-Clause
// Counts heap allocations of the whole process, operator new's included, between two points.
// Include in one unit of a program: it stands in front of the C library's malloc.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace bench {
inline bool counting_allocations = false;
inline std::int64_t allocations = 0;  // of the thread that counts, and near enough of others

inline void count_allocation() {
  if (counting_allocations) ++allocations;
}

template <class Work>
std::int64_t allocations_of(Work work) {
  allocations = 0;
  counting_allocations = true;
  work();
  counting_allocations = false;
  return allocations;
}
}  // namespace bench

#if defined(__GLIBC__)
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) noexcept {
  bench::count_allocation();
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  bench::count_allocation();
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) noexcept {
  bench::count_allocation();
  return __libc_realloc(old, size);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  bench::count_allocation();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  bench::count_allocation();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** result, std::size_t alignment, std::size_t size) noexcept {
  bench::count_allocation();
  *result = __libc_memalign(alignment, size);
  return *result == nullptr ? ENOMEM : 0;
}
}
#endif
