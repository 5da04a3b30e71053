// SPDX-License-Identifier: BSD-3-Clause
// A map of layers to devices numbers them from 0.
// expect: heddle::placement::explicit_map: name a device, 0 or more, for each layer
#include <heddle/placement/policy.hpp>

#ifdef HEDDLE_CONTROL
using map = heddle::placement::explicit_map<0, 1>;
#else
using map = heddle::placement::explicit_map<0, -1>;
#endif

auto use() { return map::assign({}, {}); }
