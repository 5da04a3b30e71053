// SPDX-License-Identifier: BSD-3-Clause
// The element types: their names, sizes and promotion, and the two 16-bit floating types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include <heddle/core/config.hpp>

namespace heddle::inline v0 {

/// The element types. The values are part of the program encoding: append, never reorder.
enum class dtype : std::uint8_t { f64, f32, bf16, f16, i64, i32, u8, boolean };

/// How many dtypes there are; a dtype fits four bits.
inline constexpr int dtype_count = 8;

namespace detail {

template <class To, class From>
HEDDLE_HD constexpr To bits_as(From from) noexcept {
  return __builtin_bit_cast(To, from);
}

HEDDLE_HD constexpr float float_from_bfloat16(std::uint16_t bits) noexcept {
  return bits_as<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Round to nearest even; a NaN stays a (quiet) NaN of the same sign. On a device that has one, an
// instruction does so, but that its NaN is positive.
HEDDLE_HD constexpr std::uint16_t bfloat16_from_float(float value) noexcept {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if (!__builtin_is_constant_evaluated()) {
    std::uint16_t rounded_there = 0;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded_there) : "f"(value));
    return rounded_there;
  }
#endif
  const std::uint32_t bits = bits_as<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const std::uint32_t quiet = (bits >> 16) | 0x40u;
  return static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

// Both branches of every choice are computed, so that a loop over this vectorises; subnormal halves
// become normal floats by an exact subtraction, which flush-to-zero modes leave alone.
HEDDLE_HD constexpr float float_from_float16(std::uint16_t half) noexcept {
#if defined(__CUDA_ARCH__)
  if (!__builtin_is_constant_evaluated()) {
    float there = 0;
    asm("cvt.f32.f16 %0, %1;" : "=f"(there) : "h"(half));
    return there;
  }
#endif
  const std::uint32_t magnitude = (half & 0x7fffu);
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t rebiased = (magnitude << 13) + (112u << 23);
  const std::uint32_t special = (magnitude << 13) | 0x7f800000u;
  const std::uint32_t tiny = magnitude < 0x0400u ? magnitude : 0u;
  const float subnormal = bits_as<float>((tiny << 13) + (113u << 23)) - bits_as<float>(113u << 23);
  std::uint32_t bits = magnitude >= 0x7c00u ? special : rebiased;
  bits = magnitude < 0x0400u ? bits_as<std::uint32_t>(subnormal) : bits;
  return bits_as<float>(bits | sign);
}

// Round to nearest even. Subnormal results are rounded by the addition of 0.5, whose unit in the
// last place is the smallest half; a NaN stays a (quiet) NaN of the same sign. Devices as above.
HEDDLE_HD constexpr std::uint16_t float16_from_float(float value) noexcept {
#if defined(__CUDA_ARCH__)
  if (!__builtin_is_constant_evaluated()) {
    std::uint16_t rounded_there = 0;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(rounded_there) : "f"(value));
    return rounded_there;
  }
#endif
  const std::uint32_t bits = bits_as<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const std::uint32_t tiny = magnitude < (113u << 23) ? magnitude : 0u;
  const std::uint32_t subnormal =
      bits_as<std::uint32_t>(bits_as<float>(tiny) + 0.5f) - (126u << 23);
  const std::uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const std::uint32_t quiet = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  std::uint32_t half = magnitude < (113u << 23) ? subnormal : normal;
  half = magnitude >= 0x47800000u ? 0x7c00u : half;
  half = magnitude > 0x7f800000u ? quiet : half;
  return static_cast<std::uint16_t>(half | sign);
}

// Narrows to float by rounding to odd, so that a second rounding to 16 bits equals a single one
// (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums").
HEDDLE_HD constexpr float float_rounded_to_odd(double value) noexcept {
  const std::uint64_t magnitude = bits_as<std::uint64_t>(value) & 0x7fffffffffffffffull;
  // A conversion that overflows is no constant expression; anything above float's range is alike.
  const bool huge = magnitude >= 0x47efffffe0000000ull;
  const double limit = bits_as<double>((bits_as<std::uint64_t>(value) & 0x8000000000000000ull) |
                                       0x47efffffe0000000ull);
  const float nearest = static_cast<float>(huge ? limit : value);
  std::uint32_t bits = bits_as<std::uint32_t>(nearest);
  const double back = static_cast<double>(nearest);
  const double larger = back < 0 ? -back : back;
  const double wanted = bits_as<double>(magnitude);
  const bool inexact = larger != wanted;
  bits -= static_cast<std::uint32_t>(inexact && larger > wanted);
  bits |= static_cast<std::uint32_t>(inexact);
  const std::uint32_t sign = bits & 0x80000000u;
  bits = magnitude >= 0x7ff0000000000000ull ? sign | 0x7f800000u : bits;
  bits = magnitude > 0x7ff0000000000000ull ? sign | 0x7fc00000u : bits;
  return bits_as<float>(bits);
}

/// An integer as a double; where that is inexact, the neighbour whose last bit is 1, which rounds
/// on as the integer itself would.
template <class Integer>
HEDDLE_HD constexpr double double_rounded_to_odd(Integer value) noexcept {
  if constexpr (sizeof(Integer) < 8) {
    return static_cast<double>(value);
  } else {
    constexpr auto exact = Integer{1} << 53;
    if (value < exact && (std::is_unsigned_v<Integer> || value > Integer{0} - exact)) {
      return static_cast<double>(value);
    }
    constexpr Integer low = 0x7FF;
    const Integer kept = value & ~low;
    return static_cast<double>((value & low) != 0 ? (kept | (low + 1)) : kept);
  }
}

}  // namespace detail

