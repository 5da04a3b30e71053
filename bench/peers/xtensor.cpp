// SPDX-License-Identifier: BSD-3-Clause
// xtensor with xsimd, its loops cut by OpenMP.
#include <array>

#include "arrays.hpp"
#include <xtensor/xadapt.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xtensor.hpp>

namespace bench {

namespace {

template <statement What, class X>
auto expression(const X& a, const X& b, const X& c) {
  if constexpr (What == statement::relu_chain) {
    return xt::maximum(a * b + c, 0.f) * 2.f;
  } else if constexpr (What == statement::tanh_chain) {
    return xt::tanh(a * b + xt::exp(a - c));
  } else {
    return (a * b + c) * a - b;
  }
}

template <statement What>
std::vector<contender> contenders(const operands& o, int threads) {
  return {enter("xtensor", "", threads, [o](auto see) {
    const auto size = static_cast<std::size_t>(o.size);
    const auto view = [size](const float* data) {
      return xt::adapt(data, size, xt::no_ownership(), std::array<std::size_t, 1>{size});
    };
    const auto a = view(o.a), b = view(o.b), c = view(o.c);
    const xt::xtensor<float, 1> y = expression<What>(a, b, c);
    see(y.data(), o.size);
  })};
}

}  // namespace

std::vector<contender> xtensor_contenders(statement what, operands with, int threads) {
  switch (what) {
    case statement::relu_chain:
      return contenders<statement::relu_chain>(with, threads);
    case statement::tanh_chain:
      return contenders<statement::tanh_chain>(with, threads);
    default:
      return contenders<statement::small>(with, threads);
  }
}

}  // namespace bench
