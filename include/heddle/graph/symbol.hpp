// SPDX-License-Identifier: BSD-3-Clause
// symbol: what the lambdas of `let` and `fused`, and the derivatives in the op table, compute with.
// Each operator records one node. Broadcasting, promotion and axis bookkeeping happen here, once.
#pragma once

#include <type_traits>

#include <heddle/graph/builder.hpp>

namespace heddle::inline v0 {

template <op Code>
struct op_traits;

/// A value being traced. At rank -1 (inside passes) axes are those of the iteration space; while a
/// statement is traced, each position of the shape names a class of axes or is a broadcast one.
struct symbol {
  static constexpr std::uint8_t no_axis = 255;  ///< of `axis` and `ghost`: extent 1 by broadcasting
  /// A C++ number or a run-time scalar takes the dtype of what it meets (PyTorch's rule).
  enum class scalar : std::uint8_t { none, literal, argument };

  graph::builder* owner = nullptr;    ///< the graph being recorded; null for a C++ number
  std::uint16_t id = graph::no_node;  ///< node, or scalar slot for scalar::argument
  std::int8_t rank = -1;
  scalar weak = scalar::none;                ///< other than none: promotes as a number does
  bool integral = false;                     ///< of a weak scalar
  double literal = 0;                        ///< of scalar::literal
  std::int64_t integer = 0;                  ///< of an integral literal
  std::uint8_t axis[graph::max_axes] = {};   ///< per position: axis class, or no_axis (extent 1)
  std::uint8_t ghost[graph::max_axes] = {};  ///< per broadcast position: the class keepdim removed

  constexpr symbol() = default;
  template <class Number>
  requires std::is_arithmetic_v<Number>
  constexpr symbol(Number value)  // NOLINT: numbers are operands
      : weak(scalar::literal),
        integral(std::is_integral_v<Number>),
        literal(static_cast<double>(value)),
        integer(std::is_integral_v<Number> ? static_cast<std::int64_t>(value) : 0) {}
  constexpr symbol(graph::builder& b, std::uint16_t node) : owner(&b), id(node) {}

