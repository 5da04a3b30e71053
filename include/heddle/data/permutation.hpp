// SPDX-License-Identifier: BSD-3-Clause
// Random orders that depend on nothing but a seed, a number and a count.
#pragma once

#include <cstdint>

#include <heddle/core/error.hpp>
#include <heddle/core/philox.hpp>
#include <heddle/tensor/tensor.hpp>

namespace heddle::inline v0 {

/// The indices 0 to count - 1 in the random order number `number` of a seed: (count). The same on
/// every platform; different numbers give unrelated orders. Fisher and Yates' shuffle (Knuth, TAOCP
/// 2, 3.4.2, algorithm P) from the last index down, step i with the 64 bits of `philox(seed ^
/// 0x9e3779b97f4a7c15, i, number)`, words 0 (high) and 1, scaled to 0 … i. Throws value_error for a
/// negative count or one above 2^32.
[[nodiscard]] inline tensor<std::int64_t, 1> random_permutation(std::int64_t count,
                                                                std::uint64_t seed,
                                                                std::uint64_t number = 0) {
  if (count < 0 || count > std::int64_t{1} << 32) {
    raise<value_error>("heddle::random_permutation: the count is outside of its range: ", count,
                       "; it is 0 to 2^32");
  }
  auto order = tensor<std::int64_t, 1>::allocate({count}, cpu());
  std::int64_t* const index = order.data();
  for (std::int64_t i = 0; i < count; ++i) index[i] = i;
  // A key of its own, so that masks drawn from the same seed are unrelated.
  const std::uint64_t key = seed ^ 0x9e3779b97f4a7c15ull;
  for (std::int64_t i = count - 1; i > 0; --i) {
    const philox_words words = philox(key, static_cast<std::uint64_t>(i), number);
    const auto choices = static_cast<std::uint64_t>(i) + 1;
    // The high 64 bits of bits · choices, whose bias is below 2^-32; choices · word fits 64 bits.
    const std::uint64_t low = choices * words[1] >> 32;
    const std::uint64_t chosen = (choices * words[0] + low) >> 32;
    const std::int64_t last = index[i];
    index[i] = index[chosen];
    index[chosen] = last;
  }
  return order;
}

}  // namespace heddle::inline v0
