// SPDX-License-Identifier: BSD-3-Clause
#include "plain_unit.hpp"

#include <heddle/autograd/grad.hpp>
#include <heddle/nn/functional.hpp>

using namespace heddle;

tensor<float, 2> halved_softmax(const tensor<float, 2>& x) { return softmax<-1>(x) * 0.5f; }

tensor<double, 1> curvature(const tensor<double, 1>& x) {
  const variable<double, 1> v(x);
  const variable<double, 0> fourth = sum(v * v * v * v);
  const variable<double, 1> first = grad(fourth, v, {.create_graph = true});
  const variable<double, 0> total = sum(first);
  return grad(total, v).value();
}
