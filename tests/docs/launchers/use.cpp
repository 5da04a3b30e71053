// SPDX-License-Identifier: BSD-3-Clause
// A unit that uses the pair: exits with 0 if value and gradient are right.
#include <cmath>

#include "swish.hpp"

int main() {
  const heddle::variable<float, 2> x(heddle::tensor<float, 2>{{-1, 0, 2}});
  const heddle::variable<float, 2> y = swish(x);
  y.backward(heddle::ones<float, 2>({1, 3}));
  bool right = true;
  for (int i = 0; i < 3; ++i) {
    const float v = x.value()(0, i);
    const float s = 1 / (1 + std::exp(-v));
    right = right && std::fabs(y.value()(0, i) - v * s) < 1e-6f;
    right = right && std::fabs(x.grad()(0, i) - (s + v * s * (1 - s))) < 1e-6f;
  }
  return right ? 0 : 1;
}
