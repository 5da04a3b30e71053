// SPDX-License-Identifier: BSD-3-Clause
// topk: the largest or smallest elements along an axis, and where they were.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <heddle/algorithm/sort.hpp>

namespace heddle::inline v0 {

/// Which elements `topk` takes, and whether it hands them out in order, the first of it in front.
struct topk_options {
  bool largest = true;  ///< otherwise the smallest
  bool sorted = true;   ///< otherwise in any order
};

namespace algorithm::detail {

template <class Configuration, class T>
void select_rows(const row_map& rows, std::int64_t k, const T* x, T* values, std::int64_t* indices,
                 topk_options options) {
  for_rows<Configuration>(rows, [&](std::int64_t first, std::int64_t last) {
    std::vector<sort_entry<T>> entries(static_cast<std::size_t>(rows.length()));
    const auto chosen = entries.begin() + k;
    for (std::int64_t row = first; row < last; ++row) {
      const auto at = rows[row];
      read_entries(entries, x + at.from, rows.from_step(), options.largest);
      if (k < rows.length()) std::nth_element(entries.begin(), chosen, entries.end());
      if (options.sorted) std::sort(entries.begin(), chosen);
      write_entries(entries, k, x + at.from, rows.from_step(), values + at.to, indices + at.to,
                    rows.to_step());
    }
  });
}

template <int Axis, class Configuration, class T, int Rank>
sort_result<T, Rank> topk_tensor(const tensor<T, Rank>& x, std::int64_t k, topk_options options) {
  const device where = x.device();
  extents<Rank> taken = x.extents();
  if (k < 0 || k > taken[Axis]) {
    raise<value_error>("heddle::topk: k is outside of the axis: ", k, " on axis ", Axis, " of ",
                       x.extents(), "; it is 0 to ", taken[Axis]);
  }
  taken[Axis] = k;
  if (where.is_cuda() && element_count(taken) > 0) {
    if (device_algorithms() != nullptr) {
      const auto all = sort_tensor<Axis, Configuration>(x, options.largest);
      return {all.values.template slice<Axis>(0, k).clone(),
              all.indices.template slice<Axis>(0, k).clone()};
    }
    const auto made = topk_tensor<Axis, Configuration>(x.to(cpu()), k, options);
    return {made.values.to(where), made.indices.to(where)};
  }
  sort_result<T, Rank> made{tensor<T, Rank>::allocate(taken, where),
                            tensor<std::int64_t, Rank>::allocate(taken, where)};
  if (where.is_meta() || made.values.size() == 0) return made;
  record("topk", bytes_of(x) + bytes_of(made.values) + bytes_of(made.indices), where);
  const row_map rows(x.extents(), x.strides(), made.values.strides(), Axis);
  current_stream(where).enqueue([rows, k, x, made, options] {
    select_rows<Configuration>(rows, k, x.data(), made.values.data(), made.indices.data(), options);
  });
  return made;
}

}  // namespace algorithm::detail

/// The k largest elements of x along an axis, or the smallest, as torch.topk: values and their
/// indices, of x's extents but k along the axis, contiguous on x's device. x: any dtype, rank 1 to
/// 8; a tensor, or an expression, which is evaluated (of a variable, the values; no gradients). The
/// order is that of `sort`: NaN is largest, and of equal elements the first ones are taken.
/// Throws value_error unless 0 <= k <= the axis' extent; state_error, out_of_memory.
template <int Axis = -1, class E, class Configuration = configuration>
requires expression<E>
[[nodiscard]] sort_result<type_of<E::type>, E::rank> topk(const E& x, std::int64_t k,
                                                          topk_options options = {}) {
  constexpr int axis = detail::checked_axis<Axis, E::rank>();
  return algorithm::detail::topk_tensor<axis, Configuration>(
      algorithm::detail::values_of<Configuration>(x), k, options);
}

}  // namespace heddle::inline v0
