// SPDX-License-Identifier: BSD-3-Clause
// What optimizers have in common: their parameters in groups of one dtype and device, each of which
// steps in one launch; clipping of gradients.
#pragma once

#include <heddle/exec/multi.hpp>
#include <heddle/nn/state.hpp>

namespace heddle::inline v0::optim {

namespace detail {

/// A parameter with what the optimizer remembers of it.
template <int States>
struct slot {
  any_parameter parameter;
  any_tensor states[States > 0 ? States : 1];
  std::int64_t steps = 0;
};

inline any_tensor zeros_for(const any_tensor& like) {
  const any_tensor made = any_tensor::allocate(like.dtype(), like.extents(), like.device());
  if (made.data() != nullptr && made.bytes() > 0) {
    synchronize(made.device());
    __builtin_memset(made.data(), 0, made.bytes());
  }
  return made;
}

[[noreturn]] HEDDLE_COLD inline void raise_dtype(const char* optimizer, const any_parameter& p) {
  raise<type_error>("heddle::", optimizer, ": parameter ", p.name(), " is ", to_string(p.dtype()),
                    ", for which this optimizer is not compiled; name its dtypes, ", optimizer,
                    "<float, double>");
}

/// Takes states and numbers of steps from an optimizer's state dict. Throws value_error for a state
/// of other extents or dtype than its parameter.
template <int States>
void load_slots(std::vector<slot<States>>& slots, const char* const (&names)[States],
                const named_tensors& values) {
  const auto find = [&](const std::string& name) -> const any_tensor* {
    for (const auto& [each, value] : values) {
      if (each == name) return &value;
    }
    return nullptr;
  };
  for (slot<States>& s : slots) {
    const any_tensor* steps = find(s.parameter.name() + ".step");
    if (steps == nullptr) continue;
    for (int i = 0; i < States; ++i) {
      const std::string name = s.parameter.name() + names[i];
      const any_tensor* state = find(name);
      const auto expected = s.parameter.extents();
      bool same = state != nullptr && state->dtype() == s.parameter.dtype() &&
                  state->rank() == s.parameter.rank();
      for (std::size_t k = 0; same && k < expected.size(); ++k) {
        same = state->extents()[k] == expected[k];
      }
      if (!same) {
        raise<value_error>(
            "heddle::load_state_dict: the optimizer's state is not its parameter's: ", name,
            state == nullptr ? " is missing" : " has other extents or dtype", "; ",
            to_string(s.parameter.dtype()), " ", to_string(expected.data(), s.parameter.rank()),
            " is expected");
      }
      s.states[i] = state->to(s.parameter.device()).clone();
    }
    s.steps = steps->as<std::int64_t, 0>().item();
  }
}

/// Whether T's dtype is among those given.
template <class... T>
bool holds_dtype(dtype type) {
  return ((dtype_of<T> == type) || ...);
}

}  // namespace detail

namespace detail {

struct scale_function {
  constexpr symbol operator()(const symbol& g, const symbol& factor) const { return g * factor; }
};

/// The devices of gradients that are there, each once.
template <class Visit>
void for_each_group(const std::vector<any_tensor>& gradients, dtype type, Visit visit) {
  std::vector<device> seen;
  for (const any_tensor& g : gradients) {
    if (g.dtype() != type) continue;
    bool known = false;
    for (const device d : seen) known = known || d == g.device();
    if (!known) seen.push_back(g.device());
  }
  for (const device d : seen) visit(d);
}

template <class T>
double square_sum(const any_tensor& g) {
  tensor<T, 1> flat(g.storage(), reinterpret_cast<T*>(g.data()), extents<1>{g.size()},
                    strides<1>{1});
  using wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
  tensor<wide, 0> sum = let(
      [](auto x) {
        const symbol w = cast<wide>(x);
        return heddle::sum(w * w);
      },
      flat);
  return static_cast<double>(sum.item());
}

}  // namespace detail

/// Scales all gradients so that their joint 2-norm is at most max_norm, as PyTorch's function of
/// this name. Returns the norm before. Waits for the gradients.
template <class... T,
          class Types = std::conditional_t<sizeof...(T) == 0, std::tuple<float>, std::tuple<T...>>>
double clip_grad_norm_(const parameter_list& parameters, double max_norm) {
  return [&]<class... U>(std::type_identity<std::tuple<U...>>) {
    std::vector<any_tensor> gradients;
    double total = 0;
    for (const any_parameter& p : parameters) {
      const any_tensor g = p.grad();
      if (!g.defined()) continue;
      if (!detail::holds_dtype<U...>(g.dtype())) detail::raise_dtype("clip_grad_norm_", p);
      gradients.push_back(g);
      ((g.dtype() == dtype_of<U> ? static_cast<void>(total += detail::square_sum<U>(g)) : void()),
       ...);
    }
    const double norm = __builtin_sqrt(total);
    const double factor = max_norm / (norm + 1e-6);
    if (!(factor < 1)) return norm;
    const auto scale = [&]<class V>(std::type_identity<V>) {
      detail::for_each_group(gradients, dtype_of<V>, [&](device where) {
        std::vector<exec::multi_group<1>> groups;
        for (const any_tensor& g : gradients) {
          if (g.dtype() != dtype_of<V> || g.device() != where) continue;
          exec::multi_group<1> group;
          group.set(0, g);
          group.count = g.size();
          groups.push_back(group);
        }
        exec::multi_assign<V, 1>(detail::scale_function{}, groups, where, factor);
      });
    };
    (scale(std::type_identity<U>{}), ...);
    return norm;
  }(std::type_identity<Types>{});
}

namespace detail {

/// The parameters of an optimizer, and what every optimizer does with them.
template <int States, class... T>
class optimizer {
  static_assert(sizeof...(T) > 0, "heddle::optim: name the dtypes of the parameters, adamw<float>");

