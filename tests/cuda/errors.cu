// SPDX-License-Identifier: BSD-3-Clause
// What goes wrong with a CUDA device, and what is said of it: absent devices, short memory, and
// errors after which a process cannot use its devices any more. A program of its own: what it does
// to the run-time is not for other tests.
#include <string>

#include "../support/said.hpp"
#include "cuda_case.hpp"
#include <doctest/doctest.h>

#include <heddle/distributed/cuda/nccl.cuh>
#include <heddle/exec/evaluate.hpp>
#include <heddle/linalg/cuda/cublaslt.cuh>
#include <heddle/tensor/creation.hpp>

namespace {

using namespace heddle;
using support::said;

}  // namespace

TEST_CASE("no driver, a stub of it and no device all read as no CUDA device") {
  for (const cudaError_t how :
       {cudaErrorInsufficientDriver, cudaErrorStubLibrary, cudaErrorNoDevice}) {
    stand_in::no_device(how);
    CHECK(cuda_device_count() == 0);
    CHECK(said<device_error>([] { static_cast<void>(empty<float, 1>({4}, cuda(0))); }) ==
          "heddle::allocate: no CUDA device: cuda:0; this machine has none, or no driver for it");
    CHECK(said<device_error>([] { static_cast<void>(stream(cuda(0))); }) ==
          "heddle::stream: no CUDA device: cuda:0; this machine has none, or no driver for it");
  }
  stand_in::no_device(cudaSuccess);
  CHECK(cuda_device_count() == 2);
  CHECK(said<device_error>([] { static_cast<void>(empty<float, 1>({4}, cuda(5))); }) ==
        "heddle::allocate: there is no such device: cuda:5; this machine has cuda:0 to cuda:1");
}

TEST_CASE("a library that is not the one of the headers is said before its first use") {
  const support::cuda_case clean;
  const std::string major = std::to_string(CUDART_VERSION / 1000);
  const std::string headers = major + "." + std::to_string(CUDART_VERSION % 1000 / 10);
  stand_in::set_version(stand_in::library::runtime, 11080);
  CHECK(said<cuda_error>([] { static_cast<void>(empty<float, 1>({4}, cuda(0))); }) ==
        "heddle::allocate: the CUDA run-time is not the one of the headers: 11.8; " + headers +
            " is expected");
  stand_in::set_version(stand_in::library::runtime, 0);
  const tensor<float, 2> x = full<float, 2>({4, 4}, 2.0f, cuda(0));
  stand_in::set_version(stand_in::library::cublaslt, 110800);
  CHECK(said<cuda_error>([&] { static_cast<void>(evaluate(matmul(x, x))); }) ==
        "heddle::matmul: cuBLASLt is not the one of the headers: 11; " +
            std::to_string(CUBLAS_VER_MAJOR) + " is expected");
  stand_in::set_version(stand_in::library::cublaslt, 0);
  CHECK(tensor<float, 2>(matmul(x, x)).to(cpu())(3, 3) == 16);
  // NCCL promises that programs run with later releases of a major version
  const std::string expected = std::to_string(NCCL_MAJOR) + "." + std::to_string(NCCL_MINOR) + "." +
                               std::to_string(NCCL_PATCH) + " or a later " +
                               std::to_string(NCCL_MAJOR) + ".x is expected";
  stand_in::set_version(stand_in::library::nccl, 21805);
  CHECK(said<cuda_error>([] { static_cast<void>(nccl_id::make()); }) ==
        "heddle::nccl_id: NCCL is not the one of the headers: 2.18.5; " + expected);
  stand_in::set_version(stand_in::library::nccl, 0);
  const nccl_id id = nccl_id::make();
  stand_in::set_version(stand_in::library::nccl, 30001);
  CHECK(said<cuda_error>([&] { const nccl_communicator alone(id, 1, 0, cuda(0)); }) ==
        "heddle::nccl_communicator: NCCL is not the one of the headers: 3.0.1; " + expected);
  stand_in::set_version(stand_in::library::nccl, NCCL_VERSION_CODE + 1);
  const nccl_communicator alone(id, 1, 0, cuda(0));
  CHECK(alone.size() == 1);
}

