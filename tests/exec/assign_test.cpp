// SPDX-License-Identifier: BSD-3-Clause
// Writing in place: overlaps go through a temporary, versions count, wrong destinations are
// refused.
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/views.hpp>

namespace {

using namespace heddle;

/// 0, 1, 2, … of the given extents.
template <class T = float, int Rank>
tensor<T, Rank> counting(extents<Rank> e) {
  tensor<T, Rank> x = empty<T, Rank>(e);
  T next = 0;
  for (T& v : x) v = next++;
  return x;
}

template <class T, int Rank, class U>
bool equal(const tensor<T, Rank>& a, const tensor<U, Rank>& b) {
  if (a.extents() != b.extents()) return false;
  auto there = b.begin();
  for (const T v : a) {
    if (v != *there) return false;
    ++there;
  }
  return true;
}

constexpr std::int64_t extent_list[] = {1, 2, 17, 70};

}  // namespace

TEST_CASE("assignment to a tensor rebinds it and leaves views of the old elements alone") {
  for (const std::int64_t n : extent_list) {
    tensor<float, 2> x = counting<float, 2>({n, n});
    const tensor<float, 2> old = x;
    const tensor<float, 2> copy = x.clone();
    x = x.transpose() + x;
    CHECK(x.storage().get() != old.storage().get());
    CHECK(equal(old, copy));
    for (std::int64_t i = 0; i < n; ++i) CHECK(x(i, 0) == copy(i, 0) + copy(0, i));
  }
}

TEST_CASE("assign through another index map of the same elements takes a temporary") {
  for (const std::int64_t n : extent_list) {
    CAPTURE(n);
    const tensor<float, 2> x = counting<float, 2>({n, n});
    const tensor<float, 2> before = x.clone();
    assign(x, x.transpose() + x);
    CHECK(equal(x, evaluate(before.transpose() + before)));

    const tensor<float, 1> v = counting<float, 1>({n + 1});
    const tensor<float, 1> first = v.clone();
    assign(v.slice<0>(1, n + 1), v.slice<0>(0, n) * 1.0f);  // shifted by one
    for (std::int64_t i = 1; i <= n; ++i) CHECK(v(i) == first(i - 1));
    CHECK(v(0) == first(0));
  }
}

TEST_CASE("an operand permuted within the statement is another index map, too") {
  const tensor<float, 2> x = counting<float, 2>({40, 40});
  const tensor<float, 2> before = x.clone();
  assign(x, let([](auto v) { return permute<1, 0>(v) * 2; }, x));
  CHECK(equal(x, evaluate(before.transpose() * 2)));
}

TEST_CASE("a destination that a reduction reads takes a temporary") {
  const tensor<float, 2> x = counting<float, 2>({5, 33});
  const tensor<float, 2> before = x.clone();
  assign(x, x - mean<-1>(x, keepdim));
  CHECK(equal(x, evaluate(before - mean<-1>(before, keepdim))));
  const tensor<float, 1> row = x(0);
  const tensor<float, 1> row_before = row.clone();
  assign(row, sum<0>(x));
  CHECK(row(3) != row_before(3));
}

TEST_CASE("destinations and operands over the same memory, wrapped twice, are seen to overlap") {
  std::vector<float> memory(200);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(i);
  const std::vector<float> before = memory;
  const auto low = from_pointer<float, 1>(memory.data(), {199});
  const auto high = from_pointer<float, 1>(memory.data() + 1, {199});
  assign(high, low + 0.5f);
  for (std::size_t i = 1; i < 200; ++i) REQUIRE(memory[i] == before[i - 1] + 0.5f);
  const auto again = from_pointer<float, 1>(memory.data() + 1, {199});
  const std::vector<float> shifted = memory;
  assign(high, again * 2.0f);  // the same places: element by element
  for (std::size_t i = 1; i < 200; ++i) REQUIRE(memory[i] == shifted[i] * 2);
}

TEST_CASE("tied destinations are all computed from what was there before: a swap") {
  for (const std::int64_t n : {1, 7, 64, 1000}) {
    CAPTURE(n);
    const tensor<float, 1> a = counting<float, 1>({n});
    const tensor<float, 1> b = evaluate(counting<float, 1>({n}) * -1.0f);
    const tensor<float, 1> a0 = a.clone(), b0 = b.clone();
    assign(tie(a, b), b, a);
    CHECK(equal(a, b0));
    CHECK(equal(b, a0));
    assign(tie(a, b), a + b, a - b);
    CHECK(equal(a, evaluate(a0 + b0)));
    CHECK(equal(b, evaluate(b0 - a0)));
  }
}

