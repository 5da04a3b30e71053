// SPDX-License-Identifier: BSD-3-Clause
// sharded: a model whose layers are on several devices, used like the model.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <heddle/nn/state.hpp>
#include <heddle/placement/policy.hpp>

namespace heddle::inline v0 {

namespace detail {

/// A member of a model that is a module with parameters of its own or below it.
struct placed_layer {
  placement::layer_cost cost;
  std::vector<handle<parameter_state>*> parameters;
};

/// The layers of a model, and last what belongs to none: the model's own parameters, without a
/// name.
inline std::vector<placed_layer> layers_of(const module_members& found) {
  std::vector<placed_layer> layers;
  for (const auto& [name, slot] : found.parameters) {
    const std::size_t dot = name.find('.');
    const std::string layer = dot == name.npos ? std::string() : name.substr(0, dot);
    if (layers.empty() || layers.back().cost.name != layer) layers.push_back({{layer, 0, 0}, {}});
    placed_layer& last = layers.back();
    last.parameters.push_back(slot);
    last.cost.parameters += (*slot)->size();
    last.cost.bytes += (*slot)->size() * static_cast<std::int64_t>(size_of((*slot)->type));
  }
  return layers;
}

}  // namespace detail

/// Owns a model and spreads its layers over devices as the policy says. Called like the model: each
/// layer computes where its parameters are, activations cross from device to device as operations
/// of the tape, and so gradients cross back. Nothing of it waits: the devices' queues order the
/// work.
///
/// The model's type stays as it is; so do the names and, for one seed, the values of its
/// parameters, which are drawn on their own device. Layers are the model's members that are modules
/// with parameters; parameters that the model itself has go to the first stage.
template <class Model, placement::placement_policy Policy>
class sharded {
 public:
  /// Throws value_error where the policy cannot place the layers, or where layers of different
  /// stages share a parameter.
  sharded(Model model, const std::vector<device>& devices) : model_(std::move(model)) {
    const detail::module_members found = detail::members_of(model_);
    detail::name_parameters(found);
    const std::vector<detail::placed_layer> layers = detail::layers_of(found);
    std::vector<placement::layer_cost> costs;
    for (const auto& layer : layers) {
      if (!layer.cost.name.empty()) costs.push_back(layer.cost);
    }
    if (devices.empty()) {
      raise<value_error>(
          "heddle::sharded: there is no device to place layers on: 0 given; give one "
          "or more");
    }
    plan_ = Policy::assign(costs, devices);
    check_plan(costs.size());
    std::vector<std::pair<const detail::parameter_state*, device>> placed;
    std::size_t next = 0;
    for (const auto& layer : layers) {
      const device where =
          layer.cost.name.empty() ? plan_.devices.front() : plan_.device_of(plan_.layers[next++]);
      for (handle<detail::parameter_state>* slot : layer.parameters) {
        for (const auto& [known, at] : placed) {
          if (known != slot->get() || at == where) continue;
          raise<value_error>(
              "heddle::sharded: a parameter is shared by layers on different devices: ",
              known->name, " on ", at, " and ", where, "; put them on one");
        }
        placed.emplace_back(slot->get(), where);
        (*slot)->move_to(where);
      }
    }
  }

  /// As the model's own call; arguments may be on any device.
  template <class... X>
  decltype(auto) operator()(const X&... x) {
    return forward(x...);
  }
  /// As a call: so that a sharded model is a module of others.
  template <class... X>
  decltype(auto) forward(const X&... x) {
    const placement_scope scope;
    return call(model_, x...);
  }

  /// What the policy decided; prints as text with `to_string`.
  [[nodiscard]] const placement::plan& plan() const noexcept { return plan_; }
  /// The model itself; called directly, it moves no inputs.
  [[nodiscard]] Model& model() noexcept { return model_; }
  [[nodiscard]] const Model& model() const noexcept { return model_; }
  /// Where the last layer is: its result, and so the loss.
  [[nodiscard]] device last_device() const {
    return plan_.layers.empty() ? plan_.devices.front() : plan_.device_of(plan_.layers.back());
  }

  /// The model's members under the model's names: `parameters(s)`, `state_dict(s)` and all else of
  /// a module knows nothing of the placement.
  void visit_members(member_visitor& visitor) { model_.visit_members(visitor); }
  /// None of its own: inputs go where each layer is.
  const detail::parameter_state* first_parameter() const noexcept { return nullptr; }

 private:
  /// Policies are the user's, too: what they return is looked at before it is followed.
  void check_plan(std::size_t layers) const {
    if (plan_.layers.size() != layers) {
      raise<value_error>("heddle::sharded: the policy places another number of layers: ",
                         plan_.layers.size(), "; the model has ", layers);
    }
    if (plan_.devices.empty()) {
      raise<value_error>(
          "heddle::sharded: the policy's plan names no device; one or more are "
          "expected");
    }
    for (const placement::plan::entry& each : plan_.layers) {
      if (each.stage >= 0 && static_cast<std::size_t>(each.stage) < plan_.devices.size()) continue;
      raise<value_error>("heddle::sharded: the policy places ", each.layer.name,
                         " on a stage that is not there: ", each.stage, "; there are ",
                         plan_.devices.size());
    }
  }

  Model model_;
  placement::plan plan_;
};

}  // namespace heddle::inline v0
