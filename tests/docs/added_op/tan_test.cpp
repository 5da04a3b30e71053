// SPDX-License-Identifier: BSD-3-Clause
// The op that docs/adding-an-op.md adds: tests/docs/added_op/check compiles this file against
// headers to which tan.patch was applied.
#include <cmath>

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <heddle/autograd/gradcheck.hpp>
#include <heddle/exec/explain.hpp>

//! [test]
TEST_CASE("tan has the library's values and the derivative that differences show") {
  const heddle::tensor<double, 1> x{-1.2, -0.3, 0, 0.7, 1.5};
  const heddle::tensor<double, 1> y = tan(x);
  for (int i = 0; i < 5; ++i) CHECK(y(i) == doctest::Approx(std::tan(x(i))));

  const auto result = heddle::gradcheck([](const auto& v) { return evaluate(tan(v)); },
                                        std::tuple{heddle::tensor<double, 1>{-1.2, 0, 0.7}});
  CHECK_MESSAGE(result, to_string(result));
}
//! [test]

TEST_CASE("tan is part of programs, in lambdas too") {
  const heddle::tensor<float, 1> x{0, 1};
  const auto e = heddle::let([](auto v) { return tan(v) * v; }, x);
  CHECK(explain(e).find("tan %0") != std::string::npos);
  CHECK(heddle::tensor<float, 1>(e)(1) == doctest::Approx(std::tan(1.0)));
}
