// SPDX-License-Identifier: BSD-3-Clause
// A statement with more results than a program can number.
// expect: heddle::evaluate: the statement has more than 255 results
#include <heddle/exec/evaluate.hpp>

using namespace heddle;

int main() {
  const tensor<float, 1> x{1, 2, 3};
  const auto many = [](auto v) {
#ifdef HEDDLE_CONTROL
    symbol_pack<2> results{};
#else
    symbol_pack<256> results{};
#endif
    for (symbol& each : results.values) each = v + 1;
    return results;
  };
  static_cast<void>(evaluate(let(many, x)));
}
