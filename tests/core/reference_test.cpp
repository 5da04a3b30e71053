// SPDX-License-Identifier: BSD-3-Clause
// Counted references: one thread, several threads, owners that have ended.
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/core/reference.hpp>

namespace {

struct probe : heddle::counted {
  std::atomic<int>* ended;
  int payload = 42;

  explicit probe(std::atomic<int>& count) : ended(&count) {}
  ~probe() override { ended->fetch_add(payload == 42 ? 1 : 1000); }
};

struct derived_probe : probe {
  using probe::probe;
};

}  // namespace

TEST_CASE("the last handle disposes of the object") {
  std::atomic<int> ended{0};
  auto first = heddle::make_handle<probe>(ended);
  CHECK(first->is_unique());
  {
    auto second = first;
    CHECK(second == first);
    CHECK_FALSE(first->is_unique());
    auto third = std::move(second);
    CHECK(second == nullptr);
    second = third;
    second = *&second;
  }
  CHECK(first->is_unique());
  CHECK(ended == 0);
  first.reset();
  CHECK(ended == 1);
}

TEST_CASE("a handle converts to one of its base, and adopts and detaches") {
  std::atomic<int> ended{0};
  heddle::handle<probe> held = heddle::make_handle<derived_probe>(ended);
  probe* raw = held.detach();
  CHECK(ended == 0);
  heddle::handle<probe> again = heddle::handle<probe>::adopt(raw);
  heddle::handle<probe> more = heddle::handle<probe>::share(raw);
  again.reset();
  CHECK(ended == 0);
  more.reset();
  CHECK(ended == 1);
}

TEST_CASE("an object whose last handle another thread drops is collected by its owner") {
  std::atomic<int> ended{0};
  auto held = heddle::make_handle<probe>(ended);
  std::thread([moved = std::move(held)]() mutable { moved.reset(); }).join();
  heddle::collect_references();
  CHECK(ended == 1);
}

TEST_CASE("making an object collects what other threads dropped") {
  std::atomic<int> ended{0};
  auto held = heddle::make_handle<probe>(ended);
  std::thread([moved = std::move(held)]() mutable { moved.reset(); }).join();
  auto next = heddle::make_handle<probe>(ended);
  CHECK(ended == 1);
}

TEST_CASE("a shared object is disposed of by whoever drops it last") {
  std::atomic<int> ended{0};
  auto held = heddle::make_handle<probe>(ended);
  held->share();
  CHECK(held->is_unique());
  std::thread([moved = std::move(held), &ended]() mutable {
    moved.reset();
    CHECK(ended == 1);
  }).join();
}

TEST_CASE("handles outlive the thread that made the object") {
  std::atomic<int> ended{0};
  heddle::handle<probe> held;
  std::thread([&] { held = heddle::make_handle<probe>(ended); }).join();
  auto copy = held;
  held.reset();
  CHECK(ended == 0);
  copy.reset();
  CHECK(ended == 1);
}

TEST_CASE("a thread that takes over an ended owner's place handles its objects") {
  std::atomic<int> ended{0};
  std::vector<heddle::handle<probe>> objects(8);
  std::thread([&] {
    for (auto& each : objects) each = heddle::make_handle<probe>(ended);
  }).join();
  std::thread([&] {
    auto own = heddle::make_handle<probe>(ended);
    for (int i = 0; i < 4; ++i) {
      auto copy = objects[static_cast<std::size_t>(i)];
      objects[static_cast<std::size_t>(i)].reset();
    }
  }).join();
  CHECK(ended == 5);
  objects.clear();
  CHECK(ended == 9);
}

TEST_CASE("the owner drops its last handle while other threads hold some") {
  std::atomic<int> ended{0};
  for (int round = 0; round < 200; ++round) {
    auto held = heddle::make_handle<probe>(ended);
    std::thread other([copy = held]() mutable {
      auto more = copy;
      copy.reset();
      more.reset();
    });
    held.reset();
    other.join();
  }
  heddle::collect_references();
  CHECK(ended == 200);
}

TEST_CASE("objects passed around between threads are disposed of exactly once") {
  // Four threads exchange handles through slots that each take and fill at random.
  constexpr int slots = 8;
  constexpr int rounds = 4000;
  std::atomic<int> ended{0};
  std::atomic<int> made{0};
  std::atomic<probe*> slot[slots] = {};
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&, seed] {
      unsigned state = seed * 2654435761u;
      std::vector<heddle::handle<probe>> mine;
      for (int round = 0; round < rounds; ++round) {
        state = state * 1664525u + 1013904223u;
        auto& place = slot[(state >> 8) % slots];
        heddle::handle<probe> next;
        const unsigned what = (state >> 16) % 4;
        if (what == 0 || mine.empty()) {
          next = heddle::make_handle<probe>(ended);
          made.fetch_add(1);
        } else {
          next = mine[(state >> 20) % mine.size()];
        }
        if (what == 1 && next) next->share();
        auto taken = heddle::handle<probe>::adopt(place.exchange(next.detach()));
        if (taken) {
          REQUIRE(taken->payload == 42);
          mine.push_back(std::move(taken));
        }
        if (mine.size() > 6) mine.erase(mine.begin() + static_cast<long>((state >> 24) % 6));
      }
    });
  }
  for (auto& each : threads) each.join();
  for (auto& place : slot) {
    auto left = heddle::handle<probe>::adopt(place.exchange(nullptr));
    left.reset();
  }
  heddle::collect_references();
  CHECK(ended == made);
}
