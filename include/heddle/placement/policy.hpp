// SPDX-License-Identifier: BSD-3-Clause
// Placement policies: types that say which device each layer of a model is on.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <heddle/core/device.hpp>
#include <heddle/core/error.hpp>

namespace heddle::inline v0::placement {

/// What a policy knows of a layer: a member of the model that is a module with parameters. From
/// shapes: nothing is materialised.
struct layer_cost {
  std::string name;             ///< the member's
  std::int64_t parameters = 0;  ///< elements
  std::int64_t bytes = 0;       ///< of the parameters
};

/// Which layer is on which device. A stage is the part of a model on one device.
struct plan {
  /// A layer and the stage it is part of.
  struct entry {
    layer_cost layer;  ///< as the policy was given it
    int stage = 0;     ///< 0 and up: an index of `devices`
  };
  std::vector<entry> layers = {};    ///< in the order of the model's members
  std::vector<device> devices = {};  ///< by stage

  /// Where one of `layers` is.
  [[nodiscard]] device device_of(const entry& e) const {
    return devices[static_cast<std::size_t>(e.stage)];
  }
};

/// One line a layer: "fc1: stage 0, cpu:0, 8320 parameters, 33280 bytes".
inline std::string to_string(const plan& p) {
  std::string text;
  for (const plan::entry& each : p.layers) {
    text += each.layer.name + ": stage " + std::to_string(each.stage) + ", " +
            to_string(p.device_of(each)) + ", " + std::to_string(each.layer.parameters) +
            " parameters, " + std::to_string(each.layer.bytes) + " bytes\n";
  }
  return text;
}

/// Makes a plan of costs and devices. Throws value_error where it cannot.
template <class P>
concept placement_policy = requires(std::span<const layer_cost> layers,
                                    std::span<const device> devices) {
  { P::assign(layers, devices) } -> std::same_as<plan>;
};

/// Layer i is on the device number Stages[i]: explicit_map<0, 0, 1> puts two layers on the first
/// device and the third on the second.
template <int... Stages>
struct explicit_map {
  static_assert(sizeof...(Stages) > 0 && ((Stages >= 0) && ...),
                "heddle::placement::explicit_map: name a device, 0 or more, for each layer");
  /// By layer.
  static constexpr std::array<int, sizeof...(Stages)> stages{Stages...};

  /// One stage for each device up to the largest number. Throws value_error where there are fewer
  /// devices, or where the model has another number of layers.
  static plan assign(std::span<const layer_cost> layers, std::span<const device> devices) {
    int needed = 0;
    for (const int stage : stages) needed = stage >= needed ? stage + 1 : needed;
    if (devices.size() < static_cast<std::size_t>(needed)) {
      raise<value_error>("heddle::placement::explicit_map: there are too few devices: ",
                         devices.size(), "; the map names ", needed);
    }
    if (layers.size() != stages.size()) {
      std::string uncovered;
      for (std::size_t i = stages.size(); i < layers.size(); ++i) uncovered += " " + layers[i].name;
      raise<value_error>(
          "heddle::placement::explicit_map: the model has ", layers.size(),
          " layers with parameters, the map has ", stages.size(), "; ",
          uncovered.empty() ? "name as many devices as layers" : "it does not cover" + uncovered);
    }
    plan made;
    made.devices.assign(devices.begin(), devices.begin() + needed);
    for (std::size_t i = 0; i < layers.size(); ++i) made.layers.push_back({layers[i], stages[i]});
    return made;
  }
};

}  // namespace heddle::inline v0::placement
