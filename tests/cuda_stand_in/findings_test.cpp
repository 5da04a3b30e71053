// SPDX-License-Identifier: BSD-3-Clause
// Each kind of finding of the stand-in is provoked and seen; what is legal is none.
#include <array>
#include <unistd.h>
#include <vector>

#include "../support/cuda_stand_in/device_memory.hpp"
#include "../support/cuda_stand_in/stand_in.hpp"
#include "small_kernel.hpp"
#include <doctest/doctest.h>

using namespace small_kernel;
using stand_in::findings;

namespace {

void* allocate(std::size_t bytes, cudaStream_t stream) {
  void* memory = nullptr;
  REQUIRE(cudaMallocAsync(&memory, bytes, stream) == cudaSuccess);
  return memory;
}

}  // namespace

TEST_CASE("two writes without order are a race in every interleaving, eager too") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    stand_in::reset();
    if (seed == 0) stand_in::set_order(stand_in::order::eager);
    stand_in::set_seed(seed);
    stream_of_test a;
    stream_of_test b;
    device_array x(8);
    launch_add(x.data, 1, 8, a.handle);
    launch_add(x.data, 1, 8, b.handle);
    REQUIRE(findings().size() == 2);  // the second reads and writes
    CHECK(findings()[0] ==
          "race: #2 kernel add (stream 2 of device 0) reads allocation 1 (32 bytes, cudaMalloc, "
          "device 0), which #1 kernel add (stream 1 of device 0) writes too, and does not wait for "
          "it");
  }
}

TEST_CASE("a write after a read is a race; two reads, and two parts, are none") {
  stand_in::reset();
  stream_of_test a;
  stream_of_test b;
  device_array x(16);
  device_array y(8);
  device_array z(8);
  cudaMemset(x.data, 0, x.bytes());
  cudaDeviceSynchronize();
  launch_copy(y.data, x.data, 8, a.handle);
  launch_copy(z.data, x.data, 8, b.handle);
  launch_add(x.data + 8, 1, 8, b.handle);
  CHECK(findings().empty());
  launch_add(x.data, 1, 8, b.handle);
  CHECK(
      found("race: #5 kernel add (stream 2 of device 0) writes allocation 1 (64 bytes, "
            "cudaMalloc, device 0), which #2 kernel add (stream 1 of device 0) reads"));
}

TEST_CASE("a read that comes after a write does not stand for it") {
  stand_in::reset();
  stream_of_test a;
  stream_of_test b;
  device_array x(8);
  device_array y(8);
  cudaMemsetAsync(x.data, 0, x.bytes(), a.handle);
  launch_copy(y.data, x.data, 8, a.handle);
  stand_in::recover();
  device_array z(8);
  launch_copy(z.data, x.data, 8, b.handle);
  REQUIRE(findings().size() == 1);
  CHECK(
      found("race: #3 kernel add (stream 2 of device 0) reads allocation 1 (32 bytes, cudaMalloc, "
            "device 0), which #1 fill of 32 bytes"));
}

TEST_CASE("synchronising with the host orders streams, and an event recorded too early does not") {
  stand_in::reset();
  stream_of_test a;
  stream_of_test b;
  event_of_test early;
  device_array x(8);
  cudaEventRecord(early.handle, a.handle);
  cudaMemsetAsync(x.data, 0, x.bytes(), a.handle);
  cudaStreamSynchronize(a.handle);
  cudaMemsetAsync(x.data, 0, x.bytes(), b.handle);
  CHECK(findings().empty());
  cudaStreamWaitEvent(a.handle, early.handle, 0);
  cudaMemsetAsync(x.data, 0, x.bytes(), a.handle);
  CHECK(found("race: #5 fill of 32 bytes (stream 1 of device 0)"));
}

TEST_CASE("order goes on through several streams") {
  stand_in::reset();
  constexpr std::size_t count = 4;
  std::array<stream_of_test, count> streams;
  std::array<event_of_test, count> events;
  device_array x(8);
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) cudaStreamWaitEvent(streams[i].handle, events[i - 1].handle, 0);
    if (i == 0 || i + 1 == count) cudaMemsetAsync(x.data, 1, x.bytes(), streams[i].handle);
    cudaEventRecord(events[i].handle, streams[i].handle);
  }
  CHECK(findings().empty());
}

TEST_CASE("atomic accesses race with others, not with each other; the program's own count") {
  stand_in::reset();
  pinned_array x(2);
  stream_of_test s;
  cudaMemsetAsync(x.data, 0, 8, s.handle);
  stand_in::host_access(x.data, 4, stand_in::touch::read);
  CHECK(found("race: the program reads allocation 1 (8 bytes, cudaMallocHost)"));
  stand_in::recover();
  cudaStreamSynchronize(s.handle);
  stand_in::host_access(x.data, 4, stand_in::touch::written);
  CHECK(findings().empty());
  stream_of_test t;
  launch_count(x.data, s.handle);
  launch_count(x.data, t.handle);
  CHECK(findings().empty());
  cudaMemsetAsync(x.data, 0, 4, s.handle);
  CHECK(found("race: "));
}

