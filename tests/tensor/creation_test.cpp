// SPDX-License-Identifier: BSD-3-Clause
// Functions that make tensors.
#include <cmath>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/random.hpp>
#include <heddle/tensor/tensor.hpp>

using namespace heddle;

namespace {

template <class T, int Rank>
std::vector<double> values(const tensor<T, Rank>& x) {
  std::vector<double> result;
  for (const T& value : x) result.push_back(static_cast<double>(value));
  return result;
}

using list = std::vector<double>;

}  // namespace

TEST_CASE("zeros, ones and full hold their value in every dtype") {
  CHECK(values(zeros<float, 2>({1, 2})) == list{0, 0});
  CHECK(values(ones<bfloat16, 1>({3})) == list{1, 1, 1});
  CHECK(values(ones<bool, 1>({2})) == list{1, 1});
  CHECK(values(full<float16, 1>({2}, 0.5f)) == list{0.5, 0.5});
  CHECK(values(full<std::int64_t, 1>({1}, INT64_MAX))[0] == 0x1p63);
  CHECK(full<double, 0>({}, 2.5).item() == 2.5);
  CHECK(values(zeros<double, 3>({2, 0, 2})).empty());
  CHECK((zeros<float, 1>({3}, cpu(1))).device() == cpu(1));
}

TEST_CASE("extents that cannot be are refused") {
  CHECK_THROWS_AS((static_cast<void>(zeros<float, 2>({2, -1}))), shape_error);
  CHECK_THROWS_AS((static_cast<void>(empty<double, 1>({INT64_MAX / 4}))), shape_error);
  CHECK_THROWS_AS((static_cast<void>(empty<double, 1>({INT64_MAX / 64}))), out_of_memory);
}

TEST_CASE("the _like functions take extents, dtype and device, and are contiguous") {
  const tensor<float, 2> x = tensor<float, 2>({{1, 2, 3}, {4, 5, 6}}, cpu(0)).transpose();
  const auto y = zeros_like(x);
  CHECK(y.extents() == extents<2>{3, 2});
  CHECK(y.is_contiguous());
  CHECK(y.device() == cpu(0));
  CHECK(values(ones_like(x))[5] == 1);
  CHECK(values(full_like(x, 4))[0] == 4);
  CHECK(empty_like(x).extents() == x.extents());
}

TEST_CASE("arange counts like NumPy's, forwards and backwards") {
  CHECK(values(arange<float>(4)) == list{0, 1, 2, 3});
  CHECK(values(arange<std::int32_t>(2, 9, 3)) == list{2, 5, 8});
  CHECK(values(arange<std::int32_t>(5, -1, -2)) == list{5, 3, 1});
  CHECK(values(arange<double>(0, 1, 0.25)) == list{0, 0.25, 0.5, 0.75});
  CHECK(values(arange<double>(1, 0, -0.5)) == list{1, 0.5});
  CHECK(values(arange<bfloat16>(3)) == list{0, 1, 2});
  CHECK(arange<std::int64_t>(3, 3).size() == 0);
  CHECK(values(arange<std::int64_t>(INT64_MIN, INT64_MAX, INT64_MAX)) == list{-0x1p63, -1, 0x1p63});
  CHECK_THROWS_WITH_AS(
      static_cast<void>(arange<std::int32_t>(0, 4, -1)),
      "heddle::arange: the step does not lead from start to end: 0 to 4 by -1; its "
      "sign is that of end - start, it is not 0, and all are finite",
      value_error);
  CHECK_THROWS_AS(static_cast<void>(arange<float>(0, 4, 0)), value_error);
  CHECK_THROWS_AS(static_cast<void>(arange<double>(0, INFINITY)), value_error);
  CHECK_THROWS_AS(static_cast<void>(arange<double>(NAN)), value_error);
}

TEST_CASE("linspace has both ends exactly") {
  CHECK(values(linspace<double>(0, 1, 5)) == list{0, 0.25, 0.5, 0.75, 1});
  const auto x = linspace<double>(0.1, 0.7, 7);
  CHECK(x(0) == 0.1);
  CHECK(x(6) == 0.7);
  CHECK(values(linspace<float>(3, 9, 1)) == list{3});
  CHECK(linspace<float>(0, 1, 0).size() == 0);
  CHECK_THROWS_AS(static_cast<void>(linspace<float>(0, 1, -1)), value_error);
}

