// SPDX-License-Identifier: BSD-3-Clause
// A model sharded over two host devices: examples/digits' own, its type unchanged.
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "../../examples/digits/model.hpp"
#include <doctest/doctest.h>

#include <heddle/heddle.hpp>

using heddle::cpu;
using heddle::tensor;
using heddle::variable;
using heddle::placement::explicit_map;
using two_stages = heddle::sharded<digits_model, explicit_map<0, 0, 1>>;

namespace {

struct images {
  tensor<float, 2> x = heddle::rand<float, 2>({12, 64});
  tensor<std::int64_t, 1> y{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1};
};

std::vector<float> values(const heddle::any_tensor& t) {
  const heddle::any_tensor here = t.to(cpu()).contiguous();
  std::vector<float> result(static_cast<std::size_t>(here.size()));
  if (!result.empty()) std::memcpy(result.data(), here.data(), here.bytes());
  return result;
}

// Losses of some steps, then the gradients of the last and the parameters.
template <class Model>
std::vector<std::vector<float>> trained(Model& model, const images& given, heddle::device first,
                                        heddle::device last) {
  heddle::optim::adamw optimizer(heddle::parameters(model), {.lr = 1e-2});
  std::vector<std::vector<float>> result;
  for (int step = 0; step < 3; ++step) {
    variable<float, 0> loss = heddle::cross_entropy(model(given.x.to(first)), given.y.to(last));
    optimizer.zero_grad();
    loss.backward();
    CHECK(loss.device() == last);
    optimizer.step();
    result.push_back({loss.item()});
  }
  for (const auto& [name, p] : heddle::named_parameters(model)) {
    result.push_back(values(p.grad()));
    result.push_back(values(p.value()));
  }
  return result;
}

// Tasks that wait on it hold a queue up.
struct latch {
  std::atomic<bool> open{false};
  void pass() const {
    while (!open.load()) sched_yield();
  }
};

}  // namespace

TEST_CASE("a sharded model equals the whole one, bit for bit: losses, gradients, parameters") {
  heddle::manual_seed(7);
  const images given;
  digits_model whole;
  heddle::to(whole, cpu(0));
  const auto expected = trained(whole, given, cpu(0), cpu(0));

  heddle::manual_seed(7);
  const images same;
  two_stages parts(digits_model{}, {cpu(0), cpu(1)});
  CHECK(parts.last_device() == cpu(1));
  CHECK(trained(parts, same, cpu(), cpu(1)) == expected);
  CHECK(expected[2][0] < expected[0][0]);

  SUBCASE("at every cut") {
    heddle::manual_seed(7);
    const images again;
    heddle::sharded<digits_model, explicit_map<0, 1, 1>> other(digits_model{}, {cpu(0), cpu(1)});
    variable<float, 0> loss =
        heddle::cross_entropy(other(again.x), again.y.to(other.last_device()));
    CHECK(loss.item() == expected[0][0]);
    heddle::manual_seed(7);
    const images third;
    heddle::sharded<digits_model, explicit_map<0, 1, 2>> three(digits_model{},
                                                               {cpu(0), cpu(1), cpu(2)});
    variable<float, 0> l = heddle::cross_entropy(three(third.x), third.y.to(three.last_device()));
    CHECK(l.item() == expected[0][0]);
  }
}

TEST_CASE("parameters are drawn on their stage's device, and keep their names") {
  two_stages parts(digits_model{}, {cpu(0), cpu(1)});
  const auto named = heddle::named_parameters(parts);
  std::vector<std::string> names;
  for (const auto& [name, p] : named) {
    names.push_back(name);
    CHECK(p.device() == (name.substr(0, 3) == "fc3" ? cpu(1) : cpu(0)));
    CHECK_FALSE(p.is_materialised());
  }
  CHECK(names == std::vector<std::string>{"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias",
                                          "fc3.weight", "fc3.bias"});
  static_cast<void>(variable<float, 2>(parts(heddle::zeros<float, 2>({1, 64}))));
  for (const auto& [name, p] : named) CHECK(p.value().device() == p.device());
}

TEST_CASE("gradients cross back over the cut") {
  two_stages parts(digits_model{}, {cpu(0), cpu(1)});
  const variable<float, 2> x(heddle::rand<float, 2>({3, 64}));
  variable<float, 0> loss = heddle::sum(parts(x));
  CHECK(loss.device() == cpu(1));
  loss.backward();
  CHECK(parts.model().fc1.weight.grad().device() == cpu(0));
  CHECK(parts.model().fc3.weight.grad().device() == cpu(1));
  REQUIRE(x.grad().defined());
  CHECK(x.grad().device() == cpu());
  float largest = 0;
  for (const float each : x.grad()) largest = each > largest ? each : largest;
  CHECK(largest > 0);
}

TEST_CASE("a blocked cpu(0) leaves cpu(1) and the enqueuing thread running") {
  two_stages parts(digits_model{}, {cpu(0), cpu(1)});
  const images given;
  const float expected = [&] {
    variable<float, 0> loss = heddle::cross_entropy(parts(given.x), given.y.to(cpu(1)));
    return loss.item();
  }();

  latch held;
  std::atomic<bool> passed{false};
  heddle::default_stream(cpu(0)).enqueue([&] {
    held.pass();
    passed = true;
  });
  // cpu(1) computes its own layer and the result is read while cpu(0) stands still
  const variable<float, 2> hidden(heddle::ones<float, 2>({4, 128}, cpu(1)), false);
  variable<float, 2> logits = parts.model().fc3(hidden);
  float sum = 0;
  for (const float each : logits.value()) sum += each;
  CHECK(sum == sum);
  // and a whole step through both is enqueued by this thread, which waits for nothing
  variable<float, 0> loss = heddle::cross_entropy(parts(given.x), given.y.to(cpu(1)));
  loss.backward();
  CHECK_FALSE(passed.load());
  held.open = true;
  CHECK(loss.item() == expected);
  CHECK(passed.load());
  CHECK(parts.model().fc1.weight.grad().defined());
  heddle::synchronize(cpu(0));
}

