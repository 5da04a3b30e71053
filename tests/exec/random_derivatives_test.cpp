// SPDX-License-Identifier: BSD-3-Clause
// Derivatives of random f64 graphs against central differences.
#include <cmath>
#include <cstdio>

#include "../support/gradient_check.hpp"
#include "../support/graph_generator.hpp"
#include <doctest/doctest.h>

#include <heddle/graph/text.hpp>

namespace {

using namespace support;

/// Memory for the operands of a graph, row-major and without overlap: gradients take its layout.
struct operands {
  std::vector<std::vector<double>> real;
  std::vector<std::vector<std::int64_t>> integer;
  std::vector<std::vector<unsigned char>> truth;
  std::vector<exec::operand> where;

  operands(const random_graph& made, std::uint64_t seed)
      : real(made.inputs.size()), integer(made.inputs.size()), truth(made.inputs.size()) {
    random_source r(seed);
    for (std::size_t i = 0; i < made.inputs.size(); ++i) {
      const slot& s = made.inputs[i];
      exec::operand o;
      std::int64_t count = 1;
      for (int p = s.rank - 1; p >= 0; --p) {
        const unsigned axis = graph::map_axis(s.map, p);
        o.strides[p] = count;
        count *= axis == graph::indexed_axis ? s.indexed_extent : axis < 8 ? made.extents[axis] : 1;
      }
      o.indexed_extent = s.indexed_extent;
      const auto size = static_cast<std::size_t>(count);
      if (s.type == dtype::f64) {
        for (std::size_t k = 0; k < size; ++k) real[i].push_back(4 * r.unit() - 2);
        o.data = reinterpret_cast<std::byte*>(real[i].data());
      } else if (s.type == dtype::boolean || s.type == dtype::u8) {
        const int most = s.below > 0 ? static_cast<int>(s.below) : 2;
        for (std::size_t k = 0; k < size; ++k) {
          truth[i].push_back(static_cast<unsigned char>(r.below(most)));
        }
        o.data = reinterpret_cast<std::byte*>(truth[i].data());
      } else {
        // indices: one array serves i64 and, its low words first, i32
        const int most = s.below > 0 ? static_cast<int>(s.below) : 2;
        for (std::size_t k = 0; k < size; ++k) integer[i].push_back(r.below(most));
        o.data = reinterpret_cast<std::byte*>(integer[i].data());
        if (s.type == dtype::i32) {
          for (int p = 0; p < s.rank; ++p) o.strides[p] *= 2;
        }
      }
      where.push_back(o);
    }
  }
};

}  // namespace

TEST_CASE("derivatives of random graphs agree with central differences") {
  std::printf("HEDDLE_TEST_SEED=%llu\n", static_cast<unsigned long long>(run_seed()));
  const style smooth{.smooth_f64 = true, .least_nodes = 8, .most_nodes = 48, .points = 48};
  int compared = 0;
  int undecidable = 0;
  int saved = 0;
  int caught = 0;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const std::uint64_t seed = run_seed() * 0x9E3779B97F4A7C15u + i;
    const random_graph made = graph_generator(seed, smooth).make();
    const graph::graph& forward = made.simplified;
    operands memory(made, seed);
    graph::derivative_request request;
    request.wanted = graph::list<bool>(made.inputs.size(), false);
    std::vector<std::vector<double>*> values(made.inputs.size(), nullptr);
    bool any = false;
    for (const graph::node& n : forward.nodes) {
      const bool reads = n.code == op::input || n.code == op::gather;
      if (!reads || n.type != dtype::f64) continue;
      const std::size_t slot = n.code == op::input ? n.a : n.b;
      request.wanted[slot] = true;
      values[slot] = &memory.real[slot];
      any = true;
    }
    if (!any) continue;
    request.seed_slot = static_cast<int>(made.inputs.size());
    if (i % 2 == 1) {
      request.saved_slot = request.seed_slot + static_cast<int>(made.outputs.size());
      ++saved;
    }
    const graph::graph backward = graph::differentiate(forward, request);
    gradient_check check(forward, made.extents, memory.where, values, made.scalars.data());
    const gradient_comparison c = check.compare(backward, seed);
    if (!std::isfinite(c.difference) || c.uncertainty > 1e-4 * c.scale || c.kink > 5e-7 * c.scale) {
      ++undecidable;  // near a kink, or too curved for differences
      continue;
    }
    ++compared;
    const double error = std::fabs(c.derived - c.difference);
    if (!(error <= 1e-6 * c.scale + 1e-9)) {
      FAIL("derived " << c.derived << ", by differences " << c.difference << ", uncertain by "
                      << c.uncertainty << "; HEDDLE_TEST_SEED=" << run_seed() << ", graph " << i
                      << ":\n"
                      << graph::to_text(forward) << "its derivative:\n"
                      << graph::to_text(backward));
    }
    // a contribution forgotten must show
    if (i % 16 != 0) continue;
    graph::graph faulty = backward;
    for (graph::node& n : faulty.nodes) {
      if (n.code == op::mul) n.code = op::add;
    }
    const gradient_comparison f = check.compare(faulty, seed);
    caught += !(std::fabs(f.derived - f.difference) <= 1e-6 * f.scale + 1e-9) ? 1 : 0;
  }
  std::printf("%d derivatives compared (%d with saved outputs), %d undecidable, %d faults caught\n",
              compared, saved, undecidable, caught);
  CHECK(compared > 10000);
  CHECK(undecidable < compared / 8);
  CHECK(caught > 20);
}
