// SPDX-License-Identifier: BSD-3-Clause
// sort, argsort and topk against an insertion sort of each row: dtypes, ties, special values, axes,
// layouts, devices.
#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#include "random_elements.hpp"
#include <doctest/doctest.h>

#include <heddle/algorithm/sort.hpp>
#include <heddle/algorithm/topk.hpp>
#include <heddle/autograd/record.hpp>
#include <heddle/autograd/variable.hpp>

using namespace heddle;

namespace {

template <class T, int Rank>
std::vector<T> values(const tensor<T, Rank>& x) {
  return std::vector<T>(x.begin(), x.end());
}
using indices = std::vector<std::int64_t>;

// How many elements of the first `count` of each row are not as the insertion sort says.
template <int Axis, class T>
int count_wrong(const tensor<T, 3>& x, const sort_result<T, 3>& got, std::int64_t count,
                bool descending) {
  int wrong = !got.values.is_contiguous() + !got.indices.is_contiguous();
  extents<3> expected = x.extents();
  expected[Axis] = count;
  wrong += !(got.values.extents() == expected) + !(got.indices.extents() == expected);
  const auto rows = support::rows_along<Axis>(x);
  const auto sorted = support::rows_along<Axis>(got.values);
  const auto places = support::rows_along<Axis>(got.indices);
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const indices order = support::places_in_order(rows[row], descending);
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      wrong += places[row][i] != order[i];
      wrong += !support::same_bits(sorted[row][i], rows[row][static_cast<std::size_t>(order[i])]);
    }
  }
  return wrong;
}

template <int Axis, class T>
int count_wrong_along(const tensor<T, 3>& x) {
  int wrong = 0;
  for (const bool descending : {false, true}) {
    const auto got = sort<Axis>(x, {.descending = descending, .stable = true});
    wrong += count_wrong<Axis>(x, got, x.extent(Axis), descending);
    const auto places = argsort<Axis>(x, {.descending = descending});
    wrong += values(places) != values(got.indices);
    for (const std::int64_t k : {std::int64_t{0}, x.extent(Axis) / 2, x.extent(Axis)}) {
      wrong += count_wrong<Axis>(x, topk<Axis>(x, k, {.largest = descending}), k, descending);
    }
  }
  return wrong;
}

struct check_random_rows {
  template <class T>
  void operator()() const {
    support::random_source random(11);
    const extents<3> shapes[] = {{4, 3, 17}, {1, 40, 2}, {5, 1, 1}, {2, 0, 3}, {1, 1, 1}};
    for (const extents<3>& shape : shapes) {
      for (int layout = 0; layout < support::layouts; ++layout) {
        INFO(name_of(dtype_of<T>) << ' ' << to_string(shape) << " layout " << layout);
        const tensor<T, 3> x = support::random_view<T>(shape, layout, random);
        CHECK(count_wrong_along<0>(x) == 0);
        CHECK(count_wrong_along<1>(x) == 0);
        CHECK(count_wrong_along<2>(x) == 0);
      }
    }
  }
};

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("sort, argsort and topk of every dtype, axis and layout are those of an insertion sort") {
  support::for_all_types(check_random_rows{});
}

TEST_CASE("the last axis is sorted where none is named, in ascending order") {
  const tensor<float, 2> x{{3, 1, 2}, {0, -1, 5}};
  const auto [sorted, places] = sort(x);
  CHECK(values(sorted) == std::vector<float>{1, 2, 3, -1, 0, 5});
  CHECK(values(places) == indices{1, 2, 0, 1, 0, 2});
  CHECK(values(argsort<0>(x)) == indices{1, 1, 0, 0, 0, 1});
  CHECK(values(x) == std::vector<float>{3, 1, 2, 0, -1, 5});
}

TEST_CASE("NaN is larger than infinity, as torch.sort and torch.topk have it") {
  const tensor<float, 1> x{nan, 1, infinity, -nan, -infinity};
  CHECK(values(argsort(x)) == indices{4, 1, 2, 0, 3});
  CHECK(values(argsort(x, {.descending = true})) == indices{0, 3, 2, 1, 4});
  CHECK(values(topk(x, 3).indices) == indices{0, 3, 2});
  CHECK(values(topk(x, 2, {.largest = false}).indices) == indices{4, 1});
}

TEST_CASE("-0 and +0 are equal, keep their order and keep their sign") {
  const tensor<double, 1> x{0.0, -0.0, -1.0, -0.0, 0.0};
  const auto [sorted, places] = sort(x);
  CHECK(values(places) == indices{2, 0, 1, 3, 4});
  CHECK(support::same_bits(sorted(1), 0.0));
  CHECK(support::same_bits(sorted(2), -0.0));
  CHECK(values(argsort(x, {.descending = true})) == indices{0, 1, 3, 4, 2});
}

TEST_CASE("false is sorted before true") {
  const auto [sorted, places] = sort(tensor<bool, 1>{true, false, true, false});
  CHECK(values(sorted) == std::vector<bool>{false, false, true, true});
  CHECK(values(places) == indices{1, 3, 0, 2});
}

