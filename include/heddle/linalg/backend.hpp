// SPDX-License-Identifier: BSD-3-Clause
// The seam to products on CUDA devices: what a library is asked to compute in one call.
#pragma once

#include <atomic>

#include <heddle/core/device.hpp>
#include <heddle/core/dtype.hpp>
#include <heddle/core/storage.hpp>
#include <heddle/linalg/product.hpp>

namespace heddle::inline v0::linalg {

/// An operand of a product on a device.
struct product_operand {
  storage* memory = nullptr;
  std::byte* data = nullptr;
};

/// What libraries apply to a product's elements. gelu is the one by tanh.
enum class product_function : std::uint8_t { identity, relu, gelu };

/// What the call that multiplies does beside. Rows and columns are those of c (m, n); there is one
/// matrix, not a batch.
struct product_epilogue {
  enum class task : std::uint8_t {
    none,
    forward,   ///< c = f(a b + bias): bias (n), where given; aux is written for backward, where
               ///< given
    backward,  ///< c = (a b) f'(what aux keeps); bias (n), where given, gets the sums of c's
               ///< columns
    sum_of_a,  ///< c = a b; bias (m) gets the sums of a over k
    sum_of_b,  ///< c = a b; bias (n) gets the sums of b over k
  };
  task what = task::none;
  product_function function = product_function::identity;
  product_operand bias;
  product_operand aux;  ///< laid out as aux_leading and aux_bytes say
};

/// What a forward call keeps for backward: of relu one bit an element, whether it is above 0; of
/// gelu its argument. Rows are this many elements apart.
constexpr std::int64_t aux_leading(product_function function, std::int64_t n) noexcept {
  const std::int64_t step = function == product_function::relu ? 128 : 8;
  return (n + step - 1) / step * step;
}
constexpr std::int64_t aux_bytes(product_function function, std::int64_t m, std::int64_t n,
                                 std::int64_t element_size) noexcept {
  const std::int64_t elements = m * aux_leading(function, n);
  return function == product_function::relu ? elements / 8 : elements * element_size;
}

/// The seam to products on CUDA devices, of f64, f32, f16 and bf16: cuda/cublaslt.cuh. False where
/// the library has no such call, and nothing has been done: never without an epilogue.
inline constinit std::atomic<bool (*)(dtype, const product&, const product_operand& a,
                                      const product_operand& b, const product_operand& c,
                                      const product_epilogue&, device)>
    cuda_product_in_place{nullptr};

}  // namespace heddle::inline v0::linalg
