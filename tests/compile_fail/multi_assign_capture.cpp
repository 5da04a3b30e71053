// SPDX-License-Identifier: BSD-3-Clause
// The function of a launch over many tensors is made from its type alone.
// expect: heddle::multi_assign: the function captures something
#include <heddle/exec/multi.hpp>

void use(const std::vector<heddle::exec::multi_group<1>>& groups, float factor) {
#ifdef HEDDLE_CONTROL
  heddle::exec::multi_assign<float, 1>([](auto v, auto f) { return v * f; }, groups, heddle::cpu(),
                                       factor);
#else
  heddle::exec::multi_assign<float, 1>([factor](auto v) { return v * factor; }, groups,
                                       heddle::cpu());
#endif
}
