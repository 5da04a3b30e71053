// SPDX-License-Identifier: BSD-3-Clause
// Random graphs: the interpreter, the simplifier and the encoding against an independent walk.
// HEDDLE_TEST_SEED repeats a run; HEDDLE_TEST_GRAPHS sets its length.
#include <cstdio>

#include "../support/planted_fault.hpp"
#include "../support/random_case.hpp"
#include <doctest/doctest.h>

#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/graph/passes/schedule.hpp>
#include <heddle/graph/program.hpp>
#include <heddle/graph/text.hpp>

namespace {

using namespace support;
using heddle::exec::interpret;

const std::vector<user_formula> formulas = {
    {heddle::cube, [](const double* x) { return x[0] * x[0] * x[0]; }},
    {heddle::multiply_add, [](const double* x) { return x[0] * x[1] + x[2]; }},
};

std::uint64_t case_seed(std::uint64_t i) { return run_seed() * 0x9E3779B97F4A7C15u + i; }

std::string description(std::uint64_t i, const graph::graph& g) {
  return "HEDDLE_TEST_SEED=" + std::to_string(run_seed()) + ", graph " + std::to_string(i) + ":\n" +
         graph::to_text(g);
}

bool same_graph(const graph::graph& a, const graph::graph& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(a[i] == b[i])) return false;
  }
  return true;
}

graph::graph encoded_and_decoded(const graph::graph& g) {
  const auto words = graph::encode(g);
  return graph::decode(words.begin(), words.size(), g.user_ops);
}

/// What is wrong with a schedule of g, or an empty string.
std::string check_schedule(const graph::graph& g, const graph::schedule& s) {
  std::vector<int> produced(g.size(), 0);
  std::vector<int> nest(g.size(), -1);
  std::vector<int> pass(g.size(), -1);
  std::vector<char> row(g.size(), 0);
  std::vector<char> carried(g.size(), 0);
  for (const graph::item& it : s.items) {
    if (it.kind == graph::item_kind::carry) {
      carried[it.node] = 1;
      continue;
    }
    ++produced[it.node];
    nest[it.node] = it.nest;
    pass[it.node] = it.pass;
    row[it.node] = it.kind == graph::item_kind::row_reduction;
    if (row[it.node] != 0 && s.nests[static_cast<std::size_t>(it.nest)].row != g[it.node].extra) {
      return "a row reduction removes other axes than its nest's row";
    }
  }
  for (std::size_t i = 0; i < g.size(); ++i) {
    const bool work = heddle::is_root(g[i].code) || heddle::is_reduction(g[i].code);
    if (produced[i] != (work ? 1 : 0)) return "%" + std::to_string(i) + " is not in one pass";
    if (!work) continue;
    // the reductions that it reads, through element-wise nodes
    std::vector<char> reads(g.size(), 0);
    for (int k = 0; k < graph::operands_of(g[i]); ++k) reads[graph::operand(g[i], k)] = 1;
    for (std::size_t j = i; j-- > 0;) {
      if (reads[j] == 0) continue;
      if (!heddle::is_reduction(g[j].code)) {
        for (int k = 0; k < graph::operands_of(g[j]); ++k) reads[graph::operand(g[j], k)] = 1;
        continue;
      }
      const std::string pair = "%" + std::to_string(i) + " reads %" + std::to_string(j);
      if (nest[j] > nest[i]) return pair + " before its nest";
      if (nest[j] == nest[i] && (row[j] == 0 || pass[j] >= pass[i])) return pair + " too early";
      if (nest[j] < nest[i] && row[j] != 0 && carried[j] == 0) return pair + " not carried";
    }
  }
  return {};
}

int graphs_of_run() {
  const char* given = std::getenv("HEDDLE_TEST_GRAPHS");
  return given != nullptr ? std::atoi(given) : 100000;
}

}  // namespace

TEST_CASE("random graphs compute what an independent walk computes, as written and simplified") {
  const int count = graphs_of_run();
  std::printf("HEDDLE_TEST_SEED=%llu: %d random graphs\n",
              static_cast<unsigned long long>(run_seed()), count);
  tally counts;
  std::int64_t coverage[2048][8] = {};
  std::int64_t nodes = 0;
  for (int i = 0; i < count; ++i) {
    const std::uint64_t seed = case_seed(static_cast<std::uint64_t>(i));
    random_case c(graph_generator(seed).make(), seed);
    const graph::graph& raw = c.graphs().raw;
    const graph::graph& simplified = c.graphs().simplified;
    nodes += static_cast<std::int64_t>(raw.size());
    for (const graph::node& n : raw.nodes) {
      ++coverage[static_cast<int>(n.code)][static_cast<int>(n.type)];
    }
    const independent_walk walk(raw, c.launch(), formulas);
    interpret(raw, c.launch());
    std::string wrong = c.compare(walk, counts);
    if (!wrong.empty()) FAIL(wrong << "\n" << description(i, raw));
    c.clear_outputs();
    interpret(simplified, c.launch());
    wrong = c.compare(walk, counts);
    if (!wrong.empty()) FAIL("simplified: " << wrong << "\n" << description(i, raw));
    if (!same_graph(encoded_and_decoded(raw), raw)) FAIL("encoding: " << description(i, raw));
    if (!same_graph(rebuilt(simplified), simplified) &&
        rebuilt(simplified).size() > simplified.size()) {
      FAIL("simplified again, it grows: " << description(i, simplified));
    }
    wrong = check_schedule(simplified, graph::make_schedule(simplified));
    if (!wrong.empty()) FAIL("schedule: " << wrong << "\n" << description(i, simplified));
  }
  std::printf(
      "%lld nodes, %lld elements compared, %lld to better than 1e-3, %lld special, "
      "%lld zeros with their sign, %lld undecidable\n%-16s",
      static_cast<long long>(nodes), static_cast<long long>(counts.elements),
      static_cast<long long>(counts.tight), static_cast<long long>(counts.special),
      static_cast<long long>(counts.zeros), static_cast<long long>(counts.unknown), "op");
  for (const dtype d : all_dtypes) std::printf("%9s", std::string(heddle::name_of(d)).c_str());
  std::printf("\n");
  graph::list<const graph::op_info*> user_ops;
  user_ops.push_back(&graph::op_information<heddle::cube>);
  user_ops.push_back(&graph::op_information<heddle::multiply_add>);
  for (int code = 0; code < 2048; ++code) {
    std::int64_t total = 0;
    for (const std::int64_t n : coverage[code]) total += n;
    if (code < static_cast<int>(op::builtin_count)) CHECK_MESSAGE(total > 0, "op " << code);
    if (total == 0) continue;
    std::printf("%-16s", std::string(graph::name_of(static_cast<op>(code), user_ops)).c_str());
    for (const std::int64_t n : coverage[code]) std::printf("%9lld", static_cast<long long>(n));
    std::printf("\n");
  }
  CHECK(counts.special > 0);
  CHECK(counts.zeros > counts.elements / 100);
  CHECK(counts.tight > counts.elements * 95 / 100);
  CHECK(counts.unknown < counts.elements / 8);
}