/// Brain floating point: 8 bits of exponent, 7 of fraction. A storage type: arithmetic and
/// comparisons happen in float, to which it converts implicitly; narrowing is explicit and rounds
/// to nearest even.
struct bfloat16 {
  std::uint16_t bits;  ///< the upper half of the float's: sign, exponent, fraction

  bfloat16() = default;
  HEDDLE_HD constexpr explicit bfloat16(float value) noexcept
      : bits(detail::bfloat16_from_float(value)) {}
  HEDDLE_HD constexpr explicit bfloat16(double value) noexcept
      : bits(detail::bfloat16_from_float(detail::float_rounded_to_odd(value))) {}
  template <class Integer>
  requires std::is_integral_v<Integer> HEDDLE_HD constexpr explicit bfloat16(Integer value) noexcept
      : bfloat16(detail::double_rounded_to_odd(value)) {}
  HEDDLE_HD constexpr operator float() const noexcept { return detail::float_from_bfloat16(bits); }

  /// The value whose representation is `bits`.
  HEDDLE_HD static constexpr bfloat16 from_bits(std::uint16_t bits) noexcept {
    return detail::bits_as<bfloat16>(bits);
  }
};

/// IEEE 754 binary16: 5 bits of exponent, 10 of fraction. A storage type, as bfloat16.
struct float16 {
  std::uint16_t bits;  ///< sign, exponent (bias 15), fraction, from the highest bit down

  float16() = default;
  HEDDLE_HD constexpr explicit float16(float value) noexcept
      : bits(detail::float16_from_float(value)) {}
  HEDDLE_HD constexpr explicit float16(double value) noexcept
      : bits(detail::float16_from_float(detail::float_rounded_to_odd(value))) {}
  template <class Integer>
  requires std::is_integral_v<Integer> HEDDLE_HD constexpr explicit float16(Integer value) noexcept
      : float16(static_cast<double>(value)) {}
  HEDDLE_HD constexpr operator float() const noexcept { return detail::float_from_float16(bits); }

  /// The value whose representation is `bits`.
  HEDDLE_HD static constexpr float16 from_bits(std::uint16_t bits) noexcept {
    return detail::bits_as<float16>(bits);
  }
};

static_assert(sizeof(bfloat16) == 2 && std::is_trivially_copyable_v<bfloat16>);
static_assert(sizeof(float16) == 2 && std::is_trivially_copyable_v<float16>);

namespace detail {

template <class T>
struct dtype_from;
template <dtype D>
struct type_from;

#define HEDDLE_ELEMENT(type, value)               \
  template <>                                     \
  struct dtype_from<type> {                       \
    static constexpr dtype result = dtype::value; \
  };                                              \
  template <>                                     \
  struct type_from<dtype::value> {                \
    using result = type;                          \
  };
HEDDLE_ELEMENT(double, f64)
HEDDLE_ELEMENT(float, f32)
HEDDLE_ELEMENT(bfloat16, bf16)
HEDDLE_ELEMENT(float16, f16)
HEDDLE_ELEMENT(std::int64_t, i64)
HEDDLE_ELEMENT(std::int32_t, i32)
HEDDLE_ELEMENT(std::uint8_t, u8)
HEDDLE_ELEMENT(bool, boolean)
#undef HEDDLE_ELEMENT

}  // namespace detail

/// The C++ types a tensor may hold: double, float, bfloat16, float16, std::int64_t, std::int32_t,
/// std::uint8_t, bool.
template <class T>
concept element = requires {
  detail::dtype_from<T>::result;
};

