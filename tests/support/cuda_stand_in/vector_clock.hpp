// SPDX-License-Identifier: BSD-3-Clause
// Vector clocks: which operations of which streams come before something, whatever the timing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace stand_in {

/// The number-th operation of a stream; actor 0 is the host, streams count from 1.
struct moment {
  std::size_t actor = 0;
  std::uint64_t number = 0;
};

class vector_clock {
 public:
  [[nodiscard]] std::uint64_t of(std::size_t actor) const {
    return actor < numbers_.size() ? numbers_[actor] : 0;
  }
  [[nodiscard]] bool covers(moment m) const { return of(m.actor) >= m.number; }
  [[nodiscard]] std::size_t actors() const { return numbers_.size(); }

  void add(moment m) {
    if (m.actor >= numbers_.size()) numbers_.resize(m.actor + 1);
    numbers_[m.actor] = std::max(numbers_[m.actor], m.number);
  }
  void join(const vector_clock& other) {
    for (std::size_t i = 0; i < other.numbers_.size(); ++i) add({i, other.numbers_[i]});
  }

 private:
  std::vector<std::uint64_t> numbers_;
};

}  // namespace stand_in
