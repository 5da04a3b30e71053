// SPDX-License-Identifier: BSD-3-Clause
// A rank beyond the largest.
// expect: heddle::tensor: the rank is outside of 0 to 8, the largest that heddle supports
#include <heddle/tensor/tensor.hpp>

#ifdef HEDDLE_CONTROL
heddle::tensor<float, 8> x;
#else
heddle::tensor<float, 9> x;
#endif
