// SPDX-License-Identifier: BSD-3-Clause
// Statements whose operands have extent 1 only at run time, and extrema compared with their values.
#include <cstdint>

#include <doctest/doctest.h>

#include <heddle/autograd/grad.hpp>
#include <heddle/tensor/vjp.hpp>

namespace {

using namespace heddle;

tensor<float, 2> pseudo_random(extents<2> e, unsigned seed) {
  tensor<float, 2> x = empty<float, 2>(e);
  for (float& v : x) {
    seed = seed * 1664525u + 1013904223u;
    v = static_cast<float>(seed >> 8) / 16777216.0f - 0.5f;
  }
  return x;
}

}  // namespace

TEST_CASE("a reduction with keepdim does not lengthen an operand of extent 1 unnoticed") {
  const tensor<float, 2> x{{1}, {2}, {3}};
  const tensor<float, 2> y{{1, 5, 2, 3}, {9, 1, 1, 1}, {0, 0, 7, 0}};
  CHECK_THROWS_AS(static_cast<void>(evaluate(x - amax<-1>(y, keepdim))), shape_error);
  CHECK_THROWS_AS(static_cast<void>(evaluate(sum(x - amax<-1>(y, keepdim)))), shape_error);
  const tensor<float, 2> m = amax<-1>(y, keepdim);
  const tensor<float, 2> d = x - m;
  CHECK(d.extents() == extents<2>{3, 1});
  CHECK(d(1, 0) == -7.0f);
  // a destination says how long its axes are
  const tensor<float, 2> to = empty<float, 2>({3, 4});
  assign(to, x - amax<-1>(y, keepdim));
  CHECK(to(2, 3) == -4.0f);
}

TEST_CASE("one result of several does not take another's extents unnoticed") {
  const tensor<float, 2> x{{1}, {2}, {3}};
  const tensor<float, 2> z = ones<float, 2>({3, 4});
  constexpr auto two = [](auto a, auto b) { return outputs(a * 2, a + b); };
  CHECK_THROWS_AS(static_cast<void>(evaluate(let(two, x, z))), shape_error);
  const auto [p, q] = evaluate(let(two, z, x));
  CHECK(p.extents() == extents<2>{3, 4});
  CHECK(q(2, 3) == 4.0f);
}

TEST_CASE("vjp refuses operands that broadcasting lengthens at run time") {
  constexpr auto product = fused([](auto a, auto b) { return a * b; });
  const tensor<float, 2> x{{1}, {2}, {3}};
  const tensor<float, 2> z = ones<float, 2>({3, 4});
  CHECK_THROWS_AS(static_cast<void>(evaluate(vjp(product, z, x, z))), shape_error);
  const auto [dx, dz] = evaluate(vjp(product, z, z, z));
  CHECK(dx.extents() == extents<2>{3, 4});
  CHECK(dz(1, 1) == 1.0f);
}

TEST_CASE("each pass of an extremum's derivative finds the extremum again") {
  // p + c is a fused multiply-add where p is used once, and is not where it is used twice
  const std::int64_t n = 64;
  const variable<float, 2> a(pseudo_random({n, 50}, 1)), b(pseudo_random({n, 50}, 2)),
      c(pseudo_random({n, 50}, 3));
  const variable<float, 1> y = let(
      [](auto u, auto v, auto w) {
        const auto p = u * v;
        return amax<-1>(p + w) + sum<-1>(p * p);
      },
      a, b, c);
  y.backward(ones<float, 1>({n}));
  const tensor<float, 1> whole = sum<-1>(c.grad());
  for (std::int64_t i = 0; i < n; ++i) CHECK(whole(i) == 1.0f);
}
