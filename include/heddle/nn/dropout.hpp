// SPDX-License-Identifier: BSD-3-Clause
// nn::dropout: zeros at random while training.
#pragma once

#include <heddle/nn/functional.hpp>
#include <heddle/nn/module.hpp>

namespace heddle::inline v0::nn {

/// heddle::dropout while training, the input itself after `eval(m)`. Draws from the default
/// generator.
struct dropout {
  double p = 0.5;
  training_flag training;
  HEDDLE_MODULE(dropout, p, training)

  dropout() = default;
  explicit dropout(double probability) : p(probability) {}

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
