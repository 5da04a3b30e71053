// SPDX-License-Identifier: BSD-3-Clause
// The statements that every unit of these programs evaluates, each with its own compiler or flags.
#pragma once

#include <heddle/autograd/record.hpp>
#include <heddle/tensor/creation.hpp>

namespace two_units {

inline constexpr auto softmax = heddle::fused([](auto x) {
  const auto e = exp(x - detach(heddle::amax<-1>(x, heddle::keepdim)));
  return e / heddle::sum<-1>(e, heddle::keepdim);
});

/// What one unit computed.
struct results {
  heddle::tensor<float, 2> map, normalised, gradient;
  heddle::tensor<float, 0> total;
  unsigned long long configuration = 0;
};

results in_plain_unit(const heddle::tensor<float, 2>& x, const heddle::tensor<float, 1>& b);
results in_other_unit(const heddle::tensor<float, 2>& x, const heddle::tensor<float, 1>& b);

}  // namespace two_units
