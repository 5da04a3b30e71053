// SPDX-License-Identifier: BSD-3-Clause
// Streams and events of the host devices.
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/core/memory.hpp>
#include <heddle/core/stream.hpp>

using heddle::event;
using heddle::stream;

namespace {

// Holds tasks back until it is opened.
struct gate {
  std::atomic<bool> open{false};
  void pass() const {
    while (!open.load()) std::this_thread::yield();
  }
};

}  // namespace

TEST_CASE("the stream of cpu() runs a task in the caller") {
  const stream here = heddle::default_stream(heddle::cpu());
  CHECK(here.is_inline());
  std::thread::id ran;
  here.enqueue([&] { ran = std::this_thread::get_id(); });
  CHECK(ran == std::this_thread::get_id());
  CHECK_THROWS_AS(here.enqueue([] { throw std::logic_error("now"); }), std::logic_error);
  here.synchronize();
}

TEST_CASE("a queue runs its tasks in order, in a thread of its own") {
  const stream queue(heddle::cpu(0));
  std::vector<int> order;
  std::thread::id ran;
  for (int i = 0; i < 1000; ++i) queue.enqueue([&order, i] { order.push_back(i); });
  queue.enqueue([&ran] { ran = std::this_thread::get_id(); });
  queue.synchronize();
  REQUIRE(order.size() == 1000);
  for (int i = 0; i < 1000; ++i) CHECK(order[static_cast<std::size_t>(i)] == i);
  CHECK(ran != std::this_thread::get_id());
}

TEST_CASE("a blocked cpu(0) leaves cpu(1) and the enqueuing thread running") {
  gate held;
  std::atomic<bool> first{false};
  const stream zero = heddle::default_stream(heddle::cpu(0));
  zero.enqueue([&] {
    held.pass();
    first = true;
  });
  int second = 0;
  heddle::default_stream(heddle::cpu(1)).enqueue([&] { second = 1; });
  heddle::synchronize(heddle::cpu(1));
  CHECK(second == 1);
  CHECK_FALSE(first);
  held.open = true;
  heddle::synchronize(heddle::cpu(0));
  CHECK(first);
}

TEST_CASE("tasks may own what cannot be copied, small or large") {
  const stream queue(heddle::cpu(2));
  std::atomic<int> sum{0};
  queue.enqueue([owned = std::make_unique<int>(5), &sum] { sum += *owned; });
  struct large {
    std::unique_ptr<int> owned = std::make_unique<int>(7);
    char filling[200] = {};
  };
  queue.enqueue([big = large{}, &sum] { sum += *big.owned + big.filling[3]; });
  queue.synchronize();
  CHECK(sum == 12);
}

TEST_CASE("the first exception is rethrown as its own type, once, and later tasks are dropped") {
  const stream queue(heddle::cpu(0));
  bool ran = false;
  queue.enqueue([] { heddle::raise<heddle::shape_error>("heddle::test: first"); });
  queue.enqueue([&ran] { ran = true; });
  queue.enqueue([] { throw std::logic_error("second"); });
  std::string message;
  try {
    queue.synchronize();
  } catch (const heddle::shape_error& caught) {
    message = caught.what();
  }
  CHECK(message == "heddle::test: first");
  CHECK_FALSE(ran);
  queue.enqueue([&ran] { ran = true; });
  queue.synchronize();
  CHECK(ran);
}

TEST_CASE("an event makes a stream wait for another") {
  gate held;
  std::vector<int> order;
  const stream zero(heddle::cpu(0));
  const stream one(heddle::cpu(1));
  zero.enqueue([&] {
    held.pass();
    order.push_back(0);
  });
  event passed;
  CHECK(passed.query());
  passed.record(zero);
  passed.wait(one);
  one.enqueue([&] { order.push_back(1); });
  CHECK_FALSE(passed.query());
  held.open = true;
  one.synchronize();
  CHECK(passed.query());
  CHECK(order == std::vector<int>{0, 1});
  passed.synchronize();
}

