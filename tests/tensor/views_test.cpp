// SPDX-License-Identifier: BSD-3-Clause
// Views: which elements they show, that they share them, and what they refuse.
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/tensor.hpp>
#include <heddle/tensor/views.hpp>

using namespace heddle;

namespace {

tensor<std::int32_t, 3> block() { return reshape(arange<std::int32_t>(24), {2, 3, 4}); }

template <class T, int Rank>
std::vector<T> values(const tensor<T, Rank>& x) {
  return std::vector<T>(x.begin(), x.end());
}

}  // namespace

TEST_CASE("transpose exchanges two axes without a copy") {
  const auto x = block();
  const auto y = transpose<0, -1>(x);
  CHECK(y.extents() == extents<3>{4, 3, 2});
  CHECK(y.data() == x.data());
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k) CHECK(y(k, j, i) == x(i, j, k));
  CHECK(transpose(x).extents() == extents<3>{2, 4, 3});
  CHECK(x.transpose()(1, 3, 2) == x(1, 2, 3));
}

TEST_CASE("permute puts axes where it is told") {
  const auto x = block();
  const auto y = permute<-1, 0, 1>(x);
  CHECK(y.extents() == extents<3>{4, 2, 3});
  CHECK(y(3, 1, 2) == x(1, 2, 3));
  CHECK(permute(tensor<float, 0>(1.f)).item() == 1);
}

TEST_CASE("select drops an axis") {
  const auto x = block();
  CHECK(values(select<1>(x, -1)) == std::vector<std::int32_t>{8, 9, 10, 11, 20, 21, 22, 23});
  CHECK(select<-1>(select<0>(x, 1), 2)(0) == 14);
  CHECK(select<0>(tensor<float, 1>{4, 5}, 1).item() == 5);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(select<1>(x, 3)),
      "heddle::select: the index is outside of its axis: 3 on axis 1 of (2, 3, 4); "
      "indices are -3 to 2",
      index_error);
}

TEST_CASE("squeeze drops an axis of extent 1 and no other") {
  const tensor<float, 3> x = ones<float, 3>({2, 1, 3});
  CHECK(squeeze<1>(x).extents() == extents<2>{2, 3});
  CHECK_THROWS_WITH_AS(static_cast<void>(squeeze<0>(x)),
                       "heddle::squeeze: the axis is not of extent 1: axis 0 of (2, 1, 3); drop an "
                       "axis of extent 1, or select an index",
                       shape_error);
}

TEST_CASE("reshape is a view where strides allow one, and a copy where not") {
  const auto x = block();
  const auto y = reshape(x, {4, -1});
  CHECK(y.extents() == extents<2>{4, 6});
  CHECK(y.data() == x.data());
  const auto t = x.transpose();
  const auto copied = reshape(t, {2, 12});
  CHECK(copied.data() != x.data());
  CHECK(values(copied) == values(t));
  CHECK(reshape(x, extents<1>{24}).data() == x.data());
  // The outer axis of a transposed block splits without a copy.
  CHECK(reshape(t, {2, 1, 4, 3}).data() == x.data());
  CHECK(values(reshape(t, {1, 2, 2, 2, 3})) == values(t));
}

TEST_CASE("view joins axes that lie behind each other, and refuses those that do not") {
  const auto x = block();
  CHECK(view(x.slice<0>(1, 2), {12})(0) == 12);
  const auto part = x.slice<1>(0, 2);
  CHECK(values(view(part, {2, 8})) == values(part));
  CHECK_THROWS_WITH_AS(static_cast<void>(view(part, {16})),
                       "heddle::view: no strides give these extents without a copy: (2, 2, 4) with "
                       "strides (12, 4, 1) as (16); write reshape, which copies where it must",
                       shape_error);
  CHECK(view(expand(tensor<float, 2>{{1}, {2}}, {2, 6}), {2, 2, 3})(1, 1, 2) == 2);
  CHECK(view(zeros<float, 2>({0, 3}), {3, 0, 5}).size() == 0);
  CHECK(view(tensor<float, 0>(3.f), {1, 1})(0, 0) == 3);
  CHECK(view(tensor<float, 2>{{3}}, extents<0>{}).item() == 3);
}

TEST_CASE("reshape refuses extents that do not hold the elements") {
  const auto x = block();
  CHECK_THROWS_WITH_AS(
      static_cast<void>(reshape(x, {5, -1})),
      "heddle::reshape: the extents do not fit: (2, 3, 4) as (5, -1); the number of "
      "elements stays the same, and one extent may be -1",
      shape_error);
  CHECK_THROWS_AS(static_cast<void>(reshape(x, {25})), shape_error);
  CHECK_THROWS_AS(static_cast<void>(reshape(x, {-1, -1})), shape_error);
  CHECK_THROWS_AS(static_cast<void>(reshape(x, {-2, -12})), shape_error);
  CHECK_THROWS_AS(static_cast<void>(reshape(x, {0, -1})), shape_error);
  // 2^63 · 2 · 12 wraps to 0; the product of what is asked for is not allowed to.
  const auto none = zeros<float, 1>({0});
  CHECK_THROWS_AS(static_cast<void>(reshape(none, {INT64_MAX, 2})), shape_error);
}

TEST_CASE("flatten joins a range of axes") {
  const auto x = block();
  CHECK(flatten(x).extents() == extents<1>{24});
  CHECK(flatten<1>(x).extents() == extents<2>{2, 12});
  CHECK(flatten<0, 1>(x).extents() == extents<2>{6, 4});
  CHECK(flatten<1, 1>(x).extents() == x.extents());
  CHECK(values(flatten<1>(x.transpose())) == values(x.transpose()));
  CHECK(flatten(tensor<float, 0>(2.f)).extents() == extents<1>{1});
  CHECK(flatten<1>(zeros<float, 3>({2, 0, 4})).extents() == extents<2>{2, 0});
}

TEST_CASE("expand repeats axes of extent 1 and new ones with stride 0") {
  const tensor<float, 2> x{{1}, {2}};
  const auto y = expand(x, {3, -1, 4});
  CHECK(y.extents() == extents<3>{3, 2, 4});
  CHECK(y.strides() == strides<3>{0, 1, 0});
  CHECK(y(2, 1, 3) == 2);
  CHECK(y.storage() == x.storage());
  CHECK(expand(x, {2, 0}).size() == 0);
  CHECK_THROWS_WITH_AS(static_cast<void>(expand(x, {3, 4})),
                       "heddle::expand: the extents do not fit: (2, 1) to (3, 4); axes of extent 1 "
                       "and new ones in front are repeated, -1 keeps an axis",
                       shape_error);
  CHECK_THROWS_AS(static_cast<void>(expand(x, {-1, 2, 4})), shape_error);
}
