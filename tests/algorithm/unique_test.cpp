// SPDX-License-Identifier: BSD-3-Clause
// unique against a search through all values seen before.
#include <cstdint>
#include <limits>
#include <vector>

#include "random_elements.hpp"
#include <doctest/doctest.h>

#include <heddle/algorithm/unique.hpp>
#include <heddle/autograd/record.hpp>
#include <heddle/autograd/variable.hpp>

using namespace heddle;

namespace {

template <class T, int Rank>
std::vector<T> values(const tensor<T, Rank>& x) {
  return std::vector<T>(x.begin(), x.end());
}
using indices = std::vector<std::int64_t>;

template <class T, int Rank>
int count_wrong(const tensor<T, Rank>& x) {
  std::vector<T> seen;
  indices counts, number_of;
  for (const T value : x) {
    std::size_t found = 0;
    while (found < seen.size() && !(seen[found] == value)) ++found;
    if (found == seen.size()) {
      seen.push_back(value);
      counts.push_back(0);
    }
    ++counts[found];
    number_of.push_back(static_cast<std::int64_t>(found));
  }
  const indices order = support::places_in_order(seen, false);
  const auto got = unique(x);
  if (got.values.size() != static_cast<std::int64_t>(seen.size())) return -1;
  int wrong = !(got.inverse.extents() == x.extents()) + !(got.counts.size() == got.values.size());
  indices rank_of(seen.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto number = static_cast<std::size_t>(order[i]);
    const auto place = static_cast<std::int64_t>(i);
    rank_of[number] = place;
    wrong += !support::same_bits(got.values(place), seen[number]);
    wrong += got.counts(place) != counts[number];
  }
  std::size_t at = 0;
  for (const std::int64_t place : got.inverse) {
    wrong += place != rank_of[static_cast<std::size_t>(number_of[at++])];
  }
  return wrong;
}

struct check_random_elements {
  template <class T>
  void operator()() const {
    support::random_source random(21);
    const extents<3> shapes[] = {{4, 3, 17}, {1, 40, 2}, {1, 1, 1}, {2, 0, 3}};
    for (const extents<3>& shape : shapes) {
      for (int layout = 0; layout < support::layouts; ++layout) {
        INFO(name_of(dtype_of<T>) << ' ' << to_string(shape) << " layout " << layout);
        const auto x = support::random_view<T>(shape, layout, random);
        CHECK(count_wrong(x) == 0);
        CHECK(count_wrong(flatten(x)) == 0);
      }
    }
  }
};

}  // namespace

TEST_CASE("unique of every dtype and layout is what a search finds") {
  support::for_all_types(check_random_elements{});
}

TEST_CASE("unique returns values, inverse and counts as torch.unique does") {
  const auto [found, inverse, counts] = unique(tensor<std::int64_t, 2>{{1, 3}, {2, 3}});
  CHECK(values(found) == indices{1, 2, 3});
  CHECK(values(inverse) == indices{0, 2, 1, 2});
  CHECK(inverse.extents() == extents<2>{2, 2});
  CHECK(values(counts) == indices{1, 1, 2});
}

TEST_CASE("each NaN is a value of its own, counted once") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const auto got = unique(tensor<double, 1>{1, nan, 1, -nan});
  REQUIRE(got.values.size() == 3);
  CHECK(got.values(0) == 1);
  CHECK(support::same_bits(got.values(1), nan));
  CHECK(support::same_bits(got.values(2), -nan));
  CHECK(values(got.counts) == indices{2, 1, 1});
  CHECK(values(got.inverse) == indices{0, 1, 0, 2});
}

TEST_CASE("-0 and +0 are one value, the one that stands first") {
  const auto got = unique(tensor<float, 1>{-0.0f, 0.0f, -1.0f});
  REQUIRE(got.values.size() == 2);
  CHECK(support::same_bits(got.values(1), -0.0f));
  CHECK(values(got.counts) == indices{1, 2});
}

TEST_CASE("unique of a scalar and of nothing") {
  const auto one = unique(tensor<float, 0>(3.f));
  CHECK(values(one.values) == std::vector<float>{3});
  CHECK(one.inverse.item() == 0);
  const auto none = unique(zeros<float, 2>({0, 4}));
  CHECK(none.values.size() == 0);
  CHECK(none.counts.defined());
  CHECK(none.inverse.extents() == extents<2>{0, 4});
}

TEST_CASE("unique of expressions and of the values of variables") {
  const tensor<float, 1> x{2, 1, 2};
  CHECK(values(unique(x * 2.0f).values) == std::vector<float>{2, 4});
  CHECK(values(unique(variable<float, 1>(x)).counts) == indices{1, 2});
}

TEST_CASE("unique waits for a queued device and leaves its results there") {
  const tensor<float, 2> x = zeros<float, 2>({3, 2}, cpu(0));
  assign(x, x + 1.0f);
  const auto got = unique(x.transpose());
  CHECK(got.values.device() == cpu(0));
  CHECK(got.inverse.device() == cpu(0));
  CHECK(values(got.values) == std::vector<float>{1});
  CHECK(values(got.counts) == indices{6});
  const tensor<float, 1> doubled = got.values * 2.0f;
  CHECK(doubled(0) == 2);
}

TEST_CASE("unique on meta() and of nothing defined says so") {
  CHECK_THROWS_WITH_AS(static_cast<void>(unique(empty<float, 2>({2, 3}, meta()))),
                       "heddle::unique: a tensor on meta has extents and no elements; make it on "
                       "cpu()",
                       device_error);
  CHECK_THROWS_AS(static_cast<void>(unique(tensor<float, 1>())), state_error);
}
