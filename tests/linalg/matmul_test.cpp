// SPDX-License-Identifier: BSD-3-Clause
// matmul against a triple loop in double: shapes, strides, batches, dtypes; its errors, launches
// and devices.
#include <cmath>
#include <string>

#include "../support/said.hpp"
#include <doctest/doctest.h>

#include <heddle/linalg/matmul.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/views.hpp>

using namespace heddle;

namespace {

// A small linear congruential generator: integers of -limit to limit.
struct source {
  std::uint64_t state;
  int next(int limit) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<int>((state >> 33) % static_cast<std::uint64_t>(2 * limit + 1)) - limit;
  }
};

template <class T, int Rank>
tensor<T, Rank> random_integers(const extents<Rank>& e, int seed, int limit = 5) {
  tensor<T, Rank> x = empty<T, Rank>(e);
  source s{static_cast<std::uint64_t>(seed)};
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const int value = s.next(limit);
    x.data()[i] =
        static_cast<T>(std::is_same_v<T, std::uint8_t> ? (value < 0 ? -value : value) : value);
  }
  return x;
}

template <class T, int Rank>
tensor<T, Rank> random_reals(const extents<Rank>& e, int seed) {
  tensor<T, Rank> x = empty<T, Rank>(e);
  source s{static_cast<std::uint64_t>(seed)};
  for (std::int64_t i = 0; i < x.size(); ++i) {
    x.data()[i] = static_cast<T>(static_cast<double>(s.next(1 << 20)) / (1 << 20));
  }
  return x;
}

// The element of a matrix of a batch, with broadcast batch axes: index has the result's batch axes.
template <class T, int Rank>
double at(const tensor<T, Rank>& x, const std::int64_t* index, int batch_rank, std::int64_t row,
          std::int64_t column) {
  std::int64_t offset = row * x.strides()[Rank - 2] + column * x.strides()[Rank - 1];
  for (int i = 0; i < Rank - 2; ++i) {
    const std::int64_t position = index[batch_rank - (Rank - 2) + i];
    offset += (x.extents()[i] == 1 ? 0 : position) * x.strides()[i];
  }
  return static_cast<double>(x.data()[offset]);
}

// Checks a product of ranks of 2 and more, with an error of at most `tolerance` times the sum of
// the magnitudes.
template <class T, int A, int B>
void check_product(const tensor<T, A>& a, const tensor<T, B>& b, double tolerance) {
  constexpr int rank = A > B ? A : B;
  const tensor<T, rank> c = matmul(a, b);
  REQUIRE(c.is_contiguous());
  const std::int64_t m = c.extent(-2);
  const std::int64_t n = c.extent(-1);
  REQUIRE(m == a.extent(-2));
  REQUIRE(n == b.extent(-1));
  int wrong = 0;
  for (std::int64_t i = 0; i < c.size(); ++i) {
    std::int64_t index[rank + 1] = {};
    std::int64_t left = i / (m * n);
    for (int axis = rank - 3; axis >= 0; --axis) {
      index[axis] = left % c.extents()[axis];
      left /= c.extents()[axis];
    }
    const std::int64_t row = i / n % m;
    const std::int64_t column = i % n;
    double sum = 0;
    double magnitude = 0;
    for (std::int64_t k = 0; k < a.extent(-1); ++k) {
      const double term = at(a, index, rank - 2, row, k) * at(b, index, rank - 2, k, column);
      sum += term;
      magnitude += std::fabs(term);
    }
    const double got = static_cast<double>(c.data()[i]);
    if (!(std::fabs(got - sum) <= tolerance * magnitude)) ++wrong;
  }
  CHECK_MESSAGE(wrong == 0, to_string(a.extents()), " x ", to_string(b.extents()), ": ", wrong,
                " of ", c.size(), " elements are wrong");
}

}  // namespace

