// SPDX-License-Identifier: BSD-3-Clause
// The functions of neural networks as plain definitions: each is one program, forward and backward.
// They take tensors, variables, expressions, and symbols within traced lambdas.
#pragma once

#include <heddle/exec/evaluate.hpp>
#include <heddle/linalg/epilogue.hpp>
#include <heddle/linalg/matmul.hpp>

namespace heddle::inline v0 {

namespace detail {

struct silu_function {
  constexpr symbol operator()(const symbol& x) const { return x * sigmoid(x); }
};
struct gelu_function {
  constexpr symbol operator()(const symbol& x) const {
    return 0.5 * x * (1 + erf(x * 0.70710678118654752440));  // 1 / sqrt(2)
  }
};
// The maximum only keeps exp in range: the result does not depend on it, and so neither does the
// gradient.
template <int Axis>
struct softmax_function {
  constexpr symbol operator()(const symbol& x) const {
    const symbol e = exp(x - detach(amax<Axis>(x, keepdim)));
    return e / sum<Axis>(e, keepdim);
  }
};
template <int Axis>
struct log_softmax_function {
  constexpr symbol operator()(const symbol& x) const {
    const symbol shifted = x - detach(amax<Axis>(x, keepdim));
    return shifted - log(sum<Axis>(exp(shifted), keepdim));
  }
};
struct layer_norm_function {
  constexpr symbol operator()(const symbol& x, const symbol& gamma, const symbol& beta,
                              const symbol& eps) const {
    const symbol centered = x - mean<-1>(x, keepdim);
    const symbol variance = mean<-1>(square(centered), keepdim);
    return centered * rsqrt(variance + eps) * gamma + beta;
  }
};
struct dropout_function {
  constexpr symbol operator()(const symbol& x, const symbol& p, const symbol& scale,
                              const symbol& seed, const symbol& offset) const {
    return where(uniform_like(x, seed, offset) < p, 0, x * scale);
  }
};

}  // namespace detail

/// How a loss is reduced over its elements.
enum class reduction { none, mean, sum };

/// Which gelu: the exact one (erf), or the approximation by tanh.
enum class approximate { none, tanh };

namespace detail {

template <reduction R>
constexpr symbol reduced(const symbol& loss) {
  if constexpr (R == reduction::mean) {
    return mean(loss);
  } else if constexpr (R == reduction::sum) {
    return sum(loss);
  } else {
    return loss;
  }
}
/// Of each row the element at its target; not a number where the target is none of the classes.
constexpr symbol picked(const symbol& x, const symbol& target) {
  const symbol found = sum<-1>(where(iota<-1>(x) == unsqueeze<-1>(target), x, 0));
  return where(target >= 0 && target < count<-1>(x), found, __builtin_nan(""));
}

template <reduction R>
struct cross_entropy_function {
  constexpr symbol operator()(const symbol& logits, const symbol& target) const {
    const symbol shifted = logits - detach(amax<-1>(logits, keepdim));
    return reduced<R>(log(sum<-1>(exp(shifted))) - picked(shifted, target));
  }
};
template <reduction R>
struct nll_loss_function {
  constexpr symbol operator()(const symbol& log_probabilities, const symbol& target) const {
    return reduced<R>(-picked(log_probabilities, target));
  }
};
template <reduction R>
struct mse_loss_function {
  constexpr symbol operator()(const symbol& x, const symbol& target) const {
    return reduced<R>(square(x - target));
  }
};
template <reduction R>
struct l1_loss_function {
  constexpr symbol operator()(const symbol& x, const symbol& target) const {
    return reduced<R>(abs(x - target));
  }
};
template <reduction R>
struct smooth_l1_loss_function {
  constexpr symbol operator()(const symbol& x, const symbol& target, const symbol& beta) const {
    // Without branches, whose derivatives are all computed: 0 · inf of one not taken is no number.
    const symbol d = abs(x - target);
    const symbol quadratic = minimum(d, beta);
    const symbol scale = where(beta > 0, beta, 1);  // beta = 0 leaves |x - target|
    return reduced<R>(0.5 * quadratic * quadratic / scale + (d - quadratic));
  }
};
template <reduction R>
struct huber_loss_function {
  constexpr symbol operator()(const symbol& x, const symbol& target, const symbol& delta) const {
    const symbol d = abs(x - target);
    const symbol quadratic = minimum(d, delta);
    return reduced<R>(0.5 * quadratic * quadratic + delta * (d - quadratic));
  }
};

template <class X>
constexpr bool is_symbol = std::is_same_v<std::remove_cvref_t<X>, symbol>;

[[noreturn]] HEDDLE_COLD inline void raise_target(const char* function, const std::string& x,
                                                  const std::string& target) {
  raise<shape_error>("heddle::", function, ": the targets are not one class a row: ", target,
                     " for rows of ", x, "; (N, C) and (N) are expected");
}
/// Where both are stored their extents are known now, and a single target is no broadcast.
template <class X, class Y>
constexpr void check_target([[maybe_unused]] const char* function, [[maybe_unused]] const X& x,
                            [[maybe_unused]] const Y& target) {
  if constexpr (!is_symbol<X> && !is_symbol<Y>) {
    static_assert(
        X::rank == 2 && Y::rank == 1,
        "heddle::cross_entropy, nll_loss: the operands are (N, C) and targets (N): ranks 2 "
        "and 1");
    static_assert(is_integral(Y::type),
                  "heddle::cross_entropy, nll_loss: the targets are not integers: classes are 0 to "
                  "C - 1, std::int64_t");
    if constexpr (requires {
                    x.extents().data();
                    target.extents().data();
                  }) {
      if (x.extents()[0] != target.extents()[0]) {
        raise_target(function, to_string(x.extents()), to_string(target.extents()));
      }
    }
  }
}
template <class X, class Y>
constexpr void check_same([[maybe_unused]] const char* function, [[maybe_unused]] const X& x,
                          [[maybe_unused]] const Y& target) {
  if constexpr (!is_symbol<X> && !is_symbol<Y>) {
    static_assert(X::rank == Y::rank,
                  "heddle: a loss of two tensors: their ranks differ, and would be broadcast");
    if constexpr (requires {
                    x.extents().data();
                    target.extents().data();
                  }) {
      if (x.extents() != target.extents()) {
        raise<shape_error>("heddle::", function, ": the extents differ: ", x.extents(), " and ",
                           target.extents(), "; both are expected to be the same");
      }
    }
  }
}

}  // namespace detail

/// max(x, 0). Its gradient at 0 is 0; not-a-number stays.
inline constexpr fused_function<detail::relu_function> relu{};
/// x sigmoid(x) (Elfwing, Uchibe, Doya 2018).
inline constexpr fused_function<detail::silu_function> silu{};
/// exp(x) / sum(exp(x)) along Axis.
template <int Axis>
inline constexpr fused_function<detail::softmax_function<Axis>> softmax{};
/// log(softmax<Axis>(x)), without its rounding to 0.
template <int Axis>
inline constexpr fused_function<detail::log_softmax_function<Axis>> log_softmax{};

/// x Φ(x) (Hendrycks and Gimpel 2016): exact, by erf; `gelu<approximate::tanh>(x)` is the
/// approximation that libraries' fused gelu is, 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).
template <approximate A = approximate::none, class X>
[[nodiscard]] constexpr auto gelu(X&& x) {
  if constexpr (A == approximate::tanh) {
    return fused_function<detail::gelu_tanh_function>{}(static_cast<X&&>(x));
  } else {
    return fused_function<detail::gelu_function>{}(static_cast<X&&>(x));
  }
}

/// (x - mean) / √(variance + eps) · gamma + beta over the last axis (Ba, Kiros, Hinton 2016); the
/// variance is the biased one. x (…, C), gamma and beta (C). eps is PyTorch's by default.
template <class X, class Gamma, class Beta, class Eps = double>
[[nodiscard]] constexpr auto layer_norm(X&& x, Gamma&& gamma, Beta&& beta, Eps eps = 1e-5) {
  return fused_function<detail::layer_norm_function>{}(
      static_cast<X&&>(x), static_cast<Gamma&&>(gamma), static_cast<Beta&&>(beta), eps);
}

/// Zero with probability p, otherwise x / (1 - p), drawn for this use: no mask is stored, the
/// backward draws the same numbers again. An expression; `dropout(x, p, generator)` takes the next
/// use of one. Throws value_error unless 0 <= p <= 1.
template <class X>
[[nodiscard]] auto dropout(X&& x, double p, random_state use) {
  if (!(p >= 0 && p <= 1)) {
    raise<value_error>("heddle::dropout: p is no probability: ", p, "; it is 0 to 1");
  }
  const random_state key = use.as_key();  // counters of the program are rows and elements
  const double scale = p < 1 ? 1 / (1 - p) : 0;
  return fused_function<detail::dropout_function>{}(static_cast<X&&>(x), p, scale,
                                                    static_cast<std::int64_t>(key.seed),
                                                    static_cast<std::int64_t>(key.offset));
}
template <class X>
[[nodiscard]] auto dropout(X&& x, double p, generator& from = default_generator()) {
  return dropout(static_cast<X&&>(x), p, from.next());
}

/// x wᵀ + b: x (…, in), w (out, in), b (out). A product and what is around it: an expression that
/// holds a contraction, used once. Throws shape_error.
template <class X, class W, class B>
[[nodiscard]] auto linear(const X& x, const W& w, const B& b) {
  return matmul(x, transposed(w)) + b;
}
template <class X, class W>
[[nodiscard]] auto linear(const X& x, const W& w) {
  return matmul(x, transposed(w));
}

/// -log softmax(logits)[target], by mean over the rows (PyTorch's default), sum or each. logits (N,
/// C), target (N) of integers 0 to C - 1; any other target makes the loss not-a-number. One
/// program. Throws shape_error.
template <reduction R = reduction::mean, class X, class Y>
[[nodiscard]] constexpr auto cross_entropy(X&& logits, Y&& target) {
  detail::check_target("cross_entropy", logits, target);
  return fused_function<detail::cross_entropy_function<R>>{}(static_cast<X&&>(logits),
                                                             static_cast<Y&&>(target));
}
/// -x[target] of log-probabilities x (N, C), targets as for cross_entropy.
template <reduction R = reduction::mean, class X, class Y>
[[nodiscard]] constexpr auto nll_loss(X&& log_probabilities, Y&& target) {
  detail::check_target("nll_loss", log_probabilities, target);
  return fused_function<detail::nll_loss_function<R>>{}(static_cast<X&&>(log_probabilities),
                                                        static_cast<Y&&>(target));
}
/// (x - target)². Extents are to be the same: a loss does not broadcast.
template <reduction R = reduction::mean, class X, class Y>
[[nodiscard]] constexpr auto mse_loss(X&& x, Y&& target) {
  detail::check_same("mse_loss", x, target);
  return fused_function<detail::mse_loss_function<R>>{}(static_cast<X&&>(x),
                                                        static_cast<Y&&>(target));
}
/// |x - target|.
template <reduction R = reduction::mean, class X, class Y>
[[nodiscard]] constexpr auto l1_loss(X&& x, Y&& target) {
  detail::check_same("l1_loss", x, target);
  return fused_function<detail::l1_loss_function<R>>{}(static_cast<X&&>(x),
                                                       static_cast<Y&&>(target));
}
/// d² / (2 beta) where d = |x - target| < beta, otherwise d - beta / 2 (Girshick 2015); with beta
/// 0, l1_loss.
template <reduction R = reduction::mean, class X, class Y, class Beta = double>
[[nodiscard]] constexpr auto smooth_l1_loss(X&& x, Y&& target, Beta beta = 1.0) {
  detail::check_same("smooth_l1_loss", x, target);
  return fused_function<detail::smooth_l1_loss_function<R>>{}(static_cast<X&&>(x),
                                                              static_cast<Y&&>(target), beta);
}
/// d² / 2 where d = |x - target| <= delta, otherwise delta (d - delta / 2)  (Huber 1964).
template <reduction R = reduction::mean, class X, class Y, class Delta = double>
[[nodiscard]] constexpr auto huber_loss(X&& x, Y&& target, Delta delta = 1.0) {
  detail::check_same("huber_loss", x, target);
  return fused_function<detail::huber_loss_function<R>>{}(static_cast<X&&>(x),
                                                          static_cast<Y&&>(target), delta);
}

}  // namespace heddle::inline v0
