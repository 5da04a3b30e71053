// SPDX-License-Identifier: BSD-3-Clause
// A training step says its loss; labels that are counted are integers.
// expect: heddle::fit: the step returns no loss; return a number, a tensor or variable of one element, or step_metrics
// expect: heddle::accuracy: labels are integers
#include <vector>

#include <heddle/training/fit.hpp>
#include <heddle/training/metrics.hpp>

using heddle::tensor;

void use(const std::vector<tensor<float, 2>>& batches) {
#ifdef HEDDLE_CONTROL
  heddle::fit({}, batches, [](const auto&) { return 0.5; });
  heddle::accuracy().add(batches[0], tensor<int, 1>());
#else
  heddle::fit({}, batches, [](const auto&) {});
  heddle::accuracy().add(batches[0], tensor<float, 1>());
#endif
}
