// SPDX-License-Identifier: BSD-3-Clause
// The op table: each element-wise op once, its value beside its derivative. To add an op, add one
// struct here (or specialise op_traits in your own code with a code from op::user on).
#pragma once

#include <heddle/core/config.hpp>
#include <heddle/core/math.hpp>
#include <heddle/graph/symbol.hpp>

namespace heddle::inline v0 {

// Operators and functions on symbols: derivatives below, and users' lambdas, are written with them.
#define HEDDLE_SYMBOL_UNARY(name) \
  constexpr symbol name(const symbol& x) { return graph::record(op::name, x); }
#define HEDDLE_SYMBOL_BINARY(name) \
  constexpr symbol name(const symbol& a, const symbol& b) { return graph::record(op::name, a, b); }
#define HEDDLE_SYMBOL_OPERATOR(sign, name)                           \
  constexpr symbol operator sign(const symbol& a, const symbol& b) { \
    return graph::record(op::name, a, b);                            \
  }
HEDDLE_SYMBOL_UNARY(exp)           ///< e^x
HEDDLE_SYMBOL_UNARY(log)           ///< natural logarithm; NaN below 0, -inf at 0
HEDDLE_SYMBOL_UNARY(log1p)         ///< log(1 + x), accurate near 0
HEDDLE_SYMBOL_UNARY(expm1)         ///< e^x - 1, accurate near 0
HEDDLE_SYMBOL_UNARY(tanh)          ///< hyperbolic tangent
HEDDLE_SYMBOL_UNARY(sqrt)          ///< square root; NaN below 0
HEDDLE_SYMBOL_UNARY(rsqrt)         ///< 1 / sqrt(x)
HEDDLE_SYMBOL_UNARY(abs)           ///< |x|; its derivative at 0 is 0
HEDDLE_SYMBOL_UNARY(square)        ///< x * x
HEDDLE_SYMBOL_UNARY(erf)           ///< 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x
HEDDLE_SYMBOL_UNARY(sigmoid)       ///< 1 / (1 + e^-x)
HEDDLE_SYMBOL_UNARY(sin)           ///< sine of radians
HEDDLE_SYMBOL_UNARY(cos)           ///< cosine of radians
HEDDLE_SYMBOL_UNARY(floor)         ///< largest whole number up to x; its derivative is 0
HEDDLE_SYMBOL_UNARY(sign)          ///< -1, 0 or 1, NaN of NaN; its derivative is 0
HEDDLE_SYMBOL_UNARY(detach)        ///< x, which derivatives take for a constant
HEDDLE_SYMBOL_UNARY(logical_not)   ///< whether x is 0, as bool
HEDDLE_SYMBOL_BINARY(pow)          ///< a^b; whole numbers give f32
HEDDLE_SYMBOL_BINARY(maximum)      ///< NaN where either is; equals share the derivative
HEDDLE_SYMBOL_BINARY(minimum)      ///< NaN where either is; equals share the derivative
HEDDLE_SYMBOL_BINARY(logical_and)  ///< whether both are not 0, as bool
HEDDLE_SYMBOL_BINARY(logical_or)   ///< whether one is not 0, as bool
HEDDLE_SYMBOL_BINARY(logical_xor)  ///< whether exactly one is not 0, as bool
HEDDLE_SYMBOL_OPERATOR(+, add)
HEDDLE_SYMBOL_OPERATOR(-, sub)
HEDDLE_SYMBOL_OPERATOR(*, mul)
HEDDLE_SYMBOL_OPERATOR(/, div)
HEDDLE_SYMBOL_OPERATOR(==, equal)
HEDDLE_SYMBOL_OPERATOR(!=, not_equal)
HEDDLE_SYMBOL_OPERATOR(<, less)
HEDDLE_SYMBOL_OPERATOR(<=, less_equal)
HEDDLE_SYMBOL_OPERATOR(>, greater)
HEDDLE_SYMBOL_OPERATOR(>=, greater_equal)
HEDDLE_SYMBOL_OPERATOR(&&, logical_and)
HEDDLE_SYMBOL_OPERATOR(||, logical_or)
#undef HEDDLE_SYMBOL_UNARY
#undef HEDDLE_SYMBOL_BINARY
#undef HEDDLE_SYMBOL_OPERATOR
constexpr symbol operator-(const symbol& x) { return graph::record(op::neg, x); }
constexpr symbol operator!(const symbol& x) { return graph::record(op::logical_not, x); }
constexpr symbol where(const symbol& condition, const symbol& a, const symbol& b) {
  return graph::record(op::where, condition, a, b);
}

// One operand: value(x), derivative(x, y, g) with y the value and g the incoming gradient.
#define HEDDLE_OP(code, rule_, ...)                                                             \
  /** An op of the table. A user's has the same members, and a code from op::user on. */        \
  template <>                                                                                   \
  struct op_traits<op::code> {                                                                  \
    /** What programs print. */                                                                 \
    static constexpr std::string_view name = #code;                                             \
    /** The result's dtype; a user's op that names none has `floating`. */                      \
    static constexpr graph::result_rule rule = graph::result_rule::rule_;                       \
    /** Of one element, on host and devices; must not branch, so that loops vectorise. */       \
    __VA_ARGS__                                                                                 \
    /**< The gradients of operands x..., given the value y and the gradient g of the result. */ \
  };

HEDDLE_OP(
    neg, same,
    template <class T> HEDDLE_HD HEDDLE_INLINE static T value(T x) {
      if constexpr (std::is_integral_v<T>) {
        return math::subtract(T(0), x);
      } else {
        return static_cast<T>(-x);
      }
    } static constexpr grads<1>
        derivative(symbol, symbol, symbol g) { return {-g}; })
HEDDLE_OP(
    exp, floating,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::exp(x); } static constexpr grads<1>
        derivative(symbol, symbol y, symbol g) { return {g * y}; })
