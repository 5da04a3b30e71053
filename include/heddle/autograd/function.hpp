// SPDX-License-Identifier: BSD-3-Clause
// record: a place on the tape for a value that was computed by hand, with its derivative as a
// function.
#pragma once

#include <tuple>

#include <heddle/autograd/record.hpp>

namespace heddle::inline v0 {

/// In the result of a backward function: this input gets no gradient.
struct no_gradient {};

namespace detail {

// What a function's node keeps of an input: its values with their version, or nothing.
template <class Input, bool Kept>
struct kept_input {
  using type = Input;
  kept_input() = default;
  explicit kept_input(const Input&) {}
  void reset() {}
};
template <class T, int Rank>
struct kept_input<tensor<T, Rank>, true> {
  tensor<T, Rank> value;
  std::uint32_t version = 0;

  explicit kept_input(const tensor<T, Rank>& t) : value(t), version(t.version()) {}
  const tensor<T, Rank>& checked() const {
    if (value.version() != version) raise_stale();
    return value;
  }
  const tensor<T, Rank>& with_place(const edge&) const { return checked(); }
  void reset() { value = {}; }
};
template <class T, int Rank>
struct kept_input<variable<T, Rank>, true> : kept_input<tensor<T, Rank>, true> {
  explicit kept_input(const variable<T, Rank>& v) : kept_input<tensor<T, Rank>, true>(v.value()) {}
  variable<T, Rank> with_place(const edge& place) const {
    return variable<T, Rank>(this->checked(), place);
  }
};

template <class Input>
edge input_place(const Input& input) {
  if constexpr (requires { Input::is_variable; }) {
    return input.place();
  } else {
    return {};
  }
}

template <class T, int Rank>
const tensor<T, Rank>& gradient_tensor(const tensor<T, Rank>& t) {
  return t;
}
template <class T, int Rank>
const tensor<T, Rank>& gradient_tensor(const variable<T, Rank>& v) {
  return v.value();
}

/// The node of a recorded function of Inputs (tensors and variables) with a result of type T and
/// rank Rank. A backward function that takes the gradient alone keeps no input alive.
template <class T, int Rank, class Backward, class... Inputs>
class function_node final : public tape_node {
  static constexpr bool keeps = !requires(const Backward& b, const tensor<T, Rank>& g) { b(g); };
  static constexpr int count = static_cast<int>(sizeof...(Inputs));

 public:
  function_node(const tensor<T, Rank>& value, Backward&& backward, const Inputs&... given)
      : backward_(static_cast<Backward&&>(backward)),
        extents_(value.extents()),
        kept_(kept_input<Inputs, keeps>(given)...),
        edges_{input_place(given)...},
        counts_{given.size()...},
        devices_{given.device()...},
        shapes_(given.extents()...) {
    input_count = count;
    output_count = 1;
    tape_node::inputs = edges_;
    incoming = &incoming_;
    find_order();
  }

  void run(backward_pass_state& pass) override {
    if (freed_) raise_freed();
    if (!incoming_) return;
    const tensor<T, Rank> g = tensor_of<T, Rank>(incoming_, extents_);
    // The pass adds into gradients that nobody else has: g's handle is the node's own.
    incoming_ = {};
    apply(
        pass, g, [](const auto& kept, const edge&) -> const auto& { return kept.checked(); });
  }

  void run_recorded(backward_pass_state& pass) override {
    if (freed_) raise_freed();
    if (!incoming_) return;
    const enable_grad on;
    const variable<T, Rank> g(tensor_of<T, Rank>(incoming_, extents_), incoming_.source);
    apply(pass, g, [](const auto& kept, const edge& place) { return kept.with_place(place); });
  }

  void free_saved() noexcept override {
    for (edge& e : edges_) e.node.reset();
    std::apply([](auto&... kept) { (kept.reset(), ...); }, kept_);
    freed_ = true;
  }

