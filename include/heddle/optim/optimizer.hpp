// SPDX-License-Identifier: BSD-3-Clause
// What optimizers have in common: their parameters in groups of one dtype and device, each of which
// steps in one launch.
#pragma once

#include <heddle/core/capture.hpp>
#include <heddle/exec/multi.hpp>
#include <heddle/nn/state.hpp>

namespace heddle::inline v0::optim {

namespace detail {

/// A parameter with what the optimizer remembers of it.
template <int States>
struct slot {
  any_parameter parameter;
  std::string name;  ///< in state dicts: the parameter's when it was added, which may change
  any_tensor states[States > 0 ? States : 1] = {};
  std::int64_t steps = 0;  ///< that changed the states
};

inline any_tensor zeros_for(const any_tensor& like) {
  const any_tensor made = any_tensor::allocate(like.dtype(), like.extents(), like.device());
  const std::int64_t count = made.size(), step = 1;
  const std::uint64_t zero = 0;
  heddle::detail::fill_elements({made.storage(), made.data(), &step}, &zero, &count, 1,
                                size_of(made.dtype()));
  return made;
}

[[noreturn]] HEDDLE_COLD inline void raise_dtype(const char* optimizer, const any_parameter& p) {
  raise<type_error>("heddle::", optimizer, ": parameter ", p.name(), " is ", to_string(p.dtype()),
                    ", for which this optimizer is not compiled; name its dtypes, ", optimizer,
                    "<float, double>");
}

/// The values of a state dict by name, each to be taken once.
class state_reader {
 public:
  explicit state_reader(const named_tensors& values)
      : values_(values), taken_(values.size(), false) {}

  /// Null where there is none of that name.
  const any_tensor* take(const std::string& name) {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      if (values_[i].first != name || taken_[i]) continue;
      taken_[i] = true;
      return &values_[i].second;
    }
    return nullptr;
  }
  /// Throws value_error for values that nobody took, twice the same name among them.
  void require_all_taken() const {
    std::string left;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      if (!taken_[i]) left += (left.empty() ? "" : ", ") + values_[i].first;
    }
    if (left.empty()) return;
    raise<value_error>("heddle::load_state_dict: the state is of no parameter of this optimizer: ",
                       left, "; each state of a parameter once is expected");
  }

 private:
  const named_tensors& values_;
  std::vector<bool> taken_;
};

[[noreturn]] HEDDLE_COLD inline void raise_state(const std::string& name, const any_tensor* got,
                                                 const std::string& expected) {
  raise<value_error>("heddle::load_state_dict: the optimizer's state is not its parameter's: ",
                     name, got == nullptr ? " is missing" : " has other extents, dtype or value",
                     "; ", expected, " is expected");
}

/// Whether a state has the dtype and extents of its parameter.
inline bool fits(const any_tensor& state, const any_parameter& p) {
  bool same = state.dtype() == p.dtype() && state.rank() == p.rank();
  for (std::size_t i = 0; same && i < p.extents().size(); ++i) {
    same = state.extents()[i] == p.extents()[i];
  }
  return same;
}

/// Puts the states and numbers of steps of an optimizer's state dict in place of the slots' own;
/// parameters that it does not name made no step. Throws value_error, before anything is changed.
template <int States>
void load_slots(std::vector<slot<States>>& slots, const char* const (&names)[States],
                const named_tensors& values) {
  std::vector<slot<States>> loaded;
  loaded.reserve(slots.size());
  state_reader reader(values);
  for (const slot<States>& s : slots) {
    slot<States>& l = loaded.emplace_back(slot<States>{s.parameter, s.name});
    const any_tensor* const steps = reader.take(s.name + ".step");
    const any_tensor* states[States];
    bool any = steps != nullptr;
    for (int i = 0; i < States; ++i) {
      states[i] = reader.take(s.name + names[i]);
      any = any || states[i] != nullptr;
    }
    if (!any) continue;
    if (steps != nullptr && steps->dtype() == dtype::i64 && steps->rank() == 0) {
      l.steps = steps->template as<std::int64_t, 0>().item();
    }
    if (l.steps < 1) raise_state(s.name + ".step", steps, "a number of 1 or more, i64 ()");
    for (int i = 0; i < States; ++i) {
      if (states[i] == nullptr || !fits(*states[i], s.parameter)) {
        raise_state(s.name + names[i], states[i],
                    std::string(to_string(s.parameter.dtype())) + " " +
                        to_string(s.parameter.extents().data(), s.parameter.rank()));
      }
      l.states[i] = states[i]->to(s.parameter.device()).clone();
    }
  }
  reader.require_all_taken();
  slots.swap(loaded);
}

