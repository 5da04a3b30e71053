// SPDX-License-Identifier: BSD-3-Clause
// Expression nodes: what operators and functions of tensors return. They hold their operands by
// value (handles), know their rank and dtype, and can trace themselves into a graph.
#pragma once

#include <heddle/graph/shape.hpp>
#include <heddle/tensor/tensor.hpp>

namespace heddle::inline v0 {

namespace detail {

/// Numbers the operands and scalars of a statement while it is traced, in the order of `visit`.
struct tracer {
  graph::builder builder;
  int operands = 0;
  int scalars = 0;
  graph::list<bool> variables;  ///< per operand: whether it is one the tape differentiates
  graph::list<bool> products;   ///< and whether a library call computes it with the statement
  graph::list<std::int8_t> ranks;
  graph::operand_roles roles;

  constexpr tracer() { builder.tracing = true; }
};

template <class E>
concept weak_expression = requires {
  E::weak_integral;
};

template <class E>
constexpr graph::operand_kind kind_of() {
  if constexpr (weak_expression<E>) {
    return {.type = E::type, .weak = true, .integral = E::weak_integral};
  } else {
    return {.type = E::type};
  }
}

/// What is stored for an operand of type A: expressions as they are, numbers as run-time scalars.
template <class A>
struct operand_of {
  using type = A;
};
template <class A>
requires std::is_arithmetic_v<A>
struct operand_of<A>;

}  // namespace detail

/// A number in a statement: a run-time argument of its program, so that other values need no other
/// kernel. It takes the dtype of what it meets; a floating one makes integers f32.
template <bool Integral>
class scalar_expression {
 public:
  using expression_tag = void;
  static constexpr int rank = 0;
  static constexpr dtype type = Integral ? dtype::i64 : dtype::f32;
  static constexpr bool weak_integral = Integral;
  using value_type = std::conditional_t<Integral, std::int64_t, double>;

  constexpr explicit scalar_expression(value_type value) : value_(value) {}
  constexpr value_type value() const { return value_; }  ///< as i64 or double

  static constexpr symbol trace(detail::tracer& t) {
    return graph::trace_argument(t.builder, t.scalars++, Integral);
  }
  template <class Visitor>
  void visit(Visitor& v) const {
    v.scalar(value_);
  }

 private:
  value_type value_;
};

namespace detail {

template <class A>
requires std::is_arithmetic_v<A>
struct operand_of<A> {
  using type = scalar_expression<std::is_integral_v<A>>;
};
template <class A>
using operand_t = typename operand_of<std::remove_cvref_t<A>>::type;

template <class A>
constexpr operand_t<A> as_operand(A&& a) {
  if constexpr (std::is_arithmetic_v<std::remove_cvref_t<A>>) {
    return operand_t<A>(static_cast<typename operand_t<A>::value_type>(a));
  } else {
    return static_cast<A&&>(a);
  }
}

template <class... A>
concept expression_operands = (expression<std::remove_cvref_t<A>> || ...) &&
                              ((expression<std::remove_cvref_t<A>> ||
                                std::is_arithmetic_v<std::remove_cvref_t<A>>)&&...);

/// Traces an operand: nodes trace themselves, leaves (tensors, variables) are inputs.
template <class E>
constexpr symbol trace_operand(tracer& t) {
  if constexpr (requires { E::trace(t); }) {
    return E::trace(t);
  } else {
    t.variables.push_back(requires { E::is_variable; });
    t.products.push_back(requires { E::is_product; });
    t.ranks.push_back(static_cast<std::int8_t>(E::rank));
    return graph::trace_input(t.builder, t.operands++, E::type, E::rank);
  }
}
/// Visits the leaves of an operand in the order in which tracing numbers them.
template <class E, class Visitor>
void visit_operand(const E& e, Visitor& v) {
  if constexpr (requires { e.visit(v); }) {
    e.visit(v);
  } else {
    v.leaf(e);
  }
}

/// Operands of a node, first to last.
template <class... E>
struct operand_pack {
  constexpr operand_pack() = default;
  template <class Visitor>
  void visit(Visitor&) const {}
};
template <class First, class... Rest>
struct operand_pack<First, Rest...> {
  First first;
  operand_pack<Rest...> rest;

