// SPDX-License-Identifier: BSD-3-Clause
// Goal C4: softmax, log-softmax, layer norm, RMS norm, cross entropy, and two statements of one's
// own, over rows of 128 to 65 536 floats: forward and derived backward.
#include <string>
#include <utility>
#include <vector>

#include "limits.hpp"
#include "numbers.hpp"
#include "peers/rows.hpp"
#include "program.hpp"

#include <heddle/autograd/record.hpp>
#include <heddle/nn/functional.hpp>

namespace {

using bench::row_statement;
using heddle::tensor;
using heddle::variable;

constexpr auto rms_norm = heddle::fused([](auto x, auto gamma) {
  return x * heddle::rsqrt(heddle::mean<-1>(x * x, heddle::keepdim) + 1e-5) * gamma;
});
constexpr auto gated_norm = heddle::fused([](auto x, auto g, auto gamma) {
  const auto y = x * heddle::silu(g);
  return y * heddle::rsqrt(heddle::mean<-1>(y * y, heddle::keepdim) + 1e-5) * gamma;
});
constexpr auto divergence = heddle::fused([](auto x, auto g) {
  const auto p = heddle::log_softmax<-1>(x);
  return heddle::mean<0>(heddle::sum<-1>(exp(p) * (p - heddle::log_softmax<-1>(g))));
});

constexpr std::int64_t size = std::int64_t{1} << 24;

struct problem {
  tensor<float, 2> x, g, seed;
  tensor<float, 1> gamma, beta;
  tensor<std::int64_t, 1> target;

  explicit problem(std::int64_t columns)
      : x(bench::numbers<2>({size / columns, columns}, 7919, 3)),
        g(bench::numbers<2>({size / columns, columns}, 104729, 3)),
        seed(bench::numbers<2>({size / columns, columns}, 1299709)),
        gamma(bench::numbers<1>({columns}, 17)),
        beta(bench::numbers<1>({columns}, 19)),
        target(tensor<std::int64_t, 1>::allocate({size / columns}, heddle::cpu())) {
    for (std::int64_t i = 0; i < target.size(); ++i) target.data()[i] = i * 7919 % columns;
  }
};

void go_back(const variable<float, 0>& y, const tensor<float, 2>&) { y.backward(); }
void go_back(const variable<float, 2>& y, const tensor<float, 2>& seed) { y.backward(seed); }

template <class See>
void see_gradient(See see, const variable<float, 2>& of, std::int64_t) {
  see(of.grad().data(), of.size());
}
template <class See>
void see_gradient(See see, const variable<float, 1>& of, std::int64_t rows) {
  bench::see_shared(see, of.grad().data(), of.size(), rows);
}

// `Parameters` are what the statement is differentiated for.
template <class Statement, class... Parameters>
bench::contender enter(int threads, const tensor<float, 2>& seed, Statement statement,
                       Parameters... parameters) {
  return bench::enter("heddle", "", threads, [=](auto see) {
    const auto y = statement(parameters...);
    go_back(y, seed);
    see(y.value().data(), y.size());
    (see_gradient(see, parameters, seed.extents()[0]), ...);
    (parameters.zero_grad(), ...);
  });
}

bench::contender heddle_contender(row_statement what, const problem& p, int threads) {
  const variable<float, 2> x{p.x}, g{p.g};
  const variable<float, 1> gamma{p.gamma}, beta{p.beta};
  switch (what) {
    case row_statement::softmax:
      return enter(
          threads, p.seed, [](const auto& x) { return variable<float, 2>(heddle::softmax<-1>(x)); },
          x);
    case row_statement::log_softmax:
      return enter(
          threads, p.seed,
          [](const auto& x) { return variable<float, 2>(heddle::log_softmax<-1>(x)); }, x);
    case row_statement::layer_norm:
      return enter(
          threads, p.seed,
          [](const auto& x, const auto& gamma, const auto& beta) {
            return variable<float, 2>(heddle::layer_norm(x, gamma, beta));
          },
          x, gamma, beta);
    case row_statement::rms_norm:
      return enter(
          threads, p.seed,
          [](const auto& x, const auto& gamma) { return variable<float, 2>(rms_norm(x, gamma)); },
          x, gamma);
    case row_statement::cross_entropy:
      return enter(
          threads, p.seed,
          [target = p.target](const auto& x) {
            return variable<float, 0>(heddle::cross_entropy(x, target));
          },
          x);
    case row_statement::gated_norm:
      return enter(
          threads, p.seed,
          [](const auto& x, const auto& g, const auto& gamma) {
            return variable<float, 2>(gated_norm(x, g, gamma));
          },
          x, g, gamma);
    default:
      return enter(
          threads, p.seed,
          [x = p.x](const auto& g) { return variable<float, 0>(divergence(x, g)); }, g);
  }
}

struct statement {
  row_statement what;
  std::string name;
  int arrays;  ///< of `size` floats that forward and backward read and write at least
};

// Forward and backward each read their operands once and write their results once; the backward of
// the first two reads the result and not the operand.
const std::vector<statement> statements = {
    {row_statement::softmax, "softmax", 5},
    {row_statement::log_softmax, "log-softmax", 5},
    {row_statement::layer_norm, "layer norm", 5},
    {row_statement::rms_norm, "RMS norm", 5},
    {row_statement::cross_entropy, "cross entropy", 3},
    {row_statement::gated_norm, "RMS norm of x silu(g)", 8},
    {row_statement::divergence, "divergence of two softmaxes", 5}};

std::vector<bench::contender> enter(const statement& s, std::int64_t columns) {
  const problem p(columns);
  std::vector<bench::contender> contenders;
  for (const int threads : bench::thread_counts()) {
    contenders.push_back(heddle_contender(s.what, p, threads));
#if defined(HEDDLE_BENCH_LIBTORCH)
    const bench::row_operands with = {p.x.data(),     p.g.data(),    p.seed.data(),
                                      p.gamma.data(), p.beta.data(), p.target.data(),
                                      size / columns, columns};
    for (bench::contender& c : bench::libtorch_row_contenders(s.what, with, threads)) {
      contenders.push_back(bench::keeping(p, std::move(c)));
    }
#endif
    contenders.push_back(bench::stream_limit(static_cast<double>(size) * 4 * s.arrays, threads));
  }
  return contenders;
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<bench::work> works;
  for (const statement& s : statements) {
    for (const std::int64_t columns : {128, 2048, 65536}) {
      works.push_back(
          {s.name + ", rows of " + std::to_string(columns),
           "s",
           bench::thread_counts(),
           {bench::of_limit(0.8), bench::times_as_fast_as("libtorch", 2),
            bench::times_as_fast_as("torch_compile", 1.2), bench::times_as_fast_as("jax", 1.2)},
           [=] { return enter(s, columns); }});
    }
  }
  return bench::run(
      count, arguments,
      {"C4",
       "row programs over 2^24 fp32 elements, forward and derived backward: ≥ 80 % of "
       "bandwidth, ≥ 2 × eager, ≥ 1.2 × fusing peers",
       {"libtorch", "torch", "torch_compile", "jax"},
       works});
}
