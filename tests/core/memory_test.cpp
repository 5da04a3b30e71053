// SPDX-License-Identifier: BSD-3-Clause
// Storages, the caching allocator and its figures.
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/core/memory.hpp>

using heddle::handle;
using heddle::storage;

namespace {

// A virtual device that no other test uses.
const heddle::device quiet = heddle::cpu(40);

bool is_aligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 64 == 0; }

}  // namespace

TEST_CASE("size classes hold what they are asked to, and waste at most a quarter") {
  using namespace heddle::detail;
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 20); bytes += bytes < 5000 ? 1 : 997) {
    const int block_class = class_of_block(bytes);
    REQUIRE(bytes_of_class(block_class) >= bytes);
    REQUIRE(bytes_of_class(block_class) % 64 == 0);
    if (block_class > 0) REQUIRE(bytes_of_class(block_class - 1) < bytes);
    if (bytes > 512) REQUIRE(bytes_of_class(block_class) * 4 <= bytes * 5);
  }
  CHECK(bytes_of_class(small_classes - 1) == 64 * 1024);
  CHECK(bytes_of_class(block_classes - 1) == std::size_t{1} << 31);
  CHECK(class_of_block(std::size_t{1} << 31) == block_classes - 1);
}

TEST_CASE("data are aligned to 64 bytes and usable in full, at every size") {
  for (const std::size_t bytes : {0ul, 1ul, 63ul, 64ul, 100ul, 4096ul, 32768ul, 32769ul, 65536ul,
                                  65537ul, 1000000ul, 2ul << 20, 5000000ul}) {
    CAPTURE(bytes);
    const handle<storage> held = storage::allocate(bytes, quiet);
    CHECK(is_aligned(held->data()));
    CHECK(held->bytes() == bytes);
    CHECK(held->device() == quiet);
    if (bytes > 0) std::memset(held->data(), 0xa5, bytes);
  }
}

TEST_CASE("live, peak and cached bytes are exact for one thread") {
  heddle::empty_cache();
  const std::int64_t before = heddle::memory_stats(quiet).live;
  heddle::reset_peak_memory(quiet);
  {
    const auto small = storage::allocate(100, quiet);
    {
      const auto large = storage::allocate(3000000, quiet);
      CHECK(heddle::memory_stats(quiet).live == before + 3000100);
    }
    const auto other = storage::allocate(50, quiet);
    CHECK(heddle::memory_stats(quiet).live == before + 150);
    CHECK(heddle::memory_stats(quiet).peak == before + 3000100);
    CHECK(heddle::memory_stats(quiet).cached >= 3000000);
  }
  CHECK(heddle::memory_stats(quiet).live == before);
  heddle::reset_peak_memory(quiet);
  CHECK(heddle::memory_stats(quiet).peak == before);
  heddle::empty_cache();
  CHECK(heddle::memory_stats(quiet).cached == 0);
}

TEST_CASE("a short-lived peak between two small allocations is seen") {
  heddle::reset_peak_memory(quiet);
  const std::int64_t before = heddle::memory_stats(quiet).live;
  { const auto brief = storage::allocate(1000, quiet); }
  CHECK(heddle::memory_stats(quiet).peak == before + 1000);
}

TEST_CASE("every device has its own figures") {
  const std::int64_t first = heddle::memory_stats(heddle::cpu(41)).live;
  const std::int64_t second = heddle::memory_stats(heddle::cpu(42)).live;
  const auto held = storage::allocate(4000, heddle::cpu(41));
  CHECK(heddle::memory_stats(heddle::cpu(41)).live == first + 4000);
  CHECK(heddle::memory_stats(heddle::cpu(42)).live == second);
}

TEST_CASE("a block is used again") {
  for (const std::size_t bytes : {64ul, 40000ul, 5000000ul}) {
    const std::byte* first = nullptr;
    {
      const auto held = storage::allocate(bytes, quiet);
      first = held->data();
    }
    CHECK(storage::allocate(bytes, quiet)->data() == first);
  }
}

TEST_CASE("meta storage has a size and no data") {
  const auto held = storage::allocate(std::size_t{1} << 60, heddle::meta());
  CHECK(held->data() == nullptr);
  CHECK(held->bytes() == std::size_t{1} << 60);
  CHECK(heddle::memory_stats(heddle::meta()).live == 0);
}

TEST_CASE("an impossible allocation is out_of_memory and names the bytes") {
  const std::int64_t before = heddle::memory_stats(quiet).live;
  std::string message;
  try {
    (void)storage::allocate(std::size_t{1} << 55, quiet);
  } catch (const heddle::out_of_memory& caught) {
    message = caught.what();
  }
  CHECK(
      message ==
      "heddle::allocate: the system has no memory left: 36028797018963968 bytes were asked for on "
      "cpu:40; free tensors, or use smaller ones");
  CHECK_THROWS_AS((void)storage::allocate(~std::size_t{0}, quiet), heddle::out_of_memory);
  CHECK(heddle::memory_stats(quiet).live == before);
  CHECK_THROWS_AS((void)heddle::memory_stats(heddle::cuda(0)), heddle::device_error);
}

