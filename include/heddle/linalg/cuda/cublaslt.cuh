// SPDX-License-Identifier: BSD-3-Clause
// Matrix products on CUDA devices, by cuBLASLt. Needs HEDDLE_WITH_CUBLASLT, which the target
// heddle::cuda sets together with the library.
#pragma once

#include <cstring>
#include <unordered_map>

#include <cublasLt.h>

#include <heddle/core/cuda/range.cuh>
#include <heddle/core/cuda/services.cuh>
#include <heddle/linalg/matmul.hpp>

namespace heddle::inline v0::linalg::cublaslt {

using heddle::detail::check_cuda;
using heddle::detail::cuda_device_scope;
using heddle::detail::cuda_state;
using heddle::detail::lock;
using heddle::detail::mutex;
using heddle::detail::stream_state;

inline void check(cublasStatus_t code) {
  if (code == CUBLAS_STATUS_SUCCESS) [[likely]]
    return;
  raise<cuda_error>("heddle::matmul: cuBLASLt says ", cublasLtGetStatusName(code), ": ",
                    cublasLtGetStatusString(code));
}

/// What the library computes in, and how it names a dtype. f32 products are f32 throughout: TF32,
/// which keeps 10 bits of the fraction, is not used.
struct number_types {
  cudaDataType_t data;
  cublasComputeType_t compute;
  cudaDataType_t scale;
};
inline number_types types_of(dtype type) {
  switch (type) {
    case dtype::f64:
      return {CUDA_R_64F, CUBLAS_COMPUTE_64F, CUDA_R_64F};
    case dtype::f16:
      return {CUDA_R_16F, CUBLAS_COMPUTE_32F, CUDA_R_32F};
    case dtype::bf16:
      return {CUDA_R_16BF, CUBLAS_COMPUTE_32F, CUDA_R_32F};
    default:
      return {CUDA_R_32F, CUBLAS_COMPUTE_32F, CUDA_R_32F};
  }
}

/// One library call, as far as the choice of an algorithm depends on it. In the library's words,
/// whose matrices are column-major: the transpose of c is that of b times that of a.
struct call_shape {
  std::int64_t m, n, k;
  std::int64_t a_leading, b_leading;
  std::int64_t batches, a_batch, b_batch;
  std::int32_t type, device;
  std::int32_t a_transposed, b_transposed;
  std::int32_t alignment;  ///< of the worst aligned operand: a power of two up to 16
  std::int32_t epilogue;   ///< cublasLtEpilogue_t

  bool operator==(const call_shape&) const = default;
};
struct call_hash {
  std::size_t operator()(const call_shape& s) const noexcept {
    std::uint64_t words[sizeof(call_shape) / 8];
    std::memcpy(words, &s, sizeof words);
    std::uint64_t h = 0;
    for (const std::uint64_t word : words) h = (h ^ word) * 0x9E3779B97F4A7C15u + (h >> 29);
    return static_cast<std::size_t>(h);
  }
};

/// Descriptions that the library wants, destroyed with the call.
struct operation {
  cublasLtMatmulDesc_t value = nullptr;

  operation(const number_types& types, bool a_transposed, bool b_transposed) {
    check(cublasLtMatmulDescCreate(&value, types.compute, types.scale));
    const cublasOperation_t a = a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t b = b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    set(CUBLASLT_MATMUL_DESC_TRANSA, a);
    set(CUBLASLT_MATMUL_DESC_TRANSB, b);
  }
  operation(const operation&) = delete;
  operation& operator=(const operation&) = delete;
  ~operation() {
    if (value != nullptr) static_cast<void>(cublasLtMatmulDescDestroy(value));
  }

  /// `columns`: of heddle's c.
  void add(const product_epilogue& e, cublasLtEpilogue_t code, std::int64_t columns) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(code));
    if (e.bias.data != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, e.bias.data);
    if (e.aux.data != nullptr) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, e.aux.data);
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, aux_leading(e.function, columns));
    }
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t what, const T& to) {
    const cublasStatus_t code = cublasLtMatmulDescSetAttribute(value, what, &to, sizeof to);
    if (code == CUBLAS_STATUS_SUCCESS) return;
    static_cast<void>(cublasLtMatmulDescDestroy(value));
    value = nullptr;
    check(code);
  }
};

