// SPDX-License-Identifier: BSD-3-Clause
// One kernel forward and one backward for each function, by the profiler; gradients by differences.
#include <cmath>

#include <doctest/doctest.h>

#include <heddle/autograd/grad.hpp>
#include <heddle/autograd/gradcheck.hpp>
#include <heddle/autograd/matmul.hpp>
#include <heddle/exec/profiler.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/tensor/random.hpp>

using namespace heddle;

namespace {

/// What f of fresh leaves launches, forward and backward.
struct cost {
  int forward = 0;
  int backward = 0;
  std::int64_t forward_bytes = 0;
  std::int64_t backward_bytes = 0;
};
template <class F, class... Leaf>
cost cost_of(F f, const Leaf&... leaf) {
  const profiler watch;
  const variable y = f(leaf...);
  cost found;
  found.forward = watch.kernels();
  found.forward_bytes = watch.bytes();
  const auto seed = ones_like(y.value());
  const profiler behind;
  y.backward(seed);
  found.backward = behind.kernels();
  found.backward_bytes = behind.bytes();
  return found;
}

generator numbers(7);
template <int Rank>
variable<float, Rank> leaf(const extents<Rank>& e) {
  return variable<float, Rank>(randn<float, Rank>(e, numbers));
}
variable<float, 2> matrix() { return leaf<2>({6, 40}); }
variable<float, 1> vector() { return leaf<1>({40}); }
tensor<double, 2> point() { return randn<double, 2>({3, 5}, numbers); }
tensor<double, 1> row() { return randn<double, 1>({5}, numbers); }

const tensor<std::int64_t, 1> six{0, 39, 3, 7, 7, 1};
const tensor<std::int64_t, 1> three{4, 0, 2};

template <int Rank>
tensor<double, Rank> weights_like(const tensor<double, Rank>& y) {
  tensor<double, Rank> w = zeros_like(y);
  double next = 0.3;
  for (double& each : w) each = next = next < 1 ? next + 0.37 : next - 0.83;
  return w;
}

/// First derivatives, and second ones: those of the recorded gradient of f, summed with weights.
template <class F, int... Rank>
void check_derivatives(const char* name, F f, const std::tuple<tensor<double, Rank>...>& inputs) {
  const auto first = gradcheck(f, inputs);
  CHECK_MESSAGE(first, name, ": ", to_string(first));
  const auto slope = [&](const auto& x, const auto&... rest) {
    const variable y = f(x, rest...);
    if (!y.requires_grad()) {
      // values for the differences: the gradient's, without recording its own
      const enable_grad on;
      const variable again(x.value(), true);
      const variable z = f(again, rest...);
      return variable(std::get<0>(grad(z, std::tuple(again), weights_like(z.value()))).value(),
                      false);
    }
    return std::get<0>(grad(y, std::tuple(x), weights_like(y.value()), {.create_graph = true}));
  };
  const auto second = gradcheck(slope, inputs);
  CHECK_MESSAGE(second, name, ", second: ", to_string(second));
}

}  // namespace

TEST_CASE("softmax, layer norm, gelu and cross entropy are one kernel forward and one backward") {
  const auto x = matrix();
  cost c = cost_of([](const auto& v) { return softmax<-1>(v); }, x);
  CHECK(c.forward == 1);
  CHECK(c.backward == 1);
  CHECK(c.forward_bytes == 2 * 6 * 40 * 4);
  CHECK(c.backward_bytes == 3 * 6 * 40 * 4);

  c = cost_of([](const auto&... v) { return layer_norm(v...); }, matrix(), vector(), vector());
  CHECK(c.forward == 1);
  CHECK(c.backward == 1);

  c = cost_of([](const auto& v) { return gelu(v); }, matrix());
  CHECK(c.forward == 1);
  CHECK(c.backward == 1);
  c = cost_of([](const auto& v) { return gelu<approximate::tanh>(v); }, matrix());
  CHECK(c.forward == 1);
  CHECK(c.backward == 1);

  c = cost_of([](const auto& v) { return cross_entropy(v, six); }, matrix());
  CHECK(c.forward == 1);
  CHECK(c.backward == 1);
  // logits, targets and the loss; a maximum and a sum a row, which are kept for backward
  CHECK(c.forward_bytes == 6 * 40 * 4 + 6 * 8 + 4 + 2 * 6 * 4);
  CHECK(c.backward_bytes == 2 * 6 * 40 * 4 + 6 * 8 + 4 + 2 * 6 * 4);

  c = cost_of([](const auto& v) { return log_softmax<-1>(v); }, matrix());
  CHECK(c.forward == 1);
  CHECK(c.backward == 1);
  c = cost_of([](const auto& v, const auto& w) { return mse_loss(v, w); }, matrix(), matrix());
  CHECK(c.forward == 1);
  CHECK(c.backward == 1);
}

