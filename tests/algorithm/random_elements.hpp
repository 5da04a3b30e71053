// SPDX-License-Identifier: BSD-3-Clause
// Elements to order and to sum: few values, so that there are ties, and all that floats have that
// is special; and views of them in any layout.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "../support/random_source.hpp"

#include <heddle/core/dtype.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/tensor.hpp>
#include <heddle/tensor/views.hpp>

namespace support {

template <class T>
T random_element(random_source& random) {
  using limits = std::numeric_limits<double>;
  if constexpr (heddle::is_floating(heddle::dtype_of<T>)) {
    constexpr double special[] = {limits::quiet_NaN(),
                                  -limits::quiet_NaN(),
                                  limits::infinity(),
                                  -limits::infinity(),
                                  0.0,
                                  -0.0,
                                  0x1p-24,
                                  -0x1p-133};
    if (random.chance(0.3)) return static_cast<T>(random.pick(special));
    return static_cast<T>(random.between(-5, 5) * 0.5);
  } else if constexpr (std::is_same_v<T, bool>) {
    return random.chance(0.5);
  } else {
    if (random.chance(0.2)) {
      return random.chance(0.5) ? std::numeric_limits<T>::max() : std::numeric_limits<T>::min();
    }
    return static_cast<T>(random.between(-5, 5));
  }
}

template <class T, int Rank>
heddle::tensor<T, Rank> random_elements(const heddle::extents<Rank>& e, random_source& random) {
  const auto x = heddle::empty<T, Rank>(e);
  for (T& element : x) element = random_element<T>(random);
  return x;
}

/// A view of the extents in one of several layouts.
template <class T>
heddle::tensor<T, 3> random_view(const heddle::extents<3>& e, int layout, random_source& random) {
  switch (layout) {
    case 0:
      return random_elements<T, 3>(e, random);
    case 1:  // reversed axes
      return heddle::permute<2, 1, 0>(random_elements<T, 3>({e[2], e[1], e[0]}, random));
    case 2:  // gaps
      return random_elements<T, 3>({e[0] + 1, 2 * e[1], 3 * e[2]}, random)
          .template slice<0>(0, e[0])
          .template slice<1>(0, 2 * e[1], 2)
          .template slice<2>(0, 3 * e[2], 3);
    case 3:  // rows that are one row
      return heddle::expand(random_elements<T, 3>({1, e[1], e[2]}, random), e);
    default:  // equal elements in a row
      return heddle::expand(random_elements<T, 3>({e[0], e[1], 1}, random), e);
  }
}
inline constexpr int layouts = 5;

/// The rows of x along an axis, and of whatever has the same extents but that.
template <int Axis, class T>
std::vector<std::vector<T>> rows_along(const heddle::tensor<T, 3>& x) {
  const auto moved = heddle::transpose<Axis, -1>(x);
  std::vector<std::vector<T>> rows;
  for (std::int64_t i = 0; i < moved.extent(0); ++i) {
    for (std::int64_t j = 0; j < moved.extent(1); ++j) {
      rows.emplace_back();
      for (std::int64_t k = 0; k < moved.extent(2); ++k) rows.back().push_back(moved(i, j, k));
    }
  }
  return rows;
}

template <class T>
bool is_nan(T value) {
  if constexpr (heddle::is_floating(heddle::dtype_of<T>)) {
    const auto x = static_cast<double>(value);
    return x != x;
  } else {
    return false;
  }
}

/// The order of torch.sort, from comparisons.
template <class T>
bool is_less(T a, T b) {
  if (is_nan(a) || is_nan(b)) return !is_nan(a);
  return a < b;
}

template <class T>
bool same_bits(T a, std::type_identity_t<T> b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

/// The places of elements in order, equal ones as they stand: by insertion.
template <class T>
std::vector<std::int64_t> places_in_order(const std::vector<T>& row, bool descending) {
  std::vector<std::int64_t> places;
  for (std::size_t i = 0; i < row.size(); ++i) {
    std::size_t at = places.size();
    for (; at > 0; --at) {
      const T before = row[static_cast<std::size_t>(places[at - 1])];
      const bool passes = is_nan(before) && is_nan(row[i]) ? false
                          : descending                     ? is_less(before, row[i])
                                                           : is_less(row[i], before);
      if (!passes) break;
    }
    places.insert(places.begin() + static_cast<std::ptrdiff_t>(at), static_cast<std::int64_t>(i));
  }
  return places;
}

/// Calls check.operator()<T>() for every element type.
template <class Check>
void for_all_types(Check check) {
  check.template operator()<double>();
  check.template operator()<float>();
  check.template operator()<heddle::bfloat16>();
  check.template operator()<heddle::float16>();
  check.template operator()<std::int64_t>();
  check.template operator()<std::int32_t>();
  check.template operator()<std::uint8_t>();
  check.template operator()<bool>();
}

}  // namespace support