TEST_CASE("memory freed at once or in stream order may not be used any more") {
  stand_in::reset();
  stream_of_test a;
  stream_of_test b;
  void* const x = allocate(32, a.handle);
  cudaMemsetAsync(x, 0, 32, a.handle);
  cudaFreeAsync(x, a.handle);
  CHECK(findings().empty());
  cudaMemsetAsync(x, 0, 32, a.handle);
  CHECK(
      found("use after free: #4 fill of 32 bytes (stream 1 of device 0) writes allocation 1 (32 "
            "bytes, cudaMallocAsync, device 0), which #3 free of allocation 1 (stream 1 of "
            "device 0) frees"));
  stand_in::recover();
  cudaMemsetAsync(x, 0, 32, a.handle);  // gone for good
  CHECK(found("not allocated: "));
  stand_in::recover();
  void* const y = allocate(32, a.handle);
  cudaStreamSynchronize(a.handle);
  cudaMemsetAsync(y, 0, 32, b.handle);
  cudaFreeAsync(y, a.handle);
  CHECK(
      found("use after free: #8 free of allocation 2 (stream 1 of device 0) frees allocation 2 "
            "(32 bytes, cudaMallocAsync, device 0) and does not wait for #7 fill"));
  stand_in::recover();
  void* z = nullptr;
  cudaMalloc(&z, 32);
  cudaMemsetAsync(z, 0, 32, b.handle);
  cudaFree(z);  // may wait, and may not
  CHECK(found("use after free: cudaFree frees allocation 3"));
}

TEST_CASE("memory allocated in a stream may not be used in another that does not wait") {
  stand_in::reset();
  stream_of_test a;
  stream_of_test b;
  void* const x = allocate(32, a.handle);
  cudaMemsetAsync(x, 0, 32, b.handle);
  CHECK(found("use before allocation: #2 fill of 32 bytes (stream 2 of device 0) writes"));
}

