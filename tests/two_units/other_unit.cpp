// SPDX-License-Identifier: BSD-3-Clause
// The statements again, for a unit with other flags; other_unit.cu includes it for nvcc.
#include "evaluate_here.hpp"

namespace two_units {

results in_other_unit(const heddle::tensor<float, 2>& x, const heddle::tensor<float, 1>& b) {
  return evaluate_here(x, b);
}

}  // namespace two_units
