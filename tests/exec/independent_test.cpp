// SPDX-License-Identifier: BSD-3-Clause
// Independent expressions, of any shapes, in one statement.
#include <cmath>

#include <doctest/doctest.h>

#include <heddle/autograd/record.hpp>
#include <heddle/exec/explain.hpp>
#include <heddle/tensor/random.hpp>

using namespace heddle;

namespace {

generator numbers(21);

tensor<float, 2> matrix(std::int64_t rows, std::int64_t columns) {
  return randn<float, 2>({rows, columns}, numbers);
}
tensor<float, 1> vector(std::int64_t n) { return randn<float, 1>({n}, numbers); }

/// The largest difference; infinite where extents differ.
template <class T, int Rank>
double off_by(const tensor<T, Rank>& a, const tensor<T, Rank>& b) {
  if (a.extents() != b.extents()) return INFINITY;
  double most = 0;
  auto other = b.begin();
  for (const T x : a) most = std::fmax(most, std::fabs(static_cast<double>(x - *other++)));
  return most;
}

}  // namespace

TEST_CASE("a statement takes expressions of any shapes") {
  const auto x = matrix(3, 5);
  const auto y = vector(7);
  const tensor<double, 3> z = evaluate(cast<double>(randn<float, 3>({2, 1, 4}, numbers)));
  const auto [a, b, c, d] = evaluate(x * 2 + 1, exp(y), sum<-1>(z), mean(y));
  CHECK(off_by(a, evaluate(x * 2 + 1)) == 0);
  CHECK(off_by(b, evaluate(exp(y))) == 0);
  CHECK(off_by(c, evaluate(sum<-1>(z))) == 0);
  CHECK(off_by(d, evaluate(mean(y))) == 0);
}

TEST_CASE("running statistics are updated in place by one launch") {
  const auto batch = matrix(16, 6);
  const auto loss = vector(9);
  const tensor<float, 1> average = vector(6), kept = average.clone();
  const tensor<float, 0> smooth(0.5f), norm(2.0f);
  const profiler p;
  assign(tie(average, smooth, norm), average * 0.9 + mean<0>(batch) * 0.1,
         smooth * 0.9 + mean(loss) * 0.1, sqrt(sum(square(kept))));
  CHECK(p.launches().size() == 1);  // and no copies of temporaries
  CHECK(off_by(average, evaluate(kept * 0.9 + mean<0>(batch) * 0.1)) <= 1e-6);
  CHECK(smooth.item() == doctest::Approx(0.45 + 0.1 * evaluate(mean(loss)).item()));
  CHECK(norm.item() == doctest::Approx(std::sqrt(evaluate(sum(square(kept))).item())));
}

TEST_CASE("what another expression of the statement reads is written behind it") {
  const auto x = matrix(4, 4), y = matrix(4, 4);
  const auto s = vector(4);
  const tensor<float, 2> a = x.clone(), b = y.clone();
  assign(tie(a, b), b * 2, a.transpose() + 1);
  CHECK(off_by(a, evaluate(y * 2)) == 0);
  CHECK(off_by(b, evaluate(x.transpose() + 1)) == 0);
  const tensor<float, 1> t = s.clone();
  assign(tie(t, a), t * 2, x - mean(t));  // t is read over other axes, too
  CHECK(off_by(t, evaluate(s * 2)) == 0);
  CHECK(off_by(a, evaluate(x - mean(s))) <= 1e-6);
}

TEST_CASE("gradients of independent expressions are those of each") {
  const auto x = matrix(3, 5);
  const auto y = vector(7);
  const auto seed = matrix(3, 5);
  const variable<float, 2> v(x);
  const variable<float, 1> w(y);
  const auto [a, b] = evaluate(tanh(v) * 2, sum(w * w));
  a.backward(seed, {.retain_graph = true});
  const variable<float, 2> v2(x);
  evaluate(tanh(v2) * 2).backward(seed);
  CHECK(off_by(v.grad(), v2.grad()) <= 1e-6);
  b.backward();  // of the other one nothing comes
  CHECK(off_by(w.grad(), evaluate(2 * y)) <= 1e-6);
  CHECK(off_by(v.grad(), v2.grad()) <= 1e-6);
  // one variable in several expressions
  const variable<float, 1> u(y);
  const auto [p, q, r] = evaluate(u * 3, sum(u * u), exp(u));
  p.backward(full<float, 1>({7}, 1.0f), {.retain_graph = true});
  CHECK(off_by(u.grad(), full<float, 1>({7}, 3.0f)) <= 1e-6);
  const variable<float, 0> total = sum(p) + q + sum(r);
  total.backward();
  CHECK(off_by(u.grad(), evaluate(6.0f + 2 * y + exp(y))) <= 1e-5);
}

TEST_CASE("explain tells what a CUDA device runs in one launch, and what it does not") {
  const auto says = [](const std::string& text) {
    return text.find("on a CUDA device one launch runs its nests side by side") != text.npos;
  };
  CHECK(says(explain(matrix(3, 5) * 2, sum(vector(7)))));
  CHECK_FALSE(says(explain(matrix(3, 5) * 2)));
  CHECK_FALSE(says(explain(matrix(1 << 9, 1 << 9) * 2, sum(vector(7)))));
}
