// SPDX-License-Identifier: BSD-3-Clause
// Counter-based random numbers: Philox4x32-10, its maps to floating values, and the generator that
// hands out (seed, offset) pairs.
#pragma once

#include <cstdint>

#include <heddle/core/config.hpp>
#include <heddle/core/threads.hpp>

namespace heddle::inline v0 {

/// Four 32-bit words of one Philox call.
struct philox_words {
  std::uint32_t word[4];  ///< x0 to x3 of the paper

  HEDDLE_HD constexpr std::uint32_t operator[](int lane) const noexcept { return word[lane]; }
  friend constexpr bool operator==(const philox_words&, const philox_words&) noexcept = default;
};

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3",
/// SC'11). `low` holds words 0 and 1 of the counter, `high` words 2 and 3.
HEDDLE_HD constexpr philox_words philox(std::uint64_t key, std::uint64_t low,
                                        std::uint64_t high = 0) noexcept {
  std::uint32_t c0 = static_cast<std::uint32_t>(low);
  std::uint32_t c1 = static_cast<std::uint32_t>(low >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(high);
  std::uint32_t c3 = static_cast<std::uint32_t>(high >> 32);
  std::uint32_t k0 = static_cast<std::uint32_t>(key);
  std::uint32_t k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// Uniform in [0, 1): the top 24 bits of a word.
HEDDLE_HD constexpr float uniform_float(std::uint32_t word) noexcept {
  // Through a signed integer, which converts to float in one instruction everywhere.
  return static_cast<float>(static_cast<std::int32_t>(word >> 8)) * 0x1p-24f;
}

/// Uniform in [0, 1): 53 bits of two words.
HEDDLE_HD constexpr double uniform_double(std::uint32_t high, std::uint32_t low) noexcept {
  const std::uint64_t bits = (std::uint64_t{high} << 32 | low) >> 11;
  return static_cast<double>(static_cast<std::int64_t>(bits)) * 0x1p-53;
}

namespace detail {

// The C library's functions; the loop nest passes its own. Built-ins spare every unit <cmath>.
struct library_math {
#if defined(__CUDA_ARCH__)
  HEDDLE_HD static float log(float x) { return ::logf(x); }
  HEDDLE_HD static double log(double x) { return ::log(x); }
  HEDDLE_HD static float sqrt(float x) { return ::sqrtf(x); }
  HEDDLE_HD static double sqrt(double x) { return ::sqrt(x); }
  HEDDLE_HD static float cos(float x) { return ::cosf(x); }
  HEDDLE_HD static double cos(double x) { return ::cos(x); }
#else
  HEDDLE_HD static float log(float x) { return __builtin_logf(x); }
  HEDDLE_HD static double log(double x) { return __builtin_log(x); }
  HEDDLE_HD static float sqrt(float x) { return __builtin_sqrtf(x); }
  HEDDLE_HD static double sqrt(double x) { return __builtin_sqrt(x); }
  HEDDLE_HD static float cos(float x) { return __builtin_cosf(x); }
  HEDDLE_HD static double cos(double x) { return __builtin_cos(x); }
#endif
};

}  // namespace detail

/// A standard normal value of two words (Box and Muller 1958): sqrt(-2 log u) cos(2 pi v), u in (0,
/// 1]. `Math` has static `log`, `sqrt` and `cos`.
template <class Math = detail::library_math>
HEDDLE_HD float normal_float(std::uint32_t first, std::uint32_t second) {
  const float u = 1.0f - uniform_float(first);
  const float v = uniform_float(second);
  return Math::sqrt(-2.0f * Math::log(u)) * Math::cos(6.283185307179586f * v);
}

/// A standard normal value of four words, in double.
template <class Math = detail::library_math>
HEDDLE_HD double normal_double(philox_words words) {
  const double u = 1.0 - uniform_double(words[0], words[1]);
  const double v = uniform_double(words[2], words[3]);
  return Math::sqrt(-2.0 * Math::log(u)) * Math::cos(6.283185307179586 * v);
}

/// Where one use of random numbers starts: element i of it draws `philox(seed, offset, i)` (the
/// offset numbers the use, so uses never overlap however many elements they have).
struct random_state {
  std::uint64_t seed = 0;    ///< Philox's key
  std::uint64_t offset = 0;  ///< the number of the use: words 2 and 3 of Philox's counter

  HEDDLE_HD constexpr philox_words operator()(std::uint64_t element) const noexcept {
    return philox(seed, element, offset);
  }
  /// A key of its own for the use, where words 2 and 3 of the counter are wanted otherwise. The
  /// multiplier and the finaliser are those of SplitMix64 (Steele, Lea, Flood 2014).
  [[nodiscard]] constexpr random_state as_key() const noexcept {
    std::uint64_t key = seed + (offset + 1) * 0x9E3779B97F4A7C15u;
    key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9u;
    key = (key ^ (key >> 27)) * 0x94D049BB133111EBu;
    return {key ^ key >> 31, 0};
  }
  friend constexpr bool operator==(random_state, random_state) noexcept = default;
};

class generator;

namespace detail {

/// Told of every state that generators hand out to a thread (capture.hpp).
class draw_observer {
 public:
  virtual void note_draw(generator& from, random_state drawn) = 0;

 protected:
  ~draw_observer() = default;
};
inline constinit thread_local draw_observer* this_thread_draws = nullptr;

}  // namespace detail

/// Hands out a distinct random_state for every use. Any threads may share one.
class generator {
 public:
  /// The default seed is PyTorch's.
  static constexpr std::uint64_t default_seed = 67280421310721ull;

  constexpr explicit generator(std::uint64_t seed = default_seed) noexcept : next_{seed, 0} {}

  /// Starts again: the uses that follow are those of a new generator with this seed.
  void manual_seed(std::uint64_t seed) noexcept {
    detail::lock hold(guard_);
    next_ = {seed, 0};
  }

  /// The state for one use.
  [[nodiscard]] random_state next() {
    const random_state taken = take();
    if (detail::this_thread_draws != nullptr) [[unlikely]] {
      detail::this_thread_draws->note_draw(*this, taken);
    }
    return taken;
  }

  /// What the next use will get; with `restore` it makes a run repeatable from the middle.
  [[nodiscard]] random_state state() const noexcept {
    detail::lock hold(guard_);
    return next_;
  }
  /// Goes on from where `state` was taken, be it of another generator.
  void restore(random_state saved) noexcept {
    detail::lock hold(guard_);
    next_ = saved;
  }

 private:
  random_state take() noexcept {
    detail::lock hold(guard_);
    const random_state taken = next_;
    ++next_.offset;
    return taken;
  }

  mutable detail::mutex guard_;
  random_state next_;
};

/// The generator used where none is named.
[[nodiscard]] inline generator& default_generator() noexcept {
  static constinit generator shared;
  return shared;
}

/// Seeds the default generator.
inline void manual_seed(std::uint64_t seed) noexcept { default_generator().manual_seed(seed); }

}  // namespace heddle::inline v0
