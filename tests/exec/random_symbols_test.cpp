// SPDX-License-Identifier: BSD-3-Clause
// Random expressions through symbols, frame and binding, as a user's lambda goes, against plain
// arrays. HEDDLE_TEST_SEED repeats a run; HEDDLE_TEST_EXPRESSIONS sets its length.
#include <cstdio>

#include "../support/comparison.hpp"
#include "../support/expression_generator.hpp"
#include <doctest/doctest.h>

#include <heddle/exec/bind.hpp>
#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/graph/text.hpp>

namespace {

using namespace support;
namespace exec = heddle::exec;

std::uint64_t case_seed(std::uint64_t i) { return run_seed() * 0x9E3779B97F4A7C15u + i; }

std::uint64_t expressions_of_run() {
  const char* given = std::getenv("HEDDLE_TEST_EXPRESSIONS");
  return given != nullptr ? std::strtoull(given, nullptr, 0) : 25000;
}

/// What became of an expression.
enum class outcome : std::uint8_t { compared, refused, wrong };

/// An expression from its trace to its results.
class run_of_expression {
 public:
  explicit run_of_expression(const expression& e) : e_(e), slots_(e.operands.size()) {
    for (const twin& root : e.roots) symbols_.push_back(root.s);
    framed_ = graph::frame_statement(e.trace, symbols_.data(), static_cast<int>(symbols_.size()));
    framed_.operand_maps.resize(slots_, graph::empty_map);
  }

  graph::framed& framed() { return framed_; }
  const std::string& what() const { return what_; }

  outcome run(tally& counts) {
    const bool aligned = framed_.problem == graph::framing_problem::aligned;
    if (framed_.problem != graph::framing_problem::none && !aligned) return outcome::refused;
    if (aligned != aligns_two_axes()) return fail("refused as aligned, or not refused");
    if (aligned) return outcome::refused;
    if (!axes_are_the_models()) return fail("the axes are not those that broadcasting makes one");
    if (!bind()) {
      return is_lengthened() ? outcome::refused : fail("refused though no value is lengthened");
    }
    if (!results_have_the_models_shapes()) return fail("a result has another shape");
    exec::interpret(framed_.result, launch_);
    for (std::size_t k = 0; k < e_.roots.size(); ++k) {
      const plain_array& want = e_.roots[k].a;
      const auto width = static_cast<std::int64_t>(heddle::size_of(want.type));
      for (std::size_t i = 0; i < want.values.size(); ++i) {
        const std::byte* place = results_[k].data() + static_cast<std::int64_t>(i) * width;
        // 16-bit values are rounded where they are stored
        const element stored = converted(want.values[i], want.type, want.type);
        const std::string wrong = compare_element(place, want.type, stored, counts);
        if (!wrong.empty()) return fail("result " + std::to_string(k) + ": " + wrong);
      }
    }
    return outcome::compared;
  }

 private:
  outcome fail(const std::string& what) {
    what_ = what;
    return outcome::wrong;
  }

  /// Positions of operands and results lie along one axis where the model says so and nowhere else.
  bool axes_are_the_models() const {
    std::vector<int> axis_at(graph::max_axes, -1);
    const auto agrees = [&](graph::axis_map map, const std::vector<int>& label, bool result) {
      for (std::size_t p = 0; p < label.size(); ++p) {
        const unsigned at = graph::map_axis(map, static_cast<int>(p));
        if (label[p] < 0 && at != graph::broadcast_axis) return false;
        // an axis that only unneeded operands have, or that take indexes, is not iterated over
        if (at == graph::broadcast_axis && label[p] >= 0 && result) return false;
        if (at == graph::broadcast_axis) continue;
        const int axis = e_.axes.axis_of(label[p]);
        if (axis_at[at] >= 0 && axis_at[at] != axis) return false;
        axis_at[at] = axis;
      }
      return true;
    };
    for (std::size_t i = 0; i < slots_; ++i) {
      if (!agrees(framed_.operand_maps[i], e_.operands[i].label, false)) return false;
    }
    for (const graph::node& n : framed_.result.nodes) {
      if (n.code != op::store) continue;
      const std::vector<int>& label = e_.roots[n.b].label;
      if (!agrees(static_cast<graph::axis_map>(n.extra), label, true)) return false;
    }
    for (int a = 0; a < graph::max_axes; ++a) {
      for (int b = 0; b < a; ++b) {
        const int axis = axis_at[static_cast<std::size_t>(a)];
        if (axis >= 0 && axis == axis_at[static_cast<std::size_t>(b)]) return false;
      }
    }
    return true;
  }

