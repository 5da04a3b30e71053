// SPDX-License-Identifier: BSD-3-Clause
// Modules: names, state dicts, calls and their scopes, parameters that wait for their values.
#include <cmath>
#include <cstring>

#include <doctest/doctest.h>

#include <heddle/nn/activation.hpp>
#include <heddle/nn/dropout.hpp>
#include <heddle/nn/layer_norm.hpp>
#include <heddle/nn/linear.hpp>
#include <heddle/nn/sequential.hpp>
#include <heddle/nn/state.hpp>

using namespace heddle;

namespace {

struct mlp {
  nn::linear fc1{8, 6}, fc2{6, 3};
  HEDDLE_MODULE(mlp, fc1, fc2)
  auto forward(const auto& x) const { return fc2(relu(fc1(x))); }
};

struct block {
  nn::layer_norm norm{6};
  nn::linear inner{6, 6};
  HEDDLE_MODULE(block, norm, inner)
  template <class X>
  auto forward(const X& x) const {
    return x + gelu(inner(norm(x)));
  }
};

struct stack {
  nn::linear enter{8, 6};
  nn::module_list<block> layers{3};
  nn::dropout drop{0.5};
  parameter<float, 1> scale{{6}, nn::init::ones()};
  buffer<std::int64_t, 0> calls{extents<0>{}};
  int width = 6;
  HEDDLE_MODULE(stack, enter, layers, drop, scale, calls, width)
  auto forward(const auto& x) {
    variable h = enter(x);
    for (auto& each : layers) h = each(h);
    return drop(h) * scale;
  }
};

struct tied_layers {
  nn::linear first{4, 4}, second{4, 4};
  HEDDLE_MODULE(tied_layers, first, second)
  tied_layers() { second.weight = first.weight; }
  auto forward(const auto& x) { return second(first(x)); }
};

generator numbers(11);
tensor<float, 2> batch(std::int64_t rows = 5, std::int64_t columns = 8) {
  return randn<float, 2>({rows, columns}, numbers);
}
template <class T, int Rank>
bool equal(const tensor<T, Rank>& a, const tensor<T, Rank>& b) {
  if (a.extents() != b.extents()) return false;
  auto other = b.begin();
  for (const T v : a) {
    if (v != *other++) return false;
  }
  return true;
}
std::string names_of(const named_tensors& list) {
  std::string all;
  for (const auto& [name, value] : list) all += (all.empty() ? "" : " ") + name;
  return all;
}

struct recorder final : call_observer {
  std::string seen;
  void enter(const module_call& call) override {
    seen += "<" + call.qualified_name() + "@" + to_string(call.device());
  }
  void leave(const module_call&) noexcept override { seen += ">"; }
};

}  // namespace

TEST_CASE("state dicts have PyTorch's names, in the order of the members") {
  stack m;
  CHECK(names_of(state_dict(m)) ==
        "enter.weight enter.bias layers.0.norm.weight layers.0.norm.bias layers.0.inner.weight "
        "layers.0.inner.bias layers.1.norm.weight layers.1.norm.bias layers.1.inner.weight "
        "layers.1.inner.bias layers.2.norm.weight layers.2.norm.bias layers.2.inner.weight "
        "layers.2.inner.bias scale calls");
  CHECK(parameters(m).size() == 15);
  CHECK(parameter_count(m) == 8 * 6 + 6 + 3 * (6 + 6 + 36 + 6) + 6);
  nn::sequential s(nn::linear(8, 6), nn::relu(), nn::linear(6, 3));
  CHECK(names_of(state_dict(s)) == "0.weight 0.bias 2.weight 2.bias");
}

TEST_CASE(
    "a parameter that two members share is one parameter, and comes twice in the state dict") {
  tied_layers m;
  CHECK(parameters(m).size() == 3);
  CHECK(state_dict(m).size() == 4);
  variable loss = sum(m(batch(2, 4)));
  loss.backward();
  CHECK(m.first.weight.grad().defined());
  tied_layers copy = clone(m);
  CHECK(copy.first.weight.is_same(copy.second.weight));
  CHECK_FALSE(copy.first.weight.is_same(m.first.weight));
}

