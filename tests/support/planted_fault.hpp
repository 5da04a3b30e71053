// SPDX-License-Identifier: BSD-3-Clause
// Faults planted into graphs on purpose: a campaign that misses one does not look.
#pragma once

#include "graph_generator.hpp"
#include "rewritten_graph.hpp"

namespace support {

/// An op of the same operands and dtypes that computes something else; the same op if there is
/// none.
inline op neighbour(op code) {
  switch (code) {
    case op::neg:
    case op::abs:
    case op::floor:
    case op::sign:
    case op::logical_not:
      return op::detach;
    case op::detach:
      return op::neg;
    case op::exp:
      return op::expm1;
    case op::expm1:
      return op::exp;
    case op::log:
      return op::log1p;
    case op::log1p:
      return op::log;
    case op::tanh:
      return op::erf;
    case op::erf:
    case op::sigmoid:
      return op::tanh;
    case op::sqrt:
      return op::rsqrt;
    case op::rsqrt:
      return op::sqrt;
    case op::square:
      return op::abs;
    case op::sin:
      return op::cos;
    case op::cos:
      return op::sin;
    case op::add:
      return op::sub;
    case op::sub:
    case op::mul:
      return op::add;
    case op::div:
      return op::mul;
    case op::pow:
      return op::div;
    case op::maximum:
      return op::minimum;
    case op::minimum:
      return op::maximum;
    case op::equal:
      return op::not_equal;
    case op::not_equal:
      return op::equal;
    case op::less:
      return op::less_equal;
    case op::less_equal:
      return op::less;
    case op::greater:
      return op::greater_equal;
    case op::greater_equal:
      return op::greater;
    case op::logical_and:
    case op::logical_xor:
      return op::logical_or;
    case op::logical_or:
      return op::logical_and;
    case op::sum:
    case op::amin:
      return op::amax;
    case op::amax:
      return op::amin;
    case op::random_uniform:
      return op::random_normal;
    case op::random_normal:
      return op::random_uniform;
    default:
      return code == heddle::cube ? op::neg : code;
  }
}

/// g with every node of `code` computing something else; `changed` says whether there is one.
inline graph::graph with_fault(const graph::graph& g, op code, bool& changed) {
  changed = false;
  return rewritten(g, [&](graph::node& n, const auto& emit, const graph::graph& result) {
    if (n.code != code) return;
    changed = true;
    switch (code) {
      case op::input:
      case op::argument:
        n = {.code = op::constant, .type = n.type};
        n.extra = heddle::is_floating(n.type) ? std::bit_cast<std::uint64_t>(0.75) : 1;
        break;
      case op::constant:
        n.extra = heddle::is_floating(n.type)
                      ? std::bit_cast<std::uint64_t>(std::bit_cast<double>(n.extra) + 0.5)
                      : n.extra ^ 1;
        break;
      case op::count:
      case op::iota:
        n.extra ^= 1;
        break;
      case op::gather:
        n.a = emit({.code = op::constant, .type = dtype::i64, .extra = 0});
        break;
      case op::cast:
      case op::store:
      case op::scatter_add: {
        const bool truth = result[n.a].type == dtype::boolean;
        n.a = emit({.code = truth ? op::logical_not : op::neg, .type = result[n.a].type, .a = n.a});
        break;
      }
      case op::where:
        std::swap(n.b, n.c);
        break;
      default:
        if (code == heddle::multiply_add) {
          std::swap(n.b, n.c);
        } else if (n.type != dtype::boolean || neighbour(code) != op::neg) {
          n.code = neighbour(code);
        }
    }
  });
}

}  // namespace support
