// SPDX-License-Identifier: BSD-3-Clause
// The statement of goal C7, gelu(x wᵀ + b), as other libraries compute it.
#pragma once

#include <cstdint>
#include <vector>

#include "../contender.hpp"

namespace bench {

/// Arrays that outlive the contenders: x, w and seed (size, size), b (size).
struct gemm_operands {
  const float *x, *w, *b, *seed;
  std::int64_t size;
};

/// The results seen are the value, and of a backward the gradients of x, w and b.
std::vector<contender> libtorch_gemm_contenders(gemm_operands, bool by_tanh, bool backward,
                                                int threads);

}  // namespace bench
