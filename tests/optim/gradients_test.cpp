// SPDX-License-Identifier: BSD-3-Clause
// What is done to all gradients together: clipping by their norm, loss scaling.
#include <cmath>

#include <doctest/doctest.h>

#include <heddle/exec/profiler.hpp>
#include <heddle/optim/adamw.hpp>
#include <heddle/optim/clip_grad.hpp>
#include <heddle/optim/grad_scaler.hpp>
#include <heddle/optim/sgd.hpp>
#include <heddle/tensor/random.hpp>

using namespace heddle;

namespace {

struct weights {
  parameter<float, 2> a{ones<float, 2>({3, 4})};
  parameter<float, 1> b{ones<float, 1>({5})};
  parameter<float, 1> unused{ones<float, 1>({2})};
  HEDDLE_MODULE(weights, a, b, unused)

  void set_gradients(float of_a, float of_b) {
    a.set_grad(full<float, 2>({3, 4}, of_a));
    b.set_grad(full<float, 1>({5}, of_b));
  }
};

template <class T, int Rank>
struct one {
  parameter<T, Rank> p;
  HEDDLE_MODULE(one, p)
};

template <class T, int Rank>
double norm_of(const tensor<T, Rank>& g) {
  double squares = 0;
  for (const T x : g) squares += static_cast<double>(x) * static_cast<double>(x);
  return std::sqrt(squares);
}

constexpr float infinity = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("clipping takes one launch for the norm and one for the gradients") {
  weights w;
  w.set_gradients(2, 3);
  const profiler watch;
  const tensor<float, 0> norm = optim::clip_grad_norm_(parameters(w), 1);
  CHECK(watch.launches().size() == 2);
  CHECK(norm.item() == doctest::Approx(std::sqrt(12 * 4 + 5 * 9)));
  CHECK(std::hypot(norm_of(w.a.grad()), norm_of(w.b.grad())) == doctest::Approx(1));
  CHECK(!w.unused.grad().defined());
}

TEST_CASE("the norm of gradients of several dtypes and devices is one") {
  const one<double, 1> wide{parameter(tensor<double, 1>{1, 1})};
  const one<float, 1> far{parameter(tensor<float, 1>{1, 1, 1}.to(cpu(1)))};
  wide.p.set_grad({3, 0});
  far.p.set_grad(tensor<float, 1>{4, 12, 0}.to(cpu(1)));
  parameter_list list = parameters(wide);
  list.push_back(parameters(far)[0]);
  const tensor<double, 0> norm = optim::clip_grad_norm_<float, double>(list, 6.5);
  CHECK(norm.item() == doctest::Approx(13));
  CHECK(wide.p.grad()(0) == doctest::Approx(1.5));
  CHECK(far.p.grad().to(cpu())(1) == doctest::Approx(6));
}

TEST_CASE("clipping without gradients gives 0, and names parameters of other dtypes") {
  weights w;
  CHECK(optim::clip_grad_norm_(parameters(w), 1).item() == 0);
  const one<double, 1> wide{parameter(tensor<double, 1>{1, 1})};
  wide.p.set_grad({3, 0});
  CHECK_THROWS_WITH_AS(static_cast<void>(optim::clip_grad_norm_(parameters(wide), 1)),
                       doctest::Contains("heddle::clip_grad_norm_: parameter "), type_error);
}

TEST_CASE("a gradient that is not finite shows in the norm and in all gradients") {
  weights w;
  w.set_gradients(2, 3);
  w.b.grad()(4) = std::nanf("");
  CHECK(std::isnan(optim::clip_grad_norm_(parameters(w), 1).item()));
  CHECK(std::isnan(w.a.grad()(0, 0)));
}

TEST_CASE("of an infinite norm finite gradients become 0") {
  weights w;
  w.set_gradients(2, 3);
  w.b.grad()(4) = infinity;
  CHECK(optim::clip_grad_norm_(parameters(w), 1).item() == infinity);
  CHECK(w.a.grad()(0, 0) == 0);
  CHECK(std::isnan(w.b.grad()(4)));
}

TEST_CASE("a parameter that comes twice is clipped once") {
  weights w;
  w.set_gradients(2, 3);
  parameter_list list = parameters(w);
  list.push_back(list[0]);
  CHECK(optim::clip_grad_norm_(list, 1).item() == doctest::Approx(std::sqrt(12 * 4 + 5 * 9)));
  CHECK(std::hypot(norm_of(w.a.grad()), norm_of(w.b.grad())) == doctest::Approx(1));
}

TEST_CASE("gradients of a scaled loss are divided by the scale and looked at in one launch") {
  weights w;
  optim::sgd optimizer(parameters(w), {.lr = 1});
  optim::grad_scaler scaler({.init_scale = 1024});
  variable<float, 0> loss = sum(w.a * 0.5f) + sum(w.b * 0.25f);
  scaler.scale(loss).backward();
  CHECK(w.a.grad()(0, 0) == 512);
  const profiler watch;
  scaler.unscale_(optimizer);
  CHECK(watch.launches().size() == 1);
  CHECK(w.a.grad()(2, 3) == 0.5f);
  CHECK(scaler.step(optimizer));
  CHECK(w.a.value()(0, 0) == 0.5f);
  CHECK(w.b.value()(4) == 0.75f);
  scaler.update();
  CHECK(scaler.get_scale() == 1024);
}

TEST_CASE("a step whose gradients are not finite is left out, and the scale falls") {
  for (const float bad : {infinity, -infinity, std::nanf("")}) {
    weights w;
    optim::adamw optimizer(parameters(w));
    optim::grad_scaler scaler({.init_scale = 8, .growth_interval = 2});
    w.set_gradients(1, 2);
    w.a.grad()(1, 1) = bad;
    CHECK(!scaler.step(optimizer));
    CHECK(w.b.value()(0) == 1);
    CHECK(optimizer.state_dict().empty());
    scaler.update();
    CHECK(scaler.get_scale() == 4);
    for (int good = 0; good < 2; ++good) {
      w.set_gradients(1, 2);
      CHECK(scaler.step(optimizer));
      scaler.update();
    }
    CHECK(scaler.get_scale() == 8);
  }
}

TEST_CASE("16-bit gradients are scaled, the largest of them is finite") {
  const one<float16, 1> m{parameter(ones<float16, 1>({3}))};
  optim::sgd<float16> optimizer(parameters(m), {.lr = 1});
  optim::grad_scaler scaler({.init_scale = 2});
  m.p.set_grad(full<float16, 1>({3}, float16(65504.0f)));
  scaler.unscale_(optimizer);
  CHECK(static_cast<float>(m.p.grad()(0)) == 32752);
  CHECK(scaler.step(optimizer));
}

TEST_CASE("a scaler is asked once per update") {
  weights w;
  w.set_gradients(1, 1);
  optim::sgd optimizer(parameters(w), {.lr = 1});
  optim::grad_scaler scaler;
  CHECK_THROWS_WITH_AS(scaler.update(),
                       doctest::Contains("heddle::grad_scaler::update: no gradient was divided"),
                       state_error);
  scaler.unscale_(optimizer);
  CHECK_THROWS_WITH_AS(
      scaler.unscale_(optimizer),
      doctest::Contains("heddle::grad_scaler::unscale_: the gradients of this optimizer"),
      state_error);
  scaler.step(optimizer);
  CHECK_THROWS_WITH_AS(scaler.step(optimizer),
                       doctest::Contains("heddle::grad_scaler::step: this optimizer was stepped"),
                       state_error);
  CHECK_THROWS_WITH_AS(optim::grad_scaler({.growth_factor = 1}),
                       doctest::Contains("heddle::grad_scaler: the options do not fit"),
                       value_error);
}

TEST_CASE("a scaler goes on from its state dict") {
  weights w;
  optim::sgd optimizer(parameters(w), {.lr = 1});
  optim::grad_scaler first({.init_scale = 16, .growth_interval = 2});
  w.set_gradients(1, 1);
  first.step(optimizer);
  first.update();
  optim::grad_scaler second({.growth_interval = 2});
  second.load_state_dict(first.state_dict());
  second.step(optimizer);
  second.update();
  CHECK(second.get_scale() == 32);
  named_tensors other = first.state_dict();
  other[0].second = tensor<double, 0>(-1.0);
  CHECK_THROWS_WITH_AS(second.load_state_dict(other),
                       doctest::Contains("a finite number above 0, f64 ()"), value_error);
  other = first.state_dict();
  other[1].second = tensor<double, 0>(1.0);
  CHECK_THROWS_WITH_AS(second.load_state_dict(other),
                       doctest::Contains("a number of 0 or more, i64 ()"), value_error);
  CHECK(second.get_scale() == 32);
}
