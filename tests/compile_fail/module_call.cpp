// SPDX-License-Identifier: BSD-3-Clause
// A struct without HEDDLE_MODULE is no module.
// expect: heddle::call: this type is no module: it lists no members; write HEDDLE_MODULE(type, its members) in it
// flags: -DHEDDLE_PORTABLE_GEMM
#include <heddle/nn/linear.hpp>

struct mlp {
  heddle::nn::linear fc1{4, 3};
#ifdef HEDDLE_CONTROL
  HEDDLE_MODULE(mlp, fc1)
#endif
  auto forward(const auto& x) const { return fc1(x); }
};

heddle::variable<float, 2> f(const mlp& m, const heddle::tensor<float, 2>& x) {
  return heddle::call(m, x);
}
