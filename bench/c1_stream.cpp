// SPDX-License-Identifier: BSD-3-Clause
// Goal C1: relu(a*b + c) * 2 over 2^26 floats, the result allocated each time.
#include "limits.hpp"
#include "numbers.hpp"
#include "peers/arrays.hpp"
#include "program.hpp"

#include <heddle/exec/evaluate.hpp>

namespace {

std::vector<bench::contender> enter() {
  constexpr std::int64_t n = std::int64_t{1} << 26;
  const auto a = bench::numbers({n}, 7919), b = bench::numbers({n}, 104729),
             c = bench::numbers({n}, 1299709);
  const auto y = bench::numbers({n}, 1);
  std::vector<bench::contender> contenders;
  for (const int threads : bench::thread_counts()) {
    contenders.push_back(bench::enter("heddle", "", threads, [=](auto see) {
      const heddle::tensor<float, 1> result = maximum(a * b + c, 0) * 2;
      see(result.data(), n);
    }));
    contenders.push_back(bench::enter("heddle", "assigned", threads, [=](auto see) {
      assign(y, maximum(a * b + c, 0) * 2);
      see(y.data(), n);
    }));
    bench::enter_array_peers(contenders, bench::statement::relu_chain,
                             {a.data(), b.data(), c.data(), n}, threads);
    contenders.push_back(bench::stream_limit(static_cast<double>(n) * 16, threads));
  }
  return contenders;
}

}  // namespace

int main(int count, char** arguments) {
  using bench::times_as_fast_as;
  return bench::run(
      count, arguments,
      {"C1",
       "relu(a*b + c) * 2 over fp32 arrays: ≥ 95 % of the non-temporal triad, ≥ 4 × LibTorch, "
       "≥ 1.2 × fusing peers",
       {"eigen", "xtensor", "libtorch", "torch_compile", "jax"},
       {{"2^26 elements",
         "s",
         bench::thread_counts(),
         {bench::of_limit(0.95), times_as_fast_as("libtorch", 4),
          times_as_fast_as("torch_compile", 1.2), times_as_fast_as("jax", 1.2)},
         enter}}});
}
