// SPDX-License-Identifier: BSD-3-Clause
// Views of variables: as the functions of tensors of the same names.
#pragma once

#include <heddle/autograd/function.hpp>
#include <heddle/autograd/move.hpp>
#include <heddle/tensor/views.hpp>

namespace heddle::inline v0 {

namespace detail {

/// The axis that Axes puts at each place, inverted: permute<inverse...> undoes permute<Axes...>.
template <int... Axes>
struct inverse_order {
  static constexpr int rank = static_cast<int>(sizeof...(Axes));
  struct table {
    int at[rank + 1] = {};
  };
  static constexpr table values = [] {
    constexpr int axes[] = {Axes..., 0};
    table t;
    for (int i = 0; i < rank; ++i) t.at[axes[i] < 0 ? axes[i] + rank : axes[i]] = i;
    return t;
  }();
};
template <int... Axes, int... I, class X>
auto permute_back(const X& g, std::integer_sequence<int, I...>) {
  return permute<inverse_order<Axes...>::values.at[I]...>(g);
}

template <int Axis, class T, int Rank>
tensor<T, Rank> placed_in_zeros(const tensor<T, Rank>& x, const extents<Rank>& whole,
                                std::int64_t start);
template <int Axis, class T, int Rank>
variable<T, Rank> placed_in_zeros(const variable<T, Rank>& x, const extents<Rank>& whole,
                                  std::int64_t start);

}  // namespace detail

/// The last two axes exchanged.
template <class T, int Rank>
[[nodiscard]] variable<T, Rank> transpose(const variable<T, Rank>& x) {
  return record(
      x.value().transpose(), [](const auto& g) { return std::tuple{transpose(g)}; }, x);
}
/// Axes First and Second exchanged.
template <int First, int Second, class T, int Rank>
[[nodiscard]] variable<T, Rank> transpose(const variable<T, Rank>& x) {
  return record(
      transpose<First, Second>(x.value()),
      [](const auto& g) { return std::tuple{transpose<First, Second>(g)}; }, x);
}
/// Axis i of the result is axis Axes[i] of x.
template <int... Axes, class T, int Rank>
[[nodiscard]] variable<T, Rank> permute(const variable<T, Rank>& x) {
  return record(
      permute<Axes...>(x.value()),
      [](const auto& g) {
        return std::tuple{
            detail::permute_back<Axes...>(g, std::make_integer_sequence<int, Rank>{})};
      },
      x);
}
/// The same elements in row-major order under other extents; one may be -1, what is left.
template <class T, int Rank, int NewRank>
[[nodiscard]] variable<T, NewRank> reshape(const variable<T, Rank>& x, extents<NewRank> to) {
  return record(
      reshape(x.value(), to),
      [from = x.extents()](const auto& g) { return std::tuple{reshape(g, from)}; }, x);
}
template <class T, int Rank, std::size_t NewRank>
[[nodiscard]] auto reshape(const variable<T, Rank>& x, const std::int64_t (&to)[NewRank]) {
  return reshape(x, detail::listed(to));
}
/// Axes First to Last joined to one.
template <int First = 0, int Last = -1, class T, int Rank>
[[nodiscard]] auto flatten(const variable<T, Rank>& x) {
  return record(
      flatten<First, Last>(x.value()),
      [from = x.extents()](const auto& g) { return std::tuple{reshape(g, from)}; }, x);
}
/// Drops an axis of extent 1. Throws shape_error where the extent is another.
template <int Axis, class T, int Rank>
[[nodiscard]] variable<T, Rank - 1> squeeze(const variable<T, Rank>& x) {
  return record(
      squeeze<Axis>(x.value()),
      [from = x.extents()](const auto& g) { return std::tuple{reshape(g, from)}; }, x);
}

/// `length` indices of an axis from `start` on; a view. Throws index_error where they are not
/// there.
template <int Axis, class T, int Rank>
[[nodiscard]] tensor<T, Rank> narrow(const tensor<T, Rank>& x, std::int64_t start,
                                     std::int64_t length) {
  const std::int64_t extent = x.extent(Axis);
  if (start < 0 || length < 0 || start > extent - length) {
    raise<index_error>("heddle::narrow: the indices are not there: ", length, " from ", start,
                       " on, of axis ", Axis, " of ", x.extents(),
                       "; start and length are 0 or more");
  }
  return x.template slice<Axis>(start, start + length);
}
template <int Axis, class T, int Rank>
[[nodiscard]] variable<T, Rank> narrow(const variable<T, Rank>& x, std::int64_t start,
                                       std::int64_t length) {
  return record(
      narrow<Axis>(x.value(), start, length),
      [whole = x.extents(), start](const auto& g) {
        return std::tuple{detail::placed_in_zeros<Axis>(g, whole, start)};
      },
      x);
}
/// One index of an axis, which is dropped. Negative indices count from the end. Throws index_error.
template <int Axis, class T, int Rank>
[[nodiscard]] variable<T, Rank - 1> select(const variable<T, Rank>& x, std::int64_t index) {
  constexpr int axis = detail::checked_axis<Axis, Rank>();
  const std::int64_t at = detail::checked_index("select", index, axis, x.extents().data(), Rank);
  return squeeze<axis>(narrow<axis>(x, at, 1));
}

namespace detail {

template <int Axis, class T, int Rank>
tensor<T, Rank> placed_in_zeros(const tensor<T, Rank>& x, const extents<Rank>& whole,
                                std::int64_t start) {
  tensor<T, Rank> result = zeros<T, Rank>(whole, x.device());
  assign(narrow<Axis>(result, start, x.extent(Axis)), x);
  return result;
}
template <int Axis, class T, int Rank>
variable<T, Rank> placed_in_zeros(const variable<T, Rank>& x, const extents<Rank>& whole,
                                  std::int64_t start) {
  return record(
      placed_in_zeros<Axis>(x.value(), whole, start),
      [start, length = x.extent(Axis)](const auto& g) {
        return std::tuple{narrow<Axis>(g, start, length)};
      },
      x);
}

}  // namespace detail
}  // namespace heddle::inline v0
