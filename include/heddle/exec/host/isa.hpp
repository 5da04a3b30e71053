// SPDX-License-Identifier: BSD-3-Clause
// The instruction sets a host kernel is compiled for, and the choice between them at run time.
#pragma once

#include <cstdlib>

#include <heddle/core/config.hpp>

// What makes g++ vectorise a loop over a branch-free body at -O2 and without flags:
// O3 for the full vectoriser; no-trapping-math so that both sides of ?: may be computed; the other
// five keep each ?: a small diamond that if-conversion accepts (threading and PRE tie knots).
#if defined(__clang__)
#define HEDDLE_VECTORIZE __attribute__((flatten))
#define HEDDLE_LANE_LOOP _Pragma("clang loop vectorize(assume_safety) interleave(disable)")
#else
#define HEDDLE_VECTORIZE                                                       \
  __attribute__((flatten, noinline,                                            \
                 optimize("O3,no-trapping-math,no-math-errno,no-thread-jumps," \
                          "no-tree-sink,no-tree-pre,no-code-hoisting,no-split-paths")))
#define HEDDLE_LANE_LOOP _Pragma("GCC ivdep")
#endif

// HEDDLE_SINGLE_ISA: one copy of each kernel, for builds that should compile fast.
#if defined(__x86_64__) && !defined(__AVX2__) && !defined(__AVX512F__) && \
    !defined(HEDDLE_SINGLE_ISA)
#define HEDDLE_ISA_CHOICE 1
#else
#define HEDDLE_ISA_CHOICE 0  // the unit's own flags say more: one copy
#endif

#define HEDDLE_TARGET_AVX2 __attribute__((target("avx2,fma,bmi,bmi2,f16c")))
#if defined(__clang__)
#define HEDDLE_TARGET_AVX512                                                          \
  __attribute__((target("avx2,fma,bmi,bmi2,f16c,avx512f,avx512bw,avx512dq,avx512vl"), \
                 min_vector_width(512)))
#else
#define HEDDLE_TARGET_AVX512                                              \
  __attribute__((                                                         \
      target("avx2,fma,bmi,bmi2,f16c,avx512f,avx512bw,avx512dq,avx512vl," \
             "prefer-vector-width=512")))
#endif

// A unit compiled for AVX-512 would otherwise use half of its vectors: g++ prefers 256 bits by
// default.
#if defined(__AVX512F__) && !defined(__clang__)
#define HEDDLE_TARGET_UNIT __attribute__((target("prefer-vector-width=512")))
#else
#define HEDDLE_TARGET_UNIT
#endif

// Bytes of a vector as the unit's own flags have it.
#if defined(__AVX512F__)
#define HEDDLE_UNIT_VECTOR_BYTES 64
#elif defined(__AVX__)
#define HEDDLE_UNIT_VECTOR_BYTES 32
#else
#define HEDDLE_UNIT_VECTOR_BYTES 16
#endif

namespace heddle::inline v0::exec {

enum class isa : unsigned char { baseline, avx2, avx512 };

/// The environment's HEDDLE_MAX_ISA, `baseline` or `avx2`: forgoes what is above it, for tests and
/// comparisons.
inline isa isa_limit() noexcept {
  const char* const given = std::getenv("HEDDLE_MAX_ISA");
  if (given == nullptr) return isa::avx512;
  if (__builtin_strcmp(given, "baseline") == 0) return isa::baseline;
  return __builtin_strcmp(given, "avx2") == 0 ? isa::avx2 : isa::avx512;
}

/// The best instruction set that this processor has, kernels are compiled for and HEDDLE_MAX_ISA
/// admits. Its body depends on the unit's flags.
template <class Configuration = configuration>
isa best_isa() noexcept {
#if HEDDLE_ISA_CHOICE
  static const isa possible =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("fma")
          ? isa::avx512
      : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi2")
          ? isa::avx2
          : isa::baseline;
  static const isa best = possible < isa_limit() ? possible : isa_limit();
  return best;
#else
  return isa::baseline;
#endif
}

}  // namespace heddle::inline v0::exec
