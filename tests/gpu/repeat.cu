// SPDX-License-Identifier: BSD-3-Clause
// The same reductions and the same training steps 20 times on one GPU: the same bits each time.
#include <cstddef>
#include <cstdio>
#include <vector>

#include "../../examples/digits/model.hpp"

namespace {

using namespace heddle;

void append(std::vector<std::byte>& all, const any_tensor& t) {
  const any_tensor here = t.to(cpu()).contiguous();
  all.insert(all.end(), here.data(), here.data() + here.bytes());
}

/// Everything that is summed in some order: rows, columns, whole tensors, weights' gradients.
std::vector<std::byte> run(const tensor<float, 2>& x, const tensor<std::int64_t, 1>& y) {
  std::vector<std::byte> all;
  append(all, tensor<float, 1>(sum<0>(x)));
  append(all, tensor<float, 1>(sum<-1>(x * x)));
  append(all, tensor<float, 0>(mean(x)));
  manual_seed(1);
  digits_model model;
  to(model, cuda(0));
  optim::adamw optimizer(parameters(model), {.lr = 1e-2});
  for (int step = 0; step < 3; ++step) {
    const variable loss = cross_entropy(model(x), y);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    append(all, loss.value());
  }
  for (const auto& [name, value] : state_dict(model)) append(all, value);
  return all;
}

}  // namespace

int main() {
  constexpr int repeats = 20;
  if (cuda_device_count() == 0) {
    std::puts("repeat: no CUDA device");
    return 77;
  }
  manual_seed(5);
  const auto x = rand<float, 2>({4096, 64}).to(cuda(0));
  const auto y = randint<std::int64_t, 1>(0, 10, {4096}).to(cuda(0));
  const std::vector<std::byte> first = run(x, y);
  int different = 0;
  for (int i = 1; i < repeats; ++i) different += run(x, y) == first ? 0 : 1;
  std::printf("%d repeats, %zu bytes each, %d differ\n", repeats, first.size(), different);
  return different == 0 ? 0 : 1;
}
