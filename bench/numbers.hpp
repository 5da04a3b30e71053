// SPDX-License-Identifier: BSD-3-Clause
// Inputs of the benches: the same numbers for heddle and for its peers, in the same memory.
#pragma once

#include <heddle/tensor/tensor.hpp>

#if defined(HEDDLE_BENCH_LIBTORCH)
#include <ATen/ATen.h>
#endif

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

#if defined(HEDDLE_BENCH_LIBTORCH)
/// The elements of a contiguous tensor as LibTorch's, which must not outlive it.
template <class T, int Rank>
at::Tensor shared(const heddle::tensor<T, Rank>& t) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, std::int64_t>);
  return at::from_blob(t.data(), at::IntArrayRef(t.extents().data(), Rank),
                       std::is_same_v<T, float> ? at::kFloat : at::kLong);
}
#endif

}  // namespace bench