HEDDLE_OP(
    log, floating,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::log(x); } static constexpr grads<1>
        derivative(symbol x, symbol, symbol g) { return {g / x}; })
HEDDLE_OP(
    log1p, floating,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::log1p(x); } static constexpr grads<1>
        derivative(symbol x, symbol, symbol g) { return {g / (1 + x)}; })
HEDDLE_OP(
    expm1, floating,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::expm1(x); } static constexpr grads<1>
        derivative(symbol, symbol y, symbol g) { return {g * (y + 1)}; })
HEDDLE_OP(
    tanh, floating,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::tanh(x); } static constexpr grads<1>
        derivative(symbol, symbol y, symbol g) { return {g * (1 - y * y)}; })
HEDDLE_OP(
    sqrt, floating,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::sqrt(x); } static constexpr grads<1>
        derivative(symbol, symbol y, symbol g) { return {g * 0.5 / y}; })
HEDDLE_OP(
    rsqrt, floating,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::rsqrt(x); } static constexpr grads<1>
        derivative(symbol, symbol y, symbol g) { return {g * -0.5 * (y * y * y)}; })
HEDDLE_OP(
    abs, same,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::abs(x); } static constexpr grads<1>
        derivative(symbol x, symbol, symbol g) { return {g * sign(x)}; })
HEDDLE_OP(
    square, same,
    template <class T> HEDDLE_HD HEDDLE_INLINE static T value(T x) {
      return math::multiply(x, x);
    } static constexpr grads<1>
        derivative(symbol x, symbol, symbol g) { return {g * 2 * x}; })
HEDDLE_OP(
    erf, floating,
    template <class T> HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::erf(x); }
    // 2 / sqrt(pi)
    static constexpr grads<1>
        derivative(symbol x, symbol, symbol g) {
          return {g * 1.1283791670955125739 * exp(-(x * x))};
        })
HEDDLE_OP(
    sigmoid, floating,
    template <class T> HEDDLE_HD HEDDLE_INLINE static T value(T x) {
      return math::sigmoid(x);
    } static constexpr grads<1>
        derivative(symbol, symbol y, symbol g) { return {g * (y * (1 - y))}; })
HEDDLE_OP(
    sin, floating,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::sin(x); } static constexpr grads<1>
        derivative(symbol x, symbol, symbol g) { return {g * cos(x)}; })
HEDDLE_OP(
    cos, floating,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::cos(x); } static constexpr grads<1>
        derivative(symbol x, symbol, symbol g) { return {-(g * sin(x))}; })
