// SPDX-License-Identifier: BSD-3-Clause
// NCCL on the stand-in: every exchange against plain loops, and what it orders and what it does
// not.
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>

#include "ranks_of_test.hpp"
#include "small_kernel.hpp"

using namespace ranks_of_test;
using small_kernel::event_of_test;
using small_kernel::found;
using small_kernel::launch_add;
using stand_in::findings;

namespace {

/// An element type as the test computes with it.
template <class T>
struct number {
  using wide = std::conditional_t<std::is_same_v<T, float>, float, double>;
  static T make(wide x) { return static_cast<T>(x); }
  static wide read(T x) { return static_cast<wide>(x); }
  static constexpr bool is_float = std::is_floating_point_v<T>;
  static constexpr bool is_signed = std::is_signed_v<T>;
};
template <>
struct number<__half> {
  using wide = float;
  static __half make(float x) { return __float2half_rn(x); }
  static float read(__half x) { return __half2float(x); }
  static constexpr bool is_float = true;
  static constexpr bool is_signed = true;
};
template <>
struct number<__nv_bfloat16> {
  using wide = float;
  static __nv_bfloat16 make(float x) { return __float2bfloat16_rn(x); }
  static float read(__nv_bfloat16 x) { return __bfloat162float(x); }
  static constexpr bool is_float = true;
  static constexpr bool is_signed = true;
};

struct tally {
  std::atomic<int> compared{0};
  std::atomic<int> wrong{0};
  std::atomic<int> errors{0};
};

/// All exchanges of one rank, in one type.
template <class T>
class exchanges {
 public:
  exchanges(const one_rank& me, ncclDataType_t type, tally& to) : me_(me), type_(type), to_(to) {}

  void run() {
    for (const ncclRedOp_t op : {ncclSum, ncclProd, ncclMax, ncclMin, ncclAvg}) {
      all_reduce(op);
      reduce_scatter(op);
      for (int root = 0; root < me_.ranks; ++root) reduce(op, root);
    }
    for (int root = 0; root < me_.ranks; ++root) broadcast(root);
    all_gather();
  }

 private:
  using num = number<T>;
  using wide = typename num::wide;
  static constexpr std::size_t count = 5;

  std::size_t ranks() const { return static_cast<std::size_t>(me_.ranks); }
  std::size_t rank() const { return static_cast<std::size_t>(me_.rank); }
  static wide value(std::size_t rank, std::size_t i) {
    return static_cast<wide>((rank * 7 + i * 3) % 5) - (num::is_signed ? 2 : 0);
  }
  static std::vector<T> values(std::size_t rank, std::size_t n) {
    std::vector<T> made;
    for (std::size_t i = 0; i < n; ++i) made.push_back(num::make(value(rank, i)));
    return made;
  }
  T combined(ncclRedOp_t op, std::size_t i) const {
    wide all = value(0, i);
    for (std::size_t r = 1; r < ranks(); ++r) {
      const wide x = value(r, i);
      all = op == ncclProd  ? all * x
            : op == ncclMax ? std::max(all, x)
            : op == ncclMin ? std::min(all, x)
                            : all + x;
    }
    if (op == ncclAvg) all /= static_cast<wide>(ranks());
    return num::make(num::is_float ? all : std::trunc(all));
  }

  void expect(ncclResult_t how) {
    if (how != ncclSuccess) ++to_.errors;
  }
  /// Elements of `got` from `first` on are f(0), f(1), …
  template <class F>
  void compare(const buffer<T>& got, std::size_t first, std::size_t n, F f) {
    const std::vector<T> all = got.read(me_.stream);
    for (std::size_t i = 0; i < n; ++i) {
      const T right = f(i);
      ++to_.compared;
      if (std::memcmp(&all[first + i], &right, sizeof right) != 0) ++to_.wrong;
    }
  }