  template <class A, class... B>
  constexpr explicit operand_pack(A&& a, B&&... b)
      : first(as_operand(static_cast<A&&>(a))), rest(static_cast<B&&>(b)...) {}
  template <class Visitor>
  void visit(Visitor& v) const {
    visit_operand(first, v);
    rest.visit(v);
  }
};

template <class... E>
constexpr int broadcast_rank() {
  int rank = 0;
  ((rank = E::rank > rank ? E::rank : rank), ...);
  return rank;
}

}  // namespace detail

/// An element-wise op of its operands, broadcast as in NumPy.
template <op Code, class... E>
class [[nodiscard]] map_expression {
 public:
  using expression_tag = void;
  static constexpr int rank = detail::broadcast_rank<E...>();
  static constexpr dtype type = [] {
    const graph::operand_kind kinds[] = {detail::kind_of<E>()...};
    return graph::result_type(graph::op_information<Code>.rule, kinds, sizeof...(E));
  }();

  template <class... A>
  constexpr explicit map_expression(A&&... operands) : operands_(static_cast<A&&>(operands)...) {}

  static constexpr symbol trace(detail::tracer& t) {
    const symbol operands[] = {detail::trace_operand<E>(t)...};
    if constexpr (sizeof...(E) == 1) {
      if (operands[0].owner == nullptr) throw "heddle: a number alone is not a statement";
    }
    return graph::apply(graph::op_information<Code>, operands);
  }
  template <class Visitor>
  void visit(Visitor& v) const {
    operands_.visit(v);
  }

 private:
  detail::operand_pack<E...> operands_;
};

namespace detail {

template <op Code, class... A>
constexpr auto make_map(A&&... a) {
  if constexpr (Code == op::sub || Code == op::neg) {
    static_assert(map_expression<Code, operand_t<A>...>::type != dtype::boolean,
                  "heddle: bool tensors have no subtraction or negation: use logical_xor or "
                  "logical_not");
  }
  return map_expression<Code, operand_t<A>...>(static_cast<A&&>(a)...);
}

/// A function of one operand's symbol as an expression: reductions, casts, changes of shape.
template <class Function, class E>
class [[nodiscard]] unary_expression {
 public:
  using expression_tag = void;
  static constexpr int rank = Function::rank(E::rank);
  static constexpr dtype type = Function::type(E::type);

  template <class A>
  constexpr explicit unary_expression(A&& operand) : operand_(static_cast<A&&>(operand)) {}

  static constexpr symbol trace(tracer& t) { return Function::apply(trace_operand<E>(t)); }
  template <class Visitor>
  void visit(Visitor& v) const {
    visit_operand(operand_, v);
  }