  /// Whether a result needs the node, its elements or its shape.
  std::vector<char> needed_nodes() const {
    const graph::list<graph::node>& nodes = e_.trace.nodes();
    std::vector<char> needed(nodes.size(), 0);
    for (const symbol& root : symbols_) needed[root.id] = 1;
    for (std::size_t i = nodes.size(); i-- > 0;) {
      for (int k = 0; k < graph::operands_of(nodes[i]) && needed[i] != 0; ++k) {
        needed[graph::operand(nodes[i], k)] = 1;
      }
      const bool of_shape =
          graph::detail::takes_shape(nodes[i].code) && nodes[i].c != graph::no_node;
      if (needed[i] != 0 && of_shape) needed[nodes[i].c] = 1;
    }
    return needed;
  }
  /// Whether two axes of a value that a result needs are one.
  bool aligns_two_axes() const {
    const std::vector<char> needed = needed_nodes();
    for (const value_shape& v : e_.shapes) {
      if (needed[v.node] != 0 && e_.axes.aligns(v.label)) return true;
    }
    return false;
  }
  /// Whether a value that a result needs has extent 1 along an axis, and others are longer.
  bool is_lengthened() const {
    const std::vector<char> needed = needed_nodes();
    for (const value_shape& v : e_.shapes) {
      for (std::size_t p = 0; p < v.label.size() && needed[v.node] != 0; ++p) {
        if (v.label[p] >= 0 && v.shape[p] == 1 && e_.axes.is_lengthened(v.label[p])) return true;
      }
    }
    return false;
  }

  /// As a statement binds its leaves; false where it refuses them.
  bool bind() {
    std::vector<exec::leaf_view> leaves;
    strides_.resize(slots_);
    for (std::size_t i = 0; i < slots_; ++i) {
      const operand_memory& m = e_.operands[i];
      strides_[i] = row_major(m.shape);
      exec::leaf_view l;
      l.data = const_cast<std::byte*>(m.bytes.data());
      l.extents = m.shape.data();
      l.strides = strides_[i].data();
      l.rank = static_cast<int>(m.shape.size());
      leaves.push_back(l);
    }
    const auto count = static_cast<int>(slots_);
    const graph::axis_map* maps = framed_.operand_maps.begin();
    const auto& checks = framed_.checks;
    try {
      exec::detail::broadcast_extents(leaves.data(), maps, count, launch_.extents);
      exec::detail::check_extents(checks.begin(), checks.size(), leaves.data(), maps, count,
                                  launch_.extents);
    } catch (const heddle::shape_error&) {
      return false;
    }
    inputs_.resize(slots_);
    for (std::size_t i = 0; i < slots_; ++i) {
      exec::detail::bind_leaf(inputs_[i], leaves[i], maps[i], launch_.extents);
    }
    for (const twin& root : e_.roots) {
      const plain_array& a = root.a;
      results_.emplace_back(a.values.size() * heddle::size_of(a.type) + 1, std::byte{0xA5});
      const shape_of strides = row_major(a.shape);
      exec::operand o;
      o.data = results_.back().data();
      std::copy(strides.begin(), strides.end(), o.strides);
      outputs_.push_back(o);
    }
    launch_.inputs = inputs_.data();
    launch_.outputs = outputs_.data();
    launch_.scalars = e_.scalars.data();
    return true;
  }

  bool results_have_the_models_shapes() const {
    for (const graph::node& n : framed_.result.nodes) {
      if (n.code != op::store) continue;
      const plain_array& a = e_.roots[n.b].a;
      if (n.type != a.type) return false;
      for (int p = 0; p < graph::max_axes; ++p) {
        const unsigned at = graph::map_axis(static_cast<graph::axis_map>(n.extra), p);
        const std::int64_t extent = at < graph::max_axes ? launch_.extents[at] : 1;
        const std::int64_t want = p < a.rank() ? a.shape[static_cast<std::size_t>(p)] : 1;
        if (extent != want) return false;
      }
    }
    return true;
  }

  static shape_of row_major(const shape_of& shape) {
    shape_of strides(shape.size());
    std::int64_t step = 1;
    for (std::size_t p = shape.size(); p-- > 0;) {
      strides[p] = step;
      step *= shape[p];
    }
    return strides;
  }

  const expression& e_;
  std::size_t slots_;
  std::vector<symbol> symbols_;
  graph::framed framed_;
  std::string what_;
  std::vector<shape_of> strides_;
  std::vector<exec::operand> inputs_;
  std::vector<exec::operand> outputs_;
  std::vector<std::vector<std::byte>> results_;
  exec::launch launch_;
};

/// Exchanges two axes, as long as each other, in the map of an operand; false if none has such.
bool exchange_axes(graph::graph& g, const expression& e) {
  for (graph::node& n : g.nodes) {
    if (n.code != op::input) continue;
    const operand_memory& m = e.operands[n.a];
    const auto map = static_cast<graph::axis_map>(n.extra);
    for (std::size_t p = 0; p < m.shape.size(); ++p) {
      for (std::size_t q = 0; q < p; ++q) {
        if (m.label[p] < 0 || m.label[q] < 0 || m.shape[p] < 2 || m.shape[p] != m.shape[q])
          continue;
        const auto first = static_cast<int>(p), second = static_cast<int>(q);
        n.extra = graph::with_axis(graph::with_axis(map, first, graph::map_axis(map, second)),
                                   second, graph::map_axis(map, first));
        return true;
      }
    }
  }
  return false;
}

std::string description(std::uint64_t i, const graph::graph& g) {
  return "HEDDLE_TEST_SEED=" + std::to_string(run_seed()) + ", expression " + std::to_string(i) +
         ":\n" + graph::to_text(g);
}

}  // namespace

