// SPDX-License-Identifier: BSD-3-Clause
// What modules are called with: values of expressions, on the module's device; and the mark of
// tensors within `inference(m)`, for which no backward is compiled.
#pragma once

#include <heddle/autograd/matmul.hpp>
#include <heddle/autograd/views.hpp>
#include <heddle/nn/parameter.hpp>

namespace heddle::inline v0 {

/// A tensor within `inference(m)`: statements that read one are not recorded, and no backward is
/// compiled for them.
template <class T, int Rank>
class inference_tensor : public tensor<T, Rank> {
 public:
  /// Marks expressions of which a leaf is an inference_tensor.
  static constexpr bool is_inference = true;
  inference_tensor() = default;
  explicit inference_tensor(tensor<T, Rank> value) noexcept
      : tensor<T, Rank>(static_cast<tensor<T, Rank>&&>(value)) {}
};

namespace detail {

/// Whether a leaf of the expression is an inference_tensor.
template <class E>
inline constexpr bool holds_inference = requires {
  E::is_inference;
};
template <op Code, class... E>
inline constexpr bool holds_inference<map_expression<Code, E...>> = (holds_inference<E> || ...);
template <class F, class E>
inline constexpr bool holds_inference<unary_expression<F, E>> = holds_inference<E>;
template <class F, class... E>
inline constexpr bool holds_inference<let_expression<F, E...>> = (holds_inference<E> || ...);
template <class A, class B, bool TransposedA, bool TransposedB, class Configuration>
inline constexpr bool holds_inference<contraction<A, B, TransposedA, TransposedB, Configuration>> =
    holds_inference<A> || holds_inference<B>;

template <class T, int Rank>
inference_tensor<T, Rank> as_inference(const tensor<T, Rank>& t) {
  return inference_tensor<T, Rank>(t);
}
template <class T, int Rank>
inference_tensor<T, Rank> as_inference(const variable<T, Rank>& v) {
  return inference_tensor<T, Rank>(v.value());
}

/// Results within inference stay marked; other results are passed on.
template <class R>
auto inference_result(R&& result) {
  using plain = std::remove_cvref_t<R>;
  if constexpr (requires { as_inference(result); }) {
    return as_inference(result);
  } else if constexpr (expression<plain>) {
    if constexpr (holds_inference<plain>) {
      return static_cast<plain>(static_cast<R&&>(result));
    } else {
      return as_inference(evaluate(result));
    }
  } else {
    return plain(static_cast<R&&>(result));
  }
}

/// What a module's forward is given for an expression: its value. Other things are passed on.
template <class X>
requires(!expression<X>) const X& evaluated_input(const X& x) { return x; }
template <class X>
requires expression<X>
auto evaluated_input(const X& x) {
  if constexpr (requires { x.variable(); }) {
    return x.variable();
  } else if constexpr (
      requires { x.place(); } || requires { x.storage(); }) {
    return x;
  } else if constexpr (requires { x.value().storage(); }) {
    return x.value();
  } else if constexpr (holds_inference<X>) {
    return as_inference(evaluate(x));
  } else {
    return evaluate(x);
  }
}

template <class X>
auto moved_input(const X& x, device where) {
  if constexpr (holds_inference<X>) {
    return as_inference(x.to(where));
  } else {
    return to(x, where);
  }
}

/// Where an evaluated input is; nowhere for things that are no tensors.
template <class X>
bool find_device(const X& x, device& found) {
  if constexpr (requires {
                  x.defined();
                  x.device();
                }) {
    if (!x.defined()) return false;
    found = x.device();
    return true;
  } else {
    return false;
  }
}

}  // namespace detail
}  // namespace heddle::inline v0
