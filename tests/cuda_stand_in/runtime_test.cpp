// SPDX-License-Identifier: BSD-3-Clause
// The stand-in for the CUDA runtime keeps what the runtime's documentation promises, and no more:
// memory, streams, events, errors.
#include <array>
#include <cmath>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "../support/cuda_stand_in/device_memory.hpp"
#include "../support/cuda_stand_in/stand_in.hpp"
#include "small_kernel.hpp"
#include <doctest/doctest.h>

using namespace small_kernel;

namespace {

/// Runs f under many orders of what is queued; each begins anew and must leave no finding.
template <class F>
void in_every_order(F f) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    stand_in::reset();
    stand_in::set_seed(seed);
    if (seed == 0) stand_in::set_order(stand_in::order::eager);
    f();
    REQUIRE(stand_in::findings() == std::vector<std::string>{});
  }
}

}  // namespace

TEST_CASE("copies, fills and kernels of one stream run in order, whatever the seed") {
  in_every_order([] {
    stream_of_test s;
    device_array x(64);
    device_array y(64);
    std::array<float, 64> host;
    for (int i = 0; i < 64; ++i) host[static_cast<std::size_t>(i)] = static_cast<float>(i);
    cudaMemsetAsync(y.data, 0, y.bytes(), s.handle);
    cudaMemcpyAsync(x.data, host.data(), x.bytes(), cudaMemcpyHostToDevice, s.handle);
    host.fill(-1);  // pageable: the source has been read
    launch_add(x.data, 2, 64, s.handle);
    launch_copy(y.data, x.data, 64, s.handle);
    launch_add(x.data, 5, 64, s.handle);
    cudaMemcpyAsync(host.data(), y.data, y.bytes(), cudaMemcpyDeviceToHost, s.handle);
    for (int i = 0; i < 64; ++i) REQUIRE(host[static_cast<std::size_t>(i)] == i + 2.0f);
    cudaStreamSynchronize(s.handle);
  });
}

TEST_CASE("an event orders two streams, on one device and on two") {
  for (const int second : {0, 1}) {
    in_every_order([second] {
      stream_of_test a;
      cudaSetDevice(second);
      stream_of_test b;
      if (second == 1) cudaDeviceEnablePeerAccess(0, 0);
      cudaSetDevice(0);
      event_of_test written;
      device_array x(16);
      cudaMemsetAsync(x.data, 0, x.bytes(), a.handle);
      launch_add(x.data, 1, 16, a.handle);
      cudaEventRecord(written.handle, a.handle);
      cudaStreamWaitEvent(b.handle, written.handle, 0);
      // a later record does not move what b waits for
      cudaEventRecord(written.handle, a.handle);
      cudaSetDevice(second);
      launch_add(x.data, 10, 16, b.handle);
      cudaStreamSynchronize(b.handle);
      float first = 0;
      cudaMemcpy(&first, x.data, sizeof first, cudaMemcpyDeviceToHost);
      CHECK(first == 11);
    });
  }
}

TEST_CASE("the default stream waits for streams that block, and they for it; others do not") {
  in_every_order([] {
    cudaStream_t blocking = nullptr;
    REQUIRE(cudaStreamCreateWithFlags(&blocking, cudaStreamDefault) == cudaSuccess);
    device_array x(8);
    cudaMemset(x.data, 0, x.bytes());
    launch_add(x.data, 1, 8, blocking);
    launch_add(x.data, 2, 8, nullptr);
    launch_add(x.data, 4, 8, blocking);
    float first = 0;
    cudaMemcpy(&first, x.data, sizeof first, cudaMemcpyDeviceToHost);
    CHECK(first == 7);
    cudaStreamDestroy(blocking);
  });
  stand_in::reset();
  stream_of_test apart;
  device_array x(8);
  cudaMemset(x.data, 0, x.bytes());
  launch_add(x.data, 1, 8, apart.handle);
  CHECK(found("race: #2 kernel add (stream 1 of device 0) writes allocation 1"));
  cudaDeviceSynchronize();
}

TEST_CASE("a synchronous copy from pageable memory waits for what was before it, not for its end") {
  stand_in::reset();
  void* used = nullptr;
  cudaMalloc(&used, 16);
  cudaMemset(used, 0, 16);
  stream_of_test apart;
  device_array x(8);
  const std::array<float, 8> host{};
  cudaMemcpy(x.data, host.data(), x.bytes(), cudaMemcpyHostToDevice);
  CHECK(stand_in::queued() == 1);
  cudaFree(used);
  CHECK(stand_in::findings().empty());
  launch_add(x.data, 1, 8, apart.handle);
  CHECK(found("race: "));
  cudaDeviceSynchronize();
}

