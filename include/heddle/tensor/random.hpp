// SPDX-License-Identifier: BSD-3-Clause
// Tensors of random numbers. Element k, in row-major order, draws Philox counter k of its use.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include <heddle/core/config.hpp>
#include <heddle/core/error.hpp>
#include <heddle/core/math.hpp>
#include <heddle/core/philox.hpp>
#include <heddle/tensor/creation.hpp>

namespace heddle::inline v0 {

namespace detail {

// heddle's own functions: every compiler and library gives the same numbers.
struct portable_math {
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

/// Uniform on [0, 1). The 16-bit types take no more bits than they hold, so that none rounds up
/// to 1.
template <class T>
T uniform_of(philox_words words) {
  if constexpr (std::is_same_v<T, double>) {
    return uniform_double(words[0], words[1]);
  } else if constexpr (std::is_same_v<T, bfloat16>) {
    return T(uniform_float(words[0] & 0xff000000u));
  } else if constexpr (std::is_same_v<T, float16>) {
    return T(uniform_float(words[0] & 0xffe00000u));
  } else {
    return uniform_float(words[0]);
  }
}

}  // namespace detail

/// Uniform on [0, 1).
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> rand(const extents<Rank>& extents, generator& from,
                                   device where = cpu()) {
  static_assert(is_floating(dtype_of<T>), "heddle::rand: the dtype is not floating");
  return detail::tabulate<T, Rank>(extents, where, [use = from.next()](std::int64_t i) {
    return detail::uniform_of<T>(use(static_cast<std::uint64_t>(i)));
  });
}
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> rand(const extents<Rank>& extents, device where = cpu()) {
  return rand<T, Rank>(extents, default_generator(), where);
}

/// Standard normal.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> randn(const extents<Rank>& extents, generator& from,
                                    device where = cpu()) {
  static_assert(is_floating(dtype_of<T>), "heddle::randn: the dtype is not floating");
  return detail::tabulate<T, Rank>(extents, where, [use = from.next()](std::int64_t i) {
    const philox_words words = use(static_cast<std::uint64_t>(i));
    if constexpr (std::is_same_v<T, double>) {
      return normal_double<detail::portable_math>(words);
    } else {
      return normal_float<detail::portable_math>(words[0], words[1]);
    }
  });
}
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> randn(const extents<Rank>& extents, device where = cpu()) {
  return randn<T, Rank>(extents, default_generator(), where);
}

/// Integers low to high - 1, equally often up to (high - low) / 2^64.
/// Throws value_error where there are none.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> randint(T low, T high, const extents<Rank>& extents, generator& from,
                                      device where = cpu()) {
  static_assert(is_integral(dtype_of<T>), "heddle::randint: the dtype is not integral");
  if (low >= high) {
    raise<value_error>("heddle::randint: there is no integer from low to high: ", low, " to ", high,
                       "; high is not included and is above low");
  }
  const auto first = static_cast<std::uint64_t>(low);
  const std::uint64_t count = static_cast<std::uint64_t>(high) - first;
  return detail::tabulate<T, Rank>(extents, where, [=, use = from.next()](std::int64_t i) {
    const philox_words words = use(static_cast<std::uint64_t>(i));
    return first + (std::uint64_t{words[0]} << 32 | words[1]) % count;
  });
}
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> randint(T low, T high, const extents<Rank>& extents,
                                      device where = cpu()) {
  return randint<T, Rank>(low, high, extents, default_generator(), where);
}

/// The integers 0 to n - 1 in random order (Fisher and Yates). Throws shape_error for negative n.
[[nodiscard]] inline tensor<std::int64_t, 1> randperm(std::int64_t n, generator& from,
                                                      device where = cpu()) {
  if (where.is_cuda()) return randperm(n, from, cpu()).to(where);
  tensor<std::int64_t, 1> result =
      detail::tabulate<std::int64_t, 1>({n}, where, [](std::int64_t i) { return i; });
  std::int64_t* const data = result.data();
  const random_state use = from.next();
  for (std::int64_t i = data == nullptr ? 0 : n - 1; i > 0; --i) {
    const philox_words words = use(static_cast<std::uint64_t>(i));
    const std::uint64_t draw = std::uint64_t{words[0]} << 32 | words[1];
    std::swap(data[i], data[draw % (static_cast<std::uint64_t>(i) + 1)]);
  }
  return result;
}
[[nodiscard]] inline tensor<std::int64_t, 1> randperm(std::int64_t n, device where = cpu()) {
  return randperm(n, default_generator(), where);
}

/// Uniform on [0, 1), with x's extents, dtype and device.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> rand_like(const tensor<T, Rank>& x) {
  return rand<T, Rank>(x.extents(), x.device());
}
/// Standard normal, with x's extents, dtype and device.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> randn_like(const tensor<T, Rank>& x) {
  return randn<T, Rank>(x.extents(), x.device());
}

}  // namespace heddle::inline v0
