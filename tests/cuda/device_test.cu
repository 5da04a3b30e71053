// SPDX-License-Identifier: BSD-3-Clause
// Devices, memory, streams, events and copies of CUDA devices, on the stand-in for the run-time or
// a GPU.
#include <cstring>
#include <vector>

#include "cuda_case.hpp"
#include <doctest/doctest.h>

#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/any_tensor.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/views.hpp>

namespace {

using namespace heddle;

tensor<float, 2> counting(extents<2> e, device where = cpu()) {
  tensor<float, 2> x = empty<float, 2>(e);
  float next = 0;
  for (float& v : x) v = next++;
  return x.to(where);
}
template <class T, int Rank>
bool equal_elements(const tensor<T, Rank>& a, const tensor<T, Rank>& b) {
  const tensor<T, Rank> x = a.to(cpu()).contiguous(), y = b.to(cpu()).contiguous();
  return x.extents() == y.extents() &&
         std::memcmp(x.data(), y.data(), static_cast<std::size_t>(x.size()) * sizeof(T)) == 0;
}

}  // namespace

TEST_CASE("tensors go to a CUDA device and back, in any layout") {
  const support::cuda_case clean;
  const tensor<float, 2> x = counting({3, 5});
  const tensor<float, 2> there = x.to(cuda(0));
  CHECK(there.device() == cuda(0));
  CHECK(equal_elements(there, x));
  // strided on the host, on the device, and on both
  CHECK(equal_elements(x.transpose().to(cuda(0)), x.transpose()));
  CHECK(equal_elements(there.transpose(), x.transpose()));
  CHECK(equal_elements(there.slice<1>(1, 4).clone(), x.slice<1>(1, 4)));
  CHECK(equal_elements(there.slice<1>(1, 4).to(support::second_device()), x.slice<1>(1, 4)));
  const tensor<float, 2> wide = zeros<float, 2>({3, 8}, support::second_device());
  any_tensor(wide.slice<1>(2, 7)).copy_(any_tensor(there));
  CHECK(equal_elements(wide.slice<1>(2, 7), x));
  CHECK(wide.to(cpu())(0, 0) == 0);
  const tensor<float, 2> back = zeros<float, 2>({5, 3});
  any_tensor(back.transpose()).copy_(any_tensor(there));
  CHECK(equal_elements(back.transpose(), x));
  const tensor<float, 2> nothing = zeros<float, 2>({0, 5}, cuda(0));
  CHECK(nothing.to(cpu()).extents() == extents<2>{0, 5});
}

TEST_CASE("elements of every size are filled and copied") {
  const support::cuda_case clean;
  CHECK(full<double, 1>({7}, 0.5, cuda(0)).to(cpu())(6) == 0.5);
  CHECK(full<float, 1>({7}, 0.5f, cuda(0)).to(cpu())(6) == 0.5f);
  CHECK(static_cast<float>(full<bfloat16, 1>({7}, 0.5f, cuda(0)).to(cpu())(6)) == 0.5f);
  CHECK(full<std::uint8_t, 1>({7}, 200, cuda(0)).to(cpu())(6) == 200);
  CHECK(full<std::int64_t, 1>({7}, -3, cuda(0)).to(cpu())(6) == -3);
  CHECK(ones<bool, 1>({7}, cuda(0)).to(cpu())(6));
  CHECK(arange<std::int32_t>(0, 5, 1, cuda(0)).to(cpu())(4) == 4);
}

TEST_CASE("more than the staging blocks, and more than they hold, is sent") {
  const support::cuda_case clean;
  std::vector<tensor<float, 2>> sent;
  for (int i = 0; i < 20; ++i) sent.push_back(full<float, 2>({64, 64}, 1.0f * i).to(cuda(0)));
  for (int i = 0; i < 20; ++i) CHECK(sent[static_cast<std::size_t>(i)].to(cpu())(63, 63) == i);
  const tensor<float, 2> large = full<float, 2>({1500, 1500}, 3.0f).to(cuda(0));
  CHECK(large.to(cpu())(1499, 1499) == 3.0f);
}

