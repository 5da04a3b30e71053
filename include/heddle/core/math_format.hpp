// SPDX-License-Identifier: BSD-3-Clause
// Bit layout and constants of float and double that the mathematics functions share.
#pragma once

#include <cstdint>

#include <heddle/core/config.hpp>

// The limit of a clamp, as a function. g++ 12 folds a constant into the comparison and into the
// selection of `x > limit ? limit : x` separately, and then no longer sees the one instruction that
// this is: it gets a variable, which is never written to.
#if defined(__CUDA_ARCH__) || defined(__clang__)
#define HEDDLE_MATH_LIMIT(type, name, value, pattern) \
  HEDDLE_HD HEDDLE_INLINE static type name() { return value; }
#else
#define HEDDLE_MATH_LIMIT(type, name, value, pattern) \
  static inline bits name##_bits = pattern;           \
  HEDDLE_HD HEDDLE_INLINE static type name() { return __builtin_bit_cast(type, name##_bits); }
#endif

namespace heddle::inline v0::math::detail {

// Branch-free throughout: `c ? a : b` on values already computed, no calls, no conversions between
// integers and floating point (float <-> int64 has no instruction below AVX-512), so that a loop
// over any of these vectorises.
template <class T>
struct format;

// ln 2 is split so that k * ln2_high is exact for every exponent k; magic + n holds the integer n
// in its low bits.
template <>
struct format<float> {
  using bits = std::uint32_t;
  static constexpr int mantissa = 23;
  static constexpr float magic = 0x1.8p23f;
  static constexpr float integral = 0x1p23f;
  static constexpr float bias = 127;
  static constexpr float scale_step = 64;
  static constexpr float scale_up = 0x1p64f;
  static constexpr float scale_down = 0x1p-64f;
  static constexpr float log2e = 0x1.715476p0f;
  static constexpr float ln2 = 0x1.62e430p-1f;
  static constexpr float ln2_high = 0x1.62e4p-1f;
  static constexpr float ln2_low = 0x1.7f7d1cp-20f;
  HEDDLE_MATH_LIMIT(float, exp_lowest, -104, 0xc2d00000u)
  HEDDLE_MATH_LIMIT(float, exp_highest, 89, 0x42b20000u)
  HEDDLE_MATH_LIMIT(float, expm1_lowest, -18, 0xc1900000u)
  HEDDLE_MATH_LIMIT(float, tanh_highest, 0x1.8p23f + 157, 0x4b40009du)
  HEDDLE_MATH_LIMIT(float, erf_highest, 4, 0x40800000u)
  static constexpr float tanh_near = 0.625f;
  static constexpr float min_normal = 0x1p-126f;
  static constexpr float infinity = __builtin_inff();
  static constexpr float nan = __builtin_nanf("");
  static constexpr bits sign = 0x80000000u;
  static constexpr bits sqrt_half = 0x3f3504f3u;
  static constexpr bits integral_bits = 0x4b000000u;
};

template <>
struct format<double> {
  using bits = std::uint64_t;
  static constexpr int mantissa = 52;
  static constexpr double magic = 0x1.8p52;
  static constexpr double integral = 0x1p52;
  static constexpr double bias = 1023;
  static constexpr double scale_step = 128;
  static constexpr double scale_up = 0x1p128;
  static constexpr double scale_down = 0x1p-128;
  static constexpr double log2e = 0x1.71547652b82fep0;
  static constexpr double ln2 = 0x1.62e42fefa39efp-1;
  static constexpr double ln2_high = 0x1.62e42fefa3800p-1;
  static constexpr double ln2_low = 0x1.ef35793c76730p-45;
  HEDDLE_MATH_LIMIT(double, exp_lowest, -746, 0xc087500000000000u)
  HEDDLE_MATH_LIMIT(double, exp_highest, 710, 0x4086300000000000u)
  HEDDLE_MATH_LIMIT(double, expm1_lowest, -38, 0xc043000000000000u)
  HEDDLE_MATH_LIMIT(double, tanh_highest, 0x1.8p52 + 1083, 0x433800000000043bu)
  HEDDLE_MATH_LIMIT(double, erf_highest, 6, 0x4018000000000000u)
  static constexpr double tanh_near = 0.55;
  static constexpr double min_normal = 0x1p-1022;
  static constexpr double infinity = __builtin_inf();
  static constexpr double nan = __builtin_nan("");
  static constexpr bits sign = 0x8000000000000000u;
  static constexpr bits sqrt_half = 0x3fe6a09e667f3bcdu;
  static constexpr bits integral_bits = 0x4330000000000000u;
};

template <class T>
using bits_t = typename format<T>::bits;

template <class T>
HEDDLE_HD HEDDLE_INLINE bits_t<T> to_bits(T x) {
  return __builtin_bit_cast(bits_t<T>, x);
}
template <class T>
HEDDLE_HD HEDDLE_INLINE T from_bits(bits_t<T> b) {
  return __builtin_bit_cast(T, b);
}
template <class T>
HEDDLE_HD HEDDLE_INLINE T magnitude(T x) {
  return from_bits<T>(to_bits(x) & ~format<T>::sign);
}
/// |x| with the sign of s.
template <class T>
HEDDLE_HD HEDDLE_INLINE T with_sign(T x, T s) {
  return from_bits<T>((to_bits(x) & ~format<T>::sign) | (to_bits(s) & format<T>::sign));
}

/// a, which is not negative, with the sign of s.
template <class T>
HEDDLE_HD HEDDLE_INLINE T with_sign_added(T a, T s) {
  return from_bits<T>(to_bits(a) | (to_bits(s) & format<T>::sign));
}

// Clamps that leave NaN as it is.
template <class T>
HEDDLE_HD HEDDLE_INLINE T at_least(T x, T low) {
  return x < low ? low : x;
}
template <class T>
HEDDLE_HD HEDDLE_INLINE T at_most(T x, T high) {
  return x > high ? high : x;
}

// c0 + c1 x + c2 x^2 + …, innermost first.
template <class T>
HEDDLE_HD HEDDLE_INLINE T horner(T, T c) {
  return c;
}
template <class T, class... C>
HEDDLE_HD HEDDLE_INLINE T horner(T x, T c, C... rest) {
  return horner(x, rest...) * x + c;
}

}  // namespace heddle::inline v0::math::detail

// A public function of one argument: CUDA's own on the device, `name_host` elsewhere.
#if defined(__CUDA_ARCH__)
#define HEDDLE_MATH_1(name, device_float, device_double)                  \
  HEDDLE_HD HEDDLE_INLINE float name(float x) { return device_float(x); } \
  HEDDLE_HD HEDDLE_INLINE double name(double x) { return device_double(x); }
#else
#define HEDDLE_MATH_1(name, device_float, device_double)                         \
  HEDDLE_HD HEDDLE_INLINE float name(float x) { return detail::name##_host(x); } \
  HEDDLE_HD HEDDLE_INLINE double name(double x) { return detail::name##_host(x); }
#endif
#undef HEDDLE_MATH_LIMIT
