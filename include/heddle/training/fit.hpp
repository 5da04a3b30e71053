// SPDX-License-Identifier: BSD-3-Clause
// The training loop: epochs of batches, means of metrics, callbacks, and an early end where a loss
// fails.
#pragma once

#include <cstdint>
#include <ctime>
#include <initializer_list>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <heddle/core/error.hpp>
#include <heddle/tensor/concept.hpp>
#include <heddle/training/callback.hpp>

namespace heddle::inline v0 {

/// How to train.
struct trainer_options {
  /// The last epoch, counted from 1.
  std::int64_t epochs = 1;
  /// Epochs that an earlier run completed: training begins with the next.
  std::int64_t completed_epochs = 0;
  /// Told in this order, at each moment.
  std::vector<callback> callbacks = {};
  /// Told last, so that it shows what the callbacks logged: `console_progress(std::cout)`.
  callback progress = {};
};

/// What a step may return where the loss is not all: `return step_metrics{{"loss", l}, {"accuracy",
/// a}};`. Values are numbers, or tensors and variables of one element. The loss is the one of that
/// name, or else the first.
class step_metrics {
 public:
  /// A name and a value.
  struct item {
    std::string name;  ///< of the metric: "loss", "accuracy"
    double value;      ///< of this batch; fit averages over the epoch's samples

    template <class Value>
    item(std::string given, const Value& number);
  };

  step_metrics(std::initializer_list<item> items) {
    for (const item& each : items) values_.push_back({each.name, each.value});
  }
  /// In the order given.
  [[nodiscard]] const std::vector<named_value>& values() const noexcept { return values_; }

 private:
  std::vector<named_value> values_;
};

namespace detail {

/// The number that a step's result holds: itself, or the only element of a tensor or variable.
template <class Value>
double number_of(const Value& value) {
  if constexpr (requires { value.item(); }) {
    return static_cast<double>(value.item());
  } else if constexpr (requires { value.value().item(); }) {
    return static_cast<double>(value.value().item());
  } else {
    static_assert(
        std::is_convertible_v<const Value&, double>,
        "heddle::fit: the step returns no loss; return a number, a tensor or variable of one "
        "element, or step_metrics");
    return static_cast<double>(value);
  }
}

/// How many samples a batch holds: the first extent of its first tensor, 1 where there is none.
template <class Batch>
std::int64_t samples_in(const Batch& batch) {
  if constexpr (expression<Batch>) {
    if constexpr (Batch::rank > 0) {
      return batch.extents()[0];
    } else {
      return 1;
    }
  } else if constexpr (requires { std::tuple_size<Batch>::value; }) {
    if constexpr (std::tuple_size<Batch>::value > 0) {
      return samples_in(std::get<0>(batch));
    } else {
      return 1;
    }
  } else if constexpr (requires { static_cast<std::int64_t>(batch.size()); }) {
    return static_cast<std::int64_t>(batch.size());
  } else {
    return 1;
  }
}

inline double seconds_now() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// The part of the loop that does not depend on batches and steps.
class trainer {
 public:
  explicit trainer(const trainer_options& options) : options_(options) {
    run.epochs = options.epochs;
  }

  training_run run;

  void tell(callback::moment when) {
    for (const callback& each : options_.callbacks) each.tell(when, run);
    options_.progress.tell(when, run);
  }
  void tell_failure() noexcept {
    try {
      tell(callback::moment::failure);
    } catch (...) {  // what made training fail is the news
    }
  }
  void begin_epoch(std::int64_t epoch) {
    run.current = {};
    run.current.epoch = epoch;
    weights_.clear();
    tell(callback::moment::epoch_begin);
    began_ = seconds_now();
  }
  // Throws value_error for a loss that is not finite.
  void end_batch(std::int64_t samples) {
    ++run.current.batches;
    const named_value* loss = run.step.data();
    for (const named_value& each : run.step) {
      if (each.name == "loss") loss = &each;
    }
    if (run.step.empty() || !__builtin_isfinite(loss->value))
      refuse(run.step.empty() ? nullptr : loss);
    run.current.samples += samples;
    for (const named_value& each : run.step) add(each, static_cast<double>(samples));
    run.current.seconds = seconds_now() - began_;
    tell(callback::moment::batch_end);
  }
  void end_epoch() {
    if (run.current.batches == 0) {
      raise<value_error>("heddle::fit: the loader has no batch: epoch ", run.current.epoch,
                         "; give it samples, as many as a batch with drop_last");
    }
    tell(callback::moment::epoch_end);
    run.history.epochs.push_back(run.current);
  }

