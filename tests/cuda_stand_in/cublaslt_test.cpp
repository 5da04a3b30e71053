// SPDX-License-Identifier: BSD-3-Clause
// cuBLASLt on the stand-in: products of every layout and epilogue against a walk by definition,
// and misuse that is noticed.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../support/cuda_stand_in/stand_in.hpp"
#include "../support/random_source.hpp"
#include "small_kernel.hpp"
#include <cublasLt.h>
#include <doctest/doctest.h>

using namespace small_kernel;
using stand_in::findings;

namespace {

/// One product of column-major or row-major matrices of T.
template <class T>
struct product_case {
  int m = 5, n = 7, k = 6;
  bool transpose_a = false, transpose_b = false, row_major = false;
  int batches = 1;
  float alpha = 1, beta = 0;
  cudaDataType type = CUDA_R_32F;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  std::uint32_t alignment = 4;
  std::size_t workspace_bytes = 4096;

  std::vector<T> a, b, c, d, bias;
  std::vector<float> aux;

  static int leading(int rows, int columns, bool row_major) {
    return (row_major ? columns : rows) + 3;
  }
  static int stride(int rows, int columns, bool row_major) {
    return leading(rows, columns, row_major) * (row_major ? rows : columns) + 2;
  }
  int place(int rows, int columns, int batch, int i, int j) const {
    const int at =
        row_major ? i * leading(rows, columns, true) + j : j * leading(rows, columns, false) + i;
    return batch * stride(rows, columns, row_major) + at;
  }
  int a_rows() const { return transpose_a ? k : m; }
  int a_columns() const { return transpose_a ? m : k; }
  int b_rows() const { return transpose_b ? n : k; }
  int b_columns() const { return transpose_b ? k : n; }

  void draw(std::uint64_t seed) {
    support::random_source random(seed);
    const auto fill = [&](std::vector<T>& v, int count) {
      v.resize(static_cast<std::size_t>(count));
      for (T& x : v) x = static_cast<T>(random.between(-8, 8)) / 4;
    };
    fill(a, batches * stride(a_rows(), a_columns(), row_major));
    fill(b, batches * stride(b_rows(), b_columns(), row_major));
    fill(c, batches * stride(m, n, row_major));
    fill(bias, m > n ? m : n);
    d = c;
    aux.assign(static_cast<std::size_t>((m + 3) * n), 0.25f);
  }

  T at_a(int batch, int i, int e) const {
    const int p = transpose_a ? place(k, m, batch, e, i) : place(m, k, batch, i, e);
    return a[static_cast<std::size_t>(p)];
  }
  T at_b(int batch, int e, int j) const {
    const int p = transpose_b ? place(n, k, batch, j, e) : place(k, n, batch, e, j);
    return b[static_cast<std::size_t>(p)];
  }
  std::size_t at_d(int batch, int i, int j) const {
    return static_cast<std::size_t>(place(m, n, batch, i, j));
  }
  /// By definition, before an epilogue.
  double plain(int batch, int i, int j) const {
    double sum = 0;
    for (int e = 0; e < k; ++e) {
      sum += static_cast<double>(at_a(batch, i, e)) * static_cast<double>(at_b(batch, e, j));
    }
    return static_cast<double>(alpha) * sum +
           static_cast<double>(beta) * static_cast<double>(c[at_d(batch, i, j)]);
  }
};

struct memory {
  explicit memory(std::size_t n) : bytes(n) { cudaMalloc(&data, n); }
  template <class T>
  explicit memory(const std::vector<T>& from) : memory(from.size() * sizeof(T)) {
    cudaMemcpy(data, from.data(), bytes, cudaMemcpyHostToDevice);
  }
  ~memory() {
    cudaDeviceSynchronize();
    cudaFree(data);
  }
  memory(const memory&) = delete;
  memory& operator=(const memory&) = delete;
  template <class T>
  void read(std::vector<T>& to) const {
    cudaMemcpy(to.data(), data, to.size() * sizeof(T), cudaMemcpyDeviceToHost);
  }
  std::size_t bytes;
  void* data = nullptr;
};

struct layout {
  layout(cudaDataType type, int rows, int columns, bool row_major, int batches, int leading,
         int stride) {
    cublasLtMatrixLayoutCreate(&handle, type, static_cast<std::uint64_t>(rows),
                               static_cast<std::uint64_t>(columns), leading);
    const std::int32_t order = row_major ? CUBLASLT_ORDER_ROW : CUBLASLT_ORDER_COL;
    set(CUBLASLT_MATRIX_LAYOUT_ORDER, order);
    set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, std::int32_t{batches});
    set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, std::int64_t{stride});
  }
  ~layout() { cublasLtMatrixLayoutDestroy(handle); }
  layout(const layout&) = delete;
  layout& operator=(const layout&) = delete;
  template <class T>
  void set(cublasLtMatrixLayoutAttribute_t what, T value) {
    CHECK(cublasLtMatrixLayoutSetAttribute(handle, what, &value, sizeof value) ==
          CUBLAS_STATUS_SUCCESS);
  }
  cublasLtMatrixLayout_t handle = nullptr;
};

