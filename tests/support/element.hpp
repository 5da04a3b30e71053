// SPDX-License-Identifier: BSD-3-Clause
// element: a value with a bound on its error, and the arithmetic of every op on it, in double. It
// shares the names of the ops with heddle and none of its arithmetic.
//
// The bound says how far an evaluation in the node's own precision may lie from the value; it is
// found by propagating roundings through the ops. Where a decision hangs on a rounding (a
// comparison of nearly equal values, floor near an integer) the bound is infinite: nothing is
// known.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include <heddle/graph/node.hpp>

namespace support {

using heddle::dtype;
using heddle::op;

/// Beyond, sine and cosine are not reduced exactly.
inline constexpr double most_angle = 1e4;
inline constexpr double unknown = std::numeric_limits<double>::infinity();

/// A value of a node: `real` of floating dtypes, `integer` of the others; |true - real| <= error.
struct element {
  double real = 0;
  double error = 0;
  std::int64_t integer = 0;
  bool signless = false;  ///< a zero of either sign

  bool known() const { return error < unknown; }
  /// Whether the value has the sign of `real`, be it zero.
  bool has_sign() const {
    return error == 0 ? real != 0 || !signless : known() && std::fabs(real) > error;
  }
};

inline bool floating(dtype d) {
  return d == dtype::f64 || d == dtype::f32 || d == dtype::bf16 || d == dtype::f16;
}

/// x rounded to `bits` significant bits, to nearest even, no finer than 2^lowest.
inline double rounded(double x, int bits, int lowest) {
  if (x == 0 || !std::isfinite(x)) return x;
  int exponent = 0;
  std::frexp(x, &exponent);
  const int unit = std::max(exponent - bits, lowest);
  return std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
}
inline double rounded_to_bfloat16(double x) { return rounded(x, 8, -133); }
inline double rounded_to_float16(double x) { return rounded(x, 11, -24); }

inline double float16_value(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  double x = exponent == 0   ? std::ldexp(fraction, -24)
             : exponent < 31 ? std::ldexp(1024 + fraction, exponent - 25)
             : fraction == 0 ? std::numeric_limits<double>::infinity()
                             : std::numeric_limits<double>::quiet_NaN();
  return bits >> 15 != 0 ? -x : x;
}
inline double bfloat16_value(std::uint16_t bits) {
  const std::uint32_t word = static_cast<std::uint32_t>(bits) << 16;
  float x = 0;
  std::memcpy(&x, &word, 4);
  return x;
}

template <class T>
T read_bytes(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// The element of an array of dtype `type` at an offset in elements.
inline element read(const std::byte* data, std::int64_t offset, dtype type) {
  element e;
  switch (type) {
    case dtype::f64:
      e.real = read_bytes<double>(data + 8 * offset);
      break;
    case dtype::f32:
      e.real = read_bytes<float>(data + 4 * offset);
      break;
    case dtype::bf16:
      e.real = bfloat16_value(read_bytes<std::uint16_t>(data + 2 * offset));
      break;
    case dtype::f16:
      e.real = float16_value(read_bytes<std::uint16_t>(data + 2 * offset));
      break;
    case dtype::i64:
      e.integer = read_bytes<std::int64_t>(data + 8 * offset);
      break;
    case dtype::i32:
      e.integer = read_bytes<std::int32_t>(data + 4 * offset);
      break;
    case dtype::u8:
      e.integer = read_bytes<std::uint8_t>(data + offset);
      break;
    case dtype::boolean:
      e.integer = read_bytes<std::uint8_t>(data + offset) != 0 ? 1 : 0;
      break;
  }
  return e;
}

inline std::int64_t narrowed(std::int64_t x, dtype type) {
  if (type == dtype::i32) return static_cast<std::int32_t>(static_cast<std::uint32_t>(x));
  if (type == dtype::u8) return x & 255;
  if (type == dtype::boolean) return x != 0 ? 1 : 0;
  return x;
}

/// Adds the rounding of a result: `units` times half a unit in the last place of the compute type.
inline element with_rounding(element e, dtype type, double units) {
  if (std::isnan(e.error)) e.error = unknown;
  if (!e.known()) return e;
  if (std::isnan(e.real)) {
    e.error = 0;
    return e;
  }
  const bool wide = type == dtype::f64;
  const double most = wide ? DBL_MAX : FLT_MAX;
  if (std::isinf(e.real)) {
    if (e.error != 0) e.error = unknown;
    return e;
  }
  const double size = std::fabs(e.real);
  if (size + e.error > most * (1 - 1e-6)) {
    e.error = unknown;  // on which side of overflow the result lies depends on its rounding
    return e;
  }
  const bool representable = !wide && static_cast<double>(static_cast<float>(e.real)) == e.real;
  const bool exact = size == 0 || (representable && size > FLT_MIN);
  if (units <= 1 && e.error == 0 && exact) return e;
  // inexact operands in f64: the walk's own result is rounded elsewhere than the subject's
  if (wide && e.error > 0 && units < 2) units = 2;
  e.error += units * size * (wide ? 0x1p-53 : 0x1p-24) + (wide ? DBL_MIN : FLT_MIN);
  return e;
}

inline element converted(element e, dtype from, dtype to) {
  element y;
  if (!e.known()) {
    y.error = unknown;
    return y;
  }
  if (floating(from) && floating(to)) {
    y = e;
    if (to == dtype::f64) return y;
    if (to == dtype::f32) {
      if (from != dtype::f64) return y;
      return with_rounding(y, to, 1);
    }
    if (std::isnan(e.real) || std::isinf(e.real)) return y;
    const double most = to == dtype::f16 ? 65504.0 : 3.3e38;
    if (std::fabs(e.real) + e.error > most) {
      y.error = unknown;
      return y;
    }
    const auto round = to == dtype::f16 ? rounded_to_float16 : rounded_to_bfloat16;
    y.real = round(e.real);
    y.signless = !e.has_sign();
    y.error = std::max(std::fabs(round(e.real + e.error) - y.real),
                       std::fabs(round(e.real - e.error) - y.real));
    return y;
  }
  if (floating(to)) {
    y.real = static_cast<double>(e.integer);
    if (static_cast<long double>(y.real) != static_cast<long double>(e.integer)) {
      y.error = std::fabs(y.real) * 0x1p-53;
    }
    y = with_rounding(y, to, 1);
    return to == dtype::bf16 || to == dtype::f16 ? converted(y, dtype::f32, to) : y;
  }
  if (!floating(from)) {
    y.integer = narrowed(e.integer, to);
    return y;
  }
  if (to == dtype::boolean) {
    y.integer = e.real != 0 ? 1 : 0;
    if (e.error > 0 && !(std::fabs(e.real) > e.error)) y.error = unknown;
    return y;
  }
  const double low = to == dtype::u8 ? 0 : to == dtype::i32 ? -0x1p31 : -0x1p62;
  const double high = to == dtype::u8 ? 255 : to == dtype::i32 ? 0x1p31 - 1 : 0x1p62;
  const double least = std::trunc(e.real - e.error);
  if (!(least >= low && std::trunc(e.real + e.error) <= high) ||
      least != std::trunc(e.real + e.error)) {
    y.error = unknown;
    return y;
  }
  y.integer = static_cast<std::int64_t>(least);
  return y;
}

/// Philox4x32 with ten rounds, written from the paper's description.
inline void philox_block(std::uint64_t key, std::uint64_t low, std::uint64_t high,
                         std::uint32_t* out) {
  std::uint32_t counter[4] = {
      static_cast<std::uint32_t>(low), static_cast<std::uint32_t>(low >> 32),
      static_cast<std::uint32_t>(high), static_cast<std::uint32_t>(high >> 32)};
  std::uint32_t keys[2] = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t left = static_cast<std::uint64_t>(counter[0]) * 0xD2511F53u;
    const std::uint64_t right = static_cast<std::uint64_t>(counter[2]) * 0xCD9E8D57u;
    const std::uint32_t next[4] = {static_cast<std::uint32_t>(right >> 32) ^ counter[1] ^ keys[0],
                                   static_cast<std::uint32_t>(right),
                                   static_cast<std::uint32_t>(left >> 32) ^ counter[3] ^ keys[1],
                                   static_cast<std::uint32_t>(left)};
    for (int i = 0; i < 4; ++i) counter[i] = next[i];
    keys[0] += 0x9E3779B9u;
    keys[1] += 0xBB67AE85u;
  }
  for (int i = 0; i < 4; ++i) out[i] = counter[i];
}

/// Whether a zero that an op gives may be of either sign, as its operands' signs are unknown.
inline bool loses_sign(op code, const element& a, const element& b) {
  const bool both = a.has_sign() && b.has_sign();
  switch (code) {
    case op::add:
    case op::sub: {
      // of two zeros; +0 and any zero make +0
      const bool minus = code == op::sub;
      const bool positive = (a.has_sign() && !std::signbit(a.real)) ||
                            (b.has_sign() && std::signbit(b.real) == minus);
      return a.real == 0 && b.real == 0 && !both && !positive;
    }
    case op::mul:
    case op::div:
      return !both;
    case op::maximum:
      return a.real > b.real ? a.signless : b.signless;
    case op::minimum:
      return a.real < b.real ? a.signless : b.signless;
    case op::abs:
    case op::square:
    case op::sign:
      return false;
    default:
      return !a.has_sign();
  }
}

/// Whether an op that is otherwise inexact gives this zero, sign included, of exact operands.
inline bool exact_zero(op code, const element& a, const element& y) {
  return y.real == 0 && y.error == 0 && (code == op::div || (a.real == 0 && code != op::pow));
}

/// The value of an element-wise op on reals, with the error that its operands' errors cause.
inline element real_op(op code, const element& a, const element& b) {
  element y;
  const double x = a.real;
  const double e = a.error;
  const double z = b.real;
  const double f = b.error;
  // by the values at the ends of x ± e, for functions monotone there
  const auto ends = [&](auto function) {
    y.real = function(x);
    if (e == 0) return;
    const double above = std::fabs(function(x + e) - y.real);
    const double below = std::fabs(function(x - e) - y.real);
    y.error = std::isnan(above) || std::isnan(below) ? unknown : std::max(above, below);
  };
  const auto lipschitz = [&](double value, double slope) {
    y.real = value;
    y.error = slope == unknown ? unknown : slope * e;
  };
  switch (code) {
    case op::neg:
      lipschitz(-x, 1);
      break;
    case op::exp:
      ends([](double v) { return std::exp(v); });
      break;
    case op::log:
      ends([](double v) { return std::log(v); });
      break;
    case op::log1p:
      ends([](double v) { return std::log1p(v); });
      break;
    case op::expm1:
      ends([](double v) { return std::expm1(v); });
      break;
    case op::tanh:
      lipschitz(std::tanh(x), 1);
      break;
    case op::sqrt:
      ends([](double v) { return std::sqrt(v); });
      break;
    case op::rsqrt:
      ends([](double v) { return 1 / std::sqrt(v); });
      if (x == 0 && a.signless) y.error = unknown;
      break;
    case op::abs:
      lipschitz(std::fabs(x), 1);
      break;
    case op::square:
      lipschitz(x * x, 2 * std::fabs(x) + e);
      break;
    case op::erf:
      lipschitz(std::erf(x), 1.13);
      break;
    case op::sigmoid:
      lipschitz(1 / (1 + std::exp(-x)), 0.25);
      break;
    case op::sin:
      lipschitz(std::sin(x), std::fabs(x) < most_angle ? 1 : unknown);
      break;
    case op::cos:
      lipschitz(std::cos(x), std::fabs(x) < most_angle ? 1 : unknown);
      break;
    case op::floor:
      y.real = std::floor(x);
      if (e > 0 && std::floor(x - e) != std::floor(x + e)) y.error = unknown;
      break;
    case op::sign:
      y.real = std::isnan(x) ? x : static_cast<double>((x > 0) - (x < 0));
      if (e > 0 && !(std::fabs(x) > e)) y.error = unknown;
      break;
    case op::detach:
      lipschitz(x, 1);
      break;
    case op::add:
      y.real = x + z;
      y.error = e + f;
      break;
    case op::sub:
      y.real = x - z;
      y.error = e + f;
      break;
    case op::mul:
      y.real = x * z;
      y.error = e == 0 && f == 0 ? 0 : std::fabs(x) * f + std::fabs(z) * e + e * f;
      break;
    case op::div:
      y.real = x / z;
      if (std::isinf(y.real) && z == 0 && b.signless) y.error = unknown;
      if (e == 0 && f == 0) break;
      y.error = std::fabs(z) > f ? (e + std::fabs(y.real) * f) / (std::fabs(z) - f) : unknown;
      break;
    case op::pow: {
      y.real = std::pow(x, z);
      if (x == 0 && a.signless) y.error = unknown;
      if (e == 0 && f == 0) break;
      if (!(x - e > 0)) {
        y.error = unknown;
        break;
      }
      for (const double p : {x - e, x + e}) {
        for (const double q : {z - f, z + f}) {
          y.error = std::max(y.error, std::fabs(std::pow(p, q) - y.real));
        }
      }
      break;
    }
    case op::maximum:
    case op::minimum:
      y.real = std::isnan(x) || std::isnan(z)          ? x + z
               : (code == op::maximum ? x > z : x < z) ? x
                                                       : z;
      y.error = std::max(e, f);
      break;
    default:
      y.error = unknown;
  }
  y.signless = y.real == 0 && loses_sign(code, a, b);
  return y;
}

/// How many half units in the last place an op may err, twice over (the walk errs in double too).
inline double rounding_units(op code) {
  switch (code) {
    case op::neg:
    case op::abs:
    case op::floor:
    case op::sign:
    case op::detach:
    case op::maximum:
    case op::minimum:
      return 0;
    case op::add:
    case op::sub:
    case op::mul:
    case op::square:
      return 1;
    case op::div:
    case op::sqrt:
      return 2;
    case op::pow:
      return 16;
    default:
      return 8;
  }
}

inline std::int64_t integer_op(op code, std::int64_t a, std::int64_t b) {
  const auto x = static_cast<std::uint64_t>(a);
  const auto z = static_cast<std::uint64_t>(b);
  switch (code) {
    case op::neg:
      return static_cast<std::int64_t>(0 - x);
    case op::add:
      return static_cast<std::int64_t>(x + z);
    case op::sub:
      return static_cast<std::int64_t>(x - z);
    case op::mul:
      return static_cast<std::int64_t>(x * z);
    case op::square:
      return static_cast<std::int64_t>(x * x);
    case op::abs:
      return a < 0 ? static_cast<std::int64_t>(0 - x) : a;
    case op::sign:
      return (a > 0) - (a < 0);
    case op::maximum:
      return a > b ? a : b;
    case op::minimum:
      return a < b ? a : b;
    case op::logical_not:
      return a == 0 ? 1 : 0;
    case op::logical_and:
      return a != 0 && b != 0 ? 1 : 0;
    case op::logical_or:
      return a != 0 || b != 0 ? 1 : 0;
    case op::logical_xor:
      return (a != 0) != (b != 0) ? 1 : 0;
    default:
      return a;  // floor, detach
  }
}

template <class T>
bool compared(op code, T a, T b) {
  switch (code) {
    case op::equal:
      return a == b;
    case op::not_equal:
      return a != b;
    case op::less:
      return a < b;
    case op::less_equal:
      return a <= b;
    case op::greater:
      return a > b;
    default:
      return a >= b;
  }
}

inline bool is_comparison(op code) { return code >= op::equal && code <= op::greater_equal; }

}  // namespace support
