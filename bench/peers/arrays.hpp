// SPDX-License-Identifier: BSD-3-Clause
// The array statements of goals C1 to C3 as other libraries evaluate them: one unit a library, with
// flags of its own.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "../contender.hpp"

namespace bench {

enum class statement {
  relu_chain,  ///< relu(a*b + c) * 2
  tanh_chain,  ///< tanh(a*b + exp(a-c))
  small,       ///< (a*b + c) * a - b
};

/// Arrays that outlive the contenders.
struct operands {
  const float *a, *b, *c;
  std::int64_t size;
};

/// All allocate the result anew.
std::vector<contender> eigen_contenders(statement, operands, int threads);
std::vector<contender> xtensor_contenders(statement, operands, int threads);
std::vector<contender> libtorch_contenders(statement, operands, int threads);

/// Adds the libraries that were found.
inline void enter_array_peers([[maybe_unused]] std::vector<contender>& contenders,
                              [[maybe_unused]] statement what, [[maybe_unused]] operands with,
                              [[maybe_unused]] int threads) {
  [[maybe_unused]] const auto add = [&](std::vector<contender> more) {
    for (contender& c : more) contenders.push_back(std::move(c));
  };
#if defined(HEDDLE_BENCH_EIGEN)
  add(eigen_contenders(what, with, threads));
#endif
#if defined(HEDDLE_BENCH_XTENSOR)
  add(xtensor_contenders(what, with, threads));
#endif
#if defined(HEDDLE_BENCH_LIBTORCH)
  add(libtorch_contenders(what, with, threads));
#endif
}

}  // namespace bench
