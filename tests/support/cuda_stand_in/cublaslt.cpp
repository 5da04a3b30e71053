// SPDX-License-Identifier: BSD-3-Clause
// cuBLASLt on the stand-in: descriptors, one algorithm a product, and the product as an operation
// of its stream. An algorithm remembers what it was chosen for.
#include <cstring>

#include "library.hpp"
#include "matrix_product.hpp"
#include <cublasLt.h>

struct cublasLtContext {};

using namespace stand_in;

namespace {

/// What an algorithm may rely on.
struct preference {
  std::size_t most_workspace = 0;
  std::uint32_t alignment[4] = {256, 256, 256, 256};  ///< of a, b, c and d
};

/// What the words of an algorithm hold.
struct algorithm {
  std::uint64_t sign;
  std::uint64_t workspace;
  std::uint64_t problem;  ///< a hash
  std::uint64_t alignment[4];
};
static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t));
constexpr std::uint64_t sign_of_algorithm = 0x68656464'6C65616C;
constexpr std::uint64_t workspace_alignment = 256;

cublasStatus_t status_of(cudaError_t how) {
  switch (how) {
    case cudaSuccess:
      return CUBLAS_STATUS_SUCCESS;
    case cudaErrorMemoryAllocation:
      return CUBLAS_STATUS_ALLOC_FAILED;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
      return CUBLAS_STATUS_NOT_INITIALIZED;
    default:
      return is_sticky(how) ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_INTERNAL_ERROR;
  }
}

template <class F>
cublasStatus_t library_call(call_kind kind, const char* name, F f) {
  return call_library(kind, name, &status_of, f);
}