/// The library's word for an epilogue. Its matrices are heddle's transposed: its rows are heddle's
/// columns, its first operand heddle's second.
inline cublasLtEpilogue_t code_of(const product_epilogue& e) noexcept {
  using task = product_epilogue::task;
  const bool bias = e.bias.data != nullptr;
  const bool aux = e.aux.data != nullptr;
  const bool relu = e.function == product_function::relu;
  switch (e.what) {
    case task::forward:
      if (e.function == product_function::identity) {
        return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
      }
      if (relu) {
        return aux ? (bias ? CUBLASLT_EPILOGUE_RELU_AUX_BIAS : CUBLASLT_EPILOGUE_RELU_AUX)
                   : (bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU);
      }
      return aux ? (bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX)
                 : (bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU);
    case task::backward:
      return relu ? (bias ? CUBLASLT_EPILOGUE_DRELU_BGRAD : CUBLASLT_EPILOGUE_DRELU)
                  : (bias ? CUBLASLT_EPILOGUE_DGELU_BGRAD : CUBLASLT_EPILOGUE_DGELU);
    case task::sum_of_a:
      return CUBLASLT_EPILOGUE_BGRADB;
    case task::sum_of_b:
      return CUBLASLT_EPILOGUE_BGRADA;
    default:
      return CUBLASLT_EPILOGUE_DEFAULT;
  }
}

struct layout {
  cublasLtMatrixLayout_t value = nullptr;

  layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns, std::int64_t leading,
         std::int64_t batches, std::int64_t stride) {
    check(cublasLtMatrixLayoutCreate(&value, type, static_cast<std::uint64_t>(rows),
                                     static_cast<std::uint64_t>(columns), leading));
    if (batches > 1) {
      set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batches));
      set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride);
    }
  }
  layout(const layout&) = delete;
  layout& operator=(const layout&) = delete;
  ~layout() { static_cast<void>(cublasLtMatrixLayoutDestroy(value)); }

 private:
  template <class T>
  void set(cublasLtMatrixLayoutAttribute_t what, const T& to) {
    const cublasStatus_t code = cublasLtMatrixLayoutSetAttribute(value, what, &to, sizeof to);
    if (code == CUBLAS_STATUS_SUCCESS) return;
    static_cast<void>(cublasLtMatrixLayoutDestroy(value));
    check(code);
  }
};

/// Bytes that an algorithm may use beside its operands: what NVIDIA recommends for Hopper.
inline constexpr std::size_t workspace_bytes = std::size_t{32} << 20;

/// The library on one device, and the algorithms that it chose.
class device_library {
 public:
  /// The device is current.
  cublasLtHandle_t handle() {
    lock hold(guard_);
    if (handle_ == nullptr) {
      const std::size_t found = cublasLtGetVersion();
      if (found / 10000 != CUBLAS_VER_MAJOR) {
        raise<cuda_error>("heddle::matmul: cuBLASLt is not the one of the headers: ", found / 10000,
                          "; ", CUBLAS_VER_MAJOR, " is expected");
      }
      check(cublasLtCreate(&handle_));
    }
    return handle_;
  }

  struct choice {
    cublasLtMatmulAlgo_t algorithm;
    std::size_t workspace = 0;
    bool supported = true;
  };
  choice choose(const call_shape& s, const operation& o, const layout& a, const layout& b,
                const layout& c) {
    lock hold(guard_);
    if (const auto known = choices_.find(s); known != choices_.end()) return known->second;
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference));
    const auto alignment = static_cast<std::uint32_t>(s.alignment);
    cublasStatus_t code = CUBLAS_STATUS_SUCCESS;
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t what, const auto& to) {
      if (code != CUBLAS_STATUS_SUCCESS) return;
      code = cublasLtMatmulPreferenceSetAttribute(preference, what, &to, sizeof to);
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment);
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    if (code == CUBLAS_STATUS_SUCCESS) {
      code = cublasLtMatmulAlgoGetHeuristic(handle_, o.value, a.value, b.value, c.value, c.value,
                                            preference, 1, &found, &count);
    }
    static_cast<void>(cublasLtMatmulPreferenceDestroy(preference));
    const bool none =
        code == CUBLAS_STATUS_NOT_SUPPORTED || (code == CUBLAS_STATUS_SUCCESS && count == 0);
    if (none && s.epilogue == CUBLASLT_EPILOGUE_DEFAULT) code = CUBLAS_STATUS_NOT_SUPPORTED;
    if (!none || s.epilogue == CUBLASLT_EPILOGUE_DEFAULT) check(code);
    // shapes that change from call to call, as lengths of sequences, must not fill the memory
    if (choices_.size() >= most_choices) choices_.clear();
    return choices_[s] = {found.algo, found.workspaceSize, !none};
  }

 private:
  static constexpr std::size_t most_choices = 4096;

  mutex guard_;
  cublasLtHandle_t handle_ = nullptr;  // guarded, as are the choices
  std::unordered_map<call_shape, choice, call_hash> choices_;
};

struct device_libraries : pooled {
  device_library of[max_cuda_devices];
};
inline device_library& library_of(int index) {
  static device_libraries* const libraries = new device_libraries;  // never destroyed
  return libraries->of[index];
}

