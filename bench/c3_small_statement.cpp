// SPDX-License-Identifier: BSD-3-Clause
// Goal C3: four operations on 16 floats, the result allocated each time: what a statement costs
// beyond its arithmetic.
#include "limits.hpp"
#include "numbers.hpp"
#include "peers/arrays.hpp"
#include "program.hpp"

#include <heddle/exec/evaluate.hpp>

namespace {

std::vector<bench::contender> enter() {
  constexpr std::int64_t n = 16;
  const auto a = bench::numbers({n}, 7919), b = bench::numbers({n}, 104729),
             c = bench::numbers({n}, 1299709);
  const auto y = bench::numbers({n}, 1);
  std::vector<bench::contender> contenders;
  contenders.push_back(bench::enter("heddle", "", 1, [=](auto see) {
    const heddle::tensor<float, 1> result = (a * b + c) * a - b;
    see(result.data(), n);
  }));
  contenders.push_back(bench::enter("heddle", "assigned", 1, [=](auto see) {
    assign(y, (a * b + c) * a - b);
    see(y.data(), n);
  }));
  bench::enter_array_peers(contenders, bench::statement::small, {a.data(), b.data(), c.data(), n},
                           1);
  contenders.push_back(bench::fma_limit(2 * n, 1));
  return contenders;
}

}  // namespace

int main(int count, char** arguments) {
  return bench::run(count, arguments,
                    {"C3",
                     "(a*b + c) * a - b on 16 floats, the result allocated: ≤ 90 ns",
                     {"eigen", "xtensor", "libtorch"},
                     {{"16 elements", "s", {1}, {bench::at_most(90e-9)}, enter}}});
}