TEST_CASE("initial values depend on seed and name alone: not on order, use or device") {
  manual_seed(5);
  mlp a, b, c;
  static_cast<void>(a.fc2.weight.extents());
  variable<float, 2> through = b(batch());
  to(c, cpu(1));
  for (auto& [name, p] : named_parameters(c)) CHECK_FALSE(p.is_materialised());
  const named_tensors of_a = state_dict(a);
  const named_tensors of_b = state_dict(b);
  const named_tensors of_c = state_dict(c);
  for (std::size_t i = 0; i < of_a.size(); ++i) {
    CHECK(of_c[i].second.device() == cpu(1));
    const any_tensor moved = of_c[i].second.to(cpu());
    REQUIRE(of_a[i].second.bytes() == of_b[i].second.bytes());
    CHECK(std::memcmp(of_a[i].second.data(), of_b[i].second.data(), of_a[i].second.bytes()) == 0);
    CHECK(std::memcmp(of_a[i].second.data(), moved.data(), of_a[i].second.bytes()) == 0);
  }
  manual_seed(6);
  mlp d;
  CHECK_FALSE(equal(d.fc1.weight.value(), a.fc1.weight.value()));
  CHECK_FALSE(equal(a.fc1.bias.value(), tensor<float, 1>(a.fc2.weight.value()(0))));
  manual_seed(generator::default_seed);
}

TEST_CASE("a linear layer starts within one over the root of its inputs, and fills that range") {
  nn::linear l(400, 50);
  float largest = 0, sum_of_squares = 0;
  for (const float w : l.weight.value()) {
    largest = std::fmax(largest, std::fabs(w));
    sum_of_squares += w * w;
  }
  CHECK(largest <= 0.05f);
  CHECK(largest > 0.0499f);
  CHECK(sum_of_squares / (400 * 50) == doctest::Approx(0.05 * 0.05 / 3).epsilon(0.02));
}

TEST_CASE("nothing is materialised by names, counts, moves and training modes") {
  stack m;
  static_cast<void>(parameters(m));
  static_cast<void>(parameter_count(m));
  to(m, meta());
  eval(m);
  for (auto& [name, p] : named_parameters(m)) CHECK_FALSE(p.is_materialised());
  const tensor<float, 2> x = empty<float, 2>({4, 8}, meta());
  const variable<float, 2> y = m(x);
  CHECK(y.extents() == extents<2>{4, 6});
  CHECK(y.device() == meta());
}

TEST_CASE("loading says all that is missing, unexpected and different, and then changes nothing") {
  mlp m;
  named_tensors values = state_dict(clone(m));
  const tensor<float, 2> before = m.fc1.weight.value().clone();
  values.erase(values.begin() + 3);
  values[2].second = zeros<float, 2>({3, 7});
  values.emplace_back("fc9.weight", zeros<float, 1>({2}));
  const char* const sentence =
      "heddle::load_state_dict: the state dict is not this module's: missing: fc2.bias; "
      "unexpected: "
      "fc9.weight; of other extents or dtype: fc2.weight is f32 (3, 7) for f32 (3, 6); nothing was "
      "loaded";
  CHECK_THROWS_WITH_AS(load_state_dict(m, values), sentence, value_error);
  CHECK(equal(before, m.fc1.weight.value()));

  values[2].second = zeros<float, 2>({3, 6});
  values[0].second = full<float, 2>({6, 8}, 2);
  load_state_dict(m, values, false);
  CHECK(m.fc1.weight.value()(5, 7) == 2);
  CHECK(m.fc2.weight.value()(0, 0) == 0);
}

TEST_CASE("a state dict goes into another module by value, into values that wait as well") {
  mlp a;
  manual_seed(9);
  mlp b;
  manual_seed(generator::default_seed);
  load_state_dict(b, state_dict(a));
  const tensor<float, 2> x = batch();
  CHECK(equal(inference(a)(x), inference(b)(x)));
  a.fc1.weight.value()(0, 0) += 1;
  CHECK_FALSE(equal(inference(a)(x), inference(b)(x)));
}

TEST_CASE("copies share parameters, clones do not, erased modules included") {
  nn::sequential s(nn::linear(8, 6), nn::relu(), nn::linear(6, 3));
  nn::sequential copy = s;
  nn::sequential separate = clone(s);
  const tensor<float, 2> x = batch();
  const variable<float, 2> y = s(x);
  CHECK(equal(y.value(), separate(x).value()));
  s[0].get<nn::linear>()->weight.value()(0, 0) += 1;
  CHECK(equal(s(x).value(), copy(x).value()));
  CHECK_FALSE(equal(s(x).value(), separate(x).value()));
}

