// SPDX-License-Identifier: BSD-3-Clause
// What each of the two libraries offers.
#pragma once

#include <heddle/autograd/variable.hpp>
#include <heddle/tensor/tensor.hpp>

using values = heddle::tensor<float, 1>;

#define EACH_SIDE(side)                                                                \
  __attribute__((visibility("default"))) values doubled_by_##side(const values& x);    \
  __attribute__((visibility("default"))) heddle::variable<float, 1> squared_by_##side( \
      const heddle::variable<float, 1>& x);                                            \
  __attribute__((visibility("default"))) void refuse_by_##side()
EACH_SIDE(left);
EACH_SIDE(right);