 private:
  E operand_;
};

template <class Function, class A>
constexpr auto make_unary(A&& a) {
  return unary_expression<Function, std::remove_cvref_t<A>>(static_cast<A&&>(a));
}

/// The rank left by a reduction over Axes (none: all).
template <bool Keep, int... Axes>
struct reduced_shape {
  static constexpr int rank(int operand) {
    if (Keep) return operand;
    return sizeof...(Axes) == 0 ? 0 : operand - static_cast<int>(sizeof...(Axes));
  }
  template <int Rank>
  static constexpr bool valid = ((Axes >= -Rank && Axes < Rank) && ...) &&
                                static_cast<int>(sizeof...(Axes)) <= Rank;
};

#define HEDDLE_REDUCTION_FUNCTION(name, type_)             \
  template <bool Keep, int... Axes>                        \
  struct name##_function : reduced_shape<Keep, Axes...> {  \
    static constexpr dtype type(dtype t) { return type_; } \
    static constexpr symbol apply(const symbol& x) {       \
      if constexpr (Keep) {                                \
        return heddle::name<Axes...>(x, keepdim);          \
      } else {                                             \
        return heddle::name<Axes...>(x);                   \
      }                                                    \
    }                                                      \
  };
HEDDLE_REDUCTION_FUNCTION(sum, is_floating(t) ? t : dtype::i64)
HEDDLE_REDUCTION_FUNCTION(mean, is_floating(t) ? t : dtype::f32)
HEDDLE_REDUCTION_FUNCTION(amax, t)
HEDDLE_REDUCTION_FUNCTION(amin, t)
#undef HEDDLE_REDUCTION_FUNCTION

struct same_shape {
  static constexpr int rank(int operand) { return operand; }
};
template <class T>
struct cast_function : same_shape {
  static constexpr dtype type(dtype) { return dtype_of<T>; }
  static constexpr symbol apply(const symbol& x) { return heddle::cast<T>(x); }
};
template <int Axis>
struct unsqueeze_function {
  static constexpr int rank(int operand) { return operand + 1; }
  static constexpr dtype type(dtype t) { return t; }
  static constexpr symbol apply(const symbol& x) { return heddle::unsqueeze<Axis>(x); }
};
template <int Axis>
struct iota_function : same_shape {
  static constexpr dtype type(dtype) { return dtype::i64; }
  static constexpr symbol apply(const symbol& x) { return heddle::iota<Axis>(x); }
};

}  // namespace detail

#define HEDDLE_EXPRESSION_UNARY(name)     \
  template <class A>                      \
  requires detail::expression_operands<A> \
  constexpr auto name(A&& a) { return detail::make_map<op::name>(static_cast<A&&>(a)); }
#define HEDDLE_EXPRESSION_BINARY(function, code)                                 \
  template <class A, class B>                                                    \
  requires detail::expression_operands<A, B>                                     \
  constexpr auto function(A&& a, B&& b) {                                        \
    return detail::make_map<op::code>(static_cast<A&&>(a), static_cast<B&&>(b)); \
  }
HEDDLE_EXPRESSION_UNARY(exp)
HEDDLE_EXPRESSION_UNARY(log)
HEDDLE_EXPRESSION_UNARY(log1p)
HEDDLE_EXPRESSION_UNARY(expm1)
HEDDLE_EXPRESSION_UNARY(tanh)
HEDDLE_EXPRESSION_UNARY(sqrt)
HEDDLE_EXPRESSION_UNARY(rsqrt)
HEDDLE_EXPRESSION_UNARY(abs)
HEDDLE_EXPRESSION_UNARY(square)
HEDDLE_EXPRESSION_UNARY(erf)
HEDDLE_EXPRESSION_UNARY(sigmoid)
HEDDLE_EXPRESSION_UNARY(sin)
HEDDLE_EXPRESSION_UNARY(cos)
HEDDLE_EXPRESSION_UNARY(floor)
HEDDLE_EXPRESSION_UNARY(sign)
HEDDLE_EXPRESSION_UNARY(detach)
HEDDLE_EXPRESSION_UNARY(logical_not)
HEDDLE_EXPRESSION_BINARY(pow, pow)
HEDDLE_EXPRESSION_BINARY(maximum, maximum)
HEDDLE_EXPRESSION_BINARY(minimum, minimum)
HEDDLE_EXPRESSION_BINARY(logical_and, logical_and)
HEDDLE_EXPRESSION_BINARY(logical_or, logical_or)
HEDDLE_EXPRESSION_BINARY(logical_xor, logical_xor)
HEDDLE_EXPRESSION_BINARY(operator+, add)
HEDDLE_EXPRESSION_BINARY(operator-, sub)
HEDDLE_EXPRESSION_BINARY(operator*, mul)
HEDDLE_EXPRESSION_BINARY(operator/, div)
HEDDLE_EXPRESSION_BINARY(operator==, equal)
HEDDLE_EXPRESSION_BINARY(operator!=, not_equal)
HEDDLE_EXPRESSION_BINARY(operator<, less)
HEDDLE_EXPRESSION_BINARY(operator<=, less_equal)
HEDDLE_EXPRESSION_BINARY(operator>, greater)
HEDDLE_EXPRESSION_BINARY(operator>=, greater_equal)
HEDDLE_EXPRESSION_BINARY(operator&&, logical_and)
HEDDLE_EXPRESSION_BINARY(operator||, logical_or)
#undef HEDDLE_EXPRESSION_UNARY
#undef HEDDLE_EXPRESSION_BINARY

