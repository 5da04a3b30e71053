// SPDX-License-Identifier: BSD-3-Clause
// Random orders.
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/data/permutation.hpp>

using heddle::random_permutation;
using order = std::vector<std::int64_t>;

namespace {

order of(std::int64_t count, std::uint64_t seed, std::uint64_t number) {
  const auto indices = random_permutation(count, seed, number);
  return order(indices.begin(), indices.end());
}

}  // namespace

TEST_CASE("orders are those of fixtures/permutations.py") {
  CHECK(of(10, 0, 0) == order{9, 1, 5, 0, 7, 4, 2, 3, 8, 6});
  CHECK(of(10, 0, 1) == order{3, 1, 6, 4, 2, 9, 0, 5, 8, 7});
  CHECK(of(10, 42, 0) == order{0, 4, 6, 1, 9, 8, 3, 5, 7, 2});
  const order large = of(1797, 7, 3);
  CHECK(order(large.begin(), large.begin() + 5) == order{322, 1501, 1793, 1206, 453});
  CHECK(order(large.end() - 5, large.end()) == order{376, 998, 557, 264, 261});
}

TEST_CASE("every index is there once, for any count") {
  for (const std::int64_t count : {0, 1, 2, 3, 1000}) {
    std::vector<int> seen(static_cast<std::size_t>(count));
    for (const std::int64_t index : of(count, 1, 2)) ++seen.at(static_cast<std::size_t>(index));
    for (const int times : seen) CHECK(times == 1);
  }
  CHECK_THROWS_AS(of(-1, 0, 0), heddle::value_error);
  CHECK_THROWS_AS(of((std::int64_t{1} << 32) + 1, 0, 0), heddle::value_error);
}

TEST_CASE("all 24 orders of four are equally frequent") {
  int counts[256] = {};
  constexpr int rounds = 24000;
  for (std::uint64_t number = 0; number < rounds; ++number) {
    const order found = of(4, 5, number);
    ++counts[found[0] * 64 + found[1] * 16 + found[2] * 4 + found[3]];
  }
  double chi_squared = 0;
  int kinds = 0;
  for (const int count : counts) {
    if (count == 0) continue;
    ++kinds;
    chi_squared += (count - 1000.0) * (count - 1000.0) / 1000.0;
  }
  CHECK(kinds == 24);
  CHECK(chi_squared < 49.7);  // 23 degrees of freedom, p = 0.001
}