TEST_CASE_TEMPLATE("products of small integers are exact in every dtype", T, double, float,
                   bfloat16, float16, std::int64_t, std::int32_t, std::uint8_t) {
  // bf16 and u8 hold the sums exactly up to 256 and 255.
  const int limit = sizeof(T) <= 2 ? 1 : 5;
  const std::int64_t shapes[][3] = {{1, 1, 1},     {2, 3, 4},   {1, 100, 7},  {5, 100, 1},
                                    {7, 1, 9},     {1, 1, 50},  {33, 65, 34}, {64, 64, 64},
                                    {67, 129, 70}, {4, 128, 64}};
  for (const auto& [m, k, n] : shapes) {
    const auto a = random_integers<T, 2>({m, k}, 1, limit);
    const auto b = random_integers<T, 2>({k, n}, 2, limit);
    const auto at = random_integers<T, 2>({k, m}, 3, limit);
    const auto bt = random_integers<T, 2>({n, k}, 4, limit);
    check_product(a, b, 0);
    check_product(at.transpose(), b, 0);
    check_product(a, bt.transpose(), 0);
    check_product(at.transpose(), bt.transpose(), 0);
  }
}

TEST_CASE("sums deeper than one panel and wider than one task are exact") {
  check_product(random_integers<double, 2>({130, 700}, 1), random_integers<double, 2>({700, 40}, 2),
                0);
  check_product(random_integers<std::int32_t, 2>({3, 1025}, 1),
                random_integers<std::int32_t, 2>({1025, 33}, 2), 0);
  check_product(random_integers<float, 2>({300, 513}, 1), random_integers<float, 2>({513, 200}, 2),
                0);
}

TEST_CASE_TEMPLATE("products of reals are within rounding of the exact ones", T, double, float,
                   bfloat16, float16) {
  // Inputs are exact; f32 sums err by at most K roundings, and 16-bit results by one more of their
  // own.
  const double unit = sizeof(T) == 8 ? 1e-16 : 6e-8;
  const double tolerance = 200 * unit + (sizeof(T) == 2 ? epsilon_of(dtype_of<T>) : 0);
  check_product(random_reals<T, 2>({37, 200}, 1), random_reals<T, 2>({200, 45}, 2), tolerance);
  check_product(random_reals<T, 2>({200, 37}, 1).transpose(),
                random_reals<T, 2>({45, 200}, 2).transpose(), tolerance);
}

TEST_CASE_TEMPLATE("operands of any strides are multiplied as they are", T, float, double,
                   bfloat16) {
  const auto big = random_integers<T, 2>({24, 30}, 1, 1);
  const auto other = random_integers<T, 2>({40, 36}, 2, 1);
  // Rows apart, columns apart, both, and their transposes.
  check_product(big.template slice<0>(0, 20, 2), other.template slice<0>(5, 35), 0);
  check_product(big.template slice<1>(0, 30, 3), other.template slice<0>(0, 40, 4), 0);
  check_product(big.template slice<0>(0, 24, 5).template slice<1>(1, 29, 7),
                other.template slice<0>(0, 40, 10).template slice<1>(0, 36, 5), 0);
  check_product(big.template slice<1>(0, 30, 3).transpose(),
                other.template slice<0>(0, 24).template slice<1>(0, 36, 2), 0);
  // One repeated row, one repeated column.
  check_product(expand(big.template slice<0>(3, 4), extents<2>{6, 30}),
                other.template slice<0>(0, 30), 0);
  check_product(expand(big.template slice<1>(3, 4), extents<2>{24, 40}), other, 0);
}

