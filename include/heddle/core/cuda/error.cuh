// SPDX-License-Identifier: BSD-3-Clause
// Calls of the CUDA run-time, checked; and the devices they are for.
#pragma once

#include <atomic>

#include <cuda_runtime.h>

#include <heddle/core/backend.hpp>

namespace heddle::inline v0::detail {

/// Whether an error has ended the process' use of CUDA: every later call gives it again.
constexpr bool is_sticky(cudaError_t code) noexcept {
  switch (code) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

/// Set by the first sticky error: from then on nothing is given back.
inline std::atomic<bool>& cuda_is_lost() noexcept {
  static constinit std::atomic<bool> lost{false};
  return lost;
}

[[noreturn]] HEDDLE_COLD inline void raise_cuda(cudaError_t code, const char* function) {
  if (is_sticky(code)) {
    cuda_is_lost().store(true, std::memory_order_relaxed);
    raise<cuda_error>("heddle::", function, ": CUDA says ", cudaGetErrorName(code), ": ",
                      cudaGetErrorString(code),
                      "; the process cannot use its CUDA devices any more: start it again");
  }
  static_cast<void>(cudaGetLastError());  // the next call is not to see this one's error
  raise<cuda_error>("heddle::", function, ": CUDA says ", cudaGetErrorName(code), ": ",
                    cudaGetErrorString(code));
}

inline void check_cuda(cudaError_t code, const char* function) {
  if (code != cudaSuccess) [[unlikely]]
    raise_cuda(code, function);
}

/// For releases, which cannot fail: notes that the devices are lost.
inline void note_cuda(cudaError_t code) noexcept {
  if (code == cudaSuccess) return;
  if (is_sticky(code)) {
    cuda_is_lost().store(true, std::memory_order_relaxed);
  } else {
    static_cast<void>(cudaGetLastError());
  }
}

/// Devices there are; a driver that is missing, too old or a stub means none.
inline int count_cuda_devices() noexcept {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaSuccess) return count < max_cuda_devices ? count : max_cuda_devices;
  static_cast<void>(cudaGetLastError());
  return 0;
}

/// Checks that a device is there. Throws device_error.
inline int present_index(device where, const char* function) {
  static constinit std::atomic<int> known{0};  // devices do not leave
  int count = known.load(std::memory_order_relaxed);
  if (count == 0) [[unlikely]] {
    count = count_cuda_devices();
    known.store(count, std::memory_order_relaxed);
  }
  if (where.index >= 0 && where.index < count) [[likely]]
    return where.index;
  if (count == 0) {
    raise<device_error>("heddle::", function, ": no CUDA device: ", where,
                        "; this machine has none, or no driver for it");
  }
  raise<device_error>("heddle::", function, ": there is no such device: ", where,
                      "; this machine has cuda:0 to cuda:", count - 1);
}

/// Makes a device the run-time's current one, for a scope of this thread.
class cuda_device_scope {
 public:
  explicit cuda_device_scope(int index, const char* function = "cuda") {
    check_cuda(cudaGetDevice(&before_), function);
    if (before_ == index) {
      before_ = -1;
    } else {
      check_cuda(cudaSetDevice(index), function);
    }
  }
  ~cuda_device_scope() {
    if (before_ >= 0) note_cuda(cudaSetDevice(before_));
  }
  cuda_device_scope(const cuda_device_scope&) = delete;
  cuda_device_scope& operator=(const cuda_device_scope&) = delete;

 private:
  int before_ = -1;
};

}  // namespace heddle::inline v0::detail
