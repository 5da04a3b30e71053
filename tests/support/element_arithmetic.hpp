// SPDX-License-Identifier: BSD-3-Clause
// What an op, a reduction or a draw gives for elements of known dtypes: shared by the walk over
// graphs and by the arrays that expressions are compared with.
#pragma once

#include <cmath>

#include "element.hpp"

namespace support {

inline element number(double x, dtype type) {
  element e;
  e.real = x;
  return floating(type) ? with_rounding(e, type, 1) : converted(e, dtype::f64, type);
}
inline element number(std::int64_t x, dtype type) {
  element e;
  e.integer = x;
  const bool narrow = type == dtype::bf16 || type == dtype::f16;
  return converted(e, dtype::i64, narrow ? dtype::f32 : type);
}

/// An element-wise op of one or two operands of one dtype.
inline element elementwise(op code, dtype operands, dtype result, const element& a,
                           const element& b) {
  if (!a.known() || !b.known()) return {0, unknown, 0};
  element y;
  if (is_comparison(code)) {
    if (!floating(operands)) {
      y.integer = compared(code, a.integer, b.integer);
      return y;
    }
    y.integer = compared(code, a.real, b.real);
    const double error = a.error + b.error;
    if (error > 0 && std::fabs(a.real - b.real) <= error) y.error = unknown;
    return y;
  }
  if (!floating(result)) {
    y.integer = narrowed(integer_op(code, a.integer, b.integer), result);
    return y;
  }
  y = real_op(code, a, b);
  const double units = rounding_units(code);
  return units == 0 || exact_zero(code, a, y) ? y : with_rounding(y, result, units);
}

/// One of two elements.
inline element selected(const element& condition, const element& x, const element& z) {
  if (condition.known()) return condition.integer != 0 ? x : z;
  const bool alike = x.real == z.real && x.integer == z.integer;
  if (!alike || !x.known() || !z.known()) return {0, unknown, 0};
  element y = x.error > z.error ? x : z;
  y.signless = x.signless || z.signless || std::signbit(x.real) != std::signbit(z.real);
  return y;
}

/// A formula in double of three operands, with the error that theirs cause.
inline element formula_value(double (*formula)(const double*), dtype type, const element& a,
                             const element& b, const element& c) {
  if (!a.known() || !b.known() || !c.known()) return {0, unknown, 0};
  const double x[3] = {a.real, b.real, c.real};
  element y;
  y.real = formula(x);
  for (int corner = 0; corner < 8; ++corner) {
    const double near[3] = {x[0] + ((corner & 1) != 0 ? a.error : -a.error),
                            x[1] + ((corner & 2) != 0 ? b.error : -b.error),
                            x[2] + ((corner & 4) != 0 ? c.error : -c.error)};
    const double error = std::fabs(formula(near) - y.real);
    if (!(error <= y.error)) y.error = error;
  }
  y.error *= 2;
  return with_rounding(y, type, 8);
}

/// The random number of a sample and a position.
inline element random_value(op code, dtype type, std::int64_t seed, std::int64_t sample,
                            std::int64_t position) {
  std::uint32_t w[4];
  philox_block(static_cast<std::uint64_t>(seed), static_cast<std::uint64_t>(position),
               static_cast<std::uint64_t>(sample), w);
  const bool wide = type == dtype::f64;
  const auto two_words = [](std::uint32_t high, std::uint32_t low) {
    return std::ldexp(static_cast<double>((static_cast<std::uint64_t>(high) << 21) | low >> 11),
                      -53);
  };
  element y;
  y.real = wide ? two_words(w[0], w[1]) : std::ldexp(w[0] >> 8, -24);
  if (code == op::random_uniform) return y;
  const double v = wide ? two_words(w[2], w[3]) : std::ldexp(w[1] >> 8, -24);
  const double radius = std::sqrt(-2 * std::log(1 - y.real));
  y.real = radius * std::cos(2 * 3.14159265358979323846 * v);
  y.signless = true;
  y.error = radius * (wide ? 1e-14 : 3e-6);
  return y;
}

/// A reduction of elements of one dtype, in whatever order they come.
class reduction {
 public:
  reduction(op code, dtype type) : code_(code), type_(type) {
    if (code == op::sum) return;
    const bool largest = code == op::amax;
    total_.real = largest ? -unknown : unknown;
    total_.integer = type == dtype::i64   ? (largest ? INT64_MIN : INT64_MAX)
                     : type == dtype::i32 ? (largest ? INT32_MIN : INT32_MAX)
                     : type == dtype::u8  ? (largest ? 0 : 255)
                                          : (largest ? 0 : 1);
  }

  void add(const element& x) {
    if (!x.known()) total_.error = unknown;
    if (!total_.known()) return;
    const op pairwise = code_ == op::sum ? op::add : code_ == op::amax ? op::maximum : op::minimum;
    if (!floating(type_)) {
      total_.integer = narrowed(integer_op(pairwise, total_.integer, x.integer), type_);
    } else if (code_ == op::sum) {
      total_.real += x.real;
      total_.error += x.error;
      sizes_ += std::fabs(x.real);
      terms_ += 1;
    } else {
      // of zeros of both signs, the first or last, in whatever order they come
      const bool mixed = total_.real == 0 && x.real == 0 &&
                         (total_.signless || std::signbit(total_.real) != std::signbit(x.real));
      total_ = real_op(pairwise, total_, x);
      total_.signless = total_.signless || mixed;
    }
  }

  element result() const {
    element y = total_;
    if (!floating(type_) || code_ != op::sum || !y.known()) return y;
    const bool wide = type_ == dtype::f64;
    if (sizes_ > (wide ? DBL_MAX : FLT_MAX) / 2) y.error = std::isnan(y.real) ? 0 : unknown;
    // sums of a few sixteenths are exact
    const bool exact =
        y.error == 0 && sizes_ < 0x1p20 && std::nearbyint(sizes_ * 16) == sizes_ * 16;
    if (!exact && std::isfinite(y.real)) y.error += terms_ * sizes_ * (wide ? 0x1p-52 : 0x1p-24);
    if (std::isinf(y.real) && y.error > 0) y.error = unknown;
    return with_rounding(y, type_, 1);
  }

 private:
  op code_;
  dtype type_;
  element total_;
  double sizes_ = 0;
  double terms_ = 0;
};

}  // namespace support