 private:
  template <class G, class Take>
  void apply(backward_pass_state& pass, const G& g, Take take) {
    [&]<int... I>(std::integer_sequence<int, I...>) {
      if constexpr (keeps) {
        auto made = backward_(g, take(std::get<I>(kept_), edges_[I])...);
        (send<I>(pass, std::get<I>(made)), ...);
      } else {
        auto made = backward_(g);
        (send<I>(pass, std::get<I>(made)), ...);
      }
    }
    (std::make_integer_sequence<int, count>{});
  }

  template <int I, class Made>
  void send(backward_pass_state& pass, Made& made) {
    if constexpr (!std::is_same_v<Made, no_gradient>) {
      using input = std::tuple_element_t<static_cast<std::size_t>(I), std::tuple<Inputs...>>;
      if (!edges_[I].node) return;  // an expression that nobody wants is not computed
      auto ready = evaluated(made);
      gradient sent =
          gradient_of(tensor<typename input::value_type, input::rank>(gradient_tensor(ready)));
      if (ready.extents() != std::get<I>(shapes_)) {
        raise<shape_error>("heddle::record: the backward function gives input ", I,
                           " a gradient of other extents: ", ready.extents(), "; ",
                           std::get<I>(shapes_), " are expected");
      }
      if (ready.device() != devices_[I]) {
        raise_gradient_device("record", ready.device(), devices_[I]);
      }
      sent.source = input_place(ready);
      pass.template deliver<typename input::value_type>(edges_[I], static_cast<gradient&&>(sent),
                                                        counts_[I], ready.device());
    }
  }
  template <class E>
  static auto evaluated(const E& e) {
    if constexpr (
        requires { e.storage(); } || requires { e.value(); }) {
      return e;
    } else {
      static_assert(expression<E>,
                    "heddle::record: a gradient is no tensor, variable or expression; write "
                    "no_gradient() for an input that has none");
      return evaluate(e);
    }
  }
  Backward backward_;
  extents<Rank> extents_;
  std::tuple<kept_input<Inputs, keeps>...> kept_;
  edge edges_[count];
  std::int64_t counts_[count];
  device devices_[count];  ///< of the inputs: a move's gradient is not on the value's
  std::tuple<extents<Inputs::rank>...> shapes_;
  gradient incoming_;
  bool freed_ = false;
};

}  // namespace detail

/// Makes a variable of `value`, which was computed from `inputs` (variables and tensors), with a
/// place on the tape. A backward pass calls `backward(g, inputs...)`, with g the gradient of the
/// value; or `backward(g)` where that compiles, and then no input is kept alive. It returns a
/// std::tuple with one gradient of the input's extents for each input: a tensor, a variable, an
/// expression (computed only where it is wanted), or `no_gradient()`.
///
/// In a first-order pass g and the inputs are tensors. Where the pass records (create_graph) they
/// are variables: write backward as a generic lambda of differentiable functions, and every order
/// works.
///
///     tensor<float, 1> y = evaluate(exp(x.value()));
///     return record(y, [](const auto& g, const auto& x) { return std::tuple{g * exp(x)}; }, x);
template <class T, int Rank, class Backward, class... Inputs>
[[nodiscard]] variable<T, Rank> record(const tensor<T, Rank>& value, Backward backward,
                                       const Inputs&... inputs) {
  static_assert(((
                     requires { inputs.value(); } || requires { inputs.storage(); }) &&
                 ...),
                "heddle::record: an input is neither tensor nor variable; evaluate it first");
  bool any = false;
  ((any = any || detail::input_place(inputs).node), ...);
  if (!any || !detail::recording) return variable<T, Rank>(value, false);
  using node = detail::function_node<T, Rank, Backward, Inputs...>;
  return variable<T, Rank>(
      value,
      detail::edge{make_handle<node>(value, static_cast<Backward&&>(backward), inputs...), 0});
}

}  // namespace heddle::inline v0
