// SPDX-License-Identifier: BSD-3-Clause
// What fit, histories and metrics say when something is wrong.
#include <vector>

#include <doctest/doctest.h>

#include <heddle/tensor/creation.hpp>
#include <heddle/training/fit.hpp>
#include <heddle/training/metrics.hpp>

using heddle::tensor;

namespace {

const std::vector<tensor<float, 1>> batches{heddle::zeros<float, 1>({2})};

heddle::training_history train(const heddle::trainer_options& options) {
  return heddle::fit(options, batches, [](const auto&) {
    return heddle::step_metrics(std::initializer_list<heddle::step_metrics::item>());
  });
}

}  // namespace

TEST_CASE("training takes 0 epochs or more, and a history of none has no last one") {
  CHECK_THROWS_WITH_AS(static_cast<void>(train({.epochs = -1})),
                       "heddle::fit: a number of epochs is negative: -1 with 0 completed; both are "
                       "0 or more",
                       heddle::value_error);
  CHECK_THROWS_WITH_AS(static_cast<void>(train({.epochs = 0}).last()),
                       "heddle::training_history::last: no epoch was trained; ask for one at least",
                       heddle::state_error);
}

TEST_CASE("a step that returns no metric is told where") {
  CHECK_THROWS_WITH_AS(static_cast<void>(train({.epochs = 1})),
                       "heddle::fit: the step returned no metric at epoch 1, batch 1; return the "
                       "loss",
                       heddle::value_error);
}

TEST_CASE("accuracy takes a label for each sample") {
  CHECK_THROWS_WITH_AS(
      heddle::accuracy().add(heddle::zeros<float, 2>({2, 3}), tensor<std::int64_t, 1>{0}),
      "heddle::accuracy: logits and labels differ in the number of samples: (2, 3) and (1); they "
      "are (samples, classes) and (samples)",
      heddle::shape_error);
}
