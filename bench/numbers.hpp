// SPDX-License-Identifier: BSD-3-Clause
// Inputs of the benches: the same numbers for heddle and for its peers. peers/serving.py makes them
// in Python.
#pragma once

#include <heddle/tensor/tensor.hpp>

namespace bench {

/// Numbers from -1 to 1 in a fixed order.
template <int Rank = 1>
heddle::tensor<float, Rank> numbers(const heddle::extents<Rank>& extents, std::int64_t step,
                                    float scale = 1) {
  auto t = heddle::tensor<float, Rank>::allocate(extents, heddle::cpu());
  for (std::int64_t i = 0; i < t.size(); ++i) {
    t.data()[i] = (static_cast<float>(i * step % 10007) / 5003.f - 1) * scale;
  }
  return t;
}

}  // namespace bench