TEST_CASE("eye is square, or of the extents given") {
  CHECK(values(eye<float>(2)) == list{1, 0, 0, 1});
  CHECK(values(eye<float>(2, 3)) == list{1, 0, 0, 0, 1, 0});
  CHECK(values(eye<float>(3, 1)) == list{1, 0, 0});
}

TEST_CASE("a user's memory is used in place, and given back once") {
  float memory[4] = {1, 2, 3, 4};
  {
    const tensor<float, 2> x = from_pointer(memory, extents<2>{2, 2});
    x(1, 1) = 9;
    CHECK(x.data() == memory);
  }
  CHECK(memory[3] == 9);
  int calls = 0;
  {
    const tensor<float, 1> x = from_pointer(memory, extents<1>{4}, [&calls](float*) { ++calls; });
    const tensor<float, 1> part = x.slice<0>(1, 2);
    CHECK(calls == 0);
  }
  CHECK(calls == 1);
}

TEST_CASE("random tensors are those of their generator, element by element") {
  generator a(42), b(42), c(43);
  CHECK(values(rand<float, 1>({100}, a)) == values(rand<float, 1>({100}, b)));
  CHECK(values(rand<float, 1>({100}, a)) != values(rand<float, 1>({100}, c)));
  generator d(1), e(1);
  const auto whole = values(randn<double, 2>({10, 10}, d));
  const auto start = values(randn<double, 1>({10}, e));
  CHECK(std::vector<double>(whole.begin(), whole.begin() + 10) == start);
  generator f(5);
  const random_state first = generator(5).next();
  CHECK(rand<float, 1>({3}, f)(2) == uniform_float(first(2)[0]));
  manual_seed(9);
  const auto once = values(rand<float, 1>({5}));
  manual_seed(9);
  CHECK(values(rand<float, 1>({5})) == once);
}

TEST_CASE("uniform values lie in [0, 1) and have the right mean, in every floating dtype") {
  const auto check = [](const std::vector<double>& draws) {
    double sum = 0;
    for (const double draw : draws) {
      REQUIRE(draw >= 0);
      REQUIRE(draw < 1);
      sum += draw;
    }
    // Six standard deviations of the mean of 20000; the 16-bit grids sit up to 2^-9 low.
    CHECK(std::abs(sum / 20000 - 0.5) < 6 * std::sqrt(1. / 12 / 20000) + 0x1p-9);
  };
  generator from(3);
  check(values(rand<double, 1>({20000}, from)));
  check(values(rand<float, 1>({20000}, from)));
  check(values(rand<bfloat16, 1>({20000}, from)));
  check(values(rand<float16, 1>({20000}, from)));
}

TEST_CASE("normal values have mean 0 and variance 1") {
  generator from(4);
  const auto check = [](const std::vector<double>& draws) {
    double sum = 0, squares = 0;
    for (const double draw : draws) {
      REQUIRE(std::isfinite(draw));
      sum += draw;
      squares += draw * draw;
    }
    CHECK(std::abs(sum / 20000) < 6 * std::sqrt(1. / 20000));
    CHECK(std::abs(squares / 20000 - 1) < 6 * std::sqrt(2. / 20000));
  };
  check(values(randn<double, 1>({20000}, from)));
  check(values(randn<float, 1>({20000}, from)));
}

TEST_CASE("randint reaches all of its range and nothing else") {
  generator from(6);
  int seen[7] = {};
  for (const std::int32_t value : randint<std::int32_t, 1>(-3, 4, {7000}, from)) {
    REQUIRE(value >= -3);
    REQUIRE(value < 4);
    ++seen[value + 3];
  }
  for (const int count : seen) CHECK(std::abs(count - 1000) < 6 * 30);
  CHECK_THROWS_AS((static_cast<void>(randint<std::int64_t, 1>(2, 2, {1}, from))), value_error);
}

TEST_CASE("randperm holds every index once") {
  generator from(8);
  const auto order = randperm(50, from);
  std::vector<int> seen(50);
  bool moved = false;
  for (std::int64_t i = 0; i < 50; ++i) {
    ++seen[static_cast<std::size_t>(order(i))];
    moved = moved || order(i) != i;
  }
  CHECK(seen == std::vector<int>(50, 1));
  CHECK(moved);
  CHECK(randperm(0, from).size() == 0);
}
