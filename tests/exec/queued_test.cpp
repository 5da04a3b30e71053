// SPDX-License-Identifier: BSD-3-Clause
// Statements on cpu(i): queued, in order, with everything they need kept alive.
#include <atomic>

#include <doctest/doctest.h>

#include <heddle/autograd/record.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/creation.hpp>

namespace {

using namespace heddle;

}  // namespace

TEST_CASE("a statement on a blocked queue returns at gradients_at and runs when the queue does") {
  std::atomic<bool> open{false};
  const tensor<float, 1> x = full<float, 1>({1000}, 2, cpu(1));
  synchronize(cpu(1));
  current_stream(cpu(1)).enqueue([&] {
    while (!open.load()) {
    }
  });
  tensor<float, 1> y = x * 3 + 1;
  y = y * y;  // operands and results of the first statement live on in the queue
  const tensor<float, 1> here = full<float, 1>({1000}, 2);
  CHECK(evaluate(here * 3 + 1)(0) == 7);  // cpu() does not wait for cpu(1)
  open.store(true);
  CHECK(y(999) == 49);
}

TEST_CASE("in-place statements and copies of one queue keep their order") {
  const tensor<float, 1> x = zeros<float, 1>({257}, cpu(1));
  for (int i = 0; i < 50; ++i) {
    assign(x, x + 1.0f);
    assign(x, x * 2.0f);
  }
  const tensor<float, 1> back = x.to(cpu());
  float want = 0;
  for (int i = 0; i < 50; ++i) want = (want + 1) * 2;
  CHECK(back(0) == want);
  CHECK(back(256) == want);
}

TEST_CASE("an index out of range on a queue is reported where its elements are read") {
  const tensor<float, 1> table = full<float, 1>({4}, 1, cpu(1));
  const tensor<std::int64_t, 1> index = full<std::int64_t, 1>({3}, 4, cpu(1));
  const tensor<float, 1> y = let([](auto t, auto i) { return take(t, i) * 1; }, table, index);
  CHECK_THROWS_AS(y.to(cpu())(0), index_error);
}

TEST_CASE("gradients of a queued device equal those of cpu()") {
  const tensor<double, 1> at = arange<double>(0, 100, 1);
  const auto gradients_at = [](const tensor<double, 1>& t) {
    const variable<double, 1> x(t);
    const variable<double, 1> h = tanh(x * 0.01) * x;
    const variable<double, 0> loss = sum(h * h);
    loss.backward();
    return x.grad();
  };
  const tensor<double, 1> here = gradients_at(at);
  const tensor<double, 1> there = gradients_at(at.to(cpu(2))).to(cpu());
  for (std::int64_t i = 0; i < 100; ++i) CHECK(here(i) == there(i));
}
