// SPDX-License-Identifier: BSD-3-Clause
// Goal C12's program: a perceptron 784-512-10 trained by AdamW on made-up data, as a user writes
// it.
#include <cstdio>
#include <cstdlib>

#include <heddle/heddle.hpp>

struct mlp {
  heddle::nn::linear fc1{784, 512}, fc2{512, 10};
  HEDDLE_MODULE(mlp, fc1, fc2)
  auto forward(const auto& x) { return fc2(heddle::relu(fc1(x))); }
};

int main(int count, char** arguments) {
  if (count < 2) {
    std::puts("usage: mlp_trainer <steps> [device]");
    return 0;
  }
  const heddle::device where = heddle::parse_device(count > 2 ? arguments[2] : "cpu");
  mlp model;
  heddle::optim::adamw optimizer(heddle::parameters(heddle::to(model, where)), {.lr = 1e-3});
  const auto x = heddle::rand<float, 2>({64, 784}, where);
  const auto y = heddle::randint<std::int64_t, 1>(0, 10, {64}, where);
  for (int step = std::atoi(arguments[1]); step > 0; --step) {
    heddle::variable loss = heddle::cross_entropy(model(x), y);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    std::printf("loss %.4f\n", static_cast<double>(loss.item()));
  }
}