TEST_CASE(
    "a gather, arithmetic and a norm behind it are one kernel, and read the rows taken once") {
  const variable<float, 2> table = leaf<2>({100, 40}), position = matrix();
  const variable<float, 1> gamma = vector(), beta = vector();
  const tensor<std::int64_t, 1> words{3, 99, 3, 0, 17, 3};
  const auto embed = [](const auto&... v) {
    return let([](auto t, auto i, auto p, auto g,
                  auto b) { return layer_norm(take(t, i) * 0.5 + p, g, b); },
               v...);
  };
  const cost c = cost_of([&](const auto& t, const auto& p, const auto& g,
                             const auto& b) { return embed(t, words, p, g, b); },
                         table, position, gamma, beta);
  CHECK(c.forward == 1);
  // rows, positions and the result; gamma and beta; indices; two values a row, kept for backward
  CHECK(c.forward_bytes == 3 * 6 * 40 * 4 + 2 * 40 * 4 + 6 * 8 + 2 * 6 * 4);
  CHECK(c.backward == 1);

  const tensor<float, 2> rows =
      let([](auto t, auto i) { return take(t, i); }, table.value(), words);
  const tensor<float, 2> by_steps = rows * 0.5f + position.value();
  const tensor<float, 2> wanted = layer_norm(by_steps, gamma.value(), beta.value());
  const tensor<float, 2> got =
      embed(table.value(), words, position.value(), gamma.value(), beta.value());
  CHECK(evaluate(sum(abs(got - wanted))).item() < 1e-4f);
}

TEST_CASE("arithmetic before a reduction is part of its kernel, in whatever direction it goes") {
  const auto check = [](const cost& c, std::int64_t results) {
    CHECK(c.forward == 1);
    CHECK(c.forward_bytes == 2 * 6 * 40 * 4 + 4 * results);
    CHECK(c.backward == 1);
  };
  check(
      cost_of([](const auto& v, const auto& w) { return sum(square(v) * w); }, matrix(), matrix()),
      1);
  check(cost_of([](const auto& v, const auto& w) { return sum<0>(square(v) * w); }, matrix(),
                matrix()),
        40);
  check(cost_of([](const auto& v, const auto& w) { return sum<1>(square(v) * w); }, matrix(),
                matrix()),
        6);
}

TEST_CASE("results of one statement share what they read") {
  const variable<float, 2> x = matrix(), y = matrix();
  const profiler watch;
  const auto [product, rows, total] = evaluate(
      let([](auto v, auto w) { return outputs(v * w, sum<-1>(v - w), sum(v + w)); }, x, y));
  CHECK(watch.kernels() == 1);
  CHECK(watch.bytes() == 2 * 6 * 40 * 4 + 6 * 40 * 4 + 6 * 4 + 4);
}

// Each name is a leaf of its own: the plain spelling reads x as often as it is written, and adds
// that many gradients up in place. Still one kernel each way; docs/architecture.md has the figures.
TEST_CASE("with plain operators the same functions are one kernel too, and read x more often") {
  constexpr std::int64_t size = 6 * 40 * 4;  // bytes of x
  cost c = cost_of(
      [](const auto& x) {
        return exp(x - detach(amax<-1>(x, keepdim))) /
               sum<-1>(exp(x - detach(amax<-1>(x, keepdim))), keepdim);
      },
      matrix());
  CHECK(c.forward == 1);
  CHECK(c.forward_bytes == 5 * size);  // 4 reads, 1 write; softmax: 1 and 1
  CHECK(c.backward == 1);
  // the seed, x four times; one gradient written, three added to it
  CHECK(c.backward_bytes == (1 + 4 + 1 + 3 * 2) * size);

  c = cost_of(
      [](const auto& x, const auto& gamma, const auto& beta) {
        return (x - mean<-1>(x, keepdim)) *
                   rsqrt(mean<-1>(square(x - mean<-1>(x, keepdim)), keepdim) + 1e-5) * gamma +
               beta;
      },
      matrix(), vector(), vector());
  CHECK(c.forward == 1);
  CHECK(c.backward == 1);  // x occurs four times here too

  c = cost_of([](const auto& x) { return 0.5 * x * (1 + erf(x * 0.70710678118654752440)); },
              matrix());
  CHECK(c.forward == 1);
  CHECK(c.backward == 1);
}

