// SPDX-License-Identifier: BSD-3-Clause
// Integers are not trained.
// expect: heddle::parameter: only floating-point tensors have gradients; use a buffer
#include <heddle/nn/init.hpp>
#include <heddle/nn/parameter.hpp>

#ifdef HEDDLE_CONTROL
heddle::parameter<float, 1> counts({4}, heddle::nn::init::zeros());
#else
heddle::parameter<int, 1> counts({4}, heddle::nn::init::zeros());
#endif
