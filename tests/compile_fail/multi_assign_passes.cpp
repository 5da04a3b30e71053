// SPDX-License-Identifier: BSD-3-Clause
// What is computed of a list's tensors does not read what is reduced over all of them.
// expect: heddle::multi_assign: the function takes more than one pass over a group
#include <heddle/exec/multi.hpp>

void use(const std::vector<heddle::exec::multi_group<1>>& groups) {
#ifdef HEDDLE_CONTROL
  heddle::exec::multi_assign<float, 1>([](auto v) { return v * 2; }, groups, heddle::cpu());
#else
  heddle::exec::multi_assign<float, 1>([](auto v) { return v / heddle::sum(v); }, groups,
                                       heddle::cpu());
#endif
}
