// SPDX-License-Identifier: BSD-3-Clause
// The simplification rules, applied by the builder to each node before it is made.
// Rules keep results equal up to rounding; none drops a NaN or an infinity.
#pragma once

#include <heddle/graph/builder.hpp>

namespace heddle::inline v0::graph {

namespace detail {

constexpr bool is_constant(const builder& b, std::uint16_t id, double value) {
  return b[id].code == op::constant && constant_value(b[id]) == value;
}

constexpr bool commutes(op code) {
  switch (code) {
    case op::add:
    case op::mul:
    case op::maximum:
    case op::minimum:
    case op::equal:
    case op::not_equal:
    case op::logical_and:
    case op::logical_or:
    case op::logical_xor:
      return true;
    default:
      return false;
  }
}

/// Arithmetic on two floating constants, in double; integral ones fold only where exact.
constexpr std::uint16_t fold_constants(builder& b, const node& n) {
  const double x = constant_value(b[n.a]);
  if (n.code == op::neg) return b.constant(n.type, -x);
  // not between bf16 and f16: neither holds the other, so the cast rounds
  if (n.code == op::cast && is_floating(n.type) && is_floating(b[n.a].type) &&
      promote(n.type, b[n.a].type) == n.type) {
    return b.constant(n.type, x);
  }
  if (n.b == no_node || b[n.b].code != op::constant || n.c != no_node) return no_node;
  const double y = constant_value(b[n.b]);
  switch (n.code) {
    case op::add:
      return b.constant(n.type, x + y);
    case op::sub:
      return b.constant(n.type, x - y);
    case op::mul:
      return b.constant(n.type, x * y);
    case op::div:
      return y != 0 ? b.constant(n.type, x / y) : no_node;
    default:
      return no_node;
  }
}

/// A constant that is neither 0 nor infinite nor NaN.
constexpr bool is_finite_factor(const builder& b, std::uint16_t id) {
  if (b[id].code != op::constant) return false;
  const double value = constant_value(b[id]);
  return value != 0 && value - value == 0;
}

/// sum over axes: constant factors leave the loop.
constexpr std::uint16_t simplify_sum(builder& b, node& n) {
  const node x = b[n.a];
  const auto mask = static_cast<axis_mask>(n.extra);
  const auto constant_along = static_cast<axis_mask>(mask & ~x.varies);
  if (constant_along != 0) {
    const std::uint16_t rest = (mask & x.varies) != 0
                                   ? b.unary(op::sum, n.type, n.a, mask & x.varies)
                                   : b.cast(n.type, n.a);
    const std::uint16_t extent =
        b.emit({.code = op::count, .type = n.type, .extra = constant_along});
    return b.binary(op::mul, n.type, rest, extent);
  }
  if (x.type != n.type) return no_node;
  if (x.code == op::neg) return b.unary(op::neg, n.type, b.unary(op::sum, n.type, x.a, mask));
  // Only constants: 0 * inf and 0 / 0 make a NaN of one element that the sum's factor would not.
  if (x.code == op::mul) {
    if (is_finite_factor(b, x.b)) {
      return b.binary(op::mul, n.type, b.unary(op::sum, n.type, x.a, mask), x.b);
    }
    if (is_finite_factor(b, x.a)) {
      return b.binary(op::mul, n.type, b.unary(op::sum, n.type, x.b, mask), x.a);
    }
  }
  if (x.code == op::div && is_finite_factor(b, x.b)) {
    return b.binary(op::div, n.type, b.unary(op::sum, n.type, x.a, mask), x.b);
  }
  return no_node;
}

}  // namespace detail

constexpr std::uint16_t simplify(builder& b, node& n) {
  const bool integral = !is_floating(n.type);
  if (detail::commutes(n.code) && n.a > n.b) {
    const std::uint16_t swapped = n.a;
    n.a = n.b;
    n.b = swapped;
  }
  if ((is_elementwise(n.code) || n.code == op::cast) && n.a != no_node &&
      b[n.a].code == op::constant && !integral) {
    if (const std::uint16_t folded = detail::fold_constants(b, n); folded != no_node) return folded;
  }
  switch (n.code) {
    case op::cast:
      if (b[n.a].type == n.type) return n.a;
      return no_node;
    case op::neg:
      if (b[n.a].code == op::neg) return b[n.a].a;
      if (b[n.a].code == op::sub && !integral) return b.binary(op::sub, n.type, b[n.a].b, b[n.a].a);
      return no_node;
    case op::add:
      if (detail::is_constant(b, n.a, 0)) return n.b;
      if (detail::is_constant(b, n.b, 0)) return n.a;
      if (b[n.b].code == op::neg) return b.binary(op::sub, n.type, n.a, b[n.b].a);
      if (b[n.a].code == op::neg) return b.binary(op::sub, n.type, n.b, b[n.a].a);
      return no_node;
    case op::sub:
      if (detail::is_constant(b, n.b, 0)) return n.a;
      if (detail::is_constant(b, n.a, 0)) return b.unary(op::neg, n.type, n.b);
      if (b[n.b].code == op::neg) return b.binary(op::add, n.type, n.a, b[n.b].a);
      return no_node;
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
      return no_node;
    case op::div:
      if (detail::is_constant(b, n.b, 1)) return n.a;
      if (b[n.a].code == op::neg) {
        return b.unary(op::neg, n.type, b.binary(op::div, n.type, b[n.a].a, n.b));
      }
      return no_node;
    case op::where:
      return n.b == n.c ? n.b : no_node;
    case op::logical_not:
      return b[n.a].code == op::logical_not ? b[n.a].a : no_node;
    case op::sum:
      return n.extra == 0 ? b.cast(n.type, n.a) : detail::simplify_sum(b, n);
    case op::amax:
    case op::amin:
      n.extra &= b[n.a].varies;
      return n.extra == 0 ? n.a : no_node;
    default:
      return no_node;
  }
}

}  // namespace heddle::inline v0::graph
