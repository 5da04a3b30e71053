// SPDX-License-Identifier: BSD-3-Clause
// Values and gradients of the functions against PyTorch's.
#include "../support/torch_fixture.hpp"

#include <heddle/autograd/matmul.hpp>
#include <heddle/nn/functional.hpp>

using namespace heddle;

namespace {

const support::torch_fixture& fixture() {
  static const support::torch_fixture f("tests/nn/fixtures/torch.txt");
  return f;
}

template <class T>
std::string tag() {
  return sizeof(T) == 8 ? "f64." : "f32.";
}
template <class T, int Rank>
variable<T, Rank> input(const char* name) {
  return variable<T, Rank>(fixture().get<T, Rank>(name));
}
template <class T, int Rank>
void seed_and_differentiate(const variable<T, Rank>& y) {
  auto seed = zeros_like(y.value());
  std::int64_t i = 0;
  for (T& s : seed) s = static_cast<T>(static_cast<double>(i++ % 5) - 1.75);
  y.backward(seed);
}

template <class T, class F>
void check_unary(const char* name, F f) {
  const auto x = input<T, 2>("x");
  const variable y = f(x);
  fixture().check(tag<T>() + name, y.value());
  seed_and_differentiate(y);
  fixture().check(tag<T>() + name + ".input", x.grad());
}
template <class T, class F>
void check_binary(const char* name, F f) {
  const auto x = input<T, 2>("x");
  const auto other = input<T, 2>("other");
  const variable y = f(x, other);
  fixture().check(tag<T>() + name, y.value());
  seed_and_differentiate(y);
  fixture().check(tag<T>() + name + ".input", x.grad());
  fixture().check(tag<T>() + name + ".target", other.grad());
}

}  // namespace

TEST_CASE_TEMPLATE("activations and their gradients are PyTorch's", T, float, double) {
  check_unary<T>("relu", [](const auto& x) { return relu(x); });
  check_unary<T>("silu", [](const auto& x) { return silu(x); });
  check_unary<T>("gelu", [](const auto& x) { return gelu(x); });
  check_unary<T>("gelu_tanh", [](const auto& x) { return gelu<approximate::tanh>(x); });
  check_unary<T>("softmax", [](const auto& x) { return softmax<-1>(x); });
  check_unary<T>("softmax_0", [](const auto& x) { return softmax<0>(x); });
  check_unary<T>("log_softmax", [](const auto& x) { return log_softmax<-1>(x); });
}

TEST_CASE_TEMPLATE("layer norm and linear are PyTorch's, in value and gradients", T, float,
                   double) {
  const auto x = input<T, 2>("x");
  {
    const auto weight = input<T, 1>("weight");
    const auto bias = input<T, 1>("bias");
    const variable y = layer_norm(x, weight, bias);
    fixture().check(tag<T>() + "layer_norm", y.value());
    seed_and_differentiate(y);
    fixture().check(tag<T>() + "layer_norm.input", x.grad());
    fixture().check(tag<T>() + "layer_norm.weight", weight.grad());
    fixture().check(tag<T>() + "layer_norm.bias", bias.grad());
  }
  x.zero_grad();
  const auto matrix = input<T, 2>("matrix");
  const auto offset = input<T, 1>("offset");
  const variable y = linear(x, matrix, offset);
  fixture().check(tag<T>() + "linear", y.value());
  seed_and_differentiate(y);
  fixture().check(tag<T>() + "linear.input", x.grad());
  fixture().check(tag<T>() + "linear.weight", matrix.grad());
  fixture().check(tag<T>() + "linear.bias", offset.grad());
}

TEST_CASE_TEMPLATE("losses and their gradients are PyTorch's", T, float, double) {
  const auto target = fixture().get<std::int64_t, 1>("target");
  check_unary<T>("cross_entropy_mean", [&](const auto& x) { return cross_entropy(x, target); });
  check_unary<T>("cross_entropy_sum",
                 [&](const auto& x) { return cross_entropy<reduction::sum>(x, target); });
  check_unary<T>("cross_entropy_none",
                 [&](const auto& x) { return cross_entropy<reduction::none>(x, target); });
  check_unary<T>("nll_loss", [&](const auto& x) { return nll_loss(x, target); });
  check_binary<T>("mse_loss", [](const auto& x, const auto& t) { return mse_loss(x, t); });
  check_binary<T>("l1_loss", [](const auto& x, const auto& t) { return l1_loss(x, t); });
  check_binary<T>("smooth_l1_loss",
                  [](const auto& x, const auto& t) { return smooth_l1_loss(x, t); });
  check_binary<T>("smooth_l1_loss_3",
                  [](const auto& x, const auto& t) { return smooth_l1_loss(x, t, 3.0); });
  check_binary<T>("huber_loss", [](const auto& x, const auto& t) { return huber_loss(x, t); });
  check_binary<T>("huber_loss_3",
                  [](const auto& x, const auto& t) { return huber_loss(x, t, 3.0); });
}
