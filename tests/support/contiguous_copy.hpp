// SPDX-License-Identifier: BSD-3-Clause
// The operands of a random graph copied into row-major memory, with row-major outputs beside those
// of the case: a view computes what its copy does.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "random_case.hpp"

namespace support {

/// Calls visit(offset in the strided array, row-major index) for each element of a slot.
template <class Visit>
void for_each_element(const slot& s, const heddle::exec::operand& o, const std::int64_t* extents,
                      Visit visit) {
  std::int64_t lengths[8] = {};
  std::int64_t count = 1;
  for (int p = 0; p < s.rank; ++p) count *= lengths[p] = length_at(s, p, extents);
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i;
    std::int64_t offset = 0;
    for (int p = s.rank - 1; p >= 0; --p) {
      offset += rest % lengths[p] * o.strides[p];
      rest /= lengths[p];
    }
    visit(offset, i);
  }
}

/// Whether two elements have the same bits, or are NaN both.
inline bool same_bits(const std::byte* a, const std::byte* b, dtype type) {
  if (std::memcmp(a, b, heddle::size_of(type)) == 0) return true;
  return floating(type) && std::isnan(read(a, 0, type).real) && std::isnan(read(b, 0, type).real);
}

class contiguous_copy {
 public:
  explicit contiguous_copy(random_case& c) : case_(c) {
    const random_graph& g = c.graphs();
    for (std::size_t i = 0; i < g.inputs.size(); ++i) {
      const heddle::exec::operand& from = c.inputs()[i].operand();
      inputs_.push_back(memory(g.inputs[i]));
      const std::size_t width = heddle::size_of(g.inputs[i].type);
      for_each_element(g.inputs[i], from, g.extents, [&](std::int64_t offset, std::int64_t at) {
        std::memcpy(inputs_[i].data() + static_cast<std::size_t>(at) * width,
                    from.data + offset * static_cast<std::int64_t>(width), width);
      });
      input_operands_.push_back(row_major(g.inputs[i], inputs_[i]));
    }
    for (const slot& s : g.outputs) outputs_.push_back(memory(s));
    for (std::size_t i = 0; i < g.outputs.size(); ++i) {
      output_operands_.push_back(row_major(g.outputs[i], outputs_[i]));
    }
    launch_ = c.launch();
    launch_.inputs = input_operands_.data();
    launch_.outputs = output_operands_.data();
  }
  contiguous_copy(const contiguous_copy&) = delete;

  const heddle::exec::launch& launch() const { return launch_; }
  /// How operand i lies in its copy.
  heddle::exec::operand& input(std::size_t i) { return input_operands_[i]; }

  /// Elements compared, or -1 where an output's element differs from the case's own.
  std::int64_t compare() const {
    const random_graph& g = case_.graphs();
    std::int64_t compared = 0;
    for (std::size_t i = 0; i < g.outputs.size(); ++i) {
      const slot& s = g.outputs[i];
      const heddle::exec::operand& theirs = case_.outputs()[i].operand();
      const auto width = static_cast<std::int64_t>(heddle::size_of(s.type));
      bool same = true;
      for_each_element(s, theirs, g.extents, [&](std::int64_t offset, std::int64_t at) {
        same = same &&
               same_bits(theirs.data + offset * width, outputs_[i].data() + at * width, s.type);
        ++compared;
      });
      if (!same) return -1;
    }
    return compared;
  }

 private:
  std::vector<std::byte> memory(const slot& s) const {
    std::size_t bytes = heddle::size_of(s.type);
    for (int p = 0; p < s.rank; ++p) {
      bytes *= static_cast<std::size_t>(length_at(s, p, case_.graphs().extents));
    }
    return std::vector<std::byte>(bytes + 1, std::byte{0x5A});
  }
  heddle::exec::operand row_major(const slot& s, std::vector<std::byte>& memory) const {
    heddle::exec::operand o;
    o.data = memory.data();
    o.indexed_extent = s.indexed_extent;
    std::int64_t step = 1;
    for (int p = s.rank - 1; p >= 0; --p) {
      o.strides[p] = step;
      step *= length_at(s, p, case_.graphs().extents);
    }
    return o;
  }

  random_case& case_;
  std::vector<std::vector<std::byte>> inputs_;
  std::vector<std::vector<std::byte>> outputs_;
  std::vector<heddle::exec::operand> input_operands_;
  std::vector<heddle::exec::operand> output_operands_;
  heddle::exec::launch launch_;
};

}  // namespace support
