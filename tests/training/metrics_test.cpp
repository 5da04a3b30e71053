// SPDX-License-Identifier: BSD-3-Clause
// Means and accuracy.
#include <cmath>
#include <cstdint>

#include <doctest/doctest.h>

#include <heddle/tensor/creation.hpp>
#include <heddle/training/metrics.hpp>

using heddle::tensor;

TEST_CASE("a running mean weighs its values") {
  heddle::running_mean mean;
  CHECK(std::isnan(mean.value()));
  mean.add(1);
  mean.add(4, 2);
  CHECK(mean.value() == 3);
  CHECK(mean.weight() == 3);
  mean.reset();
  CHECK(std::isnan(mean.value()));
}

TEST_CASE("the largest of a row is the first of equal ones, and a NaN, in any layout") {
  const float nan = std::nanf("");
  const tensor<float, 2> x{{1, 3, 2},   {2, 2, 1},     {-1, -3, -2},
                           {5, nan, 7}, {nan, 1, nan}, {-INFINITY, -INFINITY, 0}};
  const auto found = heddle::largest_of_rows(x);
  const std::int64_t expected[] = {1, 0, 0, 1, 0, 2};
  for (int row = 0; row < 6; ++row) CHECK(found(row) == expected[row]);
  const auto columns = heddle::largest_of_rows(x.slice<0>(0, 3).transpose());
  CHECK(columns(0) == 1);
  CHECK(columns(1) == 0);
  CHECK(columns(2) == 0);
  CHECK(heddle::largest_of_rows(heddle::empty<float, 2>({0, 0})).size() == 0);
  CHECK_THROWS_AS(static_cast<void>(heddle::largest_of_rows(heddle::empty<float, 2>({2, 0}))),
                  heddle::shape_error);
}

TEST_CASE("accuracy counts over batches, for any dtypes") {
  heddle::accuracy accuracy;
  CHECK(std::isnan(accuracy.value()));
  CHECK(accuracy.add(tensor<float, 2>{{0, 1}, {1, 0}, {0, 1}}, tensor<std::int64_t, 1>{1, 0, 0}) ==
        2);
  CHECK(accuracy.add(tensor<heddle::bfloat16, 2>{{0, 1}}, tensor<std::uint8_t, 1>{1}) == 1);
  CHECK(accuracy.value() == 0.75);
  CHECK(accuracy.right() == 3);
  CHECK(accuracy.count() == 4);
  accuracy.reset();
  CHECK(accuracy.count() == 0);
}

TEST_CASE("a row with a NaN is wrong, whatever its label") {
  heddle::accuracy accuracy;
  const tensor<float, 2> x{{0, std::nanf("")}, {0, std::nanf("")}};
  CHECK(accuracy.add(x, tensor<std::int64_t, 1>{0, 1}) == 0);
}

TEST_CASE("labels and logits that do not fit are refused, and not counted") {
  heddle::accuracy accuracy;
  const tensor<float, 2> x{{0, 1}, {1, 0}};
  CHECK_THROWS_WITH_AS(accuracy.add(x, tensor<std::int64_t, 1>{0}),
                       doctest::Contains("(2, 2) and (1)"), heddle::shape_error);
  CHECK_THROWS_WITH_AS(accuracy.add(x, tensor<std::int64_t, 1>{0, 2}),
                       doctest::Contains("a label is no class: 2 of sample 1; classes are 0 to 1"),
                       heddle::index_error);
  CHECK_THROWS_AS(accuracy.add(x, tensor<std::int64_t, 1>{-1, 0}), heddle::index_error);
  CHECK(accuracy.count() == 0);
}
