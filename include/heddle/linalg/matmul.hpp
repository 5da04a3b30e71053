// SPDX-License-Identifier: BSD-3-Clause
// matmul: products of matrices, batches of them and vectors, as expressions that are computed by
// one library call.
#pragma once

#include <heddle/exec/evaluate.hpp>
#include <heddle/linalg/backend.hpp>
#include <heddle/linalg/gemv.hpp>
#include <heddle/linalg/onednn.hpp>
#include <heddle/linalg/portable.hpp>
#include <heddle/linalg/product.hpp>

namespace heddle::inline v0 {

namespace linalg::detail {

/// Whether products of T go to oneDNN in this configuration. OpenMP's run-time library reports
/// false races under ThreadSanitizer: heddle's own loop serves there.
template <class T, class Configuration>
inline constexpr bool by_onednn =
    (std::is_same_v<T, float> ||
     std::is_same_v<T, bfloat16>)&&Configuration::has(configuration_bits::onednn) &&
    !Configuration::has(configuration_bits::portable_gemm) &&
    !Configuration::has(configuration_bits::thread_sanitizer);

/// Whether anything computes products of T. heddle's own loop is meant for f64, f16 and integers,
/// which oneDNN does not multiply; it stands in for the library only where asked to.
template <class T, class Configuration>
inline constexpr bool has_host_gemm = !(std::is_same_v<T, float> || std::is_same_v<T, bfloat16>) ||
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
      if (portable::is_outer(p)) {
        portable::outer<T, Configuration>(p, a, b, c);
        return;
      }
      if (is_gemv(p)) {
        gemv<T, Configuration>(p, a, b, c);
        return;
      }
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

/// An operand's memory.
template <class T>
struct elements {
  handle<storage> memory;
  T* data = nullptr;
};

/// Replaces an operand whose matrices no library takes as they lie by a dense copy.
template <class T>
HEDDLE_COLD void make_dense(const product& p, matrix& x, elements<const T>& from, std::int64_t rows,
                            std::int64_t columns, device where) {
  const int rank = p.batch_rank + 2;  // at most the operand's
  std::int64_t extents[max_rank], strides[max_rank], dense[max_rank];
  for (int i = 0; i < p.batch_rank; ++i) {
    extents[i] = x.batch[i] == 0 ? 1 : p.batch_extents[i];
    strides[i] = x.batch[i];
  }
  extents[rank - 2] = rows;
  extents[rank - 1] = columns;
  strides[rank - 2] = x.row;
  strides[rank - 1] = x.column;
  std::int64_t count = 1;
  for (int i = rank - 1; i >= 0; --i) {
    dense[i] = count;
    count *= extents[i];
  }
  handle<storage> copy = storage::allocate(static_cast<std::size_t>(count) * sizeof(T), where);
  T* const data = reinterpret_cast<T*>(copy->data());
  const heddle::detail::element_range to{copy, data, dense};
  const heddle::detail::element_range source{from.memory, const_cast<T*>(from.data), strides};
  heddle::detail::copy_elements(to, source, extents, rank, sizeof(T));
  for (int i = 0; i < p.batch_rank; ++i) x.batch[i] = extents[i] == 1 ? 0 : dense[i];
  x.row = columns;
  x.column = 1;
  from.data = data;
  from.memory = static_cast<handle<storage>&&>(copy);
}

/// Operands as libraries take them.
template <class T>
void make_direct(product& p, elements<const T>& a, elements<const T>& b, device where) {
  if (!layout_of(p.a, p.m, p.k).direct) make_dense(p, p.a, a, p.m, p.k, where);
  if (!layout_of(p.b, p.k, p.n).direct) make_dense(p, p.b, b, p.k, p.n, where);
}

HEDDLE_COLD inline void record_product(const char* name, const product& p, std::int64_t bytes,
                                       device where) {
  heddle::detail::record_launch([&] {
    launch_record record;
    record.name = name;
    record.kernels = 1;
    record.bytes = bytes;
    record.operations = p.operations();
    record.device = where;
    return record;
  });
}

/// False where the library has no such epilogue, and nothing has been done.
template <class T>
bool launch_on_cuda(product& p, elements<const T> a, elements<const T> b, const elements<T>& c,
                    const product_epilogue& epilogue, std::int64_t bytes, device where) {
  const auto run = cuda_product_in_place.load(std::memory_order_acquire);
  if (run == nullptr) {
    raise<device_error>("heddle::matmul: no matrix product is linked for ", where,
                        "; link heddle::cuda, which brings cuBLASLt");
  }
  if constexpr (!is_floating(dtype_of<T>)) {
    raise<type_error>("heddle::matmul: products of ", dtype_of<T>,
                      " are computed on the host, not on ", where,
                      "; move the operands to cpu(), or cast them to f64");
  }
  make_direct(p, a, b, where);
  const auto bytes_of = [](const T* at) {
    return reinterpret_cast<std::byte*>(const_cast<T*>(at));
  };
  if (!run(dtype_of<T>, p, {a.memory.get(), bytes_of(a.data)}, {b.memory.get(), bytes_of(b.data)},
           {c.memory.get(), bytes_of(c.data)}, epilogue, where)) {
    return false;
  }
  const bool plain = epilogue.what == product_epilogue::task::none;
  record_product(plain ? "matmul" : "matmul with epilogue", p, bytes, where);
  return true;
}

/// One launch of a product on the device of its operands; `bytes` is what the profiler is told.
template <class T, class Configuration>
void launch_product(product& p, elements<const T> a, elements<const T> b, elements<T> c,
                    std::int64_t bytes, device where) {
  if (where.is_meta()) return;
  if (where.is_cuda()) {
    static_cast<void>(launch_on_cuda<T>(p, std::move(a), std::move(b), c, {}, bytes, where));
    return;
  }
  if constexpr (by_onednn<T, Configuration>) {
    make_direct(p, a, b, where);
  }
  record_product("matmul", p, bytes, where);
  if (where.is_inline()) {
    run_product<T, Configuration>(p, a.data, b.data, c.data);
    return;
  }
  struct task {
    product p;
    elements<const T> a, b;
    elements<T> c;
    void operator()() { run_product<T, Configuration>(p, a.data, b.data, c.data); }
  };
  current_stream(where).enqueue(task{p, std::move(a), std::move(b), std::move(c)});
}
#if defined(HEDDLE_WITH_ONEDNN) || defined(HEDDLE_PORTABLE_GEMM)
HEDDLE_ONCE(void launch_product<float, configuration>(product&, elements<const float>,
                                                      elements<const float>, elements<float>,
                                                      std::int64_t, device));
#endif

template <class T, int Rank>
elements<const T> elements_of(const tensor<T, Rank>& t) {
  return {t.storage(), t.data()};
}

/// The product of two tensors.
template <class Configuration, class T, int RankA, int RankB>
tensor<T, result_rank(RankA, RankB)> multiply_tensors(const tensor<T, RankA>& a,
                                                      const tensor<T, RankB>& b) {
  constexpr int rank = result_rank(RankA, RankB);
  const device where = a.device();
  if (where != b.device()) raise_devices(where, b.device());
  index_array<rank> extents;
  product p = make_product(shape_of(a), shape_of(b), extents.data());
  tensor<T, rank> made = tensor<T, rank>::allocate(extents, where);
  const std::int64_t count = a.size() + b.size() + made.size();
  launch_product<T, Configuration>(p, elements_of(a), elements_of(b), {made.storage(), made.data()},
                                   count * static_cast<std::int64_t>(sizeof(T)), where);
  return made;
}

/// Whether E is a leaf: a tensor or variable, not something to evaluate.
template <class E>
inline constexpr bool is_leaf = !requires(heddle::detail::tracer & t) {
  E::trace(t);
}
&&!requires(const E& e) { e.compute(); };

template <class T, int Rank>
tensor<T, Rank> as_leaf(const tensor<T, Rank>& t) {
  return t;
}
template <class E>
auto as_leaf(const E& e) {
  if constexpr (is_leaf<E>) {
    return e;
  } else {
    return heddle::detail::evaluate_in<configuration>(e);
  }
}
template <class T, int Rank>
tensor<T, Rank> as_leaf(const indexed_view<T, Rank>& t) {
  return t;
}

/// What `transposed` returns: a leaf of matmul.
template <class E>
struct transposed_operand {
  E leaf;
};

/// An argument of matmul: its leaf, and whether it is to be transposed.
template <class X>
struct argument {
  static constexpr bool is_transposed = false;
  static constexpr bool valid = expression<X>;
  using expression_type = X;
  static auto leaf(const X& x) { return as_leaf(x); }
};
template <class E>
struct argument<transposed_operand<E>> {
  static constexpr bool is_transposed = true;
  static constexpr bool valid = true;
  using expression_type = E;
  static E leaf(const transposed_operand<E>& x) { return x.leaf; }
};

template <bool Transposed, class T, int Rank>
tensor<T, Rank> oriented(const tensor<T, Rank>& t) {
  if constexpr (Transposed) {
    return t.transpose();
  } else {
    return t;
  }
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
template <class Configuration, bool TransposedA, bool TransposedB, class A, class B>
auto recorded_matmul(const A& a, const B& b);

}  // namespace detail

namespace linalg::detail {

template <class A, class B, bool TransposedA, bool TransposedB, class Configuration,
          bool Recorded = any_variable<A, B>>
struct product_of_leaves {
  using type = tensor<type_of<A::type>, result_rank(A::rank, B::rank)>;
  static type compute(const A& a, const B& b) {
    return multiply_tensors<Configuration>(oriented<TransposedA>(a), oriented<TransposedB>(b));
  }
};
template <class A, class B, bool TransposedA, bool TransposedB, class Configuration>
struct product_of_leaves<A, B, TransposedA, TransposedB, Configuration, true> {
  using type = decltype(heddle::detail::recorded_matmul<Configuration, TransposedA, TransposedB>(
      std::declval<const A&>(), std::declval<const B&>()));
  static type compute(const A& a, const B& b) {
    return heddle::detail::recorded_matmul<Configuration, TransposedA, TransposedB>(a, b);
  }
};

}  // namespace linalg::detail

/// A product of two leaves, to be computed once, by a library call: moved, never copied. Within a
/// larger expression it is an operand, computed when that is evaluated.
template <class A, class B, bool TransposedA, bool TransposedB, class Configuration>
class [[nodiscard]] contraction
    : public linalg::detail::variable_mark<linalg::detail::any_variable<A, B>> {
  using product = linalg::detail::product_of_leaves<A, B, TransposedA, TransposedB, Configuration>;

 public:
  using expression_tag = void;
  static constexpr bool is_product = true;
  /// Whether an operand's last two axes are exchanged in the product.
  static constexpr bool transposed_left = TransposedA;
  /// See transposed_left.
  static constexpr bool transposed_right = TransposedB;
  static constexpr int rank = linalg::detail::result_rank(A::rank, B::rank);
  static constexpr dtype type = A::type;

  contraction(A a, B b) : a_(static_cast<A&&>(a)), b_(static_cast<B&&>(b)) {}
  contraction(contraction&&) = default;
  contraction& operator=(contraction&&) = default;
  contraction(const contraction&) {
    static_assert(
        sizeof(A) == 0,
        "heddle: this expression holds a contraction and would compute it twice: store it "
        "first, tensor h = matmul(...)");
  }

  /// The product: a tensor, or a variable where an operand is one.
  typename product::type compute() const { return product::compute(a_, b_); }
  /// Its operands, as they lie.
  const A& left() const noexcept { return a_; }
  const B& right() const noexcept { return b_; }  ///< see left
  /// Computes the product, which is the leaf; unless the visitor takes products as they are.
  template <class Visitor>
  void visit(Visitor& v) const {
    if constexpr (requires { v.product(*this); }) {
      v.product(*this);
    } else {
      result_ = compute();
      v.leaf(result_);
    }
  }

 private:
  A a_;
  B b_;
  mutable typename product::type result_;
};

/// An operand for matmul, its last two axes exchanged: `matmul(x, transposed(w))` with w (N, K).
/// Nothing is copied, and the gradient of a variable is computed as w lies.
template <class E>
requires expression<E>
auto transposed(const E& e) {
  static_assert(E::rank >= 2, "heddle::transposed: the operand has fewer than two axes");
  return linalg::detail::transposed_operand<decltype(linalg::detail::as_leaf(e))>{
      linalg::detail::as_leaf(e)};
}

/// The matrix product of a (…, M, K) and b (…, K, N), as torch.matmul: (…, M, N). Leading axes are
/// broadcast; a vector on the left is a row, on the right a column, and its axis is missing in the
/// result, so that (K) x (K) has rank 0. Both of one dtype: f64, f32, bf16 and f16 (both summed in
/// f32 and rounded once), i64, i32 or u8 (wrapping around). Transposed operands are not copied.
/// Operands that are expressions are evaluated first; with a variable among them the product is
/// one.
///
/// Returns an expression: `tensor h = matmul(x, w)`, or part of a larger one, `relu(matmul(x, w) +
/// b)`. On evaluation it throws shape_error where extents do not fit, device_error, out_of_memory.
template <class A, class B, class Configuration = configuration>
requires(linalg::detail::argument<A>::valid&& linalg::detail::argument<B>::valid) auto matmul(
    const A& a, const B& b) {
  using left = linalg::detail::argument<A>;
  using right = linalg::detail::argument<B>;
  using first = typename left::expression_type;
  using second = typename right::expression_type;
  constexpr bool ranks = first::rank > 0 && second::rank > 0;
  constexpr bool types = first::type == second::type;
  constexpr bool numbers = first::type != dtype::boolean;
  constexpr bool backend = linalg::detail::has_host_gemm<type_of<first::type>, Configuration>;
  static_assert(
      ranks,
      "heddle::matmul: an operand has rank 0; vectors and matrices are multiplied, write a * b "
      "for scalars");
  static_assert(types, "heddle::matmul: the operands' dtypes differ; write cast<T>(...)");
  static_assert(numbers, "heddle::matmul: the operands are bool; write cast<T>(...)");
  static_assert(backend,
                "heddle::matmul: no host GEMM is linked: link heddle::host (oneDNN), or define "
                "HEDDLE_PORTABLE_GEMM to use heddle's own plain loop");
  if constexpr (ranks && types && numbers && backend) {
    return contraction<decltype(left::leaf(a)), decltype(right::leaf(b)), left::is_transposed,
                       right::is_transposed, Configuration>(left::leaf(a), right::leaf(b));
  }
}

}  // namespace heddle::inline v0

#include <heddle/linalg/epilogue.hpp>  // statements that hold a product

#if defined(__CUDACC__) && defined(HEDDLE_WITH_CUBLASLT)
#include <heddle/linalg/cuda/cublaslt.cuh>  // products on CUDA devices
#endif
