// SPDX-License-Identifier: BSD-3-Clause
// What modules say when something is wrong as they run.
#include <doctest/doctest.h>

#include <heddle/nn/any_module.hpp>
#include <heddle/nn/parameter.hpp>
#include <heddle/tensor/creation.hpp>

TEST_CASE("an empty any_module is not called") {
  const heddle::nn::any_module<heddle::tensor<float, 1>, heddle::tensor<float, 1>> empty;
  CHECK_THROWS_WITH_AS(static_cast<void>(empty(heddle::tensor<float, 1>())),
                       "heddle::any_module: it holds no module; assign one", heddle::state_error);
}

TEST_CASE("a parameter made by default has no values") {
  const heddle::parameter<float, 1> p;
  CHECK_THROWS_WITH_AS(static_cast<void>(p.value()),
                       "heddle::parameter: the parameter has no extents: it was made by default; "
                       "give extents and a recipe",
                       heddle::state_error);
}
