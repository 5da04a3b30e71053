// SPDX-License-Identifier: BSD-3-Clause
// The statements, compiled by nvcc.
#include "other_unit.cpp"
