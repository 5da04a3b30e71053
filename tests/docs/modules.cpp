// SPDX-License-Identifier: BSD-3-Clause
// The examples of docs/reference/nn.md and docs/reference/optim.md.
#include <cmath>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/nn/activation.hpp>
#include <heddle/nn/dropout.hpp>
#include <heddle/nn/layer_norm.hpp>
#include <heddle/nn/sequential.hpp>
#include <heddle/nn/state.hpp>
#include <heddle/optim/adamw.hpp>
#include <heddle/optim/scheduler.hpp>
#include <heddle/optim/sgd.hpp>

namespace {

//! [training-flag]
struct doubling {  // while it is trained only
  heddle::training_flag training;
  HEDDLE_MODULE(doubling, training)

  auto forward(const auto& x) const { return x * (training ? 2.f : 1.f); }
};
//! [training-flag]

//! [module-list]
struct tower {
  heddle::nn::module_list<heddle::nn::linear> layers{2, 8, 8};  // two of linear(8, 8)
  HEDDLE_MODULE(tower, layers)

  auto forward(const auto& x) {
    heddle::variable<float, 2> y = x;
    for (auto& layer : layers) y = heddle::relu(layer(y));
    return y;
  }
};
//! [module-list]

//! [call-observer]
/// The names of all modules that are called, indented by their depth.
struct call_names final : heddle::call_observer {
  std::vector<std::string> names;

  void enter(const heddle::module_call& call) override {
    std::string indent;
    for (auto* outer = call.parent(); outer != nullptr; outer = outer->parent()) indent += "  ";
    names.push_back(indent + call.qualified_name());
  }
  void leave(const heddle::module_call&) noexcept override {}
};

template <heddle::module Model>
std::vector<std::string> calls_of(Model& model, const heddle::tensor<float, 2>& x) {
  call_names observer;
  const heddle::observe_calls watch(observer);  // until the end of this scope
  static_cast<void>(heddle::call(model, x));    // as model(x)
  return observer.names;
}
//! [call-observer]

//! [current-call]
struct named {
  std::string* name;
  HEDDLE_MODULE(named, name)

  auto forward(const auto& x) const {
    *name = heddle::current_module_call()->qualified_name();
    return x * 1;
  }
};
//! [current-call]

struct holds_named {
  named inner;
  HEDDLE_MODULE(holds_named, inner)
  auto forward(const auto& x) const { return inner(x); }
};

}  // namespace

TEST_CASE("losses are reduced by mean, sum or not at all") {
  //! [losses]
  using heddle::reduction;
  const heddle::tensor<float, 1> x{0, 1, 5}, target{0, 0, 1};  // |x - target|: 0, 1, 4
  heddle::tensor<float, 0> average = heddle::l1_loss(x, target);
  heddle::tensor<float, 0> total = heddle::l1_loss<reduction::sum>(x, target);
  heddle::tensor<float, 1> each = heddle::huber_loss<reduction::none>(x, target, 2.0);
  heddle::tensor<float, 1> smooth = heddle::smooth_l1_loss<reduction::none>(x, target, 2.0);
  //! [losses]
  CHECK(average.item() == doctest::Approx(5.0 / 3));
  CHECK(total.item() == 5);
  CHECK((each(0) == 0 && each(1) == 0.5f && each(2) == 6));
  CHECK((smooth(0) == 0 && smooth(1) == 0.25f && smooth(2) == 3));
}

TEST_CASE("nll_loss of log_softmax is cross_entropy") {
  //! [nll-loss]
  const heddle::tensor<float, 2> logits{{2, 0}, {0, 1}};
  const heddle::tensor<std::int64_t, 1> classes{0, 1};
  heddle::tensor<float, 2> logs = heddle::log_softmax<-1>(logits);
  heddle::tensor<float, 0> in_two = heddle::nll_loss(logs, classes);
  heddle::tensor<float, 0> in_one = heddle::cross_entropy(logits, classes);
  //! [nll-loss]
  CHECK(in_two.item() == doctest::Approx(in_one.item()));
}