TEST_CASE_TEMPLATE("leading axes are batches, broadcast as in torch.matmul", T, float, double,
                   bfloat16) {
  const auto make = [](auto e, int seed) {
    return random_integers<T, decltype(e)::rank()>(e, seed, 1);
  };
  check_product(make(extents<3>{3, 4, 5}, 1), make(extents<3>{3, 5, 6}, 2), 0);
  check_product(make(extents<3>{3, 4, 5}, 1), make(extents<2>{5, 6}, 2), 0);
  check_product(make(extents<2>{4, 5}, 1), make(extents<3>{3, 5, 6}, 2), 0);
  check_product(make(extents<3>{1, 4, 5}, 1), make(extents<3>{3, 5, 6}, 2), 0);
  check_product(make(extents<3>{3, 4, 5}, 1), make(extents<3>{1, 5, 6}, 2), 0);
  check_product(make(extents<4>{2, 3, 4, 5}, 1), make(extents<4>{2, 3, 5, 6}, 2), 0);
  check_product(make(extents<4>{2, 1, 4, 5}, 1), make(extents<4>{1, 3, 5, 6}, 2), 0);
  check_product(make(extents<4>{2, 3, 4, 5}, 1), make(extents<3>{3, 5, 6}, 2), 0);
  check_product(make(extents<4>{2, 3, 4, 5}, 1), make(extents<2>{5, 6}, 2), 0);
  check_product(make(extents<4>{2, 3, 1, 5}, 1), make(extents<2>{5, 6}, 2), 0);
  // Attention: (B, T, H, D) seen as (B, H, T, D), and keys transposed.
  const auto q = permute<0, 2, 1, 3>(make(extents<4>{2, 6, 3, 8}, 1));
  const auto k = permute<0, 2, 1, 3>(make(extents<4>{2, 7, 3, 8}, 2));
  check_product(q, k.transpose(), 0);
  check_product(make(extents<3>{3, 5, 4}, 1).transpose(), make(extents<3>{3, 6, 5}, 2).transpose(),
                0);
  // Enough of them for more than one thread.
  check_product(make(extents<3>{40, 33, 64}, 1), make(extents<3>{40, 64, 31}, 2), 0);
}

TEST_CASE("a vector is a row on the left and a column on the right") {
  const tensor<float, 2> m{{1, 2, 3}, {4, 5, 6}};
  const tensor<float, 1> x{1, 10, 100};
  const tensor<float, 1> y{1, 10};
  const tensor<float, 1> mx = matmul(m, x);
  CHECK(mx.extents() == extents<1>{2});
  CHECK(mx(0) == 321);
  CHECK(mx(1) == 654);
  const tensor<float, 1> ym = matmul(y, m);
  CHECK(ym.extents() == extents<1>{3});
  CHECK(ym(0) == 41);
  CHECK(ym(2) == 63);
  const tensor<float, 0> xx = matmul(x, x);
  CHECK(xx.item() == 10101);
  const auto batch = random_integers<float, 3>({4, 2, 3}, 1);
  const tensor<float, 2> bx = matmul(batch, x);
  const tensor<float, 2> yb = matmul(y, batch);
  REQUIRE(bx.extents() == extents<2>{4, 2});
  REQUIRE(yb.extents() == extents<2>{4, 3});
  for (int i = 0; i < 4; ++i) {
    CHECK(bx(i, 1) == batch(i, 1, 0) + 10 * batch(i, 1, 1) + 100 * batch(i, 1, 2));
    CHECK(yb(i, 2) == batch(i, 0, 2) + 10 * batch(i, 1, 2));
  }
  // A vector with a stride.
  const auto column = random_integers<float, 2>({3, 5}, 2);
  const tensor<float, 1> strided = column(all, 2);
  const tensor<float, 1> ms = matmul(m, strided);
  CHECK(ms(0) == column(0, 2) + 2 * column(1, 2) + 3 * column(2, 2));
}

TEST_CASE_TEMPLATE("products over nothing are 0, and products of nothing are empty", T, float,
                   double, bfloat16) {
  const tensor<T, 2> zero = matmul(zeros<T, 2>({2, 0}), zeros<T, 2>({0, 3}));
  REQUIRE(zero.extents() == extents<2>{2, 3});
  for (const T value : zero) CHECK(static_cast<float>(value) == 0);
  const tensor<T, 2> rows = matmul(zeros<T, 2>({0, 4}), zeros<T, 2>({4, 3}));
  CHECK(rows.extents() == extents<2>{0, 3});
  const tensor<T, 2> columns = matmul(zeros<T, 2>({2, 4}), zeros<T, 2>({4, 0}));
  CHECK(columns.extents() == extents<2>{2, 0});
  const tensor<T, 3> batches = matmul(zeros<T, 3>({0, 2, 4}), zeros<T, 2>({4, 3}));
  CHECK(batches.extents() == extents<3>{0, 2, 3});
}

TEST_CASE("integers wrap around") {
  const tensor<std::uint8_t, 1> a{200, 100};
  const tensor<std::uint8_t, 0> c = matmul(a, a);
  CHECK(c.item() == (200 * 200 + 100 * 100) % 256);
  const tensor<std::int64_t, 1> big{std::int64_t{1} << 62, 3};
  const tensor<std::int64_t, 1> four{4, 5};
  const tensor<std::int64_t, 0> wrapped = matmul(big, four);
  CHECK(wrapped.item() == 15);
}

