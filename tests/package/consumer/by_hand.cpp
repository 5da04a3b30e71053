// SPDX-License-Identifier: BSD-3-Clause
// Compiled by hand, with nothing but -I.
#include <heddle/exec/evaluate.hpp>

int main() {
  const heddle::tensor<float, 1> x{1, 2, 3};
  const heddle::tensor<float, 1> y = x * x + 1;
  return y(2) == 10 ? 0 : 1;
}