template <class A>
requires detail::expression_operands<A>
constexpr auto operator-(A&& a) { return detail::make_map<op::neg>(static_cast<A&&>(a)); }
template <class A>
requires detail::expression_operands<A>
constexpr auto operator!(A&& a) { return detail::make_map<op::logical_not>(static_cast<A&&>(a)); }
/// Elements of a where the condition holds, of b elsewhere.
template <class C, class A, class B>
requires detail::expression_operands<C, A, B>
constexpr auto where(C&& condition, A&& a, B&& b) {
  return detail::make_map<op::where>(static_cast<C&&>(condition), static_cast<A&&>(a),
                                     static_cast<B&&>(b));
}
/// A user's op, described by an op_traits specialisation, of expressions.
template <op Code, class... A>
requires detail::expression_operands<A...>
constexpr auto apply_op(A&&... a) { return detail::make_map<Code>(static_cast<A&&>(a)...); }

// Reductions over Axes (static; negative ones count from the end; none: all).
#define HEDDLE_EXPRESSION_REDUCTION(name)                                                    \
  template <int... Axes, class A>                                                            \
  requires detail::expression_operands<A>                                                    \
  constexpr auto name(A&& a) {                                                               \
    static_assert(                                                                           \
        detail::reduced_shape<false, Axes...>::template valid<std::remove_cvref_t<A>::rank>, \
        "heddle::" #name ": an axis is out of range: axes are -rank to rank - 1");           \
    return detail::make_unary<detail::name##_function<false, Axes...>>(static_cast<A&&>(a)); \
  }                                                                                          \
  template <int... Axes, class A>                                                            \
  requires detail::expression_operands<A>                                                    \
  constexpr auto name(A&& a, keepdim_t) {                                                    \
    static_assert(                                                                           \
        detail::reduced_shape<true, Axes...>::template valid<std::remove_cvref_t<A>::rank>,  \
        "heddle::" #name ": an axis is out of range: axes are -rank to rank - 1");           \
    return detail::make_unary<detail::name##_function<true, Axes...>>(static_cast<A&&>(a));  \
  }
HEDDLE_EXPRESSION_REDUCTION(sum)
HEDDLE_EXPRESSION_REDUCTION(mean)
HEDDLE_EXPRESSION_REDUCTION(amax)
HEDDLE_EXPRESSION_REDUCTION(amin)
#undef HEDDLE_EXPRESSION_REDUCTION

/// The elements converted to T's dtype.
template <class T, class A>
requires detail::expression_operands<A>
constexpr auto cast(A&& a) {
  return detail::make_unary<detail::cast_function<T>>(static_cast<A&&>(a));
}
/// With an axis of extent 1 before position Axis: one that broadcasts statically, gradients
/// included.
template <int Axis, class A>
requires detail::expression_operands<A>
constexpr auto unsqueeze(A&& a) {
  constexpr int rank = std::remove_cvref_t<A>::rank + 1;
  static_assert(Axis >= -rank && Axis < rank,
                "heddle::unsqueeze: the axis is out of range: axes are -rank-1 to rank");
  return detail::make_unary<detail::unsqueeze_function<Axis>>(static_cast<A&&>(a));
}
/// The coordinate along Axis, i64, to combine with expressions of a's shape; no memory is read.
template <int Axis, class A>
requires detail::expression_operands<A>
constexpr auto iota(A&& a) {
  return detail::make_unary<detail::iota_function<Axis>>(static_cast<A&&>(a));
}

}  // namespace heddle::inline v0