TEST_CASE("extents that do not fit are named") {
  const auto a = zeros<float, 2>({32, 784});
  CHECK(support::said<error>([&] {
          tensor h = matmul(a, zeros<float, 2>({512, 10}));
        }) == "heddle::matmul: inner extents differ: a is (32, 784), b is (512, 10)");
  CHECK(
      support::said<error>([&] {
        tensor h = matmul(zeros<float, 3>({2, 3, 4}), zeros<float, 3>({5, 4, 6}));
      }) ==
      "heddle::matmul: batch extents cannot be broadcast: a is (2, 3, 4), b is (5, 4, 6); aligned "
      "from the right and without the last two axes, they must be equal or 1");
  CHECK_THROWS_AS((tensor<float, 1>(matmul(a, zeros<float, 1>({10})))), shape_error);
  CHECK(support::said<error>([&] {
          tensor h = matmul(a, zeros<float, 2>({784, 10}, cpu(1)));
        }) ==
        "heddle::matmul: the operands are on different devices: cpu and cpu:1; move one with "
        "to(device)");
  CHECK_THROWS_AS((tensor<float, 2>(matmul(a, zeros<float, 2>({784, 10}, cpu(1))))), device_error);
  CHECK_THROWS_AS((tensor<float, 2>(matmul(a, tensor<float, 2>()))), error);
}

TEST_CASE("a product is one launch, and relu of a product plus a bias two") {
  const auto x = random_integers<float, 2>({8, 20}, 1);
  const auto w = random_integers<float, 2>({20, 6}, 2);
  const auto bias = random_integers<float, 1>({6}, 3);
  tensor<float, 2> y, z;
  {
    profiler p;
    y = matmul(x, w);
    REQUIRE(p.launches().size() == 1);
    const launch_record one = p.launches()[0];
    CHECK(std::string(one.name) == "matmul");
    CHECK(one.kernels == 1);
    CHECK(one.bytes == 4 * (8 * 20 + 20 * 6 + 8 * 6));
    CHECK(one.operations == 2 * 8 * 20 * 6);
    CHECK(one.device == cpu());
  }
  {
    profiler p;
    z = maximum(matmul(x, w) + bias, 0);
    CHECK(p.launches().size() == 2);
    CHECK(p.kernels() == 2);
  }
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 6; ++j) CHECK(z(i, j) == std::fmax(y(i, j) + bias(j), 0.0f));
  }
  {
    profiler p;
    const tensor<float, 2> t = matmul(w.transpose(), x.transpose());
    CHECK(p.kernels() == 1);
  }
}

TEST_CASE("an expression that holds a product is kept, moved and evaluated") {
  const tensor<float, 2> a{{1, 2}, {3, 4}};
  auto e = abs(matmul(a, a) - 10);
  const tensor<float, 2> first = e;
  auto moved = std::move(e);
  const tensor<float, 2> second = evaluate(moved);
  for (const auto& y : {first, second}) {
    CHECK(y(0, 0) == 3);
    CHECK(y(1, 1) == 12);
  }
}

TEST_CASE("operands may be expressions, products among them") {
  const tensor<double, 2> a{{1, -2}, {3, 4}};
  const tensor<double, 2> h = matmul(maximum(a, 0) * 2, matmul(a, a.transpose()));
  // relu(a) * 2 = {{2, 0}, {6, 8}}, a aᵀ = {{5, -5}, {-5, 25}}
  CHECK(h(0, 0) == 10);
  CHECK(h(0, 1) == -10);
  CHECK(h(1, 0) == -10);
  CHECK(h(1, 1) == 170);
  const tensor<double, 1> row = matmul(a(1, all), a);
  CHECK(row(0) == 15);
  CHECK(row(1) == 10);
}

