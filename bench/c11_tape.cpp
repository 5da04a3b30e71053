// SPDX-License-Identifier: BSD-3-Clause
// Goal C11: the tape: a chain of 10^6 statements on one element, differentiated, and a chain of
// eight multiplications with its backward pass.
#include "numbers.hpp"
#include "program.hpp"
#include "resident.hpp"

#include <heddle/autograd/record.hpp>
#if defined(HEDDLE_BENCH_LIBTORCH)
#include "peers/libtorch.hpp"
#include <torch/torch.h>
#endif
#if defined(HEDDLE_BENCH_CODIPACK)
#include "peers/codipack.hpp"
#endif

namespace {

using bench::contender;

constexpr std::int64_t length = 1'000'000;

struct heddle_tape {
  static constexpr char name[] = "heddle";
  static constexpr std::int64_t length = ::length;
  using preparation = bench::unprepared;
  using value = heddle::variable<float, 1>;

  heddle::tensor<float, 1> seed{1.f};
  value x{heddle::tensor<float, 1>{1.f}}, w{heddle::tensor<float, 1>{1.000001f}};

  value chain(std::int64_t n) const {
    value z = x;
    for (std::int64_t i = 0; i < n; ++i) z = z * 1.000001f;
    return z;
  }
  value product() const {
    value z = x;
    for (int i = 0; i < 8; ++i) z = z * w;
    return z;
  }
  void differentiate(value& z) const { z.backward(seed); }
  static double number(const value& z) { return static_cast<double>(z.value().data()[0]); }
  static double gradient(const value& of) { return static_cast<double>(of.grad().data()[0]); }
  static void clear(const value& of) { of.zero_grad(); }
};

#if defined(HEDDLE_BENCH_LIBTORCH)
struct libtorch_tape {
  static constexpr char name[] = "libtorch";
  // A hundred times as slow: a tenth of it tells as much.
  static constexpr std::int64_t length = ::length / 10;
  using preparation = bench::libtorch_threads;
  using value = at::Tensor;

  at::Tensor seed = torch::ones({1});
  at::Tensor x = torch::ones({1}, torch::requires_grad()),
             w = torch::full({1}, 1.000001, torch::requires_grad());

  value chain(std::int64_t n) const {
    at::Tensor z = x;
    for (std::int64_t i = 0; i < n; ++i) z = z * 1.000001;
    return z;
  }
  value product() const {
    at::Tensor z = x;
    for (int i = 0; i < 8; ++i) z = z * w;
    return z;
  }
  void differentiate(value& z) const { z.backward(seed); }
  static double number(const value& z) { return static_cast<double>(z.item<float>()); }
  static double gradient(const value& of) { return static_cast<double>(of.grad().item<float>()); }
  static void clear(const value& of) { of.mutable_grad() = at::Tensor(); }
};
#endif

template <class Tape>
contender chain() {
  contender c = bench::enter<typename Tape::preparation>(Tape::name, "", 1, [tape = Tape()](auto) {
    auto z = tape.chain(Tape::length);
    tape.differentiate(z);
  });
  c.values = [tape = Tape()]() -> std::vector<double> {
    auto z = tape.chain(1000);
    const double result = tape.number(z);
    tape.differentiate(z);
    return {result, tape.gradient(tape.x)};
  };
  c.share = 1 / static_cast<double>(Tape::length);
  return c;
}

// Forward alone: what is recorded is dropped untimed.
template <class Tape>
contender recording() {
  return bench::counted(Tape::name, "", [tape = Tape()] {
    [[maybe_unused]] const typename Tape::preparation prepared(1);
    typename Tape::value z = tape.x;
    const double taken = bench::seconds_of([&](std::int64_t) { z = tape.chain(Tape::length); }, 1);
    tape.differentiate(z);
    return taken / static_cast<double>(Tape::length);
  });
}

template <class Tape>
contender memory() {
  return bench::counted(Tape::name, "", [tape = Tape(), bytes = 0.0]() mutable {
    if (bytes > 0) return bytes;
    typename Tape::value z = tape.x;
    bytes = bench::resident_growth([&] {
              z = tape.chain(Tape::length);
              return 0;
            }) /
            static_cast<double>(Tape::length);
    tape.differentiate(z);
    return bytes;
  });
}

template <class Tape>
contender product() {
  return bench::enter<typename Tape::preparation>(Tape::name, "", 1, [tape = Tape()](auto see) {
    auto z = tape.product();
    tape.differentiate(z);
    if constexpr (std::is_same_v<decltype(see), bench::sampled>) {
      see(tape.number(z));
      see(tape.gradient(tape.x));
      see(tape.gradient(tape.w));
    }
    tape.clear(tape.x);
    tape.clear(tape.w);
  });
}

std::vector<contender> chains() {
  return {
    chain<heddle_tape>(),
#if defined(HEDDLE_BENCH_LIBTORCH)
        chain<libtorch_tape>(),
#endif
#if defined(HEDDLE_BENCH_CODIPACK)
        bench::codipack_chain(length),
#endif
  };
}

std::vector<contender> recordings() {
  return {
    recording<heddle_tape>(),
#if defined(HEDDLE_BENCH_LIBTORCH)
        recording<libtorch_tape>(),
#endif
#if defined(HEDDLE_BENCH_CODIPACK)
        bench::codipack_recording(length),
#endif
  };
}

std::vector<contender> memories() {
  return {
    memory<heddle_tape>(),
#if defined(HEDDLE_BENCH_LIBTORCH)
        memory<libtorch_tape>(),
#endif
#if defined(HEDDLE_BENCH_CODIPACK)
        bench::codipack_memory(length),
#endif
  };
}

std::vector<contender> products() {
  return {
    product<heddle_tape>(),
#if defined(HEDDLE_BENCH_LIBTORCH)
        product<libtorch_tape>(),
#endif
#if defined(HEDDLE_BENCH_CODIPACK)
        bench::codipack_product(),
#endif
  };
}

}  // namespace

int main(int count, char** arguments) {
  // Memory first: the pages of the other chains would be found again.
  return bench::run(
      count, arguments,
      {"C11",
       "the tape: ≤ 120 ns and ≤ 200 bytes a node of a chain of 10^6 statements on one element; 8 "
       "multiplications and backward in ≤ 1 µs",
       {"libtorch", "codipack"},
       {{"chain of 10^6, memory of a node", "B", {1}, {bench::at_most(200)}, memories},
        {"chain of 10^6, a node", "s", {1}, {bench::at_most(120e-9)}, chains},
        {"chain of 10^6, a node, forward alone", "s", {1}, {}, recordings},
        {"8 multiplications and backward", "s", {1}, {bench::at_most(1e-6)}, products}}});
}
