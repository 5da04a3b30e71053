// SPDX-License-Identifier: BSD-3-Clause
// A CUDA kernel's parameters and results are limited.
// expect: heddle: the statement has more than 64 results for a CUDA device: split it
// only: nvcc
#include <heddle/exec/evaluate.hpp>

using namespace heddle;

void use(const tensor<float, 1>& x) {
  const auto many = [](auto v) {
#ifdef HEDDLE_CONTROL
    symbol_pack<2> results{};
#else
    symbol_pack<65> results{};
#endif
    for (symbol& each : results.values) each = v + 1;
    return results;
  };
  static_cast<void>(evaluate(let(many, x)));
}
