// SPDX-License-Identifier: BSD-3-Clause
// Goals of one GPU: medians of event-timed runs beside what the device's own copy reaches.
//   G1: relu(a*b + c) * 2, f32 and bf16, 2^28 elements.
//   G2: softmax and cross entropy, f32, 8192 x 8192 and 16384 x 131072.
//   G3: layer norm with gamma and beta, f32 and bf16, 4096 x 16384, forward and backward.
//   G4: an AdamW step of 335 million parameters, f32.
//   G5: bf16 GEMM + bias + gelu, 8192 x 4096 x 4096.
//   G6: a small statement, eager and 100 of them in a graph.
// One JSON line a case, as each ends:
//   {"goal": "G1", "name": "...", "unit": "s", "heddle": x, "limit": y, "bytes": n}
// `limit` is the time in which a device-to-device copy of the same run moves as many bytes, or for
// G5 the bare library call. With an argument, only the goals it names; HEDDLE_BENCH_SMALL makes
// sizes that a machine without a GPU can run through.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <heddle/heddle.hpp>

namespace {

using namespace heddle;

bool small() {
  static const bool chosen = std::getenv("HEDDLE_BENCH_SMALL") != nullptr;
  return chosen;
}
std::int64_t sized(std::int64_t full, std::int64_t reduced) { return small() ? reduced : full; }

void check(cudaError_t code) {
  if (code == cudaSuccess) return;
  std::fprintf(stderr, "bench: %s\n", cudaGetErrorString(code));
  std::exit(1);
}

/// Seconds that one call takes on the device: the median of several groups of calls.
double seconds(const std::function<void()>& call, int groups = 15, int calls = 4) {
  if (small()) groups = calls = 1;
  call();
  check(cudaDeviceSynchronize());
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaEventCreateWithFlags(&begin, cudaEventDefault));
  check(cudaEventCreateWithFlags(&end, cudaEventDefault));
  std::vector<double> times;
  for (int i = 0; i < groups; ++i) {
    check(cudaEventRecord(begin, nullptr));
    for (int k = 0; k < calls; ++k) call();
    check(cudaEventRecord(end, nullptr));
    check(cudaEventSynchronize(end));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end));
    times.push_back(1e-3 * static_cast<double>(milliseconds) / calls);
  }
  check(cudaEventDestroy(begin));
  check(cudaEventDestroy(end));
  std::sort(times.begin(), times.end());
  return std::max(times[times.size() / 2], 1e-9);  // a stand-in has no clock
}

/// Bytes a second that a copy within the device moves, read and written.
double copy_rate() {
  static const double rate = [] {
    const std::int64_t count = sized(std::int64_t{1} << 28, 1 << 16);
    const auto from = full<float, 1>({count}, 1.0f, cuda(0));
    const auto to = empty<float, 1>({count}, cuda(0));
    const auto bytes = static_cast<std::size_t>(count) * 4;
    const double time = seconds([&] {
      check(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, nullptr));
    });
    return 2.0 * static_cast<double>(bytes) / time;
  }();
  return rate;
}

void print(const char* goal, const std::string& name, double heddle, double limit, double bytes) {
  std::printf(
      "{\"goal\": \"%s\", \"name\": \"%s\", \"unit\": \"s\", \"heddle\": %.4e, \"limit\": %.4e, "
      "\"bytes\": %.0f}\n",
      goal, name.c_str(), heddle, limit, bytes);
  std::fflush(stdout);
}
void bandwidth(const char* goal, const std::string& name, double bytes,
               const std::function<void()>& call) {
  print(goal, name, seconds(call), bytes / copy_rate(), bytes);
}
std::string shape(std::int64_t rows, std::int64_t columns) {
  return std::to_string(rows) + " x " + std::to_string(columns);
}

template <class T, int Rank>
tensor<T, Rank> random(extents<Rank> e) {
  // drawn on the device: the host would take minutes
  const auto like = full<T, Rank>(e, 0, cuda(0));
  return evaluate(
      let([](auto x, auto seed) { return cast<T>(uniform_like(x, seed, 0) - 0.5); }, like, 7));
}

template <class T>
void maps(const char* type) {
  const std::int64_t n = sized(std::int64_t{1} << 28, 1 << 14);
  const auto a = random<T, 1>({n}), b = random<T, 1>({n}), c = random<T, 1>({n});
  const auto y = empty<T, 1>({n}, cuda(0));
  bandwidth("G1", std::string("relu(a*b+c)*2, ") + type + ", 2^28",
            4.0 * static_cast<double>(n) * sizeof(T), [&] { assign(y, relu(a * b + c) * 2); });
}

void rows() {
  for (const auto& [r, c] : {std::pair<std::int64_t, std::int64_t>{8192, 8192}, {16384, 131072}}) {
    const std::int64_t n = sized(r, 8), k = sized(c, 300);
    const auto x = random<float, 2>({n, k});
    const auto y = empty<float, 2>({n, k}, cuda(0));
    const double bytes = static_cast<double>(n * k) * 4;
    bandwidth("G2", "softmax, f32, " + shape(r, c), 2 * bytes, [&] { assign(y, softmax<-1>(x)); });
    const auto target = full<std::int64_t, 1>({n}, 3, cuda(0));
    bandwidth("G2", "cross entropy, f32, " + shape(r, c), bytes,
              [&] { static_cast<void>(evaluate(cross_entropy(x, target))); });
  }
}

