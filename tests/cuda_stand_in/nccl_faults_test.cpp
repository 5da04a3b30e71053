// SPDX-License-Identifier: BSD-3-Clause
// NCCL on the stand-in where something is wrong: ranks that do not come or ask for something else,
// memory that is not there, aborts, errors planted everywhere. Nothing hangs.
#include <memory>

#include "ranks_of_test.hpp"
#include "small_kernel.hpp"

using namespace ranks_of_test;
using small_kernel::found;
using stand_in::findings;

namespace {

using sentences = std::vector<std::string>;
constexpr std::chrono::milliseconds soon{50};

}  // namespace

TEST_CASE("collectives that do not match are found, and nothing waits for them") {
  const auto mismatch = [](auto first, auto second) {
    stand_in::reset();
    two_ranks two;
    CHECK(ncclGroupStart() == ncclSuccess);
    CHECK(first(two) == ncclSuccess);
    CHECK(second(two) == ncclSuccess);
    CHECK(ncclGroupEnd() == ncclSuccess);
    CHECK(two.x[0]->read(two.stream[0]) == std::vector<float>(4, 1));
    CHECK(two.x[1]->read(two.stream[1]) == std::vector<float>(4, 2));
    CHECK(two.state(0) == ncclInvalidUsage);
    CHECK(two.add(1) == ncclInvalidUsage);
    REQUIRE(findings().size() == 1);
    return findings()[0];
  };
  const auto add = [](std::size_t count, int rank, ncclRedOp_t op = ncclSum) {
    return [=](two_ranks& two) {
      float* const x = two.x[rank]->data;
      return ncclAllReduce(x, x, count, ncclFloat32, op, two.communicator[rank], two.stream[rank]);
    };
  };
  CHECK(mismatch(add(4, 0), add(3, 1)) ==
        "collective mismatch: rank 0 calls ncclAllReduce of 4 float32 by sum, rank 1 calls "
        "ncclAllReduce of 3 float32 by sum");
  CHECK(mismatch(add(4, 1, ncclMax), add(4, 0)) ==
        "collective mismatch: rank 0 calls ncclAllReduce of 4 float32 by sum, rank 1 calls "
        "ncclAllReduce of 4 float32 by max");
  CHECK(mismatch(add(4, 0),
                 [](two_ranks& two) {
                   return ncclBcast(two.x[1]->data, 4, ncclInt32, 0, two.communicator[1],
                                    two.stream[1]);
                 }) ==
        "collective mismatch: rank 0 calls ncclAllReduce of 4 float32 by sum, rank 1 calls "
        "ncclBcast of 4 int32 from rank 0");
  const auto broadcast = [](int rank, int root) {
    return [=](two_ranks& two) {
      return ncclBcast(two.x[rank]->data, 4, ncclFloat32, root, two.communicator[rank],
                       two.stream[rank]);
    };
  };
  CHECK(mismatch(broadcast(0, 0), broadcast(1, 1)) ==
        "collective mismatch: rank 0 calls ncclBcast of 4 float32 from rank 0, rank 1 calls "
        "ncclBcast of 4 float32 from rank 1");
  CHECK(
      mismatch(
          [](two_ranks& two) {
            return ncclSend(two.x[0]->data, 4, ncclFloat32, 1, two.communicator[0], two.stream[0]);
          },
          [](two_ranks& two) {
            return ncclRecv(two.x[1]->data, 2, ncclFloat32, 0, two.communicator[1], two.stream[1]);
          }) ==
      "collective mismatch: rank 0 calls ncclSend of 4 float32 to rank 1, rank 1 calls "
      "ncclRecv of 2 float32 from rank 0");
}

TEST_CASE("a rank that never calls is found when something has waited for it") {
  stand_in::reset();
  stand_in::set_time_limit(soon);
  two_ranks two;
  CHECK(two.add(0) == ncclSuccess);
  CHECK(two.add(0) == ncclSuccess);
  cudaMemsetAsync(two.x[0]->data, 0, 8, two.stream[0]);
  CHECK(cudaStreamQuery(two.stream[0]) == cudaErrorNotReady);  // who asks does not wait
  CHECK(findings() == no_findings);
  CHECK(two.x[0]->read(two.stream[0]) == std::vector<float>{0, 0, 1, 1});
  CHECK(findings() ==
        sentences{"waits for ever: #4 ncclAllReduce of 4 float32 by sum of rank 0 of 2 (stream 1 "
                  "of device 0): rank 1 has not called"});
  CHECK(two.state(1) == ncclSystemError);
  CHECK(two.add(1) == ncclSystemError);
  CHECK(findings().size() == 1);
}