  /// Whether there is a value: false of what was default-made, as the gradient of a condition is.
  constexpr bool valid() const { return owner != nullptr || weak != scalar::none; }
  constexpr dtype type() const {
    if (weak != scalar::none) return integral ? dtype::i64 : dtype::f32;
    return (*owner)[id].type;
  }
};

/// What `derivative` of an op_traits returns: the gradients of an op's N operands, of the result's
/// shape. A default-made symbol stands for 0.
template <int N>
struct grads {
  symbol values[N];  ///< in the order of the operands
};

namespace graph {

/// Axis classes of a traced value, packed one byte a position; 0xFF: none.
constexpr std::uint64_t pack_classes(const symbol& s) {
  std::uint64_t packed = ~std::uint64_t{0};
  for (int i = 0; i < s.rank; ++i) {
    packed &= ~(std::uint64_t{0xFF} << (8 * i));
    packed |= static_cast<std::uint64_t>(s.axis[i]) << (8 * i);
  }
  return packed;
}
constexpr std::uint8_t class_at(std::uint64_t packed, int i) {
  return static_cast<std::uint8_t>(packed >> (8 * i));
}
/// While tracing, `extra` of a node whose shape broadcasting has made: its classes, all bits
/// inverted, so that 0 is no shape.
constexpr std::uint64_t noted_shape(const symbol& s) { return ~pack_classes(s); }

/// The class of position p counted from the right, or no_axis.
constexpr std::uint8_t aligned(const symbol& s, int from_right, bool ghost) {
  const int position = s.rank - 1 - from_right;
  if (position < 0) return symbol::no_axis;
  return ghost ? s.ghost[position] : s.axis[position];
}

/// Unifies the axes of two shapes by NumPy's rule; the result's axes go to `into`.
constexpr void broadcast_axes(builder& b, symbol& into, const symbol& other) {
  const int rank = into.rank > other.rank ? into.rank : other.rank;
  std::uint8_t axes[max_axes] = {};
  std::uint8_t ghosts[max_axes] = {};
  for (int p = 0; p < rank; ++p) {
    const std::uint8_t real[2] = {aligned(into, p, false), aligned(other, p, false)};
    const std::uint8_t past[2] = {aligned(into, p, true), aligned(other, p, true)};
    std::uint8_t merged = symbol::no_axis;
    std::uint8_t merged_ghost = symbol::no_axis;
    for (const std::uint8_t axis : real) {
      if (axis == symbol::no_axis) continue;
      if (merged != symbol::no_axis) b.unify(merged, axis);
      merged = axis;
    }
    // keepdim remembers the axis it reduced: x - max(x, keepdim) is one loop nest.
    for (const std::uint8_t axis : past) {
      if (axis == symbol::no_axis) continue;
      if (merged != symbol::no_axis) b.unify(merged, axis);
      if (merged_ghost != symbol::no_axis) b.unify(merged_ghost, axis);
      merged_ghost = axis;
    }
    axes[rank - 1 - p] = merged;
    ghosts[rank - 1 - p] = merged == symbol::no_axis ? merged_ghost : symbol::no_axis;
  }
  into.rank = static_cast<std::int8_t>(rank);
  for (int i = 0; i < rank; ++i) {
    into.axis[i] = axes[i];
    into.ghost[i] = ghosts[i];
  }
}

/// A weak scalar becomes a node of the given dtype; any other symbol is cast to it.
constexpr symbol materialize(builder& b, const symbol& s, dtype type) {
  symbol result = s;
  result.owner = &b;
  result.weak = symbol::scalar::none;
  if (s.weak == symbol::scalar::literal) {
    result.id =
        s.integral && !is_floating(type) ? b.integer(type, s.integer) : b.constant(type, s.literal);
    result.rank = b.tracing ? 0 : -1;
  } else if (s.weak == symbol::scalar::argument) {
    result.id =
        b.emit({.code = op::argument, .type = type, .a = s.id, .extra = s.integral ? 1u : 0u});
    result.rank = 0;
  } else {
    result.id = b.cast(type, s.id);
  }
  return result;
}

/// What promotion looks at.
struct operand_kind {
  dtype type = dtype::f32;
  bool weak = false;      ///< a number or run-time scalar
  bool integral = false;  ///< of a weak one
};

/// The dtype operands promote to; weak scalars only raise the category (integer → f32).
constexpr dtype promoted(const operand_kind* operands, int count) {
  bool strong = false;
  bool weak_floating = false;
  bool weak_any = false;
  dtype type = dtype::boolean;
  for (int i = 0; i < count; ++i) {
    if (operands[i].weak) {
      weak_any = true;
      weak_floating = weak_floating || !operands[i].integral;
    } else {
      type = strong ? promote(type, operands[i].type) : operands[i].type;
      strong = true;
    }
  }
  if (!strong) return weak_floating ? dtype::f32 : dtype::i64;
  if (weak_floating && !is_floating(type)) return dtype::f32;
  if (weak_any && type == dtype::boolean) return dtype::i64;
  return type;
}

/// The dtype that an op of this rule computes in, for operands of these kinds.
constexpr dtype operand_type(result_rule rule, const operand_kind* operands, int count) {
  const int first = rule == result_rule::selection ? 1 : 0;
  const dtype type = promoted(operands + first, count - first);
  if (rule == result_rule::logical) return dtype::boolean;
  return rule == result_rule::floating && !is_floating(type) ? dtype::f32 : type;
}
constexpr dtype result_type(result_rule rule, const operand_kind* operands, int count) {
  const bool truth = rule == result_rule::comparison || rule == result_rule::logical;
  return truth ? dtype::boolean : operand_type(rule, operands, count);
}

constexpr op boolean_arithmetic(op code) {
  switch (code) {
    case op::add:
    case op::maximum:
      return op::logical_or;
    case op::mul:
    case op::minimum:
      return op::logical_and;
    case op::sub:
    case op::neg:
      throw "heddle: bool tensors have no subtraction or negation: use logical_xor or logical_not";
    default:
      return code;
  }
}

/// Records an element-wise op: promotes, broadcasts, and gives the result its dtype.
constexpr symbol apply(const op_info& info, const symbol* operands) {
  builder* owner = nullptr;
  for (int i = 0; i < info.arity; ++i) {
    if (operands[i].owner != nullptr) owner = operands[i].owner;
  }
  if (owner == nullptr) throw "heddle: an op needs at least one traced operand";
  builder& b = *owner;
  const int first = info.rule == result_rule::selection ? 1 : 0;
  operand_kind kinds[3];
  for (int i = 0; i < info.arity; ++i) {
    kinds[i].weak = operands[i].weak != symbol::scalar::none;
    kinds[i].integral = operands[i].integral;
    kinds[i].type = operands[i].type();
  }
  const dtype type = operand_type(info.rule, kinds, info.arity);
  op code = info.code;
  if (type == dtype::boolean && info.rule == result_rule::same) code = boolean_arithmetic(code);
  if (code >= op::user) b.add_user_op(&info);

  std::uint16_t ids[3] = {no_node, no_node, no_node};
  symbol result;
  for (int i = 0; i < info.arity; ++i) {
    const symbol value = materialize(b, operands[i], i < first ? dtype::boolean : type);
    ids[i] = value.id;
    if (i == 0) {
      result = value;
    } else if (b.tracing) {
      broadcast_axes(b, result, value);
    }
  }
  result.id = b.emit({.code = code,
                      .type = result_type(info.rule, kinds, info.arity),
                      .a = ids[0],
                      .b = ids[1],
                      .c = ids[2],
                      .extra = b.tracing && result.rank > 1 ? noted_shape(result) : 0});
  return result;
}

/// The description of a built-in element-wise op: op_table.hpp.
template <class = void>
constexpr const op_info& builtin_info(op code);

constexpr symbol record(op code, const symbol& a) { return apply(builtin_info(code), &a); }
constexpr symbol record(op code, const symbol& a, const symbol& b) {
  const symbol operands[] = {a, b};
  return apply(builtin_info(code), operands);
}
constexpr symbol record(op code, const symbol& a, const symbol& b, const symbol& c) {
  const symbol operands[] = {a, b, c};
  return apply(builtin_info(code), operands);
}

/// Reduces the listed positions (negative ones count from the end). Classes go into `extra`.
constexpr symbol reduce(op code, const symbol& operand, const int* positions, int count,
                        bool keepdim) {
  if (operand.owner == nullptr) throw "heddle: a reduction needs a traced operand";
  builder& b = *operand.owner;
  const symbol x = materialize(b, operand, operand.type());
  bool removed[max_axes] = {};
  for (int i = 0; i < count; ++i) {
    const int p = positions[i] < 0 ? positions[i] + x.rank : positions[i];
    if (p < 0 || p >= x.rank) throw "heddle: a reduction names an axis that the operand lacks";
    removed[p] = true;
  }
  std::uint64_t classes = ~std::uint64_t{0};
  int used = 0;
  symbol result = x;
  result.rank = 0;
  for (int p = 0; p < x.rank; ++p) {
    if (removed[p] && x.axis[p] != symbol::no_axis) {
      classes &= ~(std::uint64_t{0xFF} << (8 * used));
      classes |= static_cast<std::uint64_t>(x.axis[p]) << (8 * used++);
    }
    if (removed[p] && !keepdim) continue;
    result.axis[result.rank] = removed[p] ? symbol::no_axis : x.axis[p];
    result.ghost[result.rank] = removed[p] && x.axis[p] != symbol::no_axis ? x.axis[p] : x.ghost[p];
    ++result.rank;
  }
  dtype type = x.type();
  if (code == op::sum && !is_floating(type)) type = dtype::i64;
  if (code == op::count) {
    // the number of elements reduced; its dtype is that of a mean
    result.id = b.emit({.code = op::count,
                        .type = is_floating(type) ? type : dtype::f32,
                        .c = x.id,
                        .extra = classes});
    result.rank = 0;
    return result;
  }
  result.id = b.emit({.code = code, .type = type, .a = b.cast(type, x.id), .extra = classes});
  return result;
}

}  // namespace graph
}  // namespace heddle::inline v0

#include <heddle/graph/op_table.hpp>  // the definition that record needs
