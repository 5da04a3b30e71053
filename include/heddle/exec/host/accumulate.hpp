// SPDX-License-Identifier: BSD-3-Clause
// What the loop nest does with accumulators outside of kernels: start, fold, merge, scatter.
// Run-time dtypes; one copy for all programs.
#pragma once

#include <heddle/exec/add_elements.hpp>
#include <heddle/exec/host/kernel.hpp>

namespace heddle::inline v0::exec::host::detail {

/// Calls f with a value of the type that a dtype is computed in.
template <class F>
void with_lane_type(dtype type, F f) {
  switch (type) {
    case dtype::f64:
      return f(double{});
    case dtype::i64:
      return f(std::int64_t{});
    case dtype::i32:
      return f(std::int32_t{});
    case dtype::u8:
      return f(std::uint8_t{});
    case dtype::boolean:
      return f(bool{});
    default:
      return f(float{});
  }
}

template <class T>
T identity_of(op code) {
  return code == op::sum    ? identity<op::sum, T>()
         : code == op::amax ? identity<op::amax, T>()
                            : identity<op::amin, T>();
}

template <class T>
T combine_by(op code, T a, T b) {
  return code == op::sum    ? combine<op::sum>(a, b)
         : code == op::amax ? combine<op::amax>(a, b)
                            : combine<op::amin>(a, b);
}

inline void fill_identity(std::byte* to, std::int64_t count, op code, dtype type) {
  with_lane_type(type, [&](auto zero) {
    using T = decltype(zero);
    T* values = reinterpret_cast<T*>(to);
    const T start = identity_of<T>(code);
    for (std::int64_t i = 0; i < count; ++i) values[i] = start;
  });
}

/// to[i] = combine(to[i], from[i]).
inline void merge(std::byte* to, const std::byte* from, std::int64_t count, op code, dtype type) {
  with_lane_type(type, [&](auto zero) {
    using T = decltype(zero);
    T* into = reinterpret_cast<T*>(to);
    const T* add = reinterpret_cast<const T*>(from);
    for (std::int64_t i = 0; i < count; ++i) into[i] = combine_by(code, into[i], add[i]);
  });
}

/// Adds count lanes of computed values to the rows of a table that their indices name.
inline void scatter(std::byte* table, const gather_strides& g, const std::byte* values,
                    const std::int64_t* indices, std::int64_t count, dtype type,
                    std::int64_t* bad_index) {
  const auto add = [&](auto element, auto computed) {
    using T = decltype(element);
    using C = decltype(computed);
    T* to = reinterpret_cast<T*>(table);
    for (std::int64_t i = 0; i < count; ++i) {
      if (indices[i] < 0 || indices[i] >= g.extent) {
        *bad_index = indices[i];
        continue;
      }
      T& place = to[indices[i] * g.indexed + i * g.inner];
      place = static_cast<T>(static_cast<C>(place) + reinterpret_cast<const C*>(values)[i]);
    }
  };
  switch (type) {
    case dtype::f64:
      return add(double{}, double{});
    default:
      return add(float{}, float{});
  }
}

/// Calls f with an unsigned integer of `size` bytes.
template <class F>
void with_element_of_size(std::size_t size, F f) {
  switch (size) {
    case 1:
      return f(std::uint8_t{});
    case 2:
      return f(std::uint16_t{});
    case 4:
      return f(std::uint32_t{});
    default:
      return f(std::uint64_t{});
  }
}

/// Moves count elements of `size` bytes between a strided place and a contiguous one.
template <bool Pack>
inline void move_strided(std::byte* to, const std::byte* from, std::int64_t stride,
                         std::int64_t count, std::size_t size) {
  const auto move = [&](auto element) {
    using T = decltype(element);
    for (std::int64_t i = 0; i < count; ++i) {
      std::byte* target = Pack ? to + i * static_cast<std::int64_t>(sizeof(T)) : to + i * stride;
      const std::byte* source =
          Pack ? from + i * stride : from + i * static_cast<std::int64_t>(sizeof(T));
      __builtin_memcpy(target, source, sizeof(T));
    }
  };
  with_element_of_size(size, move);
}

/// What fills a partial block up is computed with, and dropped: the first lane's element.
inline void fill_up(std::byte* lanes, std::int64_t count, std::int64_t padded, std::size_t size) {
  with_element_of_size(size, [&](auto element) {
    using T [[gnu::may_alias]] = decltype(element);
    T* const to = reinterpret_cast<T*>(lanes);
    const T first = to[0];
    for (std::int64_t i = count; i < padded; ++i) to[i] = first;
  });
}

}  // namespace heddle::inline v0::exec::host::detail
