// SPDX-License-Identifier: BSD-3-Clause
// What optimizers say of their options.
#include <doctest/doctest.h>

#include <heddle/optim/sgd.hpp>

TEST_CASE("Nesterov's momentum takes a momentum") {
  CHECK_THROWS_WITH_AS(heddle::optim::sgd<float>({}, {.nesterov = true}),
                       "heddle::sgd: Nesterov's momentum with momentum 0 and dampening 0; a "
                       "momentum above 0 and no dampening are expected",
                       heddle::value_error);
}
