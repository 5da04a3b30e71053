// SPDX-License-Identifier: BSD-3-Clause
// variable: a tensor that the tape differentiates.
#pragma once

#include <heddle/autograd/pass.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/creation.hpp>

namespace heddle::inline v0 {

namespace detail {

/// A function called with a parameter's final gradient.
struct gradient_hook : counted, pooled {
  handle<gradient_hook> next;
  virtual void call(const any_tensor& gradient) = 0;
};

/// The leaf of the tape behind a variable made by the user: collects its gradient.
class gradient_leaf : public tape_node {
 public:
  bool is_leaf() const noexcept override { return true; }
  void free_saved() noexcept override {}

  /// The collected gradient, if any.
  virtual any_tensor collected() const = 0;

  void add_hook(handle<gradient_hook> hook) {
    handle<gradient_hook>* last = &hooks_;
    while (*last) last = &(*last)->next;
    *last = static_cast<handle<gradient_hook>&&>(hook);
  }

 protected:
  void call_hooks(const any_tensor& gradient) {
    for (gradient_hook* hook = hooks_.get(); hook != nullptr; hook = hook->next.get()) {
      hook->call(gradient);
    }
  }

 private:
  handle<gradient_hook> hooks_;
};

template <class T, int Rank>
class typed_leaf;

template <class T, int Rank>
tensor<T, Rank> tensor_of(const gradient& g, const extents<Rank>& e) {
  return tensor<T, Rank>(g.memory, reinterpret_cast<T*>(g.data), e, contiguous_strides(e));
}

template <class T, int Rank>
gradient gradient_of(const tensor<T, Rank>& t) {
  const tensor<T, Rank> whole = t.contiguous();
  return {whole.storage(), reinterpret_cast<std::byte*>(whole.data()), {}};
}

[[noreturn]] HEDDLE_COLD inline void raise_gradient_device(const char* function, device given,
                                                           device expected) {
  raise<device_error>("heddle::", function, ": the gradient is on another device: ", given, "; ",
                      expected, " is expected: move it with to(device)");
}

}  // namespace detail

/// A tensor with a place on the tape. Statements that read variables give variables; a variable
/// made from a tensor is a leaf whose gradient `backward` collects.
///
/// A variable is an expression, so all functions of expressions take it. Copies share value and
/// place.
template <class T, int Rank>
class variable {
  static_assert(
      is_floating(dtype_of<T>),
      "heddle::variable: only floating-point tensors have gradients; keep this one a tensor");

 public:
  using expression_tag = void;
  static constexpr bool is_variable = true;
  using value_type = T;
  static constexpr int rank = Rank;
  static constexpr dtype type = dtype_of<T>;

  variable() = default;
  /// A leaf. With requires_grad false, a constant.
  explicit variable(tensor<T, Rank> value, bool requires_grad = true);
  /// The result of a recorded statement.
  variable(tensor<T, Rank> value, detail::edge place)
      : value_(static_cast<tensor<T, Rank>&&>(value)), place_(static_cast<detail::edge&&>(place)) {}
  /// Evaluates an expression.
  template <class E, class Configuration = configuration>
  requires detail::expression_other_than<E, variable> variable(const E& e,
                                                               const char* file = __builtin_FILE(),
                                                               int line = __builtin_LINE()) {
    static_assert(
        E::rank == Rank,
        "heddle::variable: the expression's rank is not the variable's; write variable<T, "
        "rank of the expression>");
    static_assert(
        E::type == type,
        "heddle::variable: the expression's dtype is not the variable's; write cast<T>(x)");
    if constexpr (E::rank == Rank && E::type == type) {
      const detail::statement_scope here(file, line);
      if constexpr (detail::holds_variable<E>) {
        *this = detail::evaluate_in<Configuration>(e);
      } else {
        value_ = detail::evaluate_in<Configuration>(e);
      }
    }
  }

