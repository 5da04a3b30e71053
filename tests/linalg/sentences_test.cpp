// SPDX-License-Identifier: BSD-3-Clause
// What matrix products say when a library fails, or is not there. dnnl_sgemm stands before
// oneDNN's, so that it can fail.
#include <doctest/doctest.h>

#include <heddle/exec/evaluate.hpp>
#include <heddle/linalg/matmul.hpp>
#include <heddle/tensor/creation.hpp>

using namespace heddle;

#if defined(HEDDLE_WITH_ONEDNN)

#include <dlfcn.h>

namespace {

thread_local dnnl_status_t next_answer = dnnl_success;

}  // namespace

extern "C" dnnl_status_t dnnl_sgemm(char a_transposed, char b_transposed, dnnl_dim_t m,
                                    dnnl_dim_t n, dnnl_dim_t k, float alpha, const float* a,
                                    dnnl_dim_t lda, const float* b, dnnl_dim_t ldb, float beta,
                                    float* c, dnnl_dim_t ldc) {
  static const auto library =
      reinterpret_cast<decltype(&dnnl_sgemm)>(dlsym(RTLD_NEXT, "dnnl_sgemm"));
  if (next_answer != dnnl_success) return next_answer;
  return library(a_transposed, b_transposed, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

TEST_CASE("what oneDNN cannot do is said with its status") {
  REQUIRE(dnnl_version() != nullptr);  // a linker may leave out a library that nothing calls
  const tensor<float, 2> x = ones<float, 2>({2, 2});
  next_answer = dnnl_out_of_memory;
  CHECK_THROWS_WITH_AS(static_cast<void>(evaluate(matmul(x, x))),
                       "heddle::matmul: oneDNN found no memory in sgemm", out_of_memory);
  next_answer = dnnl_unimplemented;
  CHECK_THROWS_WITH_AS(static_cast<void>(evaluate(matmul(x, x))),
                       "heddle::matmul: oneDNN's sgemm failed with status 3; its environment "
                       "variable DNNL_VERBOSE=2 says why",
                       state_error);
  next_answer = dnnl_success;
  CHECK(evaluate(matmul(x, x))(1, 1) == 2);
}

#endif