TEST_CASE("short memory is reported with what there is, and with the statement") {
  const support::cuda_case clean;
  stand_in::set_capacity(0, std::size_t{80} << 10);
  const tensor<float, 1> x = full<float, 1>({8192}, 1.0f, cuda(0));
  const tensor<float, 1> y = x * 2;
  const int line = __LINE__ + 1;
  const std::string text = said<out_of_memory>([&] { const tensor<float, 1> z = x * y; });
  CHECK(text.find("heddle::allocate: out of memory on cuda:0: 32768 bytes asked for; ") == 0);
  CHECK(text.find("of 81920 bytes are free, heddle holds 65536 bytes live and") !=
        std::string::npos);
  CHECK(text.find("; in the statement at ") != std::string::npos);
  CHECK(text.find("errors.cu:" + std::to_string(line)) != std::string::npos);
  CHECK(memory_report(cuda(0)).find("cuda:0: 65536 bytes live") == 0);
  stand_in::set_capacity(0, std::size_t{1} << 30);
  CHECK(evaluate(x * y).to(cpu())(0) == 2);
}

TEST_CASE("what the run-time or cuBLASLt refuses is said in its words, and the device goes on") {
  const support::cuda_case clean;
  stand_in::fail_call(1, cudaErrorInvalidValue);
  CHECK(said<cuda_error>([] { static_cast<void>(stream(cuda(0))); }) ==
        std::string("heddle::stream: CUDA says cudaErrorInvalidValue: ") +
            cudaGetErrorString(cudaErrorInvalidValue));
  const tensor<float, 2> x = full<float, 2>({3, 3}, 2.0f, cuda(0));
  std::string text;
  for (std::uint64_t k = 1; k < 20 && text.find("cuBLASLt") == std::string::npos; ++k) {
    stand_in::fail_call(k, cudaErrorUnknown);
    text = said<cuda_error>([&] { static_cast<void>(evaluate(matmul(x, x))); });
    stand_in::recover();
  }
  CHECK(text == "heddle::matmul: cuBLASLt says CUBLAS_STATUS_INTERNAL_ERROR: " +
                    std::string(cublasLtGetStatusString(CUBLAS_STATUS_INTERNAL_ERROR)));
  CHECK(tensor<float, 2>(matmul(x, x)).to(cpu())(2, 2) == 12);
}

TEST_CASE("products that no library of the device computes are refused") {
  const support::cuda_case clean;
  const tensor<int, 2> x = full<int, 2>({2, 2}, 1, cuda(0));
  CHECK(said<type_error>([&] { static_cast<void>(evaluate(matmul(x, x))); }) ==
        "heddle::matmul: products of i32 are computed on the host, not on cuda:0; move the "
        "operands to cpu(), or cast them to f64");
  const auto linked = linalg::cuda_product_in_place.exchange(nullptr);
  CHECK(said<device_error>([&] { static_cast<void>(evaluate(matmul(x, x))); }) ==
        "heddle::matmul: no matrix product is linked for cuda:0; link heddle::cuda, which brings "
        "cuBLASLt");
  linalg::cuda_product_in_place.store(linked);
}

TEST_CASE(
    "an error that ends the use of the devices is said each time, and nothing is given back") {
  stand_in::set_order(stand_in::order::random);
  stand_in::reset_counters();
  {
    const tensor<float, 1> x = full<float, 1>({64}, 1.0f, cuda(0));
    const tensor<float, 1> here = ones<float, 1>({64});
    synchronize(cuda(0));
    const std::size_t held = stand_in::live_allocations().size();
    stand_in::fail_kernel(1, cudaErrorIllegalAddress);
    const std::string first = said<cuda_error>([&] {
      static_cast<void>(evaluate(x + 1));
      synchronize(cuda(0));
    });
    CHECK(first.find("CUDA says cudaErrorIllegalAddress") != std::string::npos);
    CHECK(first.find("the process cannot use its CUDA devices any more") != std::string::npos);
    CHECK(detail::cuda_is_lost());
    CHECK(!said<cuda_error>([&] { static_cast<void>(evaluate(x + 1)); }).empty());
    CHECK(!said<cuda_error>([&] { static_cast<void>(x.to(cpu())); }).empty());
    CHECK(!said<cuda_error>([&] { synchronize(cuda(0)); }).empty());
    CHECK(stand_in::live_allocations().size() >= held);
    CHECK(evaluate(here + 1)(0) == 2);  // the host goes on
  }
  collect_references();  // destructors have run, and nothing was thrown
}
