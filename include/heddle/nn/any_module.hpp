// SPDX-License-Identifier: BSD-3-Clause
// nn::any_module: a module of any type, behind one virtual call.
#pragma once

#include <heddle/nn/module.hpp>

namespace heddle::inline v0::nn {

/// A module that is called with In and returns Out. Copies share the module; `clone` copies it.
template <class In = variable<float, 2>, class Out = In>
class any_module {
 public:
  any_module() = default;
  template <class M>
  requires(module<M> && !std::is_same_v<M, any_module>)
      any_module(M m)  // NOLINT: any module is one
      : held_(make_handle<holder<M>>(static_cast<M&&>(m))) {}

  /// Visits the members of what is held, under this member's name.
  void visit_members(member_visitor& visitor) {
    if (!held_) return;
    if (visitor.copies_erased()) held_ = held_->copy();
    held_->visit(visitor);
  }
  /// Null: what is held has the parameters, and moves its inputs itself.
  const heddle::detail::parameter_state* first_parameter() const { return nullptr; }

  /// What is held, if it is an M.
  template <class M>
  [[nodiscard]] M* get() const {
    if (!held_ || held_->kind() != &heddle::detail::kind_of_module<M>()) return nullptr;
    return &static_cast<holder<M>&>(*held_).m;
  }

  Out operator()(const In& x) const {
    if (!held_) {
      raise<state_error>("heddle::any_module: it holds no module; assign one");
    }
    return held_->call(x);
  }
  /// As a module of its own it is no scope: the one it holds is.
  Out forward(const In& x) const { return (*this)(x); }

 private:
  struct base : counted {
    virtual Out call(const In& x) = 0;
    virtual void visit(member_visitor& visitor) = 0;
    virtual handle<base> copy() const = 0;
    virtual const heddle::detail::module_kind* kind() const noexcept = 0;
  };
  template <class M>
  struct holder final : base {
    M m;
    explicit holder(M&& given) : m(static_cast<M&&>(given)) {}
    Out call(const In& x) override { return Out(heddle::call(m, x)); }
    void visit(member_visitor& visitor) override {
      visitor.rename_identity(&m, heddle::detail::kind_of_module<M>());
      m.visit_members(visitor);
    }
    handle<base> copy() const override { return make_handle<holder>(M(m)); }
    const heddle::detail::module_kind* kind() const noexcept override {
      return &heddle::detail::kind_of_module<M>();
    }
  };
  handle<base> held_;
};

}  // namespace heddle::inline v0::nn
