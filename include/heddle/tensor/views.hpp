// SPDX-License-Identifier: BSD-3-Clause
// Views: tensors of other extents and strides over the same elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <heddle/core/error.hpp>
#include <heddle/core/extents.hpp>
#include <heddle/tensor/indexing.hpp>
#include <heddle/tensor/tensor.hpp>

namespace heddle::inline v0 {

namespace detail {

template <int NewRank, class T, int Rank>
tensor<T, NewRank> same_elements(const tensor<T, Rank>& x, const extents<NewRank>& extents,
                                 const strides<NewRank>& strides, std::int64_t offset = 0) {
  T* const data = x.data() == nullptr ? nullptr : x.data() + offset;
  return tensor<T, NewRank>(x.storage(), data, extents, strides);
}

/// Replaces the one -1 among `wanted` by what is left of `count`. Throws shape_error.
inline void infer_extent(const char* function, const std::int64_t* from, int from_rank,
                         std::int64_t* wanted, int rank) {
  std::int64_t count = 1;
  for (int axis = 0; axis < from_rank; ++axis) count *= from[axis];
  std::int64_t known = 1;
  int open = -1;
  bool valid = true;
  for (int axis = 0; axis < rank; ++axis) {
    if (wanted[axis] == -1 && open < 0) {
      open = axis;
    } else if (wanted[axis] < 0 || __builtin_mul_overflow(known, wanted[axis], &known)) {
      valid = false;
    }
  }
  if (valid && open >= 0) {
    // Any extent would do where there are no elements: PyTorch refuses this too.
    valid = known > 0 && count % known == 0;
    if (valid) wanted[open] = count / known;
  } else {
    valid = valid && known == count;
  }
  if (!valid) {
    raise<shape_error>("heddle::", function,
                       ": the extents do not fit: ", to_string(from, from_rank), " as ",
                       to_string(wanted, rank),
                       "; the number of elements stays the same, and one extent may be -1");
  }
}

/// The strides that give the elements new extents without a copy; false where there are none. The
/// number of elements is the same. As PyTorch's `view`: axes are split and joined where they lie
/// dense.
inline bool view_strides(const std::int64_t* extents, const std::int64_t* strides, int rank,
                         const std::int64_t* wanted, std::int64_t* result, int wanted_rank) {
  std::int64_t stride = 1;
  bool empty = false;
  for (int axis = wanted_rank - 1; axis >= 0; --axis) {
    result[axis] = stride;
    stride *= wanted[axis] > 1 ? wanted[axis] : 1;
    empty = empty || wanted[axis] == 0;
  }
  if (empty || rank == 0) return true;
  int place = wanted_rank - 1;
  // A run of axes that lie behind each other, from `inner` outwards, is filled by wanted axes.
  std::int64_t inner = strides[rank - 1], run = 1;
  for (int axis = rank - 1; axis >= 0; --axis) {
    run *= extents[axis];
    if (axis > 0 && (extents[axis - 1] == 1 || strides[axis - 1] == run * inner)) continue;
    std::int64_t filled = 1;
    while (place >= 0 && (filled < run || wanted[place] == 1)) {
      result[place] = filled * inner;
      filled *= wanted[place--];
    }
    if (filled != run) return false;
    if (axis > 0) inner = strides[axis - 1];
    run = 1;
  }
  return place < 0;
}

template <std::size_t Rank>
extents<static_cast<int>(Rank)> listed(const std::int64_t (&list)[Rank]) {
  extents<static_cast<int>(Rank)> result;
  for (std::size_t axis = 0; axis < Rank; ++axis) result[static_cast<int>(axis)] = list[axis];
  return result;
}

template <int... Axes>
constexpr bool is_permutation(int rank) {
  unsigned seen = 0;
  ((seen |= 1u << (Axes < 0 ? Axes + rank : Axes)), ...);
  return sizeof...(Axes) == static_cast<std::size_t>(rank) && seen == (1u << rank) - 1;
}

}  // namespace detail

/// The last two axes exchanged.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> transpose(const tensor<T, Rank>& x) {
  return x.transpose();
}

/// Axes First and Second exchanged.
template <int First, int Second, class T, int Rank>
[[nodiscard]] tensor<T, Rank> transpose(const tensor<T, Rank>& x) {
  constexpr int first = detail::checked_axis<First, Rank>();
  constexpr int second = detail::checked_axis<Second, Rank>();
  extents<Rank> extents = x.extents();
  strides<Rank> strides = x.strides();
  std::swap(extents[first], extents[second]);
  std::swap(strides[first], strides[second]);
  return detail::same_elements(x, extents, strides);
}

/// Axis i of the result is axis Axes[i] of x: `permute<0, 2, 3, 1>(x)` makes (N, H, W, C) of
/// (N, C, H, W).
template <int... Axes, class T, int Rank>
[[nodiscard]] tensor<T, Rank> permute(const tensor<T, Rank>& x) {
  static_assert(detail::is_permutation<Axes...>(Rank),
                "heddle::permute: the axes are no permutation; name each axis of the tensor once");
  constexpr int axes[] = {Axes..., 0};
  extents<Rank> extents;
  strides<Rank> strides;
  for (int axis = 0; axis < Rank; ++axis) {
    const int from = axes[axis] < 0 ? axes[axis] + Rank : axes[axis];
    extents[axis] = x.extents()[from];
    strides[axis] = x.strides()[from];
  }
  return detail::same_elements(x, extents, strides);
}

