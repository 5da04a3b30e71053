// SPDX-License-Identifier: BSD-3-Clause
// A statement reads and writes 256 tensors at most.
// expect: heddle: the statement has more than 256 operands: store a part of it in a tensor first
#include <utility>

#include <heddle/exec/evaluate.hpp>

using namespace heddle;

template <std::size_t... I>
auto sum_of(const tensor<float, 0>* x, std::index_sequence<I...>) {
  return let([](auto... v) { return (v + ...); }, x[I]...);
}

tensor<float, 0> use(const tensor<float, 0>* x) {
#ifdef HEDDLE_CONTROL
  return sum_of(x, std::make_index_sequence<2>()) + sum_of(x, std::make_index_sequence<3>());
#else
  return sum_of(x, std::make_index_sequence<128>()) + sum_of(x, std::make_index_sequence<129>());
#endif
}