  void all_reduce(ncclRedOp_t op) {
    const auto right = [&](std::size_t i) { return combined(op, i); };
    const buffer<T> from(values(rank(), count));
    const buffer<T> to(count, num::make(1));
    expect(ncclAllReduce(from.data, to.data, count, type_, op, me_.communicator, me_.stream));
    compare(to, 0, count, right);
    compare(from, 0, count, [&](std::size_t i) { return num::make(value(rank(), i)); });
    expect(ncclAllReduce(from.data, from.data, count, type_, op, me_.communicator, me_.stream));
    compare(from, 0, count, right);
  }
  void reduce(ncclRedOp_t op, int root) {
    const buffer<T> from(values(rank(), count));
    const buffer<T> to(count, num::make(1));
    const bool mine = root == me_.rank;
    expect(ncclReduce(from.data, mine ? to.data : nullptr, count, type_, op, root, me_.communicator,
                      me_.stream));
    compare(to, 0, count, [&](std::size_t i) { return mine ? combined(op, i) : num::make(1); });
    expect(ncclReduce(from.data, from.data, count, type_, op, root, me_.communicator, me_.stream));
    compare(from, 0, count,
            [&](std::size_t i) { return mine ? combined(op, i) : num::make(value(rank(), i)); });
  }
  void reduce_scatter(ncclRedOp_t op) {
    const auto right = [&](std::size_t i) { return combined(op, rank() * count + i); };
    const buffer<T> from(values(rank(), count * ranks()));
    const buffer<T> to(count, num::make(1));
    expect(ncclReduceScatter(from.data, to.data, count, type_, op, me_.communicator, me_.stream));
    compare(to, 0, count, right);
    T* const part = from.data + rank() * count;
    expect(ncclReduceScatter(from.data, part, count, type_, op, me_.communicator, me_.stream));
    compare(from, rank() * count, count, right);
  }
  void broadcast(int root) {
    const auto right = [&](std::size_t i) {
      return num::make(value(static_cast<std::size_t>(root), i));
    };
    const buffer<T> from(values(rank(), count));
    const buffer<T> to(count, num::make(1));
    const bool mine = root == me_.rank;
    expect(ncclBroadcast(mine ? from.data : nullptr, to.data, count, type_, root, me_.communicator,
                         me_.stream));
    compare(to, 0, count, right);
    expect(ncclBcast(from.data, count, type_, root, me_.communicator, me_.stream));
    compare(from, 0, count, right);
  }
  void all_gather() {
    const auto right = [&](std::size_t i) { return num::make(value(i / count, i % count)); };
    const buffer<T> from(values(rank(), count));
    const buffer<T> to(count * ranks(), num::make(1));
    expect(ncclAllGather(from.data, to.data, count, type_, me_.communicator, me_.stream));
    compare(to, 0, count * ranks(), right);
    const buffer<T> whole(count * ranks(), num::make(1));
    T* const part = whole.data + rank() * count;
    cudaMemcpyAsync(part, from.data, from.bytes(), cudaMemcpyDeviceToDevice, me_.stream);
    expect(ncclAllGather(part, whole.data, count, type_, me_.communicator, me_.stream));
    compare(whole, 0, count * ranks(), right);
    expect(ncclAllGather(nullptr, nullptr, 0, type_, me_.communicator, me_.stream));
  }

  const one_rank& me_;
  ncclDataType_t type_;
  tally& to_;
};

/// With 1, 2 and 3 ranks, eagerly and in several orders.
template <class T>
void run_exchanges(ncclDataType_t type) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    for (int ranks = 1; ranks <= 3; ++ranks) {
      CAPTURE(type);
      CAPTURE(seed);
      CAPTURE(ranks);
      stand_in::reset();
      stand_in::set_devices(3);
      stand_in::set_seed(seed);
      if (seed == 0) stand_in::set_order(stand_in::order::eager);
      tally all;
      const auto answers =
          run_ranks(ranks, [&](const one_rank& me) { exchanges<T>(me, type, all).run(); });
      CHECK(answers == std::vector<ncclResult_t>(static_cast<std::size_t>(ranks), ncclSuccess));
      // of reductions, 5 each of 3 all-reduces, 2 reduce-scatters and 2 reduces a root
      CHECK(all.compared == ranks * (5 * 5 * (5 + 2 * ranks) + 10 * ranks + 10 * ranks));
      CHECK(all.wrong == 0);
      CHECK(all.errors == 0);
      REQUIRE(findings() == no_findings);
      CHECK(nothing_lives());
    }
  }
}

}  // namespace

