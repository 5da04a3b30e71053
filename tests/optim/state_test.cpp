// SPDX-License-Identifier: BSD-3-Clause
// What optimizers keep: names, numbers of steps, state dicts; and what they and schedules refuse.
#include <array>

#include <doctest/doctest.h>

#include <heddle/nn/linear.hpp>
#include <heddle/optim/adamw.hpp>
#include <heddle/optim/scheduler.hpp>
#include <heddle/optim/sgd.hpp>

using namespace heddle;

namespace {

struct two_layers {
  nn::linear fc1{2, 2}, fc2{2, 2};
  HEDDLE_MODULE(two_layers, fc1, fc2)
  auto forward(const auto& x) const { return fc2(fc1(x)); }
};

struct scalar_model {
  parameter<float, 1> w{tensor<float, 1>{1.f}};
  HEDDLE_MODULE(scalar_model, w)
  void set_gradient(float g) { w.set_grad(tensor<float, 1>{g}); }
};

void set_gradients(const parameter_list& list) {
  for (const any_parameter& p : list) {
    p.materialise();
    if (p.rank() == 2) {
      p.set_grad(full<float, 2>({2, 2}, 1.f));
    } else {
      p.set_grad(full<float, 1>({2}, 1.f));
    }
  }
}

float first_of(const any_tensor& t) { return *reinterpret_cast<const float*>(t.data()); }

// An optimizer whose launches fail from a number on.
struct failing final : optim::detail::optimizer<1, float> {
  explicit failing(const parameter_list& list) : optimizer("failing") { add_parameters(list); }
  int launches_left = 0;
  void step() {
    const auto scalars = [](std::int64_t) { return std::array<double, 1>{}; };
    for_each_launch(true, scalars, [&](auto, device, const auto&, const auto&) {
      if (launches_left-- == 0) raise<state_error>("heddle::failing: failed");
    });
  }
  std::int64_t steps(std::size_t i) const { return slots()[i].steps; }
};

}  // namespace

TEST_CASE("schedules refuse periods below one step") {
  scalar_model m;
  optim::sgd optimizer(parameters(m));
  CHECK_THROWS_WITH_AS(optim::step_lr(optimizer, 0),
                       "heddle::step_lr: the size is not positive: 0; a number of steps of 1 or "
                       "more is expected",
                       value_error);
  CHECK_THROWS_WITH_AS(optim::cosine_lr(optimizer, -3),
                       "heddle::cosine_lr: the period is not positive: -3; a number of steps of 1 "
                       "or more is expected",
                       value_error);
}

TEST_CASE("a step that throws is not counted") {
  two_layers m;
  const parameter_list list = parameters(m);
  failing optimizer(list);
  set_gradients(list);
  CHECK_THROWS_AS(optimizer.step(), state_error);
  for (std::size_t i = 0; i < 4; ++i) CHECK(optimizer.steps(i) == 0);
  to(m.fc2, cpu(1));
  set_gradients(parameters(m.fc1));
  optimizer.launches_left = 1;  // of two: one a device
  CHECK_THROWS_AS(optimizer.step(), state_error);
  CHECK(optimizer.steps(0) == 1);
  CHECK(optimizer.steps(2) == 0);
}

TEST_CASE("an optimizer refuses a parameter or a name that comes twice, and then adds none") {
  two_layers m;
  optim::adamw optimizer(parameters(m.fc1));
  CHECK_THROWS_WITH_AS(optimizer.add_parameters(parameters(m.fc1)),
                       "heddle::adamw: a parameter was added before: weight; each parameter once "
                       "is expected",
                       value_error);
  CHECK_THROWS_WITH_AS(optimizer.add_parameters(parameters(m.fc2)),
                       "heddle::adamw: two parameters have one name: weight; the parameters of one "
                       "module that holds both are expected",
                       value_error);
  CHECK(optimizer.size() == 2);
  two_layers a, b;
  parameter_list both = parameters(a);
  for (const any_parameter& p : parameters(b)) both.push_back(p);
  CHECK_THROWS_AS((optim::sgd(both, {.momentum = 0.9})), value_error);
}

TEST_CASE("the names in an optimizer's state dict are those of the parameters when they came") {
  two_layers m;
  optim::adamw part(parameters(m.fc1));
  optim::adamw whole(parameters(m));
  set_gradients(parameters(m));
  part.step();
  whole.step();
  CHECK(part.state_dict()[0].first == "weight.exp_avg");
  CHECK(whole.state_dict()[0].first == "fc1.weight.exp_avg");
}

TEST_CASE("loading an optimizer's state checks all of it before it changes any") {
  two_layers m;
  const parameter_list list = parameters(m);
  optim::adamw from(list), into(list);
  set_gradients(list);
  from.step();
  from.step();
  const named_tensors good = from.state_dict();
  REQUIRE(good.size() == 12);
  const auto refused = [&](const named_tensors& bad, const char* message) {
    CHECK_THROWS_WITH_AS(into.load_state_dict(bad), message, value_error);
    CHECK(into.state_dict().empty());
  };
  named_tensors bad = good;
  bad[10].second = zeros<float, 1>({3});
  refused(bad,
          "heddle::load_state_dict: the optimizer's state is not its parameter's: "
          "fc2.bias.exp_avg_sq has other extents, dtype or value; f32 (2) is expected");
  bad = good;
  bad[11].second = tensor<float, 0>(2.f);
  refused(bad,
          "heddle::load_state_dict: the optimizer's state is not its parameter's: fc2.bias.step "
          "has other extents, dtype or value; a number of 1 or more, i64 () is expected");
  bad = good;
  bad.pop_back();
  refused(bad,
          "heddle::load_state_dict: the optimizer's state is not its parameter's: fc2.bias.step "
          "is missing; a number of 1 or more, i64 () is expected");
  bad = good;
  bad[9].first = "fc3.bias.exp_avg";
  bad.erase(bad.begin() + 10, bad.end());
  refused(bad,
          "heddle::load_state_dict: the state is of no parameter of this optimizer: "
          "fc3.bias.exp_avg; each state of a parameter once is expected");
  bad = good;
  bad.push_back(good[0]);  // as of two models in one file
  refused(bad,
          "heddle::load_state_dict: the state is of no parameter of this optimizer: "
          "fc1.weight.exp_avg; each state of a parameter once is expected");
  into.load_state_dict(good);
  CHECK(into.state_dict().size() == 12);
  CHECK(first_of(into.state_dict()[0].second) == first_of(good[0].second));
}

TEST_CASE("loading replaces the whole state: parameters that it does not name made no step") {
  scalar_model m;
  optim::adamw optimizer(parameters(m), {.lr = 0.1, .weight_decay = 0});
  const named_tensors before = optimizer.state_dict();
  m.set_gradient(1);
  optimizer.step();
  optimizer.load_state_dict(before);
  CHECK(optimizer.state_dict().empty());
}

TEST_CASE("momentum that is switched on later begins with the gradient, undampened, as PyTorch's") {
  scalar_model m;
  optim::sgd optimizer(parameters(m), {.lr = 1, .dampening = 0.5});
  m.set_gradient(1);
  optimizer.step();  // 1 - 1
  CHECK(m.w.value()(0) == 0);
  CHECK(optimizer.state_dict().empty());
  optimizer.options.momentum = 0.5;
  optimizer.step();  // the buffer is 1
  CHECK(m.w.value()(0) == -1);
  optimizer.step();  // 0.5 + 0.5
  CHECK(m.w.value()(0) == -2);
  m.set_gradient(2);
  optimizer.step();  // 0.5 + 1
  CHECK(m.w.value()(0) == -3.5f);
}
