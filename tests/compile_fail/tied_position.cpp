// SPDX-License-Identifier: BSD-3-Clause
// A position among tied destinations.
// expect: heddle::get: there is no such position among the tied destinations
#include <heddle/tensor/tie.hpp>

void use(const int& a, const int& b) {
#ifdef HEDDLE_CONTROL
  static_cast<void>(heddle::get<1>(heddle::tie(a, b)));
#else
  static_cast<void>(heddle::get<2>(heddle::tie(a, b)));
#endif
}
