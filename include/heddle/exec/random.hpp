// SPDX-License-Identifier: BSD-3-Clause
// The numbers of the random nodes: which Philox block an element draws, and how its words become a
// uniform or normal number. Compiled nests and the interpreter call the same functions.
#pragma once

#include <heddle/core/math.hpp>
#include <heddle/core/philox.hpp>

namespace heddle::inline v0::exec {

namespace detail {

// heddle's own functions: the loops over them vectorise, and every compiler gives the same numbers.
struct random_math {
  template <class T>
  HEDDLE_HD static T log(T x) {
    return math::log(x);
  }
  template <class T>
  HEDDLE_HD static T sqrt(T x) {
    return math::sqrt(x);
  }
  template <class T>
  HEDDLE_HD static T cos(T x) {
    return math::cos(x);
  }
};

template <class T>
inline constexpr bool is_double = sizeof(T) == sizeof(double);

}  // namespace detail

// Of a random node with axis map m: `seed` is its first operand; `sample` the coordinate at
// position 0 of m (0 where that is broadcast, or m is empty) plus its second operand, the offset;
// `element` the row-major index over the coordinates at positions 1, 2, … of m.

/// Uniform on [0, 1), T float or double: the top 24 bits of word 0, or 53 bits of words 0 and 1.
template <class T>
HEDDLE_HD T random_uniform(std::uint64_t seed, std::uint64_t element, std::uint64_t sample) {
  const philox_words words = philox(seed, element, sample);
  if constexpr (detail::is_double<T>) {
    return uniform_double(words[0], words[1]);
  } else {
    return uniform_float(words[0]);
  }
}

/// Standard normal by Box–Muller, T float or double: from words 0 and 1, or all four.
template <class T>
HEDDLE_HD T random_normal(std::uint64_t seed, std::uint64_t element, std::uint64_t sample) {
  const philox_words words = philox(seed, element, sample);
  if constexpr (detail::is_double<T>) {
    return normal_double<detail::random_math>(words);
  } else {
    return normal_float<detail::random_math>(words[0], words[1]);
  }
}

}  // namespace heddle::inline v0::exec
