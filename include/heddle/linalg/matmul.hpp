// SPDX-License-Identifier: BSD-3-Clause
// matmul: products of matrices, batches of them and vectors, as expressions that are computed by one
// library call.
#pragma once

#include <heddle/exec/evaluate.hpp>
#include <heddle/linalg/onednn.hpp>
#include <heddle/linalg/portable.hpp>
#include <heddle/linalg/product.hpp>

namespace heddle::inline v0 {

namespace linalg::detail {

/// Whether products of T go to oneDNN in this configuration. OpenMP's run-time library reports false
/// races under ThreadSanitizer: heddle's own loop serves there.
template <class T, class Configuration>
inline constexpr bool by_onednn =
    (std::is_same_v<T, float> || std::is_same_v<T, bfloat16>)&&Configuration::has(
        configuration_bits::onednn) &&
    !Configuration::has(configuration_bits::portable_gemm) &&
    !Configuration::has(configuration_bits::thread_sanitizer);

/// Whether anything computes products of T. heddle's own loop is meant for f64, f16 and integers, which
/// oneDNN does not multiply; it stands in for the library only where asked to.
template <class T, class Configuration>
inline constexpr bool has_host_gemm =
    !(std::is_same_v<T, float> || std::is_same_v<T, bfloat16>) ||
    Configuration::has(configuration_bits::onednn) ||
    Configuration::has(configuration_bits::portable_gemm);

/// Computes a product into c, contiguous, in the caller.
template <class T, class Configuration>
void run_product(const product& p, const T* a, const T* b, T* c) {
  const std::int64_t count = p.batches() * p.m * p.n;
  if (count == 0) return;
  if (p.k == 0) {
    for (std::int64_t i = 0; i < count; ++i) c[i] = static_cast<T>(0);
    return;
  }
#if defined(HEDDLE_WITH_ONEDNN)
  if constexpr (by_onednn<T, Configuration>) {
    if constexpr (std::is_same_v<T, float>) {
      onednn::multiply<Configuration>(p, a, b, c);
      return;
    } else if (onednn::multiply<Configuration>(p, a, b, c)) {
      return;
    }
  }
#endif
  portable::multiply<T, Configuration>(p, a, b, c);
}

template <class T, int Rank>
operand_shape shape_of(const tensor<T, Rank>& t) {
  return {t.extents().data(), t.strides().data(), Rank};
}

constexpr int result_rank(int a, int b) noexcept {
  return a == 1 ? (b == 1 ? 0 : b - 1) : b == 1 ? a - 1 : a > b ? a : b;
}

[[noreturn]] HEDDLE_COLD inline void raise_devices(device a, device b) {
  raise<device_error>("heddle::matmul: the operands are on different devices: ", a, " and ", b,
                      "; move one with to(device)");
}
[[noreturn]] HEDDLE_COLD inline void raise_no_backend(device where) {
  raise<device_error>("heddle::matmul: no matrix product is compiled for ", where,
                      "; this build runs on host devices");
}

/// The product of two tensors: one launch.
template <class Configuration, class T, int RankA, int RankB>
tensor<T, result_rank(RankA, RankB)> multiply_tensors(tensor<T, RankA> a, tensor<T, RankB> b) {
  constexpr int rank = result_rank(RankA, RankB);
  using result = tensor<T, rank>;
  const device where = a.device();
  if (where != b.device()) raise_devices(where, b.device());
  index_array<rank> extents;
  product p = make_product(shape_of(a), shape_of(b), extents.data());
  result made = result::allocate(extents, where);
  if (where.is_meta()) return made;
  if (!where.is_host()) raise_no_backend(where);
  if constexpr (by_onednn<T, Configuration>) {
    const bool a_direct = layout_of(p.a, p.m, p.k).direct;
    const bool b_direct = layout_of(p.b, p.k, p.n).direct;
    if (!a_direct || !b_direct) {
      if (!a_direct) a = a.clone();
      if (!b_direct) b = b.clone();
      p = make_product(shape_of(a), shape_of(b), extents.data());
    }
  }
  heddle::detail::record_launch([&] {
    launch_record record;
    record.name = "matmul";
    record.kernels = 1;
    record.bytes = (a.size() + b.size() + made.size()) * static_cast<std::int64_t>(sizeof(T));
    record.operations = p.operations();
    record.device = where;
    return record;
  });
  if (where.is_inline()) {
    run_product<T, Configuration>(p, a.data(), b.data(), made.data());
    return made;
  }
  struct task {
    product p;
    const T* a;
    const T* b;
    T* c;
    handle<storage> alive[3];
    void operator()() { run_product<T, Configuration>(p, a, b, c); }
  };
  current_stream(where).enqueue(
      task{p, a.data(), b.data(), made.data(), {a.storage(), b.storage(), made.storage()}});
  return made;
}

/// Whether E is a leaf: a tensor or variable, not something to evaluate.
template <class E>
inline constexpr bool is_leaf =
    !requires(heddle::detail::tracer& t) { E::trace(t); } && !requires(const E& e) { e.compute(); };

template <class T, int Rank>
tensor<T, Rank> as_leaf(const tensor<T, Rank>& t) {
  return t;
}
template <class E>
auto as_leaf(const E& e) {
  if constexpr (is_leaf<E>) {
    return e;
  } else {
    return evaluate(e);
  }
}
template <class T, int Rank>
tensor<T, Rank> as_leaf(const indexed_view<T, Rank>& t) {
  return t;
}

template <class A, class B>
inline constexpr bool any_variable =
    heddle::detail::holds_variable<A> || heddle::detail::holds_variable<B>;

template <bool Marked>
struct variable_mark {};
template <>
struct variable_mark<true> {
  static constexpr bool is_variable = true;
};

}  // namespace linalg::detail

namespace detail {

/// The product where an operand is a variable; autograd/matmul.hpp defines it.
template <class Configuration, class A, class B>
auto recorded_matmul(const A& a, const B& b);

}  // namespace detail

/// A product of two leaves, to be computed once, by a library call: moved, never copied. Within a larger
/// expression it is an operand, computed when that is evaluated.
template <class A, class B, class Configuration = configuration>
class [[nodiscard]] contraction
    : public linalg::detail::variable_mark<linalg::detail::any_variable<A, B>> {
 public:
  using expression_tag = void;
  static constexpr int rank = linalg::detail::result_rank(A::rank, B::rank);
  static constexpr dtype type = A::type;

  contraction(A a, B b) : a_(static_cast<A&&>(a)), b_(static_cast<B&&>(b)) {}
  contraction(contraction&&) = default;
  contraction& operator=(contraction&&) = default;
  contraction(const contraction& other) {
    static_assert(sizeof(A) == 0,
                  "heddle: this expression holds a contraction and would compute it twice: store it "
                  "first, tensor h = matmul(…)");
  }

  /// The product: a tensor, or a variable where an operand is one.
  auto compute() const {
    if constexpr (linalg::detail::any_variable<A, B>) {
      return detail::recorded_matmul<Configuration>(a_, b_);
    } else {
      return linalg::detail::multiply_tensors<Configuration>(a_, b_);
    }
  }
  template <class Visitor>
  void visit(Visitor& v) const {
    result_ = compute();
    v.leaf(result_);
  }

 private:
  A a_;
  B b_;
  mutable decltype(std::declval<const contraction&>().compute()) result_;
};

/// The matrix product of a (…, M, K) and b (…, K, N), as torch.matmul: (…, M, N). Leading axes are
/// broadcast; a vector on the left is a row, on the right a column, and its axis is missing in the
/// result, so that (K) x (K) has rank 0. Both of one dtype: f64, f32, bf16 and f16 (both summed in f32
/// and rounded once), i64, i32 or u8 (wrapping around). Transposed operands are not copied. Operands that
/// are expressions are evaluated first; with a variable among them the product is one.
///
/// Returns an expression: `tensor h = matmul(x, w)`, or part of a larger one, `relu(matmul(x, w) + b)`.
/// On evaluation it throws shape_error where extents do not fit, device_error, out_of_memory.
template <class A, class B, class Configuration = configuration>
  requires expression<std::remove_cvref_t<A>> && expression<std::remove_cvref_t<B>>
auto matmul(A&& a, B&& b) {
  using left = std::remove_cvref_t<A>;
  using right = std::remove_cvref_t<B>;
  constexpr bool ranks = left::rank > 0 && right::rank > 0;
  constexpr bool types = left::type == right::type;
  constexpr bool numbers = left::type != dtype::boolean;
  constexpr bool backend = linalg::detail::has_host_gemm<type_of<left::type>, Configuration>;
  static_assert(ranks,
                "heddle::matmul: an operand has rank 0; vectors and matrices are multiplied, write a * b "
                "for scalars");
  static_assert(types, "heddle::matmul: the operands' dtypes differ; write cast<T>(…)");
  static_assert(numbers, "heddle::matmul: the operands are bool; write cast<T>(…)");
  static_assert(backend,
                "heddle::matmul: no host GEMM is linked: link heddle::host (oneDNN), or define "
                "HEDDLE_PORTABLE_GEMM to use heddle's own plain loop");
  if constexpr (ranks && types && numbers && backend) {
    using first = decltype(linalg::detail::as_leaf(a));
    using second = decltype(linalg::detail::as_leaf(b));
    return contraction<first, second, Configuration>(linalg::detail::as_leaf(a),
                                                     linalg::detail::as_leaf(b));
  }
}

}  // namespace heddle::inline v0
