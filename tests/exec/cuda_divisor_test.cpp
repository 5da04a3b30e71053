// SPDX-License-Identifier: BSD-3-Clause
// Division by a number that a launch fixes.
#include <array>
#include <cstdint>
#include <limits>

#include "../support/random_source.hpp"
#include <doctest/doctest.h>

#include <heddle/exec/cuda/divisor.hpp>

namespace {

using heddle::exec::cuda::divisor;

static_assert(divisor(7).quotient(48) == 6 && divisor(1).quotient(48) == 48);

constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();

std::int64_t wrong_quotients(std::int64_t by, std::int64_t n) {
  return divisor(by).quotient(n) == n / by ? 0 : 1;
}

}  // namespace

TEST_CASE("a divisor divides as / does, from 0 to 2^63 - 1, by small and large, powers and not") {
  std::int64_t wrong = 0;
  for (std::int64_t by = 1; by <= 300; ++by) {
    for (std::int64_t n = 0; n < 2000; ++n) wrong += wrong_quotients(by, n);
  }
  support::random_source random(41);
  for (int bits = 1; bits < 64; ++bits) {
    // around each power of two, and anywhere below it
    const std::int64_t power = bits == 63 ? largest : std::int64_t{1} << bits;
    const std::array<std::int64_t, 4> divisors{
        power - 1, power, power < largest ? power + 1 : power,
        static_cast<std::int64_t>(random.word() % static_cast<std::uint64_t>(power)) + 1};
    for (const std::int64_t by : divisors) {
      for (int k = 0; k < 200; ++k) {
        const auto n = static_cast<std::int64_t>(random.word() >> (1 + k % 63));
        wrong += wrong_quotients(by, n);
        // around a multiple, where a quotient that is a little too large or small shows
        const std::int64_t multiple = n / by * by;
        wrong += wrong_quotients(by, multiple);
        wrong += wrong_quotients(by, multiple > 0 ? multiple - 1 : 0);
      }
      wrong += wrong_quotients(by, largest) + wrong_quotients(by, largest - 1);
    }
  }
  CHECK(wrong == 0);
}
