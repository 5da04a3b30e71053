// SPDX-License-Identifier: BSD-3-Clause
// sort and argsort: the elements along an axis in order, and where they were.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <heddle/algorithm/keys.hpp>
#include <heddle/algorithm/rows.hpp>

namespace heddle::inline v0 {

/// How `sort` and `argsort` order. Equal elements keep their order whether `stable` asks for it or
/// not.
struct sort_options {
  bool descending = false;  ///< largest first; NaN, the largest, in front
  bool stable = false;      ///< PyTorch's option; changes nothing
};

/// Elements, and their indices along the axis they were taken from.
template <class T, int Rank>
struct sort_result {
  tensor<T, Rank> values;              ///< in their new order
  tensor<std::int64_t, Rank> indices;  ///< where along the axis each was, from 0
};

namespace algorithm::detail {

/// One element of a row on its way into order.
template <class T>
struct sort_entry {
  key_type<T> key;
  std::int64_t index;

  /// By the key, then by the place in the row.
  friend bool operator<(const sort_entry& a, const sort_entry& b) noexcept {
    return a.key != b.key ? a.key < b.key : a.index < b.index;
  }
};

template <class T>
void read_entries(std::vector<sort_entry<T>>& entries, const T* row, std::int64_t step,
                  bool descending) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    entries[i] = {sort_key(row[index * step], descending), index};
  }
}

/// Writes the values and indices of the first `count` entries.
template <class T>
void write_entries(const std::vector<sort_entry<T>>& entries, std::int64_t count, const T* row,
                   std::int64_t step, T* values, std::int64_t* indices, std::int64_t to_step) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t index = entries[static_cast<std::size_t>(i)].index;
    values[i * to_step] = row[index * step];
    indices[i * to_step] = index;
  }
}

template <class Configuration, class T>
void sort_rows(const row_map& rows, const T* x, T* values, std::int64_t* indices, bool descending) {
  for_rows<Configuration>(rows, [&](std::int64_t first, std::int64_t last) {
    std::vector<sort_entry<T>> entries(static_cast<std::size_t>(rows.length()));
    for (std::int64_t row = first; row < last; ++row) {
      const auto at = rows[row];
      read_entries(entries, x + at.from, rows.from_step(), descending);
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto& a, const auto& b) { return a.key < b.key; });
      write_entries(entries, rows.length(), x + at.from, rows.from_step(), values + at.to,
                    indices + at.to, rows.to_step());
    }
  });
}

template <int Axis, class T, int Rank>
sort_result<T, Rank> sort_on_cuda(const cuda_algorithms& algorithms, const tensor<T, Rank>& x,
                                  bool descending) {
  const tensor<T, Rank> dense = with_axis_last<Axis>(x);
  auto values = tensor<T, Rank>::allocate(dense.extents(), x.device());
  auto indices = tensor<std::int64_t, Rank>::allocate(dense.extents(), x.device());
  algorithms.sort[static_cast<int>(dtype_of<T>)](elements_of(dense), elements_of(values),
                                                 elements_of(indices), rows_of(dense), descending,
                                                 x.device());
  return {with_axis_last<Axis>(values), with_axis_last<Axis>(indices)};
}

template <int Axis, class Configuration, class T, int Rank>
sort_result<T, Rank> sort_tensor(const tensor<T, Rank>& x, bool descending) {
  const device where = x.device();
  if (where.is_cuda() && x.size() > 0) {
    if (const cuda_algorithms* found = device_algorithms()) {
      record("sort", 2 * bytes_of(x) + 8 * x.size(), where);
      return sort_on_cuda<Axis>(*found, x, descending);
    }
    const auto made = sort_tensor<Axis, Configuration>(x.to(cpu()), descending);
    return {made.values.to(where), made.indices.to(where)};
  }
  sort_result<T, Rank> made{tensor<T, Rank>::allocate(x.extents(), where),
                            tensor<std::int64_t, Rank>::allocate(x.extents(), where)};
  if (where.is_meta() || x.size() == 0) return made;
  record("sort", bytes_of(x) + bytes_of(made.values) + bytes_of(made.indices), where);
  const row_map rows(x.extents(), x.strides(), made.values.strides(), Axis);
  current_stream(where).enqueue([rows, x, made, descending] {
    sort_rows<Configuration>(rows, x.data(), made.values.data(), made.indices.data(), descending);
  });
  return made;
}

}  // namespace algorithm::detail

/// The elements of x along an axis in ascending order, or descending, as torch.sort: values and
/// their indices, both of x's extents, contiguous on x's device. x: any dtype, rank 1 to 8; a
/// tensor, or an expression, which is evaluated. No gradients: of a variable, the values are
/// sorted.
///
/// NaN is larger than any number; all NaNs are equal, as are -0 and +0, and equal elements keep
/// their order. Values are copied, so that a -0 or a NaN stays the bits it was. On CUDA devices see
/// heddle/algorithm/cuda/cub.cuh: without it the elements are sorted on the host.
/// Throws state_error for an undefined tensor, out_of_memory.
template <int Axis = -1, class E, class Configuration = configuration>
requires expression<E>
[[nodiscard]] sort_result<type_of<E::type>, E::rank> sort(const E& x, sort_options options = {}) {
  constexpr int axis = detail::checked_axis<Axis, E::rank>();
  return algorithm::detail::sort_tensor<axis, Configuration>(
      algorithm::detail::values_of<Configuration>(x), options.descending);
}

/// The indices that sort x along an axis, i64, of x's extents, as torch.argsort: see `sort`.
template <int Axis = -1, class E, class Configuration = configuration>
requires expression<E>
[[nodiscard]] tensor<std::int64_t, E::rank> argsort(const E& x, sort_options options = {}) {
  return sort<Axis, E, Configuration>(x, options).indices;
}

}  // namespace heddle::inline v0