TEST_CASE("gradients of the plain spelling are those of the fused one, of any extents and dtype") {
  const auto compare = []<class T>(T, const extents<2>& e, double tolerance) {
    const tensor<T, 2> values = evaluate(cast<T>(randn<float, 2>(e, numbers)));
    const tensor<T, 2> seed = evaluate(cast<T>(randn<float, 2>(e, numbers)));
    const auto check = [&](auto fused_one, auto plain) {
      const variable<T, 2> x(values);
      const variable<T, 2> y(values);
      variable(fused_one(x)).backward(seed);
      const profiler watch;
      variable(plain(y)).backward(seed);
      CHECK(watch.kernels() == 2);
      auto expected = x.grad().begin();
      for (const T g : y.grad()) {
        CHECK(static_cast<double>(g) ==
              doctest::Approx(static_cast<double>(*expected++)).epsilon(tolerance));
      }
    };
    check([](const auto& x) { return softmax<-1>(x); },
          [](const auto& x) {
            return exp(x - detach(amax<-1>(x, keepdim))) /
                   sum<-1>(exp(x - detach(amax<-1>(x, keepdim))), keepdim);
          });
    check([](const auto& x) { return gelu(x); },
          [](const auto& x) { return 0.5 * x * (1 + erf(x * 0.70710678118654752440)); });
    // one gradient written along rows, one along columns: no element is added to by two threads
    check([](const auto& x) { return let([](auto v) { return v * sum<0>(v, keepdim); }, x); },
          [](const auto& x) { return x * sum<0>(x, keepdim); });
  };
  for (const extents<2> e : {extents<2>{1, 1}, {3, 31}, {5, 32}, {7, 33}, {2, 700}, {300, 257}}) {
    compare(float{}, e, 2e-4);
  }
  compare(bfloat16{}, {3, 40}, 0.1);
}

TEST_CASE("a variable that several statements read has its gradient added to in their kernels") {
  const auto x = matrix();
  const variable a = tanh(x);
  const variable b = let([](auto u, auto v) { return u * v + u; }, a, x);  // a residual connection
  const variable loss = sum(square(b) + a * x);
  const profiler watch;
  loss.backward();
  CHECK(watch.kernels() == 3);  // one a statement
  const variable<float, 2> y(x.value());
  variable(let(
               [](auto v) {
                 const auto t = tanh(v);
                 return sum(square(t * v + t) + t * v);
               },
               y))
      .backward();
  auto expected = y.grad().begin();
  for (const float g : x.grad()) CHECK(g == doctest::Approx(*expected++).epsilon(1e-5));
}

TEST_CASE("a function inside another traced lambda is part of its kernel") {
  const auto f = fused([](auto x, auto g, auto b) { return relu(layer_norm(gelu(x), g, b)); });
  const cost c = cost_of(f, matrix(), vector(), vector());
  CHECK(c.forward == 1);
  CHECK(c.backward == 1);
}

TEST_CASE("relu after a linear layer is one product and one kernel") {
  const auto x = leaf<2>({6, 8});
  const auto w = leaf<2>({40, 8});
  const cost c =
      cost_of([](const auto& x_, const auto& w_, const auto& b) { return relu(linear(x_, w_, b)); },
              x, w, vector());
  CHECK(c.forward == 2);
  CHECK(c.backward == 3);
}