TEST_CASE("host functions run in stream order, and may not call the runtime") {
  in_every_order([] {
    stream_of_test s;
    pinned_array sum(1);
    device_array x(1);
    cudaMemsetAsync(x.data, 0, x.bytes(), s.handle);
    launch_add(x.data, 3, 1, s.handle);
    cudaMemcpyAsync(sum.data, x.data, x.bytes(), cudaMemcpyDeviceToHost, s.handle);
    cudaLaunchHostFunc(
        s.handle, [](void* at) { *static_cast<float*>(at) *= 2; }, sum.data);
    cudaStreamSynchronize(s.handle);
    CHECK(*sum.data == 6);
  });
  stand_in::reset();
  stream_of_test s;
  cudaLaunchHostFunc(
      s.handle, [](void*) { CHECK(cudaSetDevice(0) == cudaErrorNotPermitted); }, nullptr);
  cudaStreamSynchronize(s.handle);
  CHECK(found("host function: cudaSetDevice is called within one"));
}

TEST_CASE("copies of pinned memory are late: what the program does meanwhile shows") {
  bool late = false;
  bool early = false;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    stand_in::reset();
    stand_in::set_seed(seed);
    stream_of_test s;
    pinned_array host(4);
    device_array x(4);
    *host.data = 1;
    cudaMemcpyAsync(x.data, host.data, x.bytes(), cudaMemcpyHostToDevice, s.handle);
    cudaStreamQuery(s.handle);
    *host.data = 2;
    float first = 0;
    cudaMemcpyAsync(&first, x.data, sizeof first, cudaMemcpyDeviceToHost, s.handle);
    (first == 1 ? early : late) = true;
    cudaStreamSynchronize(s.handle);
  }
  CHECK(late);
  CHECK(early);
}

TEST_CASE("what nobody waits for runs early, late, and in any order") {
  struct note {
    std::vector<std::size_t>* order;
    std::size_t who;
  };
  const auto write = [](void* at) {
    const note& n = *static_cast<note*>(at);
    n.order->push_back(n.who);
  };
  constexpr std::size_t many = 12;
  bool all_before = false;
  bool none_before = false;
  std::set<std::vector<std::size_t>> orders;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    stand_in::reset();
    stand_in::set_seed(seed);
    std::array<stream_of_test, 3> streams;
    std::vector<std::size_t> order;
    std::array<note, 3> notes{note{&order, 0}, note{&order, 1}, note{&order, 2}};
    for (std::size_t i = 0; i < 3; ++i) cudaLaunchHostFunc(streams[i].handle, write, &notes[i]);
    CHECK(order.empty());
    cudaDeviceSynchronize();
    orders.insert(order);
    order.clear();
    for (std::size_t i = 0; i < many; ++i) cudaLaunchHostFunc(streams[0].handle, write, &notes[0]);
    cudaLaunchHostFunc(streams[1].handle, write, &notes[1]);
    cudaStreamSynchronize(streams[1].handle);
    all_before = all_before || order.size() == many + 1;
    none_before = none_before || order.size() == 1;
    cudaDeviceSynchronize();
  }
  CHECK(orders.size() == 6);
  CHECK(all_before);
  CHECK(none_before);
  stand_in::set_order(stand_in::order::eager);
  device_array x(4);
  cudaMemsetAsync(x.data, 0, x.bytes(), nullptr);
  CHECK(stand_in::queued() == 0);
}

TEST_CASE("memory allocated and freed in stream order, across streams with events") {
  in_every_order([] {
    stream_of_test a;
    stream_of_test b;
    event_of_test made;
    event_of_test used;
    void* memory = nullptr;
    REQUIRE(cudaMallocAsync(&memory, 256, a.handle) == cudaSuccess);
    auto* const x = static_cast<float*>(memory);
    cudaEventRecord(made.handle, a.handle);
    cudaStreamWaitEvent(b.handle, made.handle, 0);
    cudaMemsetAsync(x, 0, 256, b.handle);
    launch_add(x, 1, 64, b.handle);
    cudaEventRecord(used.handle, b.handle);
    cudaStreamWaitEvent(a.handle, used.handle, 0);
    CHECK(cudaFreeAsync(memory, a.handle) == cudaSuccess);
    CHECK(stand_in::live_allocations().empty());
    cudaDeviceSynchronize();
  });
}

