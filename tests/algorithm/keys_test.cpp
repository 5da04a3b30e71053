// SPDX-License-Identifier: BSD-3-Clause
// Keys against comparisons of the values: the same order on host and CUDA devices hangs on them.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "random_elements.hpp"
#include <doctest/doctest.h>

#include <heddle/algorithm/keys.hpp>

using namespace heddle;
using algorithm::differs;
using algorithm::key_type;
using algorithm::nan_key;
using algorithm::sort_key;

static_assert(sort_key(-0.0) == sort_key(0.0));
static_assert(sort_key(-1.0f) < sort_key(0.0f) && sort_key(0.0f) < sort_key(0x1p-149f));
static_assert(sort_key(std::numeric_limits<double>::infinity()) <
              sort_key(std::numeric_limits<double>::quiet_NaN()));
static_assert(sort_key(INT64_MIN) == 0 && sort_key(std::int32_t{-1}) < sort_key(std::int32_t{0}));
static_assert(sort_key(false) < sort_key(true) && sort_key(false, true) > sort_key(true, true));

namespace {

// Whether keys of two values are ordered as the values, in both directions.
template <class T>
bool agrees(T a, T b) {
  const bool equal = (support::is_nan(a) && support::is_nan(b)) || a == b;
  const key_type<T> first = sort_key(a), second = sort_key(b);
  return (first < second) == (support::is_less(a, b) && !equal) && (first == second) == equal &&
         (sort_key(a, true) > sort_key(b, true)) == (first < second) &&
         (first == nan_key<T> && is_floating(dtype_of<T>)) == support::is_nan(a) &&
         differs<T>(first, second) == !(a == b);
}

template <class T>
void check_all_halves() {
  std::vector<T> values;
  for (int bits = 0; bits < 0x10000; ++bits) {
    values.push_back(T::from_bits(static_cast<std::uint16_t>(bits)));
  }
  std::stable_sort(values.begin(), values.end(), [](T a, T b) {
    return support::is_nan(a) != support::is_nan(b) ? support::is_nan(b) : a < b;
  });
  int wrong = 0;
  for (std::size_t i = 1; i < values.size(); ++i) wrong += !agrees(values[i - 1], values[i]);
  CHECK(wrong == 0);
}

template <class T, class Bits>
void check_random_bits(std::uint64_t seed) {
  support::random_source random(seed);
  int wrong = 0;
  for (int round = 0; round < 20000; ++round) {
    const Bits first = static_cast<Bits>(random.word());
    // neighbours, opposites and others
    const Bits second = round % 3 == 0 ? static_cast<Bits>(first + 1)
                        : round % 3 == 1
                            ? static_cast<Bits>(first ^ (Bits{1} << (8 * sizeof(T) - 1)))
                            : static_cast<Bits>(random.word());
    wrong += !agrees(heddle::detail::bits_as<T>(first), heddle::detail::bits_as<T>(second));
  }
  CHECK(wrong == 0);
}

struct check_special {
  template <class T>
  void operator()() const {
    support::random_source random(5);
    int wrong = 0;
    for (int round = 0; round < 5000; ++round) {
      wrong += !agrees(support::random_element<T>(random), support::random_element<T>(random));
    }
    INFO("dtype " << name_of(dtype_of<T>));
    CHECK(wrong == 0);
  }
};

}  // namespace

TEST_CASE("keys of all 65536 values of either 16-bit float are ordered as the values") {
  check_all_halves<float16>();
  check_all_halves<bfloat16>();
}

TEST_CASE("keys of random bits, their neighbours and opposites are ordered as the values") {
  check_random_bits<float, std::uint32_t>(1);
  check_random_bits<double, std::uint64_t>(2);
  check_random_bits<std::int32_t, std::uint32_t>(3);
  check_random_bits<std::int64_t, std::uint64_t>(4);
}

TEST_CASE("keys of ties, NaNs, zeros and infinities of every dtype are ordered as the values") {
  support::for_all_types(check_special{});
}
