// SPDX-License-Identifier: BSD-3-Clause
// The body of launches over lists of tensors, on host teams.
#include <cmath>

#include "../support/host_team.hpp"
#include <doctest/doctest.h>

#include <heddle/exec/cuda/multi.hpp>
#include <heddle/exec/multi.hpp>
#include <heddle/tensor/random.hpp>

using namespace heddle;
using namespace support;

namespace {

/// A step with momentum: writes p and m, reads g.
struct momentum_step {
  constexpr auto operator()(const symbol& p, const symbol& m, const symbol& g,
                            const symbol& rate) const {
    const symbol next = 0.9 * m + g;
    return outputs(p - rate * next, next);
  }
};

using chosen =
    exec::detail::multi_statement<momentum_step, float, std::make_integer_sequence<int, 3>, double>;
using program = typename chosen::type::program;

/// Scales p by what is there of all groups; of all: the sum of squares, and the root of the
/// largest.
struct reduced_step {
  constexpr auto operator()(const symbol& p, const symbol& factor, const symbol& floor) const {
    return outputs(p * factor, sum(p * p), sqrt(maximum(amax(abs(p)), floor)));
  }
};
using reduced =
    exec::detail::multi_statement<reduced_step, float, std::make_integer_sequence<int, 1>,
                                  tensor<float, 0>, double>;
using reduced_program = typename reduced::type::program;
constexpr int groups_of_launch = 4;

struct parameter {
  tensor<float, 1> memory[3];  // p, m, g
  std::int64_t offset;         // elements before the first one: 1 makes it unaligned
  std::int64_t count;

  parameter(std::int64_t n, std::int64_t before, generator& from) : offset(before), count(n) {
    for (auto& each : memory) each = randn<float, 1>({n + 8}, from);
  }
  parameter clone() const {
    parameter copy = *this;
    for (auto& each : copy.memory) each = each.clone();
    return copy;
  }
  exec::multi_group<3> group() const {
    exec::multi_group<3> g;
    for (int i = 0; i < 3; ++i) g.set(i, memory[i].slice<0>(offset, offset + count));
    g.count = count;
    return g;
  }
};

std::vector<parameter> clones(const std::vector<parameter>& of) {
  std::vector<parameter> made;
  for (const parameter& p : of) made.push_back(p.clone());
  return made;
}
std::vector<exec::multi_group<3>> groups_of(const std::vector<parameter>& parameters) {
  std::vector<exec::multi_group<3>> groups;
  for (const parameter& p : parameters) groups.push_back(p.group());
  return groups;
}

bool equal(const std::vector<parameter>& a, const std::vector<parameter>& b) {
  for (std::size_t k = 0; k < a.size(); ++k) {
    for (int i = 0; i < 3; ++i) {
      for (std::int64_t e = 0; e < a[k].memory[i].size(); ++e) {
        const float x = a[k].memory[i](e);
        const float y = b[k].memory[i](e);
        if (!(std::fabs(x - y) <= 1e-6f * (1 + std::fabs(x)))) return false;
      }
    }
  }
  return true;
}

/// Runs launches on host teams, which share a workspace; how many they are.
template <class Program, class Launches>
int run_launches(Launches& launches, int team, fibre_order order, team_fault fault = {}) {
  std::vector<std::uint64_t> workspace(static_cast<std::size_t>(launches.workspace_bytes()) / 8);
  unsigned ticket = 0;
  launches.place(reinterpret_cast<std::byte*>(workspace.data()), &ticket);
  for (const auto& each : launches.all()) {
    fibre_grid grid(team, each.blocks, 1, order, 3);
    CHECK(grid.run([&](fibre_grid::block& block, int b, int rank) {
      const host_team<fibre_grid::block> member(block, rank, b, each.blocks, fault);
      if (each.how == cuda::access::wide) {
        cuda::run_multi<Program, cuda::access::wide>(member, each.with);
      } else {
        cuda::run_multi<Program, cuda::access::strided>(member, each.with);
      }
    }));
  }
  CHECK(ticket == 0);
  return static_cast<int>(launches.all().size());
}

/// Runs the list on host teams; the launches it took.
int run_list(const std::vector<parameter>& parameters, int team, int blocks, fibre_order order,
             team_fault fault = {}) {
  const auto groups = groups_of(parameters);
  const exec::scalar_bits rate{.floating = 0.1};
  exec::cuda::multi_launches<program, 3, groups_of_launch> launches(
      groups.data(), groups.size(), {.scalars = &rate}, team, blocks);
  return run_launches<program>(launches, team, order, fault);
}

}  // namespace

TEST_CASE("a step over a list of tensors writes what the host writes, on every team") {
  generator numbers(5);
  std::vector<parameter> parameters;
  for (const std::int64_t n : {1, 0, 7, 4096, 33, 5000, 2, 129, 64}) {
    parameters.emplace_back(n, n == 33 ? 1 : 0, numbers);
  }
  const auto expected = clones(parameters);
  exec::multi_assign<float, 3>(momentum_step{}, groups_of(expected), cpu(), 0.1);
  for (const int team : {1, 2, 31, 32, 33, 256}) {
    for (const fibre_order order :
         {fibre_order::forward, fibre_order::backward, fibre_order::shuffled}) {
      const auto got = clones(parameters);
      CHECK(run_list(got, team, 3, order) == 2);  // eight groups with elements, four a launch
      CHECK(equal(got, expected));
    }
  }
}