  /// The elements, off the tape; shared.
  [[nodiscard]] const tensor<T, Rank>& value() const noexcept { return value_; }
  /// The same values off the tape.
  [[nodiscard]] const tensor<T, Rank>& detached() const noexcept { return value_; }
  /// Whether it has a place on the tape: a leaf that collects a gradient, or recorded.
  [[nodiscard]] bool requires_grad() const noexcept { return static_cast<bool>(place_.node); }
  /// Whether no statement made it, or none that was recorded.
  [[nodiscard]] bool is_leaf() const noexcept { return !place_.node || place_.node->is_leaf(); }
  /// Whether it has a value; `variable()` has none.
  [[nodiscard]] bool defined() const noexcept { return value_.defined(); }
  /// The value's, by axis.
  [[nodiscard]] const heddle::extents<Rank>& extents() const noexcept { return value_.extents(); }
  /// Negative axes count from the end.
  [[nodiscard]] std::int64_t extent(int axis) const { return value_.extent(axis); }
  /// The number of elements.
  [[nodiscard]] std::int64_t size() const noexcept { return value_.size(); }
  /// Where the value is, and its gradient will be.
  [[nodiscard]] heddle::device device() const { return value_.device(); }
  /// The only element; waits for it. Throws shape_error where there are more or none.
  [[nodiscard]] T item() const { return value_.item(); }

  /// The gradient that backward passes have collected in this leaf; undefined if none has.
  [[nodiscard]] tensor<T, Rank> grad() const;
  /// Replaces the collected gradient (an undefined tensor: drops it; one that is not contiguous: by
  /// a copy). Leaves only. Throws shape_error and device_error where it does not fit the variable.
  void set_grad(tensor<T, Rank> g) const;
  /// Drops the collected gradient. Leaves only.
  void zero_grad() const { set_grad({}); }
  /// Replaces the values of a leaf, its place on the tape stays: what optimizers and loading do.
  /// Throws shape_error where the extents are others: its gradient has those of the old ones.
  void set_value(tensor<T, Rank> value) {
    if (place_.node && value.extents() != value_.extents()) {
      raise<shape_error>("heddle::set_value: the values' extents are not the variable's: ",
                         value.extents(), "; ", value_.extents(), " are expected");
    }
    value_ = static_cast<tensor<T, Rank>&&>(value);
  }

  /// Differentiates this variable, which must have rank 0, and adds to the gradients of all leaves.
  void backward(backward_options options = {}) const;
  /// With the gradient of something computed from this variable.
  void backward(const tensor<T, Rank>& seed, backward_options options = {}) const;

  /// Its place on the tape, for what records statements.
  const detail::edge& place() const noexcept { return place_; }

 private:
  detail::typed_leaf<T, Rank>& leaf(const char* function) const;

  tensor<T, Rank> value_;
  detail::edge place_;
};

template <class E>
requires expression<E> variable(const E&)
->variable<type_of<E::type>, E::rank>;

namespace detail {

/// sum = a + b, of one size; a or b may be the sum. The one such statement of all ranks.
template <class T, class Configuration = configuration>
void add_elements(const tensor<T, 1>& sum, const tensor<T, 1>& a, const tensor<T, 1>& b) {
  evaluate_into<Configuration>(sum, a + b);
}
HEDDLE_ONCE(void add_elements<float, configuration>(const tensor<float, 1>&,
                                                    const tensor<float, 1>&,
                                                    const tensor<float, 1>&));

template <class T, class Configuration>
void backward_pass_state::deliver(const edge& to, gradient&& g, std::int64_t count, device where) {
  if (!to.node) return;
  gradient& place = incoming_at(to);
  if (!place) {
    place = static_cast<gradient&&>(g);
    return;
  }
  if (options_.create_graph) {
    recorder->sum(place, static_cast<gradient&&>(g), dtype_of<T>, count, where);
    return;
  }
  const bool own = addable(to, where) != nullptr;
  const extents<1> flat{count};
  const tensor<T, 1> come = tensor_of<T, 1>(place, flat);
  const tensor<T, 1> more = tensor_of<T, 1>(g, flat);
  if (own && count <= 64 && where.is_inline() &&
      profiler::active().load(std::memory_order_relaxed) == nullptr) {
    // shorter than a statement takes to begin
    T* const sum = come.data();
    const T* const from = more.data();
    for (std::int64_t i = 0; i < count; ++i) sum[i] = static_cast<T>(sum[i] + from[i]);
  } else if (own) {
    place.memory->bump_version();
    add_elements<T, Configuration>(come, come, more);
  } else {
    const tensor<T, 1> sum = tensor<T, 1>::allocate(flat, where);
    add_elements<T, Configuration>(sum, come, more);
    place = gradient_of(sum);
  }
}
HEDDLE_ONCE(void backward_pass_state::deliver<float, configuration>(const edge&, gradient&&,
                                                                    std::int64_t, device));

/// What a leaf has after a gradient of `count` elements has come for it; `had`: before, if
/// anything.
template <class T, class Configuration = configuration>
gradient collect(const gradient& had, gradient&& come, std::int64_t count) {
  const extents<1> flat{count};
  if (!had) {
    // what the seed or another leaf's gradient lies in is not this leaf's to keep
    if (come.memory->is_unique()) return static_cast<gradient&&>(come);
    return gradient_of(tensor_of<T, 1>(come, flat).clone());
  }
  const tensor<T, 1> more = tensor_of<T, 1>(come, flat);
  const tensor<T, 1> sum = tensor<T, 1>::allocate(flat, more.device());
  add_elements<T, Configuration>(sum, tensor_of<T, 1>(had, flat), more);
  return gradient_of(sum);
}
HEDDLE_ONCE(gradient collect<float, configuration>(const gradient&, gradient&&, std::int64_t));

/// The leaf of a variable of type T and rank Rank.
template <class T, int Rank>
class typed_leaf final : public gradient_leaf {
 public:
  explicit typed_leaf(const extents<Rank>& e) : extents_(e) {}

