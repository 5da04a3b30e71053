// SPDX-License-Identifier: BSD-3-Clause
#include <standing.hpp>

#if !defined(HEDDLE_WITH_JSON)
#error "what the library's heddle::io defines does not reach its users"
#endif

int main() { return counted(3)(2) == 3 ? 0 : 1; }
