// SPDX-License-Identifier: BSD-3-Clause
// What draws or counts has a dtype that can.
// expect: heddle::arange: there is no range of bool
// expect: heddle::rand: the dtype is not floating
// expect: heddle::randn: the dtype is not floating
// expect: heddle::randint: the dtype is not integral
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/random.hpp>

using namespace heddle;

#ifdef HEDDLE_CONTROL
using floating = float;
using integral = int;
using countable = int;
#else
using floating = int;
using integral = float;
using countable = bool;
#endif

void use() {
  static_cast<void>(arange<countable>(countable(1)));
  static_cast<void>(rand<floating, 1>({4}));
  static_cast<void>(randn<floating, 1>({4}));
  static_cast<void>(randint<integral, 1>(integral(0), integral(3), {4}));
}
