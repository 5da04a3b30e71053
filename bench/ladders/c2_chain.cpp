// SPDX-License-Identifier: BSD-3-Clause
// The ladder to goal C2, tanh(a*b + exp(a-c)) over 2^12 floats: loops that the compiler vectorises
// for the instruction set in the rung's name.
//   library    std::tanh and std::exp, a call for each element
//   one        heddle::math, one vector at a time: a chain of some 60 dependent instructions
//   two, four  so many vectors side by side; four is the way of include/ (exec/host/kernel.hpp)
//   rational   four, with tanh as one quotient of polynomials, 13 over 6 (the coefficients are
//              Eigen's): fewer instructions and a division; errors of more than 2 ulp
//   constant   four, with neither exp nor tanh: what the loop takes beside them
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "least.hpp"

#include <heddle/core/math.hpp>

namespace {

#if defined(__clang__)
#define LADDER_VECTORIZE __attribute__((noinline))
#define LADDER_LANES _Pragma("clang loop vectorize(assume_safety)")
#define LADDER_WIDE ""
#else
#define LADDER_VECTORIZE                                                                    \
  __attribute__((noinline, flatten,                                                         \
                 optimize("O3,no-trapping-math,no-math-errno,no-thread-jumps,no-tree-sink," \
                          "no-tree-pre,no-code-hoisting,no-split-paths")))
#define LADDER_LANES _Pragma("GCC ivdep")
#define LADDER_WIDE ",prefer-vector-width=512"
#endif

constexpr std::size_t count = 1 << 12;
constexpr std::size_t block = 64;

enum class way { exact, rational, constant };

HEDDLE_INLINE float rational_tanh(float given) {
  const float most = 7.90531110763549805f;
  const float x = given > most ? most : given < -most ? -most : given;
  const float s = x * x;
  float p = -2.76076847742355e-16f;
  p = p * s + 2.00018790482477e-13f;
  p = p * s - 8.60467152213735e-11f;
  p = p * s + 5.12229709037114e-08f;
  p = p * s + 1.48572235717979e-05f;
  p = p * s + 6.37261928875436e-04f;
  p = p * s + 4.89352455891786e-03f;
  float q = 1.19825839466702e-06f;
  q = q * s + 1.18534705686654e-04f;
  q = q * s + 2.26843463243900e-03f;
  q = q * s + 4.89352518554385e-03f;
  return x * p / q;
}

template <way Way>
HEDDLE_INLINE float one_element(float a, float b, float c) {
  namespace math = heddle::math;
  if constexpr (Way == way::exact) return math::tanh(a * b + math::exp(a - c));
  if constexpr (Way == way::rational) return rational_tanh(a * b + math::exp(a - c));
  if constexpr (Way == way::constant) return a * b + (a - c);
}

/// Pace: a type that is stored with each element. The narrowest type stored decides how many
/// vectors of floats one step of the vectorised loop holds.
template <way Way, class Pace>
HEDDLE_INLINE void chain(const float* a, const float* b, const float* c, float* y, int number) {
  alignas(64) Pace pace[block];
  for (std::size_t i = 0; i < count; i += block) {
    LADDER_LANES for (std::size_t l = 0; l < block; ++l) {
      y[i + l] = one_element<Way>(a[i + l], b[i + l], c[i + l]);
      pace[l] = static_cast<Pace>(number);
    }
    asm volatile("" : : "m"(pace));
  }
}

// The comparison is a floating-point expression of the function's own: without one gcc's inliner
// would replace its no-trapping-math by the callees' setting.
#define LADDER_CHAIN(isa, ...)                                                                  \
  template <way Way, class Pace>                                                                \
  LADDER_VECTORIZE __VA_ARGS__ void chain_##isa(const float* a, const float* b, const float* c, \
                                                float* y, float guard) {                        \
    if (guard < 0.f) return;                                                                    \
    chain<Way, Pace>(a, b, c, y, static_cast<int>(guard));                                      \
  }
LADDER_CHAIN(baseline)
#if defined(__x86_64__)
LADDER_CHAIN(avx2, __attribute__((target("avx2,fma,bmi,bmi2,f16c"))))
LADDER_CHAIN(avx512, __attribute__((target(
                         "avx2,fma,bmi,bmi2,f16c,avx512f,avx512bw,avx512dq,avx512vl" LADDER_WIDE))))
#endif
void library(const float* a, const float* b, const float* c, float* y, float) {
  for (std::size_t i = 0; i < count; ++i) y[i] = std::tanh(a[i] * b[i] + std::exp(a[i] - c[i]));
}

using chain_function = void (*)(const float*, const float*, const float*, float*, float);

/// error: the largest that is let through, 0 where the result is another function's.
void rung(benchmark::State& state, chain_function run, double error) {
  std::vector<float> a(count), b(count), c(count), y(count);
  for (std::size_t i = 0; i < count; ++i) {
    a[i] = static_cast<float>(i * 7919 % 10007) / 5003.f - 1;
    b[i] = static_cast<float>(i * 104729 % 10007) / 5003.f - 1;
    c[i] = static_cast<float>(i * 1299709 % 10007) / 5003.f - 1;
  }
  for (auto _ : state) {
    run(a.data(), b.data(), c.data(), y.data(), 0.f);
    benchmark::ClobberMemory();
  }
  for (std::size_t i = 0; error > 0 && i < count; ++i) {
    const double x = double{a[i]} * b[i] + std::exp(double{a[i]} - c[i]);
    if (!(std::fabs(y[i] - std::tanh(x)) < error)) state.SkipWithError("the result is wrong");
  }
}

template <class Chains>
void add(const std::string& isa, Chains chains) {
  const auto one = [&](const char* name, chain_function run, double error) {
    ladder::least_of_many(benchmark::RegisterBenchmark(
        (isa + "/" + name).c_str(), [=](benchmark::State& state) { rung(state, run, error); }));
  };
  one("one", chains.template operator()<way::exact, float>(), 1e-6);
  one("two", chains.template operator()<way::exact, std::uint16_t>(), 1e-6);
  one("four", chains.template operator()<way::exact, std::uint8_t>(), 1e-6);
  one("rational", chains.template operator()<way::rational, std::uint8_t>(), 1e-6);
  one("constant", chains.template operator()<way::constant, std::uint8_t>(), 0);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  ladder::least_of_many(benchmark::RegisterBenchmark(
      "library", [](benchmark::State& state) { rung(state, library, 1e-6); }));
  add("baseline",
      []<way Way, class Pace>() -> chain_function { return chain_baseline<Way, Pace>; });
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    add("avx2", []<way Way, class Pace>() -> chain_function { return chain_avx2<Way, Pace>; });
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
    add("avx512", []<way Way, class Pace>() -> chain_function { return chain_avx512<Way, Pace>; });
  }
#endif
  benchmark::RunSpecifiedBenchmarks();
}
