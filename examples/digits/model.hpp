// SPDX-License-Identifier: BSD-3-Clause
// The network of this example: an image's 64 pixels in, one number for each of the 10 digits out.
#pragma once

#include <heddle/heddle.hpp>

struct digits_model {
  heddle::nn::linear fc1{64, 128}, fc2{128, 128}, fc3{128, 10};
  // Lists the members once: this is what names, saves, moves and shards them.
  HEDDLE_MODULE(digits_model, fc1, fc2, fc3)

  // x: (images, 64), pixels from 0 to 1. Returns (images, 10): the larger, the likelier the digit.
  auto forward(const auto& x) { return fc3(heddle::relu(fc2(heddle::relu(fc1(x))))); }
};
