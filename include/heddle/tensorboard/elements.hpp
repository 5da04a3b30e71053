// SPDX-License-Identifier: BSD-3-Clause
// The elements of a tensor whose dtype is known at run time.
#pragma once

#include <cstdint>

#include <heddle/tensor/any_tensor.hpp>

namespace heddle::inline v0::tensorboard::detail {

/// f(values): the elements of a contiguous tensor of the host, as their type.
template <class F>
void with_elements(const any_tensor& x, F f) {
  const auto call = [&]<class T>(T) { f(reinterpret_cast<const T*>(x.data())); };
  switch (x.dtype()) {
    case dtype::f64:
      return call(double{});
    case dtype::f32:
      return call(float{});
    case dtype::bf16:
      return call(bfloat16{});
    case dtype::f16:
      return call(float16{});
    case dtype::i64:
      return call(std::int64_t{});
    case dtype::i32:
      return call(std::int32_t{});
    default:
      return call(std::uint8_t{});
  }
}

}  // namespace heddle::inline v0::tensorboard::detail
