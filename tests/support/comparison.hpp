// SPDX-License-Identifier: BSD-3-Clause
// An element in memory against what an independent evaluation knows of it.
#pragma once

#include <cmath>
#include <cstdio>
#include <string>

#include "element.hpp"

namespace support {

/// Counts of a campaign.
struct tally {
  std::int64_t elements = 0;  ///< compared
  std::int64_t unknown = 0;   ///< the walk knew nothing
  std::int64_t tight = 0;     ///< compared to better than 1e-3 (16 bits: 3e-2), or exactly
  std::int64_t special = 0;   ///< NaN or infinite
  std::int64_t zeros = 0;     ///< zeros whose sign was compared
};

/// What is wrong with the element of dtype `type` at `place`, or an empty string.
inline std::string compare_element(const std::byte* place, dtype type, const element& expected,
                                   tally& counts) {
  if (!expected.known()) {
    ++counts.unknown;
    return {};
  }
  ++counts.elements;
  const element got = read(place, 0, type);
  if (!floating(type)) {
    ++counts.tight;
    if (type == dtype::boolean && read_bytes<std::uint8_t>(place) > 1) {
      return "a bool was stored as neither 0 nor 1";
    }
    if (got.integer == expected.integer) return {};
    return "got " + std::to_string(got.integer) + ", expected " + std::to_string(expected.integer);
  }
  const double want = expected.real;
  const auto difference = [&] {
    char text[128];
    std::snprintf(text, sizeof text, "got %.17g, expected %.17g within %.3g", got.real, want,
                  expected.error);
    return std::string(text);
  };
  if (std::isnan(want) || std::isinf(want)) {
    ++counts.special;
    const bool same = std::isnan(want) ? std::isnan(got.real) : got.real == want;
    return same ? std::string() : difference();
  }
  const bool narrow = type == dtype::bf16 || type == dtype::f16;
  if (expected.error <= (narrow ? 3e-2 : 1e-3) * std::fabs(want) + 1e-30) ++counts.tight;
  if (!(std::fabs(got.real - want) <= expected.error)) return difference();
  if (want == 0 && expected.has_sign()) {
    ++counts.zeros;
    if (std::signbit(got.real) != std::signbit(want)) return difference();
  }
  return {};
}

}  // namespace support
