// SPDX-License-Identifier: BSD-3-Clause
// Modules within a std::vector would be neither trained nor saved.
// expect: is a container of modules or parameters
// flags: -DHEDDLE_PORTABLE_GEMM
#include <vector>

#include <heddle/nn/linear.hpp>

struct mlp {
#ifdef HEDDLE_CONTROL
  heddle::nn::linear layers{4, 3};
#else
  std::vector<heddle::nn::linear> layers;
#endif
  HEDDLE_MODULE(mlp, layers)
  auto forward(const auto& x) { return x; }
};
