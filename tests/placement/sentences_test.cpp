// SPDX-License-Identifier: BSD-3-Clause
// What a sharded model says of the devices it is given.
#include <doctest/doctest.h>

#include <heddle/nn/layer_norm.hpp>
#include <heddle/placement/policy.hpp>
#include <heddle/placement/sharded.hpp>

namespace {

/// A policy that a user got wrong.
struct names_no_device {
  static heddle::placement::plan assign(std::span<const heddle::placement::layer_cost> layers,
                                        std::span<const heddle::device>) {
    heddle::placement::plan made;
    for (const auto& layer : layers) made.layers.push_back({layer, 0});
    return made;
  }
};

struct model {
  heddle::nn::layer_norm norm{4};
  HEDDLE_MODULE(model, norm)
  auto forward(const auto& x) { return norm(x); }
};
using placed = heddle::sharded<model, names_no_device>;

}  // namespace

TEST_CASE("layers are placed on devices that there are") {
  CHECK_THROWS_WITH_AS(placed(model{}, {}),
                       "heddle::sharded: there is no device to place layers on: 0 given; give one "
                       "or more",
                       heddle::value_error);
  CHECK_THROWS_WITH_AS(placed(model{}, {heddle::cpu(0)}),
                       "heddle::sharded: the policy's plan names no device; one or more are "
                       "expected",
                       heddle::value_error);
}