HEDDLE_OP(
    floor, same,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return math::floor(x); } static constexpr grads<1>
        derivative(symbol, symbol, symbol) { return {}; })
HEDDLE_OP(
    sign, same,
    template <class T> HEDDLE_HD HEDDLE_INLINE static T value(T x) {
      // x - x keeps a NaN
      return x > T(0) ? T(1) : x < T(0) ? T(-1) : static_cast<T>(x - x);
    } static constexpr grads<1>
        derivative(symbol, symbol, symbol) { return {}; })
HEDDLE_OP(
    detach, same,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T x) { return x; } static constexpr grads<1>
        derivative(symbol, symbol, symbol) { return {}; })
HEDDLE_OP(
    logical_not, logical,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static bool value(T x) { return !x; } static constexpr grads<1>
        derivative(symbol, symbol, symbol) { return {}; })

// Two operands: value(a, b), derivative(a, b, y, g).
HEDDLE_OP(
    add, same,
    template <class T> HEDDLE_HD HEDDLE_INLINE static T value(T a, T b) {
      return math::add(a, b);
    } static constexpr grads<2>
        derivative(symbol, symbol, symbol, symbol g) {
          return {g, g};
        })
HEDDLE_OP(
    sub, same,
    template <class T> HEDDLE_HD HEDDLE_INLINE static T value(T a, T b) {
      return math::subtract(a, b);
    } static constexpr grads<2>
        derivative(symbol, symbol, symbol, symbol g) {
          return {g, -g};
        })
HEDDLE_OP(
    mul, same,
    template <class T> HEDDLE_HD HEDDLE_INLINE static T value(T a, T b) {
      return math::multiply(a, b);
    } static constexpr grads<2>
        derivative(symbol a, symbol b, symbol, symbol g) {
          return {g * b, g * a};
        })
HEDDLE_OP(
    div, floating,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T a, T b) { return a / b; } static constexpr grads<2>
        derivative(symbol, symbol b, symbol y, symbol g) {
          const symbol share = g / b;
          return {share, -(share * y)};
        })
HEDDLE_OP(
    pow, floating,
    template <class T> HEDDLE_HD HEDDLE_INLINE static T value(T a, T b) { return math::pow(a, b); }
    // At b = 0 the slope in a is 0, and at a = 0, b >= 0 the slope in b is taken as 0 (PyTorch).
    static constexpr grads<2>
        derivative(symbol a, symbol b, symbol y, symbol g) {
          return {where(b == 0, 0, g * b * pow(a, b - 1)),
                  where(a == 0 && b >= 0, 0, g * y * log(a))};
        })
HEDDLE_OP(
    maximum, same,
    template <class T>
    HEDDLE_HD HEDDLE_INLINE static T value(T a, T b) { return math::maximum(a, b); }
    // ties share the gradient, as amax does
    static constexpr grads<2>
        derivative(symbol a, symbol b, symbol, symbol g) {
          const symbol tie = g * 0.5;
          return {where(a > b, g, where(a == b, tie, 0)), where(b > a, g, where(a == b, tie, 0))};
        })
HEDDLE_OP(
    minimum, same,
    template <class T> HEDDLE_HD HEDDLE_INLINE static T value(T a, T b) {
      return math::minimum(a, b);
    } static constexpr grads<2>
        derivative(symbol a, symbol b, symbol, symbol g) {
          const symbol tie = g * 0.5;
          return {where(a < b, g, where(a == b, tie, 0)), where(b < a, g, where(a == b, tie, 0))};
        })

#define HEDDLE_PREDICATE(code, rule_, expression)                              \
  HEDDLE_OP(                                                                   \
      code, rule_,                                                             \
      template <class T> HEDDLE_HD HEDDLE_INLINE static bool value(T a, T b) { \
        return expression;                                                     \
      } static constexpr grads<2>                                              \
          derivative(symbol, symbol, symbol, symbol) { return {}; })
