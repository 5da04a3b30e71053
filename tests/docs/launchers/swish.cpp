// SPDX-License-Identifier: BSD-3-Clause
// The source of the pair.
//! [source]
#include "swish.hpp"

HEDDLE_INSTANTIATE_LAUNCHER(swish_of_variable);
HEDDLE_INSTANTIATE_GRADIENT_LAUNCHER(swish_of_variable);
//! [source]
