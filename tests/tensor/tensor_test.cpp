// SPDX-License-Identifier: BSD-3-Clause
// The tensor itself: construction, sharing, element access, indexing, devices.
#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/core/stream.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/tensor.hpp>
#include <heddle/tensor/tie.hpp>
#include <heddle/tensor/views.hpp>

using namespace heddle;

namespace {

template <class Tensor>
std::vector<double> values(const Tensor& x) {
  std::vector<double> result;
  for (const auto& value : x) result.push_back(static_cast<double>(value));
  return result;
}

using list = std::vector<double>;

}  // namespace

TEST_CASE("a tensor made by default is undefined, and says so when it is used") {
  const tensor<float, 2> x;
  const tensor<float, 0> scalar;
  CHECK_FALSE(x.defined());
  CHECK(x.size() == 0);
  CHECK(scalar.size() == 0);
  CHECK(x.version() == 0);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(x.device()),
      "heddle::device: the tensor is undefined; assign one that has elements first", state_error);
  CHECK_THROWS_AS(x(0, 0), state_error);
  CHECK_THROWS_AS(static_cast<void>(scalar.item()), state_error);
  CHECK_THROWS_AS(static_cast<void>(x.begin()), state_error);
  CHECK_THROWS_AS(static_cast<void>(x.clone()), state_error);
}

TEST_CASE("a tensor moved from is undefined") {
  tensor<float, 1> x{1, 2};
  const tensor<float, 1> y = std::move(x);
  CHECK_FALSE(x.defined());
  CHECK_THROWS_AS(x(0), state_error);
  CHECK(y(1) == 2);
}

TEST_CASE("nested lists give values in row-major order") {
  const tensor<float, 1> a{1, 2, 3};
  CHECK(a.extents() == extents<1>{3});
  const tensor<float, 2> b{{1, 2}, {3, 4}, {5, 6}};
  CHECK(b.extents() == extents<2>{3, 2});
  CHECK(b.strides() == strides<2>{2, 1});
  CHECK(values(b) == list{1, 2, 3, 4, 5, 6});
  const tensor<std::int64_t, 3> c{{{1, 2}, {3, 4}}};
  CHECK(c.extents() == extents<3>{1, 2, 2});
  const tensor<double, 0> d(2.5);
  CHECK(d.item() == 2.5);
  CHECK(d() == 2.5);
  const tensor<float, 2> one_row{{1, 2}};
  CHECK(one_row.extents() == extents<2>{1, 2});
  CHECK_THROWS_WITH_AS((tensor<float, 2>{{1, 2}, {3}}),
                       "heddle::tensor: the lists of one axis differ in length: 1 values where the "
                       "first has 2; give all the same",
                       shape_error);
}

TEST_CASE("every dtype stores and yields its values") {
  CHECK(values(tensor<double, 1>{1.5, -2}) == list{1.5, -2});
  CHECK(values(tensor<float, 1>{1.5f, -2}) == list{1.5, -2});
  CHECK(values(tensor<bfloat16, 1>{1.5f, -2}) == list{1.5, -2});
  CHECK(values(tensor<float16, 1>{1.5f, -2}) == list{1.5, -2});
  CHECK(values(tensor<std::int64_t, 1>{1, -2}) == list{1, -2});
  CHECK(values(tensor<std::int32_t, 1>{1, -2}) == list{1, -2});
  CHECK(values(tensor<std::uint8_t, 1>{1, 255}) == list{1, 255});
  tensor<bool, 1> flags{true, false};
  flags(1) = true;
  CHECK(values(flags) == list{1, 1});
  static_assert(tensor<bfloat16, 2>::type == dtype::bf16 && tensor<bool, 3>::rank == 3);
  static_assert(expression<tensor<float, 2>> &&
                std::is_nothrow_move_constructible_v<tensor<float, 2>>);
}