HEDDLE_PREDICATE(equal, comparison, a == b)
HEDDLE_PREDICATE(not_equal, comparison, a != b)
HEDDLE_PREDICATE(less, comparison, a < b)
HEDDLE_PREDICATE(less_equal, comparison, a <= b)
HEDDLE_PREDICATE(greater, comparison, a > b)
HEDDLE_PREDICATE(greater_equal, comparison, a >= b)
// not && and ||: the loop must stay free of branches
HEDDLE_PREDICATE(logical_and, logical, static_cast<bool>(a& b))
HEDDLE_PREDICATE(logical_or, logical, static_cast<bool>(a | b))
HEDDLE_PREDICATE(logical_xor, logical, a != b)
#undef HEDDLE_PREDICATE

// Three operands: value(condition, a, b), derivative(condition, a, b, y, g).
HEDDLE_OP(
    where, selection,
    template <class T> HEDDLE_HD HEDDLE_INLINE static T value(bool condition, T a, T b) {
      return condition ? a : b;
    } static constexpr grads<3>
        derivative(symbol condition, symbol, symbol, symbol, symbol g) {
          return {symbol{}, where(condition, g, 0), where(condition, 0, g)};
        })
#undef HEDDLE_OP

namespace graph {
namespace detail {

template <int N>
constexpr int arity_of(grads<N> (*)(symbol, symbol, symbol, symbol, symbol)) {
  return 3;
}
template <int N>
constexpr int arity_of(grads<N> (*)(symbol, symbol, symbol, symbol)) {
  return 2;
}
template <int N>
constexpr int arity_of(grads<N> (*)(symbol, symbol, symbol)) {
  return 1;
}

template <class Traits>
inline constexpr int arity = arity_of(&Traits::derivative);

template <class Traits>
constexpr void differentiate(const symbol* x, const symbol& y, const symbol& g, symbol* out) {
  constexpr int n = arity<Traits>;
  const auto copy = [out](const auto& d) {
    for (int i = 0; i < n; ++i) out[i] = d.values[i];
  };
  if constexpr (n == 1) copy(Traits::derivative(x[0], y, g));
  if constexpr (n == 2) copy(Traits::derivative(x[0], x[1], y, g));
  if constexpr (n == 3) copy(Traits::derivative(x[0], x[1], x[2], y, g));
}

template <class Traits>
constexpr result_rule rule_of() {
  if constexpr (requires { Traits::rule; }) {
    return Traits::rule;
  } else {
    return result_rule::floating;
  }
}

template <class Traits>
double value_in_double(const double* x) {
  constexpr int n = arity<Traits>;
  if constexpr (n == 1) return static_cast<double>(Traits::value(x[0]));
  if constexpr (n == 2) return static_cast<double>(Traits::value(x[0], x[1]));
  if constexpr (n == 3 && rule_of<Traits>() == result_rule::selection) {
    return static_cast<double>(Traits::value(x[0] != 0, x[1], x[2]));
  } else if constexpr (n == 3) {
    return static_cast<double>(Traits::value(x[0], x[1], x[2]));
  }
}

template <op Code>
constexpr op_info make_info() {
  using traits = op_traits<Code>;
  op_info info;
  info.code = Code;
  info.name = traits::name;
  info.arity = arity<traits>;
  info.rule = rule_of<traits>();
  info.derivative = &differentiate<traits>;
  // built-in ops are interpreted by exec/interpret's own kernels
  if constexpr (Code >= op::user) info.value = &value_in_double<traits>;
  return info;
}

}  // namespace detail

template <op Code>
inline constexpr op_info op_information = detail::make_info<Code>();

namespace detail {

inline constexpr int first_elementwise = static_cast<int>(op::neg);
inline constexpr int builtin_elementwise = static_cast<int>(op::builtin_count) - first_elementwise;

template <class>
struct op_list;
template <int... I>
struct op_list<std::integer_sequence<int, I...>> {
  static constexpr const op_info* infos[sizeof...(I)] = {
      &op_information<static_cast<op>(first_elementwise + I)>...};
};
using builtin_ops = op_list<std::make_integer_sequence<int, builtin_elementwise>>;

}  // namespace detail

template <class>
constexpr const op_info& builtin_info(op code) {
  return *detail::builtin_ops::infos[static_cast<int>(code) - detail::first_elementwise];
}

HEDDLE_ONCE(const op_info& builtin_info<void>(op));

/// The description of an element-wise op; built-in, or one of the user ops given.
constexpr const op_info& find_info(op code, const list<const op_info*>& user_ops) {
  if (code >= op::neg && code < op::builtin_count) return builtin_info(code);
  for (const op_info* info : user_ops) {
    if (info->code == code) return *info;
  }
  throw "heddle: the graph holds an op that no op_traits describes";
}

constexpr std::string_view name_of(op code, const list<const op_info*>& user_ops) {
  switch (code) {
    case op::input:
      return "input";
    case op::argument:
      return "argument";
    case op::constant:
      return "constant";
    case op::count:
      return "count";
    case op::iota:
      return "iota";
    case op::random_uniform:
      return "random_uniform";
    case op::random_normal:
      return "random_normal";
    case op::gather:
      return "gather";
    case op::cast:
      return "cast";
    case op::sum:
      return "sum";
    case op::amax:
      return "amax";
    case op::amin:
      return "amin";
    case op::store:
      return "store";
    case op::scatter_add:
      return "scatter_add";
    default:
      return find_info(code, user_ops).name;
  }
}

}  // namespace graph

