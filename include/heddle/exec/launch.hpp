// SPDX-License-Identifier: BSD-3-Clause
// What a graph needs to run: where its operands and outputs lie, the extents of its iteration
// space and its run-time scalars. Compiled nests and the interpreter take the same description.
#pragma once

#include <cstddef>

#include <heddle/core/error.hpp>
#include <heddle/graph/node.hpp>

namespace heddle::inline v0::exec {

/// One operand or output: strides in elements, per axis of the operand itself (not of the
/// iteration space); 0 where its extent is 1 and the iteration's is not. Those that the map it is
/// read through does not name are not written: clearing them all would take as long as a small
/// statement.
struct operand {
  std::byte* data = nullptr;
  std::int64_t strides[graph::max_axes];
  std::int64_t indexed_extent = 0;  ///< for gather and scatter_add: the extent of the indexed axis
  /// Of an output of floating dtype: values are added to what is there. Where two outputs of one
  /// launch lie at the same place, all but the first in the plan's order accumulate.
  bool accumulates = false;
};

/// The bits of a run-time scalar: a double, or an int64 where the graph's argument node says so.
union scalar_bits {
  double floating;
  std::int64_t integral;
};

struct launch {
  std::int64_t extents[graph::max_axes];  ///< of the iteration space; 1 for axes it lacks
  const operand* inputs = nullptr;        ///< by operand slot
  const operand* outputs = nullptr;       ///< by output slot
  const scalar_bits* scalars = nullptr;   ///< by scalar slot
};

/// Gives an operand row-major strides over the axes of a map; returns the number of elements.
inline std::int64_t contiguous_strides(operand& o, graph::axis_map map,
                                       const std::int64_t* extents) {
  std::int64_t stride = 1;
  for (int i = graph::max_axes - 1; i >= 0; --i) {
    const unsigned axis = graph::map_axis(map, i);
    if (axis >= graph::max_axes) continue;
    o.strides[i] = stride;
    stride *= extents[axis];
  }
  return stride;
}

/// Stride along iteration axis `axis` of an operand read through `map`; 0 if it has no such axis.
constexpr std::int64_t stride_along(const operand& o, graph::axis_map map, int axis) {
  for (int i = 0; i < graph::max_axes; ++i) {
    if (graph::map_axis(map, i) == static_cast<unsigned>(axis)) return o.strides[i];
  }
  return 0;
}

/// Stride of the axis that a gather or scatter indexes.
constexpr std::int64_t indexed_stride(const operand& o, graph::axis_map map) {
  for (int i = 0; i < graph::max_axes; ++i) {
    if (graph::map_axis(map, i) == graph::indexed_axis) return o.strides[i];
  }
  return 0;
}

}  // namespace heddle::inline v0::exec
