// SPDX-License-Identifier: BSD-3-Clause
// sin and cos for float and double, branch-free.
#pragma once

#include <heddle/core/math_format.hpp>

namespace heddle::inline v0::math {
namespace detail {

// sin and cos on [-pi/4, pi/4], Chebyshev nodes; error 2^-66.
HEDDLE_HD HEDDLE_INLINE double sin_near(double r, double low) {
  const double z = r * r;
  const double s = horner(z, -0x1.5555555555555p-3, 0x1.1111111111110p-7, -0x1.a01a01a019921p-13,
                          0x1.71de3a545dd92p-19, -0x1.ae64540e0633bp-26, 0x1.61217b49ad79ap-33,
                          -0x1.ab159dc3b3c21p-41);
  return r + (z * r * s + low * (1.0 - 0.5 * z));
}
HEDDLE_HD HEDDLE_INLINE double cos_near(double r, double low) {
  const double z = r * r, half = 0.5 * z, w = 1.0 - half;
  const double c = horner(z, 0x1.5555555555555p-5, -0x1.6c16c16c16c16p-10, 0x1.a01a01a019d00p-16,
                          -0x1.27e4fb77119ecp-22, 0x1.1eed8de97b2c8p-29, -0x1.9394b6b53b9c8p-37,
                          0x1.ab76634757375p-45);
  return w + (((1.0 - w) - half) + (z * z * c - r * low));
}
HEDDLE_HD HEDDLE_INLINE float sin_near(float r, float) {
  const float z = r * r;
  return r + z * r * horner(z, -0x1.555556p-3f, 0x1.11110ep-7f, -0x1.a013a0p-13f, 0x1.6dbb5cp-19f);
}
HEDDLE_HD HEDDLE_INLINE float cos_near(float r, float) {
  const float z = r * r;
  return (1.f - 0.5f * z) +
         z * z * horner(z, 0x1.555556p-5f, -0x1.6c16c0p-10f, 0x1.a015bep-16f, -0x1.252284p-22f);
}

// x - k pi/2 in three steps (Cody and Waite), exact in the first two for |k| < 2^20; r + low is the
// remainder.
template <class T>
struct quarter_reduction {
  T r, low;
  bits_t<T> k;
};
HEDDLE_HD HEDDLE_INLINE quarter_reduction<double> reduce_quarter(double x) {
  using F = format<double>;
  const double t = x * 0x1.45f306dc9c883p-1 + F::magic, k = t - F::magic;
  const double a = (x - k * 0x1.921fb544p0) - k * 0x1.0b4611a6p-34;
  const double b = k * 0x1.3198a2e037073p-69;
  const double r = a - b;
  return {r, (a - r) - b, to_bits(t)};
}
// Reduced in double: the float sees its remainder rounded once.
HEDDLE_HD HEDDLE_INLINE quarter_reduction<float> reduce_quarter(float x) {
  const quarter_reduction<double> q = reduce_quarter(double(x));
  return {float(q.r), 0.f, std::uint32_t(q.k)};
}

template <class T>
HEDDLE_HD HEDDLE_INLINE T quarter_wave(T a, bits_t<T> shift, bits_t<T> flip) {
  const quarter_reduction<T> q = reduce_quarter(a);
  const bits_t<T> k = q.k + shift;
  const T s = sin_near(q.r, q.low), c = cos_near(q.r, q.low);
  // By mask, for SSE2 cannot compare 64-bit integers.
  const bits_t<T> even = (k & 1) - 1;
  const bits_t<T> v = (to_bits(s) & even) | (to_bits(c) & ~even);
  return from_bits<T>(v ^ ((k & 2) << (sizeof(T) * 8 - 2)) ^ flip);
}
template <class T>
HEDDLE_HD HEDDLE_INLINE T sin_host(T x) {
  return quarter_wave(magnitude(x), bits_t<T>(0), to_bits(x) & format<T>::sign);
}
template <class T>
HEDDLE_HD HEDDLE_INLINE T cos_host(T x) {
  return quarter_wave(magnitude(x), bits_t<T>(1), bits_t<T>(0));
}

}  // namespace detail

/// Sine of x in radians, to 2 ulp for |x| <= 1e6; the host's error grows beyond that.
HEDDLE_MATH_1(sin, ::sinf, ::sin)
/// Cosine of x in radians, to 2 ulp for |x| <= 1e6; the host's error grows beyond that.
HEDDLE_MATH_1(cos, ::cosf, ::cos)

}  // namespace heddle::inline v0::math