TEST_CASE("activations and normalisation are functions") {
  //! [activations]
  const heddle::tensor<float, 2> x{{-1, 0, 2}};
  heddle::tensor<float, 2> swish = heddle::silu(x);
  heddle::tensor<float, 2> exact = heddle::gelu(x);
  heddle::tensor<float, 2> close = heddle::gelu<heddle::approximate::tanh>(x);
  heddle::tensor<float, 2> normal =
      heddle::layer_norm(x, heddle::ones<float, 1>({3}), heddle::zeros<float, 1>({3}));
  //! [activations]
  CHECK(swish(0, 2) == doctest::Approx(2 / (1 + std::exp(-2.0))));
  CHECK(exact(0, 2) == doctest::Approx(close(0, 2)).epsilon(1e-3));
  CHECK(normal(0, 0) + normal(0, 1) + normal(0, 2) == doctest::Approx(0));
}

TEST_CASE("sequential calls modules of any types in turn") {
  const auto x = heddle::ones<float, 2>({4, 8});
  //! [sequential]
  namespace nn = heddle::nn;
  nn::sequential model(nn::linear(8, 16), nn::gelu(), nn::layer_norm(16), nn::linear(16, 16),
                       nn::gelu_tanh());
  model.push_back(nn::linear_no_bias(16, 4));
  model.push_back(nn::silu());  // or nn::relu, nn::tanh
  heddle::variable y = model(x);

  // of doubles
  using batch = heddle::variable<double, 2>;
  nn::basic_sequential<batch> precise(nn::basic_linear<double>(8, 16),
                                      nn::basic_layer_norm<double>(16),
                                      nn::basic_linear_no_bias<double>(16, 4));
  //! [sequential]
  CHECK(y.extents() == heddle::extents<2>{4, 4});
  CHECK(heddle::state_dict(model)[0].first == "0.weight");
  CHECK(heddle::parameter_count(precise) == 8 * 16 + 16 + 2 * 16 + 16 * 4);
}

TEST_CASE("module_list holds blocks that its owner calls") {
  //! [module-list-use]
  tower model;
  model.layers.emplace_back(8, 4);
  model.layers.push_back(heddle::nn::linear(4, 2));
  heddle::variable y = model(heddle::ones<float, 2>({3, 8}));  // (3, 2)
  const heddle::named_tensors state = heddle::state_dict(model);
  //! [module-list-use]
  CHECK(y.extents() == heddle::extents<2>{3, 2});
  CHECK(model.layers.size() == 4);
  CHECK(state.back().first == "layers.3.bias");
}

TEST_CASE("any_module holds a module of any type") {
  //! [any-module]
  heddle::nn::any_module<> head = heddle::nn::linear(8, 2);
  heddle::variable y = head(heddle::variable(heddle::ones<float, 2>({4, 8}), false));
  const heddle::nn::linear* linear = head.get<heddle::nn::linear>();
  head = heddle::nn::relu();  // the linear layer goes
  //! [any-module]
  CHECK(y.extent(1) == 2);
  CHECK(linear != nullptr);
  CHECK(head.get<heddle::nn::linear>() == nullptr);
}

TEST_CASE("recipes say how parameters begin") {
  //! [init]
  namespace init = heddle::nn::init;
  heddle::parameter<float, 1> scale({64}, init::constant(0.5));
  heddle::parameter<float, 2> before_relu({64, 32}, init::kaiming_normal(32));
  heddle::parameter<float, 2> as_linear({64, 32}, init::kaiming_uniform(32));
  heddle::parameter<float, 2> flat({64, 32}, init::xavier_uniform(32, 64));
  heddle::parameter<float, 2> bell({64, 32}, init::xavier_normal(32, 64));

  // values of a recipe without a parameter: a function of the key, 7
  init::recipe small = init::uniform(-0.1, 0.1);
  heddle::tensor<float, 1> drawn = init::draw<float, 1>(small, {1000}, 7);
  bool is_uniform = small.distribution == init::recipe::kind::uniform;
  //! [init]
  CHECK(is_uniform);
  CHECK(scale.value()(63) == 0.5f);
  for (const float x : drawn) CHECK(std::abs(x) <= 0.1f);
  for (const float x : as_linear.value()) CHECK(std::abs(x) <= 1 / std::sqrt(32.f));
  for (const float x : flat.value()) CHECK(std::abs(x) <= 0.25f);
  CHECK((before_relu.size() == 64 * 32 && bell.size() == 64 * 32));
}

