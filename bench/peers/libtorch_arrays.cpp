// SPDX-License-Identifier: BSD-3-Clause
// LibTorch, eager: each operator a pass of its own, written plainly and with as many of them in
// place as can be.
#include "arrays.hpp"
#include "libtorch.hpp"

namespace bench {

namespace {

template <class Statement>
contender evaluate(const char* variant, int threads, Statement statement) {
  return enter<libtorch_inference>("libtorch", variant, threads, [statement](auto see) {
    const at::Tensor y = statement();
    see(static_cast<const float*>(y.data_ptr()), y.numel());
  });
}

}  // namespace

std::vector<contender> libtorch_contenders(statement what, operands with, int threads) {
  const c10::InferenceMode inference;
  const at::Tensor a = shared(with.a, {with.size}), b = shared(with.b, {with.size}),
                   c = shared(with.c, {with.size});
  switch (what) {
    case statement::relu_chain:
      return {evaluate("plain", threads, [=] { return at::relu(a * b + c) * 2; }),
              evaluate("in place", threads, [=] { return at::addcmul(c, a, b).relu_().mul_(2); })};
    case statement::tanh_chain:
      return {evaluate("plain", threads, [=] { return at::tanh(a * b + at::exp(a - c)); }),
              evaluate("in place", threads, [=] { return (a * b).add_((a - c).exp_()).tanh_(); })};
    default:
      return {evaluate("plain", threads, [=] { return (a * b + c) * a - b; }),
              evaluate("in place", threads, [=] { return (a * b).add_(c).mul_(a).sub_(b); })};
  }
}

}  // namespace bench
