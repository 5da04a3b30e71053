// SPDX-License-Identifier: BSD-3-Clause
// The interpreter's inner loops: every element-wise op over contiguous arrays of each compute type,
// taken from the op table, and conversions between dtypes.
//
// Values are held in one of three compute types: double for f64, float for f32, bf16 and f16, int64
// for integers and bool. Narrow integers are wrapped to their width after each op.
#pragma once

#include <type_traits>
#include <utility>

#include <heddle/graph/op_table.hpp>

namespace heddle::inline v0::exec::detail {

enum class value_class : std::uint8_t { f64, f32, i64 };

constexpr value_class class_of(dtype d) {
  return d == dtype::f64 ? value_class::f64 : is_floating(d) ? value_class::f32 : value_class::i64;
}
constexpr std::int64_t size_of(value_class c) { return c == value_class::f32 ? 4 : 8; }

template <value_class C>
using class_type =
    std::conditional_t<C == value_class::f64, double,
                       std::conditional_t<C == value_class::f32, float, std::int64_t>>;
template <class T>
using widened = class_type<class_of(dtype_of<T>)>;

// Conversions. A bool in memory is a byte: any but 0 reads as true.
template <class T>
using stored = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, T>;

template <class T>
widened<T> load_value(stored<T> x) {
  if constexpr (std::is_same_v<T, bool>) {
    return x != 0;
  } else {
    return static_cast<widened<T>>(x);
  }
}

/// Toward zero; out of range to the nearest end, a NaN to 0.
template <class From>
std::int64_t to_integer(From x) {
  if constexpr (std::is_integral_v<From>) {
    return x;
  } else {
    constexpr From limit = static_cast<From>(0x1p63);
    if (!(x < limit)) return x >= limit ? INT64_MAX : 0;
    return x >= -limit ? static_cast<std::int64_t>(x) : INT64_MIN;
  }
}

/// x, of a compute type, as an element of type T: rounded, truncated, wrapped or compared with 0.
template <class T, class From>
stored<T> store_value(From x) {
  if constexpr (std::is_same_v<T, bool>) {
    return x != From(0);
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(to_integer(x));
  } else {
    return static_cast<T>(x);
  }
}

using load_loop = void (*)(void* to, const std::byte* from, std::int64_t stride,
                           std::int64_t count);
using store_loop = void (*)(std::byte* to, std::int64_t to_stride, const void* from,
                            std::int64_t from_stride, std::int64_t count);
using convert_loop = void (*)(void* to, const void* from, std::int64_t count);
using element_loop = void (*)(void* to, const void* const* from, std::int64_t count);

/// Everything below depends on how its unit is compiled (design rule 7), hence the parameter.
template <class Configuration>
struct loops {
  template <class T>
  static void load(void* to, const std::byte* from, std::int64_t stride, std::int64_t count) {
    auto* y = static_cast<widened<T>*>(to);
    const auto* x = reinterpret_cast<const stored<T>*>(from);
    for (std::int64_t i = 0; i < count; ++i) y[i] = load_value<T>(x[i * stride]);
  }

  template <class From, class T>
  static void store(std::byte* to, std::int64_t to_stride, const void* from,
                    std::int64_t from_stride, std::int64_t count) {
    auto* y = reinterpret_cast<stored<T>*>(to);
    const auto* x = static_cast<const From*>(from);
    for (std::int64_t i = 0; i < count; ++i) {
      y[i * to_stride] = store_value<T>(x[i * from_stride]);
    }
  }

  /// As a store followed by a load.
  template <class From, class T>
  static void convert(void* to, const void* from, std::int64_t count) {
    auto* y = static_cast<widened<T>*>(to);
    const auto* x = static_cast<const From*>(from);
    for (std::int64_t i = 0; i < count; ++i) y[i] = load_value<T>(store_value<T>(x[i]));
  }