 private:
  // A metric that some steps leave out is the mean over the others.
  void add(const named_value& value, double samples) {
    std::size_t place = 0;
    while (place < weights_.size() && weights_[place].name != value.name) ++place;
    if (place == weights_.size()) weights_.push_back({value.name, 0});
    double& weight = weights_[place].value;
    const double* const before = run.current.find(value.name);
    weight += samples;
    const double mean = before != nullptr && weight > samples ? *before : value.value;
    run.current.set(value.name,
                    samples > 0 ? mean + (value.value - mean) * (samples / weight) : mean);
  }
  [[noreturn]] void refuse(const named_value* loss) const {
    if (loss == nullptr) {
      raise<value_error>("heddle::fit: the step returned no metric at epoch ", run.current.epoch,
                         ", batch ", run.current.batches, "; return the loss");
    }
    const double* const before = run.current.find(loss->name);
    const char* const text = loss->value != loss->value ? "nan" : loss->value > 0 ? "inf" : "-inf";
    std::string last = ", its first step";
    if (before != nullptr) {
      last = "; the epoch's mean before was " + text_of(*before);
    } else if (!run.history.epochs.empty()) {
      if (const double* mean = run.history.epochs.back().find(loss->name)) {
        last = "; the mean of the epoch before was " + text_of(*mean);
      }
    }
    raise<value_error>(
        "heddle::fit: the loss is not finite: ", text, " at epoch ", run.current.epoch, ", batch ",
        run.current.batches, last,
        "; lower the learning rate, clip gradients, or look for a logarithm of 0 or a "
        "division by 0");
  }

  const trainer_options& options_;
  std::vector<named_value> weights_;
  double began_ = 0;
};

}  // namespace detail

template <class Value>
step_metrics::item::item(std::string given, const Value& number)
    : name(std::move(given)), value(detail::number_of(number)) {}

/// Trains: for each epoch, calls `step(batch)` for each batch of the loader. The step does what
/// training is: forward, backward, the optimizer. It returns the loss, or step_metrics; their means
/// over the epoch's samples make its record.
///
///     auto history = fit({.epochs = 20, .progress = console_progress(std::cout)}, train_batches,
///                        [&](auto& batch) {
///                          auto& [x, y] = batch;
///                          variable loss = cross_entropy(model(x), y);
///                          optimizer.zero_grad();
///                          loss.backward();
///                          optimizer.step();
///                          return loss.item();
///                        });
///
/// The loader is a `loader`, or any range of batches; one loop over it is an epoch. Nothing is
/// printed unless `progress` is given. Throws value_error where a loss is NaN or infinite, at that
/// batch, or where the loader has no batch; exceptions of the step, the loader and callbacks pass
/// through.
template <class Loader, class Step>
training_history fit(const trainer_options& options, Loader&& batches, Step&& step) {
  if (options.completed_epochs < 0 || options.epochs < 0) {
    raise<value_error>("heddle::fit: a number of epochs is negative: ", options.epochs, " with ",
                       options.completed_epochs, " completed; both are 0 or more");
  }
  detail::trainer trainer(options);
  training_run& run = trainer.run;
  if constexpr (requires { static_cast<std::int64_t>(batches.size()); }) {
    run.batches_per_epoch = static_cast<std::int64_t>(batches.size());
  }
  try {
    trainer.tell(callback::moment::fit_begin);
    for (std::int64_t epoch = options.completed_epochs + 1;
         epoch <= options.epochs && !run.stopping(); ++epoch) {
      trainer.begin_epoch(epoch);
      if (run.stopping()) break;
      for (auto&& batch : batches) {
        const std::int64_t samples = detail::samples_in(batch);
        using result = std::remove_cvref_t<decltype(step(batch))>;
        if constexpr (std::is_same_v<result, step_metrics>) {
          run.step = step(batch).values();
        } else {
          static_assert(
              !std::is_void_v<result>,
              "heddle::fit: the step returns no loss; return a number, a tensor or variable "
              "of one element, or step_metrics");
          run.step.assign(1, {"loss", detail::number_of(step(batch))});
        }
        trainer.end_batch(samples);
        if (run.stopping()) break;  // before the loader makes another batch
      }
      trainer.end_epoch();
    }
    trainer.tell(callback::moment::fit_end);
  } catch (...) {
    trainer.tell_failure();
    throw;
  }
  return std::move(run.history);
}

}  // namespace heddle::inline v0
