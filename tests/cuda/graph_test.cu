// SPDX-License-Identifier: BSD-3-Clause
// `cuda_graph`: what is captured and replayed is what would have run, and what a graph cannot hold
// is refused.
#include <optional>
#include <string>
#include <vector>

#include "cuda_case.hpp"
#include <doctest/doctest.h>

#include <heddle/core/cuda_graph.hpp>
#include <heddle/core/memory.hpp>
#include <heddle/heddle.hpp>

namespace {

using namespace heddle;

struct network {
  nn::linear first{6, 8}, second{8, 3};
  HEDDLE_MODULE(network, first, second)
  auto forward(const auto& x) { return second(relu(first(x))); }
};

/// Weights are drawn from the seed that there is when the model is made.
network seeded() {
  manual_seed(1);
  return {};
}

tensor<float, 2> batch(int number) {
  generator from(static_cast<std::uint64_t>(number));
  return rand<float, 2>({5, 6}, from);
}
tensor<std::int64_t, 1> labels(int number) { return {number % 3, 1, 2, (number + 1) % 3, 0}; }

template <class T, int Rank>
std::vector<T> values(const tensor<T, Rank>& x) {
  const tensor<T, Rank> here = x.to(cpu()).contiguous();
  return {here.data(), here.data() + here.size()};
}
std::vector<float> weights(network& model) {
  std::vector<float> all;
  for (const auto& [name, value] : state_dict(model)) {
    const any_tensor here = value.to(cpu()).contiguous();
    const auto* const data = reinterpret_cast<const float*>(here.data());
    all.insert(all.end(), data, data + here.size());
  }
  return all;
}

/// A model with its optimizer and the places of its inputs on cuda(0).
template <class Optimizer>
struct training {
  network model = seeded();
  Optimizer optimizer;
  tensor<float, 2> x = zeros<float, 2>({5, 6}, cuda(0));
  tensor<std::int64_t, 1> y = zeros<std::int64_t, 1>({5}, cuda(0));
  tensor<float, 0> loss, norm;

  template <class Options>
  explicit training(Options options) : optimizer(parameters(to(model, cuda(0))), options) {}

  void feed(int number) {
    assign(x, batch(number).to(cuda(0)));
    assign(y, labels(number).to(cuda(0)));
  }
  void step() {
    const variable of_batch = cross_entropy(model(x), y);
    optimizer.zero_grad();
    of_batch.backward();
    norm = optim::clip_grad_norm_(parameters(model), 0.5);
    optimizer.step();
    loss = of_batch.value();
  }
};

/// Trains the same model twice, by eager steps and by replays after `warm` eager steps.
template <class Optimizer, class Options>
void train_both(Options options, int warm) {
  training<Optimizer> eager(options), replayed(options);
  for (int i = 0; i < warm; ++i) {
    for (auto* t : {&eager, &replayed}) t->feed(i), t->step();
  }
  const cuda_graph graph(cuda(0), [&] { replayed.step(); });
  CHECK(weights(replayed.model) == weights(eager.model));  // nothing ran
  for (int i = warm; i < warm + 4; ++i) {
    eager.optimizer.lr() = replayed.optimizer.lr() = 0.1 / (i + 1);
    eager.feed(i);
    eager.step();
    replayed.feed(i);
    graph.replay();
    CHECK(replayed.loss.item() == eager.loss.item());
    CHECK(replayed.norm.item() == eager.norm.item());
    CHECK(weights(replayed.model) == weights(eager.model));
  }
  // and an eager step goes on from there
  for (auto* t : {&eager, &replayed}) t->feed(9), t->step();
  CHECK(weights(replayed.model) == weights(eager.model));
}

}  // namespace

TEST_CASE("replays of a training step are the eager steps, whatever the optimizer counts") {
  const support::cuda_case clean;
  SUBCASE("adamw, from its third step") {
    train_both<optim::adamw<float>>(optim::adamw_options{.lr = 1e-2, .weight_decay = 0.3}, 2);
  }
  SUBCASE("adamw, from its first step") {
    train_both<optim::adamw<float>>(optim::adamw_options{.lr = 1e-2}, 0);
  }
  SUBCASE("momentum, from its first step") {
    train_both<optim::sgd<float>>(optim::sgd_options{.lr = 0.1, .momentum = 0.9}, 0);
  }
  SUBCASE("without states") { train_both<optim::sgd<float>>(optim::sgd_options{.lr = 0.1}, 1); }
}