TEST_CASE("two communicators in different orders wait for each other, and so do bare transfers") {
  stand_in::reset();
  stand_in::set_time_limit(soon);
  two_ranks two;
  two_ranks also;
  for (int r = 0; r < 2; ++r) {
    std::thread rank([&] {
      const auto add = [&](two_ranks& by) {
        CHECK(ncclAllReduce(by.x[r]->data, by.x[r]->data, 4, ncclFloat32, ncclSum,
                            by.communicator[r], two.stream[r]) == ncclSuccess);
      };
      add(r == 0 ? two : also);
      add(r == 0 ? also : two);
    });
    rank.join();
  }
  CHECK(cudaStreamSynchronize(two.stream[0]) == cudaSuccess);
  REQUIRE(findings().size() == 2);
  CHECK(findings()[0].find(": rank 1 has called, but its stream does not come to it") !=
        std::string::npos);
  CHECK(findings()[1].find(": rank 0 has called, but its stream does not come to it") !=
        std::string::npos);
  stand_in::recover();
  // each sends first, in no group with what it receives
  two_ranks apart;
  for (int r = 0; r < 2; ++r) {
    std::thread rank([&] {
      float* const x = apart.x[r]->data;
      const ncclComm_t by = apart.communicator[r];
      CHECK(ncclSend(x, 2, ncclFloat32, 1 - r, by, apart.stream[r]) == ncclSuccess);
      CHECK(ncclRecv(x, 2, ncclFloat32, 1 - r, by, apart.stream[r]) == ncclSuccess);
    });
    rank.join();
  }
  CHECK(cudaStreamSynchronize(apart.stream[1]) == cudaSuccess);
  REQUIRE(findings().size() == 1);  // the other one is given up with it
  CHECK(found("waits for ever: "));
  CHECK(findings()[0].find("ncclSend of 2 float32 to rank 1 of rank 0 of 2") != std::string::npos);
  CHECK(findings()[0].find(": rank 1 has called, but its stream does not come to it") !=
        std::string::npos);
}

TEST_CASE("a rank that does not come to its communicator is found, and so is one that is wrong") {
  stand_in::reset();
  stand_in::set_time_limit(soon);
  ncclUniqueId id{};
  REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
  ncclComm_t made = nullptr;
  CHECK(ncclCommInitRank(&made, 3, id, 1) == ncclSystemError);
  CHECK(made == nullptr);
  CHECK(findings() == sentences{"waits for ever: ncclCommInitRank of rank 1 of 3: rank 0 has not "
                                "called, rank 2 has not called"});
  CHECK(ncclCommInitRank(&made, 3, id, 0) == ncclSystemError);  // at once: it is too late
  CHECK(findings().size() == 1);
  stand_in::recover();

  const auto both = [&](int first_ranks, int first, int second, bool other_device) {
    ncclComm_t two[2] = {};
    CHECK(ncclGetUniqueId(&id) == ncclSuccess);
    CHECK(ncclGroupStart() == ncclSuccess);
    CHECK(ncclCommInitRank(&two[0], first_ranks, id, first) == ncclSuccess);
    if (other_device) cudaSetDevice(1);
    CHECK(ncclCommInitRank(&two[1], 2, id, second) == ncclSuccess);
    cudaSetDevice(0);
    const ncclResult_t how = ncclGroupEnd();
    CHECK(two[0] == nullptr);
    CHECK(two[1] == nullptr);
    return how;
  };
  CHECK(both(2, 0, 1, false) == ncclInvalidUsage);  // two ranks on a device, as NCCL
  CHECK(findings() == no_findings);
  CHECK(both(3, 0, 1, true) == ncclInvalidUsage);
  CHECK(found("handle: ncclCommInitRank of rank 1 is told of 2 ranks, another one of 3"));
  CHECK(both(2, 1, 1, true) == ncclInvalidUsage);
  CHECK(found("handle: ncclCommInitRank of rank 1 is called twice with one id"));
  CHECK(nothing_lives());
  stand_in::recover();
}

TEST_CASE("one that does not block is in progress until all have come") {
  stand_in::reset();
  ncclUniqueId id{};
  REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t made[2] = {};
  const auto state = [&](int rank) {
    ncclResult_t how = ncclInternalError;
    CHECK(ncclCommGetAsyncError(made[rank], &how) == ncclSuccess);
    return how;
  };
  CHECK(ncclCommInitRankConfig(&made[0], 2, id, 0, &config) == ncclInProgress);
  REQUIRE(made[0] != nullptr);
  CHECK(state(0) == ncclInProgress);
  CHECK(ncclBcast(nullptr, 0, ncclInt8, 0, made[0], nullptr) == ncclInvalidArgument);
  cudaSetDevice(1);
  CHECK(ncclCommInitRankConfig(&made[1], 2, id, 1, &config) == ncclSuccess);
  cudaSetDevice(0);
  CHECK(state(0) == ncclSuccess);
  CHECK(state(1) == ncclSuccess);
  CHECK(ncclCommDestroy(made[0]) == ncclSuccess);
  CHECK(ncclCommAbort(made[1]) == ncclSuccess);
  config.magic = 0;
  CHECK(ncclCommInitRankConfig(&made[0], 2, id, 0, &config) == ncclInvalidArgument);
  CHECK(findings() == no_findings);
  CHECK(nothing_lives());
}

