// SPDX-License-Identifier: BSD-3-Clause
// A small random source for tests: the same numbers from the same seed on every platform.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace support {

/// SplitMix64 (Steele, Lea, Flood 2014).
class random_source {
 public:
  explicit random_source(std::uint64_t seed) : state_(seed) {}

  std::uint64_t word() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, n).
  int below(int n) { return static_cast<int>(word() % static_cast<std::uint64_t>(n)); }
  /// Uniform in [low, high].
  int between(int low, int high) { return low + below(high - low + 1); }
  bool chance(double p) { return unit() < p; }
  /// Uniform in [0, 1).
  double unit() { return static_cast<double>(word() >> 11) * 0x1p-53; }
  template <class T, std::size_t N>
  T pick(const T (&choices)[N]) {
    return choices[below(static_cast<int>(N))];
  }

 private:
  std::uint64_t state_;
};

/// The seed of a run: HEDDLE_TEST_SEED, or the time. Print it.
inline std::uint64_t run_seed() {
  static const std::uint64_t seed = [] {
    const char* given = std::getenv("HEDDLE_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 0)
                            : static_cast<unsigned long long>(std::time(nullptr));
  }();
  return seed;
}

}  // namespace support