/// The dtype of an element type.
template <class T>
inline constexpr dtype dtype_of = detail::dtype_from<T>::result;

/// The element type of a dtype.
template <dtype D>
using type_of = typename detail::type_from<D>::result;

/// Whether `d` is one of the eight values.
HEDDLE_HD constexpr bool is_valid(dtype d) noexcept { return static_cast<int>(d) < dtype_count; }

/// Bytes of one element.
HEDDLE_HD constexpr std::size_t size_of(dtype d) noexcept {
  switch (d) {
    case dtype::f64:
    case dtype::i64:
      return 8;
    case dtype::f32:
    case dtype::i32:
      return 4;
    case dtype::bf16:
    case dtype::f16:
      return 2;
    case dtype::u8:
    case dtype::boolean:
      return 1;
  }
  return 0;
}

/// The name printed for a dtype: "f64", "f32", "bf16", "f16", "i64", "i32", "u8", "bool".
constexpr std::string_view name_of(dtype d) noexcept {
  switch (d) {
    case dtype::f64:
      return "f64";
    case dtype::f32:
      return "f32";
    case dtype::bf16:
      return "bf16";
    case dtype::f16:
      return "f16";
    case dtype::i64:
      return "i64";
    case dtype::i32:
      return "i32";
    case dtype::u8:
      return "u8";
    case dtype::boolean:
      return "bool";
  }
  return "invalid";
}

inline std::string to_string(dtype d) { return std::string(name_of(d)); }

/// f64, f32, bf16 or f16.
HEDDLE_HD constexpr bool is_floating(dtype d) noexcept { return d <= dtype::f16; }
/// i64, i32 or u8; bool is neither integral nor floating.
HEDDLE_HD constexpr bool is_integral(dtype d) noexcept { return d >= dtype::i64 && d <= dtype::u8; }

/// The dtype of an operation on two tensors, as PyTorch's `promote_types`: bool < u8 < i32 < i64 <
/// bf16, f16 < f32 < f64, and bf16 with f16 gives f32.
HEDDLE_HD constexpr dtype promote(dtype a, dtype b) noexcept {
  if (a == b) return a;
  // The enumeration descends from f64 to bool; only the two 16-bit types do not contain each other.
  const dtype wider = a < b ? a : b;
  const dtype narrower = a < b ? b : a;
  return wider == dtype::bf16 && narrower == dtype::f16 ? dtype::f32 : wider;
}

/// The dtype arithmetic on `d` is computed in: f32 for the 16-bit types, otherwise `d`.
HEDDLE_HD constexpr dtype compute_dtype(dtype d) noexcept {
  return d == dtype::bf16 || d == dtype::f16 ? dtype::f32 : d;
}

/// The C++ type arithmetic on T is computed in.
template <element T>
using compute_type = type_of<compute_dtype(dtype_of<T>)>;

/// The most negative finite value, as a double (of i64: -2^63, exactly).
HEDDLE_HD constexpr double lowest_of(dtype d) noexcept {
  switch (d) {
    case dtype::f64:
      return -__DBL_MAX__;
    case dtype::f32:
      return -static_cast<double>(__FLT_MAX__);
    case dtype::bf16:
      return -0x1.fep127;
    case dtype::f16:
      return -65504.0;
    case dtype::i64:
      return -0x1p63;
    case dtype::i32:
      return -0x1p31;
    case dtype::u8:
    case dtype::boolean:
      return 0.0;
  }
  return 0.0;
}

/// The largest finite value, as a double (of i64: 2^63, the nearest double to 2^63 - 1).
HEDDLE_HD constexpr double max_of(dtype d) noexcept {
  switch (d) {
    case dtype::i64:
      return 0x1p63;
    case dtype::i32:
      return 0x1p31 - 1;
    case dtype::u8:
      return 255.0;
    case dtype::boolean:
      return 1.0;
    default:
      return -lowest_of(d);
  }
}

/// Positive infinity of a floating dtype; the largest value of the others.
HEDDLE_HD constexpr double infinity_of(dtype d) noexcept {
  return is_floating(d) ? __builtin_huge_val() : max_of(d);
}

/// The distance from 1 to the next larger value of a floating dtype; 0 for the others.
HEDDLE_HD constexpr double epsilon_of(dtype d) noexcept {
  switch (d) {
    case dtype::f64:
      return 0x1p-52;
    case dtype::f32:
      return 0x1p-23;
    case dtype::bf16:
      return 0x1p-7;
    case dtype::f16:
      return 0x1p-10;
    default:
      return 0.0;
  }
}

}  // namespace heddle::inline v0
