// SPDX-License-Identifier: BSD-3-Clause
// Goal C5: one SGD step of the multilayer perceptron 784-32-32-10 (relu, cross entropy), batches of
// 1 and 32, and its heap allocations.
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "allocations.hpp"
#include "limits.hpp"
#include "numbers.hpp"
#include "peers/handwritten_mlp.hpp"
#include "program.hpp"

#include <heddle/autograd/matmul.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/nn/linear.hpp>
#include <heddle/optim/sgd.hpp>
#if defined(HEDDLE_BENCH_LIBTORCH)
#include "peers/libtorch.hpp"
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

#if defined(HEDDLE_BENCH_LIBTORCH)
// Functions on tensors, SGD's fused-in-place update: faster than torch::nn::Module and
// torch::optim.
struct torch_model {
  at::Tensor w[3], b[3];
  explicit torch_model(const model& m) {
    const at::Tensor from[] = {shared(m.w1), shared(m.w2), shared(m.w3),
                               shared(m.b1), shared(m.b2), shared(m.b3)};
    for (int i = 0; i < 3; ++i) {
      w[i] = from[i].clone().requires_grad_();
      b[i] = from[i + 3].clone().requires_grad_();
    }
  }
  template <int Rank>
  static at::Tensor shared(const variable<float, Rank>& p) {
    return bench::shared(p.value().data(), at::IntArrayRef(p.value().extents().data(), Rank));
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

struct batch_of {
  tensor<float, 2> x;
  tensor<std::int64_t, 1> target;
};

batch_of samples(std::int64_t batch) {
  batch_of b{bench::numbers<2>({batch, inputs}, 7919, 0.5f),
             tensor<std::int64_t, 1>::allocate({batch}, heddle::cpu())};
  for (std::int64_t i = 0; i < batch; ++i) b.target.data()[i] = i * 7 % classes;
  return b;
}

#if defined(HEDDLE_BENCH_HANDWRITTEN)
template <int Rank>
void copy_to(const variable<float, Rank>& from, std::vector<float>& to) {
  to.assign(from.value().data(), from.value().data() + from.size());
}

bench::handwritten_mlp by_hand(const model& from, std::int64_t batch) {
  bench::handwritten_mlp m(static_cast<int>(batch));
  copy_to(from.w1, m.w1);
  copy_to(from.b1, m.b1);
  copy_to(from.w2, m.w2);
  copy_to(from.b2, m.b2);
  copy_to(from.w3, m.w3);
  copy_to(from.b3, m.b3);
  return m;
}
#endif

// One way to take a step, with its own weights.
struct way {
  std::string peer, variant;
  std::function<void()> step;
  std::function<double()> loss;  ///< may take a step
};

// All start from the same weights.
std::vector<way> ways(std::int64_t batch) {
  const batch_of b = samples(batch);
  const auto trained = std::make_shared<trainer>(model());
  const auto plain = std::make_shared<model>();
  std::vector<way> all = {
      {"heddle", "", [=] { trained->step(b.x, b.target); },
       [=] { return static_cast<double>(trained->loss(b.x, b.target).item()); }},
      {"heddle", "without modules", [=] { plain->step(b.x, b.target); },
       [=] { return static_cast<double>(plain->loss(b.x, b.target).item()); }}};
#if defined(HEDDLE_BENCH_LIBTORCH)
  const auto torch_own = std::make_shared<torch_model>(model());
  const at::Tensor x = bench::shared(b.x.data(), {batch, inputs}),
                   target = bench::shared(b.target.data(), {batch});
  // the memory of the samples is kept with their tensors
  all.push_back({"libtorch", "", [=, kept = b] { torch_own->step(x, target); },
                 [=] { return static_cast<double>(torch_own->loss(x, target).item<float>()); }});
#endif
#if defined(HEDDLE_BENCH_HANDWRITTEN)
  const auto hand = std::make_shared<bench::handwritten_mlp>(by_hand(model(), batch));
  const auto step = [=] { return hand->step(b.x.data(), b.target.data(), lr); };
  all.push_back({"handwritten", "", [=] { bench::keep(step()); },
                 [=] { return static_cast<double>(step()); }});
#endif
  return all;
}

// What the libraries need to know of a turn.
#if defined(HEDDLE_BENCH_LIBTORCH)
using preparation = bench::libtorch_threads;
#else
using preparation = bench::unprepared;
#endif

std::vector<bench::contender> steps(std::int64_t batch, const std::vector<int>& thread_counts) {
  // forward, dw of three layers and dx of two
  const double multiply_adds =
      static_cast<double>(batch) *
      (2.0 * inputs * hidden + 3.0 * hidden * hidden + 3.0 * hidden * classes);
  std::vector<bench::contender> contenders;
  for (const int threads : thread_counts) {
    for (const way& w : ways(batch)) {
      auto c = bench::enter<preparation>(w.peer, w.variant, threads, [w](auto) { w.step(); });
      c.values = [w]() -> std::vector<double> {  // the loss after ten steps
        for (int i = 0; i < 10; ++i) w.step();
        return {w.loss()};
      };
      contenders.push_back(std::move(c));
    }
    contenders.push_back(bench::fma_limit(multiply_adds, threads));
  }
  return contenders;
}

std::vector<bench::contender> allocations(std::int64_t batch) {
  std::vector<bench::contender> contenders;
  for (const way& w : ways(batch)) {
    contenders.push_back(bench::counted(w.peer, w.variant, [w] {
      [[maybe_unused]] const preparation prepared(1);
      w.step();
      return static_cast<double>(bench::allocations_of(w.step));
    }));
  }
  return contenders;
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<int> one = {1}, all = bench::thread_counts();
  return bench::run(
      count, arguments,
      {"C5",
       "SGD step of the perceptron 784-32-32-10: ≤ 5 µs at batch 1, ≤ 20 µs at batch 32; no heap "
       "allocation after the first step",
       {"libtorch", "handwritten"},
       {{"batch 1", "s", one, {bench::at_most(5e-6)}, [=] { return steps(1, one); }},
        {"batch 1, heap allocations of a step",
         "allocations",
         one,
         {bench::at_most(0)},
         [] { return allocations(1); }},
        {"batch 32", "s", all, {bench::at_most(20e-6)}, [=] { return steps(32, all); }},
        {"batch 32, heap allocations of a step", "allocations", one, {bench::at_most(0)}, [] {
           return allocations(32);
         }}}});
}
