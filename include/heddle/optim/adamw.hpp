// SPDX-License-Identifier: BSD-3-Clause
// optim::adamw: Adam with decoupled weight decay.
#pragma once

#include <array>

#include <heddle/optim/optimizer.hpp>

namespace heddle::inline v0::optim {

/// PyTorch's defaults.
struct adamw_options {
  double lr = 1e-3;            ///< the learning rate: how far a step goes
  double beta1 = 0.9;          ///< what the mean of the gradients keeps at each step
  double beta2 = 0.999;        ///< what the mean of their squares keeps
  double eps = 1e-8;           ///< added to the root of that mean, against division by 0
  double weight_decay = 0.01;  ///< λ: what of each parameter a step takes off, times lr
};

namespace detail {

struct adamw_function {
  constexpr symbol_pack<3> operator()(const symbol& m, const symbol& v, const symbol& p,
                                      const symbol& g, const symbol& beta1, const symbol& rest1,
                                      const symbol& beta2, const symbol& rest2, const symbol& decay,
                                      const symbol& step_size, const symbol& correction,
                                      const symbol& eps) const {
    const symbol first = beta1 * m + rest1 * g;
    const symbol second = beta2 * v + rest2 * g * g;
    return outputs(first, second,
                   p * decay - step_size * first / (sqrt(second) * correction + eps));
  }
};

}  // namespace detail

/// m = β₁ m + (1 - β₁) g;  v = β₂ v + (1 - β₂) g²;  p = p (1 - lr λ) - lr m̂ / (√v̂ + eps), with the
/// means' bias corrected for the number of steps (Loshchilov and Hutter 2019, algorithm 2; as
/// torch.optim.AdamW). A step is one launch over all parameters of a dtype and device; parameters
/// without a gradient are left alone.
///
///     optim::adamw optimizer(parameters(model), {.lr = 3e-4});
///
/// For other dtypes than float name them: `adamw<float, double>`.
template <class... T>
class adamw : public detail::optimizer<2, T...> {
  using base = detail::optimizer<2, T...>;

 public:
  /// May be changed between steps.
  adamw_options options;

  explicit adamw(const parameter_list& parameters, adamw_options given = {})
      : base("adamw"), options(given) {
    this->add_parameters(parameters);
  }
  /// The learning rate, for schedulers.
  double& lr() { return options.lr; }

  /// Changes all parameters that have a gradient. Memory is asked for before the first change, and
  /// a step that throws is not counted.
  void step() {
    const auto scalars = [this](std::int64_t before) {
      const double steps = static_cast<double>(before + 1);
      const double bias1 = 1 - __builtin_pow(options.beta1, steps);
      const double bias2 = 1 - __builtin_pow(options.beta2, steps);
      return std::array{options.beta1,
                        1 - options.beta1,
                        options.beta2,
                        1 - options.beta2,
                        1 - options.lr * options.weight_decay,
                        options.lr / bias1,
                        1 / __builtin_sqrt(bias2),
                        options.eps};
    };
    this->for_each_launch(
        true, scalars,
        []<class V>(std::type_identity<V>, device where, const auto& groups, const auto& s) {
          exec::multi_assign<V, 4>(detail::adamw_function{}, groups, where, s[0], s[1], s[2], s[3],
                                   s[4], s[5], s[6], s[7]);
        });
  }

  /// What training needs to go on: of each parameter `<name>.exp_avg`, `<name>.exp_avg_sq` and
  /// `<name>.step`. Parameters that made no step have nothing.
  [[nodiscard]] named_tensors state_dict() const {
    named_tensors result;
    for (const auto& s : this->slots()) {
      if (s.steps == 0) continue;
      result.emplace_back(s.name + ".exp_avg", s.states[0]);
      result.emplace_back(s.name + ".exp_avg_sq", s.states[1]);
      result.emplace_back(s.name + ".step", tensor<std::int64_t, 0>(s.steps));
    }
    return result;
  }
  /// Puts a state dict in place of the present state, from any device; parameters that it does not
  /// name made no step. Throws value_error, before anything is changed, for states that are
  /// missing, of no parameter, or of other extents or dtype than their parameter.
  void load_state_dict(const named_tensors& values) {
    detail::load_slots(this->slots(), {".exp_avg", ".exp_avg_sq"}, values);
  }
};
namespace detail {
HEDDLE_ONCE(class optimizer<2, float>);
}  // namespace detail
HEDDLE_ONCE(class adamw<float>);
adamw(const parameter_list&)->adamw<float>;
adamw(const parameter_list&, adamw_options)->adamw<float>;

}  // namespace heddle::inline v0::optim