/// Makes the library's objects for a case and runs it; results go into the case.
template <class T>
class library_run {
 public:
  explicit library_run(product_case<T>& p)
      : p_(p),
        a_(p.type, p.a_rows(), p.a_columns(), p.row_major, p.batches,
           p.leading(p.a_rows(), p.a_columns(), p.row_major),
           p.stride(p.a_rows(), p.a_columns(), p.row_major)),
        b_(p.type, p.b_rows(), p.b_columns(), p.row_major, p.batches,
           p.leading(p.b_rows(), p.b_columns(), p.row_major),
           p.stride(p.b_rows(), p.b_columns(), p.row_major)),
        d_(p.type, p.m, p.n, p.row_major, p.batches, p.leading(p.m, p.n, p.row_major),
           p.stride(p.m, p.n, p.row_major)) {
    const bool in_double = p.type == CUDA_R_64F;
    REQUIRE(cublasLtCreate(&handle) == CUBLAS_STATUS_SUCCESS);
    cublasLtMatmulDescCreate(&options, p.compute, in_double ? CUDA_R_64F : CUDA_R_32F);
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, p.epilogue);
  }
  ~library_run() {
    cublasLtMatmulDescDestroy(options);
    cublasLtDestroy(handle);
  }
  library_run(const library_run&) = delete;
  library_run& operator=(const library_run&) = delete;

  template <class V>
  void set(cublasLtMatmulDescAttributes_t what, V value) {
    CHECK(cublasLtMatmulDescSetAttribute(options, what, &value, sizeof value) ==
          CUBLAS_STATUS_SUCCESS);
  }
  cublasStatus_t choose() {
    cublasLtMatmulPreference_t wishes = nullptr;
    cublasLtMatmulPreferenceCreate(&wishes);
    cublasLtMatmulPreferenceSetAttribute(wishes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &p_.workspace_bytes, sizeof p_.workspace_bytes);
    for (const auto what :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      cublasLtMatmulPreferenceSetAttribute(wishes, what, &p_.alignment, sizeof p_.alignment);
    }
    int count = 0;
    const cublasStatus_t how = cublasLtMatmulAlgoGetHeuristic(
        handle, options, a_.handle, b_.handle, d_.handle, d_.handle, wishes, 1, &found, &count);
    CHECK(count == (how == CUBLAS_STATUS_SUCCESS ? 1 : 0));
    cublasLtMatmulPreferenceDestroy(wishes);
    return how;
  }
  cublasStatus_t multiply(const void* a, const void* b, void* d, void* workspace,
                          cudaStream_t stream) {
    const double alpha = static_cast<double>(p_.alpha);
    const double beta = static_cast<double>(p_.beta);
    const bool in_double = p_.type == CUDA_R_64F;
    const void* const by = in_double ? static_cast<const void*>(&alpha) : &p_.alpha;
    const void* const and_by = in_double ? static_cast<const void*>(&beta) : &p_.beta;
    return cublasLtMatmul(handle, options, by, a, a_.handle, b, b_.handle, and_by, d, d_.handle, d,
                          d_.handle, &found.algo, workspace, found.workspaceSize, stream);
  }
  /// The whole of it.
  cublasStatus_t run() {
    const memory a(p_.a);
    const memory b(p_.b);
    const memory d(p_.c);
    const memory bias(p_.bias);
    const memory aux(p_.aux);
    const memory workspace(p_.workspace_bytes + 1);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.data);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux.data);
    const bool mask = (p_.epilogue & 10) != 0;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t{mask ? 128 : p_.m + 3});
    if (const cublasStatus_t how = choose(); how != CUBLAS_STATUS_SUCCESS) return how;
    const cublasStatus_t how = multiply(a.data, b.data, d.data, workspace.data, nullptr);
    d.read(p_.d);
    bias.read(p_.bias);
    aux.read(p_.aux);
    return how;
  }

  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t options = nullptr;
  cublasLtMatmulHeuristicResult_t found{};

 private:
  product_case<T>& p_;
  layout a_, b_, d_;
};

