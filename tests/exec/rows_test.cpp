// SPDX-License-Identifier: BSD-3-Clause
// Rows that go through a nest's passes together, and what of them goes through buffers: against
// loops in double.
#include <cmath>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/autograd/grad.hpp>
#include <heddle/autograd/record.hpp>
#include <heddle/exec/host/nontemporal.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/tensor/random.hpp>

namespace {

using namespace heddle;

/// The smallest output that is written past the caches, for as long as it lives.
class past_caches {
 public:
  explicit past_caches(std::int64_t bytes) : before_(exec::host::nontemporal_bytes()) {
    exec::host::nontemporal_bytes() = bytes;
  }
  past_caches(const past_caches&) = delete;
  past_caches& operator=(const past_caches&) = delete;
  ~past_caches() { exec::host::nontemporal_bytes() = before_; }

 private:
  std::int64_t before_;
};

using rows = std::vector<double>;

template <int Rank>
rows values_of(const tensor<float, Rank>& t) {
  rows values;
  for (const float v : t) values.push_back(static_cast<double>(v));
  return values;
}

/// softmax and the gradient of Σ seed · softmax, a row at a time.
void softmax_of(const rows& x, const rows& seed, std::int64_t columns, rows& y, rows& dx) {
  const auto n = static_cast<std::size_t>(columns);
  y.assign(x.size(), 0);
  dx.assign(x.size(), 0);
  for (std::size_t first = 0; first < x.size(); first += n) {
    double sum = 0, weighted = 0;
    for (std::size_t j = first; j < first + n; ++j) sum += y[j] = std::exp(x[j]);
    for (std::size_t j = first; j < first + n; ++j) weighted += (y[j] /= sum) * seed[j];
    for (std::size_t j = first; j < first + n; ++j) dx[j] = y[j] * (seed[j] - weighted);
  }
}

template <int Rank>
double worst(const tensor<float, Rank>& got, const rows& wanted, double scale = 1) {
  double most = 0;
  std::size_t i = 0;
  for (const float v : got) {
    most = std::fmax(most, std::fabs(static_cast<double>(v) - wanted[i++] * scale));
  }
  REQUIRE(i == wanted.size());
  return most;
}

void check_softmax(const tensor<float, 2>& given, const tensor<float, 2>& seed) {
  CAPTURE(given.extents()[0]);
  CAPTURE(given.extents()[1]);
  rows y, dx;
  softmax_of(values_of(given), values_of(seed), given.extents()[1], y, dx);
  const variable<float, 2> x(given);
  const variable<float, 2> result = softmax<-1>(x);
  CHECK(worst(result.value(), y) < 1e-6);
  result.backward(seed, {.retain_graph = true});
  CHECK(worst(x.grad(), dx) < 1e-6);
  result.backward(seed);  // adds to what is there
  CHECK(worst(x.grad(), dx, 2) < 2e-6);
}

constexpr std::int64_t shapes[][2] = {{1, 1},    {700, 1},  {3, 10},   {300, 31},  {257, 32},
                                      {65, 33},  {41, 100}, {1, 128},  {300, 128}, {7, 513},
                                      {3, 2048}, {5, 4099}, {2, 40001}};

}  // namespace

TEST_CASE("softmax and its gradient, rows of many lengths") {
  generator from(3);
  for (const auto& s : shapes) {
    check_softmax(randn<float, 2>({s[0], s[1]}, from), randn<float, 2>({s[0], s[1]}, from));
  }
}

TEST_CASE("the same where all outputs are written past the caches") {
  const past_caches all(0);
  generator from(4);
  for (const auto& s : shapes) {
    check_softmax(randn<float, 2>({s[0], s[1]}, from), randn<float, 2>({s[0], s[1]}, from));
  }
}

TEST_CASE("the same where rows lie side by side, or with gaps") {
  generator from(5);
  for (const auto& s : shapes) {
    if (s[0] * s[1] > 50000) continue;
    check_softmax(randn<float, 2>({s[1], s[0]}, from).transpose(),
                  randn<float, 2>({s[0], s[1]}, from));
    check_softmax(randn<float, 2>({s[0], 3 * s[1]}, from)(all(), slice(1, 3 * s[1], 3)),
                  randn<float, 2>({s[0], s[1]}, from));
  }
}

