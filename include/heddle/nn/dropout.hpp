// SPDX-License-Identifier: BSD-3-Clause
// nn::dropout: zeros at random while training.
#pragma once

#include <heddle/nn/functional.hpp>
#include <heddle/nn/module.hpp>

namespace heddle::inline v0::nn {

/// heddle::dropout while training, the input itself after `eval(m)`. Draws from the default
/// generator.
struct dropout {
  double p = 0.5;          ///< the probability of a zero; PyTorch's default
  training_flag training;  ///< set by `train` and `eval`
  HEDDLE_MODULE(dropout, p, training)

  dropout() = default;
  explicit dropout(double probability) : p(probability) {}

  /// x of any extents, or itself where nothing is dropped. Throws value_error unless 0 <= p <= 1.
  template <class X>
  X forward(const X& x) const {
    if (!training || p == 0) return x;
    if constexpr (heddle::detail::holds_inference<X>) {
      return X(evaluate(heddle::dropout(x, p)));
    } else {
      return evaluate(heddle::dropout(x, p));
    }
  }
};

}  // namespace heddle::inline v0::nn
