// SPDX-License-Identifier: BSD-3-Clause
// The README's code is this file's: it compiles, runs, and is the same text.
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

// [README
#include <heddle/heddle.hpp>

struct mlp {
  heddle::nn::linear fc1{64, 128}, fc2{128, 10};
  HEDDLE_MODULE(mlp, fc1, fc2)
  auto forward(const auto& x) { return fc2(silu(fc1(x))); }

  // a definition, no kernel: it becomes part of what the loop around fc1's product does
  static constexpr auto silu = heddle::fused([](auto x) { return x / (1 + exp(-x)); });
};

// x: (images, 64); y: (images), the classes. Returns the loss before the step.
float train(mlp& model, heddle::optim::adamw<float>& optimizer, const heddle::tensor<float, 2>& x,
            const heddle::tensor<std::int64_t, 1>& y) {
  heddle::variable loss = heddle::cross_entropy(model(x), y);  // one program; so is its backward
  optimizer.zero_grad();
  loss.backward();
  optimizer.step();  // one launch for all parameters
  return loss.item();
}
// README]

namespace {

std::string content(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const std::size_t first = text.find(begin);
  REQUIRE(first != text.npos);
  const std::size_t start = first + begin.size();
  const std::size_t last = text.find(end, start);
  REQUIRE(last != text.npos);
  return text.substr(start, last - start);
}

}  // namespace

TEST_CASE("the README's sample is the code of this test") {
  CHECK(between(content("README.md"), "```cpp\n", "```") ==
        between(content("tests/version/readme_test.cpp"), "// [README\n", "// README]"));
}

TEST_CASE("the README's sample learns") {
  heddle::manual_seed(0);
  mlp model;
  heddle::optim::adamw optimizer(heddle::parameters(model), {.lr = 1e-2});
  const heddle::tensor<float, 2> x = heddle::rand<float, 2>({32, 64});
  const heddle::tensor<std::int64_t, 1> y = heddle::randint<std::int64_t, 1>(0, 10, {32});
  const float before = train(model, optimizer, x, y);
  for (int i = 0; i < 50; ++i) static_cast<void>(train(model, optimizer, x, y));
  const float after = train(model, optimizer, x, y);
  CHECK(before > 2);
  CHECK(after < 0.1f * before);
}
