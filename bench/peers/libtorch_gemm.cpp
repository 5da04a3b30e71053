// SPDX-License-Identifier: BSD-3-Clause
// LibTorch, eager, with its autograd: a linear layer and gelu.
#include "gemm.hpp"
#include "libtorch.hpp"
#include <torch/torch.h>

namespace bench {

std::vector<contender> libtorch_gemm_contenders(gemm_operands with, bool by_tanh, bool backward,
                                                int threads) {
  const std::int64_t n = with.size;
  at::Tensor x = shared(with.x, {n, n}), w = shared(with.w, {n, n}), b = shared(with.b, {n}),
             seed = shared(with.seed, {n, n});
  const char* const approximate = by_tanh ? "tanh" : "none";
  const auto statement = [approximate](const std::vector<at::Tensor>& l) {
    return at::gelu(torch::linear(l[0], l[1], l[2]), approximate);
  };
  std::vector<at::Tensor> leaves = {x, w, b};
  if (!backward) {
    return {enter<libtorch_inference>("libtorch", "", threads, [=](auto see) {
      const at::Tensor y = statement(leaves);
      see(y.template data_ptr<float>(), y.numel());
    })};
  }
  for (at::Tensor& leaf : leaves) leaf = leaf.detach().requires_grad_();
  return {enter<libtorch_threads>("libtorch", "", threads, [=](auto see) {
    const at::Tensor y = statement(leaves);
    const auto gradients = torch::autograd::grad({y}, leaves, {seed});
    see(y.template data_ptr<float>(), y.numel());
    for (const at::Tensor& each : gradients) {
      const at::Tensor dense = each.contiguous();
      see(dense.template data_ptr<float>(), dense.numel());
    }
  })};
}

}  // namespace bench
