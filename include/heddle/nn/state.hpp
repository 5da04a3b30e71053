// SPDX-License-Identifier: BSD-3-Clause
// What is done with a whole module: its parameters, its state dict, its device, training or not.
#pragma once

#include <span>
#include <utility>

#include <heddle/nn/module.hpp>

namespace heddle::inline v0 {

/// A parameter or buffer of any dtype and rank; a handle, as `parameter`.
class any_parameter : public detail::parameter_handle {
 public:
  using parameter_handle::parameter_handle;

  /// Of the elements; nothing is materialised.
  [[nodiscard]] heddle::dtype dtype() const { return state().type; }
  [[nodiscard]] int rank() const { return state().rank; }
  /// By axis, `rank()` of them; valid while the parameter lives. Nothing is materialised.
  [[nodiscard]] std::span<const std::int64_t> extents() const {
    return {state().extents, static_cast<std::size_t>(state().rank)};
  }
  /// Whether it is saved and moved with the module, but not trained.
  [[nodiscard]] bool is_buffer() const { return state().is_buffer; }
  /// The values, materialised; shared.
  [[nodiscard]] any_tensor value() const { return state().value(); }
  /// The gradient; undefined if there is none.
  [[nodiscard]] any_tensor grad() const { return state().grad(); }
  /// Replaces the gradient. Throws type_error or shape_error.
  void set_grad(const any_tensor& gradient) const { state().set_grad(gradient); }
  /// Moves the values, and the gradient, to a device; values that are not drawn yet will be drawn
  /// there.
  void to(heddle::device where) const { state().move_to(where); }
  /// Copies values of the same dtype and extents in, from any device. Throws type_error,
  /// shape_error.
  void copy_(const any_tensor& values) const {
    if (values.dtype() != dtype()) {
      raise<type_error>("heddle::copy_: the values have another dtype: ", to_string(values.dtype()),
                        "; ", to_string(dtype()), " is expected");
    }
    bool same = values.rank() == rank();
    for (std::size_t i = 0; same && i < extents().size(); ++i) {
      same = values.extents()[i] == extents()[i];
    }
    if (!same) {
      detail::raise_value_extents("copy_", to_string(values.extents().data(), values.rank()),
                                  to_string(extents().data(), rank()));
    }
    if (state().materialised && !device().is_meta() && !values.device().is_meta()) {
      state().value().copy_(values);
    } else {
      state().replace(values.to(device()).clone());
    }
  }
  /// Calls f(gradient), an any_tensor, each time a backward pass has made the gradient final.
  template <class F>
  void add_gradient_hook(F f) const {
    struct hook final : detail::gradient_hook {
      F function;
      explicit hook(F&& given) : function(static_cast<F&&>(given)) {}
      void call(const any_tensor& gradient) override { function(gradient); }
    };
    detail::tape_node* const leaf = state().leaf();
    if (leaf == nullptr) detail::raise_not_leaf("add_gradient_hook");
    static_cast<detail::gradient_leaf*>(leaf)->add_hook(make_handle<hook>(static_cast<F&&>(f)));
  }
};

/// Names and tensors, in the order of the members: what `state_dict` returns.
using named_tensors = std::vector<std::pair<std::string, any_tensor>>;
/// What `parameters` returns and optimizers take: handles, so copies of the list share the values.
using parameter_list = std::vector<any_parameter>;

namespace detail {

// What is done with a module's members, whatever the module's type.

template <class Configuration = configuration>
std::vector<std::pair<std::string, any_parameter>> parameters_among(const module_members& found) {
  name_parameters(found);
  std::vector<std::pair<std::string, any_parameter>> result;
  for (const auto& [name, slot] : found.parameters) {
    bool known = (*slot)->is_buffer;
    for (const auto& other : result) known = known || &other.second.state() == slot->get();
    if (!known) result.emplace_back(name, any_parameter(*slot));
  }
  return result;
}
HEDDLE_ONCE(std::vector<std::pair<std::string, any_parameter>> parameters_among<configuration>(
    const module_members&));

template <class Configuration = configuration>
parameter_list unnamed_parameters_among(const module_members& found) {
  parameter_list result;
  for (auto& [name, p] : parameters_among<>(found)) result.push_back(std::move(p));
  return result;
}
HEDDLE_ONCE(parameter_list unnamed_parameters_among<configuration>(const module_members&));

template <class Configuration = configuration>
named_tensors values_of_members(const module_members& found) {
  name_parameters(found);
  named_tensors result;
  for (const auto& [name, slot] : found.parameters) result.emplace_back(name, (*slot)->value());
  return result;
}
HEDDLE_ONCE(named_tensors values_of_members<configuration>(const module_members&));

template <class Configuration = configuration>
void move_members(const module_members& found, device where) {
  std::vector<std::pair<parameter_state*, parameter_state::moved_values>> moved;
  for (const auto& each : found.parameters) {
    parameter_state* const state = each.slot->get();
    bool known = false;
    for (const auto& other : moved) known = known || other.first == state;
    if (!known) moved.emplace_back(state, state->copies_on(where));
  }
  for (const auto& [state, values] : moved) state->keep(where, values);
}
HEDDLE_ONCE(void move_members<configuration>(const module_members&, device));

/// Gives members copies of what they share with another module.
template <class Configuration = configuration>
void replace_by_copies(const module_members& found) {
  std::vector<std::pair<handle<parameter_state>, handle<parameter_state>>> made;
  for (const auto& [name, slot] : found.parameters) {
    handle<parameter_state> fresh;
    for (const auto& [old, copied] : made) {
      if (old == *slot) fresh = copied;
    }
    if (!fresh) {
      fresh = (*slot)->clone();
      made.emplace_back(*slot, fresh);
    }
    *slot = fresh;
  }
}
HEDDLE_ONCE(void replace_by_copies<configuration>(const module_members&));

}  // namespace detail

/// All parameters with their qualified names, in the order of the members; one that several members
/// share comes once, under its first name. Nothing is materialised. Buffers are not among them.
template <class M>
[[nodiscard]] std::vector<std::pair<std::string, any_parameter>> named_parameters(const M& m) {
  return detail::parameters_among<>(detail::members_of(m));
}

/// All parameters, for optimizers.
template <class M>
[[nodiscard]] parameter_list parameters(const M& m) {
  return detail::unnamed_parameters_among<>(detail::members_of(m));
}

/// The number of elements of all parameters; nothing is materialised.
template <class M>
[[nodiscard]] std::int64_t parameter_count(const M& m) {
  std::int64_t count = 0;
  for (const any_parameter& p : parameters(m)) count += p.size();
  return count;
}

/// Parameters and buffers by their qualified names, materialised, sharing the module's memory. The
/// names are PyTorch's for the same structure: fc1.weight, layers.0.bias.
template <class M>
[[nodiscard]] named_tensors state_dict(const M& m) {
  return detail::values_of_members<>(detail::members_of(m));
}

namespace detail {

template <class Configuration = configuration>
void load_members(const module_members& found, const named_tensors& values, bool strict) {
  std::string missing, unexpected, different;
  const auto add = [](std::string& list, const std::string& what) {
    list += (list.empty() ? "" : ", ") + what;
  };
  const auto find = [&](const std::string& name) -> const any_tensor* {
    for (const auto& [each, value] : values) {
      if (each == name) return &value;
    }
    return nullptr;
  };
  for (const auto& [name, slot] : found.parameters) {
    const any_tensor* value = find(name);
    if (value == nullptr) {
      add(missing, name);
      continue;
    }
    const parameter_state& p = **slot;
    bool same = value->rank() == p.rank && value->dtype() == p.type;
    for (int i = 0; same && i < p.rank; ++i) {
      same = value->extents()[static_cast<std::size_t>(i)] == p.extents[i];
    }
    if (!same) {
      add(different, name + " is " + to_string(value->dtype()) + " " +
                         to_string(value->extents().data(), value->rank()) + " for " +
                         to_string(p.type) + " " + to_string(p.extents, p.rank));
    }
  }
  for (const auto& [name, value] : values) {
    bool known = false;
    for (const auto& p : found.parameters) known = known || p.name == name;
    if (!known) add(unexpected, name);
  }
  if (!different.empty() || (strict && !(missing.empty() && unexpected.empty()))) {
    std::string what;
    const auto say = [&](const char* kind, const std::string& list) {
      if (!list.empty()) what += (what.empty() ? "" : "; ") + (kind + list);
    };
    if (strict) say("missing: ", missing);
    if (strict) say("unexpected: ", unexpected);
    say("of other extents or dtype: ", different);
    raise<value_error>("heddle::load_state_dict: the state dict is not this module's: ", what,
                       "; nothing was loaded");
  }
  for (const auto& [name, slot] : found.parameters) {
    const any_tensor* value = find(name);
    if (value != nullptr) any_parameter(*slot).copy_(*value);
  }
}
HEDDLE_ONCE(void load_members<configuration>(const module_members&, const named_tensors&, bool));

}  // namespace detail

/// Copies tensors into a module's parameters and buffers by name, from any device. `values` is a
/// range of pairs (name, tensor). Throws value_error, before anything is changed, with all names
/// that are missing or unexpected (not if strict is false), and all that have other extents or
/// another dtype.
template <class M, class Values = named_tensors>
void load_state_dict(const M& m, const Values& values, bool strict = true) {
  const detail::module_members found = detail::members_of(m);
  detail::name_parameters<>(found);
  named_tensors list;
  for (const auto& [name, value] : values) list.emplace_back(std::string(name), any_tensor(value));
  detail::load_members(found, list, strict);
}

/// Moves parameters and buffers, with their gradients, to a device; those without values yet will
/// be drawn there. Returns the module. Where it throws, for want of memory, nothing was moved.
template <class M>
requires module<M> M& to(M& m, device where) {
  detail::move_members<>(detail::members_of(m), where);
  return m;
}

/// A copy with parameters and buffers of its own; members that shared one still do.
template <class M>
requires module<M>
[[nodiscard]] M clone(const M& m) {
  M copy = m;
  detail::name_parameters(detail::members_of(m));
  detail::replace_by_copies<>(detail::members_of(copy, true));
  return copy;
}

/// Sets the training flags of a module and of those below it: dropout and its like. Returns the
/// module.
template <class M>
requires module<M> M& train(M& m, bool training = true) {
  for (training_flag* flag : detail::members_of(m).flags) flag->set(training);
  return m;
}
/// As train(m, false): for validation. Returns the module.
template <class M>
requires module<M> M& eval(M& m) { return train(m, false); }

/// Drops the gradients of all parameters.
template <class M>
requires module<M>
void zero_grad(M& m) {
  for (const auto& each : detail::members_of(m).parameters) (*each.slot)->set_grad({});
}

/// A module without its gradients: nothing is recorded, and no backward is compiled for what
/// heddle's own modules and functions compute. Called with tensors it returns tensors.
template <class M>
class inference_module {
 public:
  explicit inference_module(M& m) : module_(&m) {}

  template <class... X>
  auto operator()(const X&... x) const {
    const no_grad off;
    return plain(call(*module_, marked(x)...));
  }

 private:
  template <class X>
  static auto marked(const X& x) {
    if constexpr (expression<X>) {
      return detail::as_inference(detail::evaluated_input(x));
    } else {
      return x;
    }
  }
  template <class T, int Rank>
  static tensor<T, Rank> plain(const inference_tensor<T, Rank>& t) {
    return t;
  }
  template <class R>
  static auto plain(R&& result) {
    if constexpr (expression<std::remove_cvref_t<R>>) {
      return evaluate(result);
    } else {
      return static_cast<R&&>(result);
    }
  }

  M* module_;
};

/// A view of m, which must outlive it. Forward should take any expression (`const auto& x`).
template <class M>
requires module<M>
[[nodiscard]] inference_module<M> inference(M& m) { return inference_module<M>(m); }

}  // namespace heddle::inline v0
