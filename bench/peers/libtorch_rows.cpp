// SPDX-License-Identifier: BSD-3-Clause
// LibTorch, eager, with its autograd: its own functions where it has one.
#include "libtorch.hpp"
#include "rows.hpp"
#include <torch/torch.h>

namespace bench {

namespace {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gamma) {
  return x * torch::rsqrt(torch::mean(torch::square(x), -1, true) + 1e-5) * gamma;
}

}  // namespace

std::vector<contender> libtorch_row_contenders(row_statement what, row_operands with, int threads) {
  const std::int64_t rows = with.rows, columns = with.columns;
  const at::Tensor x = shared(with.x, {rows, columns}), g = shared(with.g, {rows, columns}),
                   seed = shared(with.seed, {rows, columns}), gamma = shared(with.gamma, {columns}),
                   beta = shared(with.beta, {columns}), target = shared(with.target, {rows});
  const auto enter_with = [&](std::vector<at::Tensor> leaves, auto statement) {
    for (at::Tensor& leaf : leaves) leaf = leaf.detach().requires_grad_();
    return std::vector<contender>{enter<libtorch_threads>("libtorch", "", threads, [=](auto see) {
      const at::Tensor y = statement(leaves);
      const auto gradients =
          torch::autograd::grad({y}, leaves, {y.dim() == 0 ? torch::ones({}) : seed});
      see(y.template data_ptr<float>(), y.numel());
      for (const at::Tensor& each : gradients) {
        const at::Tensor dense = each.contiguous();
        if (dense.dim() == 1) {
          see_shared(see, dense.template data_ptr<float>(), dense.numel(), rows);
        } else {
          see(dense.template data_ptr<float>(), dense.numel());
        }
      }
    })};
  };
  using leaves = const std::vector<at::Tensor>&;
  switch (what) {
    case row_statement::softmax:
      return enter_with({x}, [](leaves l) { return torch::softmax(l[0], -1); });
    case row_statement::log_softmax:
      return enter_with({x}, [](leaves l) { return torch::log_softmax(l[0], -1); });
    case row_statement::layer_norm:
      return enter_with({x, gamma, beta}, [columns](leaves l) {
        return torch::layer_norm(l[0], {columns}, l[1], l[2]);
      });
    case row_statement::rms_norm:
      return enter_with({x, gamma}, [](leaves l) { return rms_norm(l[0], l[1]); });
    case row_statement::cross_entropy:
      return enter_with({x},
                        [target](leaves l) { return torch::cross_entropy_loss(l[0], target); });
    case row_statement::gated_norm:
      return enter_with({x, g, gamma},
                        [](leaves l) { return rms_norm(l[0] * torch::silu(l[1]), l[2]); });
    default:
      return enter_with({g}, [x](leaves l) {
        const at::Tensor log_p = torch::log_softmax(x, -1);
        return torch::kl_div(torch::log_softmax(l[0], -1), log_p, at::Reduction::Sum, true) /
               static_cast<double>(x.size(0));
      });
  }
}

}  // namespace bench
