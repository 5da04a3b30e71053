// SPDX-License-Identifier: BSD-3-Clause
// Statements that hold a product, as one call of the library: values and gradients as those of the
// host, and how many launches they take.
#include <cmath>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "cuda_case.hpp"
#include <doctest/doctest.h>

#include <heddle/heddle.hpp>

namespace {

using namespace heddle;

template <class T, int Rank>
tensor<T, Rank> drawn(extents<Rank> e, unsigned seed) {
  tensor<T, Rank> x = tensor<T, Rank>::allocate(e, cpu());
  for (T& v : x) {
    seed = seed * 1664525u + 1013904223u;
    v = static_cast<T>(static_cast<double>(seed >> 8) / 8388608.0 - 1.0);
  }
  return x;
}

template <class T, int Rank>
double distance(const tensor<T, Rank>& a, const tensor<T, Rank>& b) {
  if (a.extents() != b.extents()) return INFINITY;
  const tensor<T, Rank> x = a.to(cpu()).contiguous(), y = b.to(cpu()).contiguous();
  double largest = 0;
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const double apart =
        std::fabs(static_cast<double>(x.data()[i]) - static_cast<double>(y.data()[i]));
    largest = apart >= largest ? apart : apart < largest ? largest : INFINITY;
  }
  return largest;
}

/// Kernels of a run, and how many of its products had an epilogue.
struct counts {
  int kernels = 0;
  int products = 0;
  int merged = 0;
};
template <class F>
counts launches_of(F f) {
  profiler p;
  f();
  counts c;
  for (const launch_record& each : p.launches()) {
    c.kernels += each.kernels;
    const std::string name = each.name;
    c.products += name.rfind("matmul", 0) == 0;
    c.merged += name == "matmul with epilogue";
  }
  return c;
}

// Which epilogues a library has is known of the stand-in alone, and how it rounds them.
#if defined(HEDDLE_TEST_ON_GPU)
constexpr bool library_is_known = false;
constexpr double more = 20;
#else
constexpr bool library_is_known = true;
constexpr double more = 1;
#endif

// The statements: each is given a product's operands and a bias.
struct bias_alone {
  auto operator()(const auto& x, const auto& w, const auto& b) const {
    return matmul(x, transposed(w)) + b;
  }
};
struct bias_before {
  auto operator()(const auto& x, const auto& w, const auto& b) const {
    return b + matmul(x, transposed(w));
  }
};
struct relu_of {
  auto operator()(const auto& x, const auto& w, const auto& b) const {
    return relu(matmul(x, transposed(w)) + b);
  }
};
struct gelu_of {
  auto operator()(const auto& x, const auto& w, const auto& b) const {
    return gelu<approximate::tanh>(matmul(x, transposed(w)) + b);
  }
};

template <class Statement>
constexpr bool activates = std::is_same_v<Statement, relu_of> || std::is_same_v<Statement, gelu_of>;

template <class T>
struct layer {
  variable<T, 2> w;
  variable<T, 1> b;
  layer(std::int64_t in, std::int64_t out, unsigned seed, device where)
      : w(drawn<T, 2>({out, in}, seed).to(where)), b(drawn<T, 1>({out}, seed + 1).to(where)) {}
};

/// Two layers of a statement each, and what a pass collects.
template <class First, class Second, class T, int Rank>
struct network {
  static constexpr std::int64_t in = 12, hidden = 20, out = 9;
  layer<T> one, two;
  variable<T, Rank> x;
  device where;

  network(extents<Rank> rows, device on)
      : one(in, hidden, 1, on),
        two(hidden, out, 5, on),
        x(drawn<T, Rank>(rows, 9).to(on)),
        where(on) {}
  variable<T, Rank> forward() const {
    const variable<T, Rank> h = First{}(x, one.w, one.b);
    return Second{}(h, two.w, two.b);
  }
  void backward(const variable<T, Rank>& y) const {
    y.backward(drawn<T, Rank>(y.extents(), 77).to(where));
  }
  std::vector<double> gradients_apart(const network& other) const {
    return {distance(one.w.grad(), other.one.w.grad()), distance(one.b.grad(), other.one.b.grad()),
            distance(two.w.grad(), other.two.w.grad()), distance(two.b.grad(), other.two.b.grad()),
            distance(x.grad(), other.x.grad())};
  }
  /// The largest value of each gradient.
  std::vector<double> largest_gradients() const {
    const auto of = [](const auto& g) { return distance(g, evaluate(g - g)); };
    return {of(one.w.grad()), of(one.b.grad()), of(two.w.grad()), of(two.b.grad()), of(x.grad())};
  }
};

