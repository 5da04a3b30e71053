// SPDX-License-Identifier: BSD-3-Clause
// The tape: what is recorded, when gradients are final, what is freed, how deep it may go.
#include <cmath>
#include <cstring>
#include <pthread.h>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/autograd/cursor.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/creation.hpp>

namespace {

using namespace heddle;

template <class T, int Rank>
std::vector<T> values(const tensor<T, Rank>& x) {
  return std::vector<T>(x.begin(), x.end());
}
using list = std::vector<double>;

constexpr auto silu = fused([](auto x) { return x * sigmoid(x); });

variable<double, 1> leaf(std::initializer_list<double> v) {
  return variable<double, 1>(tensor<double, 1>(v));
}

/// Runs f on a thread with a stack of 128 KiB.
template <class F>
void on_small_stack(F f) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 << 10);
  pthread_t thread;
  const int refused = pthread_create(
      &thread, &attributes,
      [](void* given) -> void* {
        (*static_cast<F*>(given))();
        return nullptr;
      },
      &f);
  pthread_attr_destroy(&attributes);
  REQUIRE(refused == 0);
  pthread_join(thread, nullptr);
}

}  // namespace

TEST_CASE("gradients add up over uses, statements and backward passes") {
  const auto x = leaf({1, 2, 3});
  const variable<double, 1> y = x * x + x;
  const variable<double, 0> loss = sum(y * x);  // x^3 + x^2
  loss.backward();
  CHECK(values(x.grad()) == list{5, 16, 33});
  const variable<double, 0> other = sum(x * 2);
  other.backward();
  CHECK(values(x.grad()) == list{7, 18, 35});
  x.zero_grad();
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("an extent that happens to be 1 collects the sum of its gradient") {
  const variable<double, 2> column(tensor<double, 2>{{1}, {2}});
  const variable<double, 2> row(tensor<double, 2>{{1, 2, 3}});
  const variable<double, 0> loss = sum(column * row);
  loss.backward();
  CHECK(column.grad().extents() == extents<2>{2, 1});
  CHECK(row.grad().extents() == extents<2>{1, 3});
  CHECK(values(column.grad()) == list{6, 6});
  CHECK(values(row.grad()) == list{3, 3, 3});
  const variable<double, 1> one(tensor<double, 1>{2});
  const variable<double, 0> scaled = sum(row * one);
  scaled.backward();
  CHECK(values(one.grad()) == list{6});
}

TEST_CASE("an output that nothing used leaves nothing waiting") {
  const auto x = leaf({1, 2, 3});
  const auto [h, c] = evaluate(x * 2, x * x);
  const variable<double, 0> loss = sum(h);
  loss.backward();
  CHECK(values(x.grad()) == list{2, 2, 2});
  x.zero_grad();
  {
    const auto [a, b] = evaluate(let([](auto v) { return outputs(exp(v), v * v); }, x));
    const variable<double, 0> all = sum(b * 3);
    all.backward();
  }
  CHECK(values(x.grad()) == list{6, 12, 18});
}

TEST_CASE("a branch that the loss does not reach is not differentiated") {
  const auto x = leaf({1, 2});
  const auto unused = leaf({5, 6});
  const variable<double, 1> aside = unused * x;
  const variable<double, 0> loss = sum(x * x);
  loss.backward();
  CHECK_FALSE(unused.grad().defined());
  CHECK(values(x.grad()) == list{2, 4});
  const variable<double, 0> late = sum(aside);
  late.backward();
  CHECK(values(unused.grad()) == list{1, 2});
}

TEST_CASE("a graph is differentiated once, or several times when it is retained") {
  const auto x = leaf({1, 2});
  const variable<double, 1> h = x * x;
  const variable<double, 0> loss = sum(h * h);
  loss.backward({.retain_graph = true});
  loss.backward();
  CHECK(values(x.grad()) == list{8, 64});
  CHECK_THROWS_WITH_AS(
      loss.backward(),
      "heddle::backward: the graph was already differentiated and its saved values freed; pass "
      "retain_graph to the first backward",
      state_error);
  CHECK(values(x.grad()) == list{8, 64});
}

TEST_CASE("a saved tensor that was written in place since is refused") {
  tensor<double, 1> values_of_x{1, 2};
  const variable<double, 1> x(values_of_x);
  const variable<double, 0> loss = sum(x * x);
  values_of_x += 1.0;
  CHECK_THROWS_WITH_AS(
      loss.backward(),
      "heddle::backward: a tensor that this gradient needs was written in place after it was read: "
      "its version has changed; clone it before writing, or write after backward",
      state_error);
  const variable<double, 1> y = exp(leaf({0, 0}));
  const variable<double, 0> saved_result = sum(y);
  assign(y.value(), y.value() * 2.0);
  CHECK_THROWS_AS(saved_result.backward({.retain_graph = true}), state_error);
}

TEST_CASE("a value that the gradient does not need may be overwritten") {
  tensor<double, 1> t{1, 2};
  const variable<double, 1> x(t);
  const variable<double, 0> loss = sum(x + 1);
  t += 1.0;
  loss.backward();
  CHECK(values(x.grad()) == list{1, 1});
}

TEST_CASE("within no_grad nothing is recorded; enable_grad records again") {
  const auto x = leaf({1, 2});
  {
    const no_grad off;
    const variable<double, 1> y = x * 2;
    CHECK_FALSE(y.requires_grad());
    CHECK(y.value()(1) == 4);
    const enable_grad on;
    const variable<double, 1> z = x * 2;
    CHECK(z.requires_grad());
  }
  const variable<double, 1> y = x * 2;
  CHECK(y.requires_grad());
  const variable<double, 0> unrecorded = sum(variable<double, 1>(y.value(), false) * 2);
  CHECK_THROWS_AS(unrecorded.backward(), state_error);
}

TEST_CASE("detach, and value(), cut the tape") {
  const auto x = leaf({1, 2, 3});
  const variable<double, 0> loss = sum(detach(x * x) * x + x.value() * x);
  loss.backward();
  CHECK(values(x.grad()) == list{2, 6, 12});
}

TEST_CASE("constants among variables collect nothing") {
  const auto x = leaf({1, 2});
  const variable<double, 1> constant(tensor<double, 1>{3, 4}, false);
  const tensor<double, 1> plain{5, 6};
  const variable<double, 0> loss = sum(x * constant * plain);
  loss.backward();
  CHECK(values(x.grad()) == list{15, 24});
  CHECK_THROWS_AS(constant.grad(), state_error);
  CHECK_THROWS_AS(loss.grad(), state_error);
}

TEST_CASE("a hook is called once, when the gradient is final and before the pass is over") {
  const auto first = leaf({1, 2});
  const auto second = leaf({3, 4});
  std::vector<std::string> order;
  add_gradient_hook(first, [&](const any_tensor& g) {
    order.push_back("first");
    CHECK(values(g.as<double, 1>()) == list{2 * 3 * 1 * 3 + 0, 2 * 4 * 2 * 4});
  });
  add_gradient_hook(second, [&](const any_tensor&) {
    order.push_back("second");
    CHECK_FALSE(first.grad().defined());  // a node ahead of it has yet to run
  });
  const variable<double, 1> h = first * 1.0;
  const variable<double, 1> k = h * 1.0;
  const variable<double, 1> p = k * second;
  const variable<double, 0> loss = sum(p * p);
  loss.backward();
  CHECK(order == std::vector<std::string>{"second", "first"});
}

TEST_CASE("a diamond of depth 1000 has 2^1000 paths and is differentiated node by node") {
  const variable<double, 0> x(tensor<double, 0>(1.0));
  variable<double, 0> y = x;
  for (int i = 0; i < 1000; ++i) y = 0.5 * y + 0.5 * y;
  const profiler p;
  y.backward();
  CHECK(x.grad().item() == 1);
  CHECK(p.launches().size() < 4000);
}

TEST_CASE("order is 1 + the largest order of the inputs") {
  const auto x = leaf({1});
  const variable<double, 1> a = x * 2;
  const variable<double, 1> b = a * a;
  const variable<double, 1> c = x * b;
  CHECK(x.place().node->order == 0);
  CHECK(a.place().node->order == 1);
  CHECK(b.place().node->order == 2);
  CHECK(c.place().node->order == 3);
}

// A chain of 10^6 is a sweep over memory: 200 bytes a statement are the goal.
using chained = decltype(variable<float, 1>() * 1.f);
static_assert(sizeof(detail::statement_node<exec::statement<chained>, configuration>) <= 128);

TEST_CASE("a chain of 10^6 statements is differentiated and destroyed in a stack of 128 KiB") {
  float gradient = 0;
  on_small_stack([&] {
    const variable<float, 0> x(tensor<float, 0>(1.0f));
    {
      variable<float, 0> y = x;
      for (int i = 0; i < 1000000; ++i) y = -y;
      y.backward({.retain_graph = true});
    }
    gradient = x.grad().item();
    variable<float, 0> z = x;
    for (int i = 0; i < 1000000; ++i) z = -z;
  });
  CHECK(gradient == 1);
}

TEST_CASE("a pass stops at a variable with its final gradient, and goes on") {
  const auto x = leaf({1, 2});
  const variable<double, 1> h = x * x;
  const variable<double, 1> a = h * 3;
  const variable<double, 1> b = h * a;  // 3 h^2
  const variable<double, 0> loss = sum(b);
  backward_pass pass(loss);
  CHECK(values(pass.run_until(h)) == list{6, 24});
  CHECK_FALSE(x.grad().defined());
  CHECK_FALSE(pass.done());
  CHECK(values(pass.run_until(h)) == list{6, 24});  // still there
  CHECK_THROWS_AS(pass.run_until(a), state_error);  // passed already
  CHECK(values(pass.run_until(x)) == list{12, 96});
  CHECK_FALSE(x.grad().defined());
  pass.run();
  CHECK(pass.done());
  CHECK(values(x.grad()) == list{12, 96});
  CHECK_THROWS_AS(pass.run_until(x), state_error);
}

TEST_CASE("a pass that is abandoned leaves nothing waiting") {
  const auto x = leaf({1, 2});
  const auto elsewhere = leaf({1, 2});
  const variable<double, 1> h = x * x;
  const variable<double, 0> loss = sum(h * h);
  {
    backward_pass pass(loss, {.retain_graph = true});
    static_cast<void>(pass.run_until(h));
    CHECK_THROWS_AS(pass.run_until(elsewhere), state_error);
  }
  CHECK_FALSE(x.grad().defined());
  loss.backward();
  CHECK(values(x.grad()) == list{4, 32});
}

TEST_CASE(
    "a pass that throws leaves nothing waiting, and the graph usable where it was not freed") {
  const auto x = leaf({1, 2});
  bool refuse = true;
  add_gradient_hook(x, [&](const any_tensor&) {
    if (refuse) raise<value_error>("test: refused; expected");
  });
  const variable<double, 1> h = x * x;
  const variable<double, 0> loss = sum(h * h);
  CHECK_THROWS_AS(loss.backward({.retain_graph = true}), value_error);
  refuse = false;
  x.zero_grad();
  loss.backward();
  CHECK(values(x.grad()) == list{4, 32});
}

TEST_CASE("expressions hold handles: returned by auto, moved and nested they stay valid") {
  const auto make = [] {
    const tensor<double, 1> inside{1, 2, 3};
    const variable<double, 1> v(inside);
    return tanh(v * inside) + sum(v);
  };
  auto e = make();
  auto moved = static_cast<decltype(e)&&>(e);
  const auto nested = [&] {
    const tensor<double, 1> w{1, 1, 1};
    return let([](auto p, auto q, auto k) { return silu(p) * q * k; }, moved, w * 2, 0.5);
  }();
  const variable<double, 1> y = nested;
  CHECK(y.value()(0) == doctest::Approx(6.76159415595576 / (1 + std::exp(-6.76159415595576))));
  y.backward(tensor<double, 1>{1, 1, 1});
}

TEST_CASE("the same statements give the same bits when run again") {
  const auto run = [] {
    const variable<double, 2> w(tensor<double, 2>{{.1, .2, .3}, {.4, .5, .6}});
    const variable<double, 2> h = tanh(w * 1.7) / (1 + exp(w));
    const variable<double, 0> loss = mean(h * h * w);
    loss.backward();
    return values(w.grad());
  };
  CHECK(run() == run());
}

TEST_CASE("a derivative of few elements gives the bits that its launch gives, in every layout") {
  const tensor<float, 2> base{{1.5f, -2, 0.25f}, {NAN, 3, -0.f}};
  const tensor<float, 0> number(0.7f);
  const auto gradients = [&](const tensor<float, 2>& at, const tensor<float, 2>& other) {
    const variable<float, 2> x(at), y(other);
    const variable<float, 0> k(number);
    const variable<float, 2> product = x * y * x;  // x twice: added in place
    const variable<float, 2> result = sigmoid(product) * k + silu(x) - y * number;
    const variable<float, 2> unused = exp(result) * y;
    result.backward(ones<float, 2>(result.extents()));
    std::vector<float> all = values(x.grad());
    for (const float g : values(y.grad())) all.push_back(g);
    all.push_back(k.grad().item());
    return all;
  };
  const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  };
  const tensor<float, 2> turned = base.transpose().clone().transpose();
  const tensor<float, 2> column = base(all, slice(1, 2)), row = base(slice(1, 2), all);
  const std::vector<std::pair<tensor<float, 2>, tensor<float, 2>>> cases{
      {base, base.clone()}, {base, turned}, {turned, base},  {base, row},
      {column, base},       {row, column},  {column, column}};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i);
    const auto direct = gradients(cases[i].first, cases[i].second);
    const profiler watched;  // whoever watches sees launches
    const auto launched = gradients(cases[i].first, cases[i].second);
    CHECK(watched.kernels() > 0);
    CHECK(same(direct, launched));
  }
}

TEST_CASE("seeds and roots that do not fit are refused") {
  const auto x = leaf({1, 2});
  const variable<double, 1> y = x * 2;
  CHECK_THROWS_AS(y.backward(tensor<double, 1>{1, 2, 3}), shape_error);
  CHECK_THROWS_AS(backward_pass(y, tensor<double, 1>{1}), shape_error);
  const variable<double, 0> constant(tensor<double, 0>(1.0), false);
  CHECK_THROWS_AS(constant.backward(), state_error);
}
