// SPDX-License-Identifier: BSD-3-Clause
// A vector times a matrix, on the host: a library call for one row costs more than its arithmetic.
#pragma once

#include <heddle/exec/host/isa.hpp>
#include <heddle/linalg/product.hpp>

namespace heddle::inline v0::linalg {

namespace detail {

/// y = x M, or M's rows times x: `n` results of `k` products each.
struct gemv_problem {
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t along = 0;    ///< elements of the matrix between the factors of one result
  std::int64_t between = 0;  ///< elements of the matrix between results
};

// 32 bytes: one AVX2 register, half of AVX-512's, which then waits for memory, not for arithmetic.
template <class T>
struct gemv_lanes {
  typedef T type __attribute__((vector_size(32)));
  typedef T unaligned __attribute__((vector_size(32), aligned(alignof(T)), may_alias));
  static constexpr int width = 32 / sizeof(T);

  HEDDLE_INLINE static const unaligned& at(const T* from) {
    return *reinterpret_cast<const unaligned*>(from);
  }
  HEDDLE_INLINE static T sum(const type& v) {
    typedef T half __attribute__((vector_size(16)));
    half parts[2];
    __builtin_memcpy(parts, &v, sizeof parts);
    parts[0] += parts[1];
    T left[width / 2];
    __builtin_memcpy(left, parts, sizeof left);
    if constexpr (width == 8) return (left[0] + left[2]) + (left[1] + left[3]);
    return left[0] + left[1];
  }
};

/// `Rows` results whose factors lie side by side.
template <class T, int Rows>
HEDDLE_INLINE void dot_rows(const T* x, const T* m, std::int64_t between, std::int64_t k, T* y) {
  using lanes = gemv_lanes<T>;
  typename lanes::type sums[Rows][2] = {};
  std::int64_t i = 0;
  for (; i + 2 * lanes::width <= k; i += 2 * lanes::width) {
    const typename lanes::type low = lanes::at(x + i);
    const typename lanes::type high = lanes::at(x + i + lanes::width);
    for (int r = 0; r < Rows; ++r) {
      sums[r][0] += low * lanes::at(m + r * between + i);
      sums[r][1] += high * lanes::at(m + r * between + i + lanes::width);
    }
  }
  for (int r = 0; r < Rows; ++r) {
    sums[r][0] += sums[r][1];
    T sum = lanes::sum(sums[r][0]);
    for (std::int64_t rest = i; rest < k; ++rest) sum += x[rest] * m[r * between + rest];
    y[r] = sum;
  }
}

/// `Vectors` vectors of results that lie side by side in each line of the matrix.
template <class T, int Vectors>
HEDDLE_INLINE void add_lines(const T* x, std::int64_t step, const T* m, std::int64_t along,
                             std::int64_t k, T* y) {
  using lanes = gemv_lanes<T>;
  typename lanes::type sums[Vectors] = {};
  for (std::int64_t i = 0; i < k; ++i) {
    const T factor = x[i * step];
    for (int v = 0; v < Vectors; ++v) {
      sums[v] += factor * lanes::at(m + i * along + v * lanes::width);
    }
  }
  __builtin_memcpy(y, sums, sizeof sums);
}

template <class T>
HEDDLE_INLINE void multiply_vector(const gemv_problem& p, const T* x, std::int64_t step, const T* m,
                                   T* y) {
  std::int64_t j = 0;
  if (p.along == 1 && step == 1) {
    for (; j + 4 <= p.n; j += 4) dot_rows<T, 4>(x, m + j * p.between, p.between, p.k, y + j);
    for (; j < p.n; ++j) dot_rows<T, 1>(x, m + j * p.between, p.between, p.k, y + j);
    return;
  }
  constexpr int width = gemv_lanes<T>::width;
  if (p.between == 1) {
    for (; j + 4 * width <= p.n; j += 4 * width) {
      add_lines<T, 4>(x, step, m + j, p.along, p.k, y + j);
    }
    for (; j + width <= p.n; j += width) add_lines<T, 1>(x, step, m + j, p.along, p.k, y + j);
  }
  for (; j < p.n; ++j) {
    T sum = 0;
    for (std::int64_t i = 0; i < p.k; ++i) sum += x[i * step] * m[i * p.along + j * p.between];
    y[j] = sum;
  }
}

template <class T>
using gemv_kernel = void (*)(const gemv_problem&, const T*, std::int64_t, const T*, T*);

template <class T, class Configuration>
HEDDLE_VECTORIZE void run_gemv(const gemv_problem& p, const T* x, std::int64_t step, const T* m,
                               T* y) {
  multiply_vector(p, x, step, m, y);
}
#if HEDDLE_ISA_CHOICE
template <class T, class Configuration>
HEDDLE_VECTORIZE HEDDLE_TARGET_AVX2 void run_gemv_avx2(const gemv_problem& p, const T* x,
                                                       std::int64_t step, const T* m, T* y) {
  multiply_vector(p, x, step, m, y);
}
#endif

template <class T, class Configuration>
gemv_kernel<T> gemv_kernel_for(exec::isa level) {
#if HEDDLE_ISA_CHOICE
  if (level >= exec::isa::avx2) return &run_gemv_avx2<T, Configuration>;
#endif
  static_cast<void>(level);
  return &run_gemv<T, Configuration>;
}

}  // namespace detail

/// Whether a product has one row or one column and a matrix that is dense along one of its axes and
/// fits the second-level cache; with larger ones a library's blocking tells.
inline bool is_gemv(const product& p) noexcept {
  constexpr std::int64_t most = std::int64_t{1} << 16;
  if (p.batch_rank != 0 || (p.m != 1 && p.n != 1) || p.m * p.n * p.k > most) return false;
  const matrix& m = p.m == 1 ? p.b : p.a;
  return m.row == 1 || m.column == 1;
}

/// Computes such a product into c, contiguous.
template <class T, class Configuration>
void gemv(const product& p, const T* a, const T* b, T* c) {
  const bool row = p.m == 1;
  const detail::gemv_problem q = row ? detail::gemv_problem{p.n, p.k, p.b.row, p.b.column}
                                     : detail::gemv_problem{p.m, p.k, p.a.column, p.a.row};
  const std::int64_t step = row ? p.a.column : p.b.row;
  const auto kernel = detail::gemv_kernel_for<T, Configuration>(exec::best_isa<Configuration>());
  kernel(q, row ? a : b, step, row ? b : a, c);
}

}  // namespace heddle::inline v0::linalg