TEST_CASE("exchanges of integers are what plain loops give") {
  run_exchanges<std::int8_t>(ncclInt8);
  run_exchanges<std::uint8_t>(ncclUint8);
  run_exchanges<std::int32_t>(ncclInt32);
  run_exchanges<std::uint32_t>(ncclUint32);
  run_exchanges<std::int64_t>(ncclInt64);
  run_exchanges<std::uint64_t>(ncclUint64);
}

TEST_CASE("exchanges of floats are what plain loops give") {
  run_exchanges<__half>(ncclFloat16);
  run_exchanges<__nv_bfloat16>(ncclBfloat16);
  run_exchanges<float>(ncclFloat32);
  run_exchanges<double>(ncclFloat64);
}

TEST_CASE("16-bit floats are added in float and rounded once; integers wrap") {
  stand_in::reset();
  stand_in::set_devices(3);
  std::vector<std::uint16_t> sums(3);
  std::vector<std::int32_t> wrapped(3);
  const auto answers = run_ranks(3, [&](const one_rank& me) {
    const auto r = static_cast<std::size_t>(me.rank);
    const buffer<std::uint16_t> x(1, me.rank == 0 ? 0x4380 : 0x3F80);  // 256, 1, 1
    const buffer<std::int32_t> y(1, me.rank == 0 ? 0x7FFFFFFF : 1);
    ncclAllReduce(x.data, x.data, 1, ncclBfloat16, ncclSum, me.communicator, me.stream);
    ncclAllReduce(y.data, y.data, 1, ncclInt32, ncclSum, me.communicator, me.stream);
    sums[r] = x.read(me.stream)[0];
    wrapped[r] = y.read(me.stream)[0];
  });
  CHECK(answers == std::vector<ncclResult_t>(3, ncclSuccess));
  CHECK(sums == std::vector<std::uint16_t>(3, 0x4381));  // 258, and not 256 twice rounded
  CHECK(wrapped == std::vector<std::int32_t>(3, -0x7FFFFFFF));
  CHECK(findings() == no_findings);
}

TEST_CASE("one thread is two ranks within groups; what is grouped is called at the group's end") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    stand_in::reset();
    if (seed == 0) stand_in::set_order(stand_in::order::eager);
    stand_in::set_seed(seed);
    ncclUniqueId id{};
    ncclComm_t made[2] = {};
    REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
    CHECK(ncclGroupStart() == ncclSuccess);
    CHECK(ncclGroupStart() == ncclSuccess);
    for (int r = 0; r < 2; ++r) {
      cudaSetDevice(1 - r);
      CHECK(ncclCommInitRank(&made[r], 2, id, r) == ncclSuccess);
    }
    CHECK(ncclGroupEnd() == ncclSuccess);
    CHECK(made[0] == nullptr);
    CHECK(ncclGroupEnd() == ncclSuccess);
    for (int r = 0; r < 2; ++r) {
      int count = 0;
      int rank = 7;
      int device = 7;
      CHECK(ncclCommCount(made[r], &count) == ncclSuccess);
      CHECK(ncclCommUserRank(made[r], &rank) == ncclSuccess);
      CHECK(ncclCommCuDevice(made[r], &device) == ncclSuccess);
      CHECK(count == 2);
      CHECK(rank == r);
      CHECK(device == 1 - r);
      CHECK(ncclCommDestroy(made[r]) == ncclSuccess);
    }
    {
      two_ranks two;
      two.add_both();
      two.add_both();
      CHECK(two.x[0]->read(two.stream[0]) == std::vector<float>(4, 6));
      CHECK(two.x[1]->read(two.stream[1]) == std::vector<float>(4, 6));
      CHECK(ncclCommFinalize(two.communicator[0]) == ncclSuccess);
    }
    CHECK(findings() == no_findings);
    CHECK(nothing_lives());
  }
}

