// SPDX-License-Identifier: BSD-3-Clause
// The description of a batch of matrix products: extents and strides after broadcasting, with batch
// axes folded into rows where memory allows it. Knows nothing of dtypes and libraries.
#pragma once

#include <cstdint>

#include <heddle/core/error.hpp>
#include <heddle/core/extents.hpp>

namespace heddle::inline v0::linalg {

/// One operand's matrix: strides in elements, 0 where an axis is missing or repeated.
struct matrix {
  std::int64_t row = 0;     ///< stride from row to row
  std::int64_t column = 0;  ///< stride from column to column
  std::int64_t batch[max_rank] = {};
};

/// c = a b for a batch of matrices: a (m, k), b (k, n), c (m, n) contiguous, one after the other.
struct product {
  std::int64_t m = 1;
  std::int64_t n = 1;
  std::int64_t k = 1;
  int batch_rank = 0;
  std::int64_t batch_extents[max_rank] = {};
  matrix a;
  matrix b;

  /// How many products there are.
  std::int64_t batches() const noexcept {
    std::int64_t count = 1;
    for (int i = 0; i < batch_rank; ++i) count *= batch_extents[i];
    return count;
  }
  /// Multiplications and additions.
  std::int64_t operations() const noexcept { return 2 * batches() * m * n * k; }
};

/// Where the operands of one product of a batch begin.
struct batch_offsets {
  std::int64_t a = 0;
  std::int64_t b = 0;
};
inline batch_offsets offsets_of(const product& p, std::int64_t index) noexcept {
  batch_offsets at;
  for (int i = p.batch_rank - 1; i >= 0; --i) {
    const std::int64_t position = index % p.batch_extents[i];
    index /= p.batch_extents[i];
    at.a += position * p.a.batch[i];
    at.b += position * p.b.batch[i];
  }
  return at;
}

namespace detail {

/// Operations below which another thread costs more than it brings.
inline constexpr std::int64_t operations_per_thread = std::int64_t{1} << 21;

/// An operand as it is given.
struct operand_shape {
  const std::int64_t* extents;
  const std::int64_t* strides;
  int rank;
};

[[noreturn]] HEDDLE_COLD inline void raise_inner(const operand_shape& a, const operand_shape& b) {
  raise<shape_error>("heddle::matmul: inner extents differ: a is ", to_string(a.extents, a.rank),
                     ", b is ", to_string(b.extents, b.rank));
}
[[noreturn]] HEDDLE_COLD inline void raise_batch(const operand_shape& a, const operand_shape& b) {
  raise<shape_error>(
      "heddle::matmul: batch extents cannot be broadcast: a is ", to_string(a.extents, a.rank),
      ", b is ", to_string(b.extents, b.rank),
      "; aligned from the right and without the last two axes, they must be equal or 1");
}

/// Batch axes that are rows in disguise become rows: (B, T, K) x (K, N) is one product.
inline void fold_batches(product& p) noexcept {
  while (p.batch_rank > 0) {
    const int last = p.batch_rank - 1;
    const std::int64_t count = p.batch_extents[last];
    if (count != 1) {
      if (p.b.batch[last] != 0) return;
      if (p.m == 1) {
        p.a.row = p.a.batch[last];
      } else if (p.a.batch[last] != p.m * p.a.row) {
        return;
      }
      p.m *= count;
    }
    p.batch_rank = last;
  }
}

/// Summed batch axes that continue the inner axis of both operands become part of it.
inline void fold_summed(product& p, unsigned& summed) noexcept {
  while (p.batch_rank > 0) {
    const int last = p.batch_rank - 1;
    const std::int64_t count = p.batch_extents[last];
    if (count != 1) {
      if ((summed >> last & 1u) == 0) return;
      if (p.k == 1) {
        p.a.column = p.a.batch[last];
        p.b.row = p.b.batch[last];
      } else if (p.a.batch[last] != p.k * p.a.column || p.b.batch[last] != p.k * p.b.row) {
        return;
      }
      p.k *= count;
    }
    summed &= ~(1u << last);
    p.batch_rank = last;
  }
}

/// The product of two operands of rank 1 or more, and the extents of its result (rank entries):
/// vectors on the left are rows, on the right columns, and their axis is missing in the result.
/// Throws shape_error.
inline product make_product(const operand_shape& a, const operand_shape& b, std::int64_t* result) {
  product p;
  const bool a_vector = a.rank == 1;
  const bool b_vector = b.rank == 1;
  p.k = a.extents[a.rank - 1];
  p.a.column = a.strides[a.rank - 1];
  if (!a_vector) {
    p.m = a.extents[a.rank - 2];
    p.a.row = a.strides[a.rank - 2];
  }
  const int b_inner = b_vector ? 0 : b.rank - 2;
  p.b.row = b.strides[b_inner];
  if (!b_vector) {
    p.n = b.extents[b.rank - 1];
    p.b.column = b.strides[b.rank - 1];
  }
  if (b.extents[b_inner] != p.k) raise_inner(a, b);
  const int a_batch = a_vector ? 0 : a.rank - 2;
  const int b_batch = b_vector ? 0 : b.rank - 2;
  p.batch_rank = a_batch > b_batch ? a_batch : b_batch;
  for (int i = 0; i < p.batch_rank; ++i) {
    const int in_a = i - (p.batch_rank - a_batch);
    const int in_b = i - (p.batch_rank - b_batch);
    const std::int64_t of_a = in_a < 0 ? 1 : a.extents[in_a];
    const std::int64_t of_b = in_b < 0 ? 1 : b.extents[in_b];
    if (of_a != of_b && of_a != 1 && of_b != 1) raise_batch(a, b);
    p.batch_extents[i] = of_a == 1 ? of_b : of_a;
    p.a.batch[i] = of_a == 1 ? 0 : a.strides[in_a];
    p.b.batch[i] = of_b == 1 ? 0 : b.strides[in_b];
    *result++ = p.batch_extents[i];
  }
  if (!a_vector) *result++ = p.m;
  if (!b_vector) *result = p.n;
  fold_batches(p);
  return p;
}

}  // namespace detail

/// How a matrix of rows x columns is handed to a BLAS-like library: as it lies ('N'), or as the
/// transpose of what lies there ('T'). Not direct: neither axis has stride 1.
struct blas_layout {
  bool direct = false;
  char transposed = 'N';
  std::int64_t leading = 1;
};
inline blas_layout layout_of(const matrix& x, std::int64_t rows, std::int64_t columns) noexcept {
  // The stride of an axis of extent 1 is free.
  if (x.column == 1 || columns <= 1) {
    if (rows <= 1) return {true, 'N', columns > 1 ? columns : 1};
    if (x.row >= columns && x.row > 0) return {true, 'N', x.row};
  }
  if (x.row == 1 || rows <= 1) {
    if (columns <= 1) return {true, 'T', rows > 1 ? rows : 1};
    if (x.column >= rows && x.column > 0) return {true, 'T', x.column};
  }
  return {};
}

}  // namespace heddle::inline v0::linalg
