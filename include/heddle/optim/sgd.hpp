// SPDX-License-Identifier: BSD-3-Clause
// optim::sgd: stochastic gradient descent with momentum.
#pragma once

#include <array>

#include <heddle/optim/optimizer.hpp>

namespace heddle::inline v0::optim {

/// PyTorch's names and defaults.
struct sgd_options {
  double lr = 1e-3;         ///< the learning rate: how far a step goes
  double momentum = 0;      ///< μ: what of the buffer a step keeps; 0: there is no buffer
  double dampening = 0;     ///< τ: what of the gradient does not enter the buffer
  double weight_decay = 0;  ///< λ: what of each parameter is added to its gradient
  bool nesterov = false;    ///< look ahead: needs a momentum, and no dampening
};

namespace detail {

struct sgd_function {
  constexpr symbol operator()(const symbol& p, const symbol& g, const symbol& lr,
                              const symbol& weight_decay) const {
    return p - lr * (g + weight_decay * p);
  }
};
struct momentum_function {
  constexpr symbol_pack<2> operator()(const symbol& buffer, const symbol& p, const symbol& g,
                                      const symbol& lr, const symbol& weight_decay,
                                      const symbol& keep, const symbol& gain,
                                      const symbol& of_gradient, const symbol& of_buffer) const {
    const symbol d = g + weight_decay * p;
    const symbol b = keep * buffer + gain * d;
    return outputs(b, p - lr * (of_gradient * d + of_buffer * b));
  }
};

}  // namespace detail

/// d = g + λ p;  b = μ b + (1 - τ) d (at first b = d);  p = p - lr b, or with Nesterov's momentum
/// p - lr (d + μ b): as torch.optim.SGD (Sutskever et al. 2013). A step is one launch over all
/// parameters of a dtype and device; parameters without a gradient are left alone.
///
///     optim::sgd optimizer(parameters(model), {.lr = 0.1, .momentum = 0.9});
///
/// For other dtypes than float name them: `sgd<float, double>`.
template <class... T>
class sgd : public detail::optimizer<1, T...> {
  using base = detail::optimizer<1, T...>;

 public:
  /// May be changed between steps.
  sgd_options options;

  /// Throws value_error for Nesterov's momentum without momentum, or with dampening.
  explicit sgd(const parameter_list& parameters, sgd_options given = {})
      : base("sgd"), options(given) {
    if (options.nesterov && (options.momentum <= 0 || options.dampening != 0)) {
      raise<value_error>("heddle::sgd: Nesterov's momentum with momentum ", options.momentum,
                         " and dampening ", options.dampening,
                         "; a momentum above 0 and no dampening are expected");
    }
    this->add_parameters(parameters);
  }
  /// The learning rate, for schedulers.
  double& lr() { return options.lr; }

  /// Changes all parameters that have a gradient. Memory is asked for before the first change, and
  /// a step that throws is not counted.
  void step() {
    const bool momentum = options.momentum != 0;
    const auto scalars = [this](std::int64_t before) {
      return std::array{options.lr,
                        options.weight_decay,
                        before == 0 ? 0.0 : options.momentum,
                        before == 0 ? 1.0 : 1 - options.dampening,
                        options.nesterov ? 1.0 : 0.0,
                        options.nesterov ? options.momentum : 1.0};
    };
    this->for_each_launch(
        momentum, scalars,
        [&]<class V>(std::type_identity<V>, device where, const auto& groups, const auto& s) {
          if (!momentum) {
            plain_.resize(groups.size());
            for (std::size_t i = 0; i < groups.size(); ++i) {
              for (int k = 0; k < 2; ++k) {
                plain_[i].data[k] = groups[i].data[k + 1];
                plain_[i].owners[k] = groups[i].owners[k + 1];
              }
              plain_[i].count = groups[i].count;
            }
            exec::multi_assign<V, 2>(detail::sgd_function{}, plain_, where, s[0], s[1]);
            return;
          }
          exec::multi_assign<V, 3>(detail::momentum_function{}, groups, where, s[0], s[1], s[2],
                                   s[3], s[4], s[5]);
        });
  }

  /// What training needs to go on: `<name>.momentum_buffer` and `<name>.step`, the steps with
  /// momentum, of each parameter. Parameters that made none have nothing.
  [[nodiscard]] named_tensors state_dict() const {
    named_tensors result;
    for (const auto& s : this->slots()) {
      if (s.steps == 0) continue;
      result.emplace_back(s.name + ".momentum_buffer", s.states[0]);
      result.emplace_back(s.name + ".step", tensor<std::int64_t, 0>(s.steps));
    }
    return result;
  }
  /// Puts a state dict in place of the present state, from any device; parameters that it does not
  /// name made no step. Throws value_error, before anything is changed, for states that are
  /// missing, of no parameter, or of other extents or dtype than their parameter.
  void load_state_dict(const named_tensors& values) {
    detail::load_slots(this->slots(), {".momentum_buffer"}, values);
  }

 private:
  std::vector<exec::multi_group<2>> plain_;
};
namespace detail {
HEDDLE_ONCE(class optimizer<1, float>);
}  // namespace detail
HEDDLE_ONCE(class sgd<float>);
sgd(const parameter_list&)->sgd<float>;
sgd(const parameter_list&, sgd_options)->sgd<float>;

}  // namespace heddle::inline v0::optim
