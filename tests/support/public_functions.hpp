// SPDX-License-Identifier: BSD-3-Clause
// The functions of symbols that users' lambdas call, by op; and, by place, those of static axes.
#pragma once

#include <utility>
#include <vector>

#include "graph_generator.hpp"

#include <heddle/graph/shape.hpp>

namespace support {

using heddle::symbol;

struct public_unary {
  op code;
  symbol (*function)(const symbol&);
};
struct public_binary {
  op code;
  symbol (*function)(const symbol&, const symbol&);
};

// clang-format off
#define HEDDLE_TEST_UNARY(name) {op::name, [](const symbol& x) { return name(x); }}
#define HEDDLE_TEST_BINARY(name) {op::name, [](const symbol& x, const symbol& y) { return name(x, y); }}
#define HEDDLE_TEST_OPERATOR(name, sign) \
  {op::name, [](const symbol& x, const symbol& y) { return x sign y; }}
// clang-format on
inline const public_unary public_unaries[] = {
    {op::neg, [](const symbol& x) { return -x; }},
    {op::logical_not, [](const symbol& x) { return !x; }},
    {heddle::cube, [](const symbol& x) { return heddle::apply_op<heddle::cube>(x); }},
    HEDDLE_TEST_UNARY(exp),
    HEDDLE_TEST_UNARY(log),
    HEDDLE_TEST_UNARY(log1p),
    HEDDLE_TEST_UNARY(expm1),
    HEDDLE_TEST_UNARY(tanh),
    HEDDLE_TEST_UNARY(sqrt),
    HEDDLE_TEST_UNARY(rsqrt),
    HEDDLE_TEST_UNARY(abs),
    HEDDLE_TEST_UNARY(square),
    HEDDLE_TEST_UNARY(erf),
    HEDDLE_TEST_UNARY(sigmoid),
    HEDDLE_TEST_UNARY(sin),
    HEDDLE_TEST_UNARY(cos),
    HEDDLE_TEST_UNARY(floor),
    HEDDLE_TEST_UNARY(sign),
    HEDDLE_TEST_UNARY(detach)};
inline const public_binary public_binaries[] = {HEDDLE_TEST_OPERATOR(add, +),
                                                HEDDLE_TEST_OPERATOR(sub, -),
                                                HEDDLE_TEST_OPERATOR(mul, *),
                                                HEDDLE_TEST_OPERATOR(div, /),
                                                HEDDLE_TEST_BINARY(pow),
                                                HEDDLE_TEST_BINARY(maximum),
                                                HEDDLE_TEST_BINARY(minimum),
                                                HEDDLE_TEST_OPERATOR(equal, ==),
                                                HEDDLE_TEST_OPERATOR(not_equal, !=),
                                                HEDDLE_TEST_OPERATOR(less, <),
                                                HEDDLE_TEST_OPERATOR(less_equal, <=),
                                                HEDDLE_TEST_OPERATOR(greater, >),
                                                HEDDLE_TEST_OPERATOR(greater_equal, >=),
                                                HEDDLE_TEST_OPERATOR(logical_and, &&),
                                                HEDDLE_TEST_OPERATOR(logical_or, ||),
                                                HEDDLE_TEST_BINARY(logical_xor)};
#undef HEDDLE_TEST_UNARY
#undef HEDDLE_TEST_BINARY
#undef HEDDLE_TEST_OPERATOR

template <int... Axis>
symbol unsqueezed_at(const symbol& x, int axis, std::integer_sequence<int, Axis...>) {
  symbol result;
  // from the front and, the same place, from the end
  ((axis == Axis       ? void(result = heddle::unsqueeze<Axis>(x))
    : axis == Axis - 6 ? void(result = heddle::unsqueeze<Axis - 6>(x))
                       : void()),
   ...);
  return result;
}
template <int... Axis>
symbol squeezed_at(const symbol& x, int axis, std::integer_sequence<int, Axis...>) {
  symbol result;
  ((axis == Axis       ? void(result = heddle::squeeze<Axis>(x))
    : axis == Axis - 6 ? void(result = heddle::squeeze<Axis - 6>(x))
                       : void()),
   ...);
  return result;
}
template <int... Axis>
symbol enumerated_at(const symbol& x, int axis, std::integer_sequence<int, Axis...>) {
  symbol result;
  ((axis == Axis       ? void(result = heddle::iota<Axis>(x))
    : axis == Axis - 6 ? void(result = heddle::iota<Axis - 6>(x))
                       : void()),
   ...);
  return result;
}
using places = std::make_integer_sequence<int, 6>;

inline symbol cast_to(const symbol& x, dtype type) {
  switch (type) {
    case dtype::f64:
      return heddle::cast<double>(x);
    case dtype::f32:
      return heddle::cast<float>(x);
    case dtype::bf16:
      return heddle::cast<heddle::bfloat16>(x);
    case dtype::f16:
      return heddle::cast<heddle::float16>(x);
    case dtype::i64:
      return heddle::cast<std::int64_t>(x);
    case dtype::i32:
      return heddle::cast<std::int32_t>(x);
    case dtype::u8:
      return heddle::cast<std::uint8_t>(x);
    default:
      return heddle::cast<bool>(x);
  }
}

struct public_order {
  std::vector<int> order;
  symbol (*function)(const symbol&);
};
inline const public_order public_orders[] = {{{1, 0}, heddle::permute<1, 0>},
                                             {{1, 0}, heddle::permute<-1, -2>},
                                             {{0, 2, 1}, heddle::permute<0, 2, 1>},
                                             {{1, 0, 2}, heddle::permute<1, 0, 2>},
                                             {{1, 2, 0}, heddle::permute<1, 2, 0>},
                                             {{2, 0, 1}, heddle::permute<-1, 0, 1>},
                                             {{2, 1, 0}, heddle::permute<2, 1, 0>},
                                             {{0, 2, 3, 1}, heddle::permute<0, 2, 3, 1>},
                                             {{3, 2, 1, 0}, heddle::permute<3, 2, 1, 0>},
                                             {{1, 0, 3, 2}, heddle::permute<1, 0, 3, 2>},
                                             {{2, 3, 0, 1}, heddle::permute<-2, -1, 0, 1>}};

}  // namespace support
