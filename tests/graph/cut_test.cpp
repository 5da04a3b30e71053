// SPDX-License-Identifier: BSD-3-Clause
// Where statements are cut: the row axes and the values that cross are those by which fewest bytes
// are moved, against all other choices.
#include <cstdio>
#include <string>
#include <vector>

#include "../support/random_source.hpp"
#include <doctest/doctest.h>

#include <heddle/graph/passes/cut.hpp>
#include <heddle/graph/program.hpp>
#include <heddle/graph/text.hpp>

using heddle::dtype;
using heddle::keepdim;
using heddle::op;
using heddle::symbol;
namespace graph = heddle::graph;

namespace {

symbol matrix(graph::builder& b, int slot, dtype type = dtype::f32) {
  return graph::trace_input(b, slot, type, 2);
}

/// The graph of f(matrices…).
template <int Operands, class F>
graph::graph traced(F f, dtype type = dtype::f32) {
  graph::builder b;
  b.tracing = true;
  symbol root = [&]<int... I>(std::integer_sequence<int, I...>) {
    const symbol x[] = {matrix(b, I, type)...};
    return f(x[I]...);
  }
  (std::make_integer_sequence<int, Operands>{});
  return graph::frame(b, &root, 1);
}

constexpr std::int64_t elements = graph::nominal_elements(3);

/// Bytes per element of a matrix.
std::int64_t bytes(const graph::graph& g) {
  return graph::traffic_of(g, graph::make_schedule(g)) / elements;
}
int crossings(const graph::graph& g) {
  int count = 0;
  for (const graph::node& n : g.nodes) count += graph::read_back_slot(n) != graph::no_node ? 1 : 0;
  return count;
}

const auto both_means = [](auto t) {
  const auto down = mean<0>(t, keepdim);
  const auto along = mean<1>(t, keepdim);
  return t - down - along;
};

/// A statement over matrices of few operands that takes several nests.
graph::graph random_statement(support::random_source& r) {
  graph::builder b;
  b.tracing = true;
  std::vector<symbol> values;
  const int operands = r.between(2, 7);
  for (int i = 0; i < operands; ++i) {
    const dtype types[] = {dtype::f32, dtype::f32, dtype::f32,  dtype::f32,
                           dtype::f32, dtype::f64, dtype::bf16, dtype::u8};
    values.push_back(graph::trace_input(b, i, r.pick(types), r.chance(0.2) ? 1 : 2));
  }
  // some values of several operands
  symbol several = matrix(b, operands);
  for (int i = 0; i < operands; ++i) {
    if (r.chance(0.7)) several = several * values[static_cast<std::size_t>(i)];
  }
  values.push_back(several);
  const auto any = [&] {
    const int recent = static_cast<int>(values.size()) - 1 - r.below(4);
    return values[static_cast<std::size_t>(
        r.chance(0.6) && recent > 0 ? recent : r.below(static_cast<int>(values.size())))];
  };
  const symbol full = values.back();
  const int steps = r.between(4, 12);
  for (int i = 0; i < steps; ++i) {
    symbol x = any();
    const symbol y = any();
    if (x.rank < 2) x = x + full;
    switch (r.below(7)) {
      case 0:
        values.push_back(x - sum<0>(x * y, keepdim));
        break;
      case 1:
        values.push_back(x * amax<1>(y + x, keepdim));
        break;
      case 2:
        values.push_back(exp(x));
        break;
      case 3:
        values.push_back(x + y);
        break;
      case 4:
        values.push_back(heddle::where(x < y, x, y));
        break;
      default:
        values.push_back(x * y);
    }
  }
  symbol roots[] = {values.back() + full, any() * full};
  return graph::frame(b, roots, r.chance(0.3) ? 2 : 1);
}

/// The fewest bytes that any choice of what the nests of a schedule read back moves; -1: there are
/// too many to try.
class every_choice {
 public:
  every_choice(const graph::graph& g, const graph::schedule& s) : g_(g), s_(s) {}

  std::int64_t least() {
    reads_.assign(s_.nests.size(), std::vector<char>(g_.size(), 0));
    evaluates_.assign(s_.nests.size(), {});
    least_ = -1;
    tried_ = 0;
    try_nest(0);
    return tried_ > limit ? -1 : least_;
  }

 private:
  static constexpr int limit = 20000;

