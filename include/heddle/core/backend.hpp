// SPDX-License-Identifier: BSD-3-Clause
// The seam to the CUDA backend: what it does for core/, as a table of functions. A unit that nvcc
// compiles puts the table in place when the program starts; units of other compilers reach the
// devices through it. A program without such a unit has no CUDA devices.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <heddle/core/device.hpp>
#include <heddle/core/stream_state.hpp>

namespace heddle::inline v0 {

class storage;

namespace detail {
class graph_capture;
}

/// CUDA devices that a process may use: cuda(0) to cuda(63).
inline constexpr int max_cuda_devices = 64;

namespace detail {

struct cuda_services {
  int (*device_count)();
  handle<stream_state> (*new_stream)(device where);
  handle<stream_state> (*default_stream)(device where);
  handle<stream_state> (*adopt_stream)(device where, void* native);
  handle<storage> (*allocate)(std::size_t bytes, device where);
  handle<graph_capture> (*new_capture)(device where);
  memory_statistics (*memory)(device where);
  void (*reset_peak)(device where);
  void (*empty_cache)(device where);
  bool (*ranges_are_read)() noexcept;  ///< whether a profiler shows named ranges
  void (*push_range)(const char* name) noexcept;
  void (*pop_range)() noexcept;
};

inline constinit std::atomic<const cuda_services*> cuda_services_in_place{nullptr};

/// The table; throws device_error where no unit of the program has been compiled by nvcc.
inline const cuda_services& cuda_backend(device where, const char* function) {
  const cuda_services* found = cuda_services_in_place.load(std::memory_order_acquire);
  if (found == nullptr) [[unlikely]] {
    raise<device_error>("heddle::", function,
                        ": this program is built without the device's backend: ", where,
                        "; devices here are cpu(), cpu(i) and meta(); compile a unit with nvcc");
  }
  return *found;
}

inline int cuda_index(device where, const char* function) {
  if (where.index < 0 || where.index >= max_cuda_devices) [[unlikely]] {
    raise<device_error>("heddle::", function, ": there is no such device: ", where,
                        "; heddle uses cuda:0 to cuda:", max_cuda_devices - 1);
  }
  return where.index;
}

}  // namespace detail

/// The CUDA devices of this machine that the program can use; 0 without a driver or a unit that
/// nvcc compiled.
[[nodiscard]] inline int cuda_device_count() {
  const detail::cuda_services* found =
      detail::cuda_services_in_place.load(std::memory_order_acquire);
  return found != nullptr ? found->device_count() : 0;
}

}  // namespace heddle::inline v0
