// SPDX-License-Identifier: BSD-3-Clause
// Division by a number that a launch fixes: a multiplication and a shift, by values that the host
// makes.
#pragma once

#include <bit>
#include <cstdint>

#include <heddle/core/config.hpp>

namespace heddle::inline v0::exec::cuda {

/// Divides numbers of 0 to 2^63 - 1 by one of at least 1: the product's upper half, the number
/// added, shifted (Granlund and Montgomery 1994, "Division by invariant integers using
/// multiplication", figure 4.1). The sum does not overflow, as the number has a bit to spare.
class divisor {
 public:
  constexpr divisor() = default;
  constexpr explicit divisor(std::int64_t by) : by_(by) {
    if (by < 2) return;
    const auto d = static_cast<std::uint64_t>(by);
    shift_ = static_cast<int>(std::bit_width(d - 1));
    // 2^64 (2^shift - d) / d, in 128 bits; of a power of two it is 0
    const std::uint64_t above = (std::uint64_t{1} << shift_) - d;
    if (above != 0) factor_ = static_cast<std::uint64_t>((wide{above} << 64) / d);
    ++factor_;
  }

  [[nodiscard]] HEDDLE_HD constexpr std::int64_t by() const { return by_; }
  /// n / by()
  [[nodiscard]] HEDDLE_HD constexpr std::int64_t quotient(std::int64_t n) const {
    const auto of = static_cast<std::uint64_t>(n);
    return static_cast<std::int64_t>((upper_half(factor_, of) + of) >> shift_);
  }

 private:
  __extension__ typedef unsigned __int128 wide;

  HEDDLE_HD static constexpr std::uint64_t upper_half(std::uint64_t a, std::uint64_t b) {
#if defined(__CUDA_ARCH__)
    return __umul64hi(a, b);
#else
    return static_cast<std::uint64_t>((wide{a} * b) >> 64);
#endif
  }

  std::int64_t by_ = 1;
  std::uint64_t factor_ = 0;
  int shift_ = 0;
};

}  // namespace heddle::inline v0::exec::cuda