TEST_CASE("ranges are copied, with or without extents") {
  const std::vector<float> source{1, 2, 3, 4};
  const tensor<float, 1> a(source);
  CHECK(values(a) == list{1, 2, 3, 4});
  const tensor<float, 2> b(source, {2, 2});
  CHECK(b(1, 0) == 3);
  CHECK(tensor<std::int32_t, 1>(std::array<std::int32_t, 2>{7, 8})(1) == 8);
  CHECK(values(tensor<bool, 1>(std::vector<bool>{true, false})) == list{1, 0});
  CHECK(values(tensor<bfloat16, 1>(std::vector<float>{0.5f})) == list{0.5});
  CHECK_THROWS_WITH_AS(
      (tensor<float, 2>(source, {2, 3})),
      "heddle::tensor: the number of values does not fit the extents: 4 for (2, 3);"
      " 6 are expected",
      shape_error);
}

TEST_CASE("copies share the elements, clones do not") {
  const tensor<float, 2> x{{1, 2}, {3, 4}};
  const tensor<float, 2> same = x;
  const tensor<float, 2> other = x.clone();
  x(0, 1) = 9;
  CHECK(same(0, 1) == 9);
  CHECK(other(0, 1) == 2);
  CHECK(same.storage() == x.storage());
  CHECK_FALSE(other.storage() == x.storage());
}

TEST_CASE("a clone of a view is contiguous, and contiguous returns what already is") {
  const tensor<float, 2> x{{1, 2, 3}, {4, 5, 6}};
  const tensor<float, 2> t = x.transpose();
  CHECK_FALSE(t.is_contiguous());
  CHECK(t.clone().is_contiguous());
  CHECK(values(t.clone()) == list{1, 4, 2, 5, 3, 6});
  CHECK(x.contiguous().data() == x.data());
  CHECK(t.contiguous().data() != x.data());
}

TEST_CASE("element access is checked on every axis and counts negative indices from the end") {
  const tensor<float, 2> x{{1, 2, 3}, {4, 5, 6}};
  CHECK(x(1, 2) == 6);
  CHECK(x(-1, -3) == 4);
  CHECK(x(std::size_t{1}, 0L) == 4);
  CHECK_THROWS_WITH_AS(x(0, 3),
                       "heddle::tensor: the index is outside of its axis: 3 on axis 1 of (2, 3); "
                       "indices are -3 to 2",
                       index_error);
  CHECK_THROWS_AS(x(-3, 0), index_error);
  CHECK_THROWS_AS(x(INT64_MAX, 0), index_error);
  CHECK_THROWS_AS(x(INT64_MIN, 0), index_error);
  const tensor<float, 1> none = zeros<float, 1>({0});
  CHECK_THROWS_WITH_AS(none(0),
                       "heddle::tensor: the axis is empty: index 0 on axis 0 of (0); an empty axis "
                       "has no elements",
                       index_error);
}

TEST_CASE("extent counts axes from either end") {
  const tensor<float, 3> x = zeros<float, 3>({2, 3, 4});
  CHECK(x.extent(0) == 2);
  CHECK(x.extent(-1) == 4);
  CHECK_THROWS_AS(static_cast<void>(x.extent(3)), index_error);
  CHECK_THROWS_AS(static_cast<void>(x.extent(-4)), index_error);
}

TEST_CASE("item asks for exactly one element") {
  CHECK(tensor<float, 2>{{7}}.item() == 7);
  CHECK_THROWS_WITH_AS(static_cast<void>(tensor<float, 1>{1, 2}.item()),
                       "heddle::item: the tensor does not hold one element: (2); select one, or "
                       "reduce it first",
                       shape_error);
  CHECK_THROWS_AS(static_cast<void>((zeros<float, 1>({0})).item()), shape_error);
}