template <class First, class Second, class T, int Rank>
void check_network(extents<Rank> rows, double tolerance, bool merges) {
  network<First, Second, T, Rank> here(rows, cpu()), there(rows, cuda(0));
  variable<T, Rank> y;
  const counts forward = launches_of([&] { y = there.forward(); });
  CHECK(forward.products == 2);
  if (library_is_known) {
    CHECK(forward.merged == (merges ? 2 : 0));
    CHECK(forward.kernels == (merges ? 2 : 4));
  }
  const variable<T, Rank> expected = here.forward();
  CHECK(distance(y.value(), expected.value()) < more * tolerance);
  const counts backward = launches_of([&] { there.backward(y); });
  here.backward(expected);
  CHECK(backward.products == 4);
  // an activation of the first layer is merged into the second's product, a bias alone into its own
  const int possible = 1 + (activates<Second> ? 0 : 1);
  if (library_is_known) CHECK(backward.merged == (merges ? possible : 0));
  // of an activation that comes last the derivative is a kernel of its own
  if (library_is_known && merges) CHECK(backward.kernels == 4 + (activates<Second> ? 1 : 0));
  for (const double apart : there.gradients_apart(here)) CHECK(apart < more * tolerance);
}

}  // namespace

TEST_CASE(
    "a product, its bias and an activation are one launch, and backward's products finish them") {
  const support::cuda_case clean;
  check_network<gelu_of, bias_alone, float>(extents<2>{7, 12}, 2e-5, true);
  check_network<bias_before, relu_of, float>(extents<2>{33, 12}, 1e-4, true);
  check_network<relu_of, bias_alone, float>(extents<3>{3, 5, 12}, 1e-4, true);
}

TEST_CASE("where the library has no epilogue the statement is two launches") {
  const support::cuda_case clean;
  check_network<relu_of, bias_alone, double>(extents<2>{7, 12}, 1e-12, false);
}

TEST_CASE("16-bit products with an epilogue are rounded once") {
  const support::cuda_case clean;
  check_network<relu_of, bias_alone, bfloat16>(extents<2>{7, 12}, 0.25, true);
}

TEST_CASE("tensors alone take an epilogue, and what does not fit is computed as ever") {
  const support::cuda_case clean;
  const auto x = drawn<float, 2>({6, 5}, 1), w = drawn<float, 2>({5, 4}, 2);
  const auto b = drawn<float, 1>({4}, 3);
  const auto dx = x.to(cuda(0)), dw = w.to(cuda(0));
  const auto db = b.to(cuda(0));
  const auto check = [&](auto statement, int kernels) {
    tensor<float, 2> found;
    const counts c = launches_of([&] { found = evaluate(statement(dx, dw, db)); });
    if (library_is_known) CHECK(c.kernels == kernels);
    CHECK(distance(found, evaluate(statement(x, w, b))) < more * 1e-5);
  };
  check([](auto& x, auto& w, auto& b) { return relu(matmul(x, w) + b); }, 1);
  const std::string says = "one library call computes it";
  CHECK(explain(relu(matmul(dx, dw) + db)).find(says) != std::string::npos);
  CHECK(explain(matmul(dx, dw) * db).find(says) == std::string::npos);
  check([](auto& x, auto& w, auto&) { return relu(matmul(x, w)); }, 1);
  check([](auto& x, auto& w, auto&) { return gelu<approximate::tanh>(matmul(x, w)); }, 1);
  check([](auto& x, auto& w, auto& b) { return gelu(matmul(x, w) + b); }, 2);
  check([](auto& x, auto& w, auto& b) { return matmul(x, w) * b; }, 2);
  // of a bias: one element for all, every second element of another
  check([](auto& x, auto& w, auto& b) { return matmul(x, w) + b.template slice<0>(0, 1); }, 2);
  const auto wide = drawn<float, 1>({8}, 4);
  const auto every_second = [](const tensor<float, 1>& t) { return t.slice<0>(0, 8, 2); };
  tensor<float, 2> found;
  CHECK(launches_of([&] {
          found = evaluate(matmul(dx, dw) + every_second(wide.to(cuda(0))));
        }).merged == 0);
  CHECK(distance(found, evaluate(matmul(x, w) + every_second(wide))) < more * 1e-5);
  // batches
  const auto many = drawn<float, 3>({2, 6, 5}, 5), matrices = drawn<float, 3>({2, 5, 4}, 6);
  tensor<float, 3> batched;
  CHECK(launches_of([&] {
          batched = evaluate(relu(matmul(many.to(cuda(0)), matrices.to(cuda(0))) + db));
        }).merged == 0);
  CHECK(distance(batched, evaluate(relu(matmul(many, matrices) + b))) < more * 1e-5);
  CHECK_THROWS_AS(static_cast<void>(evaluate(relu(matmul(dx, dx) + db))), shape_error);
  CHECK_THROWS_AS(static_cast<void>(evaluate(relu(matmul(dx, w) + db))), device_error);
  CHECK_THROWS_AS(static_cast<void>(evaluate(relu(matmul(dx, dw) + b))), device_error);
}

