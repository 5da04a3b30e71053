// SPDX-License-Identifier: BSD-3-Clause
// A user of statements, gradients and matrix products, with whatever components it was given.
#include <cstdio>

#include <heddle/heddle.hpp>

#if defined(CONSUMER_HAS_NCCL)
#include <heddle/distributed/cuda/nccl.cuh>
#endif

int main() {
  const heddle::variable<float, 2> w(heddle::full<float, 2>({3, 4}, 0.5f));
  const heddle::tensor<float, 2> x = heddle::full<float, 2>({2, 3}, 2.0f);
  const heddle::variable<float, 0> loss = heddle::sum(heddle::relu(heddle::matmul(x, w) - 1));
  loss.backward();
  const bool right = loss.item() == 16 && w.grad()(2, 3) == 4;
  std::printf("loss %g, %d CUDA devices\n", static_cast<double>(loss.item()),
              heddle::cuda_device_count());
#if defined(CONSUMER_HAS_NCCL)
  try {
    const heddle::nccl_communicator none(heddle::nccl_id{}, 1, 0, heddle::cpu());
    return 1;
  } catch (const heddle::device_error&) {
  }
#endif
  return right ? 0 : 1;
}
