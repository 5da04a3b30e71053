// SPDX-License-Identifier: BSD-3-Clause
// What a training loop tells: its state, its records of epochs, and the callbacks that are told.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <heddle/core/error.hpp>
#include <heddle/core/reference.hpp>

namespace heddle::inline v0 {

/// A number with a name, such as a loss.
struct named_value {
  std::string name;  ///< as in `epoch_record::at` and in logs
  double value;      ///< of one step, or a mean over an epoch's samples
};

/// The numbers of one epoch, in the order in which they first appeared.
struct epoch_record {
  /// Counted from 1.
  std::int64_t epoch = 0;
  /// Batches and samples that were trained on.
  std::int64_t batches = 0;
  std::int64_t samples = 0;  ///< the first extents of the batches' first tensors
  /// Of training; callbacks at the end of the epoch are not included.
  double seconds = 0;
  /// Means over the samples, and what callbacks logged.
  std::vector<named_value> metrics = {};

  /// Null where there is none of that name.
  [[nodiscard]] const double* find(std::string_view name) const noexcept {
    for (const named_value& each : metrics) {
      if (each.name == name) return &each.value;
    }
    return nullptr;
  }
  /// The metric of that name. Throws value_error, which lists the names there are.
  [[nodiscard]] double at(std::string_view name) const {
    const double* const found = find(name);
    if (found == nullptr) {
      std::string names;
      for (const named_value& each : metrics)
        names += (names.empty() ? "\"" : ", \"") + each.name + '"';
      raise<value_error>("heddle::epoch_record::at: epoch ", epoch,
                         " has no metric of this name: \"", name, "\"; it has ",
                         names.empty() ? "none" : names);
    }
    return *found;
  }
  /// Replaces the metric of that name, or adds one.
  void set(std::string_view name, double value) {
    for (named_value& each : metrics) {
      if (each.name == name) {
        each.value = value;
        return;
      }
    }
    metrics.push_back({std::string(name), value});
  }
};

/// What `fit` returns: the epochs, and why training ended before the last one (empty: it did not).
struct training_history {
  std::vector<epoch_record> epochs = {};  ///< of this run: not those that an earlier one completed
  std::string stop_reason;                ///< what `training_run::stop` was given

  /// The last epoch. Throws state_error where there was none.
  [[nodiscard]] const epoch_record& last() const {
    if (epochs.empty()) {
      raise<state_error>(
          "heddle::training_history::last: no epoch was trained; ask for one at least");
    }
    return epochs.back();
  }
  /// One metric over the epochs. Throws value_error where an epoch lacks it.
  [[nodiscard]] std::vector<double> of(std::string_view name) const {
    std::vector<double> values;
    for (const epoch_record& each : epochs) values.push_back(each.at(name));
    return values;
  }
};

/// A training loop under way, as its callbacks see it.
struct training_run {
  /// The last epoch to be trained, counted from 1.
  std::int64_t epochs = 0;
  /// Batches of an epoch; -1 where the loader does not say.
  std::int64_t batches_per_epoch = -1;
  /// The epoch under way: its metrics are means over the samples so far.
  epoch_record current;
  /// What the last step returned.
  std::vector<named_value> step = {};
  /// Epochs that are complete.
  training_history history;

  /// Adds a number to the current epoch's record.
  void log(std::string_view name, double value) { current.set(name, value); }
  /// Ends training after this batch; callbacks are told of the end of its epoch, and of training.
  /// The first reason stays.
  void stop(std::string reason) {
    if (!stopping_) history.stop_reason = std::move(reason);
    stopping_ = true;
  }
  /// Whether `stop` was called.
  [[nodiscard]] bool stopping() const noexcept { return stopping_; }

 private:
  bool stopping_ = false;
};

/// Anything with some of the member functions `on_fit_begin`, `on_epoch_begin`, `on_batch_end`,
/// `on_epoch_end`, `on_fit_end` and `on_failure`, each called with the `training_run&`. An
/// exception from one ends training; `on_failure` follows any exception, and its own are dropped.
/// Copies share one object; made of a pointer, the user's own is called, and outlives the training.
class callback {
 public:
  callback() = default;

  template <class Object>
  requires(!std::is_same_v<std::remove_cvref_t<Object>, callback>) callback(Object object);

  explicit operator bool() const noexcept { return static_cast<bool>(held_); }

  /// When callbacks are told; the function of that name with `on_` before it is called.
  enum class moment { fit_begin, epoch_begin, batch_end, epoch_end, fit_end, failure };
  /// Calls the object's function for this moment, if it has one: for training loops of one's own.
  void tell(moment when, training_run& run) const {
    if (held_) held_->tell(when, run);
  }

