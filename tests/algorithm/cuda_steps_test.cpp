// SPDX-License-Identifier: BSD-3-Clause
// What CUDA threads do for the algorithms, on the host: steps between stable sorts, against the
// host's own algorithms, and scans on teams of fibres.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "../support/host_team.hpp"
#include "random_elements.hpp"
#include <doctest/doctest.h>

#include <heddle/algorithm/cuda/steps.cuh>
#include <heddle/algorithm/sort.hpp>
#include <heddle/algorithm/unique.hpp>

using namespace heddle;
using support::fibre_order;
namespace steps = heddle::algorithm::cuda;

namespace {

template <class Step>
void run(const Step& step) {
  for (std::int64_t i = step.count - 1; i >= 0; --i) step(i);
}

/// Sorts words and places by the lowest bits of the words.
void sort_words(std::vector<std::uint64_t>& words, std::vector<std::int64_t>& places, int bits) {
  const std::uint64_t mask = bits < 64 ? (std::uint64_t{1} << bits) - 1 : ~std::uint64_t{0};
  std::vector<std::size_t> order(words.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return (words[a] & mask) < (words[b] & mask);
  });
  const auto words_before = words;
  const auto places_before = places;
  for (std::size_t i = 0; i < order.size(); ++i) {
    words[i] = words_before[order[i]];
    places[i] = places_before[order[i]];
  }
}

/// How many elements of x's rows, sorted by the steps, are not as the host's `sort` has them.
template <class T>
int count_wrong_in_order(const tensor<T, 2>& x, bool descending, bool with_row) {
  const std::int64_t count = x.size(), length = x.extent(1);
  std::vector<std::uint64_t> words(static_cast<std::size_t>(count));
  std::vector<std::int64_t> places(static_cast<std::size_t>(count));
  const int row_bits = std::bit_width(static_cast<std::uint64_t>(x.extent(0) - 1));
  run(steps::make_words<T>{x.data(), words.data(), places.data(), count, length, with_row,
                           descending});
  sort_words(words, places, algorithm::key_bits<T> + (with_row ? row_bits : 0));
  if (!with_row) {
    run(steps::make_row_words{places.data(), words.data(), count, length});
    sort_words(words, places, row_bits);
  }
  const auto values = empty_like(x);
  const auto indices = empty<std::int64_t, 2>(x.extents());
  run(steps::gather_sorted<T>{x.data(), places.data(), values.data(), indices.data(), count,
                              length});
  const auto expected = sort(x, {.descending = descending});
  int wrong = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    wrong += !support::same_bits(values.data()[i], expected.values.data()[i]);
    wrong += indices.data()[i] != expected.indices.data()[i];
  }
  return wrong;
}

struct check_order {
  template <class T>
  void operator()() const {
    support::random_source random(41);
    for (const extents<2>& shape : {extents<2>{5, 33}, extents<2>{1, 100}, extents<2>{64, 1}}) {
      const auto x = support::random_elements<T, 2>(shape, random);
      for (const bool descending : {false, true}) {
        INFO(name_of(dtype_of<T>) << ' ' << to_string(shape) << (descending ? " descending" : ""));
        CHECK(count_wrong_in_order(x, descending, false) == 0);
        if (sizeof(T) < 8) CHECK(count_wrong_in_order(x, descending, true) == 0);
      }
    }
  }
};

struct check_distinct {
  template <class T>
  void operator()() const {
    support::random_source random(42);
    const auto x = support::random_elements<T, 1>({200}, random);
    const std::int64_t count = x.size();
    std::vector<std::uint64_t> words(200);
    std::vector<std::int64_t> places(200), numbers(200), starts(200, -1), counts(200, -1);
    run(steps::make_words<T>{x.data(), words.data(), places.data(), count, count, true, false});
    sort_words(words, places, algorithm::key_bits<T>);
    run(steps::mark_firsts<T>{words.data(), numbers.data(), count});
    std::partial_sum(numbers.begin(), numbers.end(), numbers.begin());
    const auto values = empty_like(x);
    const auto inverse = empty<std::int64_t, 1>({count});
    run(steps::place_distinct<T>{x.data(), places.data(), numbers.data(), values.data(),
                                 starts.data(), inverse.data(), count});
    const std::int64_t found = numbers.back();
    run(steps::count_distinct{starts.data(), counts.data(), found, count});
    const auto expected = unique(x);
    INFO("dtype " << name_of(dtype_of<T>));
    REQUIRE(found == expected.values.size());
    int wrong = 0;
    for (std::int64_t i = 0; i < found; ++i) {
      wrong += !support::same_bits(values(i), expected.values(i));
      wrong += counts[static_cast<std::size_t>(i)] != expected.counts(i);
    }
    for (std::int64_t i = 0; i < count; ++i) wrong += inverse(i) != expected.inverse(i);
    CHECK(wrong == 0);
  }
};

/// Runs a scan on teams of fibres.
template <class From, class To, class Sum>
void run_scan(const steps::scan_arguments<From, To, Sum>& a, int team, int blocks,
              fibre_order order, support::team_fault fault = {}) {
  using block = support::fibre_grid::block;
  support::fibre_grid grid(team, blocks, 1, order, 7);
  std::vector<std::vector<Sum>> shared(
      static_cast<std::size_t>(blocks),
      std::vector<Sum>(static_cast<std::size_t>(team), static_cast<Sum>(77)));
  CHECK(grid.run([&](block& of, int b, int rank) {
    steps::scan_part(support::host_team<block>(of, rank, b, blocks, fault),
                     shared[static_cast<std::size_t>(b)].data(), a);
  }));
}

