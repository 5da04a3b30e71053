// SPDX-License-Identifier: BSD-3-Clause
// Only a loss of rank 0 has an implied gradient.
// expect: heddle::backward: only a variable of rank 0 (a loss) has an implied gradient of 1: pass the gradient, or reduce it with sum or mean
#include <heddle/autograd/record.hpp>

void use(const heddle::variable<float, 1>& x) {
#ifdef HEDDLE_CONTROL
  const heddle::variable<float, 0> y = sum(x);
  y.backward();
#else
  x.backward();
#endif
}
