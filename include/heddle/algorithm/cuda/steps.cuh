// SPDX-License-Identifier: BSD-3-Clause
// What the threads of a CUDA device do for the algorithms, between one sort of keys and the next.
// Nothing here names CUDA: tests call the same functions on the host.
#pragma once

#include <cstdint>

#include <heddle/algorithm/keys.hpp>
#include <heddle/algorithm/scan.hpp>
#include <heddle/exec/cuda/team.hpp>

namespace heddle::inline v0::algorithm::cuda {

// Each step is called with every index below its count, in any order. A *word* holds what one sort
// goes by: the key of an element, and above it the number of its row, where both fit 64 bits. A
// *place* is the index of an element in x.

/// Words and places of elements in rows of `length`.
template <class T>
struct make_words {
  const T* x;
  std::uint64_t* words;
  std::int64_t* places;
  std::int64_t count;
  std::int64_t length;
  bool with_row;  ///< whether words hold the row above the key
  bool descending;

  HEDDLE_HD void operator()(std::int64_t i) const {
    std::uint64_t word = sort_key(x[i], descending);
    if constexpr (sizeof(T) < 8) {
      if (with_row) word |= static_cast<std::uint64_t>(i / length) << key_bits<T>;
    }
    words[i] = word;
    places[i] = i;
  }
};

/// The rows of places as words, for a second sort, which keeps the order of the first within rows.
struct make_row_words {
  const std::int64_t* places;
  std::uint64_t* words;
  std::int64_t count;
  std::int64_t length;

  HEDDLE_HD void operator()(std::int64_t i) const {
    words[i] = static_cast<std::uint64_t>(places[i] / length);
  }
};

/// The elements at the places, and their indices within the rows.
template <class T>
struct gather_sorted {
  const T* x;
  const std::int64_t* places;
  T* values;
  std::int64_t* indices;
  std::int64_t count;
  std::int64_t length;

  HEDDLE_HD void operator()(std::int64_t i) const {
    const std::int64_t place = places[i];
    values[i] = x[place];
    indices[i] = place % length;
  }
};

/// 1 where a sorted word differs from the one before it, otherwise 0.
template <class T>
struct mark_firsts {
  const std::uint64_t* words;
  std::int64_t* marks;
  std::int64_t count;

  HEDDLE_HD void operator()(std::int64_t i) const {
    marks[i] = i == 0 || differs<T>(static_cast<key_type<T>>(words[i]),
                                    static_cast<key_type<T>>(words[i - 1]));
  }
};

/// `numbers`: the sums of the marks up to each. Writes the distinct values, where in the order each
/// starts, and for each element of x the number of its value.
template <class T>
struct place_distinct {
  const T* x;
  const std::int64_t* places;
  const std::int64_t* numbers;
  T* values;
  std::int64_t* starts;
  std::int64_t* inverse;
  std::int64_t count;

  HEDDLE_HD void operator()(std::int64_t i) const {
    const std::int64_t number = numbers[i] - 1;
    const std::int64_t place = places[i];
    inverse[place] = number;
    if (i == 0 || numbers[i - 1] - 1 != number) {
      values[number] = x[place];
      starts[number] = i;
    }
  }
};

/// How often each of `count` distinct values stands among `elements`.
struct count_distinct {
  const std::int64_t* starts;
  std::int64_t* counts;
  std::int64_t count;
  std::int64_t elements;

  HEDDLE_HD void operator()(std::int64_t i) const {
    counts[i] = (i + 1 < count ? starts[i + 1] : elements) - starts[i];
  }
};

/// Elements of a tile that one thread sums.
inline constexpr int scan_items = 16;
/// Threads of a block that scans.
inline constexpr int scan_threads = 256;
/// Elements that a block sums at a time.
inline constexpr std::int64_t scan_tile = std::int64_t{scan_items} * scan_threads;

/// A scan of rows that are cut into parts of `span` elements; a team takes one part after the
/// other. to: running sums. totals, instead: one sum a part, row by row.
template <class From, class To, class Sum>
struct scan_arguments {
  const From* from;
  To* to;
  Sum* totals;
  const Sum* carries;  ///< what is before each part; null: nothing
  std::int64_t rows;
  std::int64_t length;
  std::int64_t span;
  bool exclusive;

  HEDDLE_HD std::int64_t parts() const { return (length + span - 1) / span; }
};

/// The sum of the values of all threads up to this one's, left in `shared`, an element a thread, in
/// an order that hangs on the size of the team alone (Hillis and Steele 1986, "Data parallel
/// algorithms"). All may be read until the next `reduce_read` barrier.
template <class Sum, class Team>
HEDDLE_HD void scan_team(const Team& team, Sum* shared, Sum value) {
  using site = exec::cuda::site;
  const int rank = team.rank();
  shared[rank] = value;
  team.template sync<site::reduce_written>();
  for (int distance = 1; distance < team.size(); distance *= 2) {
    const Sum other = rank >= distance ? shared[rank - distance] : Sum(0);
    team.template sync<site::reduce_read>();
    value = other + value;
    shared[rank] = value;
    team.template sync<site::reduce_written>();
  }
}

/// What one team does of a scan. shared: a Sum a thread, which the team shares.
template <class From, class To, class Sum, class Team>
HEDDLE_HD void scan_part(const Team& team, Sum* shared, const scan_arguments<From, To, Sum>& a) {
  using site = exec::cuda::site;
  const std::int64_t parts = a.parts();
  const std::int64_t tile = std::int64_t{scan_items} * team.size();
  for (std::int64_t part = team.block(); part < a.rows * parts; part += team.blocks()) {
    const std::int64_t row = part / parts;
    const std::int64_t begin = (part - row * parts) * a.span;
    const std::int64_t end = begin + a.span < a.length ? begin + a.span : a.length;
    const std::int64_t bound = team.limit(end);
    const From* const from = a.from + row * a.length;
    Sum carry = a.carries != nullptr ? a.carries[part] : Sum(0);
    for (std::int64_t base = begin; base < end; base += tile) {
      const std::int64_t first = base + std::int64_t{scan_items} * team.rank();
      const std::int64_t last = first + scan_items < bound ? first + scan_items : bound;
      Sum total = 0;
      for (std::int64_t i = first; i < last; ++i) total += static_cast<Sum>(from[i]);
      scan_team(team, shared, total);
      Sum running = team.rank() > 0 ? carry + shared[team.rank() - 1] : carry;
      carry += shared[team.size() - 1];
      team.template sync<site::reduce_read>();
      if (a.to == nullptr) continue;
      To* const to = a.to + row * a.length;
      for (std::int64_t i = first; i < last; ++i) {
        const Sum before = running;
        running += static_cast<Sum>(from[i]);
        to[i] = static_cast<To>(a.exclusive ? before : running);
      }
    }
    if (a.totals != nullptr && team.rank() == 0) a.totals[part] = carry;
  }
}

}  // namespace heddle::inline v0::algorithm::cuda
