// SPDX-License-Identifier: BSD-3-Clause
// The ladder to goal C7, gelu(x wᵀ + b) of 1024 x 1024 floats on one thread: who applies the bias
// and the function. Each rung has a product of oneDNN's in it; `bare` is that product alone.
//   epilogue   oneDNN's matmul primitive with the bias and the function as a post-operation. Where
//              its products are those of gemm:jit (AVX2), it sweeps over the result once more
//   panels     the product in panels of 128 rows, the statement over each while it is in the cache:
//              the right operand is packed anew for each
//   statement  one product, then heddle's statement over all of it: the way of include/
#include <cstdint>
#include <utility>

#include "least.hpp"
#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>

#include <heddle/core/thread_pool.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/linalg/matmul.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/tensor/random.hpp>
#include <heddle/tensor/views.hpp>

namespace {

using namespace heddle;

constexpr std::int64_t size = 1024;
enum class function { relu, gelu_tanh, gelu_erf };

struct layer {
  tensor<float, 2> x = randn<float, 2>({size, size}), w = randn<float, 2>({size, size}) * 0.05f;
  tensor<float, 1> b = randn<float, 1>({size});
  tensor<float, 2> y = zeros<float, 2>({size, size});

  layer() {
    set_num_threads(1);
    omp_set_num_threads(1);
  }

  template <function F>
  static auto of(auto&& argument) {
    if constexpr (F == function::relu) {
      return relu(std::forward<decltype(argument)>(argument));
    } else if constexpr (F == function::gelu_tanh) {
      return gelu<approximate::tanh>(std::forward<decltype(argument)>(argument));
    } else {
      return gelu(std::forward<decltype(argument)>(argument));
    }
  }
  /// Whether `y` is what the statement gives.
  template <function F>
  [[nodiscard]] bool is_right() const {
    const tensor<float, 2> right = of<F>(linear(x, w, b));
    const tensor<float, 0> error = amax(abs(right - y));
    return error.item() < 1e-3f;
  }
};

void bare(benchmark::State& state) {
  const layer l;
  for (auto _ : state) {
    dnnl_sgemm('N', 'T', size, size, size, 1, l.x.data(), size, l.w.data(), size, 0, l.y.data(),
               size);
    benchmark::ClobberMemory();
  }
}

template <function F>
void epilogue(benchmark::State& state) {
  const layer l;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  using type = dnnl::memory::data_type;
  const dnnl::memory::dims square{size, size}, rows{size, 1}, columns{1, size};
  const dnnl::memory::desc x(square, type::f32, rows), w(square, type::f32, columns),
      b(columns, type::f32, rows);
  dnnl::post_ops then;
  const auto algorithm = F == function::relu        ? dnnl::algorithm::eltwise_relu
                         : F == function::gelu_tanh ? dnnl::algorithm::eltwise_gelu_tanh
                                                    : dnnl::algorithm::eltwise_gelu_erf;
  dnnl::primitive_attr with;
#if DNNL_VERSION_MAJOR >= 3
  then.append_eltwise(algorithm, 0, 0);
  with.set_post_ops(then);
  const dnnl::matmul call(dnnl::matmul::primitive_desc(engine, x, w, b, x, with));
#else
  then.append_eltwise(1, algorithm, 0, 0);
  with.set_post_ops(then);
  const dnnl::matmul call(dnnl::matmul::primitive_desc({x, w, b, x}, with, engine));
#endif
  for (auto _ : state) {
    call.execute(stream, {{DNNL_ARG_SRC, {x, engine, l.x.data()}},
                          {DNNL_ARG_WEIGHTS, {w, engine, l.w.data()}},
                          {DNNL_ARG_BIAS, {b, engine, l.b.data()}},
                          {DNNL_ARG_DST, {x, engine, l.y.data()}}});
    stream.wait();
    benchmark::ClobberMemory();
  }
  if (!l.is_right<F>()) state.SkipWithError("the result is wrong");
}

template <function F>
void panels(benchmark::State& state) {
  const layer l;
  constexpr std::int64_t height = 128;
  for (auto _ : state) {
    for (std::int64_t at = 0; at < size; at += height) {
      const tensor<float, 2> y = l.y(slice(at, at + height));
      dnnl_sgemm('N', 'T', height, size, size, 1, l.x.data() + at * size, size, l.w.data(), size, 0,
                 y.data(), size);
      assign(y, layer::of<F>(y + l.b));
    }
    benchmark::ClobberMemory();
  }
  if (!l.is_right<F>()) state.SkipWithError("the result is wrong");
}

template <function F>
void statement(benchmark::State& state) {
  const layer l;
  for (auto _ : state) {
    const tensor<float, 2> y = layer::of<F>(linear(l.x, l.w, l.b));
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
}

}  // namespace

BENCHMARK(bare)->Apply(ladder::least_of_many);
BENCHMARK(epilogue<function::relu>)->Apply(ladder::least_of_many);
BENCHMARK(panels<function::relu>)->Apply(ladder::least_of_many);
BENCHMARK(statement<function::relu>)->Apply(ladder::least_of_many);
BENCHMARK(epilogue<function::gelu_tanh>)->Apply(ladder::least_of_many);
BENCHMARK(panels<function::gelu_tanh>)->Apply(ladder::least_of_many);
BENCHMARK(statement<function::gelu_tanh>)->Apply(ladder::least_of_many);
BENCHMARK(epilogue<function::gelu_erf>)->Apply(ladder::least_of_many);
BENCHMARK(panels<function::gelu_erf>)->Apply(ladder::least_of_many);
BENCHMARK(statement<function::gelu_erf>)->Apply(ladder::least_of_many);

BENCHMARK_MAIN();