/// Whether T's dtype is among those given.
template <class... T>
bool holds_dtype(dtype type) {
  return ((dtype_of<T> == type) || ...);
}

/// The parameters of an optimizer, and what every optimizer does with them.
template <int States, class... T>
class optimizer {
  static_assert(sizeof...(T) > 0, "heddle::optim: name the dtypes of the parameters, adamw<float>");

 public:
  /// Adds parameters; their names, in state dicts, are those they have now. Throws type_error for
  /// dtypes other than T…, value_error for a parameter or a name that comes twice; nothing was
  /// added then.
  void add_parameters(const parameter_list& parameters) {
    std::vector<slot<States>> all = slots_;
    for (const any_parameter& p : parameters) {
      if (!holds_dtype<T...>(p.dtype())) raise_dtype(name_, p);
      // Those of no module are numbered.
      const std::string name = p.name().empty() ? std::to_string(all.size()) : p.name();
      for (const slot<States>& s : all) {
        if (s.parameter.is_same(p)) {
          raise<value_error>("heddle::", name_, ": a parameter was added before: ", name,
                             "; each parameter once is expected");
        }
        if (s.name == name) {
          raise<value_error>("heddle::", name_, ": two parameters have one name: ", name,
                             "; the parameters of one module that holds both are expected");
        }
      }
      all.push_back({p, name});
    }
    slots_.swap(all);
  }
  /// Drops the gradients of all parameters.
  void zero_grad() const {
    for (const auto& s : slots_) s.parameter.zero_grad();
  }
  [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); }
  /// Those that were added, in their order.
  [[nodiscard]] parameter_list parameters() const {
    parameter_list list;
    for (const auto& s : slots_) list.push_back(s.parameter);
    return list;
  }
  /// The types of the parameters' elements.
  using value_types = std::tuple<T...>;

 protected:
  explicit optimizer(const char* name) : name_(name) {}

  /// Calls update(type_identity<T>, where, groups, scalars(steps before)) once for each dtype,
  /// device and number of steps taken among the parameters that have gradients. Operands of a
  /// group: the states, the parameter, the gradient. Steps without states are not counted. In the
  /// replays of a captured step `scalars` is called again.
  template <class Scalars, class Update>
  void for_each_launch(bool with_states, Scalars scalars, Update update) {
    prepare(with_states);
    (launches_of<T>(with_states, scalars, update), ...);
    pending_.clear();  // gradients that zero_grad drops are to be free; queued launches hold theirs
  }

  const std::vector<slot<States>>& slots() const { return slots_; }
  std::vector<slot<States>>& slots() { return slots_; }

 private:
  static constexpr int operands = States + 2;

  /// A parameter to be stepped, with its gradient.
  struct pending_slot {
    slot<States>* of;
    any_tensor gradient;
    bool launched = false;
  };

  // All that needs memory, for all dtypes and devices, before the first parameter changes.
  void prepare(bool with_states) {
    pending_.clear();
    for (slot<States>& s : slots_) {
      const any_tensor gradient = s.parameter.grad();
      if (!gradient.defined()) continue;
      pending_.push_back({&s, gradient.contiguous()});
      for (int i = 0; with_states && i < States; ++i) {
        any_tensor& state = s.states[i];
        const heddle::detail::outside_capture kept;
        if (!state.defined()) {
          state = zeros_for(s.parameter.value());
        } else if (state.device() != s.parameter.device()) {
          state = state.to(s.parameter.device());
        }
      }
    }
  }

  template <class V, class Scalars, class Update>
  void launches_of(bool with_states, const Scalars& scalars, Update& update) {
    for (std::size_t first = 0; first < pending_.size(); ++first) {
      if (pending_[first].launched || pending_[first].of->parameter.dtype() != dtype_of<V>)
        continue;
      const device where = pending_[first].of->parameter.device();
      const std::int64_t steps = pending_[first].of->steps;
      const auto is_of_launch = [&](const pending_slot& p) {
        return !p.launched && p.of->parameter.dtype() == dtype_of<V> &&
               p.of->parameter.device() == where && p.of->steps == steps;
      };
      groups_.clear();
      for (std::size_t i = first; i < pending_.size(); ++i) {
        if (is_of_launch(pending_[i])) add_group(pending_[i], with_states);
      }
      // on the host nothing is captured
      heddle::detail::graph_capture* const into =
          where.is_cuda() ? heddle::detail::this_thread_capture : nullptr;
      {
        const captured_launch<Scalars> launch(*this, into, pending_[first].of, scalars);
        update(std::type_identity<V>{}, where, groups_, scalars(steps));
      }
      for (std::size_t i = first; i < pending_.size(); ++i) {
        if (!is_of_launch(pending_[i])) continue;
        pending_[i].launched = true;
        if (with_states) count_step(pending_[i].of, into);
      }
    }
  }

  // For a launch within a capture: its scalars are computed anew in each replay.
  template <class Scalars>
  class captured_launch {
    struct source final : heddle::detail::scalars_of_replay {
      source(optimizer& by, std::size_t at, const Scalars& given)
          : of(&by), slot(at), scalars(given) {}
      void write(double* to) override {
        const auto now = scalars(of->slots_[slot].steps);
        static_assert(now.size() <= heddle::detail::graph_capture::most_scalars);
        for (const double scalar : now) *to++ = scalar;
      }
      optimizer* of;
      std::size_t slot;
      Scalars scalars;
    };

   public:
    captured_launch(optimizer& by, heddle::detail::graph_capture* into, const slot<States>* of,
                    const Scalars& scalars)
        : into_(into) {
      if (into_ == nullptr) return;
      into_->scalars =
          make_handle<source>(by, static_cast<std::size_t>(of - by.slots_.data()), scalars);
    }
    ~captured_launch() {
      if (into_ != nullptr) into_->scalars = nullptr;
    }
    captured_launch(const captured_launch&) = delete;
    captured_launch& operator=(const captured_launch&) = delete;

   private:
    heddle::detail::graph_capture* into_;
  };

  // A step that is captured is taken by replays.
  void count_step(slot<States>* of, heddle::detail::graph_capture* into) {
    if (into == nullptr) {
      ++of->steps;
    } else {
      const auto at = static_cast<std::size_t>(of - slots_.data());
      using heddle::detail::task;
      into->at_replay(task([this, at] { ++slots_[at].steps; }),
                      task([this, at] { --slots_[at].steps; }));
    }
  }

  void add_group(const pending_slot& p, bool with_states) {
    const any_tensor value = p.of->parameter.value();
    exec::multi_group<operands> group;
    group.count = value.size();
    for (int i = 0; with_states && i < States; ++i) group.set(i, p.of->states[i]);
    group.set(States, value);
    group.set(States + 1, p.gradient);
    groups_.push_back(group);
  }

  const char* name_;
  std::vector<slot<States>> slots_;
  // kept from step to step, so that a step allocates nothing
  std::vector<pending_slot> pending_;
  std::vector<exec::multi_group<operands>> groups_;
};

}  // namespace detail
}  // namespace heddle::inline v0::optim