TEST_CASE("layers have their parameters as members") {
  //! [layer-members]
  heddle::nn::linear layer(3, 2);
  heddle::tensor<float, 2> w = layer.weight.value();  // (2, 3), shared
  layer.bias.requires_grad_(false);
  heddle::assign(w, heddle::ones<float, 2>({2, 3}));
  //! [layer-members]
  CHECK(layer.weight.value()(1, 2) == 1);
  //! [parameter]
  heddle::parameter<float, 1> p(heddle::tensor<float, 1>{1, 2, 3});
  p.set_grad(heddle::ones<float, 1>({3}));
  p.zero_grad();

  heddle::buffer<float, 1> running({3}, heddle::nn::init::zeros());
  running.set_value(heddle::tensor<float, 1>{4, 5, 6});
  //! [parameter]
  CHECK_FALSE(p.grad().defined());
  CHECK(running.value()(2) == 6);
}

TEST_CASE("a training flag is set with the model's, or alone") {
  //! [training-flag-use]
  doubling layer;
  heddle::variable trained = layer(heddle::ones<float, 1>({2}));  // 2, 2
  heddle::eval(layer);
  heddle::variable validated = layer(heddle::ones<float, 1>({2}));  // 1, 1
  layer.training.set(true);                                         // this module alone
  //! [training-flag-use]
  CHECK((trained.value()(0) == 2 && validated.value()(0) == 1));
  CHECK(layer.training);
}

TEST_CASE("observers are told of calls") {
  tower model;
  const std::vector<std::string> names = calls_of(model, heddle::ones<float, 2>({3, 8}));
  CHECK(names == std::vector<std::string>{"", "  layers.0", "  layers.1"});
  std::string seen;
  holds_named outer{{&seen}};
  heddle::variable y = outer(heddle::variable(heddle::ones<float, 1>({2})));
  CHECK(seen == "inner");
  CHECK(y.size() == 2);
}

TEST_CASE("within a placement scope inputs follow the parameters") {
  //! [placement-scope]
  heddle::nn::linear first(8, 4), second(4, 2);
  heddle::to(second, heddle::cpu(1));
  const heddle::placement_scope scope;
  heddle::variable y = second(first(heddle::ones<float, 2>({3, 8})));  // on cpu:1
  //! [placement-scope]
  CHECK(y.device() == heddle::cpu(1));
}

TEST_CASE("parameters of any kind") {
  //! [any-parameter]
  heddle::nn::linear model(3, 2);
  std::int64_t elements = heddle::parameter_count(model);  // 8
  heddle::parameter_list all = heddle::parameters(model);
  int told = 0;
  for (const heddle::any_parameter& p : all) {
    p.add_gradient_hook([&](const heddle::any_tensor&) { ++told; });  // as soon as it is final
  }
  heddle::variable loss = sum(model(heddle::ones<float, 2>({4, 3})));
  loss.backward();

  for (const auto& [name, p] : heddle::named_parameters(model)) {
    if (name == "bias") p.copy_(heddle::tensor<float, 1>{1, 2});
    p.set_grad({});  // as zero_grad()
  }
  //! [any-parameter]
  CHECK((elements == 8 && told == 2 && model.bias.value()(1) == 2));
  CHECK_FALSE(model.weight.grad().defined());
}

TEST_CASE("adamw with a schedule") {
  heddle::nn::linear model(3, 2);
  //! [adamw]
  heddle::optim::adamw_options options{
      .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .weight_decay = 0.1};
  heddle::optim::adamw optimizer(heddle::parameters(model), options);
  heddle::optim::cosine_lr schedule(optimizer, 100, 1e-5);  // 100 steps down to 1e-5
  for (int step = 0; step < 100; ++step) {
    heddle::variable loss = mean(square(model(heddle::ones<float, 2>({4, 3}))));
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    schedule.step();
  }
  optimizer.options.weight_decay = 0;  // from now on
  //! [adamw]
  CHECK(optimizer.lr() == doctest::Approx(1e-5));
}

TEST_CASE("sgd with and without momentum") {
  heddle::nn::linear model(3, 2);
  //! [sgd]
  heddle::optim::sgd_options options{.lr = 0.1, .momentum = 0.9, .dampening = 0.1};
  heddle::optim::sgd heavy(heddle::parameters(model), options);
  heddle::optim::sgd ahead(heddle::parameters(model),
                           {.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4, .nesterov = true});
  heavy.options.lr /= 10;
  //! [sgd]
  CHECK(heavy.lr() == doctest::Approx(0.01));
  CHECK(ahead.options.nesterov);
}