TEST_CASE("an abort ends what others wait for; they are told, and receive nothing") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    stand_in::reset();
    stand_in::set_seed(seed);
    two_ranks two;
    CHECK(two.add(0) == ncclSuccess);
    cudaMemsetAsync(two.x[0]->data, 0, 8, two.stream[0]);
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      CHECK(ncclCommAbort(two.communicator[1]) == ncclSuccess);
    });
    CHECK(cudaStreamSynchronize(two.stream[0]) == cudaSuccess);
    other.join();
    two.communicator[1] = nullptr;
    CHECK(two.state(0) == ncclRemoteError);
    CHECK(two.add(0) == ncclRemoteError);
    CHECK(two.x[0]->read(two.stream[0]) == std::vector<float>{0, 0, 1, 1});
    CHECK(findings() == no_findings);
  }
  CHECK(nothing_lives());
}

TEST_CASE("destroyed communicators are not used; live ones are listed") {
  stand_in::reset();
  two_ranks two;
  const std::vector<stand_in::live> made = stand_in::live_library_objects();
  REQUIRE(made.size() == 2);
  for (std::size_t r = 0; r < 2; ++r) {
    CHECK(made[r].made_by == "communicator");
    CHECK(made[r].ordinal == r + 1);
    CHECK(made[r].device == static_cast<int>(r));
  }
  const ncclComm_t gone = two.communicator[1];
  two.communicator[1] = nullptr;
  CHECK(ncclCommDestroy(gone) == ncclSuccess);
  CHECK(ncclCommDestroy(nullptr) == ncclSuccess);
  CHECK(stand_in::live_library_objects().size() == 1);
  float* const x = two.x[1]->data;
  CHECK(ncclAllReduce(x, x, 4, ncclFloat32, ncclSum, gone, two.stream[1]) == ncclInvalidArgument);
  CHECK(ncclCommAbort(gone) == ncclInvalidArgument);
  ncclResult_t how = ncclSuccess;
  CHECK(ncclCommGetAsyncError(gone, &how) == ncclInvalidArgument);
  const std::string end = " is given no communicator, or one that was destroyed";
  CHECK(findings() == sentences{"handle: ncclAllReduce" + end, "handle: ncclCommAbort" + end,
                                "handle: ncclCommGetAsyncError" + end});
}

TEST_CASE("memory that is freed, too short or of another device, and buffers that overlap") {
  stand_in::reset();
  two_ranks two;
  cudaFree(two.x[1]->data);
  two.add_both();
  CHECK(findings().size() == 2);
  CHECK(
      found("use after free: #4 ncclAllReduce of 4 float32 by sum of rank 1 of 2 (stream 2 of "
            "device 1) reads allocation 2"));
  cudaDeviceSynchronize();
  cudaStreamSynchronize(two.stream[1]);
  stand_in::recover();
  two.x[1]->data = nullptr;

  two.x[1] = std::make_unique<buffer<float>>(3, 0.0f);  // and on device 0
  two.add_both();
  CHECK(
      found("out of range: #9 ncclAllReduce of 4 float32 by sum of rank 1 of 2 (stream 2 of "
            "device 1) reads 4 bytes behind allocation 3"));
  CHECK(cudaStreamSynchronize(two.stream[0]) == cudaSuccess);  // nothing waits for it
  CHECK(two.state(0) == ncclUnhandledCudaError);
  stand_in::recover();

  two_ranks again;
  std::swap(again.x[0], again.x[1]);
  again.add_both();
  CHECK(found("no peer access: "));
  cudaStreamSynchronize(again.stream[0]);
  cudaStreamSynchronize(again.stream[1]);
  stand_in::recover();

  const auto answers = run_ranks(1, [](const one_rank& me) {
    const buffer<float> x(8, 1.0f);
    ncclAllReduce(x.data, x.data + 3, 4, ncclFloat32, ncclSum, me.communicator, me.stream);
    x.read(me.stream);
  });
  CHECK(answers == std::vector<ncclResult_t>{ncclSuccess});
  CHECK(findings() == sentences{"overlap: the buffers of ncclAllReduce of 4 float32 by sum of rank "
                                "0 of 1 do, and not in place"});
  stand_in::recover();
}

