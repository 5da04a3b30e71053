// SPDX-License-Identifier: BSD-3-Clause
// Faults planted in the stand-in come out where they are planted, once or for good.
#include <vector>

#include "../support/cuda_stand_in/stand_in.hpp"
#include "small_kernel.hpp"
#include <doctest/doctest.h>

using namespace small_kernel;

namespace {

/// A program that stops at the first error and releases what it has: what it answers.
cudaError_t careful_program() {
  cudaStream_t stream = nullptr;
  void* memory = nullptr;
  void* pinned = nullptr;
  const auto run = [&] {
    for (const auto& step : std::vector<cudaError_t (*)(cudaStream_t*, void**, void**)>{
             [](cudaStream_t*s, void**, void**) {
               return cudaStreamCreateWithFlags(s, cudaStreamNonBlocking);
             },
             [](cudaStream_t*s, void**m, void**) { return cudaMallocAsync(m, 64, *s); },
             [](cudaStream_t*, void**, void**p) { return cudaMallocHost(p, 64); },
             [](cudaStream_t*s, void**m, void**) { return cudaMemsetAsync(*m, 0, 64, *s); },
             [](cudaStream_t*s, void**m, void**) {
               return launch_add(static_cast<float*>(*m), 1, 16, *s);
             },
             [](cudaStream_t*s, void**m, void**p) {
               return cudaMemcpyAsync(*p, *m, 64, cudaMemcpyDeviceToHost, *s);
             }}) {
      if (const cudaError_t how = step(&stream, &memory, &pinned); how != cudaSuccess) return how;
    }
    return cudaStreamSynchronize(stream);
  };
  const cudaError_t how = run();
  if (how != cudaSuccess && stream != nullptr) cudaStreamSynchronize(stream);
  if (memory != nullptr) cudaFreeAsync(memory, stream);
  if (pinned != nullptr) cudaFreeHost(pinned);
  if (stream != nullptr) cudaStreamDestroy(stream);
  return how;
}

bool nothing_lives() {
  return stand_in::live_allocations().empty() && stand_in::live_streams().empty() &&
         stand_in::live_events().empty();
}

}  // namespace

TEST_CASE("call k fails for every k, and a careful program leaves nothing behind") {
  for (const cudaError_t planted :
       {cudaErrorMemoryAllocation, cudaErrorUnknown, cudaErrorLaunchFailure}) {
    stand_in::reset();
    REQUIRE(careful_program() == cudaSuccess);
    const std::uint64_t calls = stand_in::calls();
    CHECK(calls == 7);
    CHECK(stand_in::allocations() == 2);
    CHECK(stand_in::launches() == 1);
    for (std::uint64_t k = 1; k <= calls + 1; ++k) {
      stand_in::recover();
      stand_in::fail_call(k, planted);
      CHECK(careful_program() == (k <= calls ? planted : cudaSuccess));
      CHECK(nothing_lives());
      CHECK(stand_in::findings() == std::vector<std::string>{});
    }
  }
}

TEST_CASE("allocation k fails for every k") {
  stand_in::reset();
  for (std::uint64_t k = 1; k <= 3; ++k) {
    stand_in::recover();
    stand_in::reset_counters();
    stand_in::fail_allocation(k);
    CHECK(careful_program() == (k <= 2 ? cudaErrorMemoryAllocation : cudaSuccess));
    CHECK(stand_in::allocations() == (k < 2 ? 1 : 2));
    CHECK(nothing_lives());
  }
}

TEST_CASE("the last error is kept until it is asked for; success does not clear it") {
  stand_in::reset();
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaSetDevice(7) == cudaErrorInvalidDevice);
  CHECK(cudaSetDevice(0) == cudaSuccess);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(std::string(cudaGetErrorName(cudaErrorInvalidDevice)) == "cudaErrorInvalidDevice");
  CHECK(std::string(cudaGetErrorString(cudaErrorInvalidDevice)) == "invalid device ordinal");
}

TEST_CASE("a sticky error is the answer to every call, and nothing queued runs") {
  stand_in::reset();
  stream_of_test s;
  pinned_array x(4);
  *x.data = 1;
  cudaMemsetAsync(x.data, 0, 16, s.handle);
  stand_in::fail_call(1, cudaErrorIllegalAddress);
  CHECK(cudaSetDevice(0) == cudaErrorIllegalAddress);
  CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
  CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
  CHECK(cudaStreamSynchronize(s.handle) == cudaErrorIllegalAddress);
  CHECK(stand_in::queued() == 0);
  CHECK(*x.data == 1);
  stand_in::recover();
  CHECK(cudaPeekAtLastError() == cudaSuccess);
  CHECK(cudaStreamSynchronize(s.handle) == cudaSuccess);
}

TEST_CASE("an error of a kernel comes out when something waits for it") {
  stand_in::reset();
  stream_of_test s;
  device_array x(8);
  stand_in::fail_kernel(2, cudaErrorIllegalAddress);
  CHECK(launch_add(x.data, 1, 8, s.handle) == cudaSuccess);
  CHECK(launch_add(x.data, 1, 8, s.handle) == cudaSuccess);
  CHECK(cudaStreamSynchronize(s.handle) == cudaErrorIllegalAddress);
  stand_in::recover();
}

TEST_CASE("there is no more memory than the device has; what a free gives back depends on order") {
  stand_in::reset();
  stand_in::set_capacity(0, 1000);
  stream_of_test a;
  stream_of_test b;
  void* x = nullptr;
  void* y = nullptr;
  CHECK(cudaMalloc(&x, 1001) == cudaErrorMemoryAllocation);
  CHECK(cudaMallocAsync(&x, 600, a.handle) == cudaSuccess);
  std::size_t free = 0;
  std::size_t total = 0;
  CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess);
  CHECK(free == 400);
  CHECK(total == 1000);
  CHECK(cudaMallocAsync(&y, 600, a.handle) == cudaErrorMemoryAllocation);
  CHECK(cudaFreeAsync(x, a.handle) == cudaSuccess);
  CHECK(cudaMallocAsync(&y, 600, b.handle) == cudaErrorMemoryAllocation);  // has not happened there
  CHECK(cudaMallocAsync(&y, 600, a.handle) == cudaSuccess);
  CHECK(cudaFreeAsync(y, a.handle) == cudaSuccess);
  cudaStreamSynchronize(a.handle);
  CHECK(cudaMalloc(&x, 1000) == cudaSuccess);
  cudaSetDevice(1);
  CHECK(cudaMalloc(&y, 1001) == cudaSuccess);
  CHECK(cudaFree(x) == cudaSuccess);
  CHECK(cudaFree(y) == cudaSuccess);
  cudaSetDevice(0);
  CHECK(stand_in::findings().empty());
}

TEST_CASE("no driver, a stub library and no device answer as the runtime does") {
  stand_in::reset();
  for (const cudaError_t why :
       {cudaErrorInsufficientDriver, cudaErrorStubLibrary, cudaErrorNoDevice}) {
    stand_in::no_device(why);
    int count = 3;
    CHECK(cudaGetDeviceCount(&count) == why);
    CHECK(count == 0);
    void* memory = nullptr;
    CHECK(cudaMalloc(&memory, 8) == why);
  }
  stand_in::no_device(cudaSuccess);
  int count = 0;
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
  CHECK(count == 2);
  stand_in::reset();
}
