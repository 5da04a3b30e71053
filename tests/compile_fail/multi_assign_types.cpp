// SPDX-License-Identifier: BSD-3-Clause
// What is written to a list's tensors has their dtype.
// expect: heddle::multi_assign: a result of rank 1 has another dtype than the operands: cast
#include <heddle/exec/multi.hpp>

void use(const std::vector<heddle::exec::multi_group<1>>& groups) {
#ifdef HEDDLE_CONTROL
  heddle::exec::multi_assign<float, 1>([](auto v) { return v * 2; }, groups, heddle::cpu());
#else
  heddle::exec::multi_assign<float, 1>([](auto v) { return heddle::cast<double>(v); }, groups,
                                       heddle::cpu());
#endif
}