/// Makes an object behind one of the library's handles.
template <class T, class Handle>
cublasStatus_t make(Handle* to, const T& value, const char* kind, const char* call) {
  return library_call(call_kind::plain, call, [&](world& w, hold&) {
    if (to == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
    *to =
        reinterpret_cast<Handle>(add_object(w, std::make_shared<T>(value), kind, current_device()));
    return CUBLAS_STATUS_SUCCESS;
  });
}

cublasStatus_t destroy(const void* handle, const char* kind, const char* call) {
  return library_call(call_kind::release, call, [&](world& w, hold&) {
    if (handle == nullptr) return CUBLAS_STATUS_SUCCESS;
    library_object* const found = find_object(w, handle, kind, call);
    if (found == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
    found->destroyed = true;
    return CUBLAS_STATUS_SUCCESS;
  });
}

constexpr const char* library_kind = "library handle";
constexpr const char* options_kind = "description of a product";
constexpr const char* layout_kind = "layout of a matrix";
constexpr const char* preference_kind = "preference";

/// Where an attribute is kept.
struct attribute {
  void* at = nullptr;
  std::size_t bytes = 0;

  template <class T>
  static attribute of(T& value) {
    return {&value, sizeof value};
  }
};
attribute attribute_of(matrix& m, int which) {
  switch (which) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return attribute::of(m.type);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return attribute::of(m.order);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return attribute::of(m.rows);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return attribute::of(m.columns);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return attribute::of(m.leading);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return attribute::of(m.batches);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return attribute::of(m.stride);
    default:
      return {};
  }
}
attribute attribute_of(product_options& o, int which) {
  switch (which) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
      return attribute::of(o.compute);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
      return attribute::of(o.scale);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return attribute::of(o.pointer_mode);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return attribute::of(o.transpose_a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return attribute::of(o.transpose_b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return attribute::of(o.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return attribute::of(o.bias);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
      return attribute::of(o.bias_stride);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return attribute::of(o.bias_type);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return attribute::of(o.aux);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return attribute::of(o.aux_leading);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE:
      return attribute::of(o.aux_stride);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE:
      return attribute::of(o.aux_type);
    default:
      return {};
  }
}
attribute attribute_of(preference& p, int which) {
  switch (which) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return attribute::of(p.most_workspace);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return attribute::of(p.alignment[0]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return attribute::of(p.alignment[1]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return attribute::of(p.alignment[2]);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return attribute::of(p.alignment[3]);
    default:
      return {};
  }
}
template <class T>
cublasStatus_t set(const void* handle, const char* kind, int which, const void* from,
                   std::size_t bytes, const char* name) {
  return library_call(call_kind::plain, name, [&](world& w, hold&) {
    T* const of = find<T>(w, handle, kind, name);
    if (of == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
    const attribute to = attribute_of(*of, which);
    if (to.at == nullptr) {
      w.findings.add(std::string("not modelled: ") + name + " is given attribute " +
                     std::to_string(which));
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (from == nullptr || bytes != to.bytes) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(to.at, from, bytes);
    return CUBLAS_STATUS_SUCCESS;
  });
}

/// A hash of all that an algorithm depends on; pointers are none of it.
std::uint64_t problem_of(const product& p, int device) {
  std::uint64_t h = static_cast<std::uint64_t>(device) + 1;
  const auto add = [&h](auto x) {
    h = (h ^ static_cast<std::uint64_t>(x)) * 0x9E3779B97F4A7C15u;
    h ^= h >> 29;
  };
  for (const matrix* m : {&p.a, &p.b, &p.c, &p.d}) {
    add(m->type), add(m->rows), add(m->columns), add(m->leading), add(m->order), add(m->batches),
        add(m->stride);
  }
  const product_options& o = p.options;
  add(o.compute), add(o.scale), add(o.transpose_a), add(o.transpose_b), add(o.epilogue);
  return h;
}

/// The description of a product from its handles; false where one is none.
bool describe(world& w, product& p, cublasLtMatmulDesc_t options, cublasLtMatrixLayout_t a,
              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
              const char* name) {
  const auto* const o = find<product_options>(w, options, options_kind, name);
  if (o == nullptr) return false;
  p.options = *o;
  const cublasLtMatrixLayout_t handles[] = {a, b, c, d};
  matrix* const to[] = {&p.a, &p.b, &p.c, &p.d};
  for (int i = 0; i < 4; ++i) {
    const auto* const m = find<matrix>(w, handles[i], layout_kind, name);
    if (m == nullptr) return false;
    *to[i] = *m;
  }
  return true;
}

double scalar(const void* from, cudaDataType type) {
  if (type == CUDA_R_64F) return *static_cast<const double*>(from);
  return static_cast<double>(*static_cast<const float*>(from));
}

std::vector<range> accesses_of(const product& p) {
  std::vector<range> made;
  const auto add = [&made](const void* at, std::size_t bytes, touch how) {
    made.push_back({static_cast<const std::byte*>(at), bytes, how});
  };
  add(p.of_a, p.a.bytes(), touch::read);
  add(p.of_b, p.b.bytes(), touch::read);
  if (p.beta != 0) add(p.of_c, p.c.bytes(), touch::read);
  add(p.of_d, p.d.bytes(), touch::written);
  const product_options& o = p.options;
  if (o.uses_bias()) {
    add(o.bias, p.bias_bytes(), o.writes_bias() ? touch::written : touch::read);
  }
  if (o.uses_aux()) add(o.aux, p.aux_bytes(), o.reads_aux() ? touch::read : touch::written);
  return made;
}

/// Whether the algorithm is one for this call; findings where it is another's.
bool may_use(world& w, const algorithm& how, const product& p, int device) {
  if (how.sign != sign_of_algorithm) {
    w.findings.add("algorithm: cublasLtMatmul is given one that no heuristic made");
    return false;
  }
  if (how.problem != problem_of(p, device)) {
    w.findings.add("algorithm: cublasLtMatmul is given one that was chosen for another product");
    return false;
  }
  const void* const at[] = {p.of_a, p.of_b, p.beta != 0 ? p.of_c : nullptr, p.of_d};
  for (int i = 0; i < 4; ++i) {
    if (reinterpret_cast<std::uintptr_t>(at[i]) % how.alignment[i] != 0) {
      w.findings.add(std::string("algorithm: cublasLtMatmul is given one for ") + "abcd"[i] +
                     " aligned to " + std::to_string(how.alignment[i]) + " bytes");
      return false;
    }
  }
  return true;
}

}  // namespace

std::size_t cublasLtGetVersion() {
  return static_cast<std::size_t>(version_of(library::cublaslt, CUBLAS_VERSION));
}
std::size_t cublasLtGetCudartVersion() { return CUDART_VERSION; }

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "CUBLAS_STATUS_UNKNOWN";
  }
}
const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return make(handle, cublasLtContext{}, library_kind, __func__);
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return destroy(handle, library_kind, __func__);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* to, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  product_options o;
  o.compute = compute;
  o.scale = scale;
  return make(to, o, options_kind, __func__);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t handle) {
  return destroy(handle, options_kind, __func__);
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle,
                                              cublasLtMatmulDescAttributes_t which,
                                              const void* from, std::size_t bytes) {
  return set<product_options>(handle, options_kind, which, from, bytes, __func__);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* to, cudaDataType type,
                                          std::uint64_t rows, std::uint64_t columns,
                                          std::int64_t leading) {
  return make(to, matrix{type, rows, columns, leading}, layout_kind, __func__);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t handle) {
  return destroy(handle, layout_kind, __func__);
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t handle,
                                                cublasLtMatrixLayoutAttribute_t which,
                                                const void* from, std::size_t bytes) {
  return set<matrix>(handle, layout_kind, which, from, bytes, __func__);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* to) {
  return make(to, preference{}, preference_kind, __func__);
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t handle) {
  return destroy(handle, preference_kind, __func__);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
                                                    cublasLtMatmulPreferenceAttributes_t which,
                                                    const void* from, std::size_t bytes) {
  return set<preference>(handle, preference_kind, which, from, bytes, __func__);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t options,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t wishes, int asked,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* found) {
  return library_call(call_kind::plain, __func__, [&](world& w, hold&) {
    const char* const name = "cublasLtMatmulAlgoGetHeuristic";
    product p;
    const library_object* const library = find_object(w, handle, library_kind, name);
    const auto* const like = find<preference>(w, wishes, preference_kind, name);
    if (library == nullptr || like == nullptr || asked < 1 ||
        !describe(w, p, options, a, b, c, d, name)) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    *found = 0;
    if (!p.shapes_fit()) return CUBLAS_STATUS_INVALID_VALUE;
    if (!p.supported()) return CUBLAS_STATUS_NOT_SUPPORTED;
    algorithm how{sign_of_algorithm, 0, problem_of(p, library->device), {}};
    // none, or some: the caller has to look
    how.workspace = (w.streams.random_word() % 3) * 1024;
    if (how.workspace > like->most_workspace) how.workspace = 0;
    for (int i = 0; i < 4; ++i) {
      how.alignment[i] = std::min<std::uint64_t>(16, like->alignment[i]);
    }
    results[0] = {};
    std::memcpy(&results[0].algo, &how, sizeof how);
    results[0].workspaceSize = how.workspace;
    results[0].state = CUBLAS_STATUS_SUCCESS;
    results[0].wavesCount = 1;
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
  });
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t options,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* chosen,
                              void* workspace, std::size_t workspace_bytes, cudaStream_t stream) {
  return library_call(call_kind::plain, __func__, [&](world& now, hold& h) {
    const char* const name = "cublasLtMatmul";
    product p;
    const library_object* const library = find_object(now, handle, library_kind, name);
    CUstream_st* const s = now.streams.find(stream, current_device(), name);
    if (library == nullptr || s == nullptr ||
        !describe(now, p, options, a_layout, b_layout, c_layout, d_layout, name)) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (library->device != s->device) {
      now.findings.add(
          "handle: cublasLtMatmul is given a stream of another device than the "
          "library handle's");
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (!p.shapes_fit()) return CUBLAS_STATUS_INVALID_VALUE;
    if (!p.supported() || p.options.pointer_mode != CUBLASLT_POINTER_MODE_HOST) {
      return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    p.alpha = scalar(alpha, p.options.scale);
    p.beta = scalar(beta, p.options.scale);
    p.of_a = a, p.of_b = b, p.of_c = c, p.of_d = d;
    const bool missing = (p.options.uses_bias() && p.options.bias == nullptr) ||
                         (p.options.uses_aux() && p.options.aux == nullptr);
    if (a == nullptr || b == nullptr || d == nullptr || (p.beta != 0 && c == nullptr) || missing) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    std::uint64_t used = 0;
    if (chosen != nullptr) {
      algorithm how;
      std::memcpy(&how, chosen, sizeof how);
      if (!may_use(now, how, p, library->device)) return CUBLAS_STATUS_INVALID_VALUE;
      used = how.workspace;
    }
    const bool aligned = reinterpret_cast<std::uintptr_t>(workspace) % workspace_alignment == 0;
    if (used > workspace_bytes || (used > 0 && (workspace == nullptr || !aligned))) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
    work w;
    w.name = "product of " + std::to_string(p.d.rows) + " by " + std::to_string(p.depth()) +
             " and " + std::to_string(p.depth()) + " by " + std::to_string(p.d.columns);
    w.device = s->device;
    w.accesses = accesses_of(p);
    w.accesses.push_back({static_cast<const std::byte*>(workspace), used, touch::written});
    w.outside = true;
    w.run = [p, workspace, used] {
      if (used > 0) std::memset(workspace, 0xEE, used);
      run_product(p);
    };
    simulator::instance().queue(h, *s, std::move(w));
    return CUBLAS_STATUS_SUCCESS;
  });
}
