// SPDX-License-Identifier: BSD-3-Clause
// Values for the operands of random tests, and how they are written to memory.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>

#include "random_source.hpp"

#include <heddle/core/dtype.hpp>

namespace support {

/// A quarter between -3 and 3, zeros of both signs; sometimes, if `special`, anything but ordinary.
inline double grid_value(random_source& r, bool special) {
  if (special && r.chance(0.05)) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const double values[] = {infinity, -infinity, std::nan(""), -0.0, 1e-30, 65504};
    return r.pick(values);
  }
  const int quarters = r.between(-12, 13);
  return quarters == 13 ? -0.0 : 0.25 * quarters;
}

/// A small integer; of u8, at times the largest.
inline std::int64_t grid_integer(random_source& r, heddle::dtype type) {
  const std::int64_t k = r.between(-5, 9);
  return type != heddle::dtype::u8 ? k : r.chance(0.2) ? 255 : k & 15;
}

/// Writes x as an element of a floating dtype, k as one of the others.
inline void write_element(std::byte* to, heddle::dtype type, double x, std::int64_t k) {
  const auto write = [to](auto value) { std::memcpy(to, &value, sizeof value); };
  switch (type) {
    case heddle::dtype::f64:
      return write(x);
    case heddle::dtype::f32:
      return write(static_cast<float>(x));
    case heddle::dtype::bf16:
      return write(heddle::bfloat16(static_cast<float>(x)));
    case heddle::dtype::f16:
      return write(heddle::float16(static_cast<float>(x)));
    case heddle::dtype::i64:
      return write(k);
    case heddle::dtype::i32:
      return write(static_cast<std::int32_t>(k));
    case heddle::dtype::u8:
      return write(static_cast<std::uint8_t>(k));
    case heddle::dtype::boolean:
      return write(static_cast<std::uint8_t>(k & 1));
  }
}

}  // namespace support
