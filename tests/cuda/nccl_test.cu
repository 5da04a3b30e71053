// SPDX-License-Identifier: BSD-3-Clause
// Ranks on CUDA devices, by NCCL: what the communicator of threads makes of the same elements, and
// every failure. On a GPU, a rank for each of at most two.
#include <string>
#include <thread>
#include <vector>

#include "../support/said.hpp"
#include "cuda_case.hpp"
#include <doctest/doctest.h>

#if !defined(HEDDLE_TEST_WITHOUT_NCCL)

#include <heddle/distributed/cuda/nccl.cuh>
#include <heddle/distributed/local.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/views.hpp>

namespace {

using namespace heddle;
using support::said;

/// body(communicator) as every rank of a group, rank r on cuda(r), each in a thread of its own.
/// What each threw, empty where it did not.
template <class Body>
std::vector<std::string> run_on_devices(int size, Body body, nccl_options options = {}) {
  const nccl_id id = nccl_id::make();
  std::vector<std::string> errors(static_cast<std::size_t>(size));
  std::vector<std::thread> ranks;
  for (int r = 0; r < size; ++r) {
    ranks.emplace_back([&, r] {
      try {
        nccl_communicator c(id, size, r, cuda(r), options);
        body(c);
      } catch (const error& e) {
        errors[static_cast<std::size_t>(r)] = e.what();
      }
    });
  }
  for (std::thread& t : ranks) t.join();
  return errors;
}
/// Says what ranks threw. Whether none did.
bool fine(const std::vector<std::string>& errors) {
  bool all = true;
  for (const std::string& e : errors) {
    all = all && e.empty();
    if (!e.empty()) MESSAGE(e);
  }
  return all;
}

int devices() { return cuda_device_count() < 2 ? 1 : 2; }

/// What one rank has after every collective, one behind the other: small whole numbers, so that
/// every order of additions gives the same.
template <class T, class Communicator>
std::vector<double> everything(Communicator& c, device where) {
  const auto make = [&](std::int64_t n, int seed) {
    tensor<T, 1> x = empty<T, 1>({n});
    for (std::int64_t i = 0; i < n; ++i) {
      const int value = static_cast<int>((i * 5 + 3 * c.rank() + seed) % 7);
      x(i) = static_cast<T>(std::is_same_v<T, bool> ? static_cast<float>(value % 2)
                                                    : static_cast<float>(value));
    }
    return x.to(where);
  };
  const std::int64_t n = 6, all = n * c.size();
  std::vector<double> found;
  const auto keep = [&](const tensor<T, 1>& x) {
    const tensor<T, 1> here = x.to(cpu());
    for (std::int64_t i = 0; i < here.size(); ++i) {
      found.push_back(static_cast<double>(static_cast<float>(here(i))));
    }
  };
  for (const reduce_op op : {reduce_op::sum, reduce_op::max, reduce_op::min}) {
    if (std::is_same_v<T, bool> && op == reduce_op::sum) continue;
    const tensor<T, 1> x = make(n, 0), whole = make(all, 1), part = make(n, 2);
    c.all_reduce(x, op);
    c.reduce_scatter(whole, part, op);
    keep(x);
    keep(part);
  }
  const tensor<T, 1> own = make(n, 3), whole = make(all, 4);
  c.all_gather(own, whole);
  keep(whole);
  for (int root = 0; root < c.size(); ++root) {
    const tensor<T, 1> x = make(n, 5 + root);
    c.broadcast(x, root);
    keep(x);
  }
  if (c.size() > 1) {
    const tensor<T, 1> sent = make(n, 8), got = make(n, 9);
    if (c.rank() == 0) c.send(sent, 1);
    if (c.rank() == 1) c.recv(got, 0);
    if (c.rank() == 1) c.send(sent, 0);
    if (c.rank() == 0) c.recv(got, 1);
    keep(got);
  }
  c.barrier();
  return found;
}

struct check_type {
  template <class T>
  void operator()(int size) const {
    INFO(name_of(dtype_of<T>) << ", " << size << " ranks");
    std::vector<std::vector<double>> expected(2), found(2);
    run_ranks(size, [&](local_communicator& c) {
      expected[static_cast<std::size_t>(c.rank())] = everything<T>(c, cpu());
    });
    CHECK(fine(run_on_devices(size, [&](nccl_communicator& c) {
      found[static_cast<std::size_t>(c.rank())] = everything<T>(c, c.device());
    })));
    CHECK(found == expected);
  }
};

}  // namespace