TEST_CASE("a planted fault in each op is caught") {
  std::vector<op> codes;
  for (int code = 0; code < static_cast<int>(op::builtin_count); ++code) {
    codes.push_back(static_cast<op>(code));
  }
  codes.push_back(heddle::cube);
  codes.push_back(heddle::multiply_add);
  graph::list<const graph::op_info*> user_ops;
  user_ops.push_back(&graph::op_information<heddle::cube>);
  user_ops.push_back(&graph::op_information<heddle::multiply_add>);
  for (const op code : codes) {
    int caught = 0;
    int planted = 0;
    for (std::uint64_t i = 0; i < 4000 && caught == 0; ++i) {
      const std::uint64_t seed = case_seed(i);
      random_case c(graph_generator(seed).make(), seed);
      bool changed = false;
      const graph::graph faulty = with_fault(c.graphs().raw, code, changed);
      if (!changed) continue;
      ++planted;
      tally counts;
      try {
        interpret(faulty, c.launch());
        const independent_walk walk(c.graphs().raw, c.launch(), formulas);
        caught += c.compare(walk, counts).empty() ? 0 : 1;
      } catch (const heddle::index_error&) {
        ++caught;
      }
    }
    const std::string name(graph::name_of(code, user_ops));
    CHECK_MESSAGE(caught > 0, name << ": none of " << planted << " planted faults was caught");
  }
}

TEST_CASE("a planted fault in each pass is caught") {
  int swapped = 0;
  int merged = 0;
  int dropped = 0;
  int delayed = 0;
  int flipped = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    const std::uint64_t seed = case_seed(i);
    random_case c(graph_generator(seed).make(), seed);
    const graph::graph& good = c.graphs().simplified;
    const independent_walk walk(c.graphs().raw, c.launch(), formulas);
    const auto caught = [&](const graph::graph& faulty) {
      tally counts;
      c.clear_outputs();
      try {
        interpret(faulty, c.launch());
      } catch (const heddle::index_error&) {
        return 1;
      }
      return c.compare(walk, counts).empty() ? 0 : 1;
    };
    // simplify: -(a - b) taken for a - b
    graph::graph faulty = good;
    for (graph::node& n : faulty.nodes) {
      if (n.code == op::sub) std::swap(n.a, n.b);
    }
    swapped += caught(faulty);
    // common sub-expressions: two different nodes taken for equal
    faulty = good;
    for (std::size_t j = faulty.size(); j-- > 1;) {
      const graph::node& n = faulty[j];
      const std::size_t k = j - 1;
      if (heddle::is_root(n.code) || heddle::is_root(faulty[k].code)) continue;
      if (n.type != faulty[k].type || n.varies != faulty[k].varies) continue;
      for (std::size_t u = j + 1; u < faulty.size(); ++u) {
        graph::node& user = faulty.nodes[u];
        if (graph::operands_of(user) > 0 && user.a == j) user.a = static_cast<std::uint16_t>(k);
      }
      break;
    }
    merged += caught(faulty);
    // dead code: a root taken for dead
    faulty = good;
    faulty.nodes.resize(faulty.size() - 1);
    dropped += caught(faulty);
    // schedule: the last piece of work moved to the front
    graph::schedule s = graph::make_schedule(good);
    if (s.nests.size() > 1) {
      s.items[s.items.size() - 1].nest = 0;
      s.items[s.items.size() - 1].pass = 0;
      delayed += check_schedule(good, s).empty() ? 0 : 1;
    }
    // encoding: one bit
    auto words = graph::encode(good);
    words[words.size() / 2] ^= std::uint64_t{1} << 48;
    flipped += same_graph(graph::decode(words.begin(), words.size(), good.user_ops), good) ? 0 : 1;
  }
  CHECK(swapped > 0);
  CHECK(merged > 0);
  CHECK(dropped > 0);
  CHECK(delayed > 0);
  CHECK(flipped > 0);
}
