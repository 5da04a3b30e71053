// SPDX-License-Identifier: BSD-3-Clause
// Goal C3: four operations on 16 floats, the result allocated each time: what a statement costs
// beyond its arithmetic.
#include "limits.hpp"
#include "numbers.hpp"

#include <heddle/exec/evaluate.hpp>

int main(int, char** arguments) {
  bench::tune(arguments);
  const auto a = bench::numbers({16}, 7919), b = bench::numbers({16}, 104729),
             c = bench::numbers({16}, 1299709);
  bench::head("C3: (a*b + c) * a - b on 16 floats");
  std::vector<bench::contender> contenders;
  contenders.push_back(bench::enter("heddle", 1, [&] {
    const heddle::tensor<float, 1> y = (a * b + c) * a - b;
    bench::keep(y.data());
  }));
  contenders.push_back(bench::enter("heddle, assigned", 1, [&, y = a.clone()] {
    assign(y, (a * b + c) * a - b);
    bench::keep(y.data());
  }));
#if defined(HEDDLE_BENCH_LIBTORCH)
  const c10::InferenceMode inference;
  const at::Tensor ta = bench::shared(a), tb = bench::shared(b), tc = bench::shared(c);
  contenders.push_back(bench::enter("libtorch", 1, [=] {
    const at::Tensor y = (ta * tb + tc) * ta - tb;
    bench::keep(y);
  }));
  contenders.push_back(bench::enter("libtorch, in place", 1, [=] {
    const at::Tensor y = (ta * tb).add_(tc).mul_(ta).sub_(tb);
    bench::keep(y);
  }));
#endif
  bench::row("16", 0, contenders);
}