  /// Integer arithmetic wraps; the rest is the op's own value.
  template <op Code, class T, class... U>
  static auto element(T x, U... rest) {
    if constexpr (!std::is_integral_v<T>) {
      return op_traits<Code>::value(x, rest...);
    } else if constexpr (Code == op::floor) {
      return x;
    } else if constexpr (Code == op::neg || Code == op::add || Code == op::sub || Code == op::mul ||
                         Code == op::square) {
      return static_cast<T>(op_traits<Code>::value(static_cast<std::make_unsigned_t<T>>(x),
                                                   static_cast<std::make_unsigned_t<T>>(rest)...));
    } else if constexpr (Code == op::abs) {
      return x < 0 ? element<op::neg>(x) : x;
    } else if constexpr (Code == op::maximum) {
      const T y = (rest, ...);
      return x > y ? x : y;
    } else if constexpr (Code == op::minimum) {
      const T y = (rest, ...);
      return x < y ? x : y;
    } else {
      return op_traits<Code>::value(x, rest...);
    }
  }

  template <op Code, class T>
  static void elementwise(void* to, const void* const* from, std::int64_t count) {
    constexpr graph::result_rule rule = graph::op_information<Code>.rule;
    constexpr int arity = graph::op_information<Code>.arity;
    constexpr bool truth =
        rule == graph::result_rule::comparison || rule == graph::result_rule::logical;
    using first = std::conditional_t<rule == graph::result_rule::selection, std::int64_t, T>;
    using result = std::conditional_t<truth, std::int64_t, T>;
    auto* __restrict y = static_cast<result*>(to);
    const auto* a = static_cast<const first*>(from[0]);
    [[maybe_unused]] const auto* b = static_cast<const T*>(from[1]);
    [[maybe_unused]] const auto* c = static_cast<const T*>(from[2]);
    for (std::int64_t i = 0; i < count; ++i) {
      if constexpr (arity == 1) {
        y[i] = static_cast<result>(element<Code>(a[i]));
      } else if constexpr (arity == 2) {
        y[i] = static_cast<result>(element<Code>(a[i], b[i]));
      } else {
        y[i] = op_traits<Code>::value(a[i] != 0, b[i], c[i]);
      }
    }
  }

  /// The loop of an op for a compute type; nullptr where promotion never asks for it.
  template <op Code, class T>
  static constexpr element_loop loop_for() {
    constexpr graph::result_rule rule = graph::op_information<Code>.rule;
    if constexpr (rule == (std::is_integral_v<T> ? graph::result_rule::floating
                                                 : graph::result_rule::logical)) {
      return nullptr;
    } else {
      return &elementwise<Code, T>;
    }
  }

  template <class T, class>
  struct element_table;
  template <class T, int... I>
  struct element_table<T, std::integer_sequence<int, I...>> {
    static constexpr element_loop of[sizeof...(I)] = {
        loop_for<static_cast<op>(graph::detail::first_elementwise + I), T>()...};
  };

  static element_loop find_element(op code, value_class c) {
    using codes = std::make_integer_sequence<int, graph::detail::builtin_elementwise>;
    const int i = static_cast<int>(code) - graph::detail::first_elementwise;
    switch (c) {
      case value_class::f64:
        return element_table<double, codes>::of[i];
      case value_class::f32:
        return element_table<float, codes>::of[i];
      default:
        return element_table<std::int64_t, codes>::of[i];
    }
  }

  template <class From, class Indices>
  struct dtype_table;
  template <class From, int... D>
  struct dtype_table<From, std::integer_sequence<int, D...>> {
    static constexpr load_loop load[] = {&loops::load<type_of<static_cast<dtype>(D)>>...};
    static constexpr store_loop store[] = {&loops::store<From, type_of<static_cast<dtype>(D)>>...};
    static constexpr convert_loop convert[] = {
        &loops::convert<From, type_of<static_cast<dtype>(D)>>...};
  };
  template <class From>
  using dtypes = dtype_table<From, std::make_integer_sequence<int, dtype_count>>;

  static load_loop find_load(dtype d) { return dtypes<double>::load[static_cast<int>(d)]; }
  static store_loop find_store(value_class from, dtype to) {
    const auto d = static_cast<int>(to);
    return from == value_class::f64   ? dtypes<double>::store[d]
           : from == value_class::f32 ? dtypes<float>::store[d]
                                      : dtypes<std::int64_t>::store[d];
  }
  static convert_loop find_convert(value_class from, dtype to) {
    const auto d = static_cast<int>(to);
    return from == value_class::f64   ? dtypes<double>::convert[d]
           : from == value_class::f32 ? dtypes<float>::convert[d]
                                      : dtypes<std::int64_t>::convert[d];
  }
};

}  // namespace heddle::inline v0::exec::detail
