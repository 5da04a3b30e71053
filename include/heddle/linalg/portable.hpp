// SPDX-License-Identifier: BSD-3-Clause
// heddle's own matrix product: packed panels and one register-blocked loop, for every dtype and any
// strides. Serves the dtypes that no library takes, and all of them without a library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <heddle/core/dtype.hpp>
#include <heddle/core/thread_pool.hpp>
#include <heddle/exec/host/isa.hpp>
#include <heddle/exec/host/nest.hpp>
#include <heddle/linalg/product.hpp>

namespace heddle::inline v0::linalg::portable {

/// What products of T are summed in. Integers wrap around as unsigned ones, which is defined.
template <class T>
using sum_type =
    std::conditional_t<is_floating(dtype_of<T>), compute_type<T>,
                       std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>>;

namespace detail {

inline constexpr int row_block = 4;  // rows whose sums stay in registers
inline constexpr std::int64_t rows_per_task = 64;
inline constexpr std::int64_t depth_per_panel = 256;
using linalg::detail::operations_per_thread;

// 64 bytes of sums: one AVX-512 register, two of AVX2, four of SSE.
template <class C>
struct lanes {
  typedef C type __attribute__((vector_size(64)));
  typedef C unaligned __attribute__((vector_size(64), aligned(alignof(C)), may_alias));
  static constexpr int width = 64 / sizeof(C);
};
template <class C>
inline constexpr int panel_columns = 2 * lanes<C>::width;

/// sums (Rows, panel_columns) = a (depth x Rows, packed) times b (depth rows, `stride` apart).
template <class C, int Rows>
HEDDLE_INLINE void multiply_panel(const C* a, const C* b, std::int64_t stride, std::int64_t depth,
                                  C* sums) {
  using vector = typename lanes<C>::type;
  using loaded = typename lanes<C>::unaligned;
  vector low[Rows] = {};
  vector high[Rows] = {};
  for (std::int64_t k = 0; k < depth; ++k) {
    const vector left = *reinterpret_cast<const loaded*>(b);
    const vector right = *reinterpret_cast<const loaded*>(b + lanes<C>::width);
    for (int r = 0; r < Rows; ++r) {
      low[r] += a[r] * left;
      high[r] += a[r] * right;
    }
    a += Rows;
    b += stride;
  }
  for (int r = 0; r < Rows; ++r) {
    *reinterpret_cast<loaded*>(sums + r * panel_columns<C>) = low[r];
    *reinterpret_cast<loaded*>(sums + r * panel_columns<C> + lanes<C>::width) = high[r];
  }
}

template <class C>
using panel_kernel = void (*)(const C*, const C*, std::int64_t, std::int64_t, C*);

template <class C, int Rows, class Configuration>
HEDDLE_VECTORIZE void run_panel(const C* a, const C* b, std::int64_t stride, std::int64_t depth,
                                C* sums) {
  multiply_panel<C, Rows>(a, b, stride, depth, sums);
}
#if HEDDLE_ISA_CHOICE
template <class C, int Rows, class Configuration>
HEDDLE_VECTORIZE HEDDLE_TARGET_AVX2 void run_panel_avx2(const C* a, const C* b, std::int64_t stride,
                                                        std::int64_t depth, C* sums) {
  multiply_panel<C, Rows>(a, b, stride, depth, sums);
}
template <class C, int Rows, class Configuration>
HEDDLE_VECTORIZE HEDDLE_TARGET_AVX512 void run_panel_avx512(const C* a, const C* b,
                                                            std::int64_t stride, std::int64_t depth,
                                                            C* sums) {
  multiply_panel<C, Rows>(a, b, stride, depth, sums);
}
#endif

template <class C, int Rows, class Configuration>
panel_kernel<C> panel_kernel_for(exec::isa level) {
#if HEDDLE_ISA_CHOICE
  if (level == exec::isa::avx512) return &run_panel_avx512<C, Rows, Configuration>;
  if (level == exec::isa::avx2) return &run_panel_avx2<C, Rows, Configuration>;
#endif
  static_cast<void>(level);
  return &run_panel<C, Rows, Configuration>;
}

/// to[j] = factor * from[j].
template <class C>
HEDDLE_INLINE void scale_line(C* to, const C* from, C factor, std::int64_t count) {
  constexpr int step = 32;  // a few vectors of any instruction set
  std::int64_t j = 0;
  for (; j + step <= count; j += step) {
    HEDDLE_LANE_LOOP
    for (int l = 0; l < step; ++l) to[j + l] = factor * from[j + l];
  }
  HEDDLE_LANE_LOOP
  for (; j < count; ++j) to[j] = factor * from[j];
}
/// Rows first … last of an outer product.
template <class C>
HEDDLE_INLINE void scale_lines(const product& p, const C* a, const C* b, C* c, std::int64_t first,
                               std::int64_t last) {
  for (std::int64_t r = first; r < last; ++r) scale_line(c + r * p.n, b, a[r * p.a.row], p.n);
}
template <class C>
using outer_kernel = void (*)(const product&, const C*, const C*, C*, std::int64_t, std::int64_t);

template <class C, class Configuration>
HEDDLE_VECTORIZE void run_outer(const product& p, const C* a, const C* b, C* c, std::int64_t first,
                                std::int64_t last) {
  scale_lines(p, a, b, c, first, last);
}
#if HEDDLE_ISA_CHOICE
template <class C, class Configuration>
HEDDLE_VECTORIZE HEDDLE_TARGET_AVX2 void run_outer_avx2(const product& p, const C* a, const C* b,
                                                        C* c, std::int64_t first,
                                                        std::int64_t last) {
  scale_lines(p, a, b, c, first, last);
}
template <class C, class Configuration>
HEDDLE_VECTORIZE HEDDLE_TARGET_AVX512 void run_outer_avx512(const product& p, const C* a,
                                                            const C* b, C* c, std::int64_t first,
                                                            std::int64_t last) {
  scale_lines(p, a, b, c, first, last);
}
#endif
template <class C, class Configuration>
outer_kernel<C> outer_kernel_for(exec::isa level) {
#if HEDDLE_ISA_CHOICE
  if (level == exec::isa::avx512) return &run_outer_avx512<C, Configuration>;
  if (level == exec::isa::avx2) return &run_outer_avx2<C, Configuration>;
#endif
  static_cast<void>(level);
  return &run_outer<C, Configuration>;
}

/// Copies `depth` steps of `count` lines, width lines wide and filled up with 0: to[k * width + i].
template <class C, class T>
void pack(C* to, const T* from, std::int64_t depth, std::int64_t along, std::int64_t count,
          std::int64_t between, std::int64_t width) {
  if (along == 1) {  // line by line, as it lies
    for (std::int64_t i = 0; i < width; ++i) {
      const T* line = from + i * between;
      for (std::int64_t k = 0; k < depth; ++k) {
        to[k * width + i] = i < count ? static_cast<C>(line[k]) : C(0);
      }
    }
    return;
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<C>(from[k * along + i * between]);
    for (std::int64_t i = count; i < width; ++i) to[i] = C(0);
    to += width;
  }
}

/// Rows first … last of one product.
template <class T, class Configuration>
void multiply_rows(const product& p, const T* a, const T* b, T* c, std::int64_t first,
                   std::int64_t last) {
  using C = sum_type<T>;
  constexpr int columns = panel_columns<C>;
  const exec::isa level = exec::best_isa();
  const panel_kernel<C> four = panel_kernel_for<C, row_block, Configuration>(level);
  const panel_kernel<C> one = panel_kernel_for<C, 1, Configuration>(level);
  // Sums that are wider than the result cannot rest in it: their panels are as deep as the product.
  constexpr bool rests = sizeof(C) == sizeof(T);
  const std::int64_t depth = rests && p.k > depth_per_panel ? depth_per_panel : p.k;
  const std::int64_t rows = last - first;
  const std::int64_t padded = (rows + row_block - 1) / row_block * row_block;
  const exec::host::detail::scratch memory(static_cast<std::size_t>((padded + columns) * depth) *
                                           sizeof(C));
  C* const packed_a = reinterpret_cast<C*>(memory.data());
  C* const packed_b = packed_a + padded * depth;
  alignas(64) C sums[row_block * columns];
  for (std::int64_t k = 0; k < p.k; k += depth) {
    const std::int64_t steps = p.k - k < depth ? p.k - k : depth;
    for (std::int64_t r = 0; r < rows; r += row_block) {
      const std::int64_t count = rows - r < row_block ? rows - r : row_block;
      const T* from = a + (first + r) * p.a.row + k * p.a.column;
      // Fewer than four rows are computed one by one, each packed by itself.
      if (count == row_block) {
        pack(packed_a + r * steps, from, steps, p.a.column, count, p.a.row, row_block);
      } else {
        for (std::int64_t i = 0; i < count; ++i) {
          pack(packed_a + (r + i) * steps, from + i * p.a.row, steps, p.a.column, 1, p.a.row, 1);
        }
      }
    }
    for (std::int64_t n = 0; n < p.n; n += columns) {
      const std::int64_t width = p.n - n < columns ? p.n - n : columns;
      const T* from = b + k * p.b.row + n * p.b.column;
      const C* panel = packed_b;
      std::int64_t stride = columns;
      if (std::is_same_v<C, T> && p.b.column == 1 && width == columns) {
        panel = reinterpret_cast<const C*>(from);
        stride = p.b.row;
      } else {
        pack(packed_b, from, steps, p.b.row, width, p.b.column, columns);
      }
      for (std::int64_t r = 0; r < rows;) {
        const int count = rows - r < row_block ? 1 : row_block;
        (count == 1 ? one : four)(packed_a + r * steps, panel, stride, steps, sums);
        for (int i = 0; i < count; ++i) {
          T* to = c + (first + r + i) * p.n + n;
          const C* of = sums + i * columns;
          if (k == 0) {
            for (std::int64_t j = 0; j < width; ++j) to[j] = static_cast<T>(of[j]);
          } else {
            for (std::int64_t j = 0; j < width; ++j) {
              to[j] = static_cast<T>(static_cast<C>(to[j]) + of[j]);
            }
          }
        }
        r += count;
      }
    }
  }
}

}  // namespace detail

/// Whether a product is one of a column and a dense row, which `outer` computes faster than oneDNN.
inline bool is_outer(const product& p) noexcept {
  return p.k == 1 && p.batch_rank == 0 && (p.b.column == 1 || p.n == 1);
}
template <class T, class Configuration>
void outer(const product& p, const T* a, const T* b, T* c) {
  const detail::outer_kernel<T> kernel =
      detail::outer_kernel_for<T, Configuration>(exec::best_isa());
  const std::int64_t grain = detail::operations_per_thread / p.n + 1;
  parallel_for(0, p.m, grain,
               [&](std::int64_t first, std::int64_t last) { kernel(p, a, b, c, first, last); });
}

/// Computes a product into c, contiguous. Extents are 1 or more. Tasks of 64 rows are spread over
/// the threads of the caller's device; sums run in the order of k whatever their number.
template <class T, class Configuration>
void multiply(const product& p, const T* a, const T* b, T* c) {
  const std::int64_t parts = (p.m + detail::rows_per_task - 1) / detail::rows_per_task;
  const std::int64_t tasks = parts * p.batches();
  const std::int64_t per_task = p.operations() / tasks + 1;
  const std::int64_t grain = (detail::operations_per_thread + per_task - 1) / per_task;
  parallel_for(0, tasks, grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t task = first; task < last; ++task) {
      const std::int64_t index = task / parts;
      const std::int64_t row = task % parts * detail::rows_per_task;
      const std::int64_t end = row + detail::rows_per_task;
      const batch_offsets at = offsets_of(p, index);
      detail::multiply_rows<T, Configuration>(p, a + at.a, b + at.b, c + index * p.m * p.n, row,
                                              end < p.m ? end : p.m);
    }
  });
}

}  // namespace heddle::inline v0::linalg::portable
