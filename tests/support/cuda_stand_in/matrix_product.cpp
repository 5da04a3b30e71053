// SPDX-License-Identifier: BSD-3-Clause
// Matrix products and their epilogues.
#include "matrix_product.hpp"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <oneapi/dnnl/dnnl.h>

namespace stand_in {

namespace {

constexpr std::uint32_t relu = 2, with_bias = 4, relu_slope = 8, bias_sum = 16, gelu = 32,
                        gelu_slope = 64, sum_of_a = 256, sum_of_b = 512;

double load(const void* from, cudaDataType type, std::int64_t at) {
  switch (type) {
    case CUDA_R_64F:
      return static_cast<const double*>(from)[at];
    case CUDA_R_16F:
      return static_cast<double>(__half2float(static_cast<const __half*>(from)[at]));
    case CUDA_R_16BF:
      return static_cast<double>(__bfloat162float(static_cast<const __nv_bfloat16*>(from)[at]));
    default:
      return static_cast<double>(static_cast<const float*>(from)[at]);
  }
}
void store(void* to, cudaDataType type, std::int64_t at, double x) {
  switch (type) {
    case CUDA_R_64F:
      static_cast<double*>(to)[at] = x;
      break;
    case CUDA_R_16F:
      static_cast<__half*>(to)[at] = __float2half_rn(static_cast<float>(x));
      break;
    case CUDA_R_16BF:
      static_cast<__nv_bfloat16*>(to)[at] = __float2bfloat16_rn(static_cast<float>(x));
      break;
    default:
      static_cast<float*>(to)[at] = static_cast<float>(x);
  }
}

/// What a compute type leaves of an operand.
double as_computed(double x, cublasComputeType_t how) {
  const auto single = static_cast<float>(x);
  switch (how) {
    case CUBLAS_COMPUTE_32F_FAST_TF32: {
      constexpr unsigned dropped = 13;  // 10 bits of the fraction stay
      const auto bits = std::bit_cast<std::uint32_t>(single) + (1u << (dropped - 1));
      return static_cast<double>(std::bit_cast<float>(bits & ~((1u << dropped) - 1)));
    }
    case CUBLAS_COMPUTE_32F_FAST_16F:
      return static_cast<double>(__half2float(__float2half_rn(single)));
    case CUBLAS_COMPUTE_32F_FAST_16BF:
      return static_cast<double>(__bfloat162float(__float2bfloat16_rn(single)));
    default:
      return x;
  }
}

// The library's gelu is the one with tanh.
constexpr double gelu_factor = 0.79788456080286535588;  // sqrt(2 / pi)
double gelu_of(double x) {
  return 0.5 * x * (1 + std::tanh(gelu_factor * (x + 0.044715 * x * x * x)));
}
double gelu_slope_of(double x) {
  const double t = std::tanh(gelu_factor * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * gelu_factor * (1 + 3 * 0.044715 * x * x);
}

/// op(x) as a dense block of rows.
template <class T>
std::vector<T> packed(const void* from, const matrix& x, bool transposed, int batch,
                      cublasComputeType_t how) {
  const auto rows = static_cast<std::int64_t>(transposed ? x.columns : x.rows);
  const auto columns = static_cast<std::int64_t>(transposed ? x.rows : x.columns);
  std::vector<T> to(static_cast<std::size_t>(rows * columns));
  T* next = to.data();
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t k = 0; k < columns; ++k) {
      const std::int64_t at = transposed ? x.place(k, i) : x.place(i, k);
      *next++ = static_cast<T>(as_computed(load(from, x.type, batch * x.stride + at), how));
    }
  }
  return to;
}

/// a (m, k) times b (k, n), rows one after the other: of f64 by loops, which oneDNN does not have.
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const double* a, const double* b,
              double* c) {
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t e = 0; e < k; ++e) {
      for (std::int64_t j = 0; j < n; ++j) c[i * n + j] += a[i * k + e] * b[e * n + j];
    }
  }
}
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, const float* b,
              float* c) {
  if (dnnl_sgemm('N', 'N', m, n, k, 1.0f, a, k, b, n, 0.0f, c, n) != dnnl_success) std::abort();
}

