// SPDX-License-Identifier: BSD-3-Clause
// Optimizers against PyTorch, in one launch a step; a small network learns.
#include "../support/torch_fixture.hpp"

#include <heddle/exec/profiler.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/nn/linear.hpp>
#include <heddle/optim/adamw.hpp>
#include <heddle/optim/clip_grad.hpp>
#include <heddle/optim/scheduler.hpp>
#include <heddle/optim/sgd.hpp>

using namespace heddle;

namespace {

const support::torch_fixture& fixture() {
  static const support::torch_fixture f("tests/optim/fixtures/torch.txt");
  return f;
}

template <class T>
struct pair_of_parameters {
  parameter<T, 2> matrix{fixture().get<T, 2>("start.0")};
  parameter<T, 1> vector{fixture().get<T, 1>("start.1")};
  HEDDLE_MODULE(pair_of_parameters, matrix, vector)

  void set_gradients(int step) {
    const std::string name = "grad." + std::to_string(step);
    matrix.set_grad(fixture().get<T, 2>(name + ".0"));
    vector.set_grad(fixture().get<T, 1>(name + ".1"));
  }
};

template <class T, class Make>
void check_steps(const char* name, Make make) {
  pair_of_parameters<T> m;
  auto optimizer = make(parameters(m));
  for (int step = 0; step < 10; ++step) {
    m.set_gradients(step);
    const profiler watch;
    optimizer.step();
    CHECK(watch.launches().size() == 1);
    CHECK(watch.kernels() == 1);
  }
  const std::string tag = (sizeof(T) == 8 ? "f64." : "f32.") + std::string(name);
  fixture().check(tag + ".0", m.matrix.value());
  fixture().check(tag + ".1", m.vector.value());
}

struct mlp {
  nn::linear fc1{784, 32}, fc2{32, 32}, fc3{32, 10};
  HEDDLE_MODULE(mlp, fc1, fc2, fc3)
  auto forward(const auto& x) const { return fc3(relu(fc2(relu(fc1(x))))); }
};

}  // namespace

TEST_CASE_TEMPLATE("ten steps of SGD are PyTorch's, each one launch", T, float, double) {
  using optimizer = optim::sgd<T>;
  check_steps<T>("sgd", [](const auto& p) { return optimizer(p, {.lr = 0.1}); });
  check_steps<T>("sgd_decay",
                 [](const auto& p) { return optimizer(p, {.lr = 0.1, .weight_decay = 0.05}); });
  check_steps<T>("sgd_momentum", [](const auto& p) {
    return optimizer(p, {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.05});
  });
  check_steps<T>("sgd_dampening", [](const auto& p) {
    return optimizer(p, {.lr = 0.1, .momentum = 0.9, .dampening = 0.3});
  });
  check_steps<T>("sgd_nesterov", [](const auto& p) {
    return optimizer(p, {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.05, .nesterov = true});
  });
}

TEST_CASE_TEMPLATE("ten steps of AdamW are PyTorch's, each one launch", T, float, double) {
  using optimizer = optim::adamw<T>;
  check_steps<T>("adamw", [](const auto& p) { return optimizer(p); });
  check_steps<T>("adamw_options", [](const auto& p) {
    return optimizer(p,
                     {.lr = 0.05, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.2});
  });
}

TEST_CASE("gradients are clipped to a joint norm as PyTorch's are, and left alone below it") {
  pair_of_parameters<float> m;
  m.set_gradients(0);
  const parameter_list list = parameters(m);
  CHECK(optim::clip_grad_norm_(list, 1.5).item() ==
        doctest::Approx(fixture().values("clip.norm")[0]).epsilon(1e-6));
  fixture().check("clip.0", m.matrix.grad());
  fixture().check("clip.1", m.vector.grad());
  const tensor<float, 2> before = m.matrix.grad().clone();
  CHECK(optim::clip_grad_norm_(list, 100).item() == doctest::Approx(1.5).epsilon(1e-4));
  CHECK(before(1, 2) == m.matrix.grad()(1, 2));
}

TEST_CASE("schedules of the learning rate are PyTorch's") {
  pair_of_parameters<float> m;
  optim::sgd a(parameters(m), {.lr = 0.4});
  optim::sgd b(parameters(m), {.lr = 0.4});
  optim::step_lr steps(a, 3, 0.5);
  optim::cosine_lr cosine(b, 8, 0.01);
  for (std::size_t i = 0; i < 8; ++i) {
    steps.step();
    cosine.step();
    CHECK(a.lr() == doctest::Approx(fixture().values("step_lr")[i]));
    CHECK(b.lr() == doctest::Approx(fixture().values("cosine_lr")[i]));
  }
  cosine.step();
  CHECK(b.lr() == doctest::Approx(0.01));
}

