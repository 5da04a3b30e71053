// SPDX-License-Identifier: BSD-3-Clause
// The machine's limits, measured in the run that is held against them: streaming bandwidth and the
// rate of fused multiply-adds.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <sys/mman.h>

#include "race.hpp"

namespace bench {

namespace detail {

#if defined(__x86_64__)
__attribute__((target("avx512f"), noinline)) inline void triad_avx512(const float* b,
                                                                      const float* c, float* a,
                                                                      std::int64_t n) {
  const __m512 s = _mm512_set1_ps(3.0f);
  for (std::int64_t i = 0; i < n; i += 16) {
    _mm512_stream_ps(a + i, _mm512_fmadd_ps(s, _mm512_load_ps(c + i), _mm512_load_ps(b + i)));
  }
}
__attribute__((target("avx2,fma"), noinline)) inline void triad_avx2(const float* b, const float* c,
                                                                     float* a, std::int64_t n) {
  const __m256 s = _mm256_set1_ps(3.0f);
  for (std::int64_t i = 0; i < n; i += 8) {
    _mm256_stream_ps(a + i, _mm256_fmadd_ps(s, _mm256_load_ps(c + i), _mm256_load_ps(b + i)));
  }
}
// 16 independent chains: twice the latency of 4 cycles times two ports.
__attribute__((target("avx512f"), noinline)) inline float fma_avx512(std::int64_t times) {
  __m512 sums[16];
  for (auto& s : sums) s = _mm512_set1_ps(1.0f);
  const __m512 x = _mm512_set1_ps(0.999f);
  const __m512 y = _mm512_set1_ps(0.001f);
  for (std::int64_t i = 0; i < times; ++i) {
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) sums[k] = _mm512_fmadd_ps(sums[k], x, y);
  }
  __m512 all = sums[0];
  for (int k = 1; k < 16; ++k) all = _mm512_add_ps(all, sums[k]);
  return _mm512_cvtss_f32(all);
}
__attribute__((target("avx2,fma"), noinline)) inline float fma_avx2(std::int64_t times) {
  __m256 sums[12];
  for (auto& s : sums) s = _mm256_set1_ps(1.0f);
  const __m256 x = _mm256_set1_ps(0.999f);
  const __m256 y = _mm256_set1_ps(0.001f);
  for (std::int64_t i = 0; i < times; ++i) {
#pragma GCC unroll 12
    for (int k = 0; k < 12; ++k) sums[k] = _mm256_fmadd_ps(sums[k], x, y);
  }
  __m256 all = sums[0];
  for (int k = 1; k < 12; ++k) all = _mm256_add_ps(all, sums[k]);
  return _mm256_cvtss_f32(all);
}
#endif

inline void triad(const float* b, const float* c, float* a, std::int64_t n) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return triad_avx512(b, c, a, n);
  if (__builtin_cpu_supports("avx2")) return triad_avx2(b, c, a, n);
#endif
  for (std::int64_t i = 0; i < n; ++i) a[i] = b[i] + 3.0f * c[i];
}

/// Multiply-adds of one call, lanes counted.
inline double fma_call(std::int64_t times) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    keep(fma_avx512(times));
    return static_cast<double>(times) * 256;
  }
  if (__builtin_cpu_supports("avx2")) {
    keep(fma_avx2(times));
    return static_cast<double>(times) * 96;
  }
#endif
  float sum = 1;
  for (std::int64_t i = 0; i < times; ++i) sum = sum * 0.999f + 0.001f;
  keep(sum);
  return static_cast<double>(times);
}

// Three arrays of `size` floats, in huge pages. One set serves all thread counts.
struct triad_memory {
  static constexpr std::int64_t block = 4096;
  static constexpr std::int64_t size = (std::int64_t{768} << 20) / 12 / block * block;
  float *a = make(), *b = make(), *c = make();

  triad_memory() = default;
  triad_memory(const triad_memory&) = delete;
  triad_memory& operator=(const triad_memory&) = delete;
  ~triad_memory() {
    for (float* each : {a, b, c}) std::free(each);
  }

  static std::shared_ptr<triad_memory> get() {
    static std::weak_ptr<triad_memory> last;
    std::shared_ptr<triad_memory> memory = last.lock();
    if (!memory) last = memory = std::make_shared<triad_memory>();
    return memory;
  }

 private:
  static float* make() {
    constexpr std::size_t page = std::size_t{2} << 20;
    constexpr std::size_t bytes = (static_cast<std::size_t>(size) * 4 + page - 1) / page * page;
    void* memory = std::aligned_alloc(page, bytes);
    if (memory == nullptr) throw std::bad_alloc();
    madvise(memory, bytes, MADV_HUGEPAGE);
    auto* values = static_cast<float*>(memory);
    for (std::int64_t i = 0; i < size; ++i) values[i] = 1;
    return values;
  }
};

}  // namespace detail

/// The least time in which `bytes` can be moved: a triad with non-temporal stores over 768 MiB.
inline contender stream_limit(double bytes, int threads) {
  using detail::triad_memory;
  const auto memory = std::make_shared<std::shared_ptr<triad_memory>>();
  contender c = enter("limit", "triad", threads, [threads, memory](auto see) {
    if (!*memory) *memory = triad_memory::get();  // only for who asks
    triad_memory* const m = memory->get();
    constexpr std::int64_t blocks = triad_memory::size / triad_memory::block;
    heddle::parallel_for(0, blocks, blocks / threads, [&](std::int64_t first, std::int64_t last) {
      const std::int64_t at = first * triad_memory::block;
      detail::triad(m->b + at, m->c + at, m->a + at, (last - first) * triad_memory::block);
    });
    see(m->a, 1);
  });
  c.share = bytes / (static_cast<double>(triad_memory::size) * 12);
  c.values = nullptr;
  return c;
}

/// The least time for so many fused multiply-adds of floats.
inline contender fma_limit(double operations, int threads) {
  constexpr std::int64_t times = 1 << 14;
  contender c = enter("limit", "multiply-adds", threads, [threads](auto see) {
    heddle::parallel_for(0, threads, 1,
                         [](std::int64_t, std::int64_t) { keep(detail::fma_call(times)); });
    see(0);
  });
  c.share = operations / (detail::fma_call(times) * threads);
  c.values = nullptr;
  return c;
}

}  // namespace bench