TEST_CASE("random expressions of symbols compute what arrays compute, with the same axes") {
  std::int64_t coverage[2048] = {};
  std::int64_t ranks[5] = {};
  tally counts;
  std::uint64_t compared = 0, aligned = 0, too_many_axes = 0, lengthened = 0, rejected = 0;
  const std::uint64_t count = expressions_of_run();
  for (std::uint64_t i = 0; i < count; ++i) {
    const expression e = expression_generator(case_seed(i), coverage).make();
    if (!e.wrong.empty()) FAIL(e.wrong << "; expression " << i);
    run_of_expression run(e);
    rejected += static_cast<std::uint64_t>(e.rejected);
    switch (run.run(counts)) {
      case outcome::wrong:
        FAIL(run.what() << "; " << description(i, run.framed().result));
        break;
      case outcome::compared:
        ++compared;
        for (const twin& root : e.roots) ++ranks[std::min(root.a.rank(), 4)];
        break;
      case outcome::refused:
        ++(run.framed().problem == graph::framing_problem::aligned ? aligned
           : run.framed().problem == graph::framing_problem::axes  ? too_many_axes
                                                                   : lengthened);
    }
  }
  std::printf(
      "HEDDLE_TEST_SEED=%llu: %llu random expressions, %lld elements compared, %lld to better than "
      "1e-3, %lld special, %lld zeros with their sign, %lld undecidable\n"
      "refused: %llu with aligned axes, %llu with over 8 axes, %llu with extents of 1 that others "
      "lengthen; while recorded, %llu\nresults of ranks 0 to 4: %lld %lld "
      "%lld %lld %lld\n",
      static_cast<unsigned long long>(run_seed()), static_cast<unsigned long long>(count),
      static_cast<long long>(counts.elements), static_cast<long long>(counts.tight),
      static_cast<long long>(counts.special), static_cast<long long>(counts.zeros),
      static_cast<long long>(counts.unknown), static_cast<unsigned long long>(aligned),
      static_cast<unsigned long long>(too_many_axes), static_cast<unsigned long long>(lengthened),
      static_cast<unsigned long long>(rejected), static_cast<long long>(ranks[0]),
      static_cast<long long>(ranks[1]), static_cast<long long>(ranks[2]),
      static_cast<long long>(ranks[3]), static_cast<long long>(ranks[4]));
  graph::list<const graph::op_info*> user_ops;
  user_ops.push_back(&graph::op_information<heddle::cube>);
  for (int code = 0, printed = 0; code < 2048; ++code) {
    const bool never =
        code == static_cast<int>(op::store) || code == static_cast<int>(op::scatter_add) ||
        (code >= static_cast<int>(op::builtin_count) && static_cast<op>(code) != heddle::cube);
    if (never) continue;
    const std::string name(graph::name_of(static_cast<op>(code), user_ops));
    CHECK_MESSAGE(coverage[code] > 0, name);
    std::printf("%s%s %lld", printed % 8 == 0 ? "\n" : ", ", name.c_str(),
                static_cast<long long>(coverage[code]));
    ++printed;
  }
  std::printf("\n");
  CHECK(compared > count * 9 / 10);
  CHECK(aligned + too_many_axes < count / 25);
  CHECK(counts.tight > counts.elements * 9 / 10);
  CHECK(counts.unknown < counts.elements / 8);
  CHECK(aligned > 0);
  CHECK(lengthened > 0);
  CHECK(rejected > 0);
}

TEST_CASE("a mistake in a shape, in a ghost or in an operand's map is caught") {
  std::int64_t coverage[2048] = {};
  constexpr symbol_fault faults[] = {symbol_fault::none, symbol_fault::wrong_position,
                                     symbol_fault::ghost_ignored, symbol_fault::wrong_order};
  for (const symbol_fault fault : faults) {
    int caught = 0;
    for (std::uint64_t i = 0; i < 6000; ++i) {
      tally counts;
      try {
        const expression e = expression_generator(case_seed(i), coverage, fault).make();
        run_of_expression run(e);
        // without a fault of the generator: two positions of an operand exchanged in its map
        if (fault == symbol_fault::none && !exchange_axes(run.framed().result, e)) continue;
        caught += run.run(counts) == outcome::wrong ? 1 : 0;
      } catch (const char*) {
        ++caught;  // refused while it was recorded
      }
    }
    CHECK_MESSAGE(caught > 20, "fault " << static_cast<int>(fault) << ": caught " << caught);
  }
}
