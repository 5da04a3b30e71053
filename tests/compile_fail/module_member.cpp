// SPDX-License-Identifier: BSD-3-Clause
// A member that HEDDLE_MODULE does not list would be neither trained nor saved.
// expect: heddle: mlp has members that HEDDLE_MODULE does not list: list them all, in the order of their declaration
// flags: -DHEDDLE_PORTABLE_GEMM
#include <heddle/nn/linear.hpp>

struct mlp {
  heddle::nn::linear fc1{4, 3}, fc2{3, 2};
#ifdef HEDDLE_CONTROL
  HEDDLE_MODULE(mlp, fc1, fc2)
#else
  HEDDLE_MODULE(mlp, fc1)
#endif
  auto forward(const auto& x) { return fc2(fc1(x)); }
};
