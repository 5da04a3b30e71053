// SPDX-License-Identifier: BSD-3-Clause
// The memory of a random graph: operands of many layouts with values from a coarse grid, outputs
// with guarded padding, and the comparison of what was written with what the walk expects.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comparison.hpp"
#include "element_memory.hpp"
#include "graph_generator.hpp"
#include "independent_walk.hpp"

namespace support {

/// The extent of a slot's position.
inline std::int64_t length_at(const slot& s, int position, const std::int64_t* extents) {
  const unsigned axis = graph::map_axis(s.map, position);
  return axis == graph::indexed_axis     ? s.indexed_extent
         : axis == graph::broadcast_axis ? 1
                                         : extents[axis];
}

/// One strided array inside an allocation whose other bytes must stay as they are.
class strided_memory {
 public:
  strided_memory(const slot& s, const std::int64_t* extents, random_source& r, bool output)
      : type_(s.type), width_(static_cast<std::int64_t>(heddle::size_of(s.type))) {
    std::int64_t lengths[8] = {};
    int order[8] = {};
    for (int p = 0; p < s.rank; ++p) {
      lengths[p] = length_at(s, p, extents);
      order[p] = p;
    }
    const bool plain = r.chance(0.4);
    for (int i = s.rank - 1; i > 0 && !plain; --i) std::swap(order[i], order[r.below(i + 1)]);
    std::int64_t step = !plain && r.chance(0.3) ? r.between(2, 3) : 1;
    std::int64_t first = 0;
    for (int i = s.rank - 1; i >= 0; --i) {
      const int p = order[i];
      operand_.strides[p] = step;
      if (!plain && r.chance(0.1)) {
        operand_.strides[p] = -step;
        first += step * (lengths[p] > 0 ? lengths[p] - 1 : 0);
      }
      if (!plain && !output && r.chance(0.05)) {
        operand_.strides[p] = 0;  // an expanded axis: every index reads the same memory
        continue;
      }
      step *= lengths[p] > 0 ? lengths[p] : 1;
      if (!plain && r.chance(0.2)) step += r.between(0, 2);
    }
    count_ = step + first + 1;
    bytes_.assign(static_cast<std::size_t>(count_ * width_), std::byte{0xA5});
    operand_.indexed_extent = s.indexed_extent;
    first_ = first;
    operand_.data = bytes_.data() + first * width_;
    // strides of extents of 1 are never used
    for (int p = 0; p < s.rank; ++p) {
      if (lengths[p] == 1 && r.chance(0.3)) operand_.strides[p] = r.between(-9, 9);
    }
  }

  const heddle::exec::operand& operand() const { return operand_; }
  std::int64_t first() const { return first_; }
  std::int64_t count() const { return count_; }
  dtype type() const { return type_; }
  std::vector<std::byte>& bytes() { return bytes_; }
  const std::vector<std::byte>& bytes() const { return bytes_; }
  void clear() { std::fill(bytes_.begin(), bytes_.end(), std::byte{0xA5}); }

  void write(std::int64_t i, double x, std::int64_t k) {
    write_element(bytes_.data() + i * width_, type_, x, k);
  }

 private:
  dtype type_;
  std::int64_t width_;
  std::int64_t count_ = 0;
  std::int64_t first_ = 0;
  std::vector<std::byte> bytes_;
  heddle::exec::operand operand_;
};

class random_case {
 public:
  random_case(random_graph made, std::uint64_t seed, bool smooth = false)
      : graph_(std::move(made)) {
    random_source r(seed);
    special_ = !smooth && r.chance(0.06);
    smooth_ = smooth;
    for (const slot& s : graph_.inputs) {
      inputs_.emplace_back(s, graph_.extents, r, false);
      fill(inputs_.back(), s, r);
    }
    for (const slot& s : graph_.outputs) outputs_.emplace_back(s, graph_.extents, r, true);
    refresh();
  }
  random_case(const random_case&) = delete;

  const random_graph& graphs() const { return graph_; }
  const heddle::exec::launch& launch() const { return launch_; }
  std::vector<strided_memory>& inputs() { return inputs_; }
  std::vector<strided_memory>& outputs() { return outputs_; }

  void clear_outputs() {
    for (strided_memory& m : outputs_) m.clear();
  }

  /// What is wrong with the outputs after a run, or an empty string.
  std::string compare(const independent_walk& walk, tally& counts) const {
    const graph::graph& g = graph_.raw;
    for (std::size_t i = 0; i < g.size(); ++i) {
      if (!heddle::is_root(g[i].code)) continue;
      const std::size_t out = g[i].code == op::store ? g[i].b : g[i].c;
      const std::string wrong = compare_output(outputs_[out], walk.expected(i), counts);
      if (!wrong.empty()) return "output " + std::to_string(out) + ": " + wrong;
    }
    return {};
  }

 private:
  void refresh() {
    for (int i = 0; i < 8; ++i) launch_.extents[i] = graph_.extents[i];
    for (const strided_memory& m : inputs_) input_operands_.push_back(m.operand());
    for (const strided_memory& m : outputs_) output_operands_.push_back(m.operand());
    launch_.inputs = input_operands_.data();
    launch_.outputs = output_operands_.data();
    launch_.scalars = graph_.scalars.data();
  }

  void fill(strided_memory& m, const slot& s, random_source& r) const {
    for (std::int64_t i = 0; i < m.count(); ++i) {
      const double x = smooth_ ? 4 * r.unit() - 2 : grid_value(r, special_);
      m.write(i, x, s.below > 0 ? r.below(static_cast<int>(s.below)) : grid_integer(r, s.type));
    }
  }

  static std::string compare_output(const strided_memory& m,
                                    const std::vector<expectation>& expected, tally& counts) {
    std::vector<char> written(static_cast<std::size_t>(m.count()), 0);
    const auto width = static_cast<std::size_t>(heddle::size_of(m.type()));
    for (const expectation& e : expected) {
      written[static_cast<std::size_t>(m.first() + e.offset)] = 1;
      const std::byte* place = m.operand().data + e.offset * static_cast<std::int64_t>(width);
      const std::string wrong = compare_element(place, m.type(), e.value, counts);
      if (!wrong.empty()) return wrong;
    }
    for (std::int64_t i = 0; i < m.count(); ++i) {
      if (written[static_cast<std::size_t>(i)] != 0) continue;
      for (std::size_t k = 0; k < width; ++k) {
        if (m.bytes()[static_cast<std::size_t>(i) * width + k] != std::byte{0xA5}) {
          return "memory beside the output was written";
        }
      }
    }
    return {};
  }

  random_graph graph_;
  bool special_ = false;
  bool smooth_ = false;
  std::vector<strided_memory> inputs_;
  std::vector<strided_memory> outputs_;
  std::vector<heddle::exec::operand> input_operands_;
  std::vector<heddle::exec::operand> output_operands_;
  heddle::exec::launch launch_;
};

}  // namespace support
