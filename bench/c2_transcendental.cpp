// SPDX-License-Identifier: BSD-3-Clause
// Goal C2: tanh(a*b + exp(a-c)) over 2^22 and 2^12 floats, the result allocated each time.
#include "limits.hpp"
#include "numbers.hpp"
#include "peers/arrays.hpp"
#include "program.hpp"

#include <heddle/exec/evaluate.hpp>

namespace {

// Operations of one element that a processor cannot do without, counted in multiply-adds: ten for
// exp (range reduction and a polynomial), fifteen for tanh, and the three of the statement.
constexpr double operations = 28;

std::vector<bench::contender> enter(int power, bool streams) {
  const std::int64_t n = std::int64_t{1} << power;
  const auto a = bench::numbers({n}, 7919), b = bench::numbers({n}, 104729),
             c = bench::numbers({n}, 1299709);
  std::vector<bench::contender> contenders;
  for (const int threads : bench::thread_counts()) {
    contenders.push_back(bench::enter("heddle", "", threads, [=](auto see) {
      const heddle::tensor<float, 1> y = tanh(a * b + exp(a - c));
      see(y.data(), n);
    }));
    bench::enter_array_peers(contenders, bench::statement::tanh_chain,
                             {a.data(), b.data(), c.data(), n}, threads);
    contenders.push_back(bench::fma_limit(static_cast<double>(n) * operations, threads));
    if (streams) {
      contenders.push_back(bench::stream_limit(static_cast<double>(n) * 16, threads));
    }
  }
  return contenders;
}

}  // namespace

int main(int count, char** arguments) {
  using bench::times_as_fast_as;
  const std::vector<std::string> demands = {times_as_fast_as("libtorch", 10),
                                            times_as_fast_as("torch_compile", 1.5),
                                            times_as_fast_as("jax", 1.5)};
  return bench::run(
      count, arguments,
      {"C2",
       "tanh(a*b + exp(a-c)) over fp32 arrays: ≥ 10 × LibTorch, ≥ 1.5 × fusing peers",
       {"eigen", "xtensor", "libtorch", "torch_compile", "jax"},
       {{"2^12 elements", "s", bench::thread_counts(), demands, [] { return enter(12, false); }},
        {"2^22 elements", "s", bench::thread_counts(), demands, [] { return enter(22, true); }}}});
}
