// SPDX-License-Identifier: BSD-3-Clause
// nn::layer_norm: normalisation over the last axis.
#pragma once

#include <heddle/nn/linear.hpp>

namespace heddle::inline v0::nn {

/// heddle::layer_norm with weight (features), at first 1, and bias (features), at first 0. x (…,
/// features). Throws shape_error.
template <class T>
struct basic_layer_norm {
  parameter<T, 1> weight;  ///< (features), the factor of what is normalised
  parameter<T, 1> bias;    ///< (features), what is added to it
  double eps = 1e-5;       ///< added to the variance; PyTorch's default
  HEDDLE_MODULE(basic_layer_norm, weight, bias, eps)

  basic_layer_norm() = default;
  explicit basic_layer_norm(std::int64_t features, double epsilon = 1e-5)
      : weight({features}, init::ones()), bias({features}, init::zeros()), eps(epsilon) {}

  /// x (…, features): an expression of the same extents. Throws shape_error.
  template <class X>
  auto forward(const X& x) const {
    static_assert(X::type == dtype_of<T>,
                  "heddle::layer_norm: the input's dtype is not the weight's; write cast<T>(...)");
    static_assert(X::rank >= 1, "heddle::layer_norm: the input has rank 0");
    const std::int64_t features = x.extents()[X::rank - 1];
    if (features != weight.extent(0)) [[unlikely]] {
      raise<shape_error>(
          "heddle::layer_norm: the input's last extent is not the features of the weight (",
          weight.extent(0), "): ", features, "; ", weight.extent(0), " is expected");
    }
    return heddle::layer_norm(x, detail::operand_for<X>(weight), detail::operand_for<X>(bias), eps);
  }
};
/// Of floats.
using layer_norm = basic_layer_norm<float>;

}  // namespace heddle::inline v0::nn
