// SPDX-License-Identifier: BSD-3-Clause
// Threads of a block as fibres: barriers of the whole block and of groups hold back who comes
// early, in every order; threads that never meet are noticed.
#include "../support/cuda_stand_in/fibres.hpp"

#include <set>

#include <doctest/doctest.h>

using stand_in::fibre_block;
using stand_in::run_block;

namespace {

struct shared {
  std::vector<int> value;
  std::vector<int> order;  ///< of arrival
  int rounds = 5;
  bool right = true;
};

}  // namespace

TEST_CASE("after a barrier every thread sees what all wrote before it") {
  for (const int threads : {1, 2, 31, 32, 33, 256, 1024}) {
    std::set<std::vector<int>> orders;
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      shared s;
      s.value.assign(static_cast<std::size_t>(threads), -1);
      const bool ended = run_block(
          threads, 64, seed,
          [](void* context, fibre_block& block, int rank) {
            shared& all = *static_cast<shared*>(context);
            all.order.push_back(rank);
            const int n = block.size();
            for (int round = 0; round < all.rounds; ++round) {
              all.value[static_cast<std::size_t>(rank)] = round;
              block.wait(0, n, 0);
              const int other = (rank * 7 + round) % n;
              all.right = all.right && all.value[static_cast<std::size_t>(other)] == round;
              block.wait(0, n, 0);
            }
          },
          &s);
      CHECK(ended);
      CHECK(s.right);
      orders.insert(s.order);
    }
    CHECK(orders.size() >= (threads > 2 ? 3u : 1u));
  }
}

TEST_CASE("groups have barriers of their own and need not meet as often as others") {
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    shared s;
    s.value.assign(48, 0);
    const bool ended = run_block(
        48, 64, seed,
        [](void* context, fibre_block& block, int rank) {
          shared& all = *static_cast<shared*>(context);
          constexpr int width = 16;
          const int first = rank / width * width;
          for (int round = 1; round <= 1 + first; ++round) {
            ++all.value[static_cast<std::size_t>(rank)];
            block.wait(first, width, width);
            const int other = first + (rank + round) % width;
            all.right = all.right && all.value[static_cast<std::size_t>(other)] == round;
            block.wait(first, width, width);
          }
          block.wait(0, 48, 0);
        },
        &s);
    CHECK(ended);
    CHECK(s.right);
  }
}

TEST_CASE("threads at different barriers are abandoned, and stacks serve the next block") {
  const auto uneven = [](void*, fibre_block& block, int rank) {
    if (rank != 3) block.wait(0, block.size(), 0);
  };
  const auto even = [](void*, fibre_block& block, int) { block.wait(0, block.size(), 0); };
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    CHECK_FALSE(run_block(64, 64, seed, uneven, nullptr));
    CHECK(run_block(64, 64, seed, even, nullptr));
  }
}
