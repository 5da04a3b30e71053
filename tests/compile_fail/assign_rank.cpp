// SPDX-License-Identifier: BSD-3-Clause
// A value with more axes than the destination is refused.
// expect: heddle::assign: the value has more axes than the destination; reduce or squeeze it
#include <heddle/exec/evaluate.hpp>

void use(const heddle::tensor<float, 1>& to, const heddle::tensor<float, 2>& x) {
#ifdef HEDDLE_CONTROL
  heddle::assign(to, heddle::sum<0>(x));
#else
  heddle::assign(to, x * 2);
#endif
}
