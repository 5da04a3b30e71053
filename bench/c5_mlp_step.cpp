// SPDX-License-Identifier: BSD-3-Clause
// Goal C5: one SGD step of the multilayer perceptron 784-32-32-10 (relu, cross entropy), batches of
// 1 and 32, and its heap allocations.
#include <cmath>

#include "allocations.hpp"
#include "limits.hpp"
#include "numbers.hpp"
#include "peers/handwritten_mlp.hpp"

#include <heddle/autograd/matmul.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/nn/linear.hpp>
#include <heddle/optim/sgd.hpp>
#if defined(HEDDLE_BENCH_LIBTORCH)
#include <torch/torch.h>
#endif

namespace {

using heddle::tensor;
using heddle::variable;

constexpr float lr = 0.01f;
constexpr std::int64_t inputs = 784, hidden = 32, classes = 10;

tensor<float, 2> weight(std::int64_t out, std::int64_t in, std::int64_t step) {
  return bench::numbers<2>({out, in}, step, 1 / std::sqrt(static_cast<float>(in)));
}

struct model {
  variable<float, 2> w1{weight(hidden, inputs, 7919)}, w2{weight(hidden, hidden, 104729)},
      w3{weight(classes, hidden, 1299709)};
  variable<float, 1> b1{bench::numbers<1>({hidden}, 17, 0.1f)},
      b2{bench::numbers<1>({hidden}, 19, 0.1f)}, b3{bench::numbers<1>({classes}, 23, 0.1f)};

  variable<float, 0> loss(const tensor<float, 2>& x, const tensor<std::int64_t, 1>& target) const {
    using namespace heddle;
    variable<float, 2> h1 = relu(linear(x, w1, b1));
    variable<float, 2> h2 = relu(linear(h1, w2, b2));
    variable<float, 2> z = linear(h2, w3, b3);
    return cross_entropy(z, target);
  }
  template <int Rank>
  static void update(const variable<float, Rank>& p) {
    assign(p.value(), p.value() - p.grad() * lr);
    p.zero_grad();
  }
  void step(const tensor<float, 2>& x, const tensor<std::int64_t, 1>& target) const {
    loss(x, target).backward();
    update(w1);
    update(b1);
    update(w2);
    update(b2);
    update(w3);
    update(b3);
  }
};

/// The same as one writes it: modules and an optimizer.
struct perceptron {
  heddle::nn::linear fc1{inputs, hidden}, fc2{hidden, hidden}, fc3{hidden, classes};
  HEDDLE_MODULE(perceptron, fc1, fc2, fc3)
  template <class X>
  auto forward(const X& x) const {
    variable<float, 2> h1 = heddle::relu(fc1(x));
    variable<float, 2> h2 = heddle::relu(fc2(h1));
    return variable<float, 2>(fc3(h2));
  }
};

struct trainer {
  perceptron network;
  heddle::optim::sgd<float> optimizer;

