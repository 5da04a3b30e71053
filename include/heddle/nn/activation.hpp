// SPDX-License-Identifier: BSD-3-Clause
// Activations as modules, for sequential; elsewhere call the functions of the same names.
#pragma once

#include <heddle/nn/functional.hpp>
#include <heddle/nn/module.hpp>

namespace heddle::inline v0::nn {

/// heddle::relu: max(x, 0).
struct relu {
  HEDDLE_MODULE(relu)
  /// x of any extents: an expression of the same.
  auto forward(const auto& x) const { return heddle::relu(x); }
};
/// heddle::silu: x sigmoid(x).
struct silu {
  HEDDLE_MODULE(silu)
  /// x of any extents: an expression of the same.
  auto forward(const auto& x) const { return heddle::silu(x); }
};
/// heddle::tanh.
struct tanh {
  HEDDLE_MODULE(tanh)
  /// x of any extents: an expression of the same.
  auto forward(const auto& x) const { return heddle::tanh(x); }
};
/// heddle::gelu<A>: exact (`gelu`), or approximated by tanh (`gelu_tanh`).
template <approximate A = approximate::none>
struct basic_gelu {
  HEDDLE_MODULE(basic_gelu)
  /// x of any extents: an expression of the same.
  auto forward(const auto& x) const { return heddle::gelu<A>(x); }
};
/// x Φ(x), by erf: PyTorch's default.
using gelu = basic_gelu<>;
/// The approximation by tanh: PyTorch's `approximate='tanh'`.
using gelu_tanh = basic_gelu<approximate::tanh>;

}  // namespace heddle::inline v0::nn
