// SPDX-License-Identifier: BSD-3-Clause
// One contender of a race: what it repeats and what it computes. Includes nothing of heddle, so
// that peers can be compiled apart, with flags of their own.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// The value is needed, in memory.
template <class T>
inline void keep(const T& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

struct contender {
  std::string peer;     ///< heddle, eigen, libtorch …; limit: what the machine needs at least
  std::string variant;  ///< how, where one peer has several ways
  int threads = 1;
  std::function<void(std::int64_t)> repeat;     ///< runs the work so many times
  std::function<std::vector<double>()> values;  ///< its results, to be held against heddle's
  double share = 1;               ///< what is reported, of the seconds of one repetition
  std::function<double()> count;  ///< in place of repeat: what is reported, other than time
  std::int64_t times = 0;         ///< repetitions that fill a turn
  double turn = 0;                ///< the turn that they fill, seconds
};

/// What a timed work does with its result: it is needed, no more.
struct kept {
  template <class T>
  void operator()(const T* data, std::int64_t) const {
    keep(data);
  }
  void operator()(double value) const { keep(value); }
};

/// What a checked work does with its result: elements from its whole length, and two means.
struct sampled {
  std::vector<double>* values;
  template <class T>
  void operator()(const T* data, std::int64_t size) const {
    constexpr std::int64_t samples = 8;
    for (std::int64_t i = 0; i < samples; ++i) {
      values->push_back(static_cast<double>(data[(size - 1) * i / (samples - 1)]));
    }
    double sum = 0, absolute = 0;
    for (std::int64_t i = 0; i < size; ++i) {
      sum += static_cast<double>(data[i]);
      absolute += std::abs(static_cast<double>(data[i]));
    }
    values->push_back(sum / static_cast<double>(size));
    values->push_back(absolute / static_cast<double>(size));
  }
  void operator()(double value) const { values->push_back(value); }
};

/// Nothing to prepare before a turn.
struct unprepared {
  explicit unprepared(int /*threads*/) {}
};

/// `work` is called once per repetition, with a function that it hands its result to:
/// `see(pointer, size)` or `see(number)`. A `Preparation` of the thread count lives during each
/// turn.
template <class Preparation = unprepared, class Work>
contender enter(std::string peer, std::string variant, int threads, Work work) {
  contender c;
  c.peer = std::move(peer);
  c.variant = std::move(variant);
  c.threads = threads;
  const auto held = std::make_shared<Work>(std::move(work));
  c.repeat = [held, threads](std::int64_t times) {
    [[maybe_unused]] const Preparation prepared(threads);
    for (std::int64_t i = 0; i < times; ++i) (*held)(kept{});
  };
  c.values = [held, threads] {
    [[maybe_unused]] const Preparation prepared(threads);
    std::vector<double> values;
    (*held)(sampled{&values});
    return values;
  };
  return c;
}

/// The contender, which keeps what its operands' memory belongs to.
template <class Held>
contender keeping(Held held, contender c) {
  c.repeat = [held = std::move(held), repeat = std::move(c.repeat)](std::int64_t times) {
    repeat(times);
  };
  return c;
}

/// Reports a number that is not a time.
inline contender counted(std::string peer, std::string variant, std::function<double()> number) {
  contender c;
  c.peer = std::move(peer);
  c.variant = std::move(variant);
  c.count = std::move(number);
  return c;
}

}  // namespace bench
