// SPDX-License-Identifier: BSD-3-Clause
// Integers have no gradients.
// expect: heddle::variable: only floating-point tensors have gradients; keep this one a tensor
#include <heddle/autograd/record.hpp>

#ifdef HEDDLE_CONTROL
heddle::variable<float, 1> x;
#else
heddle::variable<int, 1> x;
#endif
