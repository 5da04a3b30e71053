// SPDX-License-Identifier: BSD-3-Clause
// The accuracy of heddle::math in units in the last place, against the C library in long double.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>

#include <doctest/doctest.h>

#include <heddle/core/math.hpp>

namespace math = heddle::math;

namespace {

template <class T>
long double ulp_error(T got, long double exact) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : 1e9L;
  if (std::isnan(got)) return 1e9L;
  const T rounded = static_cast<T>(exact);
  if (std::isinf(rounded) || std::isinf(got)) {
    if (got == rounded) return 0;
    // One side may round up to infinity within the last place.
    const T largest = std::numeric_limits<T>::max();
    return std::fabs(got) >= largest && std::fabs(rounded) >= largest ? 1 : 1e9L;
  }
  int e;
  std::frexp(rounded, &e);
  const int lowest = std::numeric_limits<T>::min_exponent;
  const int digits = std::numeric_limits<T>::digits;
  const long double ulp = std::ldexp(1.0L, (e < lowest || rounded == 0 ? lowest : e) - digits);
  return std::fabs(static_cast<long double>(got) - exact) / ulp;
}

struct worst {
  long double error = 0;
  double at = 0;
  long count = 0;
};

template <class T, class F, class R>
void measure(worst& w, T x, F f, R reference) {
  const long double e = ulp_error<T>(f(x), reference(static_cast<long double>(x)));
  ++w.count;
  if (e > w.error) {
    w.error = e;
    w.at = static_cast<double>(x);
  }
}

/// Even steps over [low, high], then every power of two and its neighbours by bit pattern, then the
/// special values.
template <class T, class F, class R>
worst sweep(double low, double high, F f, R reference, bool outside = true) {
  worst w;
  const int steps = 400000;
  for (int i = 0; i <= steps; ++i)
    measure<T>(w, static_cast<T>(low + (high - low) * (i + 0.37) / (steps + 1)), f, reference);
  std::uint64_t state = 88172645463325252ull;
  for (int i = 0; i < 400000;
       ++i) {  // random bit patterns: every exponent, subnormals, infinities and NaNs
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    T x;
    std::memcpy(&x, &state, sizeof x);
    if (!outside && !(x >= static_cast<T>(low) && x <= static_cast<T>(high))) continue;
    measure<T>(w, x, f, reference);
  }
  using limits = std::numeric_limits<T>;
  for (T x : {T(0), -T(0), T(1), -T(1), limits::min(), limits::denorm_min(), -limits::denorm_min(),
              limits::epsilon(), limits::max(), limits::lowest(), limits::infinity(),
              -limits::infinity(), limits::quiet_NaN()})
    if (outside || (x >= static_cast<T>(low) && x <= static_cast<T>(high)))
      measure<T>(w, x, f, reference);
  return w;
}