cudaDataType type_or(std::int32_t type, cudaDataType otherwise) {
  return type < 0 ? otherwise : static_cast<cudaDataType>(type);
}

/// Where the auxiliary matrix has an element.
struct aux_place {
  std::int64_t at;
  void set(void* memory, bool on) const {
    auto& byte = static_cast<std::uint8_t*>(memory)[at / 8];
    const auto bit = static_cast<std::uint8_t>(1u << (at % 8));
    byte = static_cast<std::uint8_t>(on ? byte | bit : byte & ~bit);
  }
  [[nodiscard]] bool get(const void* memory) const {
    return (static_cast<const std::uint8_t*>(memory)[at / 8] >> (at % 8) & 1) != 0;
  }
};

/// One batch of a product.
struct batch_run {
  const product& p;
  int batch;
  bool in_double = p.options.scale == CUDA_R_64F;
  cudaDataType bias_type = type_or(p.options.bias_type, p.d.type);
  cudaDataType aux_type = type_or(p.options.aux_type, p.d.type);

  [[nodiscard]] double rounded(double x) const {
    return in_double ? x : static_cast<double>(static_cast<float>(x));
  }

  [[nodiscard]] double finished(double x, std::int64_t row, std::int64_t column) const {
    const product_options& o = p.options;
    if (o.has(with_bias)) {
      x = rounded(x + load(o.bias, bias_type, batch * o.bias_stride + row));
    }
    const aux_place aux{batch * o.aux_stride + column * o.aux_leading + row};
    if (o.uses_aux() && o.has(relu)) aux.set(o.aux, x > 0);
    if (o.uses_aux() && o.has(gelu)) store(o.aux, aux_type, aux.at, x);
    if (o.has(relu)) x = x > 0 || std::isnan(x) ? x : 0;
    if (o.has(gelu)) x = gelu_of(x);
    if (o.has(relu_slope)) x = aux.get(o.aux) ? x : 0;
    if (o.has(gelu_slope)) x *= gelu_slope_of(load(o.aux, aux_type, aux.at));
    return rounded(x);
  }

  template <class T>
  void run() const {
    const product_options& o = p.options;
    const auto m = static_cast<std::int64_t>(p.d.rows);
    const auto n = static_cast<std::int64_t>(p.d.columns);
    const std::int64_t k = p.depth();
    const auto a = packed<T>(p.of_a, p.a, o.transpose_a != CUBLAS_OP_N, batch, o.compute);
    const auto b = packed<T>(p.of_b, p.b, o.transpose_b != CUBLAS_OP_N, batch, o.compute);
    std::vector<T> sums(static_cast<std::size_t>(m * n));
    multiply(m, n, k, a.data(), b.data(), sums.data());
    for (std::int64_t i = 0; i < m; ++i) {
      double row_sum = 0;
      for (std::int64_t j = 0; j < n; ++j) {
        double x =
            rounded(p.alpha * static_cast<double>(sums[static_cast<std::size_t>(i * n + j)]));
        if (p.beta != 0) {
          const double before = load(p.of_c, p.c.type, batch * p.c.stride + p.c.place(i, j));
          x = rounded(x + p.beta * before);
        }
        x = finished(x, i, j);
        row_sum += x;
        store(p.of_d, p.d.type, batch * p.d.stride + p.d.place(i, j), x);
      }
      if (o.has(bias_sum)) store(o.bias, bias_type, batch * o.bias_stride + i, row_sum);
      if (o.has(sum_of_a)) {
        double sum = 0;
        for (std::int64_t e = 0; e < k; ++e) {
          sum += static_cast<double>(a[static_cast<std::size_t>(i * k + e)]);
        }
        store(o.bias, bias_type, batch * o.bias_stride + i, sum);
      }
    }
    for (std::int64_t j = 0; j < n && o.has(sum_of_b); ++j) {
      double sum = 0;
      for (std::int64_t e = 0; e < k; ++e) {
        sum += static_cast<double>(b[static_cast<std::size_t>(e * n + j)]);
      }
      store(o.bias, bias_type, batch * o.bias_stride + j, sum);
    }
  }
};