  explicit trainer(const model& from)
      : optimizer(heddle::parameters(network), {.lr = static_cast<double>(lr)}) {
    set(network.fc1, from.w1, from.b1);
    set(network.fc2, from.w2, from.b2);
    set(network.fc3, from.w3, from.b3);
  }
  static void set(heddle::nn::linear& layer, const variable<float, 2>& w,
                  const variable<float, 1>& b) {
    assign(layer.weight.value(), w.value());
    assign(layer.bias.value(), b.value());
  }
  variable<float, 0> loss(const tensor<float, 2>& x, const tensor<std::int64_t, 1>& target) const {
    return heddle::cross_entropy(network(x), target);
  }
  void step(const tensor<float, 2>& x, const tensor<std::int64_t, 1>& target) {
    loss(x, target).backward();
    optimizer.step();
    optimizer.zero_grad();
  }
};

template <int Rank>
void copy_to(const variable<float, Rank>& from, std::vector<float>& to) {
  to.assign(from.value().data(), from.value().data() + from.size());
}

#if defined(HEDDLE_BENCH_LIBTORCH)
// Functions on tensors, SGD's fused-in-place update: faster than torch::nn::Module and
// torch::optim.
struct torch_model {
  at::Tensor w[3], b[3];
  explicit torch_model(const model& m) {
    const at::Tensor from[] = {bench::shared(m.w1.value()), bench::shared(m.w2.value()),
                               bench::shared(m.w3.value()), bench::shared(m.b1.value()),
                               bench::shared(m.b2.value()), bench::shared(m.b3.value())};
    for (int i = 0; i < 3; ++i) {
      w[i] = from[i].clone().requires_grad_();
      b[i] = from[i + 3].clone().requires_grad_();
    }
  }
  at::Tensor loss(const at::Tensor& x, const at::Tensor& target) const {
    at::Tensor h = torch::relu(torch::linear(x, w[0], b[0]));
    h = torch::relu(torch::linear(h, w[1], b[1]));
    return torch::cross_entropy_loss(torch::linear(h, w[2], b[2]), target);
  }
  void step(const at::Tensor& x, const at::Tensor& target) const {
    loss(x, target).backward();
    const torch::NoGradGuard off;
    for (int i = 0; i < 3; ++i) {
      for (const at::Tensor* p : {&w[i], &b[i]}) {
        p->data().add_(p->grad(), -lr);
        p->mutable_grad() = at::Tensor();
      }
    }
  }
};
#endif

void run(std::int64_t batch) {
  const auto x = bench::numbers<2>({batch, inputs}, 7919, 0.5f);
  auto target = tensor<std::int64_t, 1>::allocate({batch}, heddle::cpu());
  for (std::int64_t i = 0; i < batch; ++i) target.data()[i] = i * 7 % classes;

  const model own;
  trainer modules(own);
  bench::handwritten_mlp by_hand(static_cast<int>(batch));
  copy_to(own.w1, by_hand.w1);
  copy_to(own.b1, by_hand.b1);
  copy_to(own.w2, by_hand.w2);
  copy_to(own.b2, by_hand.b2);
  copy_to(own.w3, by_hand.w3);
  copy_to(own.b3, by_hand.b3);
#if defined(HEDDLE_BENCH_LIBTORCH)
  const torch_model torch_own(own);
  const at::Tensor tx = bench::shared(x), ttarget = bench::shared(target);
#endif
  // All compute the same: ten steps, then the losses.
  bench::set_threads(1);
  float hand_loss = 0;
  for (int i = 0; i < 10; ++i) {
    own.step(x, target);
    modules.step(x, target);
    hand_loss = by_hand.step(x.data(), target.data(), lr);
#if defined(HEDDLE_BENCH_LIBTORCH)
    torch_own.step(tx, ttarget);
#endif
  }
  hand_loss = by_hand.step(x.data(), target.data(), lr);
  std::printf("\nbatch %d, loss after ten steps: heddle %.6f, without modules %.6f, by hand %.6f",
              static_cast<int>(batch), static_cast<double>(modules.loss(x, target).item()),
              static_cast<double>(own.loss(x, target).item()), static_cast<double>(hand_loss));
#if defined(HEDDLE_BENCH_LIBTORCH)
  std::printf(", libtorch %.6f", static_cast<double>(torch_own.loss(tx, ttarget).item<float>()));
#endif
  std::printf("\nheap allocations of a step: heddle %d, without modules %d, by hand (oneDNN's) %d",
              static_cast<int>(bench::allocations_of([&] { modules.step(x, target); })),
              static_cast<int>(bench::allocations_of([&] { own.step(x, target); })),
              static_cast<int>(bench::allocations_of(
                  [&] { bench::keep(by_hand.step(x.data(), target.data(), lr)); })));
#if defined(HEDDLE_BENCH_LIBTORCH)
  std::printf(", libtorch %d",
              static_cast<int>(bench::allocations_of([&] { torch_own.step(tx, ttarget); })));
#endif
  std::printf("\n");

  const std::string name = "C5: SGD step of 784-32-32-10, batch " + std::to_string(batch);
  bench::head(name.c_str());
  // forward, dw of three layers and dx of two
  const double multiply_adds =
      static_cast<double>(batch) *
      (2.0 * inputs * hidden + 3.0 * hidden * hidden + 3.0 * hidden * classes);
  const double limit = multiply_adds / bench::fma_rate(1);
  std::vector<bench::contender> contenders;
  contenders.push_back(bench::enter("heddle", 1, [&] { modules.step(x, target); }));
  contenders.push_back(bench::enter("heddle without modules", 1, [&] { own.step(x, target); }));
  if (bench::most_threads() > 1 && batch > 1) {
    contenders.push_back(bench::enter("heddle", 2, [&] { modules.step(x, target); }));
  }
#if defined(HEDDLE_BENCH_LIBTORCH)
  contenders.push_back(bench::enter("libtorch", 1, [&] { torch_own.step(tx, ttarget); }));
  if (bench::most_threads() > 1 && batch > 1) {
    contenders.push_back(bench::enter("libtorch", 2, [&] { torch_own.step(tx, ttarget); }));
  }
#endif
  for (int threads = 1; threads <= (batch > 1 ? bench::most_threads() : 1); ++threads) {
    contenders.push_back(bench::enter(
        "by hand", threads, [&] { bench::keep(by_hand.step(x.data(), target.data(), lr)); }));
  }
  bench::row("batch " + std::to_string(batch), limit, contenders);
}

}  // namespace

int main(int, char** arguments) {
  bench::tune(arguments);
  run(1);
  run(32);
}