TEST_CASE("each replay draws anew, and forward and backward the same") {
  const support::cuda_case clean;
  generator captured(7), wanted(7);
  const tensor<float, 2> x = batch(0).to(cuda(0));
  tensor<float, 2> y;
  variable<float, 2> leaf(x.clone());
  const cuda_graph graph(cuda(0), [&] {
    leaf.zero_grad();
    const variable dropped = dropout(leaf, 0.5, captured);
    variable(sum(dropped * 2.0f)).backward();
    y = dropped.value();
  });
  static_cast<void>(wanted.next());  // the capture drew too
  std::vector<float> last;
  for (int i = 0; i < 3; ++i) {
    graph.replay();
    variable<float, 2> other(x.clone());
    const variable dropped = dropout(other, 0.5, wanted);
    variable(sum(dropped * 2.0f)).backward();
    CHECK(values(y) == values(dropped.value()));
    CHECK(values(leaf.grad()) == values(other.grad()));
    CHECK(values(y) != last);
    last = values(y);
  }
}

TEST_CASE("one state drawn by two generators is refused: replays could not tell them apart") {
  const support::cuda_case clean;
  generator a(7), b(7);
  const tensor<float, 1> x = full<float, 1>({8}, 1.0f, cuda(0));
  CHECK_THROWS_WITH_AS(
      cuda_graph(cuda(0),
                 [&] {
                   tensor<float, 1> y = dropout(x, 0.5, a);
                   y = dropout(x, 0.5, b);
                 }),
      "heddle::cuda_graph: the step draws twice from one state of a generator; replays could not "
      "tell them apart",
      state_error);
}

struct normed {
  nn::layer_norm norm{6};
  nn::linear out{6, 3};
  HEDDLE_MODULE(normed, norm, out)
  auto forward(const auto& x) { return out(norm(x)); }
};

TEST_CASE("parameters that a step is the first to use are made outside of its graph") {
  const support::cuda_case clean;
  manual_seed(3);
  normed eager, replayed;
  to(eager, cuda(0));
  to(replayed, cuda(0));
  load_state_dict(replayed, state_dict(eager));
  manual_seed(3);
  normed fresh;
  to(fresh, cuda(0));
  optim::sgd one(parameters(eager), {.lr = 0.5}), other(parameters(fresh), {.lr = 0.5});
  const tensor<float, 2> x = batch(4).to(cuda(0));
  const tensor<std::int64_t, 1> y = labels(4).to(cuda(0));
  const auto step = [&](normed& model, optim::sgd<float>& optimizer) {
    const variable loss = cross_entropy(model(x), y);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  };
  const cuda_graph graph(cuda(0), [&] { step(fresh, other); });
  for (int i = 0; i < 3; ++i) {
    step(eager, one);
    graph.replay();
  }
  CHECK(values(fresh.norm.weight.value()) == values(eager.norm.weight.value()));
  CHECK(values(fresh.norm.bias.value()) == values(eager.norm.bias.value()));
  CHECK(values(fresh.out.bias.value()) == values(eager.out.bias.value()));
}

TEST_CASE("a graph keeps the memory of another, and a graph made again outlives the first") {
  const support::cuda_case clean;
  const tensor<float, 1> x = full<float, 1>({100}, 2.0f, cuda(0));
  const tensor<float, 1> y = zeros<float, 1>({100}, cuda(0));
  tensor<float, 1> between;
  std::optional<cuda_graph> first, second;
  first.emplace(cuda(0), [&] { between = x * 3; });
  second.emplace(cuda(0), [&] { assign(y, between + 1); });
  first->replay();
  first.reset();
  between = {};
  second->replay();
  CHECK(y.to(cpu()).data()[99] == 7);
  tensor<float, 1> last;
  const auto step = [&] { last = tensor<float, 1>(x * 2) + y; };
  first.emplace(cuda(0), step);
  first.reset();
  first.emplace(cuda(0), step);  // drops the last tensor of the graph before, while it records
  first->replay();
  CHECK(last.to(cpu()).data()[0] == 11);
}

