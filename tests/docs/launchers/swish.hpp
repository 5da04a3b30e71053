// SPDX-License-Identifier: BSD-3-Clause
// A function whose loops one unit compiles for all: the header of the pair.
#pragma once

//! [header]
#include <heddle/autograd/launchers.hpp>

inline constexpr auto swish = heddle::fused([](auto x) { return x / (1 + exp(-x)); });

using swish_of_variable = decltype(swish(std::declval<const heddle::variable<float, 2>&>()));
HEDDLE_EXTERN_LAUNCHER(swish_of_variable);
HEDDLE_EXTERN_GRADIENT_LAUNCHER(swish_of_variable);
//! [header]
