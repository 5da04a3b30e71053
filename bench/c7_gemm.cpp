// SPDX-License-Identifier: BSD-3-Clause
// Goal C7: gelu(x wᵀ + b) of 1024 x 1024 matrices, with its backward, beside bare products.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "limits.hpp"
#include "numbers.hpp"
#include "peers/gemm.hpp"
#include "program.hpp"
#include <oneapi/dnnl/dnnl.h>

#include <heddle/autograd/matmul.hpp>
#include <heddle/nn/functional.hpp>

namespace {

using heddle::tensor;
using heddle::variable;

constexpr std::int64_t size = 1024;
constexpr double products = static_cast<double>(size) * size * size;  // multiply-adds of one

struct problem {
  tensor<float, 2> x = bench::numbers<2>({size, size}, 7919);
  tensor<float, 2> w = bench::numbers<2>({size, size}, 104729, 1 / std::sqrt(float{size}));
  tensor<float, 2> seed = bench::numbers<2>({size, size}, 1299709);
  tensor<float, 1> b = bench::numbers<1>({size}, 17);
};

template <heddle::approximate A>
bench::contender enter_heddle(const problem& p, bool backward, int threads) {
  if (!backward) {
    return bench::enter("heddle", "", threads, [p](auto see) {
      const tensor<float, 2> y = heddle::gelu<A>(heddle::linear(p.x, p.w, p.b));
      see(y.data(), y.size());
    });
  }
  const variable<float, 2> x{p.x}, w{p.w};
  const variable<float, 1> b{p.b};
  return bench::enter("heddle", "", threads, [=](auto see) {
    const variable<float, 2> y = heddle::gelu<A>(heddle::linear(x, w, b));
    y.backward(p.seed);
    see(y.value().data(), y.size());
    see(x.grad().data(), x.size());
    see(w.grad().data(), w.size());
    see(b.grad().data(), b.size());
    x.zero_grad();
    w.zero_grad();
    b.zero_grad();
  });
}

// Bare products; what they compute is not heddle's result.
bench::contender enter_onednn(const problem& p, int count, int threads) {
  const auto to = tensor<float, 2>::allocate({size, size}, heddle::cpu());
  bench::contender c = bench::enter("onednn", "bare product", threads, [=](auto see) {
    if (dnnl_sgemm('N', 'T', size, size, size, 1, p.x.data(), size, p.w.data(), size, 0, to.data(),
                   size) != dnnl_success) {
      throw std::runtime_error("bench: dnnl_sgemm failed");
    }
    see(to.data(), 1);
  });
  c.share = count;
  c.values = nullptr;
  return c;
}

std::vector<bench::contender> enter(bool by_tanh, bool backward) {
  const problem p;
  const int count = backward ? 3 : 1;
  std::vector<bench::contender> contenders;
  for (const int threads : bench::thread_counts()) {
    contenders.push_back(by_tanh ? enter_heddle<heddle::approximate::tanh>(p, backward, threads)
                                 : enter_heddle<heddle::approximate::none>(p, backward, threads));
    contenders.push_back(enter_onednn(p, count, threads));
#if defined(HEDDLE_BENCH_LIBTORCH)
    const bench::gemm_operands with = {p.x.data(), p.w.data(), p.b.data(), p.seed.data(), size};
    for (bench::contender& c : bench::libtorch_gemm_contenders(with, by_tanh, backward, threads)) {
      contenders.push_back(bench::keeping(p, std::move(c)));
    }
#endif
    contenders.push_back(bench::fma_limit(products * count, threads));
  }
  return contenders;
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<bench::work> works;
  for (const bool backward : {false, true}) {
    for (const bool by_tanh : {true, false}) {
      works.push_back({std::string(backward ? "forward and backward" : "forward") + ", gelu by " +
                           (by_tanh ? "tanh" : "erf"),
                       "s",
                       bench::thread_counts(),
                       {bench::times_as_fast_as("onednn", 1 / (backward ? 1.06 : 1.04))},
                       [=] { return enter(by_tanh, backward); }});
    }
  }
  return bench::run(
      count, arguments,
      {"C7",
       "gelu(x wᵀ + b) of 1024 x 1024 fp32 matrices: forward ≤ 1.04 × a bare product, "
       "forward and backward ≤ 1.06 × three",
       {"onednn", "libtorch"},
       works});
}
