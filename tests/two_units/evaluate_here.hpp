// SPDX-License-Identifier: BSD-3-Clause
// The statements as one unit evaluates them.
#pragma once

#include "statements.hpp"

namespace two_units {

// One definition for all units would be one symbol: each unit has its own copy of this one.
namespace {

results evaluate_here(const heddle::tensor<float, 2>& x, const heddle::tensor<float, 1>& b) {
  results r;
  r.map = tanh(x * b + exp(x - b)) * 2;
  r.normalised = softmax(x * b);
  r.total = sum(x * x);
  const heddle::variable<float, 2> v(x);
  const heddle::variable<float, 2> y = softmax(v * b);
  const heddle::variable<float, 0> loss = sum(y * y);
  loss.backward();
  r.gradient = v.grad();
  r.configuration = heddle::configuration::bits;
  return r;
}

}  // namespace

}  // namespace two_units
