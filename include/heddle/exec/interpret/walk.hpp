// SPDX-License-Identifier: BSD-3-Clause
// walk: an iteration over some axes of the iteration space, several arrays at once, as rows that
// are as long as the arrays' strides allow.
#pragma once

#include <heddle/core/config.hpp>
#include <heddle/graph/node.hpp>

namespace heddle::inline v0::exec::detail {

/// Strides in elements along each axis of the iteration space; 0 where an array does not vary.
struct axis_strides {
  std::int64_t along[graph::max_axes] = {};
};

/// Number of elements of an array that varies along the axes in `mask`.
inline std::int64_t elements_along(graph::axis_mask mask, const std::int64_t* extents) {
  std::int64_t count = 1;
  for (int axis = 0; axis < graph::max_axes; ++axis) {
    if ((mask >> axis & 1) != 0) count *= extents[axis];
  }
  return count;
}

/// The strides of a row-major array that varies along the axes in `mask`.
inline axis_strides row_major(graph::axis_mask mask, const std::int64_t* extents) {
  axis_strides strides;
  std::int64_t step = 1;
  for (int axis = graph::max_axes - 1; axis >= 0; --axis) {
    if ((mask >> axis & 1) == 0) continue;
    strides.along[axis] = step;
    step *= extents[axis];
  }
  return strides;
}

/// Rows over the axes in a mask, in row-major order, of up to four arrays.
struct walk {
  static constexpr int max_arrays = 4;

  int arrays = 0;
  int rank = 0;  ///< axes outside of the row
  std::int64_t extents[graph::max_axes] = {};
  std::int64_t strides[max_arrays][graph::max_axes] = {};
  std::int64_t row = 1;  ///< elements of a row; 0 if there is nothing to visit
  std::int64_t row_strides[max_arrays] = {};

  HEDDLE_NOINLINE walk(graph::axis_mask mask, const std::int64_t* space, const axis_strides* along,
                       int count)
      : arrays(count) {
    for (int axis = 0; axis < graph::max_axes; ++axis) {
      if ((mask >> axis & 1) == 0 || space[axis] == 1) continue;
      if (space[axis] == 0) {
        rank = 0;
        row = 0;
        return;
      }
      append(space[axis], along, axis);
    }
    if (rank == 0) return;
    --rank;
    row = extents[rank];
    for (int k = 0; k < arrays; ++k) row_strides[k] = strides[k][rank];
  }

  /// Calls visit(offsets, row) for each row; offsets[k] is that of its first element in array k.
  template <class Visit>
  void for_each_row(Visit visit) const {
    if (row == 0) return;
    std::int64_t at[graph::max_axes] = {};
    std::int64_t offsets[max_arrays] = {};
    do {
      visit(static_cast<const std::int64_t*>(offsets), row);
    } while (next(at, offsets));
  }

 private:
  /// Moves on to the next row; false after the last. Out of line: many loops share it.
  HEDDLE_NOINLINE bool next(std::int64_t* at, std::int64_t* offsets) const {
    for (int axis = rank - 1; axis >= 0; --axis) {
      for (int k = 0; k < arrays; ++k) offsets[k] += strides[k][axis];
      if (++at[axis] < extents[axis]) return true;
      for (int k = 0; k < arrays; ++k) offsets[k] -= strides[k][axis] * extents[axis];
      at[axis] = 0;
    }
    return false;
  }

  void append(std::int64_t extent, const axis_strides* along, int axis) {
    bool merges = rank > 0;
    for (int k = 0; k < arrays && merges; ++k) {
      merges = strides[k][rank - 1] == along[k].along[axis] * extent;
    }
    if (!merges) extents[rank++] = 1;
    extents[rank - 1] *= extent;
    for (int k = 0; k < arrays; ++k) strides[k][rank - 1] = along[k].along[axis];
  }
};

}  // namespace heddle::inline v0::exec::detail