TEST_CASE("every collective of every dtype is that of ranks that are threads") {
  const support::cuda_case clean;
  for (int size = 1; size <= devices(); ++size) {
    check_type{}.operator()<double>(size);
    check_type{}.operator()<float>(size);
    check_type{}.operator()<bfloat16>(size);
    check_type{}.operator()<float16>(size);
    check_type{}.operator()<std::int64_t>(size);
    check_type{}.operator()<std::int32_t>(size);
    check_type{}.operator()<std::uint8_t>(size);
    check_type{}.operator()<bool>(size);
  }
}

TEST_CASE("statements before and behind a collective are ordered with it by the stream") {
  const support::cuda_case clean;
  const int size = devices();
  CHECK(fine(run_on_devices(size, [&](nccl_communicator& c) {
    const stream own(c.device());
    const stream_scope scope(own);
    const tensor<float, 1> x = full<float, 1>({1000}, static_cast<float>(c.rank() + 1), c.device());
    tensor<float, 1> y = evaluate(x * 2);
    c.all_reduce(y);
    y = evaluate(y + 1);
    const float sum = size == 1 ? 3.0f : 7.0f;
    if (y.to(cpu())(999) != sum) throw error("the sum is not the ranks'");
  })));
}

TEST_CASE("what no rank could use is refused in one sentence, and the group goes on") {
  const support::cuda_case clean;
  CHECK(said<device_error>([] { nccl_communicator(nccl_id::make(), 1, 0, cpu()); }) ==
        "heddle::nccl_communicator: NCCL works on CUDA devices: cpu; on hosts use "
        "local_communicator");
  CHECK(said<value_error>([] { nccl_communicator(nccl_id::make(), 1, 1, cuda(0)); }) ==
        "heddle::nccl_communicator: there is no such rank: 1; ranks are 0 to 0");
  nccl_communicator c(nccl_id::make(), 1, 0, cuda(0));
  const tensor<float, 1> here = ones<float, 1>({4}), x = here.to(cuda(0));
  const tensor<float, 2> square = ones<float, 2>({4, 4}).to(cuda(0));
  CHECK(said<device_error>([&] { c.all_reduce(here); }) ==
        "heddle::all_reduce: the buffer is not on the communicator's device: cpu; cuda:0 is "
        "expected");
  CHECK(said<value_error>([&] {
          c.broadcast(transpose<0, 1>(square));
        }).find("is not contiguous") != std::string::npos);
  CHECK(said<type_error>([&] { c.all_reduce(full<bool, 1>({4}, true).to(cuda(0))); }) ==
        "heddle::all_reduce: bool has no sum; use max for or, min for and");
  CHECK(said<shape_error>([&] {
          c.all_gather(x, square);
        }).find("the larger buffer does not hold one part of each rank") != std::string::npos);
  CHECK(said<value_error>([&] { c.send(x, 0); }).find("a rank names itself") != std::string::npos);
  CHECK(said<value_error>([&] { c.broadcast(x, 2); }).find("there is no such rank: 2") !=
        std::string::npos);
  const auto version = x.version();
  c.all_reduce(x);
  CHECK(x.version() != version);
  CHECK(x.to(cpu())(3) == 1);
}

