// SPDX-License-Identifier: BSD-3-Clause
// Arithmetic that wraps around, and conversions between 64-bit integers and floating point without
// their instructions, which no x86 processor below AVX-512 has for vectors.
#pragma once

#include <type_traits>

#include <heddle/core/math_format.hpp>

namespace heddle::inline v0::math {

namespace detail {

/// What T is added and multiplied in: signed integers wrap around, which only unsigned ones do in
/// C++. (Narrow unsigned types would be promoted to int.)
template <class T>
struct arithmetic_type {
  using type = T;
};
template <class T>
requires std::is_integral_v<T>
struct arithmetic_type<T> {
  using type = std::conditional_t<(sizeof(T) > 4), std::uint64_t, std::uint32_t>;
};

}  // namespace detail

/// a + b, a - b and a b, wrapping around in integral T.
template <class T>
HEDDLE_HD HEDDLE_INLINE constexpr T add(T a, T b) {
  using U = typename detail::arithmetic_type<T>::type;
  return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
}
template <class T>
HEDDLE_HD HEDDLE_INLINE constexpr T subtract(T a, T b) {
  using U = typename detail::arithmetic_type<T>::type;
  return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
}
template <class T>
HEDDLE_HD HEDDLE_INLINE constexpr T multiply(T a, T b) {
  using U = typename detail::arithmetic_type<T>::type;
  return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
}

/// x without its fraction, as an integer. x must be finite and below 2^63 in magnitude.
HEDDLE_HD HEDDLE_INLINE std::int64_t to_int64(double x) {
#if defined(__CUDA_ARCH__)
  return static_cast<std::int64_t>(x);
#else
  using F = detail::format<double>;
  const double a = detail::magnitude(x);
  const double r = (a + F::integral) - F::integral;
  const double whole = r - (r > a ? 1.0 : 0.0);
  const double t = detail::with_sign(a < F::integral ? whole : a, x);
  // Two halves, each made by the addition of 1.5 * 2^52: its bits then hold the integer.
  const double high = t * 0x1p-32 + F::magic;
  const double low = (t - (high - F::magic) * 0x1p32) + F::magic;
  const std::uint64_t origin = 0x4338000000000000u;
  return static_cast<std::int64_t>(((detail::to_bits(high) - origin) << 32) +
                                   (detail::to_bits(low) - origin));
#endif
}
HEDDLE_HD HEDDLE_INLINE std::int64_t to_int64(float x) { return to_int64(double(x)); }

namespace detail {

HEDDLE_HD HEDDLE_INLINE double double_of(std::uint64_t v) {
  const double low = from_bits<double>((v & 0xffffffffu) | 0x4330000000000000u) - 0x1p52;
  const double high = from_bits<double>((v >> 32) ^ 0x4330000080000000u) - (0x1p52 + 0x1p31);
  return high * 0x1p32 + low;
}

}  // namespace detail

/// v rounded once to T, float or double.
template <class T>
HEDDLE_HD HEDDLE_INLINE T from_int64(std::int64_t v) {
#if defined(__CUDA_ARCH__)
  return static_cast<T>(v);
#else
  const auto u = static_cast<std::uint64_t>(v);
  if constexpr (std::is_same_v<T, double>) {
    return detail::double_of(u);
  } else {
    // From 2^53 on, the bits that double drops are gathered in one that it keeps, so that the
    // rounding to float, which follows, sees them.
    const std::uint64_t above = (u ^ (0 - (u >> 63))) >> 53;
    const std::uint64_t large = 0 - ((above + 1023) >> 10);
    const std::uint64_t gathered = (u | (((u & 2047) + 2047) & 2048)) & ~std::uint64_t{2047};
    return static_cast<T>(detail::double_of((gathered & large) | (u & ~large)));
  }
#endif
}

}  // namespace heddle::inline v0::math