TEST_CASE("a wrapped pointer is given back once, with its context") {
  static int returned = 0;
  double values[4] = {1, 2, 3, 4};
  returned = 0;
  auto held = storage::wrap(
      values, sizeof values, heddle::cpu(),
      [](void* context) { returned += *static_cast<int*>(context); },
      []() -> int* {
        static int amount = 7;
        return &amount;
      }());
  CHECK(held->data() == reinterpret_cast<std::byte*>(values));
  auto copy = held;
  held.reset();
  CHECK(returned == 0);
  copy.reset();
  CHECK(returned == 7);
  auto silent = storage::wrap(values, sizeof values);
  silent.reset();
  CHECK(values[3] == 4);
}

TEST_CASE("the version counts writes") {
  const auto held = storage::allocate(8);
  const std::uint32_t before = held->version();
  held->bump_version();
  held->bump_version();
  CHECK(held->version() == before + 2);
}

TEST_CASE("blocks freed by other threads are counted and used again") {
  heddle::empty_cache();
  const std::int64_t before = heddle::memory_stats(quiet).live;
  for (int round = 0; round < 20; ++round) {
    std::vector<handle<storage>> made;
    for (int i = 0; i < 600; ++i) {
      made.push_back(storage::allocate(static_cast<std::size_t>(i % 7) * 50, quiet));
      std::memset(made.back()->data(), i, made.back()->bytes());
    }
    std::thread([moved = std::move(made)]() mutable { moved.clear(); }).join();
  }
  CHECK(heddle::memory_stats(quiet).live == before);
  // Twenty rounds of 600 blocks wait as the blocks of about one.
  CHECK(heddle::memory_stats(quiet).cached < 3 * 600 * 448);
  heddle::empty_cache();
  CHECK(heddle::memory_stats(quiet).cached == 0);
}

TEST_CASE("threads allocate and free at the same time without harm to each other's data") {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int mark = 1; mark <= 4; ++mark) {
    threads.emplace_back([mark, &wrong] {
      std::vector<handle<storage>> held;
      for (int i = 0; i < 2000; ++i) {
        const std::size_t bytes =
            static_cast<std::size_t>((i * 37) % 700 + (i % 97 == 0 ? 70000 : 0));
        held.push_back(storage::allocate(bytes, quiet));
        std::memset(held.back()->data(), mark, bytes);
        if (held.size() > 50) {
          const auto& oldest = held.front();
          for (std::size_t at = 0; at < oldest->bytes(); ++at) {
            if (oldest->data()[at] != std::byte(mark)) wrong.fetch_add(1);
          }
          held.erase(held.begin());
        }
      }
    });
  }
  for (auto& each : threads) each.join();
  CHECK(wrong == 0);
}

TEST_CASE("small blocks lie side by side") {
  if (!heddle::detail::slab_store::in_use()) return;  // under a sanitizer they are malloc's
  const heddle::device unused = heddle::cpu(43);
  std::vector<handle<storage>> held;
  std::set<std::uintptr_t> pages;
  for (int i = 0; i < 4000; ++i) {
    held.push_back(storage::allocate(64, unused));  // and 64 of the header
    pages.insert(reinterpret_cast<std::uintptr_t>(held.back()->data()) / 4096);
  }
  CHECK(pages.size() <= 4000 * 128 / 4096 + 10);
}

TEST_CASE("blocks wait while one beside them is in use, and go back when none is") {
  const heddle::device unused = heddle::cpu(44);
  const auto fill = [](const handle<storage>& s, std::size_t mark) {
    std::memset(s->data(), static_cast<int>(mark % 251), s->bytes());
  };
  const auto holds = [](const handle<storage>& s, std::size_t mark) {
    for (std::size_t at = 0; at < s->bytes(); ++at) {
      if (s->data()[at] != std::byte(mark % 251)) return false;
    }
    return true;
  };
  const auto is_resident = [](const std::byte* at) {
    unsigned char answer = 0;
    const std::uintptr_t page = reinterpret_cast<std::uintptr_t>(at) / 4096 * 4096;
    return mincore(reinterpret_cast<void*>(page), 1, &answer) == 0 && (answer & 1) != 0;
  };
  const std::byte* far = nullptr;
  std::vector<handle<storage>> held;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = held.size(); i < 3000; ++i) {
      held.push_back(storage::allocate(i % 5 * 64, unused));
      fill(held.back(), i);
    }
    bool intact = true;
    for (std::size_t i = round == 0 ? 0 : 1; i < held.size(); ++i) {
      intact = intact && holds(held[i], i);
    }
    CHECK(intact);
    far = held.back()->data();
    // one stays, and with it what lies in its slab
    held.front() = held[1500 + static_cast<std::size_t>(round)];
    held.resize(1);
    const std::size_t mark = 1500 + static_cast<std::size_t>(round);
    heddle::empty_cache();
    CHECK(heddle::memory_stats(unused).cached < 64 * 1024);
    CHECK(holds(held.front(), mark));
    if (heddle::detail::slab_store::in_use()) CHECK_FALSE(is_resident(far));
  }
  held.clear();
  heddle::empty_cache();
  CHECK(heddle::memory_stats(unused).cached == 0);
  CHECK(heddle::memory_stats(unused).live == 0);
}

TEST_CASE("pooled objects come back to the pool") {
  struct node : heddle::counted, heddle::pooled {
    int value[10] = {};
  };
  const void* first = nullptr;
  {
    const auto held = heddle::make_handle<node>();
    first = held.get();
    CHECK(is_aligned(first));
  }
  CHECK(heddle::make_handle<node>().get() == first);
}
