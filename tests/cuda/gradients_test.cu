// SPDX-License-Identifier: BSD-3-Clause
// What is done to all gradients together, on a device: one launch each, nothing waits.
#include <cmath>
#include <vector>

#include "cuda_case.hpp"
#include <doctest/doctest.h>

#include <heddle/exec/profiler.hpp>
#include <heddle/heddle.hpp>

using namespace heddle;

struct single_parameter {
  parameter<float, 1> p;
  HEDDLE_MODULE(single_parameter, p)
};

struct three_parameters {
  parameter<float, 1> a{ones<float, 1>({3})}, b{ones<float, 1>({600})}, c{ones<float, 1>({1})};
  HEDDLE_MODULE(three_parameters, a, b, c)
};

namespace {

/// Parameters with gradients of many sizes, more than one launch has room for.
parameter_list many(int count, device where) {
  generator numbers(3);
  parameter_list list;
  for (int i = 0; i < count; ++i) {
    const std::int64_t n = i % 7 == 3 ? 0 : i % 50 == 0 ? 5000 : i % 13 + 1;
    const single_parameter m{parameter(ones<float, 1>({n}).to(where))};
    m.p.set_grad(randn<float, 1>({n}, numbers).to(where));
    list.push_back(parameters(m)[0]);
  }
  return list;
}

float distance(const parameter_list& a, const parameter_list& b) {
  float most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = a[i].grad().to(cpu()).as<float, 1>();
    const auto y = b[i].grad().to(cpu()).as<float, 1>();
    for (std::int64_t k = 0; k < x.size(); ++k) {
      most = std::fmax(most, std::fabs(x(k) - y(k)) / (1 + std::fabs(y(k))));
    }
  }
  return most;
}

}  // namespace

TEST_CASE("gradients on a device are clipped as on the host, in two launches") {
  const support::cuda_case clean;
  for (const int count : {1, 40, 1700}) {
    const parameter_list here = many(count, cpu());
    const parameter_list there = many(count, cuda(0));
    const profiler watch;
    const tensor<float, 0> norm = optim::clip_grad_norm_(there, 0.5);
    CHECK(watch.launches().size() == 2);
    CHECK(norm.device() == cuda(0));
    CHECK(norm.item() == doctest::Approx(optim::clip_grad_norm_(here, 0.5).item()).epsilon(1e-5));
    CHECK(distance(there, here) < 1e-5f);
  }
}

TEST_CASE("the norm of gradients has the same bits each time") {
  const support::cuda_case clean;
  const float first = optim::clip_grad_norm_(many(300, cuda(0)), 0.5).item();
  for (int i = 0; i < 3; ++i) {
    CHECK(optim::clip_grad_norm_(many(300, cuda(0)), 0.5).item() == first);
  }
}

TEST_CASE("a scaler on a device leaves out a step whose gradients are not finite") {
  const support::cuda_case clean;
  for (const bool finite : {true, false}) {
    three_parameters model;
    optim::sgd optimizer(parameters(to(model, cuda(0))), {.lr = 1});
    optim::grad_scaler scaler({.init_scale = 4});
    model.a.set_grad(full<float, 1>({3}, 2).to(cuda(0)));
    model.b.set_grad(full<float, 1>({600}, 8).to(cuda(0)));
    model.c.set_grad(full<float, 1>({1}, finite ? 1 : INFINITY).to(cuda(0)));
    const profiler watch;
    CHECK(scaler.step(optimizer) == finite);
    CHECK(watch.launches().size() == (finite ? 2 : 1));
    CHECK(model.a.value().to(cpu())(2) == (finite ? 0.5f : 1));
    CHECK(model.b.value().to(cpu())(599) == (finite ? -1 : 1));
    scaler.update();
    CHECK(scaler.get_scale() == (finite ? 4 : 2));
  }
}

#if !defined(HEDDLE_TEST_ON_GPU)

TEST_CASE("after a call that failed gradients are not stepped on, and a step may be tried again") {
  const support::cuda_case clean;
  three_parameters model;
  optim::adamw optimizer(parameters(to(model, cuda(0))));
  optim::grad_scaler scaler({.init_scale = 2});
  const auto set_gradients = [&] {
    model.a.set_grad(full<float, 1>({3}, 2).to(cuda(0)));
    model.b.set_grad(full<float, 1>({600}, 8).to(cuda(0)));
    model.c.set_grad(full<float, 1>({1}, 4).to(cuda(0)));
  };
  set_gradients();
  stand_in::fail_call(1, cudaErrorNotSupported);
  CHECK_THROWS_AS(scaler.unscale_(optimizer), cuda_error);
  CHECK(!scaler.step(optimizer));
  CHECK(model.a.value().to(cpu())(0) == 1);
  scaler.update();
  CHECK(scaler.get_scale() == 1);
  set_gradients();
  scaler.unscale_(optimizer);
  stand_in::fail_call(1, cudaErrorNotSupported);
  CHECK_THROWS_AS(scaler.step(optimizer), cuda_error);
  CHECK(model.a.value().to(cpu())(0) == 1);
  CHECK(scaler.step(optimizer));
  CHECK(model.a.value().to(cpu())(0) < 1);
}

#endif
