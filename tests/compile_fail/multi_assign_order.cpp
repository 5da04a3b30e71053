// SPDX-License-Identifier: BSD-3-Clause
// Of a list's results those of its tensors come first.
// expect: heddle::multi_assign: a result of rank 1 comes behind one of rank 0
#include <heddle/exec/multi.hpp>

void use(const std::vector<heddle::exec::multi_group<1>>& groups) {
#ifdef HEDDLE_CONTROL
  const auto total = heddle::exec::multi_assign<float, 1>(
      [](auto v) { return heddle::outputs(v * 2, heddle::sum(v)); }, groups, heddle::cpu());
#else
  const auto total = heddle::exec::multi_assign<float, 1>(
      [](auto v) { return heddle::outputs(heddle::sum(v), v * 2); }, groups, heddle::cpu());
#endif
  static_cast<void>(total);
}