#define CHECK_ULP(bound, T, low, high, ours, theirs, ...)                                    \
  do {                                                                                       \
    const worst w = sweep<T>(                                                                \
        low, high, [](T x) { return ours(x); },                                              \
        [](long double x) { return theirs(x); } __VA_OPT__(, ) __VA_ARGS__);                 \
    INFO(#ours "<" #T ">: worst " << static_cast<double>(w.error) << " ulp at " << w.at);    \
    CHECK(w.count > 400000);                                                                 \
    CHECK(w.error <= static_cast<long double>(bound));                                       \
    MESSAGE(#ours "<" #T ">: worst " << static_cast<double>(w.error) << " ulp at " << w.at); \
  } while (false)

long double sigmoid_reference(long double x) { return 1 / (1 + std::exp(-x)); }
long double rsqrt_reference(long double x) { return 1 / std::sqrt(x); }

}  // namespace

TEST_CASE("exp errs by at most 2 ulp, subnormal results and overflow included") {
  CHECK_ULP(2, float, -104, 89, math::exp, std::exp);
  CHECK_ULP(2, double, -746, 710, math::exp, std::exp);
}
TEST_CASE("expm1 errs by at most 2 ulp") {
  CHECK_ULP(2, float, -20, 89, math::expm1, std::expm1);
  CHECK_ULP(2, double, -40, 710, math::expm1, std::expm1);
  CHECK_ULP(2, float, -1, 1, math::expm1, std::expm1);
  CHECK_ULP(2, double, -1, 1, math::expm1, std::expm1);
}
TEST_CASE("log errs by at most 2 ulp, subnormal arguments included") {
  CHECK_ULP(2, float, 0.25, 4, math::log, std::log);
  CHECK_ULP(2, double, 0.25, 4, math::log, std::log);
}
TEST_CASE("log1p errs by at most 2 ulp") {
  CHECK_ULP(2, float, -0.999, 3, math::log1p, std::log1p);
  CHECK_ULP(2, double, -0.999, 3, math::log1p, std::log1p);
}
TEST_CASE("tanh errs by at most 2 ulp") {
  CHECK_ULP(2, float, -10, 10, math::tanh, std::tanh);
  CHECK_ULP(2, double, -22, 22, math::tanh, std::tanh);
  CHECK_ULP(2, float, -1, 1, math::tanh, std::tanh);
  CHECK_ULP(2, double, -1, 1, math::tanh, std::tanh);
}
TEST_CASE("sigmoid errs by at most 2 ulp") {
  CHECK_ULP(2, float, -104, 20, math::sigmoid, sigmoid_reference);
  CHECK_ULP(2, double, -746, 40, math::sigmoid, sigmoid_reference);
}
TEST_CASE("erf errs by at most 2 ulp") {
  CHECK_ULP(2, float, -5, 5, math::erf, std::erf);
  CHECK_ULP(2, double, -6.5, 6.5, math::erf, std::erf);
}
TEST_CASE("sin and cos err by at most 2 ulp up to a million radians") {
  CHECK_ULP(2, float, -10, 10, math::sin, std::sin, false);
  CHECK_ULP(2, double, -10, 10, math::sin, std::sin, false);
  CHECK_ULP(2, float, -10, 10, math::cos, std::cos, false);
  CHECK_ULP(2, double, -10, 10, math::cos, std::cos, false);
  CHECK_ULP(2, float, -1e6, 1e6, math::sin, std::sin, false);
  CHECK_ULP(2, double, -1e6, 1e6, math::sin, std::sin, false);
  CHECK_ULP(2, float, -1e6, 1e6, math::cos, std::cos, false);
  CHECK_ULP(2, double, -1e6, 1e6, math::cos, std::cos, false);
}
TEST_CASE("sqrt is correctly rounded and rsqrt errs by at most 1.5 ulp") {
  CHECK_ULP(0.5001, float, 0, 10, math::sqrt, std::sqrt);
  CHECK_ULP(0.5001, double, 0, 10, math::sqrt, std::sqrt);
  CHECK_ULP(1.5, float, 0.1, 10, math::rsqrt, rsqrt_reference);
  CHECK_ULP(1.5, double, 0.1, 10, math::rsqrt, rsqrt_reference);
}
TEST_CASE("rounding functions are exact") {
  CHECK_ULP(0, float, -10, 10, math::floor, std::floor);
  CHECK_ULP(0, double, -10, 10, math::floor, std::floor);
  CHECK_ULP(0, float, -10, 10, math::ceil, std::ceil);
  CHECK_ULP(0, double, -10, 10, math::ceil, std::ceil);
  CHECK_ULP(0, float, -10, 10, math::trunc, std::trunc);
  CHECK_ULP(0, double, -10, 10, math::trunc, std::trunc);
  CHECK_ULP(0, float, -10, 10, math::round, std::nearbyint);
  CHECK_ULP(0, double, -10, 10, math::round, std::nearbyint);
  CHECK(math::round(2.5f) == 2.f);
  CHECK(math::round(3.5) == 4.0);
}

namespace {
template <class T>
worst sweep_pow() {
  worst w;
  std::uint64_t state = 1234567;
  const auto next = [&state] {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return static_cast<double>(state >> 11) * 0x1p-53;
  };
  const double largest = sizeof(T) == 4 ? 90 : 720;
  for (int i = 0; i < 600000; ++i) {
    // log x over all magnitudes, then y such that the result spans the range, underflow and
    // overflow included.
    const T x = static_cast<T>(std::exp((next() - 0.5) * (i % 3 == 0   ? 1e-2
                                                          : i % 3 == 1 ? 2
                                                                       : 150)));
    const T y =
        static_cast<T>((2 * next() - 1) * largest / std::fabs(std::log(static_cast<double>(x))));
    const long double e = ulp_error<T>(
        math::pow(x, y), std::pow(static_cast<long double>(x), static_cast<long double>(y)));
    if (e > w.error) w.error = e, w.at = static_cast<double>(x);
    ++w.count;
  }
  return w;
}
template <class T>
void check_pow_edges() {
  using limits = std::numeric_limits<T>;
  const T values[] = {T(0),
                      -T(0),
                      T(1),
                      -T(1),
                      T(2),
                      -T(2),
                      T(3),
                      -T(3),
                      T(0.5),
                      -T(0.5),
                      T(2.5),
                      -T(2.5),
                      T(1e30),
                      -T(1e30),
                      T(16777216),
                      T(16777217),
                      T(16777215),
                      limits::denorm_min(),
                      limits::max(),
                      limits::infinity(),
                      -limits::infinity(),
                      limits::quiet_NaN()};
  for (T x : values)
    for (T y : values) {
      const T want =
          static_cast<T>(std::pow(static_cast<long double>(x), static_cast<long double>(y)));
      const T got = math::pow(x, y);
      INFO("pow(" << x << ", " << y << ") = " << got << ", expected " << want);
      CHECK(ulp_error<T>(got, static_cast<long double>(want)) <= 4);
      if (want == want) CHECK(std::signbit(got) == std::signbit(want));
    }
}
}  // namespace

TEST_CASE("pow errs by at most 1 ulp in float and 4 ulp in double") {
  const worst f = sweep_pow<float>(), d = sweep_pow<double>();
  MESSAGE("pow<float> " << static_cast<double>(f.error) << " at " << f.at << ", pow<double> "
                        << static_cast<double>(d.error) << " at " << d.at);
  CHECK(f.error <= 1);
  CHECK(d.error <= 4);
}
TEST_CASE("pow has the special values of IEEE 754") {
  check_pow_edges<float>();
  check_pow_edges<double>();
}
TEST_CASE("odd functions keep the sign of zero") {
  CHECK(std::signbit(math::tanh(-0.f)));
  CHECK(std::signbit(math::expm1(-0.0)));
  CHECK(std::signbit(math::log1p(-0.f)));
  CHECK(std::signbit(math::erf(-0.0)));
  CHECK(std::signbit(math::sin(-0.f)));
  CHECK(std::signbit(math::sqrt(-0.0)));
}
TEST_CASE("maximum and minimum propagate NaN from either side") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(math::isnan(math::maximum(nan, 1.f)));
  CHECK(math::isnan(math::maximum(1.f, nan)));
  CHECK(math::isnan(math::minimum(nan, 1.f)));
  CHECK(math::isnan(math::minimum(1.f, nan)));
  CHECK(math::maximum(2.0, 3.0) == 3.0);
  CHECK(math::minimum(-1, 4) == -1);
  CHECK(math::abs(-7) == 7);
  CHECK(math::abs(-0.5) == 0.5);
}

