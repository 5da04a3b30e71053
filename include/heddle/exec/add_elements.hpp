// SPDX-License-Identifier: BSD-3-Clause
// Elements added to what an output that accumulates already holds. Compiled nests stage such an
// output in a small buffer first; the interpreter does the same.
#pragma once

#include <cstddef>
#include <cstdint>

#include <heddle/core/dtype.hpp>

namespace heddle::inline v0::exec::detail {

template <class T, class Sum>
void add_typed(std::byte* to, std::int64_t stride, const std::byte* from, std::int64_t count) {
  T* const into = reinterpret_cast<T*>(to);
  const T* const more = reinterpret_cast<const T*>(from);
  const auto sum = [](T a, T b) {
    return static_cast<T>(static_cast<Sum>(a) + static_cast<Sum>(b));
  };
  if (stride == 1) {
    for (std::int64_t i = 0; i < count; ++i) into[i] = sum(into[i], more[i]);
  } else {
    for (std::int64_t i = 0; i < count; ++i) into[i * stride] = sum(into[i * stride], more[i]);
  }
}

/// to[i * stride] += from[i] for count elements of a floating dtype, rounded as a statement rounds.
/// Outputs of other dtypes never accumulate: they are no gradients.
inline void add_elements(std::byte* to, std::int64_t stride, const std::byte* from,
                         std::int64_t count, dtype type) {
  switch (type) {
    case dtype::f64:
      return add_typed<double, double>(to, stride, from, count);
    case dtype::bf16:
      return add_typed<bfloat16, float>(to, stride, from, count);
    case dtype::f16:
      return add_typed<float16, float>(to, stride, from, count);
    default:
      return add_typed<float, float>(to, stride, from, count);
  }
}

}  // namespace heddle::inline v0::exec::detail
