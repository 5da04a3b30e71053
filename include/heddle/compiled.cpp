// SPDX-License-Identifier: BSD-3-Clause
// What the units of a build with HEDDLE_COMPILED share: compile this once into the program, with
// their flags.
#if !defined(HEDDLE_COMPILED)
#error heddle: compiled.cpp is for programs compiled with HEDDLE_COMPILED
#endif

#define HEDDLE_COMPILING
#include <heddle/heddle.hpp>