TEST_CASE("copies, fills and kernels may not leave their allocation") {
  stand_in::reset();
  device_array x(8);
  std::array<float, 16> host{};
  CHECK(cudaMemcpy(x.data, host.data(), 36, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(
      found("out of range: #1 copy of 36 bytes, host to device (the default stream of device 0) "
            "writes 4 bytes behind allocation 1"));
  stand_in::recover();
  CHECK(cudaMemset(x.data - 1, 0, 8) == cudaErrorInvalidValue);
  CHECK(
      found("out of range: #2 fill of 8 bytes (the default stream of device 0) writes 4 bytes "
            "before allocation 1"));
  stand_in::recover();
  launch_add(x.data, 1, 9, nullptr);
  CHECK(found("out of range: #3 kernel add"));
  stand_in::recover();
  launch_add(host.data(), 1, 8, nullptr);
  CHECK(
      found("not allocated: #4 kernel add (the default stream of device 0) reads memory that is "
            "not allocated"));
  cudaDeviceSynchronize();
  CHECK(host[0] == 0);  // it did not run
}

TEST_CASE("guard zones and freed memory that are written to are noticed") {
  const stand_in::device_memory::scope as_a_kernel(stand_in::device_memory::use::stand_in);
  stand_in::reset();
  void* memory = nullptr;
  cudaMalloc(&memory, 10);
  auto* const x = static_cast<char*>(memory);
  CHECK(findings().empty());
  x[10] = 1;
  CHECK(found("guard: memory behind allocation 1 (10 bytes"));
  cudaFree(memory);
  cudaMalloc(&memory, 10);
  static_cast<char*>(memory)[-1] = 1;
  cudaFree(memory);
  CHECK(found("guard: memory before allocation 2"));
  cudaMalloc(&memory, 10);
  cudaFree(memory);
  static_cast<char*>(memory)[3] = 1;
  CHECK(found("guard: memory of the freed allocation 3"));
}

TEST_CASE("the program cannot reach device memory, while a kernel can") {
  stand_in::reset();
  const auto can_be_read = [](const void* memory) {
    int ends[2] = {};
    REQUIRE(pipe(ends) == 0);
    const bool can = write(ends[1], memory, 1) == 1;  // an error where the kernel may not read it
    close(ends[0]);
    close(ends[1]);
    return can;
  };
  const device_array x(8);
  const pinned_array y(8);
  CHECK_FALSE(can_be_read(x.data));
  CHECK(can_be_read(y.data));
  CHECK(launch_add(x.data, 1, 8, nullptr) == cudaSuccess);
  CHECK(cudaMemcpy(y.data, x.data, x.bytes(), cudaMemcpyDeviceToHost) == cudaSuccess);
  CHECK_FALSE(can_be_read(x.data));
  bool in_host_function = true;
  struct given {
    const void* memory;
    bool* answer;
    bool (*ask)(const void*);
  } with{x.data, &in_host_function, can_be_read};
  const auto function = [](void* passed) {
    const given& g = *static_cast<const given*>(passed);
    *g.answer = g.ask(g.memory);
  };
  CHECK(cudaLaunchHostFunc(nullptr, function, &with) == cudaSuccess);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
  CHECK_FALSE(in_host_function);
  CHECK(findings().empty());
}

TEST_CASE("bad frees, handles, directions and kernels are noticed") {
  stand_in::reset();
  void* x = nullptr;
  cudaMalloc(&x, 16);
  CHECK(cudaFree(static_cast<char*>(x) + 4) == cudaErrorInvalidValue);
  CHECK(found("bad free: cudaFree is given a pointer into allocation 1"));
  CHECK(cudaFreeHost(x) == cudaErrorInvalidValue);
  CHECK(found("bad free: cudaFreeHost is given allocation 1"));
  CHECK(cudaFree(&x) == cudaErrorInvalidValue);
  CHECK(found("bad free: cudaFree is given a pointer that no allocation has"));
  CHECK(cudaFree(x) == cudaSuccess);
  CHECK(cudaFree(x) == cudaErrorInvalidValue);
  CHECK(
      found("bad free: cudaFree is given allocation 1 (16 bytes, cudaMalloc, device 0), which "
            "cudaFree frees"));
  CHECK(cudaFree(nullptr) == cudaSuccess);
  stand_in::recover();

  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaStreamDestroy(stream);
  CHECK(cudaStreamSynchronize(stream) == cudaErrorInvalidResourceHandle);
  CHECK(found("handle: cudaStreamSynchronize is given stream 1 of device 0, which was destroyed"));
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  cudaEventDestroy(event);
  CHECK(cudaEventRecord(event, nullptr) == cudaErrorInvalidResourceHandle);
  CHECK(found("handle: cudaEventRecord is given event 1, which was destroyed"));
  stand_in::recover();

  device_array y(4);
  std::array<float, 4> host{};
  CHECK(cudaMemcpy(y.data, host.data(), 16, cudaMemcpyDeviceToDevice) == cudaErrorInvalidValue);
  CHECK(found("direction: cudaMemcpy is told another one than host to device"));
  CHECK(launch({y.data, y.data, 0, 4}, nullptr, 4, &unknown_stub) ==
        cudaErrorInvalidDeviceFunction);
  CHECK(found("unknown kernel: no body was registered for kernel of no name"));
  CHECK(launch({y.data, y.data, 0, 4}, nullptr, 1025) == cudaErrorInvalidConfiguration);
  CHECK(launch({y.data, y.data, 0, 4}, nullptr, 512) == cudaErrorInvalidValue);  // its launch bound
}

TEST_CASE("a kernel reaches another device's memory only with peer access") {
  stand_in::reset();
  cudaSetDevice(1);
  device_array far(8);
  cudaMemset(far.data, 0, far.bytes());
  cudaDeviceSynchronize();
  cudaSetDevice(0);
  stream_of_test s;
  launch_add(far.data, 1, 8, s.handle);
  CHECK(found("no peer access: #2 kernel add (stream 1 of device 0) reads allocation 1"));
  stand_in::recover();
  CHECK(cudaDeviceEnablePeerAccess(1, 0) == cudaSuccess);
  CHECK(cudaDeviceEnablePeerAccess(1, 0) == cudaErrorPeerAccessAlreadyEnabled);
  launch_add(far.data, 1, 8, s.handle);
  CHECK(findings().empty());
  // memory of a pool has a permission of its own
  cudaSetDevice(1);
  stream_of_test there;
  void* const x = allocate(32, there.handle);
  cudaStreamSynchronize(there.handle);
  CHECK(launch_add(static_cast<float*>(x), 1, 8, s.handle) == cudaErrorInvalidResourceHandle);
  cudaSetDevice(0);
  launch_add(static_cast<float*>(x), 1, 8, s.handle);
  CHECK(found("no peer access: "));
  stand_in::recover();
  cudaMemPool_t pool = nullptr;
  cudaDeviceGetDefaultMemPool(&pool, 1);
  cudaMemAccessDesc access{};
  access.location = {cudaMemLocationTypeDevice, 0};
  access.flags = cudaMemAccessFlagsProtReadWrite;
  CHECK(cudaMemPoolSetAccess(pool, &access, 1) == cudaSuccess);
  launch_add(static_cast<float*>(x), 1, 8, s.handle);
  CHECK(findings().empty());
  cudaStreamSynchronize(s.handle);
  cudaFreeAsync(x, there.handle);
  cudaSetDevice(1);
}
