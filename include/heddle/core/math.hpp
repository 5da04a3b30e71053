// SPDX-License-Identifier: BSD-3-Clause
// Scalar mathematics on host and device, branch-free, so that a loop over any of it vectorises.
#pragma once

#include <type_traits>

#include <heddle/core/math_error.hpp>
#include <heddle/core/math_exponential.hpp>
#include <heddle/core/math_integer.hpp>
#include <heddle/core/math_trigonometric.hpp>

#if !defined(__CUDA_ARCH__) && !defined(__clang__)
// glibc's sqrt sets errno, and so is kept out of vectorised loops whatever a function's attributes
// say; declared const, it becomes the instruction.
extern "C" {
float sqrtf(float) noexcept __attribute__((const));
double sqrt(double) noexcept __attribute__((const));
}
#endif

namespace heddle::inline v0::math {

/// |x|.
template <class T>
HEDDLE_HD HEDDLE_INLINE T abs(T x) {
  if constexpr (T(0.5) != T(0)) {
    return detail::magnitude(x);
  } else if constexpr (T(-1) > T(0)) {
    return x;
  } else {
    return x < T(0) ? subtract(T(0), x) : x;
  }
}

/// Whether x is not a number.
template <class T>
HEDDLE_HD HEDDLE_INLINE bool isnan(T x) {
  return x != x;
}

/// The larger of x and y; NaN when either is.
template <class T>
HEDDLE_HD HEDDLE_INLINE T maximum(T x, T y) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, float>) {
    float m;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(m) : "f"(x), "f"(y));
    return m;
  }
#endif
  const T m = x > y ? x : y;  // y where either is NaN
  return x != x ? x : m;
}
/// The smaller of x and y; NaN when either is.
template <class T>
HEDDLE_HD HEDDLE_INLINE T minimum(T x, T y) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, float>) {
    float m;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(m) : "f"(x), "f"(y));
    return m;
  }
#endif
  const T m = x < y ? x : y;
  return x != x ? x : m;
}

/// Square root, correctly rounded; NaN below zero.
HEDDLE_HD HEDDLE_INLINE float sqrt(float x) {
#if defined(__clang__) && defined(__SSE2__) && !defined(__CUDA_ARCH__)
  using lanes = float __attribute__((vector_size(16)));
  return __builtin_ia32_sqrtss(lanes{x, 0, 0, 0})[0];
#else
  return ::sqrtf(x);
#endif
}
HEDDLE_HD HEDDLE_INLINE double sqrt(double x) {
#if defined(__clang__) && defined(__SSE2__) && !defined(__CUDA_ARCH__)
  using lanes = double __attribute__((vector_size(16)));
  return __builtin_ia32_sqrtsd(lanes{x, 0})[0];
#else
  return ::sqrt(x);
#endif
}
/// 1 / sqrt(x), two roundings.
template <class T>
HEDDLE_HD HEDDLE_INLINE T rsqrt(T x) {
  return T(1) / sqrt(x);
}

/// x rounded to an integer, ties to even (as PyTorch).
template <class T>
HEDDLE_HD HEDDLE_INLINE T round(T x) {
  const T a = detail::magnitude(x);
  const T r = (a + detail::format<T>::integral) - detail::format<T>::integral;
  return detail::with_sign(a < detail::format<T>::integral ? r : a, x);
}
/// The largest integer not above x.
template <class T>
HEDDLE_HD HEDDLE_INLINE T floor(T x) {
  const T r = math::round(x);
  return detail::with_sign(r - (r > x ? T(1) : T(0)), r == T(0) ? x : r - (r > x ? T(1) : T(0)));
}
/// The smallest integer not below x.
template <class T>
HEDDLE_HD HEDDLE_INLINE T ceil(T x) {
  return -math::floor(-x);
}
/// x without its fraction.
template <class T>
HEDDLE_HD HEDDLE_INLINE T trunc(T x) {
  const T a = detail::magnitude(x);
  const T r = math::round(a);
  return detail::with_sign(r - (r > a ? T(1) : T(0)), x);
}

}  // namespace heddle::inline v0::math
