// SPDX-License-Identifier: BSD-3-Clause
// Sums of very many elements: no accumulator takes so many additions that it stops growing.
#include <doctest/doctest.h>

#include <heddle/autograd/record.hpp>
#include <heddle/tensor/creation.hpp>

using namespace heddle;

TEST_CASE("sums of ten million floats keep four digits along every axis") {
  const std::int64_t n = 10'000'000;
  const tensor<float, 2> x = full<float, 2>({n, 2}, 0.1f);
  const double expected = 0.1 * static_cast<double>(n);
  const auto close = [&](float got, double want) {
    CHECK(static_cast<double>(got) == doctest::Approx(want).epsilon(1e-4));
  };
  close(evaluate(sum<0>(x))(1), expected);              // down the columns
  close(evaluate(sum<1>(x.transpose()))(1), expected);  // along strided rows
  close(evaluate(sum(x)).item(), 2 * expected);
  const tensor<float, 2> row = full<float, 2>({1, n}, 0.1f);
  close(evaluate(let([](auto v) { return v / sum<1>(v, keepdim); }, row))(0, 0), 0.1 / expected);
  // rows side by side, many steps each
  const tensor<float, 3> deep = full<float, 3>({2, n / 4, 2}, 0.1f);
  close(evaluate(sum<1>(deep))(1, 1), expected / 4);
}

TEST_CASE("a gradient summed over an extent that happened to be 1 does not stop at 2^24") {
  const variable<float, 1> b(full<float, 1>({1}, 1.f));
  const tensor<float, 1> ones_ = full<float, 1>({20'000'000}, 1.f);
  variable(sum(b * ones_)).backward();
  CHECK(b.grad()(0) == 20'000'000.0f);
  const variable<float, 2> c(full<float, 2>({3, 1}, 1.f));
  variable(sum(c * full<float, 2>({3, 1001}, 0.5f))).backward();
  for (const float g : c.grad()) CHECK(g == 500.5f);
  const variable<float, 2> d(full<float, 2>({1, 5}, 1.f));
  variable(sum(d * full<float, 2>({1001, 5}, 0.5f))).backward();
  for (const float g : d.grad()) CHECK(g == 500.5f);
}

TEST_CASE("gradients of a 16-bit table are summed in float and rounded once") {
  const variable<bfloat16, 2> table(full<bfloat16, 2>({3, 2}, 1.f));
  const tensor<std::int64_t, 1> index = full<std::int64_t, 1>({5000}, 1);
  const auto rows = [](auto t, auto i) { return take(t, i); };
  const auto seed = full<bfloat16, 2>({5000, 2}, 1.f);
  const variable once = let(rows, table, index);
  once.backward(seed);
  CHECK(static_cast<float>(table.grad()(1, 0)) == static_cast<float>(bfloat16(5000.0f)));
  CHECK(static_cast<float>(table.grad()(0, 1)) == 0.0f);
  const variable again = let(rows, table, index);
  again.backward(seed);
  CHECK(static_cast<float>(table.grad()(1, 1)) == static_cast<float>(bfloat16(10000.0f)));
}