TEST_CASE("threads of the program use it at once, each with an error and a device of its own") {
  stand_in::reset();
  constexpr int count = 4;
  std::array<bool, count> right{};
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t) {
    threads.emplace_back([t, &right] {
      cudaSetDevice(t % 2);
      if (t == 0) cudaSetDevice(7);
      stream_of_test s;
      event_of_test done;
      device_array x(32);
      std::array<float, 32> host{};
      cudaMemsetAsync(x.data, 0, x.bytes(), s.handle);
      for (int i = 0; i < 50; ++i) {
        launch_add(x.data, 1, 32, s.handle);
        if (i % 10 == t) cudaStreamSynchronize(s.handle);
      }
      cudaEventRecord(done.handle, s.handle);
      while (cudaEventQuery(done.handle) == cudaErrorNotReady) std::this_thread::yield();
      cudaMemcpyAsync(host.data(), x.data, x.bytes(), cudaMemcpyDeviceToHost, s.handle);
      int device = -1;
      cudaGetDevice(&device);
      const cudaError_t expected = t == 0 ? cudaErrorInvalidDevice : cudaSuccess;
      right[static_cast<std::size_t>(t)] =
          host[31] == 50 && device == t % 2 && cudaGetLastError() == expected;
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(right == std::array{true, true, true, true});
  CHECK(stand_in::findings() == std::vector<std::string>{});
}

TEST_CASE("queries answer not ready for a while, and that is no error") {
  int not_ready = 0;
  in_every_order([&] {
    stream_of_test s;
    event_of_test done;
    CHECK(cudaEventQuery(done.handle) == cudaSuccess);  // nothing was recorded
    device_array x(4);
    for (int i = 0; i < 10; ++i) cudaMemsetAsync(x.data, i, x.bytes(), s.handle);
    cudaEventRecord(done.handle, s.handle);
    while (cudaEventQuery(done.handle) == cudaErrorNotReady) ++not_ready;
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(cudaStreamQuery(s.handle) == cudaSuccess);
  });
  CHECK(not_ready > 60);
}

TEST_CASE("the time between two events grows with what ran between them") {
  stand_in::reset();
  stream_of_test s;
  cudaEvent_t from = nullptr;
  cudaEvent_t to = nullptr;
  REQUIRE(cudaEventCreate(&from) == cudaSuccess);
  REQUIRE(cudaEventCreate(&to) == cudaSuccess);
  float time = 0;
  CHECK(cudaEventElapsedTime(&time, from, to) == cudaErrorInvalidResourceHandle);
  cudaEventRecord(from, s.handle);
  device_array x(4);
  cudaMemsetAsync(x.data, 0, x.bytes(), s.handle);
  cudaEventRecord(to, s.handle);
  CHECK(cudaEventElapsedTime(&time, from, to) == cudaErrorNotReady);
  cudaEventSynchronize(to);
  CHECK(cudaEventElapsedTime(&time, from, to) == cudaSuccess);
  CHECK(time >= 2);
  cudaEventDestroy(from);
  cudaEventDestroy(to);
}

TEST_CASE("devices, attributes, pointers and pools answer") {
  stand_in::reset();
  int n = 0;
  CHECK(cudaGetDeviceCount(&n) == cudaSuccess);
  CHECK(n == 2);
  CHECK(cudaSetDevice(2) == cudaErrorInvalidDevice);
  CHECK(cudaSetDevice(1) == cudaSuccess);
  stream_of_test s;
  CHECK(cudaStreamGetDevice(s.handle, &n) == cudaSuccess);
  CHECK(n == 1);
  cudaSetDevice(0);
  event_of_test elsewhere;
  cudaSetDevice(1);
  CHECK(cudaEventRecord(elsewhere.handle, s.handle) == cudaErrorInvalidResourceHandle);
  CHECK(cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, 1) == cudaSuccess);
  CHECK(n == 2);
  cudaDeviceProp about;
  CHECK(cudaGetDeviceProperties(&about, 1) == cudaSuccess);
  CHECK(about.warpSize == 32);
  CHECK(cudaDeviceCanAccessPeer(&n, 0, 1) == cudaSuccess);
  CHECK(n == 1);
  device_array x(4);
  cudaPointerAttributes where;
  CHECK(cudaPointerGetAttributes(&where, x.data + 1) == cudaSuccess);
  CHECK(where.type == cudaMemoryTypeDevice);
  CHECK(where.device == 1);
  CHECK(cudaPointerGetAttributes(&where, &where) == cudaSuccess);
  CHECK(where.type == cudaMemoryTypeUnregistered);
  cudaMemPool_t pool = nullptr;
  CHECK(cudaDeviceGetDefaultMemPool(&pool, 1) == cudaSuccess);
  std::uint64_t threshold = 1 << 20;
  CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold) == cudaSuccess);
  threshold = 0;
  CHECK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold) == cudaSuccess);
  CHECK(threshold == 1 << 20);
  CHECK(cudaMemPoolTrimTo(pool, 0) == cudaSuccess);
  CHECK(stand_in::findings().empty());
  CHECK(cudaDeviceGetAttribute(&n, cudaDevAttrMaxTexture1DWidth, 0) == cudaErrorInvalidValue);
  CHECK(found("not modelled: cudaDeviceGetAttribute"));
}