template <class T>
cublasStatus_t run(product_case<T>& p) {
  return library_run<T>(p).run();
}

/// The largest distance of d from what f makes of the plain product.
template <class T, class F>
double distance(const product_case<T>& p, F f) {
  double worst = 0;
  for (int batch = 0; batch < p.batches; ++batch) {
    for (int i = 0; i < p.m; ++i) {
      for (int j = 0; j < p.n; ++j) {
        const double got = static_cast<double>(p.d[p.at_d(batch, i, j)]);
        const double off = std::fabs(got - f(p.plain(batch, i, j), i, j));
        worst = off <= worst ? worst : off;
      }
    }
  }
  return worst;
}
constexpr auto same = [](double x, int, int) { return x; };

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

}  // namespace

TEST_CASE("products of all transpositions and orders, of batches, scaled, added to") {
  stand_in::reset();
  for (std::uint64_t seed = 0; seed < 32; ++seed) {
    product_case<float> p;
    p.transpose_a = (seed & 1) != 0;
    p.transpose_b = (seed & 2) != 0;
    p.row_major = (seed & 4) != 0;
    p.batches = (seed & 8) != 0 ? 3 : 1;
    p.alpha = (seed & 16) != 0 ? 0.5f : 1;
    p.beta = (seed & 16) != 0 ? -2 : 0;
    p.draw(seed);
    const std::vector<float> before = p.c;
    REQUIRE(run(p) == CUBLAS_STATUS_SUCCESS);
    CHECK(distance(p, same) == 0);  // quarters: exact
    // between the columns nothing was written
    for (int batch = 0; batch < p.batches; ++batch) {
      for (int i = 0; i < p.m; ++i) {
        for (int j = 0; j < p.n; ++j) p.d[p.at_d(batch, i, j)] = before[p.at_d(batch, i, j)];
      }
    }
    CHECK(p.d == before);
    REQUIRE(findings() == std::vector<std::string>{});
  }
  CHECK(stand_in::live_library_objects().empty());
}

