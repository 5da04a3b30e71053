// SPDX-License-Identifier: BSD-3-Clause
// Products with an epilogue on the tape. The statement and its product keep nodes of their own, as
// where they are two launches, and so every order of derivatives; but backward's products do the
// statement's work where they can:
//   relu and gelu: the product of a later layer that makes the gradient of the result multiplies it
//     by the function's derivative, and sums it for the bias (tape_node::offer);
//   a bias alone: the product that makes the right operand's gradient sums it for the bias.
#pragma once

#include <heddle/autograd/matmul.hpp>
#include <heddle/linalg/epilogue.hpp>

namespace heddle::inline v0::detail {

/// The node of a statement that was one call with its product. In place of the product, which was
/// never in memory, the statement's derivative is given a value at which it is the same: what the
/// call kept; and zeros in place of the bias.
template <class Statement, class Configuration>
class epilogue_node final : public statement_node<Statement, Configuration> {
  using base = statement_node<Statement, Configuration>;
  static constexpr linalg::detail::epilogue_match match = linalg::detail::epilogue_of<Statement>;
  /// The place of an operand among the wanted ones; -1 where it is none.
  static constexpr int wanted_place(int slot) {
    if (slot < 0 || !Statement::table.wanted[static_cast<std::size_t>(slot)]) return -1;
    int place = 0;
    for (int i = 0; i < slot; ++i) place += Statement::table.wanted[static_cast<std::size_t>(i)];
    return place;
  }
  static constexpr int product = wanted_place(match.product);
  static constexpr int bias = wanted_place(match.bias);
  using product_function = linalg::product_function;
  using task = linalg::product_epilogue::task;

 public:
  using value_type = type_of<graph::thaw(typename Statement::program{}).nodes[0].type>;

  template <class Results>
  epilogue_node(const exec::bound<Statement>& b, edge* places, const Results& results,
                const linalg::product& p, handle<storage> aux)
      : base(b, places, results, kept_memory<Statement>{}),
        rows_(p.m),
        columns_(p.n),
        aux_(static_cast<handle<storage>&&>(aux)) {}

  void run(backward_pass_state& pass) override {
    if (this->inputs == nullptr) raise_freed();
    if (this->come().applied) {
      send_product(pass, false);
      send_sums(pass);
      return;
    }
    if constexpr (match.function == product_function::identity && product >= 0 && bias >= 0) {
      if (pass.may_merge(this->wanted_edge(product))) {
        auto& node =
            static_cast<product_node<value_type, Configuration>&>(*this->wanted_edge(product).node);
        if (node.wants_right()) return run_with(node, pass);
      }
    }
    base::run(pass);
  }

  epilogue_offer* offer(backward_pass_state&) override {
    if constexpr (match.function == product_function::identity || product < 0) return nullptr;
    offer_.epilogue = {task::backward, match.function, {}, {aux_.get(), aux_->data()}};
    offer_.rows = rows_;
    offer_.columns = columns_;
    offer_.where = this->where();
    if constexpr (bias >= 0) offer_.epilogue.bias = new_sums();
    return &offer_;
  }

  void free_saved() noexcept override {
    base::free_saved();
    aux_.reset();
    sums_ = {};
  }

 private:
  /// A bias alone: the result's gradient is the product's.
  void run_with(product_node<value_type, Configuration>& node, backward_pass_state& pass) {
    if (node.send_right_with_sums(pass, this->come(), new_sums())) {
      send_product(pass, true);
      send_sums(pass);
    } else {
      base::run(pass);
      pass.incoming_at(this->wanted_edge(product)).applied = true;
    }
  }

  linalg::product_operand new_sums() {
    const auto made = tensor<value_type, 1>::allocate({columns_}, this->where());
    sums_ = gradient_of(made);
    return {sums_.memory.get(), sums_.data};
  }
  void send_product(backward_pass_state& pass, bool applied) {
    if constexpr (product >= 0) {
      gradient g{this->come().memory, this->come().data, {}, applied};
      pass.deliver<value_type, Configuration>(
          this->wanted_edge(product), static_cast<gradient&&>(g), rows_ * columns_, this->where());
    }
  }
  void send_sums(backward_pass_state& pass) {
    if constexpr (bias >= 0) {
      pass.deliver<value_type, Configuration>(
          this->wanted_edge(bias), static_cast<gradient&&>(sums_), columns_, this->where());
      sums_ = {};
    }
  }

