// SPDX-License-Identifier: BSD-3-Clause
// let and fused: a lambda traced on symbols, the form in which a name is used more than once.
#pragma once

#include <heddle/tensor/expression.hpp>

namespace heddle::inline v0 {

/// Several results of one lambda: `return outputs(h, c);`. Evaluated together, in one statement.
template <int Count>
struct symbol_pack {
  symbol values[Count];  ///< in the order of `outputs`
};
/// What a traced lambda returns to have several results, in this order.
template <class... Symbol>
constexpr symbol_pack<sizeof...(Symbol)> outputs(const Symbol&... values) {
  return {{symbol(values)...}};
}

namespace detail {

template <int Count>
constexpr symbol_pack<Count> as_pack(const symbol_pack<Count>& pack) {
  return pack;
}
constexpr symbol_pack<1> as_pack(const symbol& s) { return {{s}}; }

template <class E>
constexpr symbol dummy_operand(tracer& t) {
  if constexpr (weak_expression<E>) {
    return graph::trace_argument(t.builder, t.scalars++, E::weak_integral);
  } else {
    return graph::trace_input(t.builder, t.operands++, E::type, E::rank);
  }
}

template <int Count>
struct let_signature {
  int ranks[Count] = {};
  dtype types[Count] = {};
};

/// Ranks and dtypes of what F returns for operands like E….
template <class F, class... E>
constexpr auto make_signature() {
  tracer t;
  const symbol operands[] = {dummy_operand<E>(t)...};
  return [&]<int... I>(std::integer_sequence<int, I...>) {
    const auto pack = as_pack(F{}(operands[I]...));
    constexpr int count = static_cast<int>(sizeof(pack.values) / sizeof(symbol));
    let_signature<count> s;
    for (int i = 0; i < count; ++i) {
      s.ranks[i] = pack.values[i].owner == nullptr ? 0 : pack.values[i].rank;
      s.types[i] = pack.values[i].type();
    }
    return s;
  }
  (std::make_integer_sequence<int, sizeof...(E)>{});
}

template <class F, class... E>
class let_operands {
 public:
  template <class... A>
  constexpr explicit let_operands(F, A&&... a) : operands_(static_cast<A&&>(a)...) {}
  template <class Visitor>
  void visit(Visitor& v) const {
    operands_.visit(v);
  }

 protected:
  static constexpr auto trace_all(tracer& t) {
    const symbol operands[] = {trace_operand<E>(t)...};
    return call(operands, std::make_integer_sequence<int, sizeof...(E)>{});
  }

 private:
  template <int... I>
  static constexpr auto call(const symbol* operands, std::integer_sequence<int, I...>) {
    return as_pack(F{}(operands[I]...));
  }
  operand_pack<E...> operands_;
};

}  // namespace detail

/// One result of a traced lambda.
template <class F, class... E>
class [[nodiscard]] let_expression : public detail::let_operands<F, E...> {
  static constexpr auto signature = detail::make_signature<F, E...>();

 public:
  using expression_tag = void;
  static constexpr int rank = signature.ranks[0];
  static constexpr dtype type = signature.types[0];

  using detail::let_operands<F, E...>::let_operands;
  static constexpr symbol trace(detail::tracer& t) {
    return detail::let_operands<F, E...>::trace_all(t).values[0];
  }
};

/// Several results of a traced lambda; `evaluate` gives them as a tuple.
template <class F, class... E>
class [[nodiscard]] let_bundle : public detail::let_operands<F, E...> {
 public:
  /// Marks what `evaluate` gives as a tuple.
  using bundle_tag = void;
  /// Ranks and dtypes of the results.
  static constexpr auto signature = detail::make_signature<F, E...>();
  /// How many results there are.
  static constexpr int count = static_cast<int>(sizeof(signature.ranks) / sizeof(int));

  using detail::let_operands<F, E...>::let_operands;
  /// Traces the lambda once, for all of its results.
  static constexpr symbol_pack<count> trace_pack(detail::tracer& t) {
    return detail::let_operands<F, E...>::trace_all(t);
  }
};

/// Applies a stateless lambda to expressions as one statement in which each argument is one
/// operand, however often it is used: `let([](auto x) { return x * sigmoid(x); }, a + b)`. Numbers
/// are run-time arguments. Returns an expression, or a bundle for `evaluate` where the lambda
/// returns `outputs(…)`.
template <class F, class... A>
constexpr auto let(F f, A&&... a) {
  static_assert(
      std::is_empty_v<F>,
      "heddle::let: the lambda captures something: a program is made from its type alone; "
      "pass captured values as arguments");
  if constexpr (std::is_empty_v<F>) {
    constexpr auto signature = detail::make_signature<F, detail::operand_t<A>...>();
    if constexpr (sizeof(signature.ranks) == sizeof(int)) {
      return let_expression<F, detail::operand_t<A>...>(f, static_cast<A&&>(a)...);
    } else {
      return let_bundle<F, detail::operand_t<A>...>(f, static_cast<A&&>(a)...);
    }
  }
}

/// A function of expressions (and of symbols, within other traced lambdas): see `fused`.
template <class F>
struct fused_function {
  template <class... A>
  constexpr auto operator()(A&&... a) const {
    if constexpr ((std::is_same_v<std::remove_cvref_t<A>, symbol> || ...)) {
      return F{}(symbol(a)...);
    } else {
      return let(F{}, static_cast<A&&>(a)...);
    }
  }
};

/// A composed function, usable like heddle's own:
/// `constexpr auto silu = fused([](auto x) { return x / (1 + exp(-x)); });`
template <class F>
constexpr fused_function<F> fused(F) {
  static_assert(std::is_empty_v<F>,
                "heddle::fused: the lambda captures something: a program is made from its type "
                "alone; pass captured values as arguments");
  return {};
}

}  // namespace heddle::inline v0
