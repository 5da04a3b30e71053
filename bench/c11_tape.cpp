// SPDX-License-Identifier: BSD-3-Clause
// Goal C11: the tape. A chain of 10^6 statements on one element, differentiated, and a chain of
// eight multiplications with its backward pass.
#include "limits.hpp"
#include "numbers.hpp"

#include <heddle/autograd/record.hpp>
#if defined(HEDDLE_BENCH_LIBTORCH)
#include <torch/torch.h>
#endif

namespace {

constexpr std::int64_t length = 1'000'000;
// A hundred times as slow: a tenth of it tells as much.
constexpr std::int64_t peer_length = 100'000;

struct chain_times {
  double forward = 0, backward = 0;
  double bytes = 0;  ///< a node, resident memory
};

double resident_bytes() {
  long size = 0, resident = 0;
  if (FILE* f = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(f, "%ld %ld", &size, &resident) != 2) resident = 0;
    std::fclose(f);
  }
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

/// `build` makes the chain and returns its end, `differentiate` runs backward from it.
template <class Build, class Differentiate>
chain_times run_chain(std::int64_t nodes, Build build, Differentiate differentiate) {
  const auto count = static_cast<double>(nodes);
  chain_times t;
  const double before = resident_bytes();
  {
    auto first = build();  // memory is new: this one is for the bytes
    t.bytes = (resident_bytes() - before) / count;
  }
  std::vector<double> forward, backward;
  for (int round = 0; round < 7; ++round) {
    decltype(build()) end;
    forward.push_back(bench::seconds_of([&](std::int64_t) { end = build(); }, 1) / count);
    backward.push_back(bench::seconds_of([&](std::int64_t) { differentiate(end); }, 1) / count);
  }
  t.forward = bench::median(forward);
  t.backward = bench::median(backward);
  return t;
}

void print(const char* name, const chain_times& t, const chain_times& first) {
  const double own = t.forward + t.backward;
  std::printf(
      "| 10^6 statements, a node | %s, 1 thread | %s (forward %s, backward %s, %.0f bytes) | %s | "
      "— |\n",
      name, bench::time_text(own).c_str(), bench::time_text(t.forward).c_str(),
      bench::time_text(t.backward).c_str(), t.bytes,
      bench::ratio_text(own / (first.forward + first.backward)).c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int, char** arguments) {
  bench::tune(arguments);
  bench::set_threads(1);
  using heddle::tensor;
  using heddle::variable;
  bench::head("C11: the tape, fp32, one element");
  const tensor<float, 1> seed{1.f};
  const variable<float, 1> x(tensor<float, 1>{1.f});
  const chain_times own = run_chain(
      length,
      [&] {
        variable<float, 1> z = x;
        for (std::int64_t i = 0; i < length; ++i) z = z * 1.000001f;
        return z;
      },
      [&](variable<float, 1>& z) { z.backward(seed); });
  print("heddle", own, own);
#if defined(HEDDLE_BENCH_LIBTORCH)
  const at::Tensor torch_seed = torch::ones({1});
  const at::Tensor tx = torch::ones({1}, torch::requires_grad());
  print("libtorch",
        run_chain(
            peer_length,
            [&] {
              at::Tensor z = tx;
              for (std::int64_t i = 0; i < peer_length; ++i) z = z * 1.000001;
              return z;
            },
            [&](at::Tensor& z) {
              z.backward(torch_seed);
              z = at::Tensor();
            }),
        own);
#endif

  std::vector<bench::contender> contenders;
  const variable<float, 1> w(tensor<float, 1>{1.000001f});
  contenders.push_back(bench::enter("heddle", 1, [&] {
    variable<float, 1> z = x;
    for (int i = 0; i < 8; ++i) z = z * w;
    z.backward(seed);
    x.zero_grad();
    w.zero_grad();
  }));
#if defined(HEDDLE_BENCH_LIBTORCH)
  const at::Tensor tw = torch::full({1}, 1.000001, torch::requires_grad());
  contenders.push_back(bench::enter("libtorch", 1, [=] {
    at::Tensor z = tx;
    for (int i = 0; i < 8; ++i) z = z * tw;
    z.backward(torch_seed);
    tx.mutable_grad() = at::Tensor();
    tw.mutable_grad() = at::Tensor();
  }));
#endif
  bench::row("8 multiplications and backward", 0, contenders);
}
