// SPDX-License-Identifier: BSD-3-Clause
// nn::linear: x wᵀ + b.
#pragma once

#include <heddle/nn/functional.hpp>
#include <heddle/nn/module.hpp>

namespace heddle::inline v0::nn {

namespace detail {

/// A member for the module's computation: within inference its tensor, otherwise its variable.
template <class X, class T, int Rank>
const auto& operand_for(const parameter<T, Rank>& p) {
  if constexpr (heddle::detail::holds_inference<X>) {
    return p.value();
  } else {
    return p.variable();
  }
}

[[noreturn]] HEDDLE_COLD inline void raise_features(std::int64_t got, std::int64_t out,
                                                    std::int64_t in) {
  raise<shape_error>("heddle::linear: the input's last extent is not the features of the weight (",
                     out, ", ", in, "): ", got, "; ", in, " is expected");
}

}  // namespace detail

/// x wᵀ + b with a weight (out, in) and a bias (out), both drawn uniformly from ±1/√in as
/// PyTorch's. x (…, in) gives (…, out): an expression, so that what follows is part of its last
/// pass, `relu(fc1(x))`. It holds a product: to use it twice, store it first. Throws shape_error.
template <class T>
struct basic_linear {
  parameter<T, 2> weight;  ///< (out, in)
  parameter<T, 1> bias;    ///< (out)
  HEDDLE_MODULE(basic_linear, weight, bias)

  /// Undefined, to be assigned.
  basic_linear() = default;
  basic_linear(std::int64_t in, std::int64_t out)
      : weight({out, in}, init::kaiming_uniform(in)), bias({out}, init::kaiming_uniform(in)) {}

  /// x (…, in): an expression (…, out). Throws shape_error.
  template <class X>
  auto forward(const X& x) const {
    static_assert(X::type == dtype_of<T>,
                  "heddle::linear: the input's dtype is not the weight's; write cast<T>(...)");
    static_assert(X::rank >= 1,
                  "heddle::linear: the input has rank 0; its last axis is the features");
    const std::int64_t features = x.extents()[X::rank - 1];
    if (features != weight.extent(1)) [[unlikely]] {
      detail::raise_features(features, weight.extent(0), weight.extent(1));
    }
    return heddle::linear(x, detail::operand_for<X>(weight), detail::operand_for<X>(bias));
  }
};

/// Without a bias: x wᵀ.
template <class T>
struct basic_linear_no_bias {
  parameter<T, 2> weight;  ///< (out, in)
  HEDDLE_MODULE(basic_linear_no_bias, weight)

  basic_linear_no_bias() = default;
  basic_linear_no_bias(std::int64_t in, std::int64_t out)
      : weight({out, in}, init::kaiming_uniform(in)) {}

  /// x (…, in): an expression (…, out). Throws shape_error.
  template <class X>
  auto forward(const X& x) const {
    static_assert(X::type == dtype_of<T>,
                  "heddle::linear: the input's dtype is not the weight's; write cast<T>(...)");
    static_assert(X::rank >= 1,
                  "heddle::linear: the input has rank 0; its last axis is the features");
    const std::int64_t features = x.extents()[X::rank - 1];
    if (features != weight.extent(1)) [[unlikely]] {
      detail::raise_features(features, weight.extent(0), weight.extent(1));
    }
    return heddle::linear(x, detail::operand_for<X>(weight));
  }
};

/// Of floats.
using linear = basic_linear<float>;
/// Of floats.
using linear_no_bias = basic_linear_no_bias<float>;

}  // namespace heddle::inline v0::nn