TEST_CASE("a result that is used twice, looked at or differentiated twice keeps its own gradient") {
  const support::cuda_case clean;
  network<gelu_of, bias_alone, float, 2> here({7, 12}, cpu()), there({7, 12}, cuda(0));
  const auto twice = [](auto& net) {
    const variable<float, 2> h = gelu_of{}(net.x, net.one.w, net.one.b);
    const variable<float, 2> y = bias_alone{}(h, net.two.w, net.two.b);
    const variable loss = sum(y * y) + sum(h);
    loss.backward();
  };
  twice(here);
  const int merged = launches_of([&] { twice(there); }).merged;
  if (library_is_known) CHECK(merged == 3);  // forward, and the second layer's bias
  for (const double apart : there.gradients_apart(here)) CHECK(apart < more * 1e-4);

  // a pass that stops shows the gradient of the activation, not what is behind it
  const auto at_cut = [](auto& net) {
    const variable<float, 2> h = gelu_of{}(net.x, net.one.w, net.one.b);
    const variable loss = sum(square(variable<float, 2>(bias_alone{}(h, net.two.w, net.two.b))));
    backward_pass pass(loss);
    const tensor<float, 2> g = pass.run_until(h);
    pass.run();
    return g;
  };
  CHECK(distance(at_cut(there), at_cut(here)) < more * 1e-4);

  // retained graphs, and second derivatives
  const auto again = [](auto& net) {
    const variable loss = sum(square(net.forward()));
    loss.backward({.retain_graph = true});
    loss.backward();
    const variable again = sum(square(net.forward()));
    const auto [gx] = grad(again, std::tuple{net.x}, {.create_graph = true});
    variable(sum(square(gx))).backward();
  };
  again(there);
  again(here);
  const std::vector<double> apart = there.gradients_apart(here), largest = here.largest_gradients();
  for (std::size_t i = 0; i < apart.size(); ++i) CHECK(apart[i] < more * 1e-5 * largest[i]);
}

TEST_CASE("frozen operands get no gradient, and writing into what relu gave is noticed") {
  const support::cuda_case clean;
  const layer<float> l(12, 20, 1, cuda(0));
  const tensor<float, 2> x = drawn<float, 2>({7, 12}, 9).to(cuda(0));
  const variable<float, 2> only_bias = relu_of{}(x, l.w.value(), l.b);
  variable(sum(only_bias)).backward();
  CHECK(l.b.grad().defined());
  CHECK_FALSE(l.w.grad().defined());
  const variable<float, 2> only_weight = relu_of{}(x, l.w, l.b.value());
  variable(sum(only_weight)).backward();
  CHECK(l.w.grad().defined());
  const variable<float, 2> y = relu_of{}(x, l.w, l.b);
  tensor<float, 2>(y.value()).zero_();
  CHECK_THROWS_AS(variable(sum(y)).backward(), state_error);
}

TEST_CASE("a result that nothing used has a gradient of zeros on a device, too") {
  const support::cuda_case clean;
  const variable<float, 1> x(drawn<float, 1>({100}, 3).to(cuda(0)));
  const auto [used, unused] = evaluate(square(x), exp(x));
  variable(sum(used)).backward();
  CHECK(distance(x.grad(), evaluate(2.0f * x.value())) < 1e-6);
}
