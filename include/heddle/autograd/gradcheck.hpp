// SPDX-License-Identifier: BSD-3-Clause
// gradcheck: compares the tape's gradients with central differences.
#pragma once

#include <string>

#include <heddle/autograd/record.hpp>

namespace heddle::inline v0 {

/// How closely gradients must agree. The difference step suits f64; differences of smooth functions
/// then err by about 3e-11 of the largest entry.
struct gradcheck_options {
  double epsilon = 1e-5;   ///< half the distance of the two points
  double relative = 1e-7;  ///< times the difference itself
  double absolute = 1e-9;  ///< times the largest entry of the gradient
};

/// What gradcheck found. Converts to bool: whether all gradients agree.
struct gradcheck_result {
  bool agrees = true;         ///< whether `excess` is at most 1 everywhere
  int input = -1;             ///< of the largest disagreement
  std::int64_t element = -1;  ///< row-major
  double derived = 0;         ///< by the tape
  double measured = 0;        ///< by differences
  double excess = 0;  ///< |derived - measured| over what was allowed; above 1 where it disagrees

  explicit operator bool() const noexcept { return agrees; }
};

inline std::string to_string(const gradcheck_result& r) {
  if (r.agrees) return "gradients agree; at most " + std::to_string(r.excess) + " of the tolerance";
  char numbers[128];
  std::snprintf(numbers, sizeof numbers, "derived %.12g, measured %.12g", r.derived, r.measured);
  return "input " + std::to_string(r.input) + ", element " + std::to_string(r.element) + ": " +
         numbers;
}

namespace detail {

/// sum(f(x…) * weights) with fixed weights of no symmetry, so that no error cancels.
template <class F, int Rank>
double weighted(const tensor<double, Rank>& y, F weight) {
  double total = 0;
  std::int64_t i = 0;
  for (const double v : y) total += v * weight(i++);
  return total;
}

inline double gradcheck_weight(std::int64_t i) {
  const double x = 0.61803398874989484820 * static_cast<double>(i + 1);
  return 0.5 + (x - __builtin_floor(x));
}

}  // namespace detail

/// Compares the gradients of f, a function of variables<double> that returns one, at the given
/// inputs with central differences. Inputs are not changed for good.
template <class F, int... Rank>
gradcheck_result gradcheck(F f, const std::tuple<tensor<double, Rank>...>& inputs,
                           gradcheck_options options = {}) {
  gradcheck_result worst;
  const auto points = std::apply([](const auto&... t) { return std::tuple{t.clone()...}; }, inputs);
  const auto leaves =
      std::apply([](const auto&... t) { return std::tuple{variable(t, true)...}; }, points);
  const auto y = std::apply(f, leaves);
  tensor<double, std::remove_cvref_t<decltype(y)>::rank> seed = zeros_like(y.value());
  std::int64_t next = 0;
  for (double& s : seed) s = detail::gradcheck_weight(next++);
  y.backward(seed);
  const auto value = [&] {
    const no_grad off;
    const auto at = std::apply([&](const auto&... t) { return f(variable(t, false)...); }, points);
    return detail::weighted(at.value(), detail::gradcheck_weight);
  };
  int input = 0;
  const auto check = [&](const auto& point, const auto& leaf) {
    const auto g = leaf.grad().defined() ? leaf.grad() : zeros_like(point);
    double largest = 0;
    for (const double v : g) largest = __builtin_fmax(largest, __builtin_fabs(v));
    std::int64_t element = 0;
    auto derived = g.begin();
    for (double& x : point) {
      const double kept = x;
      x = kept + options.epsilon;
      const double above = value();
      x = kept - options.epsilon;
      const double below = value();
      x = kept;
      const double measured = (above - below) / (2 * options.epsilon);
      const double allowed = options.absolute * __builtin_fmax(largest, 1.0) +
                             options.relative * __builtin_fabs(measured);
      const double error = __builtin_fabs(*derived - measured);
      const double excess = __builtin_isnan(error) ? __builtin_inf() : error / allowed;
      if (excess > worst.excess || worst.input < 0) {
        worst = {excess <= 1, input, element, *derived, measured, excess};
      }
      ++derived;
      ++element;
    }
    ++input;
  };
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (check(std::get<I>(points), std::get<I>(leaves)), ...);
  }
  (std::make_index_sequence<sizeof...(Rank)>{});
  return worst;
}

}  // namespace heddle::inline v0