  std::vector<char> nodes_of(std::size_t nest) const {
    graph::list<bool> needed(g_.size(), false);
    graph::mark_needed(g_, s_, static_cast<int>(nest), graph::all_passes, needed,
                       [&](std::size_t i) { return reads_[nest][i] != 0; });
    return {needed.begin(), needed.end()};
  }
  void try_nest(std::size_t nest) {
    if (nest == s_.nests.size()) return count();
    std::vector<std::size_t> candidates;
    const std::vector<char> all = nodes_of(nest);
    for (std::size_t i = 0; i < g_.size(); ++i) {
      bool had = false;
      for (std::size_t k = 0; k < nest; ++k) {
        had = had || (s_.nests[k].domain == s_.nests[nest].domain && evaluates_[k][i] != 0);
      }
      const graph::node& n = g_[i];
      if (had && all[i] != 0 && n.varies == s_.nests[nest].domain && n.code != op::input &&
          !heddle::is_reduction(n.code)) {
        candidates.push_back(i);
      }
    }
    if (candidates.size() > 12) tried_ = limit + 1;
    for (unsigned chosen = 0; tried_ <= limit && chosen < 1u << candidates.size(); ++chosen) {
      reads_[nest].assign(g_.size(), 0);
      for (std::size_t c = 0; c < candidates.size(); ++c) {
        reads_[nest][candidates[c]] = (chosen >> c & 1u) != 0 ? 1 : 0;
      }
      evaluates_[nest] = nodes_of(nest);
      for (std::size_t i = 0; i < g_.size(); ++i) {
        if (reads_[nest][i] == 0) continue;
        if (evaluates_[nest][i] == 0) reads_[nest][i] = 0;  // above another one: never reached
        evaluates_[nest][i] = 0;
      }
      try_nest(nest + 1);
    }
    reads_[nest].assign(g_.size(), 0);
  }
  void count() {
    ++tried_;
    std::int64_t total = 0;
    for (std::size_t i = 0; i < g_.size(); ++i) {
      const graph::node& n = g_[i];
      bool stored = false;
      for (std::size_t k = 0; k < s_.nests.size(); ++k) {
        if (s_.nests[k].domain != n.varies) continue;
        const bool leaf = n.code == op::input || n.code == op::gather;
        std::int64_t each = 0;
        if (reads_[k][i] != 0) each += graph::stored_bytes(n) * (stored ? 1 : 2);
        if (leaf && evaluates_[k][i] != 0) each += static_cast<std::int64_t>(size_of(n.type));
        stored = stored || reads_[k][i] != 0;
        total += each * graph::nominal_elements(n.varies);
      }
      if (n.code == op::store) {
        total += static_cast<std::int64_t>(size_of(n.type)) * graph::nominal_elements(n.varies);
      }
    }
    if (least_ < 0 || total < least_) least_ = total;
  }

  const graph::graph& g_;
  const graph::schedule& s_;
  std::vector<std::vector<char>> reads_, evaluates_;
  std::int64_t least_ = -1;
  int tried_ = 0;
};

}  // namespace

TEST_CASE(
    "a value of four operands that two nests need crosses the cut; of two, it is made again") {
  const graph::graph four =
      traced<4>([](auto a, auto b, auto c, auto d) { return both_means(a * b + c * d); });
  CHECK(bytes(four) == 4 + 4 + 4 + 4 + 4 + 4 + 4 + 4 + 4);
  const graph::graph cut = graph::cut_cheapest(four);
  CHECK(crossings(cut) == 1);
  CHECK(bytes(cut) == 4 * 4 + 4 + 4 + 4);
  CHECK(graph::make_schedule(cut).nests.size() == 2);
  CHECK(graph::make_schedule(cut).nests[1].reads_back);
  const graph::graph two = traced<2>([](auto a, auto b) { return both_means(a * b); });
  CHECK(graph::to_text(graph::cut_cheapest(two)) == graph::to_text(two));
}

TEST_CASE("a value of 16-bit operands crosses in the type that it is computed in, and is dearer") {
  const auto sums = [](auto a, auto b, auto c, auto d) { return both_means(a * b + c * d); };
  const graph::graph narrow = traced<4>(sums, dtype::bf16);
  CHECK(crossings(graph::cut_cheapest(narrow)) == 0);
  const graph::graph more = graph::cut_cheapest(traced<5>(
      [](auto a, auto b, auto c, auto d, auto e) { return both_means(a * b + c * d + e); },
      dtype::bf16));
  REQUIRE(crossings(more) == 1);
  for (const graph::node& n : more.nodes) {
    if (graph::read_back_slot(n) != graph::no_node) CHECK(n.type == dtype::f32);
  }
}

