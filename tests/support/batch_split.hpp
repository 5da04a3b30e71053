// SPDX-License-Identifier: BSD-3-Clause
// A graph run on a part of its operands along one axis: where nothing connects the axis'
// coordinates, the parts compute what the whole does.
#pragma once

#include <vector>

#include "contiguous_copy.hpp"

namespace support {

inline bool has_axis(graph::axis_mask axes, int axis) { return (axes >> axis & 1) != 0; }

/// Whether each coordinate along the axis is computed without the others: no reduction removes it,
/// nothing counts or enumerates it, random numbers draw samples along it, no scatter adds over it.
inline bool is_batch(const graph::graph& g, int axis) {
  for (const graph::node& n : g.nodes) {
    const auto map = static_cast<graph::axis_map>(n.extra);
    if ((heddle::is_reduction(n.code) || n.code == op::count) && (n.extra >> axis & 1) != 0) {
      return false;
    }
    if (n.code == op::iota && n.extra == static_cast<std::uint64_t>(axis)) return false;
    if (heddle::is_random(n.code) && has_axis(graph::mask_of(map), axis) &&
        graph::map_axis(map, 0) != static_cast<unsigned>(axis)) {
      return false;
    }
    if (n.code == op::scatter_add && !has_axis(graph::mask_of(map), axis) &&
        has_axis(static_cast<graph::axis_mask>(g[n.a].varies | g[n.b].varies), axis)) {
      return false;
    }
  }
  return true;
}

/// g for a part that starts at `first`: random numbers along the axis start from there. `draws`
/// says whether there are any.
inline graph::graph shifted(const graph::graph& g, int axis, std::int64_t first, bool& draws) {
  draws = false;
  return rewritten(g, [&](graph::node& n, const auto& emit, const graph::graph&) {
    if (!heddle::is_random(n.code) ||
        !has_axis(graph::mask_of(static_cast<graph::axis_map>(n.extra)), axis)) {
      return;
    }
    const std::uint16_t by = emit(
        {.code = op::constant, .type = dtype::i64, .extra = static_cast<std::uint64_t>(first)});
    n.b = emit({.code = op::add, .type = dtype::i64, .a = n.b, .b = by});
    draws = true;
  });
}

/// The launch of coordinates first to last (exclusive) of a case along an axis.
class part {
 public:
  part(random_case& c, int axis, std::int64_t first, std::int64_t last) : launch_(c.launch()) {
    const random_graph& g = c.graphs();
    launch_.extents[axis] = last - first;
    const auto moved = [&](const slot& s, heddle::exec::operand o) {
      o.data += first * heddle::exec::stride_along(o, s.map, axis) *
                static_cast<std::int64_t>(heddle::size_of(s.type));
      return o;
    };
    for (std::size_t i = 0; i < g.inputs.size(); ++i) {
      inputs_.push_back(moved(g.inputs[i], c.inputs()[i].operand()));
    }
    for (std::size_t i = 0; i < g.outputs.size(); ++i) {
      outputs_.push_back(moved(g.outputs[i], c.outputs()[i].operand()));
    }
    launch_.inputs = inputs_.data();
    launch_.outputs = outputs_.data();
  }
  part(const part&) = delete;

  const heddle::exec::launch& launch() const { return launch_; }

 private:
  std::vector<heddle::exec::operand> inputs_;
  std::vector<heddle::exec::operand> outputs_;
  heddle::exec::launch launch_;
};

/// The bytes of a case's outputs.
class output_bytes {
 public:
  explicit output_bytes(random_case& c) {
    for (const strided_memory& m : c.outputs()) bytes_.push_back(m.bytes());
  }
  /// Whether output i, NaN payloads aside, still holds them.
  bool holds(random_case& c, std::size_t i) const {
    const strided_memory& m = c.outputs()[i];
    if (m.bytes() == bytes_[i]) return true;
    const std::size_t width = heddle::size_of(m.type());
    for (std::size_t k = 0; k < bytes_[i].size(); k += width) {
      if (!same_bits(m.bytes().data() + k, bytes_[i].data() + k, m.type())) return false;
    }
    return true;
  }

 private:
  std::vector<std::vector<std::byte>> bytes_;
};

}  // namespace support
