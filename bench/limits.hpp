// SPDX-License-Identifier: BSD-3-Clause
// The machine's limits, measured in the run that is held against them: streaming bandwidth and the
// rate of fused multiply-adds.
#pragma once

#include <cstdint>
#include <cstdlib>

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

}  // namespace detail

/// Bytes per second of a triad with non-temporal stores over `bytes` in all.
inline double stream_bandwidth(int threads, std::int64_t bytes = std::int64_t{768} << 20) {
  const std::int64_t n = bytes / 12 / 4096 * 4096;
  const auto make = [n] {
    const auto size = (static_cast<std::size_t>(n) * 4 + (2u << 20) - 1) / (2u << 20) * (2u << 20);
    void* memory = std::aligned_alloc(2u << 20, size);
    madvise(memory, size, MADV_HUGEPAGE);
    auto* values = static_cast<float*>(memory);
    for (std::int64_t i = 0; i < n; ++i) values[i] = 1;
    return values;
  };
  float *a = make(), *b = make(), *c = make();
  const double time = race({enter("triad", threads, [=] {
    heddle::parallel_for(0, n / 4096, n / 4096 / threads,
                         [&](std::int64_t first, std::int64_t last) {
                           const std::int64_t at = first * 4096;
                           detail::triad(b + at, c + at, a + at, (last - first) * 4096);
                         });
    keep(a);
  })})[0];
  for (float* each : {a, b, c}) std::free(each);
  return static_cast<double>(n) * 12 / time;
}

/// Fused multiply-adds on floats per second.
inline double fma_rate(int threads) {
  constexpr std::int64_t times = 1 << 14;
  double count = 0;
  const double time = race({enter("fma", threads, [&] {
    heddle::parallel_for(0, threads, 1,
                         [&](std::int64_t, std::int64_t) { count = detail::fma_call(times); });
  })})[0];
  return count * threads / time;
}

}  // namespace bench