TEST_CASE("layer norm: gradients of what all rows share, beside that of the rows") {
  generator from(6);
  for (const auto& s : shapes) {
    if (s[1] < 10) continue;
    CAPTURE(s[0]);
    CAPTURE(s[1]);
    const auto n = static_cast<std::size_t>(s[1]);
    const auto count = static_cast<double>(s[1]);
    const tensor<float, 2> seed = randn<float, 2>({s[0], s[1]}, from);
    const variable<float, 2> x(randn<float, 2>({s[0], s[1]}, from));
    const variable<float, 1> gamma(randn<float, 1>({s[1]}, from));
    const variable<float, 1> beta(randn<float, 1>({s[1]}, from));
    variable<float, 2>(layer_norm(x, gamma, beta)).backward(seed);
    const rows xs = values_of(x.value()), g = values_of(seed), scale = values_of(gamma.value());
    rows dx(xs.size()), dgamma(n, 0), dbeta(n, 0);
    for (std::size_t first = 0; first < xs.size(); first += n) {
      double mean = 0, variance = 0, sum = 0, weighted = 0;
      for (std::size_t j = 0; j < n; ++j) mean += xs[first + j] / count;
      for (std::size_t j = 0; j < n; ++j) {
        variance += (xs[first + j] - mean) * (xs[first + j] - mean) / count;
      }
      const double inverse = 1 / std::sqrt(variance + 1e-5);
      for (std::size_t j = 0; j < n; ++j) {
        const double normal = (xs[first + j] - mean) * inverse, h = g[first + j] * scale[j];
        sum += h / count;
        weighted += h * normal / count;
        dgamma[j] += g[first + j] * normal;
        dbeta[j] += g[first + j];
      }
      for (std::size_t j = 0; j < n; ++j) {
        const double normal = (xs[first + j] - mean) * inverse;
        dx[first + j] = inverse * (g[first + j] * scale[j] - sum - normal * weighted);
      }
    }
    CHECK(worst(x.grad(), dx) < 1e-4);
    CHECK(worst(gamma.grad(), dgamma) < 1e-3);
    CHECK(worst(beta.grad(), dbeta) < 1e-3);
  }
}

TEST_CASE("rows that span several loops, folded and side by side") {
  generator from(7);
  constexpr std::int64_t forms[][3] = {{2, 3, 49}, {1500, 3, 2}, {3, 40, 33}, {70, 2, 64}};
  for (const auto& f : forms) {
    CAPTURE(f[0]);
    CAPTURE(f[2]);
    const tensor<float, 3> x = randn<float, 3>({f[0], f[1], f[2]}, from);
    rows sums(static_cast<std::size_t>(f[1]), 0), columns(static_cast<std::size_t>(f[1] * f[2]), 0);
    std::size_t at = 0;
    for (const float v : x) {
      const auto channel = at / static_cast<std::size_t>(f[2]) % static_cast<std::size_t>(f[1]);
      sums[channel] += static_cast<double>(v);
      columns[at++ % columns.size()] += static_cast<double>(v);
    }
    const tensor<float, 1> over_both = sum<0, 2>(x);
    CHECK(worst(over_both, sums) < 2e-3);
    const tensor<float, 2> over_first = sum<0>(x);
    CHECK(worst(over_first, columns) < 1e-3);
    // normalised by the row's own sum: two passes over the same rows
    const tensor<float, 3> centred = x - sum<0, 2>(x, keepdim);
    rows wanted;
    at = 0;
    for (const float v : x) {
      const auto channel = at++ / static_cast<std::size_t>(f[2]) % static_cast<std::size_t>(f[1]);
      wanted.push_back(static_cast<double>(v) - sums[channel]);
    }
    CHECK(worst(centred, wanted) < 2e-3);
  }
}

TEST_CASE("a column of a wider tensor is written past the caches as any other") {
  const past_caches all(0);
  const tensor<float, 2> wide = zeros<float, 2>({40, 3});
  const tensor<float, 2> from = ones<float, 2>({40, 1});
  assign(wide(heddle::all(), slice(1, 2)), from * 3);
  for (std::int64_t i = 0; i < 40; ++i) {
    CHECK(wide(i, 0) == 0);
    CHECK(wide(i, 1) == 3);
    CHECK(wide(i, 2) == 0);
  }
}