TEST_CASE("a replay is a write: who saved the value for a derivative is told") {
  const support::cuda_case clean;
  variable<float, 1> w(full<float, 1>({4}, 1.0f, cuda(0)));
  const tensor<float, 1> of_w = w.value();
  const tensor<float, 1> v = full<float, 1>({4}, 2.0f, cuda(0));
  variable<float, 1> u(v.clone());
  const cuda_graph graph(cuda(0), [&] { assign(of_w, of_w * 2); });
  const variable product = sum(u * w);
  graph.replay();
  CHECK_THROWS_AS(product.backward(), state_error);
}

TEST_CASE("a graph of a device that is not the current one") {
  const support::cuda_case clean;
  const device where = support::second_device();
  const tensor<float, 1> x = full<float, 1>({1000}, 2.0f, where);
  tensor<float, 1> y = zeros<float, 1>({1000}, where);
  {
    const cuda_graph graph(where, [&] { assign(y, tensor<float, 1>(x * 2) + y); });
    graph.replay();
    graph.replay();
  }
  CHECK(y.to(cpu()).data()[999] == 8);
}

TEST_CASE("a graph's memory is its own, is used again within the step, and comes back") {
  const support::cuda_case clean;
  const tensor<float, 1> x = full<float, 1>({1 << 18}, 1.0f, cuda(0));
  collect_references();
  const std::int64_t before = memory_stats(cuda(0)).live;
  {
    tensor<float, 1> y;
    {
      const cuda_graph graph(cuda(0), [&] {
        y = x + 1;
        for (int i = 0; i < 6; ++i) y = tensor<float, 1>(y * 2);  // two of 1 MiB at a time
      });
      CHECK(graph.bytes() >= 2 << 20);
      CHECK(graph.bytes() <= 4 << 20);
      CHECK(memory_stats(cuda(0)).live == before + graph.bytes());
      graph.replay();
      graph.replay();
    }
    CHECK(y.to(cpu()).data()[12345] == 128);  // outlives the graph
    CHECK(memory_stats(cuda(0)).live > before);
  }
  collect_references();
  CHECK(memory_stats(cuda(0)).live == before);
}

TEST_CASE("what a graph uses is kept, and what it reads may change in place") {
  const support::cuda_case clean;
  tensor<float, 1> x = full<float, 1>({100}, 1.0f, cuda(0));
  tensor<float, 1> y = zeros<float, 1>({100}, cuda(0));
  const tensor<float, 1> held = x;
  const cuda_graph graph(cuda(0), [&] { assign(y, y + x * 2); });
  x = tensor<float, 1>();
  graph.replay();
  assign(held, held * 0 + 5);
  graph.replay();
  CHECK(y.to(cpu()).data()[99] == 12);
}

TEST_CASE("what a graph cannot hold is refused, and nothing is left of it") {
  const support::cuda_case clean;
  const tensor<float, 1> x = full<float, 1>({8}, 3.0f, cuda(0));
  tensor<float, 1> y = zeros<float, 1>({8}, cuda(0));
  const tensor<float, 0> one = full<float, 0>({}, 3.0f, cuda(0));
  const auto refused = [&](const char* sentence, auto step) {
    CHECK_THROWS_WITH_AS(cuda_graph(cuda(0), step), sentence, state_error);
    CHECK(current_stream(cuda(0)) == default_stream(cuda(0)));
    assign(y, x);
    CHECK(one.item() == 3);  // eager work goes on
  };
  refused(
      "heddle::cuda_graph: the step waits for the device, where nothing runs yet; read results "
      "after a replay",
      [&] {
        assign(y, x * 2);
        static_cast<void>(one.item());
      });
  CHECK(values(y) == values(x));
  refused(
      "heddle::cuda_graph: the step copies from the host, whose memory a replay would not read "
      "again; make tensors on the device and write into them before a replay",
      [&] {
        assign(y, tensor<float, 1>{1, 2, 3, 4, 5, 6, 7, 8}.to(cuda(0)));
      });
  refused("heddle::cuda_graph: the step makes or replays a graph itself",
          [&] { cuda_graph(cuda(0), [] {}); });
  refused(
      "heddle::cuda_graph: the step orders its stream among others; a graph holds the work of one",
      [&] {
        event done;
        done.record(current_stream(cuda(0)));
      });
  refused("heddle::cuda_graph: the step queues a function of the host",
          [&] { current_stream(cuda(0)).enqueue([] {}); });
  const char* const second =
      "heddle::cuda_graph: the step uses a second stream or device; a graph holds the work of one "
      "stream";
  refused(second, [&] {
    const stream_scope other{stream(cuda(0))};
    assign(y, x * 2);
  });
  refused("heddle::cuda_graph: the step went on after it was refused", [&] {
    try {
      static_cast<void>(one.item());
    } catch (const state_error&) {
    }
  });
  if (cuda_device_count() > 1) {
    const tensor<float, 1> there = full<float, 1>({8}, 3.0f, cuda(1));
    refused(second, [&] { assign(there, there * 2); });
    refused(
        "heddle::cuda_graph: the step uses a second stream or device; a graph holds the work of "
        "one "
        "stream",
        [&] { static_cast<void>(zeros<float, 1>({4}, cuda(1))); });
  }
  CHECK_THROWS_WITH_AS(cuda_graph(cpu(), [] {}),
                       "heddle::cuda_graph: the device has no graphs: cpu; only CUDA devices have",
                       device_error);
  // what the step throws comes out
  CHECK_THROWS_AS(cuda_graph(cuda(0), [&] { assign(y, x + tensor<float, 1>()); }), state_error);
}

