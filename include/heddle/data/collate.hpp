// SPDX-License-Identifier: BSD-3-Clause
// Batches of samples: tensors stacked along a new first axis.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <heddle/core/dtype.hpp>
#include <heddle/core/error.hpp>
#include <heddle/core/extents.hpp>
#include <heddle/tensor/copy.hpp>
#include <heddle/tensor/tensor.hpp>

namespace heddle::inline v0 {

namespace detail {

/// Rows of x chosen by index into a new tensor on cpu().
template <class T, int Rank>
tensor<T, Rank> gather_rows(const tensor<T, Rank>& x, const std::int64_t* rows,
                            std::int64_t count) {
  make_readable(x.storage().get(), "loader");
  extents<Rank> extents = x.extents();
  const std::int64_t available = extents[0];
  extents[0] = count;
  auto result = tensor<T, Rank>::allocate(extents, cpu());
  extents[0] = 1;
  const std::int64_t row_elements = element_count(extents);
  extents[0] = 2;  // so that the distance between rows counts
  strides<Rank> strides = x.strides();
  strides[0] = row_elements;
  const bool rows_are_contiguous = is_contiguous(extents, strides);
  extents[0] = 1;
  const auto row_bytes = static_cast<std::size_t>(row_elements) * sizeof(T);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t row = rows[i];
    if (row < 0 || row >= available) {
      raise<index_error>("heddle::loader: a sample's index is outside of the dataset: ", row,
                         " of ", available, " samples; indices are 0 to ", available - 1);
    }
    if (row_bytes == 0) continue;
    T* const to = result.data() + i * row_elements;
    const T* const from = x.data() + row * x.strides()[0];
    if (rows_are_contiguous) {
      std::memcpy(to, from, row_bytes);
    } else {
      strided_copy(reinterpret_cast<std::byte*>(to), result.strides().data(),
                   reinterpret_cast<const std::byte*>(from), x.strides().data(), extents.data(),
                   Rank, sizeof(T));
    }
  }
  return result;
}

}  // namespace detail

/// Stacks tensors of the same extents along a new first axis: (samples, …), on cpu().
/// Throws shape_error where extents differ, value_error where there is no sample.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank + 1> collate(const std::vector<tensor<T, Rank>>& samples) {
  if (samples.empty()) {
    raise<value_error>("heddle::collate: there is no sample; a batch holds at least one");
  }
  const extents<Rank>& first = samples[0].extents();
  extents<Rank + 1> extents;
  extents[0] = static_cast<std::int64_t>(samples.size());
  for (int axis = 0; axis < Rank; ++axis) extents[axis + 1] = first[axis];
  auto result = tensor<T, Rank + 1>::allocate(extents, cpu());
  std::int64_t offset = 0;
  for (const tensor<T, Rank>& sample : samples) {
    if (sample.extents() != first) {
      raise<shape_error>(
          "heddle::collate: samples of one batch differ in their extents: ", sample.extents(),
          " after ", first, "; give all the same, or write collate");
    }
    detail::make_readable(sample.storage().get(), "collate");
    const auto packed = contiguous_strides(first);
    detail::strided_copy(reinterpret_cast<std::byte*>(result.data() + offset), packed.data(),
                         reinterpret_cast<const std::byte*>(sample.data()), sample.strides().data(),
                         first.data(), Rank, sizeof(T));
    offset += sample.size();
  }
  return result;
}

/// Numbers of an element type make a tensor (samples).
template <element T>
[[nodiscard]] tensor<T, 1> collate(const std::vector<T>& samples) {
  auto result = tensor<T, 1>::allocate({static_cast<std::int64_t>(samples.size())}, cpu());
  T* place = result.data();
  for (const T sample : samples) *place++ = sample;
  return result;
}

/// Tuples make a tuple of what their members make. For samples of a type of your own, write a
/// function `collate(const std::vector<sample>&)` in its namespace.
template <class... Members>
[[nodiscard]] auto collate(const std::vector<std::tuple<Members...>>& samples) {
  const auto member = [&]<std::size_t I>(std::integral_constant<std::size_t, I>) {
    std::vector<std::tuple_element_t<I, std::tuple<Members...>>> column;
    column.reserve(samples.size());
    for (const auto& sample : samples) column.push_back(std::get<I>(sample));
    return collate(column);
  };
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return std::tuple(member(std::integral_constant<std::size_t, I>())...);
  }
  (std::index_sequence_for<Members...>());
}

}  // namespace heddle::inline v0