TEST_CASE("a lane too many in a list of tensors is noticed") {
  generator numbers(6);
  std::vector<parameter> parameters;
  parameters.emplace_back(130, 0, numbers);
  const auto expected = clones(parameters);
  exec::multi_assign<float, 3>(momentum_step{}, groups_of(expected), cpu(), 0.1);
  const auto got = clones(parameters);
  run_list(got, 32, 2, fibre_order::forward, {.tail = true});
  CHECK(!equal(got, expected));
}

TEST_CASE("what is reduced over a list of tensors is one value, however many launches it takes") {
  generator numbers(7);
  std::vector<tensor<float, 1>> tensors;
  std::vector<exec::multi_group<1>> groups;
  double squares = 0;
  float largest = 0;
  for (const std::int64_t n : {1, 0, 7, 4096, 33, 5000, 2, 129, 64, 3}) {
    const std::int64_t before = n == 33 ? 1 : 0;  // one that is not aligned
    const tensor<float, 1> memory = randn<float, 1>({n + 1}, numbers);
    tensors.push_back(memory.slice<0>(before, before + n));
    for (const float x : tensors.back()) {
      squares += double{x} * x;
      largest = std::fmax(largest, std::fabs(x));
    }
  }
  const auto groups_of_clones = [&](std::vector<tensor<float, 1>>& clones) {
    std::vector<exec::multi_group<1>> made;
    for (const tensor<float, 1>& t : tensors) {
      clones.push_back(t.clone());
      made.emplace_back().set(0, clones.back());
      made.back().count = t.size();
    }
    return made;
  };
  const auto check = [&](const std::vector<tensor<float, 1>>& scaled, float sum, float root,
                         float floor) {
    CHECK(sum == doctest::Approx(squares).epsilon(1e-5));
    CHECK(root == doctest::Approx(std::sqrt(std::fmax(largest, floor))));
    for (std::size_t k = 0; k < tensors.size(); ++k) {
      for (std::int64_t i = 0; i < tensors[k].size(); ++i) {
        REQUIRE(scaled[k](i) == tensors[k](i) * 0.5f);
      }
    }
  };
  const tensor<float, 0> half = full<float, 0>({}, 0.5f);
  SUBCASE("on the host") {
    std::vector<tensor<float, 1>> clones;
    const auto list = groups_of_clones(clones);
    const auto [sum, root] = exec::multi_assign<float, 1>(reduced_step{}, list, cpu(), half, 1.0);
    check(clones, sum.item(), root.item(), 1);
  }
  SUBCASE("on a device of the host's, in order") {
    std::vector<tensor<float, 1>> clones;
    const auto list = groups_of_clones(clones);
    std::vector<tensor<float, 1>> there;
    std::vector<exec::multi_group<1>> groups_there;
    for (std::size_t k = 0; k < clones.size(); ++k) {
      there.push_back(clones[k].to(cpu(1)));
      groups_there.emplace_back().set(0, there.back());
      groups_there.back().count = there.back().size();
    }
    const auto [sum, root] =
        exec::multi_assign<float, 1>(reduced_step{}, groups_there, cpu(1), half.to(cpu(1)), 100.0);
    for (std::size_t k = 0; k < clones.size(); ++k) clones[k] = there[k].to(cpu());
    check(clones, sum.to(cpu()).item(), root.to(cpu()).item(), 100);
  }
  SUBCASE("on teams") {
    for (const int team : {1, 2, 33, 256}) {
      for (const fibre_order order :
           {fibre_order::forward, fibre_order::backward, fibre_order::shuffled}) {
        std::vector<tensor<float, 1>> clones;
        const auto list = groups_of_clones(clones);
        const tensor<float, 0> sum = empty<float, 0>({}), root = empty<float, 0>({});
        std::byte* data[] = {reinterpret_cast<std::byte*>(half.data()),
                             reinterpret_cast<std::byte*>(sum.data()),
                             reinterpret_cast<std::byte*>(root.data())};
        const exec::scalar_bits floor{.floating = 1};
        exec::cuda::multi_launches<reduced_program, 1, groups_of_launch> launches(
            list.data(), list.size(), {data, nullptr, 1, 2, &floor}, team, 3);
        CHECK(run_launches<reduced_program>(launches, team, order) == 3);
        check(clones, sum.item(), root.item(), 1);
      }
    }
  }
}

TEST_CASE("a list without elements reduces to what nothing is") {
  const auto [sum, root] = exec::multi_assign<float, 1>(
      reduced_step{}, std::vector<exec::multi_group<1>>{}, cpu(), full<float, 0>({}, 1.0f), 4.0);
  CHECK(sum.item() == 0);
  CHECK(root.item() == 2);
}
