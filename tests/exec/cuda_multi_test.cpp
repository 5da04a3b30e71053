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
    exec::detail::multi_statement<momentum_step, float, std::make_integer_sequence<int, 3>,
                                  std::make_integer_sequence<int, 1>>;
using program = typename chosen::type::program;
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

/// Runs the list on host teams; the launches it took.
int run_list(const std::vector<parameter>& parameters, int team, int blocks, fibre_order order,
             team_fault fault = {}) {
  const auto groups = groups_of(parameters);
  const exec::scalar_bits rate{.floating = 0.1};
  const exec::cuda::multi_launches<program, 3, groups_of_launch> launches(
      groups.data(), groups.size(), &rate, team, blocks);
  for (const auto& each : launches.all()) {
    fibre_grid grid(team, each.blocks, 1, order, 3);
    CHECK(grid.run([&](fibre_grid::block& block, int b, int rank) {
      const host_team<fibre_grid::block> member(block, rank, b, each.blocks, fault);
      if (each.how == cuda::access::wide) {
        cuda::run_multi<program, cuda::access::wide>(member, each.with);
      } else {
        cuda::run_multi<program, cuda::access::strided>(member, each.with);
      }
    }));
  }
  return static_cast<int>(launches.all().size());
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