TEST_CASE("topk takes the first of equal elements, and without order takes the same ones") {
  const tensor<std::int32_t, 1> x{5, 7, 5, 7, 5, 1};
  CHECK(values(topk(x, 3).indices) == indices{1, 3, 0});
  indices unordered = values(topk(x, 3, {.sorted = false}).indices);
  std::sort(unordered.begin(), unordered.end());
  CHECK(unordered == indices{0, 1, 3});
  const auto some = topk<0>(tensor<float, 2>{{1, 5}, {2, 4}, {3, 3}}, 2);
  CHECK(values(some.values) == std::vector<float>{3, 5, 2, 4});
  CHECK(values(some.indices) == indices{2, 0, 1, 1});
}

TEST_CASE("topk says that k is outside of the axis") {
  const tensor<float, 2> x{{1, 2, 3}, {4, 5, 6}};
  CHECK_THROWS_WITH_AS(
      static_cast<void>(topk(x, 4)),
      "heddle::topk: k is outside of the axis: 4 on axis 1 of (2, 3); it is 0 to 3", value_error);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(topk<0>(x, -1)),
      "heddle::topk: k is outside of the axis: -1 on axis 0 of (2, 3); it is 0 to 2", value_error);
  CHECK(topk(zeros<float, 2>({2, 0}), 0).values.extents() == extents<2>{2, 0});
}

TEST_CASE("an undefined tensor is not sorted") {
  CHECK_THROWS_WITH_AS(
      static_cast<void>(sort(tensor<float, 1>())),
      "heddle::device: the tensor is undefined; assign one that has elements first", state_error);
}

TEST_CASE("expressions, views and the values of variables are sorted") {
  const tensor<float, 2> x{{3, 1, 2}, {0, -1, 5}};
  CHECK(values(sort(x * -1.0f).values) == std::vector<float>{-3, -2, -1, -5, 0, 1});
  CHECK(values(sort(x(1)).values) == std::vector<float>{-1, 0, 5});
  CHECK(values(argsort(x(all, 0))) == indices{1, 0});
  const variable<float, 2> v(x);
  CHECK(values(sort(v).values) == std::vector<float>{1, 2, 3, -1, 0, 5});
  CHECK(values(topk(v * 2.0f, 1).values) == std::vector<float>{6, 10});
}

TEST_CASE("many rows and a long one are sorted whatever the threads") {
  support::random_source random(3);
  const auto x = support::random_elements<float, 3>({30, 50, 40}, random);
  const int threads_before = num_threads();
  set_num_threads(3);
  CHECK(count_wrong<2>(x, sort(x), 40, false) == 0);
  CHECK(count_wrong<1>(x, sort<1>(x), 50, false) == 0);
  CHECK(count_wrong<0>(x, topk<0>(x, 7), 7, true) == 0);
  const auto longest = support::random_elements<std::int64_t, 3>({1, 1, 5000}, random);
  CHECK(count_wrong<2>(longest, sort(longest), 5000, false) == 0);
  set_num_threads(threads_before);
}

TEST_CASE("a queued device sorts in its queue, before what is enqueued later") {
  std::atomic<bool> open{false};
  const tensor<float, 1> x = tensor<float, 1>{3, 1, 2}.to(cpu(0));
  synchronize(cpu(0));
  current_stream(cpu(0)).enqueue([&] {
    while (!open.load()) {
    }
  });
  const auto sorted = sort(x, {.descending = true});
  const auto most = topk(x, 1);
  assign(x, x * 0.0f);
  CHECK(sorted.values.device() == cpu(0));
  open.store(true);
  CHECK(values(sorted.values) == std::vector<float>{3, 2, 1});
  CHECK(values(sorted.indices) == indices{0, 2, 1});
  CHECK(most.values(0) == 3);
  CHECK(x(0) == 0);
}

TEST_CASE("meta() knows extents") {
  const tensor<float, 2> x = empty<float, 2>({4, 6}, meta());
  CHECK(sort<0>(x).indices.extents() == extents<2>{4, 6});
  CHECK(sort(x).values.device() == meta());
  CHECK(topk<0>(x, 3).values.extents() == extents<2>{3, 6});
  CHECK(argsort(x).device() == meta());
}

TEST_CASE("a sort is one launch for the profiler") {
  const tensor<float, 2> x = ones<float, 2>({3, 4});
  profiler seen;
  static_cast<void>(sort(x));
  static_cast<void>(topk(x, 2));
  REQUIRE(seen.launches().size() == 2);
  CHECK(std::string(seen.launches()[0].name) == "sort");
  CHECK(seen.launches()[0].bytes == 12 * (4 + 4 + 8));
  CHECK(std::string(seen.launches()[1].name) == "topk");
  CHECK(seen.launches()[1].bytes == 12 * 4 + 6 * (4 + 8));
}
