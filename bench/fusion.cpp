// SPDX-License-Identifier: BSD-3-Clause
// Goals C1 to C4 through heddle's own path: fused element-wise statements, a tiny statement, and
// softmax and layer norm by rows. For one thread: taskset -c 0.
#include <cstdint>

#include <benchmark/benchmark.h>

#include <heddle/exec/evaluate.hpp>

namespace {

using heddle::tensor;

constexpr auto row_softmax = heddle::fused([](auto x) {
  auto e = exp(x - detach(amax<-1>(x, heddle::keepdim)));
  return e / sum<-1>(e, heddle::keepdim);
});
constexpr auto row_norm = heddle::fused([](auto x, auto gamma, auto beta) {
  auto c = x - mean<-1>(x, heddle::keepdim);
  return c * rsqrt(mean<-1>(square(c), heddle::keepdim) + 1e-5) * gamma + beta;
});

template <int Rank>
tensor<float, Rank> numbers(const heddle::extents<Rank>& extents, std::int64_t step) {
  auto t = tensor<float, Rank>::allocate(extents, heddle::cpu());
  for (std::int64_t i = 0; i < t.size(); ++i) {
    t.data()[i] = static_cast<float>(i * step % 10007) / 5003.f - 1;
  }
  return t;
}

void moved(benchmark::State& state, std::int64_t elements, std::int64_t streams) {
  state.SetItemsProcessed(state.iterations() * elements);
  state.SetBytesProcessed(state.iterations() * elements * streams * 4);
}

// C1: the result is allocated anew each time.
void relu_chain(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const auto a = numbers<1>({n}, 7919), b = numbers<1>({n}, 104729), c = numbers<1>({n}, 1299709);
  { const tensor<float, 1> first = maximum(a * b + c, 0) * 2; }  // its pages serve the rest
  for (auto _ : state) {
    const tensor<float, 1> y = maximum(a * b + c, 0) * 2;
    benchmark::DoNotOptimize(y.data());
  }
  moved(state, n, 4);
}
BENCHMARK(relu_chain)->Arg(1 << 12)->Arg(1 << 20)->Arg(1 << 26)->Unit(benchmark::kMicrosecond);

// C2.
void tanh_chain(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const auto a = numbers<1>({n}, 7919), b = numbers<1>({n}, 104729), c = numbers<1>({n}, 1299709);
  for (auto _ : state) {
    const tensor<float, 1> y = tanh(a * b + exp(a - c));
    benchmark::DoNotOptimize(y.data());
  }
  moved(state, n, 4);
}
BENCHMARK(tanh_chain)->Arg(1 << 12)->Arg(1 << 22)->Unit(benchmark::kMicrosecond);

// C3: four ops on 16 floats, the result allocated.
void tiny(benchmark::State& state) {
  const auto a = numbers<1>({16}, 7919), b = numbers<1>({16}, 104729),
             c = numbers<1>({16}, 1299709);
  for (auto _ : state) {
    const tensor<float, 1> y = (a * b + c) * a - b;
    benchmark::DoNotOptimize(y.data());
  }
}
BENCHMARK(tiny);
// The same, written into storage that is there.
void tiny_assigned(benchmark::State& state) {
  const auto a = numbers<1>({16}, 7919), b = numbers<1>({16}, 104729),
             c = numbers<1>({16}, 1299709);
  auto y = numbers<1>({16}, 1);
  for (auto _ : state) {
    assign(y, (a * b + c) * a - b);
    benchmark::DoNotOptimize(y.data());
  }
}
BENCHMARK(tiny_assigned);

// C4: rows, 2^20 elements in all and one short batch.
#define HEDDLE_ROW_SHAPES  \
  ->Args({4, 128})         \
      ->Args({8192, 128})  \
      ->Args({1024, 1024}) \
      ->Args({16, 65536})  \
      ->Unit(benchmark::kMicrosecond)
void softmax(benchmark::State& state) {
  const auto x = numbers<2>({state.range(0), state.range(1)}, 7919);
  for (auto _ : state) {
    const tensor<float, 2> y = row_softmax(x);
    benchmark::DoNotOptimize(y.data());
  }
  moved(state, x.size(), 2);
}
BENCHMARK(softmax) HEDDLE_ROW_SHAPES;
void layer_norm(benchmark::State& state) {
  const auto x = numbers<2>({state.range(0), state.range(1)}, 7919);
  const auto gamma = numbers<1>({state.range(1)}, 17), beta = numbers<1>({state.range(1)}, 19);
  for (auto _ : state) {
    const tensor<float, 2> y = row_norm(x, gamma, beta);
    benchmark::DoNotOptimize(y.data());
  }
  moved(state, x.size(), 2);
}
BENCHMARK(layer_norm) HEDDLE_ROW_SHAPES;
void full_sum(benchmark::State& state) {
  const auto x = numbers<1>({state.range(0)}, 7919);
  for (auto _ : state) {
    const tensor<float, 0> y = sum(x);
    benchmark::DoNotOptimize(y.data());
  }
  moved(state, x.size(), 1);
}
BENCHMARK(full_sum)->Arg(1 << 12)->Arg(1 << 22)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