namespace {
std::int64_t random_integer(std::uint64_t& state, int i) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return static_cast<std::int64_t>(state) >> (i % 64);
}
}  // namespace

TEST_CASE("to_int64 drops the fraction of every value below 2^63") {
  std::uint64_t state = 88172645463325252ull;
  int wrong = 0;
  for (int i = 0; i < 400000; ++i) {
    const double d = std::ldexp(static_cast<double>(random_integer(state, i)), -(i % 7));
    if (std::fabs(d) >= 0x1p63) continue;
    if (math::to_int64(d) != static_cast<std::int64_t>(d)) ++wrong;
    const float f = static_cast<float>(d);
    if (std::fabs(f) < 0x1p63f && math::to_int64(f) != static_cast<std::int64_t>(f)) ++wrong;
  }
  CHECK(wrong == 0);
  for (double d : {0.0, -0.0, 0.99, -0.99, 1.5, -1.5, 2.5, 4503599627370495.5, 4503599627370497.0,
                   -4503599627370495.5, 9223372036854774784.0, -9223372036854775808.0}) {
    CHECK(math::to_int64(d) == static_cast<std::int64_t>(d));
  }
}
TEST_CASE("from_int64 rounds once") {
  std::uint64_t state = 1234567;
  int wrong = 0;
  const auto check = [&wrong](std::int64_t v) {
    if (math::from_int64<double>(v) != static_cast<double>(v)) ++wrong;
    if (math::from_int64<float>(v) != static_cast<float>(v)) ++wrong;
  };
  for (int i = 0; i < 400000; ++i) check(random_integer(state, i));
  for (int bit = 0; bit < 63; ++bit) {  // ties of either type and their neighbours
    for (int half = 0; half < 62; ++half) {
      const std::int64_t v = (std::int64_t{1} << bit) + (std::int64_t{1} << half);
      for (int step = -1; step <= 1; ++step) check(v + step), check(-v + step);
    }
  }
  check(std::numeric_limits<std::int64_t>::min());
  check(std::numeric_limits<std::int64_t>::max());
  CHECK(wrong == 0);
}

TEST_CASE("integers wrap around") {
  CHECK(math::add(INT64_MAX, std::int64_t{1}) == INT64_MIN);
  CHECK(math::subtract(INT64_MIN, std::int64_t{1}) == INT64_MAX);
  CHECK(math::multiply(INT32_MAX, 2) == -2);
  CHECK(math::abs(INT64_MIN) == INT64_MIN);
  CHECK(math::add(std::uint8_t{250}, std::uint8_t{10}) == 4);
  CHECK(math::multiply(std::uint8_t{20}, std::uint8_t{20}) == 144);
  CHECK(math::add(0.1, 0.2) == 0.1 + 0.2);
}
