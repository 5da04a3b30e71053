// SPDX-License-Identifier: BSD-3-Clause
// What indices select: slices, `all`, and the arithmetic that turns them into extents and strides.
#pragma once

#include <cstdint>
#include <type_traits>

#include <heddle/core/error.hpp>
#include <heddle/core/extents.hpp>

namespace heddle::inline v0 {

/// The end of an axis, whatever its extent: `slice(2, to_end)`.
inline constexpr std::int64_t to_end = INT64_MAX;

/// The indices begin, begin + step, … below end, as Python's `begin:end:step`: negative ones count
/// from the end of the axis, and both are cut to its extent.
struct slice {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t step;  ///< from one index to the next, 1 or more

  /// Views cannot run backwards: a step below 1 throws index_error where the slice is applied.
  constexpr slice(std::int64_t first, std::int64_t last, std::int64_t by = 1) noexcept
      : begin(first), end(last), step(by) {}
};

/// The type of `all`.
struct all_indices {};

/// Selects a whole axis: `x(all, 0)`. A function, so that it stands beside CUDA's `::all` where
/// both namespaces are in sight: there, write `x(all(), 0)`.
constexpr all_indices all() noexcept { return {}; }

namespace detail {

/// The axis that a template argument names: 0 to Rank - 1.
template <int Axis, int Rank>
constexpr int checked_axis() {
  static_assert(Axis >= -Rank && Axis < Rank,
                "heddle::axis: the tensor has no such axis; axes are -rank to rank - 1");
  return Axis < 0 ? Axis + Rank : Axis;
}

[[noreturn]] HEDDLE_COLD inline void raise_index(const char* function, std::int64_t index, int axis,
                                                 const std::int64_t* extents, int rank) {
  const std::int64_t extent = extents[axis];
  if (extent == 0) {
    raise<index_error>("heddle::", function, ": the axis is empty: index ", index, " on axis ",
                       axis, " of ", to_string(extents, rank), "; an empty axis has no elements");
  }
  raise<index_error>("heddle::", function, ": the index is outside of its axis: ", index,
                     " on axis ", axis, " of ", to_string(extents, rank), "; indices are ", -extent,
                     " to ", extent - 1);
}

/// `index`, or from the end where it is negative; 0 to extent - 1. Throws index_error.
HEDDLE_INLINE std::int64_t checked_index(const char* function, std::int64_t index, int axis,
                                         const std::int64_t* extents, int rank) {
  const std::int64_t extent = extents[axis];
  const std::int64_t position = index < 0 ? index + extent : index;
  if (static_cast<std::uint64_t>(position) >= static_cast<std::uint64_t>(extent)) [[unlikely]] {
    raise_index(function, index, axis, extents, rank);
  }
  return position;
}

/// A slice cut to an axis: where it begins and how many indices it holds.
struct resolved_slice {
  std::int64_t begin;
  std::int64_t count;
};

inline resolved_slice resolve(slice range, std::int64_t extent) {
  if (range.step < 1) {
    raise<index_error>("heddle::slice: the step is not positive: ", range.step,
                       "; views run forwards, use a step of 1 or more");
  }
  const auto cut = [extent](std::int64_t index) {
    if (index < 0) index += extent;
    return index < 0 ? 0 : index > extent ? extent : index;
  };
  const std::int64_t begin = cut(range.begin);
  const std::int64_t end = cut(range.end);
  // Not (length + step - 1) / step, which overflows for a large step.
  return {begin, end > begin ? (end - begin - 1) / range.step + 1 : 0};
}

/// Collects the axes of a view while indices are applied one after the other.
struct view_builder {
  const std::int64_t* extents;
  const std::int64_t* strides;
  int rank;
  std::int64_t* kept_extents;
  std::int64_t* kept_strides;
  std::int64_t offset = 0;
  int axis = 0;
  int kept = 0;

  void apply(std::int64_t index) {
    offset += checked_index("tensor", index, axis, extents, rank) * strides[axis];
    ++axis;
  }
  void apply(slice range) {
    const resolved_slice found = resolve(range, extents[axis]);
    // An empty view begins where its tensor does: no pointer past the storage.
    if (found.count > 0) offset += found.begin * strides[axis];
    kept_extents[kept] = found.count;
    // A step beyond the axis leaves one element, and any stride will do.
    kept_strides[kept] = found.count > 1 ? strides[axis] * range.step : strides[axis];
    ++kept;
    ++axis;
  }
  void apply(all_indices (*)()) { apply(all_indices{}); }
  void apply(all_indices) {
    kept_extents[kept] = extents[axis];
    kept_strides[kept] = strides[axis];
    ++kept;
    ++axis;
  }
};

template <class Index>
inline constexpr bool is_position = std::is_integral_v<Index> && !std::is_same_v<Index, bool>;

template <class Index>
inline constexpr bool is_range =
    std::is_same_v<Index, slice> || std::is_same_v<Index, all_indices> ||
    std::is_convertible_v<Index, all_indices (*)()>;

}  // namespace detail
}  // namespace heddle::inline v0
