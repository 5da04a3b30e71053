// SPDX-License-Identifier: BSD-3-Clause
// optim::grad_scaler: loss scaling, for gradients of 16-bit floats.
#pragma once

#include <limits>

#include <heddle/autograd/variable.hpp>
#include <heddle/optim/gradients.hpp>

namespace heddle::inline v0::optim {

/// PyTorch's defaults.
struct grad_scaler_options {
  double init_scale = 65536;            ///< what losses are multiplied by at first
  double growth_factor = 2;             ///< of the scale, after growth_interval good steps
  double backoff_factor = 0.5;          ///< of the scale, after gradients that are not finite
  std::int64_t growth_interval = 2000;  ///< steps in a row without such gradients
};

namespace detail {

/// Divides gradients by the scale; 1 where one of them was not finite, else 0.
template <class V>
struct unscale_function {
  using wide = compute_type<V>;
  constexpr symbol_pack<2> operator()(const symbol& g, const symbol& inverse) const {
    const symbol finite = abs(cast<wide>(g)) <= std::numeric_limits<wide>::max();
    return outputs(cast<V>(g * inverse), maximum(amax(1 - cast<float>(finite)), 0));
  }
};

}  // namespace detail

/// Multiplies losses so that small gradients do not vanish in 16 bits, and leaves out steps whose
/// gradients are not finite, as torch.amp.GradScaler (Micikevicius et al. 2018, section 3.2):
///
///     optim::grad_scaler scaler;
///     scaler.scale(loss).backward();
///     scaler.step(optimizer);
///     scaler.update();
///
/// The gradients of one dtype and device are divided by the scale and looked at in one launch. A
/// loss of float16 times the first scale is infinite: sum up in float.
class grad_scaler {
 public:
  explicit grad_scaler(grad_scaler_options given = {}) : options_(given), scale_(given.init_scale) {
    if (!is_scale(given.init_scale) || !(given.growth_factor > 1) || !(given.backoff_factor > 0) ||
        !(given.backoff_factor < 1) || given.growth_interval < 1) {
      raise<value_error>(
          "heddle::grad_scaler: the options do not fit: init_scale ", given.init_scale,
          ", growth_factor ", given.growth_factor, ", backoff_factor ", given.backoff_factor,
          ", growth_interval ", given.growth_interval,
          "; a finite scale above 0, growth above 1, backoff between 0 and 1, an interval "
          "of 1 or more are expected");
    }
  }

  /// The loss times the scale.
  template <class T>
  [[nodiscard]] variable<T, 0> scale(const variable<T, 0>& loss) const {
    return loss * scale_;
  }
  /// What losses are multiplied by now.
  [[nodiscard]] double get_scale() const noexcept { return scale_; }

  /// Divides the gradients of an optimizer's parameters by the scale, so that they may be clipped
  /// before `step`. Nothing waits. Where it throws, as for want of memory, the step is left out and
  /// the scale falls. Throws state_error for the second call before `update`.
  template <class Optimizer>
  void unscale_(Optimizer& optimizer) {
    if (find(&optimizer) != nullptr) {
      raise<state_error>(
          "heddle::grad_scaler::unscale_: the gradients of this optimizer were divided by the "
          "scale before; once before each update is expected");
    }
    // until all is done, as though a gradient was not finite: some of them may not be divided
    unscaled& made = unscaled_.emplace_back(unscaled{&optimizer});
    [&]<class... T>(std::type_identity<std::tuple<T...>>) {
      const detail::gradient_lists<T...> gradients("grad_scaler", optimizer.parameters());
      gradients.for_each([&]<class V>(std::type_identity<V>, const detail::gradient_list& list) {
        made.found_inf.push_back(exec::multi_assign<V, 1>(detail::unscale_function<V>{},
                                                          list.groups, list.where, 1 / scale_));
      });
    }(std::type_identity<typename Optimizer::value_types>{});
    made.complete = true;
  }

