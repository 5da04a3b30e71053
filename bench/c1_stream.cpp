// SPDX-License-Identifier: BSD-3-Clause
// Goal C1: relu(a*b + c) * 2 over 2^26 floats, the result allocated each time.
#include "limits.hpp"
#include "numbers.hpp"

#include <heddle/exec/evaluate.hpp>

int main(int, char** arguments) {
  bench::tune(arguments);
  constexpr std::int64_t n = std::int64_t{1} << 26;
  const auto a = bench::numbers({n}, 7919), b = bench::numbers({n}, 104729),
             c = bench::numbers({n}, 1299709);
  bench::head("C1: relu(a*b + c) * 2, fp32, 2^26");
  for (int threads = 1; threads <= bench::most_threads(); ++threads) {
    const double limit = static_cast<double>(n) * 16 / bench::stream_bandwidth(threads);
    std::vector<bench::contender> contenders;
    contenders.push_back(bench::enter("heddle", threads, [&] {
      const heddle::tensor<float, 1> y = maximum(a * b + c, 0) * 2;
      bench::keep(y.data());
    }));
    contenders.push_back(
        bench::enter("heddle, assigned", threads, [&, y = heddle::tensor<float, 1>(a.clone())] {
          assign(y, maximum(a * b + c, 0) * 2);
          bench::keep(y.data());
        }));
#if defined(HEDDLE_BENCH_LIBTORCH)
    const c10::InferenceMode inference;
    const at::Tensor ta = bench::shared(a), tb = bench::shared(b), tc = bench::shared(c);
    contenders.push_back(bench::enter("libtorch", threads, [=] {
      const at::Tensor y = at::relu(ta * tb + tc) * 2;
      bench::keep(y);
    }));
    contenders.push_back(bench::enter("libtorch, in place", threads, [=] {
      const at::Tensor y = at::addcmul(tc, ta, tb).relu_().mul_(2);
      bench::keep(y);
    }));
#endif
    bench::row("2^26", limit, contenders, 5);
  }
}
