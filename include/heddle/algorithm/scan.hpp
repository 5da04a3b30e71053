// SPDX-License-Identifier: BSD-3-Clause
// cumsum and exclusive_cumsum: the sums of the elements up to each, along an axis.
#pragma once

#include <cstdint>
#include <type_traits>

#include <heddle/algorithm/rows.hpp>

namespace heddle::inline v0 {

/// The element type of sums of T, as torch.cumsum: T where it is floating, otherwise i64.
template <class T>
using cumsum_type = std::conditional_t<is_floating(dtype_of<T>), T, std::int64_t>;

namespace algorithm {

/// What sums of T are kept in on the way: double, float for the 16-bit types, and 64 bits that wrap
/// around for integers and bool.
template <class T>
using running_type = std::conditional_t<!is_floating(dtype_of<T>), std::uint64_t,
                                        std::conditional_t<sizeof(T) == 2, float, double>>;

}  // namespace algorithm

namespace algorithm::detail {

/// Rows are summed some at a time: neighbours share cache lines where the axis is not the last, and
/// the sums do not wait for each other.
template <class T>
void scan_rows(const row_map& rows, std::int64_t first, std::int64_t last, const T* x,
               cumsum_type<T>* sums, bool exclusive) {
  constexpr int most = 16;
  const T* from[most];
  cumsum_type<T>* to[most];
  for (std::int64_t row = first; row < last; row += most) {
    const int group = last - row < most ? static_cast<int>(last - row) : most;
    running_type<T> running[most] = {};
    for (int i = 0; i < group; ++i) {
      const auto at = rows[row + i];
      from[i] = x + at.from;
      to[i] = sums + at.to;
    }
    for (std::int64_t k = 0; k < rows.length(); ++k) {
      for (int i = 0; i < group; ++i) {
        const running_type<T> before = running[i];
        running[i] += static_cast<running_type<T>>(from[i][k * rows.from_step()]);
        to[i][k * rows.to_step()] = static_cast<cumsum_type<T>>(exclusive ? before : running[i]);
      }
    }
  }
}

template <int Axis, class Configuration, class T, int Rank>
tensor<cumsum_type<T>, Rank> scan_tensor(const char* name, const tensor<T, Rank>& x,
                                         bool exclusive) {
  using result = tensor<cumsum_type<T>, Rank>;
  const device where = x.device();
  if (where.is_cuda() && x.size() > 0) {
    const cuda_algorithms* const found = device_algorithms();
    if (found == nullptr) {
      return scan_tensor<Axis, Configuration>(name, x.to(cpu()), exclusive).to(where);
    }
    const tensor<T, Rank> dense = with_axis_last<Axis>(x);
    const result sums = result::allocate(dense.extents(), where);
    record(name, bytes_of(x) + bytes_of(sums), where);
    found->scan[static_cast<int>(dtype_of<T>)](elements_of(dense), elements_of(sums),
                                               rows_of(dense), exclusive, where);
    return with_axis_last<Axis>(sums);
  }
  const result sums = result::allocate(x.extents(), where);
  if (where.is_meta() || x.size() == 0) return sums;
  record(name, bytes_of(x) + bytes_of(sums), where);
  const row_map rows(x.extents(), x.strides(), sums.strides(), Axis);
  current_stream(where).enqueue([rows, x, sums, exclusive] {
    for_rows<Configuration>(rows, [&](std::int64_t first, std::int64_t last) {
      scan_rows(rows, first, last, x.data(), sums.data(), exclusive);
    });
  });
  return sums;
}

}  // namespace algorithm::detail

/// Element i along an axis is x_0 + … + x_i, as torch.cumsum; x's extents, contiguous on x's
/// device. x: any dtype, rank 1 to 8; a tensor, or an expression, which is evaluated (of a
/// variable, the values; no gradients). Floating dtypes stay, integers and bool are summed in i64,
/// which wraps around. Sums of f32 and f64 are kept in double, of f16 and bf16 in float, and
/// rounded for each element; their order is fixed, so that results are the same bits from run to
/// run. On CUDA devices see heddle/algorithm/cuda/cub.cuh. Throws state_error for an undefined
/// tensor, out_of_memory.
template <int Axis = -1, class E, class Configuration = configuration>
requires expression<E>
[[nodiscard]] tensor<cumsum_type<type_of<E::type>>, E::rank> cumsum(const E& x) {
  constexpr int axis = detail::checked_axis<Axis, E::rank>();
  return algorithm::detail::scan_tensor<axis, Configuration>(
      "cumsum", algorithm::detail::values_of<Configuration>(x), false);
}

/// Element i along an axis is x_0 + … + x_{i-1}, and the first is 0: counts become offsets.
/// Otherwise as `cumsum`.
template <int Axis = -1, class E, class Configuration = configuration>
requires expression<E>
[[nodiscard]] tensor<cumsum_type<type_of<E::type>>, E::rank> exclusive_cumsum(const E& x) {
  constexpr int axis = detail::checked_axis<Axis, E::rank>();
  return algorithm::detail::scan_tensor<axis, Configuration>(
      "exclusive_cumsum", algorithm::detail::values_of<Configuration>(x), true);
}

}  // namespace heddle::inline v0