/// Records a user's op: `apply_op<cube>(x)`.
template <op Code, class... Operand>
constexpr symbol apply_op(const symbol& first, const Operand&... rest) {
  const symbol operands[] = {first, symbol(rest)...};
  static_assert(sizeof...(Operand) + 1 == graph::op_information<Code>.arity,
                "heddle::apply_op: the op's derivative names another number of operands");
  return graph::apply(graph::op_information<Code>, operands);
}

// Reductions over static positions of the shape; `keepdim` keeps them with extent 1.
/// The type of `keepdim`.
struct keepdim_t {};
/// Tag: keep reduced axes with extent 1, `sum<-1>(x, keepdim)`.
inline constexpr keepdim_t keepdim{};

#define HEDDLE_SYMBOL_REDUCTION(name, code)                  \
  template <int... Axes>                                     \
  constexpr symbol name(const symbol& x) {                   \
    return graph::reduce_positions<Axes...>(code, x, false); \
  }                                                          \
  template <int... Axes>                                     \
  constexpr symbol name(const symbol& x, keepdim_t) {        \
    return graph::reduce_positions<Axes...>(code, x, true);  \
  }
namespace graph {
/// No axes listed: all of them.
template <int... Axes>
constexpr symbol reduce_positions(op code, const symbol& x, bool keep) {
  if constexpr (sizeof...(Axes) == 0) {
    constexpr int all[] = {0, 1, 2, 3, 4, 5, 6, 7};
    return reduce(code, x, all, x.rank, keep);
  } else {
    constexpr int positions[] = {Axes...};
    return reduce(code, x, positions, sizeof...(Axes), keep);
  }
}
}  // namespace graph
HEDDLE_SYMBOL_REDUCTION(sum, op::sum)    ///< integers and bool give i64; no axes listed: all
HEDDLE_SYMBOL_REDUCTION(amax, op::amax)  ///< NaN where one is; equals share the derivative
HEDDLE_SYMBOL_REDUCTION(amin, op::amin)  ///< NaN where one is; equals share the derivative
#undef HEDDLE_SYMBOL_REDUCTION
/// The number of elements that a reduction over Axes takes in, as a floating value.
template <int... Axes>
constexpr symbol count(const symbol& x) {
  return graph::reduce_positions<Axes...>(op::count, x, false);
}
/// sum / count; integers and bool give f32.
template <int... Axes>
constexpr symbol mean(const symbol& x) {
  return sum<Axes...>(x) / count<Axes...>(x);
}
template <int... Axes>
constexpr symbol mean(const symbol& x, keepdim_t) {
  return sum<Axes...>(x, keepdim) / count<Axes...>(x);
}

/// x converted to T's dtype.
template <class T>
constexpr symbol cast(const symbol& x) {
  if (x.owner == nullptr) throw "heddle::cast: a number is cast by writing it in its type";
  return graph::materialize(*x.owner, graph::materialize(*x.owner, x, x.type()), dtype_of<T>);
}

}  // namespace heddle::inline v0
