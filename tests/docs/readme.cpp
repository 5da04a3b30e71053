// SPDX-License-Identifier: BSD-3-Clause
// The example of README.md: a program from its first line to its last.
#include "printed.hpp"

// The program's main is a function here. heddle's header comes first: std's may say main.
#include <heddle/heddle.hpp>
#define main readme_program

//! [program]
#include <iomanip>
#include <iostream>

#include <heddle/heddle.hpp>

struct mlp {
  heddle::nn::linear fc1{1, 32}, fc2{32, 1};
  HEDDLE_MODULE(mlp, fc1, fc2)
  auto forward(const auto& x) { return fc2(swish(fc1(x))); }

  // a definition, no kernel: it becomes part of what the loop around fc1's product does
  static constexpr auto swish = heddle::fused([](auto x) { return x / (1 + exp(-x)); });
};

int main() {
  std::cout << std::fixed << std::setprecision(3);
  heddle::manual_seed(0);
  heddle::tensor<float, 2> x = heddle::reshape(heddle::linspace<float>(-3, 3, 61), {61, 1});
  heddle::tensor<float, 2> y = sin(x);  // what is to be learnt

  mlp model;
  heddle::optim::adamw optimizer(heddle::parameters(model), {.lr = 3e-2});
  for (int step = 0; step <= 100; ++step) {
    heddle::variable loss = heddle::mse_loss(model(x), y);  // one program; so is its backward
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();  // one launch for all parameters
    if (step % 25 == 0) std::cout << "step " << step << ": loss " << loss.item() << '\n';
  }
  const heddle::tensor<float, 2> learnt = heddle::inference(model)(x(heddle::slice(0, 61, 15)));
  std::cout << "learnt:";
  for (float value : learnt) std::cout << ' ' << value;
  std::cout << '\n';
  return 0;
}
//! [program]
#undef main

TEST_CASE("README's program learns a sine") {
  check_output("readme", [] { CHECK(readme_program() == 0); });
}
