// SPDX-License-Identifier: BSD-3-Clause
// The profiler records launches while it lives, nested ones and those of queued devices included.
#include <doctest/doctest.h>

#include <heddle/exec/evaluate.hpp>
#include <heddle/graph/program.hpp>
#include <heddle/tensor/creation.hpp>

namespace {

using namespace heddle;

}  // namespace

TEST_CASE("a profiler records what is launched while it lives, and nothing before") {
  const tensor<float, 1> x = ones<float, 1>({100});
  tensor<float, 1> y = x * 2;
  profiler p;
  CHECK(p.launches().empty());
  y = y + 1;
  y = y + 2;
  REQUIRE(p.launches().size() == 2);
  CHECK(p.kernels() == 2);
  CHECK(p.bytes() == 2 * 800);
  const launch_record first = p.launches()[0];
  CHECK(first.device == cpu());
  const graph::graph program = graph::decode(first.words, first.word_count, {});
  CHECK(program[program.size() - 1].code == op::store);
  p.clear();
  CHECK(p.kernels() == 0);
}

TEST_CASE("an inner profiler takes over until it ends") {
  const tensor<float, 1> x = ones<float, 1>({8});
  profiler outer;
  {
    const profiler inner;
    const tensor<float, 1> y = x * 2;
    CHECK(inner.kernels() == 1);
  }
  const tensor<float, 1> z = x * 3;
  CHECK(outer.kernels() == 1);
}

TEST_CASE("a reduction and what reads it across rows take one more sweep") {
  const tensor<float, 2> x = ones<float, 2>({30, 40});
  const profiler p;
  const tensor<float, 2> y = let([](auto v) { return v / sum(v); }, x);
  CHECK(p.kernels() >= 1);
  CHECK(p.kernels() <= 2);
  CHECK(y(3, 3) == doctest::Approx(1.0 / 1200));
}

TEST_CASE("meta tensors compute extents and launch nothing") {
  const tensor<float, 2> x = empty<float, 2>({1 << 20, 1 << 20}, meta());
  const profiler p;
  const auto [y, s] = evaluate(x * 2 + 1, sum<0>(x));
  CHECK(y.extents() == extents<2>{1 << 20, 1 << 20});
  CHECK(s.extents() == extents<1>{1 << 20});
  CHECK(p.launches().empty());
}