TEST_CASE("a ring of sends and receives; transfers between two ranks keep their order") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    stand_in::reset();
    stand_in::set_devices(3);
    stand_in::set_seed(seed);
    std::vector<std::vector<float>> got(3);
    const auto answers = run_ranks(3, [&](const one_rank& me) {
      const auto mine = static_cast<float>(me.rank);
      const buffer<float> from(std::vector<float>{mine, mine + 10});
      const buffer<float> to(2, -1.0f);
      ncclGroupStart();
      for (std::size_t i = 0; i < 2; ++i) {
        ncclSend(from.data + i, 1, ncclFloat32, (me.rank + 1) % 3, me.communicator, me.stream);
        ncclRecv(to.data + i, 1, ncclFloat32, (me.rank + 2) % 3, me.communicator, me.stream);
      }
      ncclGroupEnd();
      got[static_cast<std::size_t>(me.rank)] = to.read(me.stream);
    });
    CHECK(answers == std::vector<ncclResult_t>(3, ncclSuccess));
    CHECK(got == std::vector<std::vector<float>>{{2, 12}, {0, 10}, {1, 11}});
    CHECK(findings() == no_findings);
  }
  // to itself
  stand_in::reset();
  const auto answers = run_ranks(1, [](const one_rank& me) {
    const buffer<float> x(std::vector<float>{1, 2});
    ncclGroupStart();
    ncclSend(x.data, 1, ncclFloat32, 0, me.communicator, me.stream);
    ncclRecv(x.data + 1, 1, ncclFloat32, 0, me.communicator, me.stream);
    ncclGroupEnd();
    CHECK(x.read(me.stream) == std::vector<float>{1, 1});
  });
  CHECK(answers == std::vector<ncclResult_t>{ncclSuccess});
}

TEST_CASE("a kernel before and one behind a collective on another stream, with events") {
  for (std::uint64_t seed = 0; seed < 16; ++seed) {
    stand_in::reset();
    stand_in::set_seed(seed);
    std::vector<std::vector<float>> got(2);
    const auto answers = run_ranks(2, [&](const one_rank& me) {
      const small_kernel::stream_of_test compute;
      const event_of_test made;
      const event_of_test reduced;
      const buffer<float> x(4, static_cast<float>(me.rank));
      launch_add(x.data, 1, 4, compute.handle);
      cudaEventRecord(made.handle, compute.handle);
      cudaStreamWaitEvent(me.stream, made.handle, 0);
      ncclAllReduce(x.data, x.data, 4, ncclFloat32, ncclSum, me.communicator, me.stream);
      cudaEventRecord(reduced.handle, me.stream);
      cudaStreamWaitEvent(compute.handle, reduced.handle, 0);
      launch_add(x.data, 10, 4, compute.handle);
      got[static_cast<std::size_t>(me.rank)] = x.read(compute.handle);
    });
    CHECK(answers == std::vector<ncclResult_t>(2, ncclSuccess));
    CHECK(got == std::vector<std::vector<float>>(2, std::vector<float>(4, 13)));
    CHECK(findings() == no_findings);
    CHECK(nothing_lives());
  }
}

TEST_CASE("without the events there are races: with what is sent, and with what is received") {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    stand_in::reset();
    stand_in::set_seed(seed);
    two_ranks two;
    const small_kernel::stream_of_test compute;
    launch_add(two.x[0]->data, 1, 4, compute.handle);
    two.add_both();
    CHECK(findings().size() == 2);
    CHECK(
        found("race: #4 ncclAllReduce of 4 float32 by sum of rank 0 of 2 (stream 1 of device 0) "
              "reads allocation 1 (16 bytes, cudaMalloc, device 0), which #3 kernel add"));
    cudaDeviceSynchronize();
    stand_in::recover();
    two.add_both();
    launch_add(two.x[0]->data, 1, 4, compute.handle);
    REQUIRE(!findings().empty());
    CHECK(findings()[0].find("kernel add (stream 3 of device 0) reads allocation 1") !=
          std::string::npos);
    cudaDeviceSynchronize();
    stand_in::recover();
  }
}

TEST_CASE("what a rank receives comes after what the others did before they sent") {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    stand_in::reset();
    stand_in::set_seed(seed);
    const small_kernel::pinned_array shared(4);
    two_ranks two;
    cudaMemsetAsync(shared.data, 0, 16, two.stream[1]);
    two.add_both();
    CHECK(cudaStreamSynchronize(two.stream[0]) == cudaSuccess);
    stand_in::host_access(shared.data, 16, stand_in::touch::read);
    CHECK(findings() == no_findings);
    // a root of a broadcast learns nothing of others
    cudaMemsetAsync(shared.data, 0, 16, two.stream[1]);
    ncclGroupStart();
    for (int r = 0; r < 2; ++r) {
      ncclBcast(two.x[r]->data, 4, ncclFloat32, 0, two.communicator[r], two.stream[r]);
    }
    ncclGroupEnd();
    CHECK(cudaStreamSynchronize(two.stream[0]) == cudaSuccess);
    stand_in::host_access(shared.data, 16, stand_in::touch::read);
    CHECK(found("race: the program reads allocation 1"));
    stand_in::recover();
  }
}