TEST_CASE("memory is counted, and short memory is an error that can be survived") {
  support::cuda_case clean;
  const memory_statistics before = memory_stats(cuda(0));
  {
    const tensor<float, 1> x = empty<float, 1>({1024}, cuda(0));
    CHECK(memory_stats(cuda(0)).live == before.live + 4096);
  }
  CHECK(memory_stats(cuda(0)).live == before.live);
  CHECK(memory_stats(cuda(0)).peak >= before.live + 4096);
  std::string said;
  try {
    static_cast<void>(empty<float, 1>({std::int64_t{1} << 50}, cuda(0)));
  } catch (const out_of_memory& e) {
    said = e.what();
  }
  CHECK(said.find(
            "heddle::allocate: out of memory on cuda:0: 4503599627370496 bytes asked for; ") == 0);
  CHECK(said.find("bytes are free, heddle holds") != std::string::npos);
  CHECK(empty<float, 1>({1024}, cuda(0)).to(cpu()).size() == 1024);
}

TEST_CASE("memory used on another stream waits for it") {
  const support::cuda_case clean;
  const stream other(cuda(0));
  tensor<float, 2> result;
  {
    const tensor<float, 2> x = counting({64, 64}, cuda(0));
    event sent;
    sent.record(current_stream(cuda(0)));
    sent.wait(other);
    const stream_scope scope(other);
    result = x * 2;
    // x goes back to the default stream's pool while the other stream reads it
  }
  const tensor<float, 2> again = full<float, 2>({64, 64}, -1.0f, cuda(0));
  other.synchronize();
  const stream_scope scope(other);
  CHECK(result.to(cpu())(1, 0) == 128);
}

TEST_CASE("a stream runs host functions in order and keeps the first exception") {
  const support::cuda_case clean;
  const stream s(cuda(0));
  int seen = 0;
  s.enqueue([&seen] { seen = 1; });
  s.enqueue([&seen] { seen = seen == 1 ? 2 : -1; });
  s.synchronize();
  CHECK(seen == 2);
  s.enqueue([] { raise<value_error>("planted"); });
  s.enqueue([&seen] { seen = 3; });
  CHECK_THROWS_AS(s.synchronize(), value_error);
  CHECK(seen == 2);
  s.enqueue([&seen] { seen = 4; });
  s.synchronize();
  CHECK(seen == 4);
}

TEST_CASE("events order streams of devices and of the host") {
  const support::cuda_case clean;
  const stream first(cuda(0)), second(support::second_device()), host(cpu(0));
  std::vector<int> order;
  first.enqueue([&order] { order.push_back(1); });
  event one;
  one.record(first);
  one.wait(second);
  second.enqueue([&order] { order.push_back(2); });
  event two;
  two.record(second);
  two.wait(host);
  host.enqueue([&order] { order.push_back(3); });
  event three;
  three.record(host);
  three.wait(first);
  first.enqueue([&order] { order.push_back(4); });
  first.synchronize();
  CHECK(order == std::vector<int>{1, 2, 3, 4});
  CHECK(three.query());
}

TEST_CASE("an adopted stream is used and not destroyed") {
  const support::cuda_case clean;
  cudaStream_t native = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&native, cudaStreamNonBlocking) == cudaSuccess);
  {
    const stream mine = stream::adopt(cuda(0), native);
    CHECK(mine.native() == native);
    const stream_scope scope(mine);
    CHECK(equal_elements(evaluate(counting({4, 4}, cuda(0)) + 1), evaluate(counting({4, 4}) + 1)));
  }
  CHECK(cudaStreamSynchronize(native) == cudaSuccess);
  CHECK(cudaStreamDestroy(native) == cudaSuccess);
  CHECK_THROWS_AS(static_cast<void>(stream::adopt(cpu(), native)), device_error);
}

TEST_CASE("devices that are not there are errors") {
  const support::cuda_case clean;
  const int count = cuda_device_count();
  REQUIRE(count > 0);
  CHECK_THROWS_AS(static_cast<void>(empty<float, 1>({4}, cuda(count))), device_error);
  CHECK_THROWS_AS(static_cast<void>(stream(cuda(count + 5))), device_error);
  CHECK_THROWS_AS(static_cast<void>(default_stream(cuda(64))), device_error);
  const tensor<float, 1> a = ones<float, 1>({4}, cuda(0)), b = ones<float, 1>({4});
  CHECK_THROWS_AS(static_cast<void>(evaluate(a + b)), device_error);
}
