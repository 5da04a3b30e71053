// SPDX-License-Identifier: BSD-3-Clause
// Bit layout and constants of float and double that the mathematics functions share.
#pragma once

#include <cstdint>

#include <heddle/core/config.hpp>

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
  static constexpr float ln2_high = 0x1.62e4p-1f;
  static constexpr float ln2_low = 0x1.7f7d1cp-20f;
  static constexpr float exp_lowest = -104, exp_highest = 89;
  static constexpr float expm1_lowest = -18, tanh_highest = 20;
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
  static constexpr double ln2_high = 0x1.62e42fefa3800p-1;
  static constexpr double ln2_low = 0x1.ef35793c76730p-45;
  static constexpr double exp_lowest = -746, exp_highest = 710;
  static constexpr double expm1_lowest = -38, tanh_highest = 42;
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