 private:
  struct listener : counted {
    virtual void tell(moment when, training_run& run) = 0;
  };
  template <class Object>
  struct listener_of;

  handle<listener> held_;
};

namespace detail {

template <class Object>
void tell_object(Object& object, callback::moment when, training_run& run) {
#define HEDDLE_TELL(name)                                \
  case callback::moment::name:                           \
    if constexpr (requires { object.on_##name(run); }) { \
      object.on_##name(run);                             \
    }                                                    \
    return
  switch (when) {
    HEDDLE_TELL(fit_begin);
    HEDDLE_TELL(epoch_begin);
    HEDDLE_TELL(batch_end);
    HEDDLE_TELL(epoch_end);
    HEDDLE_TELL(fit_end);
    HEDDLE_TELL(failure);
  }
#undef HEDDLE_TELL
}

template <class Object>
concept listens = requires(Object& object, training_run& run) {
  object.on_fit_begin(run);
}
|| requires(Object& object, training_run& run) { object.on_epoch_begin(run); }
|| requires(Object& object, training_run& run) { object.on_batch_end(run); }
|| requires(Object& object, training_run& run) { object.on_epoch_end(run); }
|| requires(Object& object, training_run& run) { object.on_fit_end(run); }
|| requires(Object& object, training_run& run) { object.on_failure(run); };

}  // namespace detail

template <class Object>
struct callback::listener_of final : callback::listener {
  explicit listener_of(Object given) : object(std::move(given)) {}
  void tell(moment when, training_run& run) override {
    if constexpr (std::is_pointer_v<Object>) {
      detail::tell_object(*object, when, run);
    } else {
      detail::tell_object(object, when, run);
    }
  }
  void dispose() noexcept override { delete this; }
  Object object;
};

template <class Object>
requires(!std::is_same_v<std::remove_cvref_t<Object>, callback>) callback::callback(Object object) {
  static_assert(
      detail::listens<std::remove_pointer_t<Object>>,
      "heddle::callback: the type has none of on_fit_begin, on_epoch_begin, on_batch_end, "
      "on_epoch_end, on_fit_end and on_failure, callable with a training_run&");
  held_ = handle<listener>::adopt(new listener_of<Object>(std::move(object)));
}

/// A callback of a function: `on_epoch_end([&](training_run& run) { … })`.
template <class Function>
[[nodiscard]] callback on_epoch_begin(Function function) {
  struct listener {
    Function function;
    void on_epoch_begin(training_run& run) { function(run); }
  };
  return callback(listener{std::move(function)});
}
/// As on_epoch_begin, after each batch: `run.step` is what its step returned.
template <class Function>
[[nodiscard]] callback on_batch_end(Function function) {
  struct listener {
    Function function;
    void on_batch_end(training_run& run) { function(run); }
  };
  return callback(listener{std::move(function)});
}
/// As on_epoch_begin, after each epoch: `run.current` is complete but for what callbacks log.
template <class Function>
[[nodiscard]] callback on_epoch_end(Function function) {
  struct listener {
    Function function;
    void on_epoch_end(training_run& run) { function(run); }
  };
  return callback(listener{std::move(function)});
}

/// Ends training when a metric has not improved for some epochs. Keras' rules.
struct early_stopping {
  /// The metric that is judged.
  std::string monitor = "loss";
  /// Epochs without improvement after which training ends.
  std::int64_t patience = 1;
  /// By how much a value must be better to count.
  double min_delta = 0;
  /// Whether larger is better: of accuracies.
  bool maximize = false;

  /// Each training is judged by its own epochs.
  void on_fit_begin(training_run&) {
    best = 0;
    best_epoch = 0;
    waited = 0;
  }
  /// Throws value_error where the epoch has no such metric. A NaN is no improvement.
  void on_epoch_end(training_run& run) {
    const double value = run.current.at(monitor);
    const double gain = maximize ? value - best : best - value;
    if (value == value && (best_epoch == 0 || gain > min_delta)) {
      best = value;
      best_epoch = run.current.epoch;
      waited = 0;
    } else if (++waited >= patience) {
      run.stop(monitor + " has not improved since epoch " + std::to_string(best_epoch));
    }
  }

  /// What was found so far in the last training; give `&stopper` to the trainer to read them.
  double best = 0;
  std::int64_t best_epoch = 0;  ///< counted from 1; 0: there was no number yet
  std::int64_t waited = 0;      ///< epochs since then
};

}  // namespace heddle::inline v0
