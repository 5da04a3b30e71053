// SPDX-License-Identifier: BSD-3-Clause
// parallel_for: its parts, nesting, exceptions, and the threads of devices.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/core/stream.hpp>
#include <heddle/core/thread_pool.hpp>

namespace {

// Gives the number of threads back at the end of a test.
struct threads_scope {
  int before = heddle::num_threads();
  explicit threads_scope(int count) { heddle::set_num_threads(count); }
  ~threads_scope() { heddle::set_num_threads(before); }
};

std::vector<std::pair<std::int64_t, std::int64_t>> parts_of(std::int64_t begin, std::int64_t end,
                                                            std::int64_t grain) {
  std::vector<std::pair<std::int64_t, std::int64_t>> parts(64);
  std::atomic<std::size_t> count{0};
  heddle::parallel_for(begin, end, grain, [&](std::int64_t first, std::int64_t last) {
    parts[count.fetch_add(1)] = {first, last};
  });
  parts.resize(count);
  std::sort(parts.begin(), parts.end());
  return parts;
}

}  // namespace

TEST_CASE("the parts cover the range once and are the same every time") {
  const threads_scope four(4);
  for (const std::int64_t count : {2, 3, 4, 5, 7, 63, 64, 1001}) {
    CAPTURE(count);
    const auto parts = parts_of(10, 10 + count, 1);
    CHECK(parts.size() == static_cast<std::size_t>(std::min<std::int64_t>(count, 4)));
    std::int64_t at = 10;
    for (const auto& [first, last] : parts) {
      CHECK(first == at);
      CHECK(last > first);
      at = last;
    }
    CHECK(at == 10 + count);
    CHECK(parts_of(10, 10 + count, 1) == parts);
  }
}

TEST_CASE("small ranges are one call in the caller, empty ranges none") {
  const threads_scope four(4);
  CHECK(parts_of(0, 0, 1).empty());
  CHECK(parts_of(5, 3, 1).empty());
  CHECK(parts_of(0, 99, 50).size() == 1);
  CHECK(parts_of(0, 100, 50).size() == 2);
  std::thread::id ran;
  heddle::parallel_for(0, 10, 100,
                       [&](std::int64_t, std::int64_t) { ran = std::this_thread::get_id(); });
  CHECK(ran == std::this_thread::get_id());
}

TEST_CASE("a nested parallel_for runs in its caller") {
  const threads_scope four(4);
  std::atomic<int> outside{0};
  std::atomic<int> calls{0};
  heddle::parallel_for(0, 4, 1, [&](std::int64_t, std::int64_t) {
    const std::thread::id mine = std::this_thread::get_id();
    heddle::parallel_for(0, 100, 1, [&](std::int64_t first, std::int64_t last) {
      ++calls;
      if (std::this_thread::get_id() != mine || first != 0 || last != 100) ++outside;
    });
  });
  CHECK(outside == 0);
  CHECK(calls == 4);
}

TEST_CASE("the exception of the lowest part reaches the caller, and the pool goes on") {
  const threads_scope four(4);
  for (int round = 0; round < 20; ++round) {
    std::string message;
    try {
      heddle::parallel_for(0, 4, 1, [](std::int64_t first, std::int64_t) {
        if (first >= 1) throw std::runtime_error(std::to_string(first));
      });
    } catch (const std::runtime_error& caught) {
      message = caught.what();
    }
    CHECK(message == "1");
  }
  CHECK(parts_of(0, 4, 1).size() == 4);
}

TEST_CASE("callers in several threads are all served") {
  const threads_scope two(2);
  std::vector<std::thread> threads;
  std::atomic<std::int64_t> sum{0};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&sum] {
      for (int round = 0; round < 100; ++round) {
        heddle::parallel_for(0, 100, 10, [&sum](std::int64_t first, std::int64_t last) {
          sum.fetch_add(last - first);
        });
      }
    });
  }
  for (auto& each : threads) each.join();
  CHECK(sum == 3 * 100 * 100);
}

TEST_CASE("a virtual device uses one thread unless told otherwise") {
  const threads_scope four(4);
  const heddle::device device = heddle::cpu(9);
  CHECK(heddle::num_threads(device) == 1);
  std::size_t parts = 0;
  int seen = -2;
  heddle::default_stream(device).enqueue([&] { parts = parts_of(0, 100, 1).size(); });
  heddle::synchronize(device);
  CHECK(parts == 1);
  heddle::set_num_threads(3, device);
  heddle::default_stream(device).enqueue([&] {
    parts = parts_of(0, 100, 1).size();
    heddle::parallel_for(0, 3, 1, [&seen](std::int64_t first, std::int64_t) {
      if (first == 2) seen = heddle::detail::this_thread_device;
    });
  });
  heddle::synchronize(device);
  CHECK(parts == 3);
  CHECK(seen == 9);
  heddle::set_num_threads(1, device);
}

TEST_CASE("a count of threads that makes no sense is a value error") {
  CHECK_THROWS_AS(heddle::set_num_threads(0), heddle::value_error);
  CHECK_THROWS_AS(heddle::set_num_threads(100000), heddle::value_error);
  CHECK_THROWS_AS((void)heddle::num_threads(heddle::cuda(0)), heddle::device_error);
}
