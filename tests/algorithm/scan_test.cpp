// SPDX-License-Identifier: BSD-3-Clause
// cumsum and exclusive_cumsum against a loop over each row.
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "random_elements.hpp"
#include <doctest/doctest.h>

#include <heddle/algorithm/scan.hpp>
#include <heddle/autograd/record.hpp>
#include <heddle/autograd/variable.hpp>

using namespace heddle;

static_assert(std::is_same_v<cumsum_type<bfloat16>, bfloat16>);
static_assert(std::is_same_v<cumsum_type<bool>, std::int64_t>);
static_assert(std::is_same_v<cumsum_type<std::uint8_t>, std::int64_t>);

namespace {

template <class T, int Rank>
std::vector<T> values(const tensor<T, Rank>& x) {
  return std::vector<T>(x.begin(), x.end());
}
using indices = std::vector<std::int64_t>;

// Sums of a row: the last holds all.
template <class T>
std::vector<cumsum_type<T>> sums_of(const std::vector<T>& row, bool exclusive) {
  std::vector<cumsum_type<T>> sums;
  if constexpr (is_floating(dtype_of<T>)) {
    std::conditional_t<sizeof(T) == 2, float, double> sum = 0;
    for (const T value : row) {
      if (exclusive) sums.push_back(static_cast<T>(sum));
      sum += static_cast<decltype(sum)>(value);
      if (!exclusive) sums.push_back(static_cast<T>(sum));
    }
  } else {
    std::uint64_t sum = 0;
    for (const T value : row) {
      if (exclusive) sums.push_back(static_cast<std::int64_t>(sum));
      sum += static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
      if (!exclusive) sums.push_back(static_cast<std::int64_t>(sum));
    }
  }
  return sums;
}

template <int Axis, class T>
int count_wrong(const tensor<T, 3>& x) {
  int wrong = 0;
  for (const bool exclusive : {false, true}) {
    const auto got = exclusive ? exclusive_cumsum<Axis>(x) : cumsum<Axis>(x);
    wrong += !got.is_contiguous() + !(got.extents() == x.extents());
    const auto rows = support::rows_along<Axis>(x);
    const auto sums = support::rows_along<Axis>(got);
    for (std::size_t row = 0; row < rows.size(); ++row) {
      const auto expected = sums_of(rows[row], exclusive);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        wrong += support::is_nan(expected[i]) ? !support::is_nan(sums[row][i])
                                              : !support::same_bits(expected[i], sums[row][i]);
      }
    }
  }
  return wrong;
}

struct check_random_rows {
  template <class T>
  void operator()() const {
    support::random_source random(31);
    const extents<3> shapes[] = {{4, 3, 17}, {33, 20, 2}, {5, 1, 1}, {2, 0, 3}, {1, 1, 1}};
    for (const extents<3>& shape : shapes) {
      for (int layout = 0; layout < support::layouts; ++layout) {
        INFO(name_of(dtype_of<T>) << ' ' << to_string(shape) << " layout " << layout);
        const auto x = support::random_view<T>(shape, layout, random);
        CHECK(count_wrong<0>(x) == 0);
        CHECK(count_wrong<1>(x) == 0);
        CHECK(count_wrong<2>(x) == 0);
      }
    }
  }
};

}  // namespace

TEST_CASE("cumsum of every dtype, axis and layout is that of a loop") {
  support::for_all_types(check_random_rows{});
}

TEST_CASE("integers and bool are summed in i64 and floats keep their dtype, as torch.cumsum") {
  CHECK(values(cumsum(tensor<bool, 1>{true, false, true})) == indices{1, 1, 2});
  CHECK(values(cumsum(full<std::uint8_t, 1>({3}, 200))) == indices{200, 400, 600});
  CHECK(values(cumsum<0>(tensor<float, 2>{{1, 2}, {3, 4}})) == std::vector<float>{1, 2, 4, 6});
  CHECK(values(cumsum(tensor<std::int64_t, 1>{INT64_MAX, 1})) == indices{INT64_MAX, INT64_MIN});
}

TEST_CASE("counts become offsets") {
  CHECK(values(exclusive_cumsum(tensor<std::int64_t, 1>{3, 0, 2, 5})) == indices{0, 3, 3, 5});
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const auto sums = exclusive_cumsum(tensor<float, 1>{1, infinity, 2});
  CHECK(values(sums) == std::vector<float>{0, 1, infinity});
}

TEST_CASE("sums are kept wider than the dtype, and rounded for each element alone") {
  // a bf16 of 256 does not change by 1; nor does a float of 2^24
  const auto halves = cumsum(full<bfloat16, 1>({1000}, 1));
  CHECK(static_cast<float>(halves(999)) == 1000);
  const auto floats = cumsum(tensor<float, 1>{0x1p24f, 1, 1});
  CHECK(floats(2) == 0x1p24f + 2);
  CHECK(static_cast<double>(cumsum(tensor<double, 1>{0.1, 0.2, 0.3})(2)) == 0.1 + 0.2 + 0.3);
}

TEST_CASE("sums do not depend on the threads") {
  support::random_source random(5);
  const auto x = support::random_elements<double, 3>({40, 70, 30}, random);
  const int threads_before = num_threads();
  set_num_threads(3);
  CHECK(count_wrong<0>(x) == 0);
  CHECK(count_wrong<2>(x) == 0);
  set_num_threads(threads_before);
}

TEST_CASE("expressions, views and the values of variables are summed") {
  const tensor<float, 2> x{{1, 2}, {3, 4}};
  CHECK(values(cumsum(x * 2.0f)) == std::vector<float>{2, 6, 6, 14});
  CHECK(values(cumsum(x(all, 1))) == std::vector<float>{2, 6});
  CHECK(values(cumsum(variable<float, 2>(x))) == std::vector<float>{1, 3, 3, 7});
}

TEST_CASE("a queued device sums in its queue, and meta() knows extents") {
  const tensor<float, 1> x = ones<float, 1>({4}, cpu(0));
  const auto sums = cumsum(x + 1.0f);
  assign(x, x * 5.0f);
  CHECK(sums.device() == cpu(0));
  CHECK(values(sums) == std::vector<float>{2, 4, 6, 8});
  CHECK(cumsum<0>(empty<bool, 2>({2, 3}, meta())).extents() == extents<2>{2, 3});
  CHECK_THROWS_AS(static_cast<void>(cumsum(tensor<float, 1>())), state_error);
}