TEST_CASE("a group with an error does nothing; ranks of one thread need a group") {
  stand_in::reset();
  two_ranks two;
  CHECK(ncclGroupStart() == ncclSuccess);
  CHECK(two.add(0) == ncclSuccess);
  CHECK(two.add(1, ~std::size_t{0}) == ncclInvalidArgument);
  CHECK(ncclGroupEnd() == ncclInvalidArgument);
  CHECK(stand_in::queued() == 0);
  two.add_both();
  CHECK(ncclGroupStart() == ncclSuccess);
  CHECK(two.add(0) == ncclSuccess);
  stand_in::fail_call(1, cudaErrorUnknown);
  CHECK(ncclGroupEnd() == ncclUnhandledCudaError);
  CHECK(ncclGroupEnd() == ncclInvalidUsage);
  CHECK(stand_in::queued() == 4);
  CHECK(two.x[0]->read(two.stream[0]) == std::vector<float>(4, 3));
  CHECK(findings() == no_findings);
  CHECK(two.add(0) == ncclSuccess);
  CHECK(two.add(1) == ncclSuccess);
  CHECK(two.x[1]->read(two.stream[1]) == std::vector<float>(4, 6));
  CHECK(findings() ==
        sentences{"group: one thread calls ncclAllReduce of 4 float32 by sum for rank 0, then for "
                  "rank 1 in no group with it"});
}

TEST_CASE("recover() gives up what waits for other ranks, and that is no finding") {
  stand_in::reset();
  two_ranks two;
  CHECK(two.add(1) == ncclSuccess);
  stand_in::recover();
  CHECK(stand_in::queued() == 0);
  CHECK(findings() == no_findings);
  CHECK(two.x[1]->read(two.stream[1]) == std::vector<float>(4, 2));
}

namespace {

/// What a careful rank does: it stops at the first error, and then aborts, so that nobody waits
/// for it. What it answers: whether all went well.
bool careful_rank(int rank, const ncclUniqueId& id) {
  ncclComm_t communicator = nullptr;
  cudaStream_t stream = nullptr;
  void* x = nullptr;
  const auto add = [&] {
    return ncclAllReduce(x, x, 16, ncclFloat32, ncclSum, communicator, stream) == ncclSuccess;
  };
  const auto add_in_group = [&] {
    if (ncclGroupStart() != ncclSuccess) return false;
    const bool added = add();
    return ncclGroupEnd() == ncclSuccess && added;
  };
  const auto run = [&] {
    ncclResult_t state = ncclSuccess;
    return cudaSetDevice(rank) == cudaSuccess &&
           ncclCommInitRank(&communicator, 2, id, rank) == ncclSuccess &&
           cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess &&
           cudaMallocAsync(&x, 64, stream) == cudaSuccess &&
           cudaMemsetAsync(x, 0, 64, stream) == cudaSuccess && add_in_group() && add() &&
           cudaStreamSynchronize(stream) == cudaSuccess &&
           ncclCommGetAsyncError(communicator, &state) == ncclSuccess && state == ncclSuccess;
  };
  const bool well = run();
  if (well) {
    ncclCommDestroy(communicator);
  } else if (communicator != nullptr) {
    ncclCommAbort(communicator);
  }
  if (x != nullptr) cudaFreeAsync(x, stream);
  if (stream != nullptr) cudaStreamDestroy(stream);
  return well;
}

/// How many of two ranks are well.
int careful_ranks() {
  ncclUniqueId id{};
  if (ncclGetUniqueId(&id) != ncclSuccess) return 0;
  bool well[2] = {};
  std::thread other([&] { well[1] = careful_rank(1, id); });
  well[0] = careful_rank(0, id);
  other.join();
  return (well[0] ? 1 : 0) + (well[1] ? 1 : 0);
}

}  // namespace

// A rank that fails before it has a communicator cannot abort: the other's ncclCommInitRank ends by
// the time limit, with an error. Later the abort ends the other's wait.
TEST_CASE("call k of an exchange fails for every k: an error, nothing hangs, nothing is left") {
  for (const cudaError_t planted :
       {cudaErrorMemoryAllocation, cudaErrorUnknown, cudaErrorLaunchFailure}) {
    stand_in::reset();
    REQUIRE(careful_ranks() == 2);
    CHECK(findings() == no_findings);
    const std::uint64_t calls = stand_in::calls();
    CHECK(calls == 1 + 2 * 11);
    for (std::uint64_t k = 1; k <= calls + 1; ++k) {
      CAPTURE(k);
      stand_in::recover();
      // short only where something fails: a busy machine may be late
      stand_in::set_time_limit(k <= calls ? soon : std::chrono::seconds(10));
      stand_in::fail_call(k, planted);
      const int well = careful_ranks();
      CHECK((k <= calls ? well < 2 : well == 2));
      for (const std::string& f : findings()) {
        CHECK(f.compare(0, 16, "waits for ever: ") == 0);
        CHECK(k <= calls);
      }
      stand_in::recover();
      CHECK(nothing_lives());
    }
  }
  stand_in::reset();
}