inline std::int32_t alignment_of(std::initializer_list<const std::byte*> operands) noexcept {
  std::uintptr_t bits = 16;
  for (const std::byte* each : operands) bits |= reinterpret_cast<std::uintptr_t>(each);
  return static_cast<std::int32_t>(bits & (~bits + 1));
}

/// Queues c = a b on a stream of the device, which is current. Operands' matrices are direct (see
/// layout_of). Batch axes but the last are calls of their own. False where the library has no such
/// epilogue.
inline bool multiply(dtype type, const product& p, const std::byte* a, const std::byte* b,
                     std::byte* c, const product_epilogue& epilogue, device where,
                     const heddle::handle<stream_state>& queue) {
  device_library& library = library_of(where.index);
  const cublasLtHandle_t handle = library.handle();
  const cudaStream_t stream = cuda_state(queue).get();
  const number_types types = types_of(type);
  const auto size = static_cast<std::int64_t>(size_of(type));
  const blas_layout a_layout = layout_of(p.a, p.m, p.k);
  const blas_layout b_layout = layout_of(p.b, p.k, p.n);
  const int last = p.batch_rank - 1;
  call_shape s{};
  s.m = p.n;
  s.n = p.m;
  s.k = p.k;
  s.a_leading = b_layout.leading;
  s.b_leading = a_layout.leading;
  s.batches = last >= 0 ? p.batch_extents[last] : 1;
  s.a_batch = last >= 0 ? p.b.batch[last] : 0;
  s.b_batch = last >= 0 ? p.a.batch[last] : 0;
  s.type = static_cast<std::int32_t>(type);
  s.device = where.index;
  s.a_transposed = b_layout.transposed == 'T';
  s.b_transposed = a_layout.transposed == 'T';
  s.epilogue = code_of(epilogue);
  operation o(types, s.a_transposed != 0, s.b_transposed != 0);
  if (s.epilogue != CUBLASLT_EPILOGUE_DEFAULT) o.add(epilogue, code_of(epilogue), p.n);
  const layout first(types.data, s.a_transposed ? s.k : s.m, s.a_transposed ? s.m : s.k,
                     s.a_leading, s.batches, s.a_batch);
  const layout second(types.data, s.b_transposed ? s.n : s.k, s.b_transposed ? s.k : s.n,
                      s.b_leading, s.batches, s.b_batch);
  const layout result(types.data, s.m, s.n, s.m, s.batches, s.m * s.n);
  const double one[2] = {1, 0};
  const float one_single[2] = {1, 0};
  const bool in_double = types.scale == CUDA_R_64F;
  const void* const alpha = in_double ? static_cast<const void*>(one) : one_single;
  const void* const beta = in_double ? static_cast<const void*>(one + 1) : one_single + 1;
  heddle::handle<storage> workspace;
  for (std::int64_t i = 0; i < p.batches(); i += s.batches) {
    const batch_offsets at = offsets_of(p, i);
    const std::byte* const left = b + at.b * size;
    const std::byte* const right = a + at.a * size;
    std::byte* const to = c + i * p.m * p.n * size;
    s.alignment = alignment_of({left, right, to, epilogue.bias.data, epilogue.aux.data});
    const device_library::choice chosen = library.choose(s, o, first, second, result);
    if (!chosen.supported) return false;
    if (chosen.workspace > 0 && (!workspace || workspace->bytes() < chosen.workspace)) {
      workspace = storage::allocate(chosen.workspace, where);
    }
    check(cublasLtMatmul(handle, o.value, alpha, left, first.value, right, second.value, beta, to,
                         result.value, to, result.value, &chosen.algorithm,
                         workspace ? workspace->data() : nullptr, chosen.workspace, stream));
  }
  return true;
}

/// What matmul.hpp calls.
inline bool run(dtype type, const product& p, const product_operand& a, const product_operand& b,
                const product_operand& c, const product_epilogue& epilogue, device where) {
  const heddle::detail::launch_range range("matmul");
  const heddle::handle<stream_state> queue = heddle::detail::state_of(current_stream(where));
  const cuda_device_scope scope(where.index, "matmul");
  for (const product_operand* each : {&a, &b, &c, &epilogue.bias, &epilogue.aux}) {
    if (each->memory != nullptr) each->memory->record_stream(*queue);
  }
  cuda_state(queue).note_written(c.memory);
  const std::int64_t count = p.batches() * p.m * p.n;
  if (count == 0) return true;
  if (p.k == 0) {
    check_cuda(cudaMemsetAsync(c.data, 0, static_cast<std::size_t>(count) * size_of(type),
                               cuda_state(queue).get()),
               "matmul");
    return true;
  }
  return multiply(type, p, a.data, b.data, c.data, epilogue, where, queue);
}

inline const bool is_in_place = [] {
  cuda_product_in_place.store(&run, std::memory_order_release);
  return true;
}();

}  // namespace heddle::inline v0::linalg::cublaslt
