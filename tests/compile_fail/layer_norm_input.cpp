// SPDX-License-Identifier: BSD-3-Clause
// layer_norm takes its weight's dtype, and an axis to normalise.
// expect: heddle::layer_norm: the input's dtype is not the weight's; write cast<T>(...)
// expect: heddle::layer_norm: the input has rank 0
#include <heddle/nn/layer_norm.hpp>

using heddle::tensor;

void use(const heddle::nn::layer_norm& norm, const tensor<double, 2>& x,
         const tensor<float, 0>& scalar) {
#ifdef HEDDLE_CONTROL
  static_cast<void>(norm.forward(tensor<float, 2>(heddle::cast<float>(x))));
  static_cast<void>(scalar);
#else
  static_cast<void>(norm.forward(x));
  static_cast<void>(norm.forward(scalar));
#endif
}