TEST_CASE("a condition is a byte, and crosses where its operands are larger") {
  const graph::graph g = graph::cut_cheapest(traced<2>([](auto a, auto b) {
    const auto kept = a < b;
    return where(kept, 1.0f, 0.0f) * sum<0>(where(kept, 2.0f, 1.0f), keepdim) *
           sum<1>(where(kept, 2.0f, 1.0f), keepdim);
  }));
  REQUIRE(crossings(g) == 1);
  for (const graph::node& n : g.nodes) {
    if (graph::read_back_slot(n) != graph::no_node) CHECK(n.type == dtype::boolean);
  }
}

TEST_CASE("random numbers are drawn again, and broadcast operands are read again") {
  graph::builder b;
  b.tracing = true;
  const symbol x = matrix(b, 0);
  symbol t = x;
  for (int i = 1; i < 6; ++i) t = t + graph::trace_input(b, i, dtype::f32, 1);
  symbol root = both_means(t);
  const graph::graph g = graph::frame(b, &root, 1);
  CHECK(crossings(graph::cut_cheapest(g)) == 0);
}

TEST_CASE("of two row axes the one is chosen that takes fewer nests, and ties keep the first") {
  const graph::graph g = traced<1>([](auto x) {
    const auto centred = x - mean<0>(x, keepdim);
    const auto e = exp(x - amax<1>(x, keepdim));
    return centred - mean<0>(e / sum<1>(e, keepdim), keepdim);
  });
  const graph::schedule s = graph::make_schedule(g);
  CHECK(s.nests.size() == 2);
  CHECK(s.nests[0].row == 2);
  CHECK(bytes(g) == 4 + 4 + 4);
  std::vector<std::size_t> sizes;
  graph::detail::for_each_schedule(
      g, [&](const graph::schedule& each) { sizes.push_back(each.nests.size()); });
  CHECK(sizes.size() > 1);
  CHECK(sizes[0] == 3);
  const graph::graph tie = traced<1>(both_means);
  CHECK(graph::make_schedule(tie).nests[0].row == 1);
}

TEST_CASE("what is stored for one nest is read by others, too") {
  const graph::graph g = graph::cut_cheapest(traced<3>([](auto a, auto b, auto c) {
    const auto t = a * b + c;
    const auto u = t - sum<0>(t, keepdim) - sum<1>(t, keepdim);
    const auto v = u * u;
    return u - sum<0>(v, keepdim) - sum<1>(v, keepdim);
  }));
  CHECK(graph::make_schedule(g).nests.size() == 3);
  CHECK(crossings(g) == 1);
  CHECK(bytes(g) == 3 * 4 + 4 + 4 + 4 + 4);
}

TEST_CASE("no choice of row axes and of what crosses moves fewer bytes") {
  const std::uint64_t seed = support::run_seed();
  std::printf("HEDDLE_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  int compared = 0, crossing = 0, cheaper_rows = 0, more_nests = 0, not_least = 0;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    support::random_source r(seed * 0x9E3779B97F4A7C15u + i);
    const graph::graph g = random_statement(r);
    const graph::graph cut = graph::cut_cheapest(g);
    const graph::schedule s = graph::make_schedule(cut);
    const std::int64_t moved = graph::traffic_of(cut, s);
    const graph::schedule whole = graph::make_schedule(g);
    REQUIRE_MESSAGE(moved <= graph::traffic_of(g, whole), graph::to_text(g));
    std::int64_t least = -1;
    bool all = true, first = true, two = true;
    graph::detail::for_each_schedule(g, [&](const graph::schedule& each) {
      const std::int64_t bytes = every_choice(g, each).least();
      all = all && bytes >= 0;
      if (bytes >= 0 && (least < 0 || bytes < least)) least = bytes;
      if (first && graph::traffic_of(g, each) > graph::traffic_of(g, whole)) ++cheaper_rows;
      first = false;
      int same = 0;
      for (const graph::nest& n : each.nests) same += n.domain == 3 ? 1 : 0;
      two = two && same <= 2;
    });
    if (!all) continue;
    ++compared;
    crossing += crossings(cut) > 0 ? 1 : 0;
    if (moved < least) FAIL("fewer bytes than any choice has:\n" << graph::to_text(cut));
    if (two) {
      REQUIRE_MESSAGE(moved == least, graph::to_text(g));
      continue;
    }
    ++more_nests;
    not_least += moved > least ? 1 : 0;
  }
  std::printf(
      "%d compared, %d with crossing values, %d with other row axes, %d of over two nests, "
      "%d of these not the least\n",
      compared, crossing, cheaper_rows, more_nests, not_least);
  CHECK(compared > 1000);
  CHECK(crossing > 50);
  CHECK(not_least * 50 <= more_nests);
}
