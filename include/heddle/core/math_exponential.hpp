// SPDX-License-Identifier: BSD-3-Clause
// exp, expm1, log, log1p, tanh, sigmoid and pow for float and double, branch-free.
#pragma once

#include <heddle/core/math_format.hpp>

namespace heddle::inline v0::math {
namespace detail {

// (e^r - 1 - r) / r^2 for |r| <= ln(2)/2, interpolated at Chebyshev nodes. Relative error of e^r -
// 1: 2^-25, 2^-60.
HEDDLE_HD HEDDLE_INLINE float exp_tail(float r) {
  return horner(r, 0.5f, 0x1.5554dcp-3f, 0x1.555518p-5f, 0x1.120c1ap-7f, 0x1.6d11b6p-10f);
}
HEDDLE_HD HEDDLE_INLINE double exp_tail(double r) {
  return horner(r, 0.5, 0x1.5555555555557p-3, 0x1.5555555555556p-5, 0x1.11111111100afp-7,
                0x1.6c16c16c162bap-10, 0x1.a01a01ac006dfp-13, 0x1.a01a01a6e67fap-16,
                0x1.71de01e432ef7p-19, 0x1.27e4db3835435p-22, 0x1.af4e8a50136f6p-26,
                0x1.1f735f2a2a59fp-29);
}
// e^r for |r| <= ln(2), relative error 2^-26.
HEDDLE_HD HEDDLE_INLINE float exp_wide(float r) {
  return horner(r, 1.f, 1.f, 0x1.00000cp-1f, 0x1.555514p-3f, 0x1.5549f0p-5f, 0x1.1126e8p-7f,
                0x1.71bee0p-10f, 0x1.9ba77ep-13f);
}
HEDDLE_HD HEDDLE_INLINE double exp_near(double r) { return 1.0 + (r + r * r * exp_tail(r)); }

// x = k ln 2 + r; power = 2^(k + offset), made by shifting the low bits of k + magic into the
// exponent.
template <class T>
struct exp_reduction {
  T r, power;
};
template <class T>
HEDDLE_HD HEDDLE_INLINE exp_reduction<T> reduce_exp(T x, T offset) {
  using F = format<T>;
  const T m = F::magic + F::bias + offset;
  const T t = x * F::log2e + m;
  const T k = t - m;
  return {(x - k * F::ln2_high) - k * F::ln2_low, from_bits<T>(to_bits(t) << F::mantissa)};
}

// p 2^k for the power of a reduction whose offset was `exp_offset`. In two steps, so that one
// rounding is left when the result is subnormal, and overflow reaches infinity by itself.
template <class T>
HEDDLE_HD HEDDLE_INLINE T exp_offset(T a) {
  return a < T(0) ? format<T>::scale_step : -format<T>::scale_step;
}
template <class T>
HEDDLE_HD HEDDLE_INLINE T exp_scaled(T a, T p, T power) {
  return p * power * (a < T(0) ? format<T>::scale_down : format<T>::scale_up);
}
template <class T>
HEDDLE_HD HEDDLE_INLINE T exp_clamped(T x) {
  return at_most(at_least(x, format<T>::exp_lowest()), format<T>::exp_highest());
}

// e^(x + low), low a correction far below x.
template <class T>
HEDDLE_HD HEDDLE_INLINE T exp_sum(T x, T low) {
  const T a = exp_clamped(x);
  const exp_reduction<T> e = reduce_exp(a, exp_offset(a));
  const T r = e.r + low;
  return exp_scaled(a, T(1) + (r + r * r * exp_tail(r)), e.power);
}

// (log(1 + f) - f + f^2/2) / f^3 on [sqrt(1/2) - 1, sqrt(2) - 1], Chebyshev nodes: relative error
// of the log 2^-28.
HEDDLE_HD HEDDLE_INLINE float log_tail(float f) {
  return horner(f, 0x1.555554p-2f, -0x1.fffffcp-3f, 0x1.999d5ap-3f, -0x1.555b4ap-3f, 0x1.23d21ap-3f,
                -0x1.fcf4c6p-4f, 0x1.dea282p-4f, -0x1.d635bcp-4f, 0x1.1d8ea6p-4f);
}
// (log(1 + f) - 2s) / (s z), z = s^2, s = f / (2 + f): 2 atanh(s), the reduction of fdlibm's e_log.
// Error 2^-64. Without its first term, 2/3, which pow carries in two doubles:
HEDDLE_HD HEDDLE_INLINE double log_tail_rest(double z) {
  return horner(z, 0x1.9999999999a3bp-2, 0x1.2492492476397p-2, 0x1.c71c72025d7b3p-3,
                0x1.745cf8980ccaep-3, 0x1.3b1c4c5e49498p-3, 0x1.0fbc2e88d2e30p-3,
                0x1.0c1cb43280392p-3);
}
HEDDLE_HD HEDDLE_INLINE double log_tail(double z) {
  return z * log_tail_rest(z) + 0x1.5555555555555p-1;
}

// x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), for x > 0 (subnormal too).
template <class T>
struct log_reduction {
  T k, f;
};
template <class T>
HEDDLE_HD HEDDLE_INLINE log_reduction<T> reduce_log(T x) {
  using F = format<T>;
  using B = bits_t<T>;
  const bool small = x < F::min_normal;
  const T scaled = x * (small ? F::scale_up : T(1));
  // An offset of one whole exponent range keeps the shifted value positive: no signed shift is
  // needed.
  constexpr B offset = B(F::bias + 1) << F::mantissa;
  const B i = to_bits(scaled) - F::sqrt_half + offset;
  const T k = from_bits<T>((i >> F::mantissa) | F::integral_bits) - (F::integral + F::bias + T(1));
  const T m = from_bits<T>((i & ((B(1) << F::mantissa) - 1)) + F::sqrt_half);
  return {k - (small ? F::scale_step : T(0)), m - T(1)};
}

// k ln 2 + log(1 + f) + c, c a small correction.
HEDDLE_HD HEDDLE_INLINE float log_sum(float k, float f, float c) {
  const float z = f * f;
  const float tail = z * f * log_tail(f) - 0.5f * z + (k * format<float>::ln2_low + c);
  return k * format<float>::ln2_high + (f + tail);
}
HEDDLE_HD HEDDLE_INLINE double log_sum(double k, double f, double c) {
  const double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
  const double tail = s * (half + z * log_tail(z)) + (k * format<double>::ln2_low + c);
  return k * format<double>::ln2_high - ((half - tail) - f);
}

// The values of log outside (0, infinity).
template <class T>
HEDDLE_HD HEDDLE_INLINE T log_edges(T x, T y) {
  using F = format<T>;
  const T outside = x == T(0) ? -F::infinity : F::nan;
  const T high = x == F::infinity ? x : y;
  return x > T(0) ? high : outside;
}

// x = 2 k ln 2 + r: the power 2^k is a normal number for every x, and multiplied by twice it leaves
// one rounding to subnormal results and reaches infinity by itself.
HEDDLE_HD HEDDLE_INLINE float exp_host(float x) {
  using F = format<float>;
  const float a = exp_clamped(x);
  const float m = F::magic + F::bias;
  const float t = a * (0.5f * F::log2e) + m;
  const float k = t - m;
  const float r = (a - k * (2.f * F::ln2_high)) - k * (2.f * F::ln2_low);
  const float power = from_bits<float>(to_bits(t) << F::mantissa);
  return exp_wide(r) * power * power;
}
// A double's polynomial would need four terms more for that range of r.
HEDDLE_HD HEDDLE_INLINE double exp_host(double x) {
  const double a = exp_clamped(x);
  const exp_reduction<double> e = reduce_exp(a, exp_offset(a));
  return exp_scaled(a, exp_near(e.r), e.power);
}
// e^a for a <= 0, a little more exact than exp_host. -infinity must not be passed unclamped.
template <class T>
HEDDLE_HD HEDDLE_INLINE T exp_of_negative(T a) {
  const exp_reduction<T> e = reduce_exp(a, format<T>::scale_step);
  const T p = T(1) + (e.r + e.r * e.r * exp_tail(e.r));
  return p * e.power * format<T>::scale_down;
}
template <class T>
HEDDLE_HD HEDDLE_INLINE T expm1_host(T x) {
  using F = format<T>;
  const T a = at_most(at_least(x, F::expm1_lowest()), F::exp_highest());
  const exp_reduction<T> e = reduce_exp(a, T(-1));
  const T p = e.r + e.r * e.r * exp_tail(e.r);
  const T y = T(2) * (e.power * p + (e.power - T(0.5)));
  return with_sign(y, x);
}

// (tanh(x) / x - 1) / x^2, z = x^2, |x| < 0.625 (double: 0.55): minimax, relative error of tanh
// 2^-27.8, 2^-60.6.
HEDDLE_HD HEDDLE_INLINE float tanh_tail(float z) {
  return horner(z, -0x1.555532p-2f, 0x1.11072ap-3f, -0x1.b83cb2p-5f, 0x1.522882p-6f,
                -0x1.75e94cp-8f);
}
HEDDLE_HD HEDDLE_INLINE double tanh_tail(double z) {
  return horner(z, -0x1.555555555554fp-2, 0x1.11111111107b4p-3, -0x1.ba1ba1b97e81fp-5,
                0x1.664f48599fa8fp-6, -0x1.226e2f19bbfd8p-7, 0x1.d6d29c549e132p-9,
                -0x1.7d8fdc5ae18c3p-10, 0x1.3483f0592b741p-11, -0x1.e9723524ea657p-13,
                0x1.5d7ae73d0e285p-14, -0x1.4720543c24bcfp-16);
}
// e^(2r) for |r| <= ln(2)/4; float's minimax, relative error 2^-23.4.
HEDDLE_HD HEDDLE_INLINE float exp_double_near(float r) {
  return horner(r, 1.f, 0x1.fffff6p0f, 0x1.fffdc6p0f, 0x1.555a6ap0f, 0x1.573a68p-1f,
                0x1.0fa876p-2f);
}
HEDDLE_HD HEDDLE_INLINE double exp_double_near(double r) { return exp_near(r + r); }
// x + x^3 … near 0, else 1 - 2 / (e^(2|x|) + 1): errors of the power count half at most there.
template <class T>
HEDDLE_HD HEDDLE_INLINE T tanh_host(T x) {
  using F = format<T>;
  const T a = magnitude(x);
  const T z = a * a;
  const T near = a + a * z * tanh_tail(z);
  // Beyond the clamp the remainder grows without bound, and the power to infinity: 1 in the end.
  const T t = at_most(a * (T(2) * F::log2e) + (F::magic + F::bias), F::tanh_highest());
  const T k = t - (F::magic + F::bias);
  const T power = from_bits<T>(to_bits(t) << F::mantissa);
  const T p = exp_double_near(a - k * (T(0.5) * F::ln2));
  const T far = T(1) - T(2) / (p * power + T(1));
  return with_sign_added(a < F::tanh_near ? near : far, x);
}
template <class T>
HEDDLE_HD HEDDLE_INLINE T log_host(T x) {
  const log_reduction<T> l = reduce_log(x);
  return log_edges(x, log_sum(l.k, l.f, T(0)));
}
// log(u) + (1 + x - u) / u with u = 1 + x rounded; the difference is exact (Knuth's two-sum).
template <class T>
HEDDLE_HD HEDDLE_INLINE T log1p_host(T x) {
  const T u = T(1) + x;
  const T v = u - T(1);
  const T c = ((T(1) - (u - v)) + (x - v)) / u;
  const log_reduction<T> l = reduce_log(u);
  return with_sign(log_edges(u, log_sum(l.k, l.f, c)), x);
}
template <class T>
HEDDLE_HD HEDDLE_INLINE T sigmoid_host(T x) {
  // n - n e / (1 + e), n = e or 1: the errors of the sum and the quotient count little.
  const T e = exp_of_negative(at_least(-magnitude(x), format<T>::exp_lowest()));
  const T n = x < T(0) ? e : T(1);
  return n - n * (e / (T(1) + e));
}

// |y| rounded to an integer, for |y| < 2^mantissa.
template <class T>
HEDDLE_HD HEDDLE_INLINE T to_integral(T a) {
  return (a + format<T>::integral) - format<T>::integral;
}

// The upper half of the mantissa: products of two such are exact.
HEDDLE_HD HEDDLE_INLINE double upper(double x) {
  return from_bits<double>(to_bits(x) & ~0x7ffffffull);
}

// e^(y log a) for finite a > 0 and finite y.
HEDDLE_HD HEDDLE_INLINE float pow_positive(float a, float y) {
  const log_reduction<double> l = reduce_log(double(a));
  return float(exp_sum(double(y) * log_sum(l.k, l.f, 0.0), 0.0));
}
// The logarithm and its product with y as unevaluated sums of two doubles, arranged as in fdlibm's
// e_pow.
HEDDLE_HD HEDDLE_INLINE double pow_positive(double a, double y) {
  using F = format<double>;
  const log_reduction<double> l = reduce_log(a);
  const double d = 2.0 + l.f, s = l.f / d, z = s * s;
  const double s1 = upper(s), d1 = upper(d), d2 = l.f - (d1 - 2.0);
  const double s2 = ((l.f - s1 * d1) - s1 * d2) / d;
  // 2/3 s^3, exact to twice a double's precision: c1 + c2 = 2/3, t1 + t2 = s^3.
  const double c1 = 0x1.555555p-1, c2 = 0x1.5555555555555p-27;
  const double square = s1 * s1, z1 = upper(square), z2 = (square - z1) + s2 * (s + s1);
  const double cube = s1 * z1, t1 = upper(cube), t2 = (cube - t1) + (s1 * z2 + s2 * z);
  const double w1 = c1 * t1, w2 = c1 * t2 + c2 * (s * z) + s * z * z * log_tail_rest(z);
  const double h = 2.0 * s1 + w1, h2 = w1 - (h - 2.0 * s1);
  const double k1 = l.k * F::ln2_high, sum = k1 + h, rest = h - (sum - k1);
  const double low = rest + (h2 + (2.0 * s2 + (w2 + l.k * F::ln2_low)));
  const double log1 = upper(sum + low), log2 = low - (log1 - sum);
  const double y1 = upper(y), p1 = y1 * log1, p2 = (y - y1) * log1 + y * log2;
  const double p = p1 + p2, e = p2 - (p - p1);
  return exp_sum(p, magnitude(p) < 800.0 ? e : 0.0);
}

// IEEE 754 pow's special values around pow_positive.
template <class T>
HEDDLE_HD HEDDLE_INLINE T pow_host(T x, T y) {
  using F = format<T>;
  const T a = magnitude(x), b = magnitude(y);
  const bool rounded_same = to_integral(b) == b, huge = b >= F::integral;
  const bool half_same = to_integral(T(0.5) * b) == T(0.5) * b;
  const bool integer = huge | rounded_same;
  const bool odd = integer & !half_same & (b < T(2) * F::integral);
  T r = pow_positive(a, y);
  const bool grows = (a > T(1)) == (y > T(0));
  const bool extreme = (a == T(0)) | (a == F::infinity) | (b == F::infinity);
  const T limit = grows ? F::infinity : T(0);
  r = extreme ? limit : r;
  r = (a == T(1)) ? T(1) : r;
  const bool undefined = (x < T(0)) & (a != F::infinity) & !integer;
  r = undefined ? F::nan : r;
  r = from_bits<T>(to_bits(r) | (odd ? to_bits(x) & F::sign : bits_t<T>(0)));
  r = ((x != x) | (y != y)) ? x + y : r;
  return ((y == T(0)) | (x == T(1))) ? T(1) : r;
}

}  // namespace detail
/// e^x. Subnormal results are rounded once.
HEDDLE_MATH_1(exp, ::expf, ::exp)
/// e^x - 1.
HEDDLE_MATH_1(expm1, ::expm1f, ::expm1)
/// Natural logarithm: -infinity at 0, NaN below.
HEDDLE_MATH_1(log, ::logf, ::log)
/// log(1 + x).
HEDDLE_MATH_1(log1p, ::log1pf, ::log1p)
/// Hyperbolic tangent.
HEDDLE_MATH_1(tanh, ::tanhf, ::tanh)

/// 1 / (1 + e^-x).
HEDDLE_HD HEDDLE_INLINE float sigmoid(float x) {
#if defined(__CUDA_ARCH__)
  const float e = ::expf(-::fabsf(x));
  return (x < 0.f ? e : 1.f) / (1.f + e);
#else
  return detail::sigmoid_host(x);
#endif
}
HEDDLE_HD HEDDLE_INLINE double sigmoid(double x) {
#if defined(__CUDA_ARCH__)
  const double e = ::exp(-::fabs(x));
  return (x < 0.0 ? e : 1.0) / (1.0 + e);
#else
  return detail::sigmoid_host(x);
#endif
}

/// x^y with IEEE 754's special values.
HEDDLE_HD HEDDLE_INLINE float pow(float x, float y) {
#if defined(__CUDA_ARCH__)
  return ::powf(x, y);
#else
  return detail::pow_host(x, y);
#endif
}
HEDDLE_HD HEDDLE_INLINE double pow(double x, double y) {
#if defined(__CUDA_ARCH__)
  return ::pow(x, y);
#else
  return detail::pow_host(x, y);
#endif
}

}  // namespace heddle::inline v0::math