/// Scans rows as pipeline.cuh does: whole, or in parts whose totals are scanned first. The sums,
/// and a 0 that is not to be written.
template <class T>
std::vector<cumsum_type<T>> scanned(const std::vector<T>& x, std::int64_t rows, std::int64_t length,
                                    std::int64_t span, bool exclusive, int team, fibre_order order,
                                    support::team_fault fault = {}) {
  using sum = algorithm::running_type<T>;
  std::vector<cumsum_type<T>> to(x.size() + 1);
  steps::scan_arguments<T, cumsum_type<T>, sum> a{x.data(), to.data(), nullptr, nullptr,
                                                  rows,     length,    span,    exclusive};
  if (span < length) {
    const std::int64_t parts = a.parts();
    std::vector<sum> totals(static_cast<std::size_t>(rows * parts + 1));
    a.to = nullptr;
    a.totals = totals.data();
    run_scan(a, team, 3, order, fault);
    run_scan(steps::scan_arguments<sum, sum, sum>{totals.data(), totals.data(), nullptr, nullptr,
                                                  rows, parts, parts, true},
             team, 2, order, fault);
    a.to = to.data();
    a.totals = nullptr;
    a.carries = totals.data();
    run_scan(a, team, 3, order, fault);
  } else {
    run_scan(a, team, 2, order, fault);
  }
  return to;
}

/// Whole numbers, so that every order of summation gives the same; one more than rows · length.
std::vector<float> whole_numbers(std::int64_t count) {
  support::random_source random(43);
  std::vector<float> x(static_cast<std::size_t>(count) + 1);
  for (float& value : x) value = static_cast<float>(random.between(1, 9));
  return x;
}

/// Whether the sums are right, and nothing was written behind them.
template <class T>
bool is_scan(const std::vector<cumsum_type<T>>& got, const std::vector<T>& x, std::int64_t rows,
             std::int64_t length, bool exclusive) {
  std::size_t at = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    algorithm::running_type<T> sum = 0;
    for (std::int64_t i = 0; i < length; ++i, ++at) {
      const auto before = sum;
      sum += static_cast<algorithm::running_type<T>>(x[at]);
      if (got[at] != static_cast<cumsum_type<T>>(exclusive ? before : sum)) return false;
    }
  }
  return got[at] == cumsum_type<T>(0);
}

}  // namespace

TEST_CASE("steps and stable sorts of words order rows as the host does") {
  support::for_all_types(check_order{});
}

TEST_CASE("steps and a sort of words find the distinct values that the host finds") {
  support::for_all_types(check_distinct{});
}

TEST_CASE("scans of rows, whole and in parts, are exact on every team") {
  for (const int team : {1, 2, 5, 32, 64}) {
    for (const fibre_order order :
         {fibre_order::forward, fibre_order::backward, fibre_order::shuffled}) {
      for (const std::int64_t length : {1, 15, 16, 17, 512, 1300}) {
        const auto x = whole_numbers(3 * length);
        for (const bool exclusive : {false, true}) {
          INFO("team " << team << " length " << length);
          CHECK(is_scan(scanned(x, 3, length, length, exclusive, team, order), x, 3, length,
                        exclusive));
          const std::int64_t span = 16 * team;
          CHECK(is_scan(scanned(x, 3, length, span, exclusive, team, order), x, 3, length,
                        exclusive));
        }
      }
    }
  }
}

TEST_CASE("scans of integers wrap around, of bool count, and of 16-bit floats round once") {
  std::vector<std::int64_t> large(100, INT64_MAX);
  CHECK(is_scan(scanned(large, 2, 50, 32, false, 2, fibre_order::shuffled), large, 2, 50, false));
  std::vector<std::uint8_t> bytes(100, 255);
  CHECK(is_scan(scanned(bytes, 1, 100, 32, true, 2, fibre_order::shuffled), bytes, 1, 100, true));
  std::vector<bfloat16> ones(1000, bfloat16(1.f));
  CHECK(
      is_scan(scanned(ones, 1, 1000, 128, false, 8, fibre_order::backward), ones, 1, 1000, false));
}

TEST_CASE("scans of floats are the same bits in every order of the threads") {
  support::random_source random(44);
  std::vector<double> x(2000);
  for (double& value : x) value = random.unit() - 0.5;
  const auto first = scanned(x, 2, 1000, 128, false, 8, fibre_order::forward);
  CHECK(first == scanned(x, 2, 1000, 128, false, 8, fibre_order::backward));
  CHECK(first == scanned(x, 2, 1000, 128, false, 8, fibre_order::shuffled));
  double sum = 0, worst = 0;
  for (std::size_t i = 0; i < 1000; ++i) {
    sum += x[i];
    worst = std::max(worst, std::fabs(first[i] - sum));
  }
  CHECK(worst < 1e-12);
}

TEST_CASE("a barrier left out of a scan, or an element too many, is noticed") {
  const auto x = whole_numbers(1300);
  for (const auto site : {exec::cuda::site::reduce_written, exec::cuda::site::reduce_read}) {
    bool noticed = false;
    for (const fibre_order order :
         {fibre_order::forward, fibre_order::backward, fibre_order::shuffled}) {
      const support::team_fault fault{.missing_site = static_cast<int>(site)};
      const auto got = scanned(x, 1, 1300, 1300, false, 32, order, fault);
      noticed = noticed || !is_scan(got, x, 1, 1300, false);
    }
    CHECK(noticed);
  }
  const support::team_fault tail{.tail = true};
  const auto got = scanned(x, 1, 1300, 1300, false, 32, fibre_order::forward, tail);
  CHECK(!is_scan(got, x, 1, 1300, false));
}