TEST_CASE("outside of a sharded model an input on another device is an error") {
  two_stages parts(digits_model{}, {cpu(0), cpu(1)});
  CHECK_THROWS_AS(
      static_cast<void>(variable<float, 2>(parts.model()(heddle::zeros<float, 2>({1, 64})))),
      heddle::device_error);
}

TEST_CASE("a map that does not fit the model or the devices is refused with the layers' names") {
  using heddle::sharded;
  CHECK_THROWS_WITH_AS(
      (sharded<digits_model, explicit_map<0>>(digits_model{}, {cpu(0)})),
      "heddle::placement::explicit_map: the model has 3 layers with parameters, the map "
      "has 1; it does not cover fc2 fc3",
      heddle::value_error);
  CHECK_THROWS_AS(
      (sharded<digits_model, explicit_map<0, 0, 1, 1>>(digits_model{}, {cpu(0), cpu(1)})),
      heddle::value_error);
  CHECK_THROWS_WITH_AS(
      (two_stages(digits_model{}, {cpu(0)})),
      "heddle::placement::explicit_map: there are too few devices: 1; the map names 2",
      heddle::value_error);
}

TEST_CASE("layers on different devices that share a parameter are refused") {
  digits_model tied;
  tied.fc2.bias = tied.fc1.bias;
  CHECK_THROWS_AS((heddle::sharded<digits_model, explicit_map<0, 1, 1>>(tied, {cpu(0), cpu(1)})),
                  heddle::value_error);
  digits_model same_stage;
  same_stage.fc2.bias = same_stage.fc1.bias;
  const two_stages fits(same_stage, {cpu(0), cpu(1)});
  CHECK(to_string(fits.plan()) ==
        "fc1: stage 0, cpu:0, 8320 parameters, 33280 bytes\n"
        "fc2: stage 0, cpu:0, 16512 parameters, 66048 bytes\n"
        "fc3: stage 1, cpu:1, 1290 parameters, 5160 bytes\n");
}

TEST_CASE("what a sharded model saves another placement loads") {
  two_stages parts(digits_model{}, {cpu(0), cpu(1)});
  heddle::manual_seed(99);
  digits_model whole;
  heddle::load_state_dict(whole, heddle::state_dict(parts));
  const tensor<float, 2> x = heddle::rand<float, 2>({5, 64});
  const variable<float, 2> a = parts(x);
  heddle::to(whole, cpu(1));
  const variable<float, 2> b = whole(x.to(cpu(1)));
  CHECK(values(a.value()) == values(b.value()));
}

TEST_CASE("a sharded model without gradients gives the same values, and records nothing") {
  two_stages parts(digits_model{}, {cpu(0), cpu(1)});
  const tensor<float, 2> x = heddle::rand<float, 2>({5, 64});
  const variable<float, 2> recorded = parts(x);
  const tensor<float, 2> plain = heddle::inference(parts)(x);
  CHECK(recorded.requires_grad());
  CHECK(plain.device() == cpu(1));
  CHECK(values(plain) == values(recorded.value()));
}

namespace {

/// Policies that a user got wrong.
struct places_one_layer {
  static heddle::placement::plan assign(std::span<const heddle::placement::layer_cost> layers,
                                        std::span<const heddle::device> devices) {
    return {{{layers[0], 0}}, {devices.begin(), devices.end()}};
  }
};
struct places_nowhere {
  static heddle::placement::plan assign(std::span<const heddle::placement::layer_cost> layers,
                                        std::span<const heddle::device> devices) {
    heddle::placement::plan made{{}, {devices.begin(), devices.end()}};
    for (const auto& layer : layers) made.layers.push_back({layer, 2});
    return made;
  }
};

}  // namespace

TEST_CASE("a plan that does not fit the model or the devices is refused by a sentence") {
  const std::vector<heddle::device> devices{cpu(0), cpu(1)};
  CHECK_THROWS_WITH_AS((heddle::sharded<digits_model, places_one_layer>(digits_model{}, devices)),
                       "heddle::sharded: the policy places another number of layers: 1; the model "
                       "has 3",
                       heddle::value_error);
  CHECK_THROWS_WITH_AS((heddle::sharded<digits_model, places_nowhere>(digits_model{}, devices)),
                       "heddle::sharded: the policy places fc1 on a stage that is not there: 2; "
                       "there are 2",
                       heddle::value_error);
  CHECK_THROWS_AS((heddle::sharded<digits_model, places_nowhere>(digits_model{}, {})),
                  heddle::value_error);
}

TEST_CASE("after a failure that was reported, the next attempt over two devices works") {
  const tensor<float, 1> table = heddle::ones<float, 1>({4}, cpu(0));
  const auto attempt = [&] {
    const tensor<float, 1> h = table * 2.f;
    const tensor<float, 1> r = h.to(cpu(1)) + 1.f;
    return r(0);
  };
  heddle::current_stream(cpu(0)).enqueue([] { throw std::runtime_error("bad step"); });
  CHECK_THROWS_WITH_AS(attempt(), "bad step", std::runtime_error);
  CHECK(attempt() == 3);
  CHECK(attempt() == 3);
  heddle::synchronize(cpu(0));
}
