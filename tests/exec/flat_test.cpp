// SPDX-License-Identifier: BSD-3-Clause
// The short ways through the host: one run of lanes, a run for each row, and outputs past the
// caches. Each against the value computed element by element.
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/tie.hpp>
#include <heddle/tensor/views.hpp>

using namespace heddle;

namespace {

template <int Rank>
tensor<float, Rank> numbers(const extents<Rank>& e, int seed) {
  tensor<float, Rank> x = empty<float, Rank>(e);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    x.data()[i] = static_cast<float>((i * 7919 + seed) % 257) * 0.125f - 16.f;
  }
  return x;
}

// Writes outputs of `bytes` and more past the caches, for a scope.
struct nontemporal_from {
  std::int64_t before = exec::host::nontemporal_bytes().load();
  explicit nontemporal_from(std::int64_t bytes) { exec::host::nontemporal_bytes() = bytes; }
  nontemporal_from(const nontemporal_from&) = delete;
  nontemporal_from& operator=(const nontemporal_from&) = delete;
  ~nontemporal_from() { exec::host::nontemporal_bytes() = before; }
};

template <int Rank>
bool same_bits(const tensor<float, Rank>& a, const tensor<float, Rank>& b) {
  return a.extents() == b.extents() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
}

// x (rows, columns) - b (columns), by hand.
tensor<float, 2> subtracted(const tensor<float, 2>& x, const tensor<float, 1>& b) {
  tensor<float, 2> y = empty<float, 2>(x.extents());
  const std::int64_t columns = x.extents()[1];
  for (std::int64_t i = 0; i < x.size(); ++i) y.data()[i] = x.data()[i] - b.data()[i % columns];
  return y;
}

constexpr std::int64_t lengths[] = {1,  2,  3,  4,  7,  8,   15,  16, 17,
                                    31, 33, 63, 64, 65, 127, 128, 200};

}  // namespace

TEST_CASE("pointwise statements of every short length") {
  for (const std::int64_t n : lengths) {
    CAPTURE(n);
    const auto a = numbers(extents<1>{n}, 1), b = numbers(extents<1>{n}, 2);
    const tensor<float, 0> two(2.f);
    const tensor<float, 1> y = (a * b - a) * two;
    tensor<float, 1> z = zeros<float, 1>({n});
    assign(z, (a * b - a) * two);
    for (std::int64_t i = 0; i < n; ++i) {
      REQUIRE(y.data()[i] == (a.data()[i] * b.data()[i] - a.data()[i]) * 2);
      REQUIRE(z.data()[i] == y.data()[i]);
    }
  }
}

TEST_CASE("an operand that is no whole run goes the long way") {
  const auto x = numbers(extents<2>{6, 10}, 3);
  const auto even = x(slice(0, 6, 2), all);  // rows apart
  const tensor<float, 2> y = even + even;
  const tensor<float, 2> t = x.transpose() + x.transpose();
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t j = 0; j < 10; ++j) CHECK(y(i, j) == 2 * x(2 * i, j));
  }
  for (std::int64_t i = 0; i < 10; ++i) {
    for (std::int64_t j = 0; j < 6; ++j) CHECK(t(i, j) == 2 * x(j, i));
  }
}

TEST_CASE("operands that lack the outer axes: a run for each row") {
  for (const std::int64_t rows : {1, 2, 3, 33}) {
    for (const std::int64_t columns : lengths) {
      CAPTURE(rows);
      CAPTURE(columns);
      const auto x = numbers(extents<2>{rows, columns}, 4);
      const auto b = numbers(extents<1>{columns}, 5);
      REQUIRE(same_bits(tensor<float, 2>(x - b), subtracted(x, b)));
      tensor<float, 2> in_place = x.clone();
      assign(in_place, in_place - b);
      REQUIRE(same_bits(in_place, subtracted(x, b)));
    }
  }
  // short rows together, with some left over; long ones by themselves; enough for threads
  for (const std::int64_t rows : {205, 700, 3000}) {
    for (const std::int64_t columns : {1, 10, 32, 33, 48, 333, 600}) {
      CAPTURE(rows);
      CAPTURE(columns);
      const auto x = numbers(extents<2>{rows, columns}, 6);
      const auto b = numbers(extents<1>{columns}, 7);
      CHECK(same_bits(tensor<float, 2>(x - b), subtracted(x, b)));
      const tensor<bool, 2> less = x < b;  // other sizes
      const tensor<double, 2> wide = cast<double>(x) + cast<double>(b);
      bool right = true;
      for (std::int64_t i = 0; i < rows * columns; ++i) {
        const float of_x = x.data()[i], of_b = b.data()[i % columns];
        right = right && less.data()[i] == (of_x < of_b) &&
                wide.data()[i] == static_cast<double>(of_x) + static_cast<double>(of_b);
      }
      CHECK(right);
    }
  }
  CHECK(tensor<float, 2>(zeros<float, 2>({0, 5}) + zeros<float, 1>({5})).size() == 0);
}

TEST_CASE("rows of several axes, some of extent 1") {
  const auto x = numbers(extents<3>{5, 1, 20}, 8);
  const auto y = numbers(extents<2>{4, 20}, 9);  // lacks the first axis; x repeats along the second
  const auto b = numbers(extents<1>{20}, 10);
  const tensor<float, 3> z = x * y + b;
  const auto w = numbers(extents<3>{5, 4, 20}, 11);
  const tensor<float, 3> v = w * y + b;  // three kinds of rows
  const tensor<float, 3> u = w + x;      // repeats along an axis in the middle
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t j = 0; j < 4; ++j) {
      for (std::int64_t k = 0; k < 20; ++k) {
        REQUIRE(z(i, j, k) == x(i, 0, k) * y(j, k) + b(k));
        REQUIRE(v(i, j, k) == w(i, j, k) * y(j, k) + b(k));
        REQUIRE(u(i, j, k) == w(i, j, k) + x(i, 0, k));
      }
    }
  }
}

TEST_CASE("outputs past the caches have the same bits") {
  for (const std::int64_t n : {65537, 200003, 262144}) {
    CAPTURE(n);
    const auto a = numbers(extents<1>{n}, 12), b = numbers(extents<1>{n}, 13);
    const tensor<float, 1> usual = a * b - a;
    auto [sum, difference] = evaluate(a + b, a - b);
    const nontemporal_from always(1);
    CHECK(same_bits(tensor<float, 1>(a * b - a), usual));
    auto [sum_past, difference_past] = evaluate(a + b, a - b);
    CHECK(same_bits(sum_past, sum));
    CHECK(same_bits(difference_past, difference));
    tensor<float, 1> in_place = a.clone();
    assign(in_place, in_place * b - in_place);
    CHECK(same_bits(in_place, usual));
    // bytes, and a destination that begins in the middle of 16 bytes
    const tensor<bool, 1> less = a < b;
    bool right = true;
    for (std::int64_t i = 0; i < n; ++i) right = right && less(i) == (a(i) < b(i));
    CHECK(right);
    const tensor<float, 1> wide = zeros<float, 1>({n + 3});
    assign(wide(slice(1, n + 1)), a * b - a);
    CHECK(same_bits(wide(slice(1, n + 1)).clone(), usual));
    CHECK(wide(0) == 0);
    CHECK(wide(n + 1) == 0);
  }
  const auto x = numbers(extents<2>{900, 129}, 14);
  const auto b = numbers(extents<1>{129}, 15);
  const nontemporal_from always(1);
  CHECK(same_bits(tensor<float, 2>(x - b), subtracted(x, b)));
}