TEST_CASE("what is live is listed; new and freed memory holds not-a-numbers") {
  const stand_in::device_memory::scope as_a_kernel(stand_in::device_memory::use::stand_in);
  stand_in::reset();
  void* pinned = nullptr;
  float* after = nullptr;
  {
    stream_of_test s;
    event_of_test e;
    device_array x(10);
    CHECK(cudaHostAlloc(&pinned, 24, cudaHostAllocDefault) == cudaSuccess);
    CHECK(std::isnan(static_cast<float*>(pinned)[5]));
    after = x.data;
    CHECK(std::isnan(after[9]));
    const auto memory = stand_in::live_allocations();
    REQUIRE(memory.size() == 2);
    CHECK(memory[0].ordinal == 1);
    CHECK(memory[0].bytes == 40);
    CHECK(memory[1].made_by == "cudaHostAlloc");
    CHECK(stand_in::live_streams().size() == 1);
    CHECK(stand_in::live_events().size() == 1);
  }
  CHECK(std::isnan(after[0]));
  void* later = nullptr;
  CHECK(cudaMallocAsync(&later, 8, nullptr) == cudaSuccess);
  *static_cast<float*>(later) = 1;
  cudaDeviceSynchronize();
  CHECK(std::isnan(*static_cast<float*>(later)));  // only now it is the program's
  CHECK(cudaFreeAsync(later, nullptr) == cudaSuccess);
  CHECK(stand_in::live_allocations().size() == 1);
  CHECK(stand_in::live_streams().empty());
  CHECK(stand_in::live_events().empty());
  CHECK(cudaFreeHost(pinned) == cudaSuccess);
  CHECK(stand_in::findings().empty());
}

TEST_CASE("a captured stream runs nothing; its graph does, with the parameters that it is given") {
  stand_in::reset();
  stream_of_test s;
  device_array x(4);
  pinned_array y(4);
  REQUIRE(cudaMemset(x.data, 0, x.bytes()) == cudaSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  REQUIRE(cudaStreamBeginCapture(s.handle, cudaStreamCaptureModeRelaxed) == cudaSuccess);
  REQUIRE(launch_add(x.data, 1, 4, s.handle) == cudaSuccess);
  cudaStreamCaptureStatus status{};
  const cudaGraphNode_t* last = nullptr;
  std::size_t count = 0;
  REQUIRE(cudaStreamGetCaptureInfo(s.handle, &status, nullptr, nullptr, &last, nullptr, &count) ==
          cudaSuccess);
  CHECK(status == cudaStreamCaptureStatusActive);
  REQUIRE(count == 1);
  const cudaGraphNode_t first = last[0];
  REQUIRE(launch_add(x.data, 10, 4, s.handle) == cudaSuccess);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t program = nullptr;
  REQUIRE(cudaStreamEndCapture(s.handle, &graph) == cudaSuccess);
  REQUIRE(cudaGraphInstantiate(&program, graph, 0) == cudaSuccess);
  const auto value = [&] {
    CHECK(cudaMemcpy(y.data, x.data, x.bytes(), cudaMemcpyDeviceToHost) == cudaSuccess);
    return y.data[3];
  };
  CHECK(value() == 0);
  CHECK(cudaGraphLaunch(program, nullptr) == cudaSuccess);
  CHECK(cudaGraphLaunch(program, nullptr) == cudaSuccess);
  CHECK(value() == 22);
  add_arguments changed{x.data, x.data, 100, 4};
  void* pointers[] = {&changed};
  cudaKernelNodeParams parameters{};
  parameters.func = const_cast<char*>(&add_stub);
  parameters.gridDim = dim3(1);
  parameters.blockDim = dim3(4);
  parameters.kernelParams = pointers;
  CHECK(cudaGraphExecKernelNodeSetParams(program, first, &parameters) == cudaSuccess);
  CHECK(cudaGraphLaunch(program, nullptr) == cudaSuccess);
  CHECK(value() == 132);
  CHECK(stand_in::live_library_objects().size() == 2);
  CHECK(cudaGraphExecDestroy(program) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(stand_in::live_library_objects().empty());
  CHECK(stand_in::findings().empty());
  // what a graph does not hold ends the capture
  REQUIRE(cudaStreamBeginCapture(s.handle, cudaStreamCaptureModeRelaxed) == cudaSuccess);
  CHECK(cudaStreamSynchronize(s.handle) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(s.handle, &graph) == cudaErrorStreamCaptureInvalidated);
  CHECK(cudaStreamSynchronize(s.handle) == cudaSuccess);
}
