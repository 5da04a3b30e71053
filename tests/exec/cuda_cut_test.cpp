// SPDX-License-Identifier: BSD-3-Clause
// The bodies of CUDA kernels on host teams, of statements whose values cross from nest to nest: the
// nest that reads them back is a launch behind the one that stores them.
#include "../support/body_outcome.hpp"
#include <doctest/doctest.h>

#include <heddle/tensor/random.hpp>

using namespace heddle;
using namespace support;

namespace {

generator numbers(13);

tensor<float, 2> matrix(std::int64_t rows, std::int64_t columns) {
  return randn<float, 2>({rows, columns}, numbers);
}
constexpr auto centred = fused([](auto a, auto b, auto c, auto d) {
  const auto t = a * b + c * d;
  const auto down = mean<0>(t, keepdim);
  const auto along = mean<1>(t, keepdim);
  return t - down - along;
});

template <class E>
bool right_everywhere(double tolerance, const E& e) {
  using program = exec::cut_program<typename exec::statement<E>::program>;
  static_assert(exec::plan_of<program>.sizes.crossings == 1);
  bool right = true;
  for (const int team : {1, 32, 33, 256}) {
    for (const fibre_order order :
         {fibre_order::forward, fibre_order::backward, fibre_order::shuffled}) {
      body_run how{.team = team, .blocks = 1 + team % 5, .order = order};
      if (order == fibre_order::shuffled) how.merged_apart = 1;
      const outcome o = run_as(how, e);
      if (!(o.worst <= tolerance) || !o.intact) right = false;
    }
  }
  return right;
}

}  // namespace

TEST_CASE("values that cross are right on teams of every size: vectors, tails, strides") {
  for (const auto& [rows, columns] :
       {std::pair<std::int64_t, std::int64_t>{7, 129}, {37, 64}, {5, 2048}, {1, 1}, {300, 3}}) {
    const auto a = matrix(rows, columns), b = matrix(rows, columns), c = matrix(rows, columns),
               d = matrix(rows, columns);
    CHECK(right_everywhere(1e-5, centred(a, b, c, d)));
    CHECK(right_everywhere(1e-5, centred(a, b, matrix(columns, rows).transpose(), d)));
  }
  const auto row = [] { return randn<float, 1>({129}, numbers); };
  CHECK(right_everywhere(1e-5, let(
                                   [](auto a, auto b, auto c, auto r) {
                                     const auto t = a * b + c * r;
                                     const auto down = mean<0>(t, keepdim);
                                     const auto along = amax<1>(t, keepdim);
                                     return t - down - along;
                                   },
                                   matrix(9, 129), matrix(9, 129), matrix(9, 129), row())));
}

TEST_CASE("16-bit values cross as float, conditions as bytes") {
  const auto narrow = [] { return tensor<bfloat16, 2>(evaluate(cast<bfloat16>(matrix(9, 136)))); };
  CHECK(right_everywhere(1e-2, let(
                                   [](auto a, auto b, auto c, auto d, auto e) {
                                     const auto t = a * b + c * d + e;
                                     const auto down = mean<0>(t, keepdim);
                                     const auto along = mean<1>(t, keepdim);
                                     return t - down - along;
                                   },
                                   narrow(), narrow(), narrow(), narrow(), narrow())));
  CHECK(right_everywhere(0, let(
                                [](auto x, auto y) {
                                  const auto kept = cast<float>(x < y);
                                  const auto down = sum<0>(kept, keepdim);
                                  const auto along = sum<1>(kept, keepdim);
                                  return kept * 4.0f - down * along;
                                },
                                matrix(9, 136), matrix(9, 136))));
}

TEST_CASE("what reads values back is launched behind what stores them, over fewer axes, too") {
  // nest 0 over three axes ends in sums; nests over two of these follow
  const tensor<float, 3> x = randn<float, 3>({4, 6, 8}, numbers);
  const auto a = matrix(6, 8), b = matrix(6, 8), c = matrix(6, 8);
  const auto e = let(
      [](auto v, auto p, auto q, auto r) {
        const auto t = p * q + r * sum<0>(v);
        const auto down = mean<0>(t, keepdim);
        const auto along = mean<1>(t, keepdim);
        return t - down - along;
      },
      x, a, b, c);
  constexpr int kernels = exec::detail::kernel_count<exec::statement<decltype(e)>::program>;
  CHECK(kernels == 2);
  CHECK(right_everywhere(1e-5, e));
}

TEST_CASE("what needs nothing but an earlier launch's sums runs behind a nest without any") {
  const auto x = matrix(37, 65);
  const auto e = let(
      [](auto v) {
        const auto down = mean<0>(v, keepdim);
        const auto along = mean<1>(v, keepdim);
        return outputs(v - down - along, 2.0f * sum(v));
      },
      x);
  for (const int team : {1, 33, 256}) {
    const outcome o = run_as(body_run{.team = team}, e);
    CHECK(o.worst <= 1e-5);
    CHECK(o.intact);
  }
}
