// SPDX-License-Identifier: BSD-3-Clause
// The ladder to goal C11, bytes and time of a node: a list of 2^18 nodes of 128 bytes grows and is
// taken apart again from its end. Each rung is one source of the nodes' memory; `bytes` is what the
// process grew by, a node, when the list was first built:
//   aligned    one block of malloc's a node, aligned to a cache line, as nodes are
//   plain      one block of malloc's a node, aligned to 16 bytes
//   array      all nodes in one array: no allocator can do with less
//   recycled   blocks that malloc gave once, aligned, and that wait in lists since
//   slabs      blocks cut from slabs, waiting in lists between uses: the way of include/
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "../resident.hpp"
#include <benchmark/benchmark.h>

#include <heddle/core/allocator.hpp>

namespace {

constexpr std::int64_t length = std::int64_t{1} << 18;

struct node {
  node* previous;
  std::int64_t rest[15];
};
static_assert(sizeof(node) == 128);

struct aligned {
  static void* get() { return std::aligned_alloc(64, sizeof(node)); }
  static void put(void* block) { std::free(block); }
};
struct plain {
  static void* get() { return std::malloc(sizeof(node)); }
  static void put(void* block) { std::free(block); }
};
struct array {
  static inline std::vector<node> nodes{};
  static inline std::size_t used = 0;
  static void* get() {
    if (nodes.empty()) nodes.resize(static_cast<std::size_t>(length));
    return &nodes[used++];
  }
  static void put(void*) { --used; }
};
struct recycled {
  static inline heddle::detail::block_list waiting{};
  static void* get() {
    void* const block = waiting.pop();
    return block != nullptr ? block : std::aligned_alloc(64, sizeof(node));
  }
  static void put(void* block) { waiting.push(block, sizeof(node)); }
};
struct slabs {
  static void* get() { return heddle::detail::allocate_block(sizeof(node), -1); }
  static void put(void* block) { heddle::detail::release_block(block, sizeof(node), -1); }
};

template <class Memory>
node* grow() {
  node* last = nullptr;
  for (std::int64_t i = 0; i < length; ++i) last = ::new (Memory::get()) node{last, {i}};
  return last;
}
template <class Memory>
std::int64_t take_apart(node* last) {
  std::int64_t sum = 0;
  while (last != nullptr) {
    node* const previous = last->previous;
    sum += last->rest[0];
    Memory::put(last);
    last = previous;
  }
  return sum;
}

template <class Memory>
void rung(benchmark::State& state) {
  static const double bytes = [] {
    node* list = nullptr;
    const double grown = bench::resident_growth([&] { return list = grow<Memory>(); });
    take_apart<Memory>(list);
    return grown / static_cast<double>(length);
  }();
  for (auto _ : state) {
    if (take_apart<Memory>(grow<Memory>()) != length * (length - 1) / 2) {
      state.SkipWithError("the list is damaged");
    }
  }
  state.counters["bytes"] = bytes;
  state.counters["node"] =
      benchmark::Counter(static_cast<double>(state.iterations() * length),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// The least of many repetitions: what other programs take of a shared machine is left out.
void least_of_many(benchmark::internal::Benchmark* b) {
  b->Iterations(1)->Repetitions(15)->ReportAggregatesOnly(true)->ComputeStatistics(
      "least", [](const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); });
}

}  // namespace

BENCHMARK(rung<aligned>)->Apply(least_of_many);
BENCHMARK(rung<plain>)->Apply(least_of_many);
BENCHMARK(rung<array>)->Apply(least_of_many);
BENCHMARK(rung<recycled>)->Apply(least_of_many);
BENCHMARK(rung<slabs>)->Apply(least_of_many);

BENCHMARK_MAIN();
