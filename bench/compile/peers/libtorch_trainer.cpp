// SPDX-License-Identifier: BSD-3-Clause
// ../mlp_trainer.cpp in LibTorch.
#include <cstdio>
#include <cstdlib>

#include <torch/torch.h>

struct mlp : torch::nn::Module {
  torch::nn::Linear fc1{784, 512}, fc2{512, 10};
  mlp() {
    register_module("fc1", fc1);
    register_module("fc2", fc2);
  }
  torch::Tensor forward(const torch::Tensor& x) { return fc2(torch::relu(fc1(x))); }
};

int main(int count, char** arguments) {
  if (count < 2) {
    std::puts("usage: libtorch_trainer <steps>");
    return 0;
  }
  mlp model;
  torch::optim::AdamW optimizer(model.parameters(), torch::optim::AdamWOptions(1e-3));
  const auto x = torch::rand({64, 784});
  const auto y = torch::randint(10, {64}, torch::kLong);
  for (int step = std::atoi(arguments[1]); step > 0; --step) {
    const auto loss = torch::nn::functional::cross_entropy(model.forward(x), y);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    std::printf("loss %.4f\n", static_cast<double>(loss.item<float>()));
  }
}
