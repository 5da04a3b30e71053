// SPDX-License-Identifier: BSD-3-Clause
// A variable of an expression has the expression's rank and dtype.
// expect: heddle::variable: the expression's rank is not the variable's; write variable<T, rank of the expression>
// expect: heddle::variable: the expression's dtype is not the variable's; write cast<T>(x)
#include <heddle/autograd/record.hpp>

using heddle::variable;

void use(const variable<float, 1>& x) {
#ifdef HEDDLE_CONTROL
  const variable<float, 1> rank(x * 2);
  const variable<double, 1> type(heddle::cast<double>(x * 2));
#else
  const variable<float, 2> rank(x * 2);
  const variable<double, 1> type(x * 2);
#endif
  static_cast<void>(rank);
  static_cast<void>(type);
}