TEST_CASE("a wait keeps to the recording it was made for") {
  gate held;
  const stream zero(heddle::cpu(0));
  const stream one(heddle::cpu(1));
  event point;
  point.record(zero);
  const event earlier = point;
  point.wait(one);
  zero.enqueue([&] { held.pass(); });
  point.record(zero);
  one.synchronize();
  earlier.synchronize();
  CHECK_FALSE(point.query());
  held.open = true;
  point.synchronize();
  CHECK(point.query());
}

TEST_CASE("a failure passes on to streams that wait for it, and is told once as itself") {
  const stream zero(heddle::cpu(0));
  const stream one(heddle::cpu(1));
  bool ran = false;
  zero.enqueue([] { heddle::raise<heddle::value_error>("heddle::test: failed"); });
  event point;
  point.record(zero);
  point.wait(one);
  one.enqueue([&ran] { ran = true; });
  CHECK_THROWS_AS(one.synchronize(), heddle::value_error);
  CHECK_FALSE(ran);
  CHECK_THROWS_AS(zero.synchronize(), heddle::state_error);
  zero.synchronize();
  one.synchronize();
}

TEST_CASE("a task that waits for its own stream is told so") {
  const stream queue(heddle::cpu(0));
  queue.enqueue([queue] { queue.synchronize(); });
  CHECK_THROWS_AS(queue.synchronize(), heddle::state_error);
}

TEST_CASE("a stream scope chooses the current stream of this thread and device") {
  const heddle::device device = heddle::cpu(3);
  const stream usual = heddle::default_stream(device);
  CHECK(heddle::current_stream(device) == usual);
  const stream other(device);
  {
    const heddle::stream_scope scope(other);
    CHECK(heddle::current_stream(device) == other);
    CHECK(heddle::current_stream(heddle::cpu(4)) == heddle::default_stream(heddle::cpu(4)));
    std::thread([&] { CHECK(heddle::current_stream(device) == usual); }).join();
    {
      const heddle::stream_scope inner(usual);
      CHECK(heddle::current_stream(device) == usual);
    }
    CHECK(heddle::current_stream(device) == other);
  }
  CHECK(heddle::current_stream(device) == usual);
}

TEST_CASE("a stream that is dropped finishes what was enqueued") {
  std::atomic<int> done{0};
  gate held;
  event last;
  {
    const stream queue(heddle::cpu(5));
    queue.enqueue([&] { held.pass(); });
    for (int i = 0; i < 10; ++i) queue.enqueue([&done] { ++done; });
    last.record(queue);
  }
  held.open = true;
  last.synchronize();
  CHECK(done == 10);
}

TEST_CASE("many streams come and go") {
  std::atomic<int> done{0};
  for (int i = 0; i < 100; ++i) {
    const stream queue(heddle::cpu(i % 8));
    queue.enqueue([&done] { ++done; });
    if (i % 3 == 0) queue.enqueue([queue, &done] { ++done; });
    queue.synchronize();
  }
  CHECK(done == 134);
}

TEST_CASE("storages made here and dropped by tasks are freed") {
  const heddle::device device = heddle::cpu(6);
  const std::int64_t before = heddle::memory_stats(device).live;
  const stream queue = heddle::default_stream(device);
  for (int i = 0; i < 500; ++i) {
    auto held = heddle::storage::allocate(1000, device);
    auto second = held;
    queue.enqueue([moved = std::move(held)] { moved->data()[0] = std::byte{1}; });
    queue.enqueue([second] { second->data()[1] = second->data()[0]; });
  }
  heddle::synchronize(device);
  CHECK(heddle::memory_stats(device).live == before);
}

TEST_CASE("several threads enqueue on one stream") {
  const stream queue(heddle::cpu(7));
  int count = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) queue.enqueue([&count] { ++count; });
      queue.synchronize();
    });
  }
  for (auto& each : threads) each.join();
  CHECK(count == 900);
}

TEST_CASE("a device without a backend has no stream") {
  CHECK_THROWS_AS(stream(heddle::cuda(0)), heddle::device_error);
  CHECK_THROWS_AS((void)heddle::default_stream(heddle::cuda(0)), heddle::device_error);
  CHECK(heddle::default_stream(heddle::meta()).is_inline());
}