/// One index of an axis, which is dropped. Negative indices count from the end. Throws index_error.
template <int Axis, class T, int Rank>
[[nodiscard]] tensor<T, Rank - 1> select(const tensor<T, Rank>& x, std::int64_t index) {
  constexpr int axis = detail::checked_axis<Axis, Rank>();
  const std::int64_t position =
      detail::checked_index("select", index, axis, x.extents().data(), Rank);
  extents<Rank - 1> extents;
  strides<Rank - 1> strides;
  for (int i = 0; i < Rank - 1; ++i) {
    extents[i] = x.extents()[i < axis ? i : i + 1];
    strides[i] = x.strides()[i < axis ? i : i + 1];
  }
  return detail::same_elements(x, extents, strides, position * x.strides()[axis]);
}

/// Drops an axis of extent 1. Throws shape_error where the extent is another.
template <int Axis, class T, int Rank>
[[nodiscard]] tensor<T, Rank - 1> squeeze(const tensor<T, Rank>& x) {
  constexpr int axis = detail::checked_axis<Axis, Rank>();
  if (x.extents()[axis] != 1) {
    raise<shape_error>("heddle::squeeze: the axis is not of extent 1: axis ", axis, " of ",
                       x.extents(), "; drop an axis of extent 1, or select an index");
  }
  return select<axis>(x, 0);
}

/// The same elements in row-major order under other extents; one may be -1, what is left. A view.
/// Throws shape_error where the numbers of elements differ, or the strides allow no view.
template <class T, int Rank, int NewRank>
[[nodiscard]] tensor<T, NewRank> view(const tensor<T, Rank>& x, extents<NewRank> extents) {
  detail::infer_extent("view", x.extents().data(), Rank, extents.data(), NewRank);
  strides<NewRank> strides;
  if (!detail::view_strides(x.extents().data(), x.strides().data(), Rank, extents.data(),
                            strides.data(), NewRank)) {
    raise<shape_error>("heddle::view: no strides give these extents without a copy: ", x.extents(),
                       " with strides ", x.strides(), " as ", extents,
                       "; write reshape, which copies where it must");
  }
  return detail::same_elements(x, extents, strides);
}

/// As `view`, but a contiguous copy where the strides allow no view.
template <class T, int Rank, int NewRank>
[[nodiscard]] tensor<T, NewRank> reshape(const tensor<T, Rank>& x, extents<NewRank> extents) {
  detail::infer_extent("reshape", x.extents().data(), Rank, extents.data(), NewRank);
  strides<NewRank> strides;
  if (detail::view_strides(x.extents().data(), x.strides().data(), Rank, extents.data(),
                           strides.data(), NewRank)) {
    return detail::same_elements(x, extents, strides);
  }
  return detail::same_elements(x.clone(), extents, contiguous_strides(extents));
}

/// Axes First to Last joined to one: `flatten<1>(x)` makes (N, C·H·W) of (N, C, H, W). A view where
/// the strides allow one, otherwise a copy.
template <int First = 0, int Last = -1, class T, int Rank>
[[nodiscard]] auto flatten(const tensor<T, Rank>& x) {
  if constexpr (Rank == 0) {
    return reshape(x, extents<1>{1});
  } else {
    constexpr int first = detail::checked_axis<First, Rank>();
    constexpr int last = detail::checked_axis<Last, Rank>();
    static_assert(first <= last, "heddle::flatten: the first axis is behind the last");
    extents<Rank - (last - first)> extents;
    for (int axis = 0; axis < first; ++axis) extents[axis] = x.extents()[axis];
    extents[first] = 1;
    for (int axis = first; axis <= last; ++axis) extents[first] *= x.extents()[axis];
    for (int axis = last + 1; axis < Rank; ++axis) {
      extents[axis - (last - first)] = x.extents()[axis];
    }
    return reshape(x, extents);
  }
}

/// Repeats axes of extent 1, and new axes in front, without a copy (stride 0); -1 keeps an extent.
/// Throws shape_error where another extent differs. The result cannot be written.
template <class T, int Rank, int NewRank>
[[nodiscard]] tensor<T, NewRank> expand(const tensor<T, Rank>& x, extents<NewRank> extents) {
  static_assert(NewRank >= Rank, "heddle::expand: the result has fewer axes than the tensor");
  constexpr int ahead = NewRank - Rank;
  strides<NewRank> strides;
  for (int axis = 0; axis < NewRank; ++axis) {
    const bool is_new = axis < ahead;
    const std::int64_t extent = is_new ? 1 : x.extents()[axis - ahead];
    if (extents[axis] == -1 && !is_new) extents[axis] = extent;
    const bool kept = extents[axis] == extent && !is_new;
    if (extents[axis] < 0 || (extent != 1 && !kept)) {
      raise<shape_error>("heddle::expand: the extents do not fit: ", x.extents(), " to ", extents,
                         "; axes of extent 1 and new ones in front are repeated, -1 keeps an axis");
    }
    strides[axis] = kept ? x.strides()[axis - ahead] : 0;
  }
  return detail::same_elements(x, extents, strides);
}

// The same with the extents as a list, whose length is the rank: reshape(x, {2, -1}).

template <class T, int Rank, std::size_t NewRank>
[[nodiscard]] auto view(const tensor<T, Rank>& x, const std::int64_t (&extents)[NewRank]) {
  return view(x, detail::listed(extents));
}
template <class T, int Rank, std::size_t NewRank>
[[nodiscard]] auto reshape(const tensor<T, Rank>& x, const std::int64_t (&extents)[NewRank]) {
  return reshape(x, detail::listed(extents));
}
template <class T, int Rank, std::size_t NewRank>
[[nodiscard]] auto expand(const tensor<T, Rank>& x, const std::int64_t (&extents)[NewRank]) {
  return expand(x, detail::listed(extents));
}

}  // namespace heddle::inline v0
