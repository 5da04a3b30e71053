// SPDX-License-Identifier: BSD-3-Clause
// What statements say when something is wrong as they run.
#include <doctest/doctest.h>

#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/views.hpp>

using namespace heddle;

TEST_CASE("a statement runs on one device") {
  CHECK_THROWS_WITH_AS(
      static_cast<void>(evaluate(zeros<float, 1>({2}) + zeros<float, 1>({2}, cpu(0)))),
      "heddle::evaluate: operands are on different devices: cpu and cpu:0; move one with "
      "to(device)",
      device_error);
}

TEST_CASE("an assignment writes all of its destination, and each element once") {
  const tensor<float, 1> x = zeros<float, 1>({1});
  CHECK_THROWS_WITH_AS(assign(x, zeros<float, 1>({3}) + zeros<float, 1>({3})),
                       "heddle::assign: the value cannot be broadcast to the destination: (3) is "
                       "not (1); extents must be equal or 1",
                       shape_error);
  CHECK_THROWS_WITH_AS(assign(expand(zeros<float, 1>({1}), extents<1>{2}), x + x),
                       "heddle::assign: several indices of the destination name one element: "
                       "strides (0) of (2); assign to a clone",
                       shape_error);
}

TEST_CASE("a row that a table does not have is not taken") {
  const auto rows = [](auto table, auto i) { return take(table, i); };
  CHECK_THROWS_WITH_AS(
      static_cast<void>(
          evaluate(let(rows, zeros<float, 2>({2, 3}), tensor<std::int64_t, 1>{0, 2}))),
      "heddle::take: an index is out of range: 2; indices are 0 to the extent of the table's first "
      "axis, less 1",
      index_error);
}
