// SPDX-License-Identifier: BSD-3-Clause
// The tensor without dtype and rank in its type.
#include <cstdint>
#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/core/stream.hpp>
#include <heddle/tensor/any_tensor.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/views.hpp>

using namespace heddle;

namespace {

template <class T, int Rank>
std::vector<T> values(const tensor<T, Rank>& x) {
  return std::vector<T>(x.begin(), x.end());
}

}  // namespace

TEST_CASE("a tensor keeps its elements, dtype, extents and strides through any_tensor") {
  const tensor<float, 2> x = tensor<float, 2>{{1, 2, 3}, {4, 5, 6}}.transpose();
  const any_tensor erased = x;
  CHECK(erased.dtype() == dtype::f32);
  CHECK(erased.rank() == 2);
  CHECK(erased.extents()[0] == 3);
  CHECK(erased.strides()[1] == 3);
  CHECK(erased.size() == 6);
  CHECK(erased.bytes() == 24);
  CHECK_FALSE(erased.is_contiguous());
  const tensor<float, 2> back = erased.as<float, 2>();
  CHECK(back.data() == x.data());
  CHECK(back.strides() == x.strides());
  const any_tensor scalar = tensor<double, 0>(1.5);
  CHECK(scalar.extents().empty());
  CHECK(scalar.as<double, 0>().item() == 1.5);
}

TEST_CASE("as names both dtypes and both ranks where they differ") {
  const any_tensor x = zeros<float, 2>({2, 3});
  CHECK_THROWS_WITH_AS(
      static_cast<void>(x.as<double, 2>()),
      "heddle::any_tensor::as: the dtypes differ: the tensor holds f32 (2, 3); f64 "
      "of rank 2 is expected",
      type_error);
  CHECK_THROWS_WITH_AS(static_cast<void>(x.as<float, 1>()),
                       "heddle::any_tensor::as: the ranks differ: the tensor holds f32 (2, 3) of "
                       "rank 2; rank 1 is expected",
                       shape_error);
  CHECK_THROWS_AS(static_cast<void>(any_tensor().as<float, 0>()), state_error);
  CHECK_THROWS_AS(static_cast<void>(any_tensor().device()), state_error);
}

TEST_CASE("allocate makes contiguous elements and refuses what cannot be") {
  const std::int64_t shape[] = {2, 0, 3};
  const any_tensor x = any_tensor::allocate(dtype::i64, shape);
  CHECK(x.size() == 0);
  CHECK(x.is_contiguous());
  const std::int64_t negative[] = {2, -1};
  CHECK_THROWS_AS(static_cast<void>(any_tensor::allocate(dtype::f32, negative)), shape_error);
  const std::int64_t many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  CHECK_THROWS_WITH_AS(static_cast<void>(any_tensor::allocate(dtype::f32, many)),
                       "heddle::any_tensor: the rank is too large: 9; the largest is 8",
                       shape_error);
  CHECK_THROWS_AS(static_cast<void>(any_tensor::allocate(static_cast<dtype>(12), shape)),
                  type_error);
  CHECK(any_tensor::allocate(dtype::bf16, {}).size() == 1);
  const std::int64_t huge[] = {INT64_MAX, 4};
  CHECK_THROWS_AS(static_cast<void>(any_tensor::allocate(dtype::u8, huge)), shape_error);
}

TEST_CASE("clone, contiguous and to copy what they must") {
  const tensor<std::int32_t, 2> x = tensor<std::int32_t, 2>{{1, 2}, {3, 4}}.transpose();
  const any_tensor erased = x;
  CHECK(values(erased.clone().as<std::int32_t, 2>()) == values(x));
  CHECK(erased.contiguous().is_contiguous());
  CHECK(erased.to(cpu()).data() == erased.data());
  const any_tensor moved = erased.to(cpu(1));
  CHECK(moved.device() == cpu(1));
  CHECK(values(moved.as<std::int32_t, 2>()) == values(x));
  CHECK(erased.to(meta()).data() == nullptr);
  CHECK_THROWS_AS(static_cast<void>(erased.to(meta()).to(cpu())), device_error);
}

TEST_CASE("copy_ writes in place across devices, and counts as a write") {
  tensor<float, 2> x = zeros<float, 2>({2, 2}, cpu(0));
  tensor<float, 2> source({{1, 2}, {3, 4}}, cpu(1));
  const std::uint32_t before = x.version();
  any_tensor(x.transpose()).copy_(source);
  source.fill_(9);
  CHECK(values(x) == std::vector<float>{1, 3, 2, 4});
  CHECK(x.version() == before + 1);
  const tensor<float, 2> y{{1, 2}, {3, 4}};
  any_tensor(y).copy_(y.transpose());
  CHECK(values(y) == std::vector<float>{1, 3, 2, 4});
}

TEST_CASE("copy_ refuses other dtypes, extents, and destinations that share elements") {
  const any_tensor x = zeros<float, 2>({2, 3});
  CHECK_THROWS_WITH_AS(x.copy_(zeros<double, 2>({2, 3})),
                       "heddle::copy_: the dtypes differ: f64 into f32; cast first", type_error);
  CHECK_THROWS_AS(x.copy_(zeros<float, 2>({3, 2})), shape_error);
  CHECK_THROWS_AS(x.copy_(zeros<float, 1>({6})), shape_error);
  const any_tensor wide = expand(tensor<float, 1>{1}, {3});
  CHECK_THROWS_AS(wide.copy_(zeros<float, 1>({3})), shape_error);
}
