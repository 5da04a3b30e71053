// SPDX-License-Identifier: BSD-3-Clause
// Philox against its published vectors; its maps to floating values; the generator.
#include <cmath>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/core/philox.hpp>

using heddle::philox;
using heddle::philox_words;

TEST_CASE("philox equals the known-answer vectors of Random123") {
  static_assert(philox(0, 0, 0) == philox_words{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  CHECK(philox(~0ull, ~0ull, ~0ull) ==
        philox_words{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  CHECK(philox(0x299f31d0a4093822ull, 0x85a308d3243f6a88ull, 0x0370734413198a2eull) ==
        philox_words{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST_CASE("uniform values reach 0 and stay below 1") {
  static_assert(heddle::uniform_float(0) == 0.0f);
  static_assert(heddle::uniform_float(0xffffffff) == 1.0f - 0x1p-24f);
  static_assert(heddle::uniform_double(0xffffffff, 0xffffffff) == 1.0 - 0x1p-53);
  static_assert(heddle::uniform_double(0x80000000, 0) == 0.5);
}

TEST_CASE("uniform and normal values have the moments of their distributions") {
  const heddle::random_state state{7, 3};
  constexpr int count = 200000;
  double uniform = 0, uniform2 = 0, normal = 0, normal2 = 0, normal4 = 0, wide = 0, wide2 = 0;
  for (int i = 0; i < count; ++i) {
    const philox_words words = state(static_cast<std::uint64_t>(i));
    const double u = heddle::uniform_float(words[0]);
    const double n = heddle::normal_float(words[1], words[2]);
    const double w = heddle::normal_double(words);
    uniform += u;
    uniform2 += u * u;
    normal += n;
    normal2 += n * n;
    normal4 += n * n * n * n;
    wide += w;
    wide2 += w * w;
  }
  // Five standard errors of each mean.
  const double root = std::sqrt(double(count));
  CHECK(std::abs(uniform / count - 0.5) < 5 * std::sqrt(1.0 / 12) / root);
  CHECK(std::abs(uniform2 / count - 1.0 / 3) < 5 * std::sqrt(4.0 / 45) / root);
  CHECK(std::abs(normal / count) < 5 / root);
  CHECK(std::abs(normal2 / count - 1) < 5 * std::sqrt(2.0) / root);
  CHECK(std::abs(normal4 / count - 3) < 5 * std::sqrt(96.0) / root);
  CHECK(std::abs(wide / count) < 5 / root);
  CHECK(std::abs(wide2 / count - 1) < 5 * std::sqrt(2.0) / root);
}

TEST_CASE("the extreme words make finite normal values") {
  CHECK(std::isfinite(heddle::normal_float(0xffffffff, 0)));
  CHECK(std::isfinite(heddle::normal_float(0, 0)));
  CHECK(std::isfinite(heddle::normal_double({{0xffffffff, 0xffffffff, 0, 0}})));
}

TEST_CASE("a seed repeats the states, and every use has its own") {
  heddle::generator first(11);
  heddle::generator second(11);
  std::vector<heddle::random_state> states;
  for (int i = 0; i < 4; ++i) {
    states.push_back(first.next());
    CHECK(states.back() == second.next());
  }
  CHECK(states[0] != states[1]);
  const heddle::random_state saved = first.state();
  const heddle::random_state after = first.next();
  first.restore(saved);
  CHECK(first.next() == after);
  first.manual_seed(11);
  CHECK(first.next() == states[0]);
  heddle::manual_seed(5);
  const heddle::random_state expected{5, 0};
  CHECK(heddle::default_generator().next() == expected);
}

TEST_CASE("threads that share a generator never get one state twice") {
  heddle::generator shared(1);
  std::vector<heddle::random_state> taken[3];
  std::vector<std::thread> threads;
  for (auto& mine : taken) {
    threads.emplace_back([&shared, &mine] {
      for (int i = 0; i < 500; ++i) mine.push_back(shared.next());
    });
  }
  for (auto& each : threads) each.join();
  std::set<std::uint64_t> offsets;
  for (const auto& mine : taken) {
    for (const auto& state : mine) offsets.insert(state.offset);
  }
  CHECK(offsets.size() == 1500);
}
