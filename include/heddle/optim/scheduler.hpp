// SPDX-License-Identifier: BSD-3-Clause
// Learning-rate schedules: each sets an optimizer's rate from the number of its own steps.
#pragma once

#include <cstdint>

#include <heddle/core/error.hpp>

namespace heddle::inline v0::optim {

namespace detail {

inline std::int64_t checked_period(const char* scheduler, const char* what, std::int64_t steps) {
  if (steps < 1) {
    raise<value_error>("heddle::", scheduler, ": the ", what, " is not positive: ", steps,
                       "; a number of steps of 1 or more is expected");
  }
  return steps;
}

}  // namespace detail

/// lr = base · gamma^⌊steps / size⌋, as PyTorch's StepLR. `step()` once an epoch, after the
/// optimizer's. The optimizer must outlive it. Throws value_error for a size below 1.
template <class Optimizer>
class step_lr {
 public:
  step_lr(Optimizer& optimizer, std::int64_t size, double gamma = 0.1)
      : optimizer_(&optimizer),
        base_(optimizer.lr()),
        size_(detail::checked_period("step_lr", "size", size)),
        gamma_(gamma) {}

  /// One step of the schedule: sets the optimizer's rate.
  void step() {
    ++steps_;
    optimizer_->lr() = base_ * __builtin_pow(gamma_, static_cast<double>(steps_ / size_));
  }

 private:
  Optimizer* optimizer_;
  double base_;
  std::int64_t size_;
  double gamma_;
  std::int64_t steps_ = 0;
};

/// lr = minimum + (base - minimum) (1 + cos(π steps / period)) / 2 (Loshchilov and Hutter 2017, eq.
/// 5, without restarts), as PyTorch's CosineAnnealingLR; behind the period it stays at the minimum,
/// where PyTorch's rises again. The optimizer must outlive it. Throws value_error for a period
/// below 1.
template <class Optimizer>
class cosine_lr {
 public:
  cosine_lr(Optimizer& optimizer, std::int64_t period, double minimum = 0)
      : optimizer_(&optimizer),
        base_(optimizer.lr()),
        minimum_(minimum),
        period_(detail::checked_period("cosine_lr", "period", period)) {}

  /// One step of the schedule: sets the optimizer's rate.
  void step() {
    if (steps_ < period_) ++steps_;
    const double part = static_cast<double>(steps_) / static_cast<double>(period_);
    optimizer_->lr() =
        minimum_ + (base_ - minimum_) * (1 + __builtin_cos(3.14159265358979323846 * part)) / 2;
  }

 private:
  Optimizer* optimizer_;
  double base_;
  double minimum_;
  std::int64_t period_;
  std::int64_t steps_ = 0;
};

}  // namespace heddle::inline v0::optim
