// SPDX-License-Identifier: BSD-3-Clause
// Goal C2, scalar mathematics alone: tanh(a*b + exp(a-c)) with heddle::math in a vectorised loop,
// and with std::.
#include <cmath>
#include <cstddef>
#include <vector>

#include <benchmark/benchmark.h>

#include <heddle/core/math.hpp>

namespace {

#if defined(__clang__)
#define LADDER_VECTORIZE __attribute__((noinline))
#define LADDER_LANES _Pragma("clang loop vectorize(assume_safety)")
#define LADDER_WIDE
#else
#define LADDER_VECTORIZE                                                                    \
  __attribute__((noinline, flatten,                                                         \
                 optimize("O3,no-trapping-math,no-math-errno,no-thread-jumps,no-tree-sink," \
                          "no-tree-pre,no-code-hoisting,no-split-paths")))
#define LADDER_LANES _Pragma("GCC ivdep")
#define LADDER_WIDE ",prefer-vector-width=512"
#endif
#if defined(__clang__)
#undef LADDER_WIDE
#define LADDER_WIDE ""
#endif

HEDDLE_INLINE void chain(const float* a, const float* b, const float* c, float* y, std::size_t n) {
  namespace math = heddle::math;
  for (std::size_t i = 0; i < n; i += 64) {
    LADDER_LANES for (std::size_t l = 0; l < 64; ++l) {
      y[i + l] = math::tanh(a[i + l] * b[i + l] + math::exp(a[i + l] - c[i + l]));
    }
  }
}
// The comparison is a floating-point expression of the function's own: without one gcc's inliner
// would replace its no-trapping-math by the callees' setting.
#define LADDER_RUNG(name, ...)                                                                     \
  LADDER_VECTORIZE __VA_ARGS__ void name(const float* a, const float* b, const float* c, float* y, \
                                         std::size_t n, float guard) {                             \
    if (guard < 0.f) return;                                                                       \
    chain(a, b, c, y, n);                                                                          \
  }
LADDER_RUNG(chain_baseline)
#if defined(__x86_64__)
LADDER_RUNG(chain_avx2, __attribute__((target("avx2,fma,bmi,bmi2,f16c"))))
LADDER_RUNG(chain_avx512,
            __attribute__((
                target("avx2,fma,bmi,bmi2,f16c,avx512f,avx512bw,avx512dq,avx512vl" LADDER_WIDE))))
#endif
void chain_std(const float* a, const float* b, const float* c, float* y, std::size_t n, float) {
  for (std::size_t i = 0; i < n; ++i) y[i] = std::tanh(a[i] * b[i] + std::exp(a[i] - c[i]));
}

template <void (*Run)(const float*, const float*, const float*, float*, std::size_t, float)>
void rung(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  std::vector<float> a(n), b(n), c(n), y(n);
  for (std::size_t i = 0; i < n; ++i) {
    a[i] = static_cast<float>(i * 7919 % 10007) / 5003.f - 1;
    b[i] = static_cast<float>(i * 104729 % 10007) / 5003.f - 1;
    c[i] = static_cast<float>(i * 1299709 % 10007) / 5003.f - 1;
  }
  for (auto _ : state) {
    Run(a.data(), b.data(), c.data(), y.data(), n, 0.f);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
#define LADDER_SIZES ->Arg(1 << 12)->Arg(1 << 22)->Unit(benchmark::kMicrosecond)
BENCHMARK(rung<chain_std>) LADDER_SIZES;
BENCHMARK(rung<chain_baseline>) LADDER_SIZES;
#if defined(__x86_64__)
[[maybe_unused]] const bool registered = [] {
  const auto add = [](const char* name, auto f) {
    benchmark::RegisterBenchmark(name, f) LADDER_SIZES;
  };
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    add("rung<chain_avx2>", rung<chain_avx2>);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
    add("rung<chain_avx512>", rung<chain_avx512>);
  return true;
}();
#endif

}  // namespace

BENCHMARK_MAIN();