TEST_CASE("iteration is row-major for any strides, and over nothing where there are no elements") {
  const tensor<std::int32_t, 3> x = reshape(arange<std::int32_t>(24), {2, 3, 4});
  const tensor<std::int32_t, 3> y = permute<2, 0, 1>(x);
  std::vector<double> expected;
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 2; ++j)
      for (int k = 0; k < 3; ++k) expected.push_back(x(j, k, i));
  CHECK(values(y) == expected);
  CHECK(values(zeros<float, 3>({2, 0, 3})).empty());
  CHECK(values(tensor<float, 0>(5.f)) == list{5});
}

TEST_CASE("slices, all and integers select views that share the elements") {
  const tensor<std::int32_t, 3> x = reshape(arange<std::int32_t>(24), {2, 3, 4});
  CHECK(values(x(1, slice(0, 2), 3)) == list{15, 19});
  CHECK(values(x(all, 0, slice(1, to_end, 2))) == list{1, 3, 13, 15});
  CHECK(values(x(all(), 0, -1)) == list{3, 15});
  CHECK(values(x(1, 2)) == list{20, 21, 22, 23});
  static_assert(decltype(x(1))::rank == 2 && decltype(x(all, 1, 2))::rank == 1);
  static_assert(std::is_same_v<decltype(x(1, 1, 1)), std::int32_t&>);
  const tensor<std::int32_t, 1> row = x(0, 1);
  row(0) = 99;
  CHECK(x(0, 1, 0) == 99);
  CHECK_THROWS_AS(x(2), index_error);
  CHECK_THROWS_AS(x(all, 3), index_error);
}

TEST_CASE("slices cut to the axis and count from its end, as Python's") {
  const tensor<std::int32_t, 1> x = arange<std::int32_t>(5);
  CHECK(values(x.slice<0>(1, 3)) == list{1, 2});
  CHECK(values(x.slice<0>(-2, to_end)) == list{3, 4});
  CHECK(values(x.slice<0>(0, -1)) == list{0, 1, 2, 3});
  CHECK(values(x.slice<0>(-100, 100, 2)) == list{0, 2, 4});
  CHECK(values(x.slice<0>(0, 5, INT64_MAX)) == list{0});
  CHECK(x.slice<0>(3, 1).size() == 0);
  CHECK(x.slice<0>(100, 200).size() == 0);
  CHECK(x.slice<0>(INT64_MIN, INT64_MAX).size() == 5);
  CHECK(values(x.slice<0>(1, to_end).slice<-1>(1, to_end, 2)) == list{2, 4});
  CHECK_THROWS_WITH_AS(
      static_cast<void>(x.slice<0>(4, 0, -1)),
      "heddle::slice: the step is not positive: -1; views run forwards, use a step "
      "of 1 or more",
      index_error);
  CHECK_THROWS_AS(static_cast<void>(x.slice<0>(0, 4, 0)), index_error);
}

TEST_CASE("a value assigned to an indexed view fills its elements and counts as a write") {
  const tensor<float, 2> x = zeros<float, 2>({2, 3});
  const std::uint32_t before = x.version();
  x(all, 1) = 7.f;
  CHECK(values(x) == list{0, 7, 0, 0, 7, 0});
  CHECK(x.version() == before + 1);
  x(0) = 1;
  CHECK(values(x) == list{1, 1, 1, 0, 7, 0});
}

TEST_CASE("a kept view cannot be assigned to by accident") {
  using view = indexed_view<float, 1>;
  static_assert(!std::is_assignable_v<view&, float> && std::is_assignable_v<view&&, float>);
  static_assert(!std::is_assignable_v<view&, const view&>);
  static_assert(std::is_base_of_v<tensor<float, 1>, view>);
}

TEST_CASE(
    "fill_ writes in place, refuses expanded tensors, and bumps the version that views share") {
  tensor<float, 2> x{{1, 2}, {3, 4}};
  tensor<float, 2> t = x.transpose();
  t.slice<0>(0, 1).fill_(5);
  CHECK(values(x) == list{5, 2, 5, 4});
  CHECK(x.version() == 1);
  CHECK(t.version() == 1);
  x.zero_();
  CHECK(values(x) == list{0, 0, 0, 0});
  CHECK_THROWS_WITH_AS((expand(tensor<float, 1>{1}, {3}).fill_(2)),
                       "heddle::fill_: several indices name one element: strides (0) of (3); write "
                       "into a clone",
                       shape_error);
}

