// SPDX-License-Identifier: BSD-3-Clause
// The same statements in two units of one program, compiled by other compilers or with other flags.
#include <cmath>

#include "statements.hpp"
#include <doctest/doctest.h>

namespace {

using namespace heddle;

constexpr std::int64_t rows = 5;
constexpr std::int64_t columns = 67;

tensor<float, 2> sample() {
  tensor<float, 2> x = empty<float, 2>({rows, columns});
  double i = 0;
  for (float& v : x) v = static_cast<float>(std::sin(i++));
  return x;
}

void check(const two_units::results& r, const tensor<float, 2>& x, const tensor<float, 1>& b) {
  double total = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    double sum = 0;
    double squares = 0;
    for (std::int64_t j = 0; j < columns; ++j) {
      const double e = std::exp(static_cast<double>(x(i, j)) * static_cast<double>(b(j)));
      sum += e;
      squares += e * e;
      total += static_cast<double>(x(i, j)) * static_cast<double>(x(i, j));
    }
    for (std::int64_t j = 0; j < columns; ++j) {
      const double a = static_cast<double>(x(i, j));
      const double c = static_cast<double>(b(j));
      const double p = std::exp(a * c) / sum;
      CHECK(r.map(i, j) == doctest::Approx(std::tanh(a * c + std::exp(a - c)) * 2).epsilon(1e-5));
      CHECK(r.normalised(i, j) == doctest::Approx(p).epsilon(1e-5));
      const double slope = 2 * p * (p - squares / sum / sum) * c;
      CHECK(std::fabs(static_cast<double>(r.gradient(i, j)) - slope) < 1e-6);
    }
  }
  CHECK(r.total.item() == doctest::Approx(total).epsilon(1e-5));
}

}  // namespace

TEST_CASE("each unit's statements are right, whatever the other was compiled with") {
  const tensor<float, 2> x = sample();
  tensor<float, 1> b = empty<float, 1>({columns});
  float next = 0.25f;
  for (float& v : b) v = (next += 0.01f);
  const two_units::results plain = two_units::in_plain_unit(x, b);
  const two_units::results other = two_units::in_other_unit(x, b);
  check(plain, x, b);
  check(other, x, b);
  CHECK(plain.configuration != other.configuration);
}
