// SPDX-License-Identifier: BSD-3-Clause
// The bodies of CUDA kernels on threads of the host, for ThreadSanitizer.
#include "../support/body_outcome.hpp"
#include "../support/take_gradient.hpp"
#include <doctest/doctest.h>

#include <heddle/tensor/random.hpp>

using namespace heddle;
using namespace support;

TEST_CASE("threads of the host run bodies without a race") {
  generator numbers(12);
  const tensor<float, 2> x = randn<float, 2>({37, 70}, numbers);
  const tensor<float, 2> g = randn<float, 2>({37, 70}, numbers);
  const tensor<float, 1> gamma = randn<float, 1>({70}, numbers);
  for (const int team : {8, 32}) {
    const body_run how{.team = team, .blocks = 3, .threads = true};
    CHECK(run_as(how, tanh(x) * 2.0).worst <= 1e-6);
    CHECK(run_as(how, softmax<-1>(x)).worst <= 1e-5);
    CHECK(run_as(how, softmax<0>(x)).worst <= 1e-5);
    CHECK(run_as(how, sum(x), sum<0>(x), x + 1.0).worst <= 1e-5);
    CHECK(run_as(how, layer_norm_gradient(x, gamma, g)).worst <= 1e-5);
    body_run together = how;
    together.side_by_side = true;
    const outcome beside = run_as(together, sum(x), softmax<-1>(g), gamma * 2.0);
    CHECK(beside.launches == 1);
    CHECK(beside.worst <= 1e-5);
    const tensor<std::int64_t, 1> classes = randint<std::int64_t, 1>(0, 70, {37}, numbers);
    CHECK(run_as(how, cross_entropy(x, classes)).worst <= 1e-5);
    // groups that own rows of the table, and segments of sorted rows
    const tensor<std::int64_t, 1> index = randint<std::int64_t, 1>(0, 5, {90}, numbers);
    const tensor<float, 2> rows = randn<float, 2>({90, 24}, numbers);
    body_run sorted = how;
    sorted.sorted_rows = 90;
    CHECK(take_gradient(7, index, rows, sorted).report.sorts == 1);
    CHECK(take_gradient(7, index, rows, how).report.sorts == 0);
  }
}