TEST_CASE("a group that was aborted says why, on every call") {
  const support::cuda_case clean;
  nccl_communicator c(nccl_id::make(), 1, 0, cuda(0));
  const tensor<float, 1> x = ones<float, 1>({4}).to(cuda(0));
  std::thread other([&] { c.abort("the test ends"); });
  other.join();
  c.abort("only the first reason counts");
  const std::string left = ": rank 0 of 1 has left the group: it was aborted: the test ends";
  CHECK(said<communication_error>([&] { c.all_reduce(x); }) == "heddle::all_reduce" + left);
  CHECK(said<communication_error>([&] { c.barrier(); }) == "heddle::all_reduce" + left);
}

#if !defined(HEDDLE_TEST_ON_GPU)

TEST_CASE("a rank that never comes is said at the deadline, and so are two on one device") {
  const support::cuda_case clean;
  const nccl_id id = nccl_id::make();
  CHECK(
      said<communication_error>([&] { nccl_communicator(id, 2, 0, cuda(0), {.deadline = 0.2}); }) ==
      "heddle::nccl_communicator: rank 0 of 2 has left the group: nccl_communicator: the other "
      "ranks did not come within 0.2 s");
  const nccl_id twice = nccl_id::make();
  std::vector<std::string> errors(2);
  std::vector<std::thread> ranks;
  for (int r = 0; r < 2; ++r) {
    ranks.emplace_back([&, r] {
      errors[static_cast<std::size_t>(r)] = said<communication_error>(
          [&] { nccl_communicator(twice, 2, r, cuda(0), {.deadline = 20}); });
    });
  }
  for (std::thread& t : ranks) t.join();
  for (const std::string& e : errors) {
    CHECK(e.find("NCCL says invalid usage") != std::string::npos);
  }
}

TEST_CASE("ranks that call different collectives get an error, and no value") {
  // The stand-in finds what NCCL leaves undefined; the communicator passes its error on.
  stand_in::set_order(stand_in::order::random);
  stand_in::set_time_limit(std::chrono::milliseconds(300));
  const std::vector<std::string> errors = run_on_devices(2, [](nccl_communicator& c) {
    const tensor<float, 1> x = full<float, 1>({8}, 1.0f, c.device());
    if (c.rank() == 0) c.all_reduce(x);
    if (c.rank() == 1) c.broadcast(x, 0);
    c.barrier();
  });
  for (const std::string& e : errors) {
    CHECK_MESSAGE(e.find("has left the group") != std::string::npos, "not: " << e);
  }
  CHECK(!stand_in::findings().empty());
  collect_references();
  stand_in::recover();
}

TEST_CASE("after a failure of any call of two ranks nothing is leaked and a new group works") {
  const support::cuda_case clean;
  const auto work = [](nccl_communicator& c) {
    const tensor<float, 1> x = full<float, 1>({64}, 1.0f, c.device());
    c.all_reduce(x);
    c.barrier();
    if (x.to(cpu())(63) != static_cast<float>(c.size())) throw error("a wrong value was released");
  };
  stand_in::reset_counters();
  CHECK(fine(run_on_devices(2, work)));
  const std::uint64_t calls = stand_in::calls();
  CHECK(calls > 20);
  const std::size_t objects = stand_in::live_library_objects().size();
  int failures = 0;
  for (std::uint64_t k = 1; k <= calls; ++k) {
    INFO("call " << k);
    stand_in::fail_call(k, cudaErrorInvalidValue);
    stand_in::set_time_limit(std::chrono::milliseconds(300));
    std::vector<std::string> errors;
    try {
      errors = run_on_devices(2, work, {.deadline = 0.3});
    } catch (const cuda_error&) {
      errors.emplace_back("no id");
    }
    stand_in::fail_call(0, cudaSuccess);
    for (const std::string& e : errors) {
      failures += e.empty() ? 0 : 1;
      CHECK(e.find("a wrong value") == std::string::npos);
    }
    collect_references();
    cudaDeviceSynchronize();
    CHECK(stand_in::live_library_objects().size() == objects);
    stand_in::recover();
  }
  CHECK(failures >= static_cast<int>(calls) / 2);
  CHECK(fine(run_on_devices(2, work)));
}

#endif
#endif
