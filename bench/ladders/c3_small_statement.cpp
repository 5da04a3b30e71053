// SPDX-License-Identifier: BSD-3-Clause
// The ladder to goal C3, (a*b + c) * a - b on 16 floats into a new tensor: what a statement costs
// beyond its arithmetic. Each rung is one run of it. The first four bind the same statement and
// allocate the same result, and differ in how the kernel learns where its operands lie:
//   cleared    a description of each operand (its strides over all axes), all of them cleared
//              before they are written: g++ clears 128 bytes and more by a slow rep stos
//   described  the same descriptions, written member by member: what every launch passes, and
//              where operands are strided the only way
//   checked    pointers, after loops over the leaves, of a rank that is known when the program
//              runs, have found once more that all lie contiguous
//   pointers   as binding finds it out, with ranks known when it is compiled: the way of include/
//   kernel     nothing is bound or allocated: the kernel over one block of lanes
#include <cstdint>
#include <vector>

#include "least.hpp"

#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/creation.hpp>

namespace {

using namespace heddle;
using vector = tensor<float, 1>;

auto expression_of(const vector& a, const vector& b, const vector& c) {
  return (a * b + c) * a - b;
}
using statement = exec::statement<decltype(expression_of(vector(), vector(), vector()))>;
using bound = exec::bound<statement>;
constexpr int operands = statement::operand_count;

void launch(const bound& b, const exec::operand* in, const vector& result) {
  const exec::operand out[] = {exec::detail::operand_of(result)};
  storage* owners[operands + 1];
  for (int i = 0; i < operands; ++i) owners[i] = b.leaves[i].storage;
  owners[operands] = result.storage().get();
  exec::detail::submit<statement::program, configuration, operands, 1, statement::scalar_count>(
      in, out, b.scalars, b.extents, owners, b.device);
}

void cleared(const bound& b, const vector& result) {
  exec::operand in[operands + 1] = {};
  asm volatile("" : : "r"(in) : "memory");  // or the compiler would clear less
  b.bind_operands(in);
  launch(b, in, result);
}

void described(const bound& b, const vector& result) {
  exec::operand in[operands + 1];
  b.bind_operands(in);
  launch(b, in, result);
}

void run_pointers(const bound& b, std::int64_t count, const vector& result) {
  exec::host::run_few<statement::program, configuration>(
      b.common, b.scalars, count, [&](int slot) { return b.leaves[slot].data; },
      [&](int) { return reinterpret_cast<std::byte*>(result.data()); }, [](int) { return false; });
}

__attribute__((noinline)) bool lie_contiguous(const exec::leaf_view* leaves, int count) {
  for (int i = 0; i < count; ++i) {
    const exec::leaf_view& l = leaves[i];
    std::int64_t stride = 1;
    for (int k = l.rank - 1; k >= 0; --k) {
      if (l.extents[k] != leaves[0].extents[k]) return false;
      if (l.strides[k] != stride && l.extents[k] != 1) return false;
      stride *= l.extents[k];
    }
  }
  return true;
}
void checked(const bound& b, const vector& result) {
  if (lie_contiguous(b.leaves, operands)) run_pointers(b, result.size(), result);
}

void pointers(const bound& b, const vector& result) {
  exec::detail::run_into<configuration>(b, result);
}

struct inputs {
  vector a = full<float, 1>({16}, 0.5f), b = full<float, 1>({16}, 0.25f),
         c = full<float, 1>({16}, 2.f);
};

template <void (*Run)(const bound&, const vector&)>
void rung(benchmark::State& state) {
  const inputs x;
  for (auto _ : state) {
    const auto e = expression_of(x.a, x.b, x.c);
    const bound b(e);
    const vector result = vector::allocate(b.output_extents<1>(0), b.device);
    Run(b, result);
    benchmark::DoNotOptimize(result.data());
    benchmark::ClobberMemory();
    if (result.data()[15] != 0.8125f) state.SkipWithError("the result is wrong");
  }
}

void kernel(benchmark::State& state) {
  alignas(64) static float lanes[operands + 1][exec::host::lane_width];
  std::byte* at[operands + 1];  // each is read: a name that occurs twice, twice
  for (int i = 0; i <= operands; ++i) at[i] = reinterpret_cast<std::byte*>(lanes[i]);
  const std::int64_t origin[graph::max_axes] = {};
  std::int64_t bad = 0;
  exec::host::kernel_frame f;
  f.extents = f.coordinates = origin;
  f.reads = at;
  f.outputs = at + operands;
  f.bad_index = &bad;
  f.blocks = 1;
  const exec::host::kernel call = exec::host::kernels_of<statement::program, configuration>()[0];
  for (auto _ : state) {
    call(f);
    benchmark::ClobberMemory();
  }
}

}  // namespace

BENCHMARK(rung<cleared>)->Apply(ladder::least_of_many);
BENCHMARK(rung<described>)->Apply(ladder::least_of_many);
BENCHMARK(rung<checked>)->Apply(ladder::least_of_many);
BENCHMARK(rung<pointers>)->Apply(ladder::least_of_many);
BENCHMARK(kernel)->Apply(ladder::least_of_many);

BENCHMARK_MAIN();