#if !defined(HEDDLE_TEST_ON_GPU)

TEST_CASE("a replay is one launch, and a change of a kernel's scalars one call more") {
  const support::cuda_case clean;
  training<optim::adamw<float>> t(optim::adamw_options{.lr = 1e-2});
  t.feed(0);
  t.step();
  stand_in::reset_counters();
  t.step();
  const std::uint64_t eager = stand_in::launches();
  const cuda_graph graph(cuda(0), [&] { t.step(); });
  stand_in::reset_counters();
  graph.replay();
  CHECK(eager >= 4);
  CHECK(stand_in::calls() <= 4);  // current device, optimizer's scalars, launch
}

TEST_CASE("a replay that fails is not counted as a step") {
  const support::cuda_case clean;
  training<optim::sgd<float>> t(optim::sgd_options{.lr = 0.1, .momentum = 0.9});
  t.feed(0);
  const cuda_graph graph(cuda(0), [&] { t.step(); });
  const auto steps = [&] {
    std::vector<std::int64_t> all;
    for (const auto& [name, value] : t.optimizer.state_dict()) {
      if (name.ends_with(".step")) all.push_back(value.as<std::int64_t, 0>().item());
    }
    return all;
  };
  graph.replay();
  CHECK(steps() == std::vector<std::int64_t>(4, 1));
  for (std::uint64_t k = 1; k <= 3; ++k) {
    stand_in::fail_call(k, cudaErrorNotSupported);
    CHECK_THROWS_AS(graph.replay(), cuda_error);
    CHECK(steps() == std::vector<std::int64_t>(4, 1));
  }
  graph.replay();
  CHECK(steps() == std::vector<std::int64_t>(4, 2));
}

TEST_CASE("after a failure of any call of a capture eager steps go on") {
  const support::cuda_case clean;
  const tensor<float, 1> x = full<float, 1>({8}, 3.0f, cuda(0));
  tensor<float, 1> y = zeros<float, 1>({8}, cuda(0));
  const auto capture = [&] {
    const cuda_graph graph(cuda(0), [&] { assign(y, y + tensor<float, 1>(x * 2)); });
    graph.replay();
  };
  stand_in::reset_counters();
  capture();
  const std::uint64_t calls = stand_in::calls();
  float wanted = 6;
  int failures = 0;
  for (std::uint64_t k = 1; k <= calls; ++k) {
    stand_in::fail_call(k, cudaErrorNotSupported);
    try {
      capture();
    } catch (const cuda_error& e) {
      ++failures;
    }
    stand_in::fail_call(0, cudaSuccess);
    const float now = y.to(cpu()).data()[0];
    CHECK((now == wanted || now == wanted + 6));
    wanted = now;
  }
  CHECK(failures > 5);
  capture();
  CHECK(y.to(cpu()).data()[0] == wanted + 6);
}

#endif