  /// The optimizer's step, unless a gradient is not finite; divides the gradients by the scale
  /// before, if `unscale_` was not called. Waits for the gradients. Returns whether the step was
  /// made. Throws state_error for the second call before `update`.
  template <class Optimizer>
  bool step(Optimizer& optimizer) {
    if (find(&optimizer) == nullptr) unscale_(optimizer);
    unscaled& of = *find(&optimizer);
    if (of.stepped) {
      raise<state_error>(
          "heddle::grad_scaler::step: this optimizer was stepped before; once before each update "
          "is expected");
    }
    const bool finite = of.finite();
    if (finite) optimizer.step();  // where it throws, it may be called again
    of.stepped = true;
    return finite;
  }

  /// Behind the steps of all optimizers: lowers the scale if a gradient was not finite, raises it
  /// after growth_interval steps without. Throws state_error if there was no step or `unscale_`.
  void update() {
    if (unscaled_.empty()) {
      raise<state_error>(
          "heddle::grad_scaler::update: no gradient was divided by the scale since the last "
          "update; step or unscale_ is expected before");
    }
    bool finite = true;
    for (const unscaled& each : unscaled_) finite = each.finite() && finite;
    unscaled_.clear();
    if (!finite) {
      scale_ *= options_.backoff_factor;
      good_steps_ = 0;
    } else if (++good_steps_ >= options_.growth_interval) {
      const double grown = scale_ * options_.growth_factor;
      if (is_scale(grown)) scale_ = grown;
      good_steps_ = 0;
    }
  }

  /// `scale` and `growth_tracker`.
  [[nodiscard]] named_tensors state_dict() const {
    named_tensors result;
    result.emplace_back("scale", tensor<double, 0>(scale_));
    result.emplace_back("growth_tracker", tensor<std::int64_t, 0>(good_steps_));
    return result;
  }
  /// Throws value_error, before anything is changed, for anything but what `state_dict` gives.
  void load_state_dict(const named_tensors& values) {
    detail::state_reader reader(values);
    const any_tensor* const scale = reader.take("scale");
    const any_tensor* const steps = reader.take("growth_tracker");
    const bool has_scale = scale != nullptr && scale->dtype() == dtype::f64 && scale->rank() == 0;
    const double read = has_scale ? scale->as<double, 0>().item() : 0;
    if (!is_scale(read)) detail::raise_state("scale", scale, "a finite number above 0, f64 ()");
    const bool has_steps = steps != nullptr && steps->dtype() == dtype::i64 && steps->rank() == 0;
    const std::int64_t count = has_steps ? steps->as<std::int64_t, 0>().item() : -1;
    if (count < 0) detail::raise_state("growth_tracker", steps, "a number of 0 or more, i64 ()");
    reader.require_all_taken();
    scale_ = read;
    good_steps_ = count;
  }

 private:
  /// Gradients that were divided by the scale since the last update.
  struct unscaled {
    const void* optimizer;
    std::vector<tensor<float, 0>> found_inf = {};  ///< per dtype and device: above 0 for some
    bool complete = false;                         ///< all of them
    bool stepped = false;

    [[nodiscard]] bool finite() const {
      if (!complete) return false;
      for (const tensor<float, 0>& found : found_inf) {
        if (found.item() > 0) return false;
      }
      return true;
    }
  };
  /// Whether losses of float may be multiplied by it.
  static bool is_scale(double x) { return x > 0 && x <= std::numeric_limits<float>::max(); }
  unscaled* find(const void* optimizer) {
    for (unscaled& each : unscaled_) {
      if (each.optimizer == optimizer) return &each;
    }
    return nullptr;
  }

  grad_scaler_options options_;
  double scale_;
  std::int64_t good_steps_ = 0;
  std::vector<unscaled> unscaled_;
};

}  // namespace heddle::inline v0::optim
