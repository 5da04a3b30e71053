// SPDX-License-Identifier: BSD-3-Clause
// What passes keep apart: tables read in several ways, threads, devices, memory of the user's.
#include <thread>

#include <doctest/doctest.h>

#include <heddle/autograd/cursor.hpp>
#include <heddle/autograd/function.hpp>
#include <heddle/autograd/grad.hpp>
#include <heddle/autograd/views.hpp>

using namespace heddle;

namespace {

template <class T>
std::vector<T> values_of(const tensor<T, 1>& t) {
  std::vector<T> values;
  for (const T v : t) values.push_back(v);
  return values;
}

tensor<float, 1> elsewhere(const tensor<float, 1>& g) { return g.to(cpu(1)); }
variable<float, 1> elsewhere(const variable<float, 1>& g) { return g; }

}  // namespace

TEST_CASE("a table that one statement reads by take and directly has the sum of both gradients") {
  const tensor<std::int64_t, 1> index{0, 2, 2, 3};
  const variable<double, 1> table(full<double, 1>({4}, 1.));
  using numbers = std::vector<double>;
  variable(let([](auto t, auto i) { return sum(2 * take(t, i)) + sum(10 * t); }, table, index))
      .backward();
  CHECK(values_of(table.grad()) == numbers{12, 10, 14, 12});
  table.zero_grad();
  variable(let([](auto t,
                  auto i) { return sum(10 * t) + sum(2 * take(t, i)) + sum(3 * take(t, 3 - i)); },
               table, index))
      .backward();
  CHECK(values_of(table.grad()) == numbers{15, 16, 14, 15});
  table.zero_grad();
  // nothing depends on what is taken
  variable(let([](auto t, auto i) { return sum(floor(take(t, i))); }, table, index)).backward();
  CHECK(values_of(table.grad()) == numbers{0, 0, 0, 0});
}

TEST_CASE("second derivatives of a table read by take and directly") {
  const tensor<std::int64_t, 1> index{0, 2, 2, 3};
  const variable<double, 1> table(full<double, 1>({4}, 1.));
  const variable<double, 0> loss = let(
      [](auto t, auto i) {
        return sum(10 * t * t) + sum(2 * take(t, i) * take(t, i)) + sum(3 * take(t, 3 - i));
      },
      table, index);
  const variable first = grad(loss, table, {.create_graph = true});
  CHECK(values_of(first.value()) == std::vector<double>{27, 26, 28, 27});
  const variable<double, 0> total = sum(first);
  CHECK(values_of(grad(total, table).value()) == std::vector<double>{24, 20, 28, 24});
}

TEST_CASE("passes of two threads may end in the same leaves, and no gradient is lost") {
  const variable<float, 1> x(full<float, 1>({1000}, 1.f));
  int hooked = 0;
  add_gradient_hook(x, [&](const any_tensor&) { ++hooked; });  // one at a time
  const auto train = [&] {
    for (int k = 0; k < 200; ++k) {
      const variable<float, 1> h = x * 2.f;
      variable(sum(h * h + x)).backward();
    }
  };
  std::thread first(train);
  std::thread second(train);
  first.join();
  second.join();
  CHECK(x.grad()(999) == 400 * 9);
  CHECK(hooked == 400);
}

TEST_CASE("a gradient on another device, or of other extents, is refused by a sentence") {
  const variable<float, 1> x(full<float, 1>({3}, 1.f));
  const variable<float, 1> y = x * 2.f;
  const tensor<float, 1> there = full<float, 1>({3}, 1.f, cpu(1));
  const char* const sentence =
      "heddle::backward: the gradient is on another device: cpu:1; cpu is expected: move it with "
      "to(device)";
  CHECK_THROWS_WITH_AS(y.backward(there), sentence, device_error);
  CHECK_THROWS_AS(static_cast<void>(grad(y, std::tuple{x}, there)), device_error);
  CHECK_THROWS_AS(backward_pass(y, there), device_error);
  CHECK_THROWS_AS(x.set_grad(there), device_error);
  CHECK_THROWS_WITH_AS(x.set_grad(full<float, 1>({2}, 1.f)),
                       "heddle::set_grad: the gradient's extents are not the variable's: (2); (3) "
                       "are expected",
                       shape_error);
  const variable moved = record(
      y.value(), [](const auto& g, const auto&) { return std::tuple{elsewhere(g)}; }, x);
  CHECK_THROWS_AS(moved.backward(full<float, 1>({3}, 1.f)), device_error);
  CHECK(!x.grad().defined());
}

TEST_CASE("a strided gradient set by hand is kept as a contiguous copy") {
  const variable<float, 2> x(full<float, 2>({2, 2}, 1.f));
  const tensor<float, 2> big{{1, 2, 9}, {3, 4, 9}};
  x.set_grad(big.slice<1>(0, 2));
  CHECK(x.grad().is_contiguous());
  CHECK(x.grad()(1, 1) == 4);
}

TEST_CASE("a cursor does not wait for what another cursor will run") {
  const variable<float, 1> x(full<float, 1>({3}, 1.f));
  const variable<float, 1> h = x * 2.f;
  const variable<float, 0> first_loss = sum(h);
  const variable<float, 0> second_loss = sum(x * 3.f);
  backward_pass first(first_loss);
  backward_pass second(second_loss);
  CHECK_THROWS_AS(static_cast<void>(second.run_until(h)), state_error);
  first.run();
  CHECK(x.grad()(0) == 5);
}

TEST_CASE("after an exception a pass is over: nothing is computed from gradients that never came") {
  const variable<float, 1> x(full<float, 1>({3}, 1.f));
  const variable<float, 1> h = x * 2.f;
  const variable broken = record(
      h.value(),
      [](const auto& g) -> std::tuple<std::remove_cvref_t<decltype(g)>> {
        throw value_error("no gradient");
      },
      h);
  backward_pass pass(broken, full<float, 1>({3}, 1.f));
  CHECK_THROWS_AS(pass.run(), value_error);
  CHECK(pass.done());
  pass.run();
  CHECK(!x.grad().defined());
  variable(sum(h)).backward();  // what was not run can be differentiated by another pass
  CHECK(x.grad()(0) == 2);
}

TEST_CASE("grad does not hand out the seed's own memory") {
  const variable<float, 2> x(full<float, 2>({2, 2}, 1.f));
  const variable y = reshape(x, extents<1>{4});
  tensor<float, 1> seed = full<float, 1>({4}, 1.f);
  const auto [g] = grad(y, std::tuple{x}, seed);
  seed.fill_(7);
  CHECK(g.value()(0, 0) == 1);
}

TEST_CASE("integer literals in a traced lambda keep all their bits") {
  const tensor<std::int64_t, 1> x{9007199254740992, 9007199254740993};
  const tensor<std::int64_t, 1> sums = let([](auto a) { return a + 9007199254740993; }, x);
  CHECK(sums(0) == 18014398509481985);
  const tensor<bool, 1> equal = let([](auto a) { return a == 9007199254740993; }, x);
  CHECK(!equal(0));
  CHECK(equal(1));
}
