// SPDX-License-Identifier: BSD-3-Clause
// What the tape says when something is wrong.
#include <doctest/doctest.h>

#include <heddle/autograd/cursor.hpp>
#include <heddle/autograd/function.hpp>
#include <heddle/autograd/grad.hpp>
#include <heddle/autograd/views.hpp>
#include <heddle/tensor/creation.hpp>

using namespace heddle;

namespace {

const tensor<float, 1> two = ones<float, 1>({2});
const tensor<float, 1> three = ones<float, 1>({3});

}  // namespace

TEST_CASE("a gradient has the extents of what it is a gradient of") {
  const variable<float, 1> x(two);
  CHECK_THROWS_WITH_AS(static_cast<void>(backward_pass(x, three)),
                       "heddle::backward_pass: the gradient's extents are not the variable's: (3); "
                       "(2) are expected",
                       shape_error);
  CHECK_THROWS_WITH_AS(static_cast<void>(grad(x, std::tuple{x}, three)),
                       "heddle::grad: the gradient's extents are not the output's: (3); (2) are "
                       "expected",
                       shape_error);
  const auto y = record(
      two, [](const auto&) { return std::tuple{three}; }, x);
  CHECK_THROWS_WITH_AS(y.backward(two),
                       "heddle::record: the backward function gives input 0 a gradient of other "
                       "extents: (3); (2) are expected",
                       shape_error);
}

TEST_CASE("gradients that are recorded are returned and not collected") {
  const variable<float, 1> x(two);
  const backward_options recorded{.create_graph = true};
  CHECK_THROWS_WITH_AS(static_cast<void>(backward_pass(x, two, recorded)),
                       "heddle::backward_pass: create_graph is for grad(output, inputs), which "
                       "returns the recorded gradients",
                       state_error);
  CHECK_THROWS_WITH_AS(x.backward(two, recorded),
                       "heddle::backward: create_graph is for grad(output, inputs), which returns "
                       "the recorded gradients; leaves collect tensors",
                       state_error);
}

TEST_CASE("a pass does not stop at a variable that it does not reach") {
  const variable<float, 1> x(two);
  const variable<float, 1> other(two);
  backward_pass pass(x, two);
  CHECK_THROWS_WITH_AS(static_cast<void>(pass.run_until(other)),
                       "heddle::backward_pass: the variable is not ahead of this pass: it is not "
                       "below the root, requires no gradient, or was passed already; ask for one "
                       "that is",
                       state_error);
}

TEST_CASE("a constant has neither a backward pass nor a gradient") {
  const variable<float, 1> x(two, false);
  CHECK_THROWS_WITH_AS(x.backward(two),
                       "heddle::backward: the variable requires no gradient: no variable that "
                       "requires one was used to compute it, or it was computed within no_grad",
                       state_error);
  CHECK_THROWS_WITH_AS(static_cast<void>(x.grad()),
                       "heddle::grad: the variable is no leaf that requires a gradient: it was "
                       "computed, or made with requires_grad = false; use grad(output, inputs) for "
                       "it",
                       state_error);
}

TEST_CASE("a view of indices that are not there is refused") {
  CHECK_THROWS_WITH_AS(static_cast<void>(narrow<0>(two, 1, 2)),
                       "heddle::narrow: the indices are not there: 2 from 1 on, of axis 0 of (2); "
                       "start and length are 0 or more",
                       index_error);
}
