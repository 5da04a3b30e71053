// SPDX-License-Identifier: BSD-3-Clause
// The few macros, and the configuration tag that keeps differently compiled functions apart.
#pragma once

#if defined(__CUDACC__)
#define HEDDLE_HD __host__ __device__
#else
#define HEDDLE_HD
#endif

#if defined(__CUDA_ARCH__)
#define HEDDLE_UNROLL _Pragma("unroll")
#define HEDDLE_NO_UNROLL _Pragma("unroll 1")
#else
#define HEDDLE_UNROLL
#define HEDDLE_NO_UNROLL
#endif

#define HEDDLE_INLINE __attribute__((always_inline)) inline
#define HEDDLE_NOINLINE __attribute__((noinline))
#define HEDDLE_COLD __attribute__((noinline, cold))

// HEDDLE_COMPILED: what does not depend on a program's own types is compiled once, in
// heddle/compiled.cpp, instead of in each unit. A header names it where it is complete:
// HEDDLE_ONCE(class adamw<float>);
#if defined(HEDDLE_COMPILING)
#define HEDDLE_ONCE(...) template __VA_ARGS__
#elif defined(HEDDLE_COMPILED)
#define HEDDLE_ONCE(...) extern template __VA_ARGS__
#else
#define HEDDLE_ONCE(...) static_assert(true, "")
#endif

// g++ says __SANITIZE_*__, clang says __has_feature.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HEDDLE_THREAD_SANITIZER 1
#endif
#if __has_feature(address_sanitizer)
#define HEDDLE_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(HEDDLE_THREAD_SANITIZER)
#define HEDDLE_THREAD_SANITIZER 1
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(HEDDLE_ADDRESS_SANITIZER)
#define HEDDLE_ADDRESS_SANITIZER 1
#endif

// OpenMP's run-time library reports false races under ThreadSanitizer: heddle's own pool serves
// there.
#if defined(_OPENMP) && !defined(HEDDLE_THREAD_SANITIZER)
#define HEDDLE_OPENMP 1
#endif

namespace heddle::inline v0 {

/// The macros and flags that change the body of some function, one bit each.
/// `__CUDA_ARCH__` is absent on purpose: host and device passes of one unit must agree on names.
namespace configuration_bits {
inline constexpr unsigned long long cuda = 1ull << 0;
inline constexpr unsigned long long onednn = 1ull << 1;
inline constexpr unsigned long long openmp = 1ull << 2;
inline constexpr unsigned long long thread_sanitizer = 1ull << 3;
inline constexpr unsigned long long address_sanitizer = 1ull << 4;
inline constexpr unsigned long long unfused = 1ull << 5;
inline constexpr unsigned long long avx2 = 1ull << 6;
inline constexpr unsigned long long fma = 1ull << 7;
inline constexpr unsigned long long avx512 = 1ull << 8;
inline constexpr unsigned long long f16c = 1ull << 9;
inline constexpr unsigned long long avx512_bf16 = 1ull << 10;
inline constexpr unsigned long long fast_math = 1ull << 11;
inline constexpr unsigned long long cudnn = 1ull << 12;
inline constexpr unsigned long long lapack = 1ull << 13;
inline constexpr unsigned long long clang = 1ull << 14;
inline constexpr unsigned long long avx = 1ull << 15;
inline constexpr unsigned long long portable_gemm = 1ull << 16;
inline constexpr unsigned long long single_isa = 1ull << 17;
}  // namespace configuration_bits

/// A type named after a set of configuration bits.
template <unsigned long long Bits>
struct configuration_tag {
  static constexpr unsigned long long bits = Bits;  ///< of configuration_bits, joined by |
  /// Whether one of configuration_bits is in the set.
  static constexpr bool has(unsigned long long bit) { return (Bits & bit) != 0; }
};

/// The configuration of the including unit. Every function whose body depends on a macro or a flag
/// takes it as a template parameter (`template <class Configuration = configuration>`), so that two
/// units compiled differently never share one weak symbol of two bodies.
using configuration = configuration_tag<0ull
#if defined(__CUDACC__)
                                        | configuration_bits::cuda
#endif
#if defined(HEDDLE_WITH_ONEDNN)
                                        | configuration_bits::onednn
#endif
#if defined(HEDDLE_PORTABLE_GEMM)
                                        | configuration_bits::portable_gemm
#endif
#if defined(HEDDLE_SINGLE_ISA)
                                        | configuration_bits::single_isa
#endif
#if defined(HEDDLE_WITH_CUDNN)
                                        | configuration_bits::cudnn
#endif
#if defined(HEDDLE_WITH_LAPACK)
                                        | configuration_bits::lapack
#endif
#if defined(HEDDLE_OPENMP)
                                        | configuration_bits::openmp
#endif
#if defined(HEDDLE_THREAD_SANITIZER)
                                        | configuration_bits::thread_sanitizer
#endif
#if defined(HEDDLE_ADDRESS_SANITIZER)
                                        | configuration_bits::address_sanitizer
#endif
#if defined(HEDDLE_UNFUSED)
                                        | configuration_bits::unfused
#endif
#if defined(__AVX__)
                                        | configuration_bits::avx
#endif
#if defined(__AVX2__)
                                        | configuration_bits::avx2
#endif
#if defined(__FMA__)
                                        | configuration_bits::fma
#endif
#if defined(__AVX512F__)
                                        | configuration_bits::avx512
#endif
#if defined(__F16C__)
                                        | configuration_bits::f16c
#endif
#if defined(__AVX512BF16__)
                                        | configuration_bits::avx512_bf16
#endif
#if defined(__FAST_MATH__)
                                        | configuration_bits::fast_math
#endif
#if defined(__clang__)
                                        | configuration_bits::clang
#endif
                                        >;

}  // namespace heddle::inline v0