  std::int64_t rows_, columns_;
  handle<storage> aux_;  ///< what the forward call kept for backward calls
  gradient sums_;        ///< the bias's gradient, between the call that sums it and run
  epilogue_offer offer_;
};

/// Collects the operands, and whether anything of them is to be recorded.
template <class T, int Rank>
struct recorded_epilogue : linalg::detail::epilogue_operands<T, Rank> {
  using base = linalg::detail::epilogue_operands<T, Rank>;
  bool wanted = false;

  template <class L>
  void leaf(const L& l) {
    wanted = wanted || place_of(l).node;
    base::leaf(l);
  }
  template <class Product>
  void product(const Product& p) {
    wanted = wanted || place_of(p.left()).node || place_of(p.right()).node;
    base::product(p);
  }
};

/// Collects the leaves for the statement's node: `argument` in place of the product.
template <class Statement, class Configuration, class T, int Rank>
struct epilogue_places : recording_collector<derivative_of<Statement>::variables> {
  const tensor<T, Rank>* argument = nullptr;

  template <class Product>
  void product(const Product& p) {
    this->add(*argument);
    if constexpr (requires { Product::is_variable; }) {
      edge place =
          product_place<Configuration, Product::transposed_left, Product::transposed_right>(
              p.left(), p.right());
      this->any = this->any || place.node;
      this->places[this->next++] = static_cast<edge&&>(place);
    }
  }
};

/// What a forward call kept of gelu: its argument, in the result's shape.
template <class T, int Rank>
tensor<T, Rank> kept_argument(const handle<storage>& aux, const extents<Rank>& e) {
  index_array<Rank> strides;
  std::int64_t stride = 1;
  for (int i = Rank - 1; i >= 0; --i) {
    strides[i] = stride;
    stride =
        i == Rank - 1 ? linalg::aux_leading(linalg::product_function::gelu, e[i]) : stride * e[i];
  }
  return tensor<T, Rank>(aux, reinterpret_cast<T*>(aux->data()), e, strides);
}

template <class Configuration, class Statement, class T, int Rank, class E>
bool record_epilogue(tensor<T, Rank>& made, handle<tape_node>& node, const E& e) {
  constexpr linalg::detail::epilogue_match match = linalg::detail::epilogue_of<Statement>;
  constexpr bool has_function = match.function != linalg::product_function::identity;
  recorded_epilogue<T, Rank> operands;
  e.visit(operands);
  if (!operands.fits()) return false;
  const linalg::product& p = operands.shape();
  const bool wanted = operands.wanted && recording;
  handle<storage> aux;
  if (wanted && has_function) {
    const std::int64_t bytes =
        linalg::aux_bytes(match.function, p.m, p.n, static_cast<std::int64_t>(sizeof(T)));
    aux = storage::allocate(static_cast<std::size_t>(bytes), operands.where());
  }
  const linalg::product_operand kept{aux.get(), aux ? aux->data() : nullptr};
  if (!operands.run(match.function, made, kept)) return false;
  if (!wanted) return true;
  const tensor<T, Rank> argument = match.function == linalg::product_function::gelu
                                       ? kept_argument<T, Rank>(aux, made.extents())
                                       : made;
  epilogue_places<Statement, Configuration, T, Rank> places;
  places.argument = &argument;
  exec::bound<Statement> b(exec::detail::with_visitor{}, places, e);
  static constexpr double zero = 0;
  static constexpr std::int64_t no_stride = 0;
  if constexpr (has_function && match.bias >= 0) {
    exec::leaf_view& bias = b.leaves[match.bias];
    bias.storage = nullptr;
    bias.data = reinterpret_cast<std::byte*>(const_cast<double*>(&zero));
    bias.strides = &no_stride;
  }
  if (places.any) {
    node = make_handle<epilogue_node<Statement, Configuration>>(
        b, places.places, std::tuple<const tensor<T, Rank>&>(made), p,
        static_cast<handle<storage>&&>(aux));
  }
  return true;
}

template <class Configuration, class Statement, class Results, class E>
bool evaluate_by_library(Results& made, handle<tape_node>& node, const E& e) {
  return record_epilogue<Configuration, Statement>(std::get<0>(made), node, e);
}

}  // namespace heddle::inline v0::detail