TEST_CASE(
    "dropout draws in its backward what it drew forward, in one kernel each, and keeps no mask") {
  const auto x = matrix();
  generator from(3);
  const profiler watch;
  const variable y = dropout(x, 0.25, from);
  CHECK(watch.kernels() == 1);
  CHECK(watch.bytes() == 2 * 6 * 40 * 4);
  y.backward(ones_like(y.value()));
  CHECK(watch.kernels() == 2);
  int zeros = 0;
  auto g = x.grad().begin();
  auto v = x.value().begin();
  for (const float kept : y.value()) {
    CHECK(kept == doctest::Approx(*v * *g));
    CHECK((*g == 0 || *g == doctest::Approx(4.0 / 3)));
    zeros += *g == 0 ? 1 : 0;
    ++g;
    ++v;
  }
  CHECK(zeros > 30);
  CHECK(zeros < 90);
}

TEST_CASE("two uses of dropout share no mask, not even shifted by rows") {
  const tensor<float, 2> x = ones<float, 2>({64, 32});
  generator from(3);
  const tensor<float, 2> first = dropout(x, 0.5, from);
  const tensor<float, 2> second = dropout(x, 0.5, from);
  for (std::int64_t shift = -2; shift <= 2; ++shift) {
    std::int64_t same = 0;
    for (std::int64_t i = 2; i < 62; ++i) {
      for (std::int64_t j = 0; j < 32; ++j) same += first(i, j) == second(i + shift, j) ? 1 : 0;
    }
    CHECK(same > 60 * 32 * 2 / 5);
    CHECK(same < 60 * 32 * 3 / 5);
  }
}

TEST_CASE("dropout of everything and of nothing has finite values and gradients") {
  const auto x = matrix();
  const variable none = dropout(x, 1.0);
  for (const float v : none.value()) CHECK(v == 0);
  none.backward(ones_like(none.value()));
  for (const float g : x.grad()) CHECK(g == 0);
  const tensor<float, 2> all = dropout(x.value(), 0.0);
  auto expected = x.value().begin();
  for (const float v : all) CHECK(v == *expected++);
  CHECK_THROWS_WITH_AS(static_cast<void>(dropout(x, 1.5)),
                       "heddle::dropout: p is no probability: 1.5; it is 0 to 1", value_error);
}

TEST_CASE("derived first and second derivatives agree with differences") {
  const std::tuple one{point()};
  check_derivatives(
      "softmax", [](const auto& x) { return variable(softmax<-1>(x)); }, one);
  check_derivatives(
      "log_softmax", [](const auto& x) { return variable(log_softmax<-1>(x)); }, one);
  check_derivatives(
      "gelu", [](const auto& x) { return variable(gelu(x)); }, one);
  check_derivatives(
      "gelu tanh", [](const auto& x) { return variable(gelu<approximate::tanh>(x)); }, one);
  check_derivatives(
      "silu", [](const auto& x) { return variable(silu(x)); }, one);
  check_derivatives(
      "cross entropy", [](const auto& x) { return variable(cross_entropy(x, three)); }, one);
  check_derivatives(
      "layer norm",
      [](const auto& x, const auto& g, const auto& b) { return variable(layer_norm(x, g, b)); },
      std::tuple{point(), row(), row()});
}

TEST_CASE("relu has gradient 0 at 0 and keeps not-a-number") {
  const variable<float, 1> x(tensor<float, 1>{-1, 0, 2, NAN});
  const variable y = relu(x);
  CHECK(y.value()(0) == 0);
  CHECK(y.value()(2) == 2);
  CHECK(std::isnan(y.value()(3)));
  y.backward(tensor<float, 1>{1, 1, 1, 1});
  CHECK(x.grad()(0) == 0);
  CHECK(x.grad()(1) == 0);
  CHECK(x.grad()(2) == 1);
}

TEST_CASE("losses refuse targets that do not fit") {
  const auto x = matrix();
  CHECK_THROWS_WITH_AS(
      static_cast<void>(cross_entropy(x, three)),
      "heddle::cross_entropy: the targets are not one class a row: (3) for rows of (6, 40); (N, C) "
      "and (N) are expected",
      shape_error);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(mse_loss(x, leaf<2>({6, 1}))),
      "heddle::mse_loss: the extents differ: (6, 40) and (6, 1); both are expected "
      "to be the same",
      shape_error);
  const variable loss = cross_entropy(x, tensor<std::int64_t, 1>{0, 1, 2, 3, 4, 40});
  CHECK(std::isnan(loss.item()));
}