TEST_CASE("tensors on meta have extents and strides, and neither bytes nor elements") {
  const std::int64_t live = memory_stats(cpu()).live;
  const tensor<float, 2> x = ones<float, 2>({1 << 20, 1 << 20}, meta());
  CHECK(x.data() == nullptr);
  CHECK(x.size() == std::int64_t{1} << 40);
  CHECK(memory_stats(cpu()).live == live);
  CHECK(x.transpose().strides() == strides<2>{1, 1 << 20});
  CHECK(x(slice(5, 10), 3).extents() == extents<1>{5});
  CHECK(x.clone().device() == meta());
  CHECK((zeros<float, 1>({3})).to(meta()).extents() == extents<1>{3});
  CHECK((tensor<float, 2>({{1, 2}}, meta())).extents() == extents<2>{1, 2});
  CHECK_THROWS_WITH_AS(
      x(0, 0), "heddle::tensor: a tensor on meta has extents and no elements; make it on cpu()",
      device_error);
  CHECK_THROWS_AS(static_cast<void>(x.to(cpu())), device_error);
}

TEST_CASE("to copies between host devices, and is itself where nothing is to be done") {
  const tensor<float, 2> x{{1, 2, 3}, {4, 5, 6}};
  CHECK(x.to(cpu()).data() == x.data());
  const tensor<float, 2> y = x.transpose().to(cpu(1));
  CHECK(y.device() == cpu(1));
  CHECK(y.is_contiguous());
  CHECK(values(y) == list{1, 4, 2, 5, 3, 6});
  CHECK(values(y.to(cpu(2)).transpose().to(cpu())) == list{1, 2, 3, 4, 5, 6});
  CHECK_THROWS_AS(static_cast<void>(x.to(cuda(0))), device_error);
}

TEST_CASE("a copy from cpu() is done before the source can change") {
  tensor<float, 1> x{1, 2};
  const tensor<float, 1> y = x.to(cpu(0));
  x.fill_(9);
  CHECK(values(y) == list{1, 2});
}

TEST_CASE("handing a tensor to a blocked device waits for neither") {
  std::atomic<bool> open{false};
  current_stream(cpu(1)).enqueue([&] {
    while (!open.load()) {
    }
  });
  tensor<float, 1> x = zeros<float, 1>({4}, cpu(0));
  x.fill_(1);
  const tensor<float, 1> y = x.to(cpu(1));
  x.fill_(2);
  CHECK(values(x) == list{2, 2, 2, 2});  // waits for cpu(0) alone
  open.store(true);
  CHECK(values(y) == list{1, 1, 1, 1});
}

TEST_CASE("work queued on a device keeps the storages it uses") {
  std::atomic<bool> open{false};
  current_stream(cpu(0)).enqueue([&] {
    while (!open.load()) {
    }
  });
  tensor<float, 1> y;
  {
    tensor<float, 1> x = zeros<float, 1>({1000}, cpu(0));
    x.fill_(3);
    y = x.clone();
  }
  tensor<float, 1> reused = ones<float, 1>({1000}, cpu(0));
  open.store(true);
  CHECK(y(999) == 3);
  CHECK(reused(0) == 1);
}

TEST_CASE("tie holds its destinations in order, as handles") {
  const tensor<float, 1> m{1, 2};
  const tensor<double, 2> v{{3}};
  const auto both = tie(m, v);
  static_assert(decltype(both)::size == 2 && decltype(tie())::size == 0);
  get<0>(both)(1) = 5;
  CHECK(m(1) == 5);
  CHECK(get<1>(both).data() == v.data());
}
