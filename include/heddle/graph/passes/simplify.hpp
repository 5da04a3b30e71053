// SPDX-License-Identifier: BSD-3-Clause
// The simplification rules, applied by the builder to each node before it is made.
//
// What they keep: every value, bit for bit, the sign of zero and infinities included, and NaN
// where there was one (of whatever sign and payload). One rule may round differently: a sum along
// axes on which its operand is constant becomes a product. So a rule on floating values holds for
// all of them: x + 0 stays, being +0 where x is -0, and -(a - b) is not b - a, which is +0 where a
// equals b. Integers wrap, so that more rules hold for them.
//
// They rest on how values are computed: to nearest even; 16-bit ones in f32, rounded at casts and
// stores; sums from +0 on, so that no sum is -0, but a sum over no axes is its operand.
//
// Where the builder reassociates (derivatives), a few rules move common factors and divisors out of
// sums and cancel them. They hold but for rounding, for the sign of zeros, and for factors that are
// 0 or infinite.
#pragma once

#include <heddle/graph/builder.hpp>

namespace heddle::inline v0::graph {

namespace detail {

/// Whether a node is this constant; of a floating dtype also in the sign of zero. -0.0 names the 0
/// that x + 0 = x holds for: the negative one, or the integers' only one.
constexpr bool is_constant(const builder& b, std::uint16_t id, double value) {
  const node& n = b[id];
  if (n.code != op::constant) return false;
  return is_floating(n.type) ? n.extra == std::bit_cast<std::uint64_t>(value)
                             : constant_value(n) == value;
}

constexpr bool commutes(op code, dtype type) {
  switch (code) {
    case op::add:
    case op::mul:
    case op::equal:
    case op::not_equal:
    case op::logical_and:
    case op::logical_or:
    case op::logical_xor:
      return true;
    case op::maximum:
    case op::minimum:
      return !is_floating(type);  // of +0 and -0 they give the second
    default:
      return false;
  }
}

inline constexpr double not_finite = __builtin_huge_val();

/// A double as the type that values of `type` are computed in holds it; not_finite if it has no
/// finite value there.
constexpr double in_compute_type(dtype type, double x) {
  // f32's limit lies halfway between its largest value and 2^128: from there on it is infinity
  const double limit = type == dtype::f64 ? not_finite : 0x1.ffffffp127;
  if (!(x < limit && -x < limit)) return not_finite;
  return type == dtype::f64 ? x : static_cast<double>(static_cast<float>(x));
}

/// Arithmetic on floating constants, as it would be done at run time; what is not finite is left
/// for then. In double and rounded once, f32 arithmetic is exact: 53 bits are over 2 · 24.
constexpr std::uint16_t fold_constants(builder& b, const node& n) {
  const bool unary = n.code == op::neg || n.code == op::cast;
  if (!unary && (n.b == no_node || n.c != no_node || b[n.b].code != op::constant)) return no_node;
  const dtype type = b[n.a].type;
  if (!is_floating(type)) return no_node;
  const double x = in_compute_type(type, constant_value(b[n.a]));
  const double y = unary ? 1 : in_compute_type(type, constant_value(b[n.b]));
  if (x == not_finite || y == not_finite) return no_node;
  // out of reach of f64's overflow, which a constant expression must not meet
  const auto moderate = [](double v) { return v < 0x1p500 && -v < 0x1p500; };
  double result = not_finite;
  switch (n.code) {
    case op::neg:
      result = -x;
      break;
    case op::cast:
      // a cast to 16 bits rounds, unless it widens
      if (promote(n.type, type) == n.type && n.type != type) result = x;
      break;
    case op::add:
      if (moderate(x) && moderate(y)) result = x + y;
      break;
    case op::sub:
      if (moderate(x) && moderate(y)) result = x - y;
      break;
    case op::mul:
      if (moderate(x) && moderate(y)) result = x * y;
      break;
    case op::div:
      if (moderate(x) && (y > 0x1p-500 || -y > 0x1p-500)) result = x / y;
      break;
    default:
      break;
  }
  result = in_compute_type(n.type, result);
  return result == not_finite ? no_node : b.constant(n.type, result);
}

/// A sum over `times` elements: without any it is 0, whatever they would have been multiplied by.
constexpr std::uint16_t unless_empty(builder& b, dtype type, std::uint16_t times,
                                     std::uint16_t sum) {
  return b.emit({.code = op::where,
                 .type = type,
                 .a = b.cast(dtype::boolean, times),
                 .b = sum,
                 .c = b.constant(type, 0)});
}

/// x added up once for each of the elements along `axes`, on which it is constant. The scheduler
/// knows no such reduction.
constexpr std::uint16_t repeated(builder& b, dtype type, std::uint16_t x, axis_mask axes) {
  const std::uint16_t times = b.emit({.code = op::count, .type = type, .extra = axes});
  const std::uint16_t product = b.binary(op::mul, type, x, times);
  if (!is_floating(type)) return product;
  // From +0 on: -0 adds up to +0, and an infinity or NaN that is not there at all to +0 as well.
  return unless_empty(b, type, times, b.binary(op::add, type, product, b.constant(type, 0)));
}

/// Common divisors out of a sum or difference.
constexpr std::uint16_t divide_together(builder& b, const node& n) {
  const node x = b[n.a];
  const node y = b[n.b];
  if (x.code != op::div || y.code != op::div || x.b != y.b || x.type != y.type) return no_node;
  return b.binary(op::div, n.type, b.binary(n.code, n.type, x.a, y.a), x.b);
}
/// (x / s) · (y · s) = x · y, and a divisor that varies along fewer axes out of a product, towards
/// the sum that it can leave.
constexpr std::uint16_t cancel_divisor(builder& b, const node& n) {
  for (int order = 0; order < 2; ++order) {
    const node x = b[order == 0 ? n.a : n.b];
    const node y = b[order == 0 ? n.b : n.a];
    if (x.code != op::div || y.code != op::mul || x.type != y.type) continue;
    if (y.a == x.b) return b.binary(op::mul, n.type, x.a, y.b);
    if (y.b == x.b) return b.binary(op::mul, n.type, x.a, y.a);
  }
  for (int order = 0; order < 2; ++order) {
    const node x = b[order == 0 ? n.a : n.b];
    const std::uint16_t y = order == 0 ? n.b : n.a;
    if (x.code != op::div || x.type != n.type) continue;
    if ((b[y].varies & ~b[x.b].varies) == 0 || (x.varies & ~b[x.b].varies) == 0) continue;
    return b.binary(op::div, n.type, b.binary(op::mul, n.type, x.a, y), x.b);
  }
  return no_node;
}
/// Whether a value depends on how many elements there are along the axes: without any, it may be
/// infinite.
constexpr bool depends_on_count(const builder& b, std::uint16_t id, std::uint64_t axes) {
  list<bool> needed(std::size_t{id} + 1, false);
  needed[id] = true;
  for (std::size_t i = std::size_t{id} + 1; i-- > 0;) {
    if (!needed[i]) continue;
    const node& n = b[static_cast<std::uint16_t>(i)];
    if (n.code == op::count && (n.extra & axes) != 0) return true;
    for (int k = 0; k < operands_of(n); ++k) needed[operand(n, k)] = true;
  }
  return false;
}

/// Factors and a divisor that are constant along the axes out of a sum; out of both terms of one,
/// too: a factor that comes from another sum would put this one a pass later.
constexpr std::uint16_t take_out_of_sum(builder& b, const node& n) {
  const node x = b[n.a];
  const auto constant = [&](std::uint16_t id) { return (b[id].varies & n.extra) == 0; };
  const auto sum_of = [&](std::uint16_t id) { return b.unary(op::sum, n.type, id, n.extra); };
  const auto has_factor = [&](std::uint16_t id) {
    const node& y = b[id];
    if (y.type != n.type || y.varies != x.varies) return false;
    if (y.code == op::div) return constant(y.b);
    return y.code == op::mul && (constant(y.a) || constant(y.b));
  };
  if (x.type != n.type) return no_node;
  if ((x.code == op::add || x.code == op::sub) && has_factor(x.a) && has_factor(x.b)) {
    return b.binary(x.code, n.type, sum_of(x.a), sum_of(x.b));
  }
  if (!has_factor(n.a)) return no_node;
  const bool second = constant(x.b);
  const std::uint16_t factor = second ? x.b : x.a;
  const std::uint16_t sum = sum_of(second ? x.a : x.b);
  const std::uint16_t product =
      second ? b.binary(x.code, n.type, sum, factor) : b.binary(op::mul, n.type, factor, sum);
  if (!depends_on_count(b, factor, n.extra)) return product;
  const std::uint16_t times = b.emit({.code = op::count, .type = n.type, .extra = n.extra});
  return unless_empty(b, n.type, times, product);
}

constexpr std::uint16_t simplify_sum(builder& b, const node& n) {
  const node x = b[n.a];
  if (n.extra == 0) return n.a;
  const auto mask = static_cast<axis_mask>(n.extra);
  const auto constant_along = static_cast<axis_mask>(mask & ~x.varies);
  if (constant_along != 0) {
    const std::uint16_t rest = b.unary(op::sum, n.type, n.a, mask & x.varies);
    return repeated(b, n.type, rest, constant_along);
  }
  const auto sum_of = [&](std::uint16_t id) { return b.unary(op::sum, n.type, id, mask); };
  // not -(sum): where the sum is +0, so is this one
  if (x.code == op::neg) return b.binary(op::sub, n.type, b.constant(n.type, 0), sum_of(x.a));
  if (is_floating(n.type) && b.reassociates) return take_out_of_sum(b, n);
  if (is_floating(n.type) || x.code != op::mul) return no_node;
  if (b[x.b].code == op::constant) return b.binary(op::mul, n.type, sum_of(x.a), x.b);
  if (b[x.a].code == op::constant) return b.binary(op::mul, n.type, sum_of(x.b), x.a);
  return no_node;
}

}  // namespace detail

constexpr std::uint16_t simplify(builder& b, node& n) {
  const bool integral = !is_floating(n.type);
  const bool reassociates = b.reassociates && !integral;
  if (detail::commutes(n.code, n.type) && n.a > n.b) {
    const std::uint16_t swapped = n.a;
    n.a = n.b;
    n.b = swapped;
  }
  if ((is_elementwise(n.code) || n.code == op::cast) && b[n.a].code == op::constant && !integral) {
    if (const std::uint16_t folded = detail::fold_constants(b, n); folded != no_node) return folded;
  }
  switch (n.code) {
    case op::cast:
      // a 16-bit value is not rounded until a cast says so, be it to its own dtype
      return b[n.a].type == n.type && compute_dtype(n.type) == n.type ? n.a : no_node;
    case op::neg:
      if (b[n.a].code == op::neg) return b[n.a].a;
      if (b[n.a].code == op::sub && integral) return b.binary(op::sub, n.type, b[n.a].b, b[n.a].a);
      return no_node;
    case op::add:
      if (detail::is_constant(b, n.a, -0.0)) return n.b;
      if (detail::is_constant(b, n.b, -0.0)) return n.a;
      if (b[n.b].code == op::neg) return b.binary(op::sub, n.type, n.a, b[n.b].a);
      if (b[n.a].code == op::neg) return b.binary(op::sub, n.type, n.b, b[n.a].a);
      return reassociates ? detail::divide_together(b, n) : no_node;
    case op::sub:
      if (detail::is_constant(b, n.b, 0)) return n.a;
      if (detail::is_constant(b, n.a, -0.0)) return b.unary(op::neg, n.type, n.b);
      if (b[n.b].code == op::neg) return b.binary(op::add, n.type, n.a, b[n.b].a);
      if (!reassociates) return no_node;
      if (detail::is_constant(b, n.a, 0)) return b.unary(op::neg, n.type, n.b);
      return detail::divide_together(b, n);
    case op::mul:
      if (detail::is_constant(b, n.a, 1)) return n.b;
      if (detail::is_constant(b, n.b, 1)) return n.a;
      if (detail::is_constant(b, n.a, -1)) return b.unary(op::neg, n.type, n.b);
      if (detail::is_constant(b, n.b, -1)) return b.unary(op::neg, n.type, n.a);
      if (b[n.a].code == op::neg && b[n.b].code == op::neg) {
        return b.binary(op::mul, n.type, b[n.a].a, b[n.b].a);
      }
      if (b[n.a].code == op::neg) {
        return b.unary(op::neg, n.type, b.binary(op::mul, n.type, b[n.a].a, n.b));
      }
      if (b[n.b].code == op::neg) {
        return b.unary(op::neg, n.type, b.binary(op::mul, n.type, n.a, b[n.b].a));
      }
      return reassociates ? detail::cancel_divisor(b, n) : no_node;
    case op::div:
      if (detail::is_constant(b, n.b, 1)) return n.a;
      if (b[n.a].code == op::neg) {
        return b.unary(op::neg, n.type, b.binary(op::div, n.type, b[n.a].a, n.b));
      }
      return no_node;
    case op::where:
      // An extremum takes in nothing where an axis on which its operand varies is empty: whatever
      // is left must vary along what the condition does.
      return n.b == n.c && (b[n.a].varies & ~b[n.b].varies) == 0 ? n.b : no_node;
    case op::logical_not:
      // of a bool: any other operand is not what its negations give
      return b[n.a].code == op::logical_not && b[b[n.a].a].type == dtype::boolean ? b[n.a].a
                                                                                  : no_node;
    case op::sum:
      return detail::simplify_sum(b, n);
    case op::amax:
    case op::amin:
      n.extra &= b[n.a].varies;
      return n.extra == 0 ? n.a : no_node;
    default:
      return no_node;
  }
}

}  // namespace heddle::inline v0::graph
