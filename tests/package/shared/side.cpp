// SPDX-License-Identifier: BSD-3-Clause
// One of two libraries, which SIDE names.
#include "side.hpp"

#include <heddle/autograd/record.hpp>
#include <heddle/exec/evaluate.hpp>

#define JOINED(a, b) a##b
#define NAMED(a, b) JOINED(a, b)

values NAMED(doubled_by_, SIDE)(const values& x) { return heddle::evaluate(x * 2); }
heddle::variable<float, 1> NAMED(squared_by_, SIDE)(const heddle::variable<float, 1>& x) {
  return x * x;
}
void NAMED(refuse_by_, SIDE)() { static_cast<void>(values::allocate({-1}, heddle::cpu())); }
