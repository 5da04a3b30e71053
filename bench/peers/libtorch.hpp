// SPDX-License-Identifier: BSD-3-Clause
// LibTorch as a peer: tensors over memory that is there, and its thread count.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace bench {

/// Contiguous elements as LibTorch's, which must not outlive them.
inline at::Tensor shared(const float* data, at::IntArrayRef extents) {
  return at::from_blob(const_cast<float*>(data), extents, at::kFloat);
}
inline at::Tensor shared(const std::int64_t* data, at::IntArrayRef extents) {
  return at::from_blob(const_cast<std::int64_t*>(data), extents, at::kLong);
}

/// Before a turn.
struct libtorch_threads {
  explicit libtorch_threads(int count) { at::set_num_threads(count); }
};
struct libtorch_inference : libtorch_threads {
  c10::InferenceMode mode;
  using libtorch_threads::libtorch_threads;
};

}  // namespace bench
