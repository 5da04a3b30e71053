// SPDX-License-Identifier: BSD-3-Clause
// The multilayer perceptron 784-32-32-10 with relu, cross entropy and SGD as one writes it by hand
// in C++: loops for one sample, oneDNN's sgemm for batches, the update within the weight gradient's
// product.
#pragma once

#include <cstdint>
#include <vector>

namespace bench {

class handwritten_mlp {
 public:
  /// Weights (out, in) and biases of the three layers.
  std::vector<float> w1, b1, w2, b2, w3, b3;

  explicit handwritten_mlp(int batch);
  /// One step on x (batch, 784) and targets; returns the mean loss.
  float step(const float* x, const std::int64_t* target, float lr);

 private:
  int batch_;
  std::vector<float> h1_, h2_, z_, d1_, d2_;
};

}  // namespace bench
