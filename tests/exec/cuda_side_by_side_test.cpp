// SPDX-License-Identifier: BSD-3-Clause
// Independent nests side by side in one launch: the bodies of their CUDA kernel on host teams.
#include "../support/body_sweep.hpp"
#include <doctest/doctest.h>

#include <heddle/nn/functional.hpp>
#include <heddle/tensor/random.hpp>

using namespace heddle;
using namespace support;

namespace {

generator numbers(21);

tensor<float, 2> matrix(std::int64_t rows, std::int64_t columns) {
  return randn<float, 2>({rows, columns}, numbers);
}
tensor<float, 1> vector(std::int64_t n) { return randn<float, 1>({n}, numbers); }

/// Launches of a statement whose nests may share one.
template <class... E>
int launches(const E&... e) {
  const outcome o = run_as({.side_by_side = true}, e...);
  CHECK(o.worst <= 1e-5);
  return o.launches;
}

}  // namespace

TEST_CASE("a result that is finished after a nest comes, whatever stands beside it") {
  const auto x = matrix(5, 7), y = matrix(5, 7), z = matrix(9, 4);
  CHECK(right_everywhere(1e-5, x * y, sum(z)));
  CHECK(right_everywhere(1e-5, x * y, sum<0>(z), vector(3) + 1.0, mean(vector(40))));
}

TEST_CASE("independent nests stand side by side in one launch") {
  const auto x = matrix(37, 29), y = matrix(5, 130);
  const auto v = vector(301), w = vector(11);
  const auto right = [](double tolerance, const auto&... e) {
    return right_everywhere({.side_by_side = true}, tolerance, e...);
  };
  CHECK(right(1e-6, x * 2.0, exp(v)));
  CHECK(right(1e-6, tanh(x.transpose()), y.slice<1>(1, 130, 2) + 1.0, v * v));
  CHECK(right(1e-5, sum(x), sum<0>(y), amax<1>(y * 2.0), v + 1.0));
  CHECK(right(1e-5, softmax<-1>(x), mean(square(v)), softmax<0>(w)));
  CHECK(right(1e-5, sum(v), mean(w), sum(v * v), cast<bfloat16>(y)));
  CHECK(right(1e-5, matrix(0, 5) + 1.0, sum<0>(matrix(0, 5)), v * 2.0));
  CHECK(right(1e-5, x / amax(abs(x), keepdim), v - mean(v, keepdim)));
  // what is merged is read by nests of more axes, and by others that are merged again
  CHECK(right(1e-5,
              let([](auto s) { return sum<0>(s, keepdim) * sum<1>(s, keepdim); }, matrix(6, 8)),
              v + 1.0));
  CHECK(right(1e-4, mean(square(sum<0>(y))), exp(w)));
}

TEST_CASE("nests side by side are one launch, one nest is as ever, and large ones are apart") {
  const auto x = matrix(30, 20);
  const auto v = vector(100);
  CHECK(launches(x * 2.0, v + 1.0) == 1);
  CHECK(launches(sum(x), mean(v), amax<0>(x)) == 1);
  CHECK(launches(softmax<-1>(x), exp(v)) == 1);
  CHECK(launches(x * 2.0 + 1.0) == 1);
  CHECK(launches(vector(exec::side_by_side_elements) * 2.0, v + 1.0) == 2);
  CHECK(launches(softmax<-1>(matrix(2, exec::elements_of_one_team + 1)), v + 1.0) == 2);
}

TEST_CASE("barriers and tails matter to nests side by side") {
  const auto x = matrix(37, 29);
  const body_run how{.side_by_side = true};
  const auto wide = matrix(67, 300);
  const tensor<float, 3> deep = randn<float, 3>({9, 5, 7}, numbers);
  const auto missing = [](cuda::site at) {
    return team_fault{.missing_site = static_cast<int>(at)};
  };
  CHECK(noticed(how, missing(cuda::site::partials_written), sum<0>(x), sum<0>(wide)));
  CHECK(noticed(how, missing(cuda::site::ticket_read), sum<0>(x), sum<0>(wide)));
  CHECK(noticed(how, missing(cuda::site::merged), sum<0>(wide), sum<0>(deep) * vector(7)));
  CHECK(noticed(how, {.tail = true}, x.slice<1>(0, 27) * 2.0, vector(5) + 1.0));
  CHECK(!noticed(how, {}, mean(x), sum<0>(x) * vector(29), vector(5) + 1.0));
}