TEST_CASE("an extremum's gradient finds its elements, however its operand is computed") {
  generator from(8);
  const variable<float, 2> x(randn<float, 2>({200, 50}, from));
  const tensor<float, 2> y = randn<float, 2>({200, 50}, from);
  const auto all_rows_have_gradients = [&] {
    for (std::int64_t i = 0; i < 200; ++i) {
      double most = 0;
      for (std::int64_t j = 0; j < 50; ++j) {
        most = std::fmax(most, std::fabs(static_cast<double>(x.grad()(i, j))));
      }
      if (most == 0) return false;
    }
    return true;
  };
  variable<float, 0>(sum(amax<-1>((x / 0.7f) * y))).backward();
  CHECK(all_rows_have_gradients());
  x.zero_grad();
  constexpr auto normal_maximum = fused([](auto v, auto w) {
    const auto centred = v - mean<-1>(v, keepdim);
    const auto deviation = sqrt(mean<-1>(centred * centred, keepdim) + 1e-5);
    return amax<-1>(centred / deviation * w);
  });
  variable<float, 0>(sum(normal_maximum(x, y))).backward();
  CHECK(all_rows_have_gradients());
}

TEST_CASE("without rows, the gradient of a mean over them is 0") {
  const variable<float, 1> w(ones<float, 1>({3}));
  const tensor<float, 2> none = zeros<float, 2>({0, 3});
  variable<float, 0>(mean(none * w)).backward();
  for (const float g : w.grad()) CHECK(g == 0);
}

TEST_CASE(
    "what is kept of rows: a derivative of softmax without powers, of cross entropy in one pass") {
  using softmax_statement = exec::statement<decltype(softmax<-1>(variable<float, 2>{}))>;
  using derivative = detail::derivative_of<softmax_statement>;
  CHECK(derivative::kept == 0);  // the result is enough: y (g - Σ g y)
  CHECK(derivative::program::node_count == 7);
  for (const graph::node& n : graph::thaw(derivative::program{}).nodes) CHECK(n.code != op::exp);

  using loss_statement =
      exec::statement<decltype(cross_entropy(variable<float, 2>{}, tensor<std::int64_t, 1>{}))>;
  using loss_derivative = detail::derivative_of<loss_statement>;
  CHECK(loss_derivative::kept == 2);
  CHECK(exec::plan_of<loss_derivative::program>.sizes.passes == 1);
  CHECK(exec::plan_of<loss_statement::program>.sizes.outputs + 2 ==
        exec::plan_of<detail::recorded_statement<loss_statement>::program>.sizes.outputs);
}

TEST_CASE("what is kept of rows of 16-bit floats is what it was computed as") {
  using rows = variable<bfloat16, 2>;
  using vector = variable<bfloat16, 1>;
  using statement = exec::statement<decltype(layer_norm(rows{}, vector{}, vector{}))>;
  using derivative = detail::derivative_of<statement>;
  CHECK(derivative::kept == 2);
  for (const auto& value : derivative::kept_values.values) CHECK(value.type == dtype::f32);
  // the same in 32 bits, of the same numbers
  generator numbers(5);
  const tensor<float, 2> x =
      evaluate(cast<float>(cast<bfloat16>(randn<float, 2>({7, 1000}, numbers) + 3)));
  const tensor<float, 2> seed =
      evaluate(cast<float>(cast<bfloat16>(randn<float, 2>({7, 1000}, numbers))));
  const tensor<float, 1> scale =
      evaluate(cast<float>(cast<bfloat16>(randn<float, 1>({1000}, numbers))));
  const auto gradients = [&](auto one) {
    using T = decltype(one);
    const variable<T, 2> v(tensor<T, 2>(evaluate(cast<T>(x))));
    const variable<T, 1> gamma(tensor<T, 1>(evaluate(cast<T>(scale))));
    const variable<T, 1> beta(tensor<T, 1>(evaluate(cast<T>(scale))));
    const variable<T, 2> y = layer_norm(v, gamma, beta);
    const auto found = grad(y, std::tuple(v, gamma), tensor<T, 2>(evaluate(cast<T>(seed))));
    return std::pair(tensor<float, 2>(evaluate(cast<float>(std::get<0>(found).value()))),
                     tensor<float, 1>(evaluate(cast<float>(std::get<1>(found).value()))));
  };
  const auto narrow = gradients(bfloat16(1));
  const auto wide = gradients(1.0f);
  const auto off = [](const auto& a, const auto& b) {
    return tensor<float, 0>(evaluate(amax(abs(a - b) / (abs(b) + 1e-2)))).item();
  };
  CHECK(off(narrow.first, wide.first) < 1.0 / 128);
  CHECK(off(narrow.second, wide.second) < 1.0 / 128);
}
