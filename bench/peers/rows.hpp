// SPDX-License-Identifier: BSD-3-Clause
// The statements of goal C4, forward and backward, as other libraries compute them.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "../contender.hpp"

namespace bench {

enum class row_statement {
  softmax,
  log_softmax,
  layer_norm,     ///< with gamma and beta
  rms_norm,       ///< x / √(mean(x²) + 1e-5) · gamma
  cross_entropy,  ///< its mean
  gated_norm,     ///< rms_norm of x silu(g)
  divergence      ///< mean over the rows of Σ softmax(x) (log softmax(x) - log softmax(g)), for g
};

/// Arrays that outlive the contenders: x, g and seed (rows, columns), gamma and beta (columns),
/// target (rows). A seed is what the backward begins with, where the result is no scalar.
struct row_operands {
  const float *x, *g, *seed, *gamma, *beta;
  const std::int64_t* target;
  std::int64_t rows, columns;
};

/// The gradient of what all rows share: a sum over the rows, whose rounding depends on how many
/// they are. It is compared as a mean.
template <class See>
void see_shared(See see, const float* data, std::int64_t size, std::int64_t rows) {
  if constexpr (std::is_same_v<See, sampled>) {
    std::vector<double> means(data, data + size);
    for (double& mean : means) mean /= static_cast<double>(rows);
    see(means.data(), size);
  } else {
    see(data, size);
  }
}

/// The results seen are the statement's value, then its gradients in the order x, g, gamma, beta.
std::vector<contender> libtorch_row_contenders(row_statement, row_operands, int threads);

}  // namespace bench
