// SPDX-License-Identifier: BSD-3-Clause
// Ranks for tests of NCCL on the stand-in: threads with a communicator each, or one thread with
// two.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "../support/cuda_stand_in/stand_in.hpp"
#include <doctest/doctest.h>
#include <nccl.h>

namespace ranks_of_test {

/// Elements on the current device.
template <class T>
class buffer {
 public:
  explicit buffer(const std::vector<T>& from) : count_(from.size()) {
    void* made = nullptr;
    if (cudaMalloc(&made, bytes()) != cudaSuccess) return;
    data = static_cast<T*>(made);
    cudaMemcpy(data, from.data(), bytes(), cudaMemcpyHostToDevice);
    cudaDeviceSynchronize();
  }
  buffer(std::size_t count, T value) : buffer(std::vector<T>(count, value)) {}
  ~buffer() { cudaFree(data); }
  buffer(const buffer&) = delete;
  buffer& operator=(const buffer&) = delete;

  std::size_t bytes() const { return count_ * sizeof(T); }
  /// When all of the stream has run.
  std::vector<T> read(cudaStream_t after) const {
    std::vector<T> to(count_);
    cudaStreamSynchronize(after);
    cudaMemcpy(to.data(), data, bytes(), cudaMemcpyDeviceToHost);
    return to;
  }

  T* data = nullptr;

 private:
  std::size_t count_;
};

struct one_rank {
  int rank = 0;
  int ranks = 0;
  ncclComm_t communicator = nullptr;
  cudaStream_t stream = nullptr;
};

/// f(one_rank) on a thread of each rank, which has its own device. The answer: the errors.
template <class F>
std::vector<ncclResult_t> run_ranks(int ranks, F f) {
  ncclUniqueId id{};
  std::vector<ncclResult_t> answers(static_cast<std::size_t>(ranks), ncclGetUniqueId(&id));
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r, answer = &answers[static_cast<std::size_t>(r)]] {
      one_rank me{r, ranks, nullptr, nullptr};
      cudaSetDevice(r);
      *answer = ncclCommInitRank(&me.communicator, ranks, id, r);
      if (*answer != ncclSuccess) return;
      cudaStreamCreateWithFlags(&me.stream, cudaStreamNonBlocking);
      f(me);
      cudaStreamSynchronize(me.stream);
      cudaStreamDestroy(me.stream);
      *answer = ncclCommDestroy(me.communicator);
    });
  }
  for (std::thread& t : threads) t.join();
  return answers;
}

/// Two ranks of one thread, of devices 0 and 1, and 4 floats of each: its rank and one.
struct two_ranks {
  two_ranks() {
    REQUIRE(ncclCommInitAll(communicator, 2, nullptr) == ncclSuccess);
    for (int r = 0; r < 2; ++r) {
      cudaSetDevice(r);
      cudaStreamCreateWithFlags(&stream[r], cudaStreamNonBlocking);
      x[r] = std::make_unique<buffer<float>>(4, static_cast<float>(r + 1));
    }
    cudaSetDevice(0);
  }
  ~two_ranks() {
    for (int r = 0; r < 2; ++r) {
      if (communicator[r] != nullptr) ncclCommDestroy(communicator[r]);
      cudaStreamSynchronize(stream[r]);
      cudaStreamDestroy(stream[r]);
    }
  }
  two_ranks(const two_ranks&) = delete;
  two_ranks& operator=(const two_ranks&) = delete;

  /// All-reduces so many of the floats in place.
  ncclResult_t add(int rank, std::size_t count = 4) {
    return ncclAllReduce(x[rank]->data, x[rank]->data, count, ncclFloat32, ncclSum,
                         communicator[rank], stream[rank]);
  }
  /// Both ranks do.
  void add_both() {
    CHECK(ncclGroupStart() == ncclSuccess);
    CHECK(add(0) == ncclSuccess);
    CHECK(add(1) == ncclSuccess);
    CHECK(ncclGroupEnd() == ncclSuccess);
  }
  ncclResult_t state(int rank) {
    ncclResult_t how = ncclInternalError;
    CHECK(ncclCommGetAsyncError(communicator[rank], &how) == ncclSuccess);
    return how;
  }

  ncclComm_t communicator[2] = {};
  cudaStream_t stream[2] = {};
  std::unique_ptr<buffer<float>> x[2];
};

inline bool nothing_lives() {
  return stand_in::live_allocations().empty() && stand_in::live_streams().empty() &&
         stand_in::live_events().empty() && stand_in::live_library_objects().empty();
}

inline const std::vector<std::string> no_findings;

}  // namespace ranks_of_test
