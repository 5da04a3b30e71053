// SPDX-License-Identifier: BSD-3-Clause
// A rank above the largest one is refused with both numbers' meaning, not deep inside a template.
// expect: heddle::extents: the rank is outside of 0 to 8, the largest that heddle supports
#include <heddle/core/extents.hpp>

#ifdef HEDDLE_CONTROL
constexpr int rank = 8;
#else
constexpr int rank = 9;
#endif

heddle::extents<rank> shape;
