// SPDX-License-Identifier: BSD-3-Clause
// The arithmetic of cublasLtMatmul: products by oneDNN (of f64 by loops), rounded where the library
// rounds.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cublasLt.h>

namespace stand_in {

/// A matrix, or several at equal distances.
struct matrix {
  cudaDataType type = CUDA_R_32F;
  std::uint64_t rows = 0;
  std::uint64_t columns = 0;
  std::int64_t leading = 0;
  std::int32_t order = CUBLASLT_ORDER_COL;
  std::int32_t batches = 1;
  std::int64_t stride = 0;  ///< elements from one to the next

  [[nodiscard]] bool row_major() const { return order == CUBLASLT_ORDER_ROW; }
  [[nodiscard]] bool holds_together() const;
  [[nodiscard]] std::int64_t place(std::int64_t row, std::int64_t column) const {
    return row_major() ? row * leading + column : column * leading + row;
  }
  /// From the first element of the first to the last of the last.
  [[nodiscard]] std::size_t bytes() const;
};

/// What follows a product, and what it computes in.
struct product_options {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType scale = CUDA_R_32F;
  std::int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  std::int32_t transpose_a = CUBLAS_OP_N;
  std::int32_t transpose_b = CUBLAS_OP_N;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;
  std::int64_t bias_stride = 0;
  std::int32_t bias_type = -1;  ///< -1: that of d
  void* aux = nullptr;
  std::int64_t aux_leading = 0;
  std::int64_t aux_stride = 0;
  std::int32_t aux_type = -1;

  [[nodiscard]] bool has(std::uint32_t part) const { return (epilogue & part) != 0; }
  [[nodiscard]] bool uses_bias() const;
  /// The bias is a result: sums of gradients.
  [[nodiscard]] bool writes_bias() const;
  [[nodiscard]] bool uses_aux() const { return has(128); }
  /// The auxiliary matrix is read: by derivatives.
  [[nodiscard]] bool reads_aux() const;
  /// It is one bit an element.
  [[nodiscard]] bool aux_is_mask() const;
};

struct product {
  product_options options;
  matrix a, b, c, d;
  double alpha = 1;
  double beta = 0;
  const void* of_a = nullptr;
  const void* of_b = nullptr;
  const void* of_c = nullptr;
  void* of_d = nullptr;

  [[nodiscard]] std::int64_t depth() const;
  [[nodiscard]] std::size_t bias_count() const;
  [[nodiscard]] std::size_t bias_bytes() const;
  [[nodiscard]] std::size_t aux_bytes() const;
  [[nodiscard]] bool shapes_fit() const;
  [[nodiscard]] bool supported() const;
};

std::size_t size_of(cudaDataType type);
void run_product(const product& p);

}  // namespace stand_in