TEST_CASE("a collective is not done before all ranks have come to it") {
  stand_in::reset();
  two_ranks two;
  CHECK(ncclGroupStart() == ncclSuccess);
  CHECK(two.add(0) == ncclSuccess);
  CHECK(two.add(1) == ncclSuccess);
  CHECK(stand_in::queued() == 0);
  CHECK(ncclGroupEnd() == ncclSuccess);
  CHECK(stand_in::queued() == 4);
  CHECK(cudaStreamSynchronize(two.stream[1]) == cudaSuccess);
  CHECK(two.x[0]->read(two.stream[0]) == std::vector<float>(4, 3));
  std::vector<ncclResult_t> answers(2, ncclInternalError);
  std::thread other([&] { answers[1] = two.add(1); });
  other.join();
  for (int i = 0; i < 20; ++i) CHECK(cudaStreamQuery(two.stream[1]) == cudaErrorNotReady);
  std::thread late([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    answers[0] = two.add(0);
  });
  CHECK(cudaStreamSynchronize(two.stream[1]) == cudaSuccess);
  late.join();
  CHECK(answers == std::vector<ncclResult_t>(2, ncclSuccess));
  CHECK(two.x[1]->read(two.stream[1]) == std::vector<float>(4, 6));
  CHECK(findings() == no_findings);
}

TEST_CASE("the version, the words for errors, and arguments that are none") {
  stand_in::reset();
  int version = 0;
  CHECK(ncclGetVersion(&version) == ncclSuccess);
  CHECK(version == NCCL_VERSION_CODE);
  CHECK(std::string(ncclGetErrorString(ncclInvalidArgument)) == "invalid argument");
  ncclComm_t made = nullptr;
  ncclUniqueId id{};
  CHECK(ncclCommInitRank(&made, 1, id, 0) == ncclInvalidArgument);
  CHECK(findings() ==
        std::vector<std::string>{"handle: ncclCommInitRank is given an id that is none"});
  CHECK(std::string(ncclGetLastError(nullptr)) == "ncclCommInitRank: invalid argument");
  stand_in::recover();
  CHECK(ncclGetUniqueId(&id) == ncclSuccess);
  CHECK(ncclCommInitRank(&made, 2, id, 2) == ncclInvalidArgument);
  CHECK(ncclCommInitAll(&made, 3, nullptr) == ncclInvalidArgument);
  CHECK(ncclGroupEnd() == ncclInvalidUsage);
  {
    two_ranks two;
    float* const x = two.x[0]->data;
    const ncclComm_t c = two.communicator[0];
    const cudaStream_t s = two.stream[0];
    CHECK(ncclAllReduce(x, nullptr, 4, ncclFloat32, ncclSum, c, s) == ncclInvalidArgument);
    CHECK(ncclAllReduce(x, x, 4, ncclNumTypes, ncclSum, c, s) == ncclInvalidArgument);
    CHECK(ncclAllReduce(x, x, 4, ncclFloat32, ncclNumOps, c, s) == ncclInvalidArgument);
    CHECK(ncclAllReduce(x, x, ~std::size_t{0} / 4, ncclFloat32, ncclSum, c, s) ==
          ncclInvalidArgument);
    CHECK(ncclReduce(x, x, 4, ncclFloat32, ncclSum, 2, c, s) == ncclInvalidArgument);
    CHECK(ncclSend(x, 4, ncclFloat32, -1, c, s) == ncclInvalidArgument);
    CHECK(stand_in::queued() == 0);
    CHECK(findings() == no_findings);
    CHECK(ncclAllReduce(x, x, 4, ncclFloat32, ncclSum, c, two.stream[1]) == ncclInvalidArgument);
    CHECK(found("handle: ncclAllReduce is given a stream of another device"));
  }
  stand_in::recover();
}