 public:
  /// Adds parameters. Throws type_error for dtypes other than T….
  void add_parameters(const parameter_list& parameters) {
    for (const any_parameter& p : parameters) {
      if (!holds_dtype<T...>(p.dtype())) raise_dtype(name_, p);
      slots_.push_back({p, {}, 0});
    }
  }
  /// Drops the gradients of all parameters.
  void zero_grad() const {
    for (const auto& s : slots_) s.parameter.zero_grad();
  }
  [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); }

 protected:
  explicit optimizer(const char* name) : name_(name) {}

  /// Calls update(type_identity<T>, where, groups, steps before) once for each dtype, device and
  /// number of steps taken among the parameters that have gradients. Operands of a group: the
  /// states, the parameter, the gradient.
  template <class Update>
  void for_each_launch(bool with_states, Update update) {
    (launches_of<T>(with_states, update), ...);
  }

  const std::vector<slot<States>>& slots() const { return slots_; }
  std::vector<slot<States>>& slots() { return slots_; }

 private:
  static constexpr int operands = States + 2;

  template <class V, class Update>
  void launches_of(bool with_states, Update& update) {
    pending_.clear();
    for (slot<States>& s : slots_) {
      if (s.parameter.dtype() == dtype_of<V> && s.parameter.grad().defined()) {
        pending_.push_back(&s);
      }
    }
    while (!pending_.empty()) {
      const device where = pending_.front()->parameter.device();
      const std::int64_t steps = pending_.front()->steps;
      groups_.clear();
      kept_.clear();
      std::size_t left = 0;
      for (slot<States>* s : pending_) {
        if (s->parameter.device() == where && s->steps == steps) {
          add_group(*s, with_states);
        } else {
          pending_[left++] = s;
        }
      }
      pending_.resize(left);
      update(std::type_identity<V>{}, where, groups_, steps);
    }
  }

  void add_group(slot<States>& s, bool with_states) {
    const any_tensor value = s.parameter.value();
    kept_.push_back(s.parameter.grad().contiguous());
    exec::multi_group<operands> group;
    group.count = value.size();
    if (with_states) {
      for (int i = 0; i < States; ++i) {
        any_tensor& state = s.states[i];
        if (!state.defined()) {
          state = zeros_for(value);
        } else if (state.device() != value.device()) {
          state = state.to(value.device());
        }
        group.set(i, state);
      }
    }
    group.set(States, value);
    group.set(States + 1, kept_.back());
    ++s.steps;
    groups_.push_back(group);
  }

  const char* name_;
  std::vector<slot<States>> slots_;
  // kept from step to step, so that a step allocates nothing
  std::vector<slot<States>*> pending_;
  std::vector<exec::multi_group<operands>> groups_;
  std::vector<any_tensor> kept_;
};

}  // namespace detail
}  // namespace heddle::inline v0::optim