  tensor<T, Rank> grad;

  any_tensor collected() const override { return grad.defined() ? any_tensor(grad) : any_tensor{}; }

  void run(backward_pass_state& pass) override {
    gradient come = static_cast<gradient&&>(pass.incoming_at({handle<tape_node>::share(this), 0}));
    if (!come) return;
    const lock hold(guard_);  // passes of other threads may be adding too
    const gradient had = grad.defined() ? gradient_of(grad) : gradient{};
    const std::int64_t count = element_count(extents_);
    grad = tensor_of<T, Rank>(collect<T>(had, static_cast<gradient&&>(come), count), extents_);
    call_hooks(grad);
  }
  void run_recorded(backward_pass_state& pass) override { run(pass); }

 private:
  extents<Rank> extents_;
  mutex guard_;
};
HEDDLE_ONCE(class typed_leaf<float, 0>);
HEDDLE_ONCE(class typed_leaf<float, 1>);
HEDDLE_ONCE(class typed_leaf<float, 2>);

[[noreturn]] HEDDLE_COLD inline void raise_not_leaf(const char* function) {
  raise<state_error>("heddle::", function,
                     ": the variable is no leaf that requires a gradient: it was computed, or made "
                     "with requires_grad = false; use grad(output, inputs) for it");
}

}  // namespace detail

template <class T, int Rank>
variable<T, Rank>::variable(tensor<T, Rank> value, bool requires_grad)
    : value_(static_cast<tensor<T, Rank>&&>(value)) {
  if (requires_grad) place_.node = make_handle<detail::typed_leaf<T, Rank>>(value_.extents());
}

template <class T, int Rank>
detail::typed_leaf<T, Rank>& variable<T, Rank>::leaf(const char* function) const {
  if (!place_.node || !place_.node->is_leaf()) detail::raise_not_leaf(function);
  return static_cast<detail::typed_leaf<T, Rank>&>(*place_.node);
}

template <class T, int Rank>
tensor<T, Rank> variable<T, Rank>::grad() const {
  return leaf("grad").grad;
}
template <class T, int Rank>
void variable<T, Rank>::set_grad(tensor<T, Rank> g) const {
  auto& place = leaf("set_grad");
  if (g.defined()) {
    if (g.extents() != value_.extents()) {
      raise<shape_error>("heddle::set_grad: the gradient's extents are not the variable's: ",
                         g.extents(), "; ", value_.extents(), " are expected");
    }
    if (g.device() != value_.device()) {
      detail::raise_gradient_device("set_grad", g.device(), value_.device());
    }
    g = g.contiguous();
  }
  place.grad = static_cast<tensor<T, Rank>&&>(g);
}

/// Calls f(gradient), an any_tensor, each time a backward pass has made the gradient of this leaf
/// final, after it was added to what the leaf had.
template <class T, int Rank, class F>
void add_gradient_hook(const variable<T, Rank>& v, F f) {
  struct hook final : detail::gradient_hook {
    F function;
    explicit hook(F&& given) : function(static_cast<F&&>(given)) {}
    void call(const any_tensor& gradient) override { function(gradient); }
  };
  if (!v.place().node || !v.place().node->is_leaf()) detail::raise_not_leaf("add_gradient_hook");
  static_cast<detail::gradient_leaf&>(*v.place().node)
      .add_hook(make_handle<hook>(static_cast<F&&>(f)));
}

}  // namespace heddle::inline v0
