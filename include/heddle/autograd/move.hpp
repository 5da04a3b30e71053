// SPDX-License-Identifier: BSD-3-Clause
// Variables that move to another device, as an operation of the tape.
#pragma once

#include <heddle/autograd/matmul.hpp>

namespace heddle::inline v0 {

namespace detail {

/// The node of a move: gradients move back. What a node before it offers to products is offered
/// behind it, too, so that a model computes the same, bit for bit, wherever it is cut.
template <class T, int Rank>
class move_node final : public tape_node {
 public:
  move_node(const variable<T, Rank>& x, device to)
      : edge_(x.place()), extents_(x.extents()), from_(x.device()), to_(to) {
    input_count = 1;
    output_count = 1;
    inputs = &edge_;
    incoming = &incoming_;
    find_order();
  }

  void run(backward_pass_state& pass) override {
    if (inputs == nullptr) raise_freed();
    if (!incoming_) return;
    gradient sent = gradient_of(tensor_of<T, Rank>(incoming_, extents_).to(from_));
    sent.applied = incoming_.applied;
    if (sent.applied && asked_->epilogue.bias.memory != nullptr) {
      const extents<1> count{offer_.columns};
      const std::int64_t stride = 1;
      const tensor<T, 1> back = tensor_of<T, 1>(sums_, count).to(from_);
      const linalg::product_operand& bias = asked_->epilogue.bias;
      copy_elements({handle<storage>::share(bias.memory), bias.data, &stride},
                    {back.storage(), back.data(), &stride}, count.data(), 1, sizeof(T));
    }
    forget_offer();
    pass.deliver<T>(edge_, static_cast<gradient&&>(sent), element_count(extents_), from_);
  }
  void run_recorded(backward_pass_state& pass) override;

  epilogue_offer* offer(backward_pass_state& pass) override {
    asked_ = pass.may_merge(edge_) ? edge_.node->offer(pass) : nullptr;
    if (asked_ == nullptr) return nullptr;
    offer_ = *asked_;
    offer_.where = to_;
    linalg::product_epilogue& e = offer_.epilogue;
    const extents<1> bytes{linalg::aux_bytes(e.function, offer_.rows, offer_.columns,
                                             static_cast<std::int64_t>(sizeof(T)))};
    const tensor<std::uint8_t, 1> aux(handle<storage>::share(e.aux.memory),
                                      reinterpret_cast<std::uint8_t*>(e.aux.data), bytes,
                                      contiguous_strides(bytes));
    aux_ = aux.to(to_).storage();
    e.aux = {aux_.get(), aux_->data()};
    if (e.bias.memory != nullptr) {
      sums_ = gradient_of(tensor<T, 1>::allocate({offer_.columns}, to_));
      e.bias = {sums_.memory.get(), sums_.data};
    }
    return &offer_;
  }

  void free_saved() noexcept override {
    edge_.node.reset();
    forget_offer();
    inputs = nullptr;
    input_count = 0;
  }

 private:
  void forget_offer() noexcept {
    asked_ = nullptr;
    aux_.reset();
    sums_ = {};
  }

  edge edge_;
  extents<Rank> extents_;
  gradient incoming_;
  device from_, to_;
  epilogue_offer* asked_ = nullptr;  ///< of the node before, while its product is computed here
  epilogue_offer offer_;
  handle<storage> aux_;
  gradient sums_;
};

}  // namespace detail

/// This variable where it is on that device; otherwise a copy there, whose gradient is copied back.
template <class T, int Rank>
[[nodiscard]] variable<T, Rank> to(const variable<T, Rank>& x, device where) {
  if (x.device() == where) return x;
  detail::edge place;
  if (x.place().node && detail::recording) {
    place.node = make_handle<detail::move_node<T, Rank>>(x, where);
  }
  return variable<T, Rank>(x.value().to(where), static_cast<detail::edge&&>(place));
}
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> to(const tensor<T, Rank>& x, device where) {
  return x.to(where);
}

template <class T, int Rank>
void detail::move_node<T, Rank>::run_recorded(backward_pass_state& pass) {
  if (inputs == nullptr) raise_freed();
  if (!incoming_) return;
  const enable_grad on;
  const variable<T, Rank> g(tensor_of<T, Rank>(incoming_, extents_), incoming_.source);
  const variable<T, Rank> moved = heddle::to(g, from_);
  gradient sent = gradient_of(moved.value());
  sent.source = moved.place();
  pass.deliver<T>(edge_, static_cast<gradient&&>(sent), element_count(extents_), from_);
}
HEDDLE_ONCE(variable<float, 1> to(const variable<float, 1>&, device));
HEDDLE_ONCE(variable<float, 2> to(const variable<float, 2>&, device));

}  // namespace heddle::inline v0