TEST_CASE("calls know their qualified names and devices, and observers see them begin and end") {
  stack m;
  recorder seen;
  {
    const observe_calls watch(seen);
    variable<float, 2> y = m(batch());
  }
  CHECK(seen.seen ==
        "<@cpu<enter@cpu><layers.0@cpu<layers.0.norm@cpu><layers.0.inner@cpu>>"
        "<layers.1@cpu<layers.1.norm@cpu><layers.1.inner@cpu>>"
        "<layers.2@cpu<layers.2.norm@cpu><layers.2.inner@cpu>><drop@cpu>>");
  CHECK(current_module_call() == nullptr);
  nn::sequential s(nn::linear(8, 6), nn::relu());
  recorder of_s;
  {
    const observe_calls watch(of_s);
    static_cast<void>(s(batch()));
  }
  CHECK(of_s.seen == "<@cpu<0@cpu><1@cpu>>");
}

TEST_CASE("a call that throws leaves no scope behind") {
  mlp m;
  recorder seen;
  const observe_calls watch(seen);
  CHECK_THROWS_WITH_AS(static_cast<void>(m(batch(2, 5))),
                       "heddle::linear: the input's last extent is not the features of the weight "
                       "(6, 8): 5; 8 is expected",
                       shape_error);
  CHECK(current_module_call() == nullptr);
  CHECK(seen.seen == "<@cpu<fc1@cpu>>");
}

TEST_CASE(
    "inputs on another device are an error, and move within a placement scope, with gradients") {
  mlp m;
  to(m.fc2, cpu(1));
  const tensor<float, 2> x = batch();
  CHECK_THROWS_WITH_AS(
      static_cast<void>(m(x)),
      "heddle::call: an input of fc2 is on cpu, its parameters are on cpu:1; move one "
      "with to(device), or place the model",
      device_error);
  mlp whole = m;
  mlp alone = clone(m);
  to(alone, cpu());
  const placement_scope moves;
  const variable<float, 2> input(x);
  const variable y = m(input);
  CHECK(y.device() == cpu(1));
  const variable<float, 2> other(x);
  const variable expected = alone(other);
  CHECK(equal(y.value(), expected.value().to(cpu(1))));
  y.backward(ones_like(y.value()));
  expected.backward(ones_like(expected.value()));
  CHECK(m.fc2.weight.grad().device() == cpu(1));
  CHECK(input.grad().device() == cpu());
  CHECK(equal(m.fc2.weight.grad().to(cpu()), alone.fc2.weight.grad()));
  CHECK(equal(m.fc1.weight.grad(), alone.fc1.weight.grad()));
  CHECK(equal(input.grad(), other.grad()));
}

TEST_CASE("inference returns tensors, records nothing, and gives training's values") {
  stack m;
  eval(m);
  const tensor<float, 2> x = batch();
  const auto y = inference(m)(x);
  static_assert(std::is_same_v<decltype(y), const tensor<float, 2>>);
  const variable<float, 2> trained = m(x);
  CHECK(equal(y, trained.value()));
  mlp n;
  static_assert(std::is_same_v<decltype(inference(n)(x)), tensor<float, 2>>);
  CHECK(is_grad_enabled());
}

TEST_CASE("dropout drops while training and passes on what it gets in evaluation") {
  nn::dropout drop(0.5);
  const tensor<float, 2> x = ones<float, 2>({40, 40});
  float total = 0;
  for (const float v : drop(x)) {
    CHECK((v == 0 || v == 2));
    total += v;
  }
  CHECK(total == doctest::Approx(1600).epsilon(0.1));
  eval(drop);
  CHECK(drop(x).data() == x.data());
  train(drop);
  CHECK(drop(x).data() != x.data());
}

TEST_CASE("a gradient hook of a parameter is called once a pass, with the final gradient") {
  mlp m;
  int calls = 0;
  tensor<float, 1> seen;
  parameters(m)[1].add_gradient_hook([&](const any_tensor& g) {
    ++calls;
    seen = g.as<float, 1>();
  });
  variable loss = sum(m(batch()));
  loss.backward();
  CHECK(calls == 1);
  CHECK(equal(seen, m.fc1.bias.grad()));
  zero_grad(m);
  CHECK_FALSE(m.fc1.bias.grad().defined());
}

TEST_CASE("a parameter is an operand like any other, also of matmul") {
  parameter<float, 2> w({3, 4}, nn::init::normal());
  const tensor<float, 2> x = batch(2, 3);
  const variable y = matmul(x, w) * 2 + sum<0>(w);
  y.backward(ones_like(y.value()));
  for (std::int64_t i = 0; i < 3; ++i) {
    CHECK(w.grad()(i, 1) == doctest::Approx(2 * (x(0, i) + x(1, i)) + 2));
  }
  const parameter<float, 1> undefined;
  CHECK_THROWS_AS(static_cast<void>(undefined.value()), state_error);
}
