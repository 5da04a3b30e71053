// SPDX-License-Identifier: BSD-3-Clause
// nn::init: how a parameter gets its first values.
#pragma once

#include <heddle/tensor/random.hpp>

namespace heddle::inline v0::nn::init {

/// A distribution; what a parameter keeps until its values are needed.
struct recipe {
  /// What `first` and `second` are the numbers of.
  enum class kind : std::uint8_t { constant, uniform, normal };
  kind distribution = kind::constant;  ///< constant: 0 everywhere, unless `first` is set
  double first = 0;                    ///< the value, the lower end, or the mean
  double second = 0;                   ///< the upper end, or the standard deviation
};

/// The same value everywhere.
[[nodiscard]] constexpr recipe constant(double value) { return {recipe::kind::constant, value, 0}; }
/// 0 everywhere: the default of parameters and buffers.
[[nodiscard]] constexpr recipe zeros() { return constant(0); }
/// 1 everywhere.
[[nodiscard]] constexpr recipe ones() { return constant(1); }
/// Uniform on [low, high).
[[nodiscard]] constexpr recipe uniform(double low, double high) {
  return {recipe::kind::uniform, low, high};
}
/// Normal, of this mean and standard deviation.
[[nodiscard]] constexpr recipe normal(double mean = 0, double deviation = 1) {
  return {recipe::kind::normal, mean, deviation};
}
/// Uniform on ±1/√fan_in, PyTorch's for the weight and bias of its Linear layer: He et al. 2015
/// with negative slope √5.
[[nodiscard]] inline recipe kaiming_uniform(std::int64_t fan_in) {
  const double bound = fan_in > 0 ? 1 / __builtin_sqrt(static_cast<double>(fan_in)) : 0;
  return uniform(-bound, bound);
}
/// Normal of deviation √(2 / fan_in), for layers before a relu (He et al. 2015).
[[nodiscard]] inline recipe kaiming_normal(std::int64_t fan_in) {
  return normal(0, fan_in > 0 ? __builtin_sqrt(2 / static_cast<double>(fan_in)) : 0);
}
/// Uniform on ±√(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).
[[nodiscard]] inline recipe xavier_uniform(std::int64_t fan_in, std::int64_t fan_out) {
  const std::int64_t both = fan_in + fan_out;
  const double bound = both > 0 ? __builtin_sqrt(6 / static_cast<double>(both)) : 0;
  return uniform(-bound, bound);
}
/// Normal of deviation √(2 / (fan_in + fan_out)).
[[nodiscard]] inline recipe xavier_normal(std::int64_t fan_in, std::int64_t fan_out) {
  const std::int64_t both = fan_in + fan_out;
  return normal(0, both > 0 ? __builtin_sqrt(2 / static_cast<double>(both)) : 0);
}

/// The values of a recipe: element i, in row-major order, is a function of the key and i alone.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> draw(const recipe& from, const extents<Rank>& extents,
                                   std::uint64_t key, device where = cpu()) {
  using kind = recipe::kind;
  if (from.distribution == kind::constant || where.is_meta()) {
    return full<T, Rank>(extents, static_cast<compute_type<T>>(from.first), where);
  }
  using number = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const random_state use{key, 0};
  tensor<T, Rank> made =
      heddle::detail::tabulate<T, Rank>(extents, cpu(), [&](std::int64_t i) -> number {
        const philox_words words = use(static_cast<std::uint64_t>(i));
        number drawn;
        if constexpr (std::is_same_v<number, double>) {
          drawn = from.distribution == kind::uniform
                      ? uniform_double(words[0], words[1])
                      : normal_double<heddle::detail::portable_math>(words);
        } else {
          drawn = from.distribution == kind::uniform
                      ? uniform_float(words[0])
                      : normal_float<heddle::detail::portable_math>(words[0], words[1]);
        }
        const auto first = static_cast<number>(from.first);
        const auto scale = static_cast<number>(
            from.distribution == kind::uniform ? from.second - from.first : from.second);
        return first + scale * drawn;
      });
  return made.to(where);
}

}  // namespace heddle::inline v0::nn::init
