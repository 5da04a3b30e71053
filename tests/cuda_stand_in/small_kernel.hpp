// SPDX-License-Identifier: BSD-3-Clause
// Kernels of a few lines for tests of the stand-in, launched as nvcc's stubs do, and owners of
// memory, streams and events.
#pragma once

#include <cmath>
#include <string>

#include "../support/cuda_stand_in/stand_in.hpp"
#include <cuda_runtime_api.h>

namespace small_kernel {

/// y[i] = x[i] + more; y and x may be one.
struct add_arguments {
  float* y;
  const float* x;
  float more;
  int count;
};
inline void add_body(const void* with, int blocks, int threads, std::size_t, std::uint64_t) {
  const add_arguments& a = *static_cast<const add_arguments*>(with);
  for (int b = 0; b < blocks; ++b) {
    for (int i = b * threads; i < (b + 1) * threads && i < a.count; ++i) a.y[i] = a.x[i] + a.more;
  }
}
inline void add_accesses(const void* with, int, void* context, stand_in::add_access add) {
  const add_arguments& a = *static_cast<const add_arguments*>(with);
  const auto bytes = static_cast<std::size_t>(a.count) * sizeof(float);
  add(context, a.x, bytes, stand_in::touch::read);
  add(context, a.y, bytes, stand_in::touch::written);
}

/// Adds 1, as atomic instructions do.
inline void count_body(const void* with, int, int, std::size_t, std::uint64_t) {
  ++**static_cast<float* const*>(with);
}
inline void count_accesses(const void* with, int, void* context, stand_in::add_access add) {
  add(context, *static_cast<float* const*>(with), sizeof(float), stand_in::touch::atomic);
}

inline const char add_stub = 0;
inline const char count_stub = 0;
inline const char unknown_stub = 0;

inline cudaError_t launch(const add_arguments& arguments, cudaStream_t stream, unsigned threads = 4,
                          const void* stub = &add_stub) {
  stand_in::register_kernel(&add_stub, {"add", sizeof arguments, 256, &add_body, &add_accesses});
  add_arguments local = arguments;
  void* pointers[] = {&local};
  const unsigned blocks = (static_cast<unsigned>(arguments.count) + threads - 1) / threads;
  const cudaError_t how = cudaLaunchKernel(stub, dim3(blocks), dim3(threads), pointers, 0, stream);
  local = {};  // the parameters have been copied
  return how;
}
inline cudaError_t launch_add(float* x, float more, int count, cudaStream_t stream) {
  return launch({x, x, more, count}, stream);
}
inline cudaError_t launch_copy(float* y, const float* x, int count, cudaStream_t stream) {
  return launch({y, x, 0, count}, stream);
}

inline cudaError_t launch_count(float* at, cudaStream_t stream) {
  stand_in::register_kernel(&count_stub, {"count", sizeof at, 32, &count_body, &count_accesses});
  void* pointers[] = {&at};
  return cudaLaunchKernel(&count_stub, dim3(1), dim3(1), pointers, 0, stream);
}

/// Whether a finding begins with these words.
inline bool found(const std::string& words) {
  for (const std::string& f : stand_in::findings()) {
    if (f.compare(0, words.size(), words) == 0) return true;
  }
  return false;
}

struct device_array {
  explicit device_array(std::size_t n) : count(n) {
    void* made = nullptr;
    if (cudaMalloc(&made, bytes()) == cudaSuccess) data = static_cast<float*>(made);
  }
  ~device_array() {
    cudaDeviceSynchronize();
    cudaFree(data);
  }
  device_array(const device_array&) = delete;
  device_array& operator=(const device_array&) = delete;
  std::size_t bytes() const { return count * sizeof(float); }

  std::size_t count;
  float* data = nullptr;
};

struct pinned_array {
  explicit pinned_array(std::size_t n) {
    void* made = nullptr;
    if (cudaMallocHost(&made, n * sizeof(float)) == cudaSuccess) data = static_cast<float*>(made);
  }
  ~pinned_array() {
    cudaDeviceSynchronize();
    cudaFreeHost(data);
  }
  pinned_array(const pinned_array&) = delete;
  pinned_array& operator=(const pinned_array&) = delete;

  float* data = nullptr;
};

struct stream_of_test {
  stream_of_test() { cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking); }
  ~stream_of_test() { cudaStreamDestroy(handle); }
  stream_of_test(const stream_of_test&) = delete;
  stream_of_test& operator=(const stream_of_test&) = delete;

  cudaStream_t handle = nullptr;
};

struct event_of_test {
  event_of_test() { cudaEventCreateWithFlags(&handle, cudaEventDisableTiming); }
  ~event_of_test() { cudaEventDestroy(handle); }
  event_of_test(const event_of_test&) = delete;
  event_of_test& operator=(const event_of_test&) = delete;

  cudaEvent_t handle = nullptr;
};

}  // namespace small_kernel
