// SPDX-License-Identifier: BSD-3-Clause
// Keys: unsigned integers that are ordered as the values they stand for, on host and device alike.
#pragma once

#include <cstdint>
#include <type_traits>

#include <heddle/core/config.hpp>
#include <heddle/core/dtype.hpp>

namespace heddle::inline v0::algorithm {

/// The unsigned integer of T's size.
template <class T>
using key_type = std::conditional_t<
    sizeof(T) == 8, std::uint64_t,
    std::conditional_t<sizeof(T) == 4, std::uint32_t,
                       std::conditional_t<sizeof(T) == 2, std::uint16_t, std::uint8_t>>>;

/// Bits of a key.
template <class T>
inline constexpr int key_bits = 8 * static_cast<int>(sizeof(T));

/// The key of every NaN, which is that of no other floating value: 2^bits - 1.
template <class T>
inline constexpr key_type<T> nan_key = static_cast<key_type<T>>(~key_type<T>{0});

namespace detail {

/// The representation of positive infinity.
template <class T>
HEDDLE_HD constexpr key_type<T> infinity_bits() {
  switch (dtype_of<T>) {
    case dtype::f64:
      return static_cast<key_type<T>>(0x7ff0000000000000ull);
    case dtype::f32:
      return static_cast<key_type<T>>(0x7f800000u);
    case dtype::bf16:
      return static_cast<key_type<T>>(0x7f80u);
    default:
      return static_cast<key_type<T>>(0x7c00u);
  }
}

}  // namespace detail

/// a < b exactly where sort_key(a) < sort_key(b), and equal values have one key: -0 that of +0. A
/// NaN, of either sign, is above infinity, and all have one key, as `torch.sort` has it. No
/// comparison of floats is made, so that -ffast-math changes nothing.
template <element T>
HEDDLE_HD constexpr key_type<T> sort_key(T value) noexcept {
  using key = key_type<T>;
  if constexpr (dtype_of<T> == dtype::boolean || dtype_of<T> == dtype::u8) {
    return static_cast<key>(value);
  } else {
    constexpr key sign = static_cast<key>(key{1} << (key_bits<T> - 1));
    const key bits = heddle::detail::bits_as<key>(value);
    if constexpr (is_floating(dtype_of<T>)) {
      const key magnitude = static_cast<key>(bits & ~sign);
      if (magnitude > detail::infinity_bits<T>()) return nan_key<T>;
      if (magnitude == 0) return sign;
      return static_cast<key>((bits & sign) != 0 ? ~bits : bits | sign);
    } else {
      return static_cast<key>(bits ^ sign);
    }
  }
}

/// The same with the order turned around.
template <element T>
HEDDLE_HD constexpr key_type<T> sort_key(T value, bool descending) noexcept {
  const key_type<T> key = sort_key(value);
  return descending ? static_cast<key_type<T>>(~key) : key;
}

/// Whether, in ascending order, a value differs from the one before it. NaNs differ from each
/// other.
template <element T>
HEDDLE_HD constexpr bool differs(key_type<T> key, key_type<T> before) noexcept {
  return key != before || (is_floating(dtype_of<T>) && key == nan_key<T>);
}

}  // namespace heddle::inline v0::algorithm
