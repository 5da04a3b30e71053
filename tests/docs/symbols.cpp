// SPDX-License-Identifier: BSD-3-Clause
// The examples of docs/reference/graph.md, and of statements in docs/reference/core.md.
#include <cmath>
#include <cstdint>
#include <string>

#include <doctest/doctest.h>

#include <heddle/exec/evaluate.hpp>
#include <heddle/exec/profiler.hpp>
#include <heddle/tensor/creation.hpp>

//! [op_traits]
constexpr auto cube = static_cast<heddle::op>(1025);

template <>
struct heddle::op_traits<cube> {
  static constexpr std::string_view name = "cube";
  static constexpr graph::result_rule rule = graph::result_rule::same;  // i64 of i64
  template <class T>
  HEDDLE_HD static T value(T x) {
    return x * x * x;
  }
  static constexpr grads<1> derivative(symbol x, symbol, symbol g) { return {g * 3 * square(x)}; }
};
//! [op_traits]

namespace {

//! [functions]
// Activations as one function of three results. The lambda's arguments are symbols.
constexpr auto activations = heddle::fused([](auto x) {
  const auto softplus = maximum(x, 0) + log1p(exp(-abs(x)));  // never overflows
  const auto elu = where(x > 0, x, expm1(minimum(x, 0)));
  const auto gelu = x * 0.5 * (1 + erf(x * 0.70710678118654752));
  return heddle::outputs(softplus, elu, gelu);
});
//! [functions]

//! [reductions]
// Rows scaled to [0, 1], rows of length 1, and the entropy of rows of probabilities. With keepdim
// the reduced axis stays, of extent 1, and broadcasts.
constexpr auto rescale = heddle::fused([](auto x) {
  const auto low = amin<-1>(x, heddle::keepdim);
  return (x - low) / (amax<-1>(x, heddle::keepdim) - low);
});
constexpr auto normalise =
    heddle::fused([](auto x) { return x * rsqrt(sum<-1>(square(x), heddle::keepdim)); });
constexpr auto entropy = heddle::fused([](auto p) { return -sum<-1>(p * log(p)); });
//! [reductions]

//! [coordinates]
// Positions as sines and cosines (Vaswani et al. 2017, section 3.5) of the shape of x: (T, D).
constexpr auto positions = heddle::fused([](auto x, auto width) {
  const auto position = heddle::iota<0>(x);  // i64, as are channels
  const auto channel = heddle::iota<1>(x);
  const auto pair = floor(channel / 2) * 2;  // division gives f32
  const auto angle = position / pow(10000, pair / width);
  return where(channel == pair, sin(angle), cos(angle));
});
//! [coordinates]

//! [logic]
// The sign that x and y share; 0 where they differ or one of them is 0.
constexpr auto agreement = heddle::fused([](auto x, auto y) {
  const auto opposed = logical_xor(x < 0, y < 0);
  const auto still = logical_or(x == 0, y == 0);
  const auto agree = logical_and(logical_not(opposed), logical_not(still));  // !opposed && !still
  return where(agree, sign(x), 0);
});
//! [logic]

//! [random]
// Noise, and dropout: the numbers are a function of seed, offset and position. Two draws of one
// statement have seeds of their own; the same seed would give both the same bits.
constexpr auto sample = heddle::fused([](auto mean, auto deviation, auto noise, auto drops) {
  const auto drawn = mean + deviation * normal_like(mean, noise, 0);
  return where(uniform_like(mean, drops, 0) < 0.5, 0, drawn * 2);
});
//! [random]

}  // namespace

TEST_CASE("functions of symbols") {
  const heddle::tensor<float, 1> x{-1, 0, 100};
  auto [softplus, elu, gelu] = evaluate(activations(x));
  CHECK(softplus(0) == doctest::Approx(std::log1p(std::exp(-1.0))));
  CHECK(softplus(2) == 100);
  CHECK((elu(0) == doctest::Approx(std::expm1(-1.0)) && elu(2) == 100));
  CHECK((gelu(0) == doctest::Approx(-0.15865525) && gelu(2) == 100));
}

TEST_CASE("reductions of symbols") {
  const heddle::tensor<float, 2> x{{2, 4, 6}, {-1, 1, 0}};
  heddle::tensor<float, 2> y = rescale(x);
  CHECK((y(0, 0) == 0 && y(0, 1) == 0.5f && y(0, 2) == 1 && y(1, 2) == 0.5f));
  heddle::tensor<float, 2> unit = normalise(x);
  CHECK(unit(0, 0) == doctest::Approx(2 / std::sqrt(56.0)));
  heddle::tensor<float, 1> nats = entropy(heddle::full<float, 2>({3, 4}, 0.25f));
  CHECK(nats(2) == doctest::Approx(std::log(4.0)));
}

TEST_CASE("coordinates") {
  heddle::tensor<float, 2> y = positions(heddle::zeros<float, 2>({3, 4}), 4);
  CHECK((y(0, 0) == 0 && y(0, 1) == 1));
  CHECK(y(2, 2) == doctest::Approx(std::sin(2 / 100.0)));
  CHECK(y(2, 3) == doctest::Approx(std::cos(2 / 100.0)));
}

TEST_CASE("logic of symbols") {
  const heddle::tensor<float, 1> x{-3, -1, 0, 2}, y{-1, 4, 1, 5};
  heddle::tensor<float, 1> z = agreement(x, y);
  CHECK((z(0) == -1 && z(1) == 0 && z(2) == 0 && z(3) == 1));
}

TEST_CASE("random numbers of symbols") {
  const auto mean = heddle::ones<float, 1>({1000});
  //! [random_use]
  heddle::tensor<float, 1> y = sample(mean, 0.1f, 1, 2);
  heddle::tensor<float, 1> again = sample(mean, 0.1f, 1, 2);  // the same numbers
  //! [random_use]
  CHECK((y(3) == again(3) && y(999) == again(999)));
  int dropped = 0;
  double total = 0;
  for (int i = 0; i < 1000; ++i) {
    dropped += y(i) == 0;
    total += y(i);
  }
  CHECK((dropped > 400 && dropped < 600));
  CHECK(total / (1000 - dropped) == doctest::Approx(2).epsilon(0.02));
}

TEST_CASE("a user's op may keep the dtype") {
  //! [op_use]
  const heddle::tensor<std::int64_t, 1> x{-2, 3};
  heddle::tensor<std::int64_t, 1> y = heddle::apply_op<cube>(x);  // -8 27
  //! [op_use]
  CHECK((y(0) == -8 && y(1) == 27));
}

TEST_CASE("places of statements") {
  const heddle::tensor<std::int64_t, 1> x{1, 2};
  //! [places]
  const heddle::profiler profile;
  heddle::tensor<std::int64_t, 1> y = heddle::apply_op<cube>(x);
  const heddle::source_place place = profile.launches().front().statement;
  const std::string where = std::string(place.file) + ':' + std::to_string(place.line);
  //! [places]
  CHECK((place.line == __LINE__ - 4 && where.find("symbols.cpp:") != where.npos && y(0) == 1));
}
