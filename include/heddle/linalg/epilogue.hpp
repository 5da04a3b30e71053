// SPDX-License-Identifier: BSD-3-Clause
// Statements that are one library call: a product, a bias and a function in which the content of
// the statement's program is one that the library computes while it writes the product.
#pragma once

#include <heddle/linalg/matmul.hpp>

namespace heddle::inline v0 {

namespace detail {

// The functions that libraries apply to a product, as heddle has them; nn/functional.hpp makes them
// relu and gelu<approximate::tanh>.
struct relu_function {
  constexpr symbol operator()(const symbol& x) const { return where(x <= 0, 0, x); }
};
struct gelu_tanh_function {
  constexpr symbol operator()(const symbol& x) const {
    // sqrt(2 / pi)
    return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * (x * x * x))));
  }
};

}  // namespace detail

namespace linalg::detail {

/// How a statement is one library call.
struct epilogue_match {
  bool found = false;
  product_function function = product_function::identity;
  int product = 0;  ///< operand slots
  int bias = -1;    ///< -1: none
};

/// f(product + bias), the product in slot `product` with `rank` axes, a bias of one axis in `bias`.
constexpr graph::graph epilogue_graph(const epilogue_match& m, dtype type, int rank) {
  heddle::detail::tracer t;
  symbol at[2];
  for (int slot = 0; slot < (m.bias < 0 ? 1 : 2); ++slot) {
    at[slot] = graph::trace_input(t.builder, slot, type, slot == m.product ? rank : 1);
  }
  symbol root = m.bias < 0 ? at[0] : at[0] + at[1];
  if (m.function == product_function::relu) root = heddle::detail::relu_function{}(root);
  if (m.function == product_function::gelu) root = heddle::detail::gelu_tanh_function{}(root);
  return graph::frame_statement(t.builder, &root, 1, t.roles).result;
}

constexpr bool same_nodes(const graph::list<graph::node>& a, const graph::list<graph::node>& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) same = a[i] == b[i];
  return same;
}

/// Which epilogue the statement is, by the content of its graph.
template <class Statement>
consteval epilogue_match find_epilogue() {
  constexpr int operands = Statement::operand_count;
  epilogue_match found;
  if (Statement::output_count != 1 || Statement::size.products != 1 || operands > 2 ||
      Statement::scalar_count != 0) {
    return found;
  }
  heddle::detail::tracer t;
  const graph::framed framed = Statement::trace(t);
  const bool first = t.products[0];
  const int product = first ? 0 : operands - 1;
  const dtype type = framed.result.nodes[framed.result.size() - 1].type;
  const int rank = t.ranks[static_cast<std::size_t>(product)];
  for (const product_function f :
       {product_function::identity, product_function::relu, product_function::gelu}) {
    const epilogue_match tried{true, f, product, operands == 2 ? 1 - product : -1};
    if (!found.found && is_floating(type) &&
        same_nodes(framed.result.nodes, epilogue_graph(tried, type, rank).nodes)) {
      found = tried;
    }
  }
  return found;
}
template <class Statement>
inline constexpr epilogue_match epilogue_of = find_epilogue<Statement>();

template <class X>
const auto& tensor_in(const X& x) {
  if constexpr (requires { x.value(); }) {
    return x.value();
  } else {
    return x;
  }
}

/// The operands of a statement that is a product with an epilogue, collected by a visit.
template <class T, int Rank>
class epilogue_operands {
 public:
  template <class L>
  void leaf(const L& l) {
    const auto& bias = tensor_in(l);
    has_bias_ = true;
    bias_ = elements_of(bias);
    bias_extent_ = bias.extents()[0];
    bias_stride_ = bias.strides()[0];
    if (bias.defined()) bias_device_ = bias.device();
  }
  template <class Product>
  void product(const Product& p) {
    const auto a = oriented<Product::transposed_left>(tensor_in(p.left()));
    const auto b = oriented<Product::transposed_right>(tensor_in(p.right()));
    // what does not fit is found, and said, where the product is computed by itself
    if constexpr (std::remove_cvref_t<decltype(b)>::rank >= 2) {
      if (!a.defined() || !b.defined() || a.device() != b.device()) return;
      where_ = a.device();
      if (!where_.is_cuda()) return;
      product_ = make_product(shape_of(a), shape_of(b), extents_.data());
      a_ = elements_of(a);
      b_ = elements_of(b);
      one_ = product_.batch_rank == 0 && product_.m > 0 && product_.n > 0 && product_.k > 0;
    }
  }

  /// Whether one call of a library can compute it, if the library has the epilogue.
  [[nodiscard]] bool fits() const {
    return one_ && (!has_bias_ || (bias_device_ == where_ && bias_extent_ == product_.n &&
                                   (bias_stride_ == 1 || bias_extent_ == 1)));
  }
  [[nodiscard]] const linalg::product& shape() const noexcept { return product_; }
  [[nodiscard]] device where() const noexcept { return where_; }

  /// Computes it, and writes into `aux`, if it has memory, what backward needs of it. False where
  /// the library has no such call.
  bool run(product_function function, tensor<T, Rank>& result, const product_operand& aux) {
    product_epilogue e{product_epilogue::task::forward, function, {}, aux};
    if (has_bias_) {
      e.bias = {bias_.memory.get(), reinterpret_cast<std::byte*>(const_cast<T*>(bias_.data))};
    }
    tensor<T, Rank> made = tensor<T, Rank>::allocate(extents_, where_);
    const linalg::product& p = product_;
    constexpr auto size = static_cast<std::int64_t>(sizeof(T));
    std::int64_t bytes = (p.m * p.k + p.k * p.n + p.m * p.n + (has_bias_ ? p.n : 0)) * size;
    if (aux.memory != nullptr) bytes += aux_bytes(function, p.m, p.n, size);
    linalg::product direct = p;
    if (!launch_on_cuda<T>(direct, a_, b_, {made.storage(), made.data()}, e, bytes, where_)) {
      return false;
    }
    result = static_cast<tensor<T, Rank>&&>(made);
    return true;
  }

 private:
  linalg::product product_;
  elements<const T> a_, b_, bias_;
  index_array<Rank> extents_{};
  device where_ = cpu();
  device bias_device_ = cpu();
  std::int64_t bias_extent_ = 0;
  std::int64_t bias_stride_ = 0;
  bool has_bias_ = false;
  bool one_ = false;
};

}  // namespace linalg::detail

namespace exec {

template <class Configuration, class Statement>
requires(Statement::size.products == 1 && Configuration::has(configuration_bits::cuda) &&
         linalg::detail::epilogue_of<Statement>.found) struct library_statement<Configuration,
                                                                                Statement> {
  static constexpr bool exists = true;

  /// False where it is to be computed as any statement.
  template <class T, int Rank, class E>
  static bool compute(tensor<T, Rank>& result, const E& e) {
    linalg::detail::epilogue_operands<T, Rank> found;
    e.visit(found);
    return found.fits() && found.run(linalg::detail::epilogue_of<Statement>.function, result, {});
  }
};

}  // namespace exec
}  // namespace heddle::inline v0