TEST_CASE("transposed(x) is x.transpose()") {
  const auto x = random_integers<float, 2>({4, 5}, 1);
  const auto w = random_integers<float, 2>({6, 5}, 2);
  const tensor<float, 2> y = matmul(x, transposed(w));
  const tensor<float, 2> z = matmul(x, w.transpose());
  REQUIRE(y.extents() == z.extents());
  for (std::int64_t i = 0; i < y.size(); ++i) CHECK(y.data()[i] == z.data()[i]);
  const tensor<float, 2> back = matmul(transposed(z), x);
  CHECK(back.extents() == extents<2>{6, 5});
}

TEST_CASE("a queued device computes on its stream") {
  const auto a = random_integers<float, 2>({30, 40}, 1);
  const auto b = random_integers<float, 2>({40, 20}, 2);
  const tensor<float, 2> here = matmul(a, b);
  const tensor<double, 2> wide = matmul(evaluate(cast<double>(a)), evaluate(cast<double>(b)));
  tensor<float, 2> there, strided;
  {
    profiler p;
    // The operands are dropped while the work may still be queued.
    there = matmul(a.to(cpu(1)), b.to(cpu(1)));
    strided = matmul(a.to(cpu(1)).slice<1>(0, 40, 2), b.to(cpu(1)).slice<0>(0, 20));
    CHECK(p.launches()[0].device == cpu(1));
  }
  CHECK(there.device() == cpu(1));
  std::int64_t i = 0;
  for (const float value : there) CHECK(value == here.data()[i++]);
  i = 0;
  for (const double value : wide) CHECK(static_cast<float>(value) == here.data()[i++]);
  const tensor<float, 2> expected = matmul(a.slice<1>(0, 40, 2), b.slice<0>(0, 20));
  i = 0;
  for (const float value : strided) CHECK(value == expected.data()[i++]);
}

TEST_CASE("on meta there are extents and no work") {
  profiler p;
  const tensor<float, 3> y =
      matmul(empty<float, 3>({2, 3000, 4000}, meta()), empty<float, 2>({4000, 5000}, meta()));
  CHECK(y.extents() == extents<3>{2, 3000, 5000});
  CHECK(y.device() == meta());
  CHECK(y.data() == nullptr);
  CHECK(p.kernels() == 0);
}

TEST_CASE("batches of rows times one matrix are one product") {
  index_array<3> result;
  const auto a = zeros<float, 3>({4, 5, 6});
  const auto b = zeros<float, 2>({6, 7});
  const tensor<float, 3> y = matmul(a, b);
  CHECK(y.extents() == extents<3>{4, 5, 7});
  const linalg::product p = linalg::detail::make_product(
      linalg::detail::shape_of(a), linalg::detail::shape_of(b), result.data());
  CHECK(p.batches() == 1);
  CHECK(p.m == 20);
}

TEST_CASE("one row or one column: a vector times a matrix that lies either way") {
  for (const std::int64_t k : {1, 2, 7, 8, 15, 16, 17, 33, 100, 784}) {
    for (const std::int64_t n : {1, 2, 3, 4, 5, 8, 10, 31, 32, 33, 100}) {
      CAPTURE(k);
      CAPTURE(n);
      // small integers: sums of any order are exact
      const auto x = random_integers<float, 2>({1, k}, 1);
      const auto column = random_integers<float, 2>({k, 2}, 2);
      const auto by_lines = random_integers<float, 2>({k, n}, 3);
      const auto by_results = random_integers<float, 2>({n, k}, 4);
      const tensor<float, 2> lines = matmul(x, by_lines);
      const tensor<float, 2> dots = matmul(x, by_results.transpose());
      const tensor<float, 2> of_column = matmul(by_results, x.transpose());
      const tensor<float, 2> strided = matmul(by_results, column(all, slice(0, 1)));
      for (std::int64_t j = 0; j < n; ++j) {
        double line = 0, dot = 0, apart = 0;
        for (std::int64_t i = 0; i < k; ++i) {
          line += static_cast<double>(x(0, i)) * by_lines(i, j);
          dot += static_cast<double>(x(0, i)) * by_results(j, i);
          apart += static_cast<double>(column(i, 0)) * by_results(j, i);
        }
        REQUIRE(lines(0, j) == line);
        REQUIRE(dots(0, j) == dot);
        REQUIRE(of_column(j, 0) == dot);
        REQUIRE(strided(j, 0) == apart);
      }
    }
  }
}