template <class T>
void norms(const char* type) {
  const std::int64_t n = sized(4096, 8), k = sized(16384, 300);
  const double bytes = static_cast<double>(n * k) * sizeof(T);
  const variable<T, 2> x(random<T, 2>({n, k}));
  const variable<T, 1> gamma(full<T, 1>({k}, 1, cuda(0))), beta(full<T, 1>({k}, 0, cuda(0)));
  const auto y = empty<T, 2>({n, k}, cuda(0));
  const std::string name = std::string("layer norm, ") + type + ", 4096 x 16384, ";
  bandwidth("G3", name + "forward", 2 * bytes,
            [&] { assign(y, layer_norm(x.value(), gamma.value(), beta.value())); });
  const variable<T, 2> normed = layer_norm(x, gamma, beta);
  const auto seed = random<T, 2>({n, k});
  bandwidth("G3", name + "backward", 3 * bytes, [&] {
    static_cast<void>(grad(normed, std::tuple(x, gamma, beta), seed, {.retain_graph = true}));
  });
}

void optimizer() {
  // the tensors of BERT-Large: 24 layers of 1024, a vocabulary of 30 522
  std::vector<std::int64_t> sizes{30522 * 1024, 512 * 1024, 2 * 1024, 1024, 1024};
  for (int layer = 0; layer < 24; ++layer) {
    for (int i = 0; i < 4; ++i) sizes.insert(sizes.end(), {1024 * 1024, 1024});
    sizes.insert(sizes.end(), {4096 * 1024, 4096, 1024 * 4096, 1024, 1024, 1024, 1024, 1024});
  }
  std::vector<exec::multi_group<4>> groups;
  std::vector<tensor<float, 1>> alive;
  double count = 0;
  for (const std::int64_t full_size : sizes) {
    const std::int64_t n = sized(full_size, 100);
    exec::multi_group<4> g;
    g.count = n;
    for (int i = 0; i < 4; ++i) {
      alive.push_back(full<float, 1>({n}, i == 1 ? 1.0f : 0.01f, cuda(0)));
      g.set(i, alive.back());
    }
    groups.push_back(g);
    count += static_cast<double>(n);
  }
  bandwidth("G4", "AdamW, f32, 335 million parameters", 28 * count, [&] {
    exec::multi_assign<float, 4>(optim::detail::adamw_function{}, groups, cuda(0), 0.9, 0.1, 0.999,
                                 0.001, 0.99, 1e-3, 1.0, 1e-8);
  });
}

void products() {
  const std::int64_t m = sized(8192, 16), k = sized(4096, 32), n = sized(4096, 24);
  const auto x = random<bfloat16, 2>({m, k});
  const auto w = random<bfloat16, 2>({n, k});
  const auto b = random<bfloat16, 1>({n});
  const double bare =
      seconds([&] { static_cast<void>(tensor<bfloat16, 2>(matmul(x, transposed(w)))); });
  const double all = seconds([&] {
    static_cast<void>(tensor<bfloat16, 2>(gelu<approximate::tanh>(matmul(x, transposed(w)) + b)));
  });
  print("G5", "bf16 GEMM + bias + gelu, 8192 x 4096 x 4096 (limit: GEMM alone)", all, bare, 0);
}

void small_statements() {
  const auto x = random<float, 1>({1024});
  const auto y = empty<float, 1>({1024}, cuda(0));
  const double time = seconds([&] { assign(y, x * 2 + 1); }, 15, 1000);
  print("G6", "x * 2 + 1, 1024 elements, eager (limit: 3 us)", time, 3e-6, 0);
  constexpr int in_graph = 100;
  const cuda_graph replayed(cuda(0), [&] {
    for (int i = 0; i < in_graph; ++i) assign(y, x * 2 + 1);
  });
  const double whole = seconds([&] { replayed.replay(); }, 15, 20);
  print("G6", "x * 2 + 1, 1024 elements, one of 100 in a graph (limit: 1.2 us)", whole / in_graph,
        1.2e-6, 0);
}

}  // namespace

int main(int count, char** arguments) {
  if (cuda_device_count() == 0) {
    std::fprintf(stderr, "bench: no CUDA device\n");
    return 77;
  }
  const std::string chosen = count > 1 ? arguments[1] : "G1 G2 G3 G4 G5 G6";
  const auto is_chosen = [&](const char* goal) { return chosen.find(goal) != std::string::npos; };
  try {
    print("copy", "device copy, 1 GiB", 1, 0, copy_rate());
    if (is_chosen("G1")) maps<float>("f32"), maps<bfloat16>("bf16");
    if (is_chosen("G2")) rows();
    if (is_chosen("G3")) norms<float>("f32"), norms<bfloat16>("bf16");
    if (is_chosen("G4")) optimizer();
    if (is_chosen("G5")) products();
    if (is_chosen("G6")) small_statements();
  } catch (const heddle::error& e) {
    std::fprintf(stderr, "bench: %s\n", e.what());
    return 1;
  }
  return 0;
}
