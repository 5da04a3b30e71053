// SPDX-License-Identifier: BSD-3-Clause
// Eigen: arrays, which one thread evaluates; for several threads its Tensor module on a thread
// pool, and arrays cut by OpenMP.
#include <memory>

#define EIGEN_USE_THREADS
#include "arrays.hpp"
#include <Eigen/Core>
#include <omp.h>
#include <unsupported/Eigen/CXX11/Tensor>

namespace bench {

namespace {

using array = Eigen::Map<const Eigen::ArrayXf>;
using tensor = Eigen::TensorMap<const Eigen::Tensor<float, 1>>;

// The same expression of arrays, of their parts and of tensors; `size`: of the part.
template <statement What, class X>
auto expression(const X& a, const X& b, const X& c) {
  if constexpr (What == statement::relu_chain) {
    if constexpr (std::is_same_v<X, tensor>) {
      return (a * b + c).cwiseMax(0.f) * 2.f;
    } else {
      return (a * b + c).max(0.f) * 2.f;
    }
  } else if constexpr (What == statement::tanh_chain) {
    return (a * b + (a - c).exp()).tanh();
  } else {
    return (a * b + c) * a - b;
  }
}

struct pool {
  Eigen::ThreadPool threads;
  Eigen::ThreadPoolDevice device;
  explicit pool(int count) : threads(count), device(&threads, count) {}
};

template <statement What>
std::vector<contender> contenders(const operands& o, int threads) {
  std::vector<contender> all;
  if (threads == 1) {
    all.push_back(enter("eigen", "array", 1, [o](auto see) {
      const array a(o.a, o.size), b(o.b, o.size), c(o.c, o.size);
      const Eigen::ArrayXf y = expression<What>(a, b, c);
      see(y.data(), o.size);
    }));
    return all;
  }
  all.push_back(
      enter("eigen", "tensor", threads, [o, p = std::make_shared<pool>(threads)](auto see) {
        const tensor a(o.a, o.size), b(o.b, o.size), c(o.c, o.size);
        Eigen::Tensor<float, 1> y(o.size);
        y.device(p->device) = expression<What>(a, b, c);
        see(y.data(), o.size);
      }));
  all.push_back(enter("eigen", "array in parts", threads, [o, threads](auto see) {
    Eigen::ArrayXf y(o.size);
#pragma omp parallel num_threads(threads)
    {
      const std::int64_t part = omp_get_thread_num();
      const std::int64_t first = o.size * part / threads / 16 * 16;
      const std::int64_t last =
          part + 1 == threads ? o.size : o.size * (part + 1) / threads / 16 * 16;
      const array a(o.a + first, last - first), b(o.b + first, last - first),
          c(o.c + first, last - first);
      y.segment(first, last - first) = expression<What>(a, b, c);
    }
    see(y.data(), o.size);
  }));
  return all;
}

}  // namespace

std::vector<contender> eigen_contenders(statement what, operands with, int threads) {
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
