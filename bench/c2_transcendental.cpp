// SPDX-License-Identifier: BSD-3-Clause
// Goal C2: tanh(a*b + exp(a-c)) over 2^22 and 2^12 floats, the result allocated each time.
#include "limits.hpp"
#include "numbers.hpp"

#include <heddle/exec/evaluate.hpp>

int main(int, char** arguments) {
  bench::tune(arguments);
  // Operations of one element that a processor cannot do without, counted in multiply-adds: ten for
  // exp (range reduction and a polynomial), fifteen for tanh, and the three of the statement.
  constexpr double operations = 28;
  bench::head("C2: tanh(a*b + exp(a-c)), fp32");
  for (const int power : {12, 22}) {
    const std::int64_t n = std::int64_t{1} << power;
    const auto a = bench::numbers({n}, 7919), b = bench::numbers({n}, 104729),
               c = bench::numbers({n}, 1299709);
    for (int threads = 1; threads <= bench::most_threads(); ++threads) {
      const int used = power == 12 ? 1 : threads;
      double limit = static_cast<double>(n) * operations / bench::fma_rate(used);
      if (power > 20) {
        const double stream = static_cast<double>(n) * 16 / bench::stream_bandwidth(used);
        if (stream > limit) limit = stream;
      }
      std::vector<bench::contender> contenders;
      contenders.push_back(bench::enter("heddle", threads, [&] {
        const heddle::tensor<float, 1> y = tanh(a * b + exp(a - c));
        bench::keep(y.data());
      }));
#if defined(HEDDLE_BENCH_LIBTORCH)
      const c10::InferenceMode inference;
      const at::Tensor ta = bench::shared(a), tb = bench::shared(b), tc = bench::shared(c);
      contenders.push_back(bench::enter("libtorch", threads, [=] {
        const at::Tensor y = at::tanh(ta * tb + at::exp(ta - tc));
        bench::keep(y);
      }));
      contenders.push_back(bench::enter("libtorch, in place", threads, [=] {
        const at::Tensor y = (ta * tb).add_((ta - tc).exp_()).tanh_();
        bench::keep(y);
      }));
#endif
      bench::row("2^" + std::to_string(power), limit, contenders);
    }
  }
}
