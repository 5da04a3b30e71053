// SPDX-License-Identifier: BSD-3-Clause
// The names of the ops: what a node of a graph can compute. Their values and derivatives stand in
// op_table.hpp; leaves, reductions and stores are known to the passes themselves.
#pragma once

#include <cstdint>

#include <heddle/core/config.hpp>

namespace heddle::inline v0 {

/// The code of a node. Codes from `op::user` on belong to users: write
/// `constexpr auto cube = static_cast<heddle::op>(1024);` and specialise `op_traits<cube>`.
enum class op : std::uint16_t {
  // leaves
  input,           ///< an element of an operand: a = operand slot, extra = axis map
  argument,        ///< a run-time scalar: a = scalar slot, extra = 1 if its bits are an int64
  constant,        ///< extra = bits of a double, or of an int64 if the dtype is integral
  count,           ///< product of the extents of the axes in mask extra, i64
  iota,            ///< the coordinate along axis extra, i64
  random_uniform,  ///< Philox, [0, 1): a = seed, b = offset (i64 nodes), extra = axis map
  random_normal,   ///< Philox with Box–Muller: same operands
  gather,          ///< operand b at index a along its indexed axis, extra = axis map
  cast,            ///< a converted to the node's dtype
  // reductions: a = operand, extra = mask of the axes removed
  sum,
  amax,
  amin,
  // roots
  store,        ///< a = value, b = output slot, extra = axis map of the output
  scatter_add,  ///< a = value, b = index, c = output slot, extra = axis map: gather transposed
  // element-wise, one operand
  neg,
  exp,
  log,
  log1p,
  expm1,
  tanh,
  sqrt,
  rsqrt,
  abs,
  square,
  erf,
  sigmoid,
  sin,
  cos,
  floor,
  sign,
  detach,  ///< the operand; its derivative is taken as 0
  logical_not,
  // element-wise, two operands
  add,
  sub,
  mul,
  div,
  pow,
  maximum,
  minimum,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  logical_and,
  logical_or,
  logical_xor,
  // element-wise, three operands
  where,
  builtin_count,
  user = 1024
};

/// Whether its value is one for many elements of its operand.
HEDDLE_HD constexpr bool is_reduction(op code) {
  return code == op::sum || code == op::amax || code == op::amin;
}
/// Whether it writes: dead code is what no root needs.
HEDDLE_HD constexpr bool is_root(op code) { return code == op::store || code == op::scatter_add; }
/// Whether it draws from Philox.
HEDDLE_HD constexpr bool is_random(op code) {
  return code == op::random_uniform || code == op::random_normal;
}
/// Whether the op table describes it, users' ops included.
HEDDLE_HD constexpr bool is_elementwise(op code) { return code >= op::neg; }

namespace graph {

/// Whether its value takes many steps, each waiting for the one before: a polynomial's.
HEDDLE_HD constexpr bool is_long_chain(op code) {
  switch (code) {
    case op::exp:
    case op::log:
    case op::log1p:
    case op::expm1:
    case op::tanh:
    case op::erf:
    case op::sigmoid:
    case op::sin:
    case op::cos:
      return true;
    default:
      return false;
  }
}
/// Whether its value takes longer to compute than to write to a cache and to read again.
constexpr bool is_costly(op code) {
  return is_long_chain(code) || is_random(code) || code == op::pow;
}
}  // namespace graph
}  // namespace heddle::inline v0
