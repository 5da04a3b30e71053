// SPDX-License-Identifier: BSD-3-Clause
// What must hold of every graph, whatever it computes: views are as good as copies, and a batch may
// be split. HEDDLE_TEST_SEED repeats a run.
#include <cmath>
#include <cstdio>

#include "../support/batch_split.hpp"
#include "../support/contiguous_copy.hpp"
#include <doctest/doctest.h>

#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/graph/text.hpp>

namespace {

using namespace support;
using heddle::exec::interpret;

constexpr std::uint64_t graphs_of_run = 30000;

std::uint64_t case_seed(std::uint64_t i) { return run_seed() * 0x9E3779B97F4A7C15u + i; }

std::string description(std::uint64_t i, const graph::graph& g) {
  return "HEDDLE_TEST_SEED=" + std::to_string(run_seed()) + ", graph " + std::to_string(i) + ":\n" +
         graph::to_text(g);
}

/// What operands look like, counted.
struct layouts {
  int permuted = 0;
  int negative = 0;
  int expanded = 0;
  int spaced = 0;

  void count(const slot& s, const heddle::exec::operand& o, const std::int64_t* extents) {
    std::int64_t step = 1;
    std::int64_t inner = 0;
    for (int p = s.rank - 1; p >= 0; --p) {
      const std::int64_t length = length_at(s, p, extents);
      if (length < 2) continue;
      const std::int64_t size = std::abs(o.strides[p]);
      negative += o.strides[p] < 0 ? 1 : 0;
      expanded += size == 0 ? 1 : 0;
      permuted += size > 0 && size < inner ? 1 : 0;
      spaced += size > step ? 1 : 0;
      inner = size;
      step *= length;
    }
  }
};

/// Exchanges the strides of two positions of an operand that are as long as each other, and not
/// laid out alike; false if there are none.
bool exchange_strides(const slot& s, heddle::exec::operand& o, const std::int64_t* extents) {
  for (int p = 0; p < s.rank; ++p) {
    for (int q = 0; q < p; ++q) {
      const std::int64_t length = length_at(s, p, extents);
      if (length < 2 || length != length_at(s, q, extents)) continue;
      std::swap(o.strides[p], o.strides[q]);
      return true;
    }
  }
  return false;
}

/// Whether running two parts along an axis leaves in the outputs what the whole did.
bool parts_make_whole(random_case& c, const graph::graph& g, const graph::graph& second, int axis,
                      std::int64_t at, const output_bytes& whole) {
  const random_graph& made = c.graphs();
  c.clear_outputs();
  interpret(g, part(c, axis, 0, at).launch());
  bool same = true;
  for (std::size_t i = 0; i < made.outputs.size(); ++i) {
    // what does not depend on the axis is there already, and again after the second part
    if (has_axis(graph::mask_of(made.outputs[i].map), axis)) continue;
    same = same && whole.holds(c, i);
    c.outputs()[i].clear();
  }
  interpret(second, part(c, axis, at, made.extents[axis]).launch());
  for (std::size_t i = 0; i < made.outputs.size(); ++i) same = same && whole.holds(c, i);
  return same;
}

bool an_output_has(const random_graph& g, int axis) {
  for (const slot& s : g.outputs) {
    if (has_axis(graph::mask_of(s.map), axis)) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("random graphs compute the same bits from views, and into views, as from copies") {
  layouts operands;
  layouts outputs;
  std::int64_t elements = 0;
  int exchanged = 0;
  int noticed = 0;
  for (std::uint64_t i = 0; i < graphs_of_run; ++i) {
    const std::uint64_t seed = case_seed(i);
    random_case c(graph_generator(seed).make(), seed);
    const random_graph& made = c.graphs();
    const graph::graph& g = i % 2 == 0 ? made.simplified : made.raw;
    contiguous_copy copy(c);
    interpret(g, c.launch());
    interpret(g, copy.launch());
    const std::int64_t compared = copy.compare();
    if (compared < 0) FAIL(description(i, g));
    elements += compared;
    for (std::size_t k = 0; k < made.inputs.size(); ++k) {
      operands.count(made.inputs[k], c.inputs()[k].operand(), made.extents);
    }
    for (std::size_t k = 0; k < made.outputs.size(); ++k) {
      outputs.count(made.outputs[k], c.outputs()[k].operand(), made.extents);
    }
    // a view read the wrong way round must show
    for (std::size_t k = 0; k < made.inputs.size() && i % 16 == 0; ++k) {
      if (made.inputs[k].below > 0) continue;
      const heddle::exec::operand right = copy.input(k);
      if (!exchange_strides(made.inputs[k], copy.input(k), made.extents)) continue;
      ++exchanged;
      interpret(g, copy.launch());
      noticed += copy.compare() < 0 ? 1 : 0;
      copy.input(k) = right;
    }
  }
  std::printf(
      "HEDDLE_TEST_SEED=%llu: %lld elements of views as of copies; %d positions of operands were "
      "permuted, %d ran backwards, %d were expanded, %d had gaps; of outputs %d, %d, %d, %d; "
      "%d of %d wrong views noticed\n",
      static_cast<unsigned long long>(run_seed()), static_cast<long long>(elements),
      operands.permuted, operands.negative, operands.expanded, operands.spaced, outputs.permuted,
      outputs.negative, outputs.expanded, outputs.spaced, noticed, exchanged);
  constexpr int some = static_cast<int>(graphs_of_run / 20);
  CHECK(operands.permuted > some);
  CHECK(operands.negative > some);
  CHECK(operands.expanded > some);
  CHECK(operands.spaced > some);
  CHECK(outputs.permuted > some);
  CHECK(outputs.negative > some / 4);
  CHECK(outputs.spaced > some);
  CHECK(noticed > exchanged / 10);
}

TEST_CASE("a random graph's batch, split in two, gives the same bits as the whole") {
  int split = 0;
  int drawing = 0;
  int of_any_graph = 0;
  int forbidden = 0;
  int noticed = 0;
  int undrawn = 0;
  for (std::uint64_t i = 0; i < graphs_of_run; ++i) {
    const std::uint64_t seed = case_seed(i);
    // most graphs are made with a batch; in the others, an axis that happens to be one will do
    const bool made_for_it = i % 4 != 0;
    random_case c(graph_generator(seed, {.batch = made_for_it}).make(), seed);
    const random_graph& made = c.graphs();
    const graph::graph& g = i % 2 == 0 ? made.simplified : made.raw;
    interpret(g, c.launch());
    const output_bytes whole(c);
    random_source r(seed);
    for (int axis = 0; axis < graph::max_axes; ++axis) {
      if (!an_output_has(made, axis)) continue;
      const auto at = static_cast<std::int64_t>(r.below(static_cast<int>(made.extents[axis]) + 1));
      bool draws = false;
      const graph::graph second = shifted(g, axis, at, draws);
      const bool allowed = is_batch(g, axis);
      if (!allowed && i % 16 != 0) continue;
      const bool same = parts_make_whole(c, g, second, axis, at, whole);
      if (!allowed) {
        // where coordinates are connected, parts must show it
        ++forbidden;
        noticed += same ? 0 : 1;
        continue;
      }
      if (!same) FAIL("axis " << axis << ", split at " << at << "; " << description(i, g));
      ++split;
      of_any_graph += made_for_it ? 0 : 1;
      if (!draws) continue;
      ++drawing;
      // and so must random numbers that start again in the second part
      undrawn += parts_make_whole(c, g, g, axis, at, whole) ? 0 : 1;
    }
  }
  std::printf(
      "HEDDLE_TEST_SEED=%llu: %d batches split, %d of them of graphs made without one in mind, %d "
      "with random numbers (%d notice the same ones again); %d of %d forbidden splits noticed\n",
      static_cast<unsigned long long>(run_seed()), split, of_any_graph, drawing, undrawn, noticed,
      forbidden);
  CHECK(split > static_cast<int>(graphs_of_run / 2));
  CHECK(of_any_graph > static_cast<int>(graphs_of_run / 50));
  CHECK(drawing > static_cast<int>(graphs_of_run / 50));
  CHECK(undrawn > drawing / 12);
  CHECK(noticed > forbidden / 8);
}