TEST_CASE("an optimizer goes on from its state dict as if it had not stopped") {
  const auto run = [](bool stop) {
    pair_of_parameters<float> m;
    optim::adamw first(parameters(m), {.lr = 0.05});
    for (int step = 0; step < 5; ++step) {
      m.set_gradients(step);
      first.step();
    }
    optim::adamw second(parameters(m), {.lr = 0.05});
    second.load_state_dict(first.state_dict());
    for (int step = 5; step < 10; ++step) {
      m.set_gradients(step);
      stop ? second.step() : first.step();
    }
    return m.matrix.value();
  };
  const tensor<float, 2> whole = run(false);
  const tensor<float, 2> parts = run(true);
  auto other = parts.begin();
  for (const float v : whole) CHECK(v == *other++);
}

TEST_CASE("parameters without gradients are left alone, and count their own steps") {
  pair_of_parameters<double> m;
  pair_of_parameters<double> expected;
  optim::adamw<double> optimizer(parameters(m));
  m.matrix.set_grad(fixture().get<double, 2>("grad.0.0"));
  optimizer.step();
  CHECK(m.vector.value()(0) == expected.vector.value()(0));
  m.set_gradients(1);
  optimizer.step();  // the matrix's second step, the vector's first: two launches

  optim::adamw<double> only(parameters(expected));
  expected.vector.set_grad(fixture().get<double, 1>("grad.1.1"));
  only.step();
  CHECK(m.vector.value()(3) == expected.vector.value()(3));
}

TEST_CASE("an optimizer refuses dtypes it is not compiled for") {
  pair_of_parameters<double> m;
  CHECK_THROWS_WITH_AS(optim::adamw(parameters(m)),
                       "heddle::adamw: parameter matrix is f64, for which this optimizer is not "
                       "compiled; name its dtypes, adamw<float, double>",
                       type_error);
  CHECK_THROWS_AS(optim::sgd<double>(parameters(m), {.nesterov = true}), value_error);
}

TEST_CASE("a step on a queued device is one launch there, and gives the same values") {
  pair_of_parameters<float> here, there;
  to(there, cpu(1));
  optim::adamw a(parameters(here));
  optim::adamw b(parameters(there));
  here.set_gradients(0);
  there.matrix.set_grad(here.matrix.grad().to(cpu(1)));
  there.vector.set_grad(here.vector.grad().to(cpu(1)));
  a.step();
  const profiler watch;
  b.step();
  CHECK(watch.launches().size() == 1);
  const tensor<float, 2> moved = there.matrix.value().to(cpu());
  auto other = moved.begin();
  for (const float v : here.matrix.value()) CHECK(v == *other++);
}

TEST_CASE("a network of three layers learns random data by heart; its step is fifteen launches") {
  manual_seed(1);
  mlp m;
  generator numbers(2);
  const tensor<float, 2> x = randn<float, 2>({32, 784}, numbers);
  const tensor<std::int64_t, 1> labels = randint<std::int64_t, 1>(0, 10, {32}, numbers);
  optim::sgd optimizer(parameters(m), {.lr = 0.1, .momentum = 0.9});
  float first = 0, last = 0;
  for (int step = 0; step < 60; ++step) {
    const profiler watch;
    const variable loss = cross_entropy(m(x), labels);
    loss.backward();
    optimizer.step();
    optimizer.zero_grad();
    (step == 0 ? first : last) = loss.item();
    std::string launches;
    for (const launch_record& each : watch.launches()) launches += each.name[0];
    // forward: a product and a program a layer, the last with the loss; backward: the loss, then
    // for each layer the gradients of its operands (none for x), with relu's between; the optimizer
    CHECK(launches ==
          "mpmpmp"
          "pmmpmmpm"
          "m");
  }
  CHECK(first == doctest::Approx(2.3).epsilon(0.1));
  CHECK(last < 0.1f * first);
  manual_seed(generator::default_seed);
}

TEST_CASE("a step of training asks the system for no memory once it has run twice") {
  mlp m;
  const tensor<float, 2> x = ones<float, 2>({8, 784});
  const tensor<std::int64_t, 1> labels = zeros<std::int64_t, 1>({8});
  optim::adamw optimizer(parameters(m));
  const auto step = [&] {
    const variable loss = cross_entropy(m(x), labels);
    loss.backward();
    optimizer.step();
    optimizer.zero_grad();
  };
  step();
  step();
  const auto before = memory_stats(cpu());
  for (int i = 0; i < 5; ++i) step();
  const auto after = memory_stats(cpu());
  CHECK(after.live == before.live);
  CHECK(after.cached == before.cached);
}