TEST_CASE("tied destinations of different shapes keep the order of reads") {
  const tensor<float, 2> m = counting<float, 2>({6, 40});
  const tensor<float, 1> v = counting<float, 1>({40});
  const tensor<float, 2> m0 = m.clone();
  const tensor<float, 1> v0 = v.clone();
  assign(tie(v, m), v * 2, m + v);
  CHECK(equal(v, evaluate(v0 * 2)));
  CHECK(equal(m, evaluate(m0 + v0)));
}

TEST_CASE("a slice is written through its view, and only it") {
  const tensor<float, 2> x = counting<float, 2>({6, 30});
  const tensor<float, 2> before = x.clone();
  x(slice(1, 5, 2), slice(3, 30)) = x(slice(0, 4, 2), slice(0, 27)) + 100;
  for (std::int64_t i = 0; i < 6; ++i) {
    for (std::int64_t j = 0; j < 30; ++j) {
      const bool written = (i == 1 || i == 3) && j >= 3;
      CHECK(x(i, j) == (written ? before(i - 1, j - 3) + 100 : before(i, j)));
    }
  }
  x(0) = 2.5f;
  CHECK(x(0, 29) == 2.5f);
  x(all(), 0) = before(all(), 1);
  CHECK(x(5, 0) == before(5, 1));
}

TEST_CASE("compound assignment writes in place, broadcasts, and respects overlaps") {
  const tensor<float, 2> shared = counting<float, 2>({4, 33});
  tensor<float, 2> x = shared;
  const tensor<float, 2> before = x.clone();
  const tensor<float, 1> row = counting<float, 1>({33});
  x += row;
  x *= 2.0f;
  CHECK(equal(shared, evaluate((before + row) * 2)));
  tensor<float, 2> upper = shared(slice(1, 4), all());
  const tensor<float, 2> start = shared.clone();
  upper += shared(slice(0, 3), all());
  CHECK(equal(upper, evaluate(start(slice(1, 4), all()) + start(slice(0, 3), all()))));
  tensor<float, 2> square = counting<float, 2>({20, 20});
  const tensor<float, 2> square_before = square.clone();
  square -= square.transpose();
  CHECK(equal(square, evaluate(square_before - square_before.transpose())));
}

TEST_CASE("each write in place raises the version that all views share") {
  tensor<float, 1> x = counting<float, 1>({8});
  const std::uint32_t start = x.version();
  const tensor<float, 1> view = x.slice<0>(2, 4);
  assign(view, view * 2.0f);
  CHECK(x.version() == start + 1);
  x += 1.0f;
  x(slice(0, 2)) = 0.0f;
  CHECK(view.version() == start + 3);
  const tensor<float, 1> y = counting<float, 1>({8});
  assign(tie(x, y), y, x);
  CHECK(x.version() == start + 4);
  CHECK(y.version() == 1);
}

TEST_CASE("a destination that cannot hold the value is refused with its extents") {
  const tensor<float, 1> x = zeros<float, 1>({3});
  CHECK_THROWS_WITH_AS(assign(x, ones<float, 1>({4}) * 1.0f),
                       "heddle::evaluate: the operands cannot be broadcast together: (3), (4); "
                       "aligned from the right, extents must be equal or 1",
                       shape_error);
  const tensor<float, 1> one = zeros<float, 1>({1});
  CHECK_THROWS_AS(assign(one, ones<float, 1>({4}) * 1.0f), shape_error);
  const tensor<float, 2> repeated = expand(x, {4, 3});
  CHECK_THROWS_AS(assign(repeated, ones<float, 2>({4, 3}) * 1.0f), shape_error);
  const tensor<float, 1> undefined;
  CHECK_THROWS_AS(assign(undefined, x * 1.0f), state_error);
  CHECK_THROWS_AS(assign(tie(x, x.slice<0>(0, 3)), x * 1.0f, x * 2.0f), shape_error);
}

TEST_CASE("assignments to slices at odd addresses and strides equal plain loops") {
  for (const std::int64_t n : {1, 5, 16, 31, 130}) {
    const tensor<double, 2> x = counting<double, 2>({n, 3 * n + 1});
    const tensor<double, 2> before = x.clone();
    const tensor<double, 2> part = x(all(), slice(1, 3 * n + 1, 3));
    const tensor<double, 1> row = counting<double, 1>({n});
    assign(part, part * row - 1.0);
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < 3 * n + 1; ++j) {
        const bool written = j % 3 == 1;
        const double want = written ? before(i, j) * static_cast<double>(j / 3) - 1 : before(i, j);
        REQUIRE(x(i, j) == want);
      }
    }
  }
}

TEST_CASE("assigning an integer keeps all its bits") {
  const tensor<std::int64_t, 1> x{1, 2};
  assign(x, 9007199254740993);
  CHECK(x(1) == 9007199254740993);
}
