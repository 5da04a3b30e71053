// SPDX-License-Identifier: BSD-3-Clause
// What tensors say when something is wrong.
#include <doctest/doctest.h>

#include <heddle/tensor/any_tensor.hpp>
#include <heddle/tensor/creation.hpp>

using namespace heddle;

TEST_CASE("elements on a CUDA device are not read as if they were in host memory") {
  float memory[2] = {1, 2};
  const tensor<float, 1> x(storage::wrap(memory, sizeof memory, cuda(0)), memory, {2}, {1});
  CHECK_THROWS_WITH_AS(static_cast<void>(x(0)),
                       "heddle::tensor: the elements are not in host memory: cuda:0; copy them "
                       "with .to(cpu())",
                       device_error);
}

TEST_CASE("an axis that a tensor does not have has no extent") {
  const tensor<float, 1> x = zeros<float, 1>({2});
  CHECK_THROWS_WITH_AS(
      static_cast<void>(x.extent(1)),
      "heddle::extent: the tensor has no such axis: 1 of rank 1; axes are -rank to rank - 1",
      index_error);
}

TEST_CASE("a range has no negative number of steps") {
  CHECK_THROWS_WITH_AS(static_cast<void>(linspace<float>(0, 1, -1)),
                       "heddle::linspace: the number of steps is negative: -1; it is 0 or more",
                       value_error);
}

TEST_CASE("copying between tensors of any rank takes equal extents") {
  const any_tensor to(zeros<float, 1>({2}));
  CHECK_THROWS_WITH_AS(to.copy_(any_tensor(zeros<float, 1>({3}))),
                       "heddle::copy_: the extents differ, or indices share an element: (3) into "
                       "(2) with strides (1); the extents are to be the same, and every element is "
                       "written once",
                       shape_error);
}
