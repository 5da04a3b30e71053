// SPDX-License-Identifier: BSD-3-Clause
// The seam to the algorithms of CUDA devices, which cuda/cub.cuh puts in place.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <heddle/core/device.hpp>
#include <heddle/core/dtype.hpp>
#include <heddle/core/memory.hpp>

namespace heddle::inline v0::algorithm {

/// Contiguous elements in a device's memory.
struct device_elements {
  storage* memory = nullptr;
  std::byte* data = nullptr;
};

/// Rows one behind the other: `count` of `length` elements. Neither is 0.
struct dense_rows {
  std::int64_t count = 1;
  std::int64_t length = 1;
};

/// Functions of each dtype, by its number. They work on the device's current stream.
struct cuda_algorithms {
  /// x and values: rows of the dtype; indices: i64, the places within the rows.
  using sort_function = void (*)(const device_elements& x, const device_elements& values,
                                 const device_elements& indices, dense_rows rows, bool descending,
                                 device where);
  /// x: rows of the dtype; sums: rows of its `cumsum_type`.
  using scan_function = void (*)(const device_elements& x, const device_elements& sums,
                                 dense_rows rows, bool exclusive, device where);
  /// x and values: `count` elements of the dtype, count above 0; inverse and counts: i64. Waits,
  /// and returns how many elements of values and counts it wrote.
  using unique_function = std::int64_t (*)(const device_elements& x, const device_elements& values,
                                           const device_elements& inverse,
                                           const device_elements& counts, std::int64_t count,
                                           device where);

  sort_function sort[dtype_count];
  scan_function scan[dtype_count];
  unique_function unique[dtype_count];
};

/// Null where no unit of the program includes heddle/algorithm/cuda/cub.cuh: the functions then
/// work on a copy of their operand on the host.
inline constinit std::atomic<const cuda_algorithms*> cuda_algorithms_in_place{nullptr};

inline const cuda_algorithms* device_algorithms() noexcept {
  return cuda_algorithms_in_place.load(std::memory_order_acquire);
}

}  // namespace heddle::inline v0::algorithm