bool is_real(cudaDataType type) {
  return type == CUDA_R_64F || type == CUDA_R_32F || type == CUDA_R_16F || type == CUDA_R_16BF;
}

}  // namespace

std::size_t size_of(cudaDataType type) {
  return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2;
}

bool matrix::holds_together() const {
  return rows > 0 && columns > 0 && batches > 0 && is_real(type) &&
         leading >= static_cast<std::int64_t>(row_major() ? columns : rows) &&
         (order == CUBLASLT_ORDER_COL || order == CUBLASLT_ORDER_ROW);
}
std::size_t matrix::bytes() const {
  const std::int64_t last =
      place(static_cast<std::int64_t>(rows) - 1, static_cast<std::int64_t>(columns) - 1);
  return static_cast<std::size_t>((batches - 1) * stride + last + 1) * size_of(type);
}

bool product_options::uses_bias() const { return has(with_bias | bias_sum | sum_of_a | sum_of_b); }
bool product_options::writes_bias() const { return has(bias_sum | sum_of_a | sum_of_b); }
bool product_options::reads_aux() const { return has(relu_slope | gelu_slope); }
bool product_options::aux_is_mask() const { return has(relu | relu_slope); }

std::int64_t product::depth() const {
  return static_cast<std::int64_t>(options.transpose_a == CUBLAS_OP_N ? a.columns : a.rows);
}
std::size_t product::bias_count() const {
  return static_cast<std::size_t>(options.has(sum_of_b) ? d.columns : d.rows);
}
std::size_t product::bias_bytes() const {
  const auto between = static_cast<std::size_t>((d.batches - 1) * options.bias_stride);
  return (between + bias_count()) * size_of(type_or(options.bias_type, d.type));
}
std::size_t product::aux_bytes() const {
  const auto elements =
      static_cast<std::size_t>((d.batches - 1) * options.aux_stride +
                               (static_cast<std::int64_t>(d.columns) - 1) * options.aux_leading) +
      d.rows;
  if (options.aux_is_mask()) return (elements + 7) / 8;
  return elements * size_of(type_or(options.aux_type, d.type));
}

bool product::shapes_fit() const {
  const bool ta = options.transpose_a != CUBLAS_OP_N;
  const bool tb = options.transpose_b != CUBLAS_OP_N;
  const std::uint64_t m = ta ? a.columns : a.rows;
  const std::uint64_t n = tb ? b.rows : b.columns;
  const std::uint64_t inner = tb ? b.columns : b.rows;
  for (const matrix* x : {&a, &b, &c, &d}) {
    if (!x->holds_together() || x->batches != d.batches) return false;
  }
  return inner == static_cast<std::uint64_t>(depth()) && c.rows == m && c.columns == n &&
         d.rows == m && d.columns == n;
}

/// The table of the library's documentation, as far as real numbers go.
bool product::supported() const {
  if (a.type != b.type || c.type != d.type) return false;
  if (options.scale == CUDA_R_64F) {
    // as strict as the library may be: callers have to do without
    if (options.epilogue != CUBLASLT_EPILOGUE_DEFAULT) return false;
    return options.compute == CUBLAS_COMPUTE_64F && a.type == CUDA_R_64F && d.type == CUDA_R_64F;
  }
  if (options.scale != CUDA_R_32F || a.type == CUDA_R_64F) return false;
  switch (options.compute) {
    case CUBLAS_COMPUTE_32F:
    case CUBLAS_COMPUTE_32F_PEDANTIC:
      return d.type == a.type || d.type == CUDA_R_32F;
    case CUBLAS_COMPUTE_32F_FAST_TF32:
    case CUBLAS_COMPUTE_32F_FAST_16F:
    case CUBLAS_COMPUTE_32F_FAST_16BF:
      return a.type == CUDA_R_32F && d.type == CUDA_R_32F;
    default:
      return false;
  }
}

void run_product(const product& p) {
  for (int batch = 0; batch < p.d.batches; ++batch) {
    const batch_run one{p, batch};
    if (one.in_double) {
      one.run<double>();
    } else {
      one.run<float>();
    }
  }
}

}  // namespace stand_in