TEST_CASE("doubles are computed in double; TF32 keeps ten bits") {
  stand_in::reset();
  product_case<double> p;
  p.type = CUDA_R_64F;
  p.compute = CUBLAS_COMPUTE_64F;
  p.draw(1);
  for (double& x : p.a) x /= 3;
  REQUIRE(run(p) == CUBLAS_STATUS_SUCCESS);
  CHECK(distance(p, same) < 1e-14);
  product_case<float> q;
  q.draw(1);
  for (float& x : q.a) x /= 3;
  REQUIRE(run(q) == CUBLAS_STATUS_SUCCESS);
  CHECK(distance(q, same) < 1e-6);
  q.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  REQUIRE(run(q) == CUBLAS_STATUS_SUCCESS);
  CHECK(distance(q, same) > 1e-5);
  CHECK(distance(q, same) < 1e-2);
  q.compute = CUBLAS_COMPUTE_64F;
  CHECK(run(q) == CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_CASE("epilogues: bias, relu and gelu, what they keep, and their derivatives") {
  stand_in::reset();
  product_case<float> p;
  p.draw(3);
  const std::vector<float> bias = p.bias;
  const auto with_bias = [&](double x, int i, int) {
    return x + static_cast<double>(bias[static_cast<std::size_t>(i)]);
  };
  const auto run_as = [&](cublasLtEpilogue_t epilogue) {
    p.epilogue = epilogue;
    p.bias = bias;
    REQUIRE(run(p) == CUBLAS_STATUS_SUCCESS);
  };
  run_as(CUBLASLT_EPILOGUE_BIAS);
  CHECK(distance(p, with_bias) == 0);
  run_as(CUBLASLT_EPILOGUE_RELU);
  CHECK(distance(p, [](double x, int, int) { return x > 0 ? x : 0; }) == 0);
  run_as(CUBLASLT_EPILOGUE_RELU_BIAS);
  CHECK(distance(p, [&](double x, int i, int j) { return std::max(0.0, with_bias(x, i, j)); }) ==
        0);
  run_as(CUBLASLT_EPILOGUE_GELU);
  CHECK(distance(p, [](double x, int, int) { return gelu(x); }) < 1e-6);
  run_as(CUBLASLT_EPILOGUE_GELU_BIAS);
  CHECK(distance(p, [&](double x, int i, int j) { return gelu(with_bias(x, i, j)); }) < 1e-6);

  run_as(CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
  const auto aux_at = [&](int i, int j) {
    return static_cast<double>(p.aux[static_cast<std::size_t>(j * (p.m + 3) + i)]);
  };
  CHECK(aux_at(2, 3) == with_bias(p.plain(0, 2, 3), 2, 3));
  run_as(CUBLASLT_EPILOGUE_DGELU);
  CHECK(distance(p, [&](double x, int i, int j) {
          const double at = aux_at(i, j);
          return x * (gelu(at + 1e-5) - gelu(at - 1e-5)) / 2e-5;
        }) < 1e-4);

  run_as(CUBLASLT_EPILOGUE_RELU_AUX);
  std::vector<bool> positive;
  for (int i = 0; i < p.m; ++i) {
    for (int j = 0; j < p.n; ++j) positive.push_back(p.plain(0, i, j) > 0);
  }
  p.alpha = -1;
  run_as(CUBLASLT_EPILOGUE_DRELU_BGRAD);
  CHECK(distance(p, [&](double x, int i, int j) {
          return positive[static_cast<std::size_t>(i * p.n + j)] ? x : 0;
        }) == 0);
  double sum = 0;
  for (int j = 0; j < p.n; ++j) sum += static_cast<double>(p.d[p.at_d(0, 1, j)]);
  CHECK(static_cast<double>(p.bias[1]) == doctest::Approx(sum));
  run_as(CUBLASLT_EPILOGUE_BGRADB);
  sum = 0;
  for (int e = 0; e < p.k; ++e) sum += static_cast<double>(p.at_b(0, e, 4));
  CHECK(static_cast<double>(p.bias[4]) == doctest::Approx(sum));
  CHECK(findings().empty());
}

TEST_CASE("narrow floats are rounded once") {
  stand_in::reset();
  product_case<std::uint16_t> p;  // bfloat16 by its bits
  p.type = CUDA_R_16BF;
  p.alignment = 2;
  p.m = p.n = 1;
  p.k = 3;
  p.draw(0);
  p.a.assign(p.a.size(), 0x3F80);                            // 1
  const std::uint16_t numbers[] = {0x4380, 0x3F80, 0x3F80};  // 256, 1, 1
  std::memcpy(p.b.data(), numbers, sizeof numbers);
  REQUIRE(run(p) == CUBLAS_STATUS_SUCCESS);
  CHECK(p.d[0] == 0x4381);  // 258, and not 256 twice rounded
  CHECK(findings().empty());
}

TEST_CASE("a product is an operation of its stream; its operands may race and be out of range") {
  stand_in::reset();
  product_case<float> p;
  p.draw(5);
  stream_of_test s;
  library_run<float> r(p);
  const memory a(p.a);
  const memory b(p.b);
  const memory d(p.d);
  const memory workspace(4096);
  cudaDeviceSynchronize();
  REQUIRE(r.choose() == CUBLAS_STATUS_SUCCESS);
  REQUIRE(r.multiply(a.data, b.data, d.data, workspace.data, s.handle) == CUBLAS_STATUS_SUCCESS);
  CHECK(stand_in::queued() == 1);
  CHECK(findings().empty());
  cudaMemset(a.data, 0, 4);
  CHECK(found("race: #5 fill of 4 bytes (the default stream of device 0) writes allocation 1"));
  cudaDeviceSynchronize();
  stand_in::recover();
  const memory small(p.d.size() * sizeof(float) - 24);  // 4 short
  r.multiply(a.data, b.data, small.data, workspace.data, s.handle);
  CHECK(found("out of range: #6 product of 5 by 6 and 6 by 7 (stream 1 of device 0) writes"));
  cudaStreamSynchronize(s.handle);
  stand_in::recover();

  product_case<float> three;
  three.batches = 3;
  three.draw(5);
  library_run<float> all(three);
  REQUIRE(all.choose() == CUBLAS_STATUS_SUCCESS);
  const memory many_a(three.a);
  const memory many_b(three.b);
  cudaDeviceSynchronize();
  CHECK(all.multiply(many_a.data, many_b.data, d.data, workspace.data, s.handle) ==
        CUBLAS_STATUS_SUCCESS);
  CHECK(found("out of range: "));
  cudaStreamSynchronize(s.handle);
  stand_in::recover();
  cudaSetDevice(1);
  stream_of_test there;
  CHECK(r.multiply(a.data, b.data, d.data, workspace.data, there.handle) ==
        CUBLAS_STATUS_INVALID_VALUE);
  CHECK(found("handle: cublasLtMatmul is given a stream of another device"));
  cudaSetDevice(0);
}

TEST_CASE("an algorithm serves the product, the alignment and the workspace it was chosen for") {
  stand_in::reset();
  product_case<float> p;
  p.alignment = 16;
  p.draw(5);
  product_case<float> other = p;
  other.n = 6;
  library_run<float> r(p);
  library_run<float> others(other);
  const memory a(p.a);
  const memory b(p.b);
  const memory d(p.d);
  const memory workspace(4096);
  bool some = false;
  bool none = false;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    stand_in::set_seed(seed);
    REQUIRE(r.choose() == CUBLAS_STATUS_SUCCESS);
    (r.found.workspaceSize > 0 ? some : none) = true;
    if (r.found.workspaceSize == 0) continue;
    CHECK(r.multiply(a.data, b.data, d.data, nullptr, nullptr) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(r.multiply(a.data, b.data, d.data, static_cast<char*>(workspace.data) + 16, nullptr) ==
          CUBLAS_STATUS_INVALID_VALUE);
  }
  CHECK(some);
  CHECK(none);
  CHECK(findings().empty());
  auto* const off = static_cast<float*>(b.data) + 1;
  CHECK(r.multiply(a.data, off, d.data, workspace.data, nullptr) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(found("algorithm: cublasLtMatmul is given one for b aligned to 16 bytes"));
  others.found = r.found;
  CHECK(others.multiply(a.data, b.data, d.data, workspace.data, nullptr) ==
        CUBLAS_STATUS_INVALID_VALUE);
  CHECK(found("algorithm: cublasLtMatmul is given one that was chosen for another product"));
  stand_in::recover();

  cublasLtMatmulDescDestroy(others.options);
  CHECK(others.choose() == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(found("handle: cublasLtMatmulAlgoGetHeuristic is given no description of a product"));
  cublasLtMatmulDescCreate(&others.options, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  stand_in::recover();
  stand_in::fail_call(1, cudaErrorMemoryAllocation);
  CHECK(r.choose() == CUBLAS_STATUS_INVALID_VALUE);  // the preference could not be made
  stand_in::fail_call(1, cudaErrorMemoryAllocation);
  CHECK(r.multiply(a.data, b.data, d.data, workspace.data, nullptr) == CUBLAS_STATUS_ALLOC_FAILED);
  stand_in::recover();
  CHECK(stand_in::live_library_objects().size() == 10);
}
