// SPDX-License-Identifier: BSD-3-Clause
// Statements against plain loops: broadcasting, views, dtypes, sizes, extrema and ties, gathers.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/core/thread_pool.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/views.hpp>

namespace {

using namespace heddle;

/// Distinct multiples of 1/8, of both signs, without a pattern along any axis.
template <class T = float, int Rank>
tensor<T, Rank> numbers(extents<Rank> e, std::uint64_t salt = 0) {
  tensor<T, Rank> x = empty<T, Rank>(e);
  std::uint64_t i = salt * 7919 + 17;
  for (T& v : x) {
    i = i * 6364136223846793005u + 1442695040888963407u;
    v = static_cast<T>(static_cast<float>(static_cast<int>(i >> 40) % 64) * 0.125f);
  }
  return x;
}

/// The element of x at an index of a broadcast result.
template <class T, int Rank, class... I>
double at(const tensor<T, Rank>& x, I... index) {
  const std::int64_t given[] = {index..., 0};
  constexpr int more = static_cast<int>(sizeof...(I)) - Rank;
  std::int64_t place = 0;
  for (int k = 0; k < Rank; ++k) {
    if (x.extents()[k] != 1) place += given[k + more] * x.strides()[k];
  }
  return static_cast<double>(x.data()[place]);
}

/// How many elements of y differ from f(i, j, k), y padded in front to rank 3.
template <class T, int Rank, class F>
int differences(const tensor<T, Rank>& y, F f, double tolerance = 0) {
  std::int64_t n[3] = {1, 1, 1};
  for (int k = 0; k < Rank; ++k) n[3 - Rank + k] = y.extents()[k];
  int wrong = 0;
  auto place = y.begin();
  for (std::int64_t i = 0; i < n[0]; ++i) {
    for (std::int64_t j = 0; j < n[1]; ++j) {
      for (std::int64_t k = 0; k < n[2]; ++k, ++place) {
        const double want = f(i, j, k);
        const double got = static_cast<double>(*place);
        wrong += !(std::fabs(got - want) <= tolerance * std::fabs(want)) ? 1 : 0;
      }
    }
  }
  return wrong;
}

template <class T, int Rank>
bool same_bits(const tensor<T, Rank>& a, const tensor<T, Rank>& b) {
  if (a.extents() != b.extents()) return false;
  return std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(T)) == 0;
}

constexpr std::int64_t sizes[] = {0,  1,  2,  15,  16,  17,  31,   32,   33,
                                  63, 64, 65, 255, 256, 257, 1000, 70001};

}  // namespace

TEST_CASE("an element-wise statement equals a plain loop at every size and stride") {
  for (const std::int64_t n : sizes) {
    CAPTURE(n);
    const tensor<float, 1> a = numbers<float, 1>({n}, 1);
    const tensor<float, 1> b = numbers<float, 1>({n}, 2);
    const tensor<float, 1> wide = numbers<float, 1>({3 * n}, 3);
    const tensor<float, 1> c = wide.slice<0>(0, 3 * n, 3);
    const auto expected = [&](auto, auto, auto k) {
      return std::fmax(at(a, k) * at(b, k) + at(c, k), 0.0) * 2;
    };
    const auto run = [](const auto& x, const auto& y, const auto& z) {
      return evaluate(maximum(x * y + z, 0) * 2);
    };
    CHECK(differences(run(a, b, c), expected) == 0);
    CHECK(same_bits(run(a, b, c), run(a, b, c.contiguous())));
  }
}

TEST_CASE("operands broadcast by NumPy's rule, static ranks and run-time extents of 1") {
  const auto check = [](const auto& a, const auto& b, const auto& c, extents<3> shape) {
    const tensor<float, 3> y = a - b * c;
    REQUIRE(y.extents() == shape);
    CHECK(differences(y, [&](auto i, auto j, auto k) {
            return at(a, i, j, k) - at(b, i, j, k) * at(c, i, j, k);
          }) == 0);
  };
  const tensor<float, 3> whole = numbers<float, 3>({3, 5, 37});
  for (const std::int64_t i : {1, 3}) {
    for (const std::int64_t j : {1, 5}) {
      for (const std::int64_t k : {1, 37}) {
        check(whole, numbers<float, 3>({i, j, k}), numbers<float, 2>({j, k}), {3, 5, 37});
        check(numbers<float, 3>({3, j, 37}), numbers<float, 3>({i, 5, k}),
              numbers<float, 2>({5, 1}), {3, 5, 37});
      }
    }
  }
  check(numbers<float, 3>({1, 1, 1}), numbers<float, 3>({3, 1, 37}), numbers<float, 2>({5, 1}),
        {3, 5, 37});
  const tensor<float, 1> row = numbers<float, 1>({37});
  const tensor<float, 0> one(0.75f);
  const tensor<float, 2> y = whole(0) * row + one;
  CHECK(differences(y, [&](auto, auto j, auto k) {
          return at(whole, std::int64_t{0}, j, k) * at(row, k) + 0.75;
        }) == 0);
  const tensor<float, 2> outer = unsqueeze<1>(row) * row;
  CHECK(differences(outer, [&](auto, auto j, auto k) { return at(row, j) * at(row, k); }) == 0);
  CHECK_THROWS_WITH_AS(evaluate(whole + numbers<float, 1>({36})),
                       "heddle::evaluate: the operands cannot be broadcast together: (3, 5, 37), "
                       "(36); aligned from the right, extents must be equal or 1",
                       shape_error);
}

TEST_CASE("transposed, permuted, sliced and expanded views are operands like any other") {
  const tensor<float, 3> x = numbers<float, 3>({19, 33, 5});
  const tensor<float, 3> t = x.transpose();                               // (19, 5, 33)
  const tensor<float, 3> p = permute<2, 0, 1>(x);                         // (5, 19, 33)
  const tensor<float, 3> s = x(slice(0, 19, 2), slice(1, 33, 3), all());  // (10, 11, 5)
  CHECK(differences(evaluate(t * 2 + 1),
                    [&](auto i, auto j, auto k) { return at(x, i, k, j) * 2 + 1; }) == 0);
  CHECK(differences(evaluate(p * p.contiguous()),
                    [&](auto i, auto j, auto k) { return at(x, j, k, i) * at(x, j, k, i); }) == 0);
  CHECK(differences(evaluate(-s),
                    [&](auto i, auto j, auto k) { return -at(x, 2 * i, 1 + 3 * j, k); }) == 0);
  const tensor<float, 1> row = numbers<float, 1>({5});
  CHECK(differences(evaluate(expand(row, {7, 5}) + row),
                    [&](auto, auto, auto k) { return 2 * at(row, k); }) == 0);
  // sums over a transposed operand, both ways of lying in memory
  CHECK(differences(evaluate(sum<-1>(t)), [&](auto, auto j, auto k) {
          double total = 0;
          for (std::int64_t m = 0; m < 33; ++m) total += at(x, j, m, k);
          return total;
        }) == 0);
}

namespace {

template <int... Axes>
int wrong_reductions(const tensor<float, 4>& x) {
  constexpr bool none = sizeof...(Axes) == 0;
  bool removed[4] = {none, none, none, none};
  ((removed[Axes] = true), ...);
  const auto [total, largest, small, kept] = evaluate(let(
      [](auto v) {
        return outputs(sum<Axes...>(v), amax<Axes...>(v), amin<Axes...>(v),
                       mean<Axes...>(v, keepdim));
      },
      x));
  std::int64_t n[4];
  std::int64_t r[4];
  double count = 1;
  for (int k = 0; k < 4; ++k) {
    n[k] = x.extents()[k];
    r[k] = removed[k] ? 1 : n[k];
    if (removed[k]) count *= static_cast<double>(n[k]);
  }
  const std::size_t results = static_cast<std::size_t>(r[0] * r[1] * r[2] * r[3]);
  std::vector<double> sums(results, 0.0), most(results, -1e9), least(results, 1e9);
  for (std::int64_t a = 0; a < n[0]; ++a) {
    for (std::int64_t b = 0; b < n[1]; ++b) {
      for (std::int64_t c = 0; c < n[2]; ++c) {
        for (std::int64_t d = 0; d < n[3]; ++d) {
          const std::int64_t i[4] = {a, b, c, d};
          std::int64_t to = 0;
          for (int k = 0; k < 4; ++k) to = to * r[k] + (removed[k] ? 0 : i[k]);
          const double v = static_cast<double>(x(a, b, c, d));
          const auto place = static_cast<std::size_t>(to);
          sums[place] += v;
          most[place] = std::fmax(most[place], v);
          least[place] = std::fmin(least[place], v);
        }
      }
    }
  }
  int wrong = 0;
  std::size_t i = 0;
  for (const float v : total) wrong += static_cast<double>(v) != sums[i++];
  i = 0;
  for (const float v : largest) wrong += static_cast<double>(v) != most[i++];
  i = 0;
  for (const float v : small) wrong += static_cast<double>(v) != least[i++];
  i = 0;
  for (const float v : kept) wrong += std::fabs(static_cast<double>(v) - sums[i++] / count) > 1e-5;
  return wrong;
}

}  // namespace

TEST_CASE("reductions over every set of axes of ranks 1 to 4 equal plain sums") {
  const tensor<float, 4> x = numbers<float, 4>({3, 5, 2, 37});
  const tensor<float, 4> v = permute<3, 1, 0, 2>(x);
  for (const tensor<float, 4>& each : {x, v}) {
    CHECK(wrong_reductions<>(each) == 0);
    CHECK(wrong_reductions<0>(each) == 0);
    CHECK(wrong_reductions<3>(each) == 0);
    CHECK(wrong_reductions<0, 2>(each) == 0);
    CHECK(wrong_reductions<1, 3>(each) == 0);
    CHECK(wrong_reductions<0, 2, 3>(each) == 0);
  }
  const auto loop = [](const auto& y, auto f) { return differences(y, f) == 0; };
  const tensor<float, 2> m = numbers<float, 2>({33, 70});
  CHECK(loop(evaluate(sum<0>(m)), [&](auto, auto, auto k) {
    double t = 0;
    for (std::int64_t i = 0; i < 33; ++i) t += at(m, i, k);
    return t;
  }));
  CHECK(loop(evaluate(sum<1>(m)), [&](auto, auto, auto k) {
    double t = 0;
    for (std::int64_t i = 0; i < 70; ++i) t += at(m, k, i);
    return t;
  }));
  CHECK(evaluate(sum(m)).item() == evaluate(sum(evaluate(sum<0>(m)))).item());
}

TEST_CASE("sums over the other sets of axes of rank 4 add up to the whole") {
  const tensor<float, 4> x = numbers<float, 4>({2, 3, 4, 17});
  const tensor<float, 0> all_at_once = sum(x);
  CHECK(evaluate(sum(evaluate(sum<1>(x)))).item() == all_at_once.item());
  CHECK(evaluate(sum(evaluate(sum<2>(x)))).item() == all_at_once.item());
  CHECK(evaluate(sum(evaluate(sum<0, 1>(x)))).item() == all_at_once.item());
  CHECK(evaluate(sum(evaluate(sum<0, 3>(x)))).item() == all_at_once.item());
  CHECK(evaluate(sum(evaluate(sum<1, 2>(x)))).item() == all_at_once.item());
  CHECK(evaluate(sum(evaluate(sum<2, 3>(x)))).item() == all_at_once.item());
  CHECK(evaluate(sum(evaluate(sum<0, 1, 2>(x)))).item() == all_at_once.item());
  CHECK(evaluate(sum(evaluate(sum<0, 1, 3>(x)))).item() == all_at_once.item());
  CHECK(evaluate(sum(evaluate(sum<1, 2, 3>(x)))).item() == all_at_once.item());
}

TEST_CASE("reductions over nothing give their identities, and a mean NaN") {
  const tensor<float, 2> none = empty<float, 2>({3, 0});
  for (const float v : evaluate(sum<1>(none))) CHECK(v == 0.0f);
  for (const float v : evaluate(mean<1>(none))) CHECK(std::isnan(v));
  CHECK(evaluate(sum<0>(none)).size() == 0);
  CHECK(evaluate(sum(none)).item() == 0.0f);
}

TEST_CASE("extrema keep a NaN, and integers stay exact") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::int64_t n : {3, 40}) {
    for (std::int64_t where = 0; where < n; where += 3) {
      tensor<float, 1> x = numbers<float, 1>({n});
      x(where) = nan;
      CHECK(std::isnan(evaluate(amax(x)).item()));
      CHECK(std::isnan(evaluate(amin(x)).item()));
      CHECK(std::isnan(evaluate(maximum(x, 0))(where)));
    }
  }
  const std::int64_t large = (std::int64_t{1} << 53) + 1;
  const tensor<std::int64_t, 1> k{large, -3, large + 4};
  CHECK(evaluate(amax(k)).item() == large + 4);
  CHECK(evaluate(sum(k)).item() == 2 * large + 1);
  CHECK(evaluate(k * 1)(0) == large);
  const tensor<std::uint8_t, 1> bytes{250, 10};
  CHECK(evaluate(bytes + bytes)(0) == 244);
  CHECK(evaluate(sum(bytes)).item() == 260);
}

TEST_CASE("a float64 constant is exact, in fused functions and as a number") {
  const tensor<double, 1> x{1.0, 3.0};
  CHECK(evaluate(x * 0.1)(0) == 0.1);
  CHECK(evaluate(let([](auto v) { return v * 0.1 + 1e-300; }, x))(0) == 0.1);
  CHECK(evaluate(let([](auto v) { return v / 3.0; }, x))(0) == 1.0 / 3.0);
}

TEST_CASE("where, comparisons and logical functions choose element by element") {
  const tensor<float, 2> a = numbers<float, 2>({9, 21}, 1);
  const tensor<float, 2> b = numbers<float, 2>({9, 21}, 2);
  const tensor<bool, 2> less_than = a < b;
  CHECK(differences(less_than, [&](auto, auto j, auto k) { return at(a, j, k) < at(b, j, k); }) ==
        0);
  const tensor<float, 2> chosen = where(a >= b && a != 0, a, -b);
  CHECK(differences(chosen, [&](auto, auto j, auto k) {
          const double x = at(a, j, k), y = at(b, j, k);
          return x >= y && x != 0 ? x : -y;
        }) == 0);
  const auto [e, x, n] = evaluate(a == b, logical_xor(a, b), !(a > 1 || b <= 2));
  CHECK(differences(e, [&](auto, auto j, auto k) { return at(a, j, k) == at(b, j, k); }) == 0);
  CHECK(differences(x, [&](auto, auto j, auto k) {
          return (at(a, j, k) != 0) != (at(b, j, k) != 0);
        }) == 0);
  CHECK(differences(
            n, [&](auto, auto j, auto k) { return !(at(a, j, k) > 1 || at(b, j, k) <= 2); }) == 0);
}

TEST_CASE("bool arithmetic is or and and, as PyTorch has it") {
  const tensor<bool, 1> p{false, false, true, true};
  const tensor<bool, 1> q{false, true, false, true};
  const auto [sum_, product, most, least] = evaluate(p + q, p * q, maximum(p, q), minimum(p, q));
  static_assert(decltype(sum_)::type == dtype::boolean);
  for (int i = 0; i < 4; ++i) {
    CHECK(sum_(i) == (p(i) || q(i)));
    CHECK(product(i) == (p(i) && q(i)));
    CHECK(most(i) == (p(i) || q(i)));
    CHECK(least(i) == (p(i) && q(i)));
  }
  CHECK(evaluate(sum(p)).item() == 2);
  CHECK(evaluate(p * 3)(2) == 3);
}

namespace {

template <class T>
tensor<T, 1> small_integers() {
  tensor<T, 1> x = empty<T, 1>({3});
  for (int i = 0; i < 3; ++i) x(i) = static_cast<T>(static_cast<float>(i));
  return x;
}

template <class A, class Y, class B>
bool promotes(const tensor<A, 1>& a, const Y& y, const tensor<B, 1>& b) {
  bool right = Y::type == promote(dtype_of<A>, dtype_of<B>);
  for (int i = 0; i < 3; ++i) {
    double want = static_cast<double>(a(i)) + static_cast<double>(b(i));
    if (Y::type == dtype::boolean) want = want != 0;
    right = right && static_cast<double>(y(i)) == want;
  }
  return right;
}

template <class A, class... B>
bool promotes_with_all(const tensor<B, 1>&... b) {
  const tensor<A, 1> a = small_integers<A>();
  return std::apply([&](const auto&... y) { return (promotes(a, y, b) && ...); },
                    evaluate(a + b...));
}

template <class... T>
bool all_pairs_promote() {
  return (promotes_with_all<T>(small_integers<T>()...) && ...);
}

template <class E>
constexpr dtype type_of_expression(const E&) {
  return E::type;
}

}  // namespace

TEST_CASE("each pair of dtypes promotes as its table says, with the right values") {
  CHECK(all_pairs_promote<double, float, bfloat16, float16, std::int64_t, std::int32_t,
                          std::uint8_t, bool>());
}

TEST_CASE("a number takes the dtype of what it meets and only raises integers to f32") {
  const tensor<bfloat16, 1> h = small_integers<bfloat16>();
  const tensor<std::uint8_t, 1> u = small_integers<std::uint8_t>();
  const tensor<bool, 1> b = small_integers<bool>();
  const tensor<double, 1> d = small_integers<double>();
  CHECK(type_of_expression(h * 2.5) == dtype::bf16);
  CHECK(type_of_expression(d + 1) == dtype::f64);
  CHECK(type_of_expression(u + 1) == dtype::u8);
  CHECK(type_of_expression(u * 0.5) == dtype::f32);
  CHECK(type_of_expression(b + 1) == dtype::i64);
  CHECK(type_of_expression(b * 1.5f) == dtype::f32);
  CHECK(type_of_expression(u / u) == dtype::f32);
  CHECK(type_of_expression(exp(u)) == dtype::f32);
  const auto [half, quotient, product, wrapped] = evaluate(h * 2.5, u / 2, u * 0.5, u - 1);
  CHECK(static_cast<float>(half(1)) == 2.5f);
  CHECK(quotient(1) == 0.5f);
  CHECK(product(2) == 1.0f);
  CHECK(wrapped(0) == 255);
}

TEST_CASE("16-bit floats are computed in f32 and rounded once") {
  const tensor<bfloat16, 1> x = full<bfloat16, 1>({20}, 1.0f);
  const tensor<float16, 1> y = full<float16, 1>({20}, 1.0f);
  // 1 + 2^-9 is no bfloat16; were the first sum rounded, the second would give 0
  const auto [a, b] = evaluate((x + 0.001953125) - 1, (y + 0.0001220703125) - 1);
  CHECK(static_cast<float>(a(19)) == 0.001953125f);
  CHECK(static_cast<float>(b(19)) == 0.0001220703125f);
}

TEST_CASE("a cast truncates towards zero, and makes truth values of what is not 0") {
  const tensor<float, 1> x{-1.5f, 0.0f, 0.25f, 2.75f};
  const auto [whole, truth, wide] = evaluate(cast<std::int32_t>(x), cast<bool>(x), cast<double>(x));
  CHECK(whole(0) == -1);
  CHECK(whole(3) == 2);
  CHECK(truth(2));
  CHECK_FALSE(truth(1));
  CHECK(wide(3) == 2.75);
}

TEST_CASE("one thread and two compute the same bits") {
  const tensor<float, 2> x = numbers<float, 2>({700, 900});
  const auto run = [&](int threads) {
    set_num_threads(threads);
    return evaluate(tanh(x) * 2 + 1, sum<0>(x * 1.1), sum<1>(x * 1.1), sum(x * 1.1));
  };
  const int before = num_threads();
  const auto one = run(1);
  const auto two = run(2);
  set_num_threads(before);
  CHECK(same_bits(std::get<0>(one), std::get<0>(two)));
  CHECK(same_bits(std::get<1>(one), std::get<1>(two)));
  CHECK(same_bits(std::get<2>(one), std::get<2>(two)));
  CHECK(same_bits(std::get<3>(one), std::get<3>(two)));
}

TEST_CASE("take reads rows and refuses an index out of range") {
  constexpr auto rows = fused([](auto table, auto index) { return take(table, index) * 2; });
  const tensor<float, 2> table = numbers<float, 2>({6, 19});
  const tensor<std::int64_t, 1> index{5, 0, 5, 3};
  const tensor<float, 2> y = rows(table, index);
  CHECK(differences(y, [&](auto, auto j, auto k) { return 2 * at(table, index(j), k); }) == 0);
  const tensor<std::int32_t, 2> square{{1, 2}, {4, 5}};
  const tensor<float, 3> z = rows(table, square);
  CHECK(differences(z, [&](auto i, auto j, auto k) {
          return 2 * at(table, std::int64_t{square(i, j)}, k);
        }) == 0);
  for (const std::int64_t wrong : {6, -1}) {
    const tensor<std::int64_t, 1> bad{0, wrong};
    CHECK_THROWS_AS(evaluate(rows(table, bad)), index_error);
  }
}

TEST_CASE("iota is the coordinate along its axis") {
  const tensor<float, 2> x = numbers<float, 2>({21, 35});
  const tensor<float, 2> y = where(iota<1>(x) <= iota<0>(x), x, 0);
  CHECK(differences(y, [&](auto, auto j, auto k) { return k <= j ? at(x, j, k) : 0; }) == 0);
}

TEST_CASE("a bundle gives all its results in one launch") {
  constexpr auto both = fused([](auto x) {
    const auto m = mean<-1>(x, keepdim);
    return outputs(x - m, mean<-1>(square(x - m)));
  });
  const tensor<double, 2> x = numbers<double, 2>({7, 33});
  const auto [centred, variance, twice] = evaluate(both(x), x * 2);
  static_assert(decltype(centred)::rank == 2 && decltype(variance)::rank == 1);
  for (int i = 0; i < 7; ++i) {
    double m = 0, v = 0;
    for (int k = 0; k < 33; ++k) m += x(i, k) / 33;
    for (int k = 0; k < 33; ++k) v += (x(i, k) - m) * (x(i, k) - m) / 33;
    CHECK(variance(i) == doctest::Approx(v).epsilon(1e-12));
    CHECK(centred(i, 32) == doctest::Approx(x(i, 32) - m).epsilon(1e-12));
    CHECK(twice(i, 5) == 2 * x(i, 5));
  }
}

TEST_CASE("reductions of different shapes add in one statement") {
  const tensor<double, 2> w1 = numbers<double, 2>({9, 40});
  const tensor<double, 2> w2 = numbers<double, 2>({40, 3});
  const tensor<double, 1> w3 = numbers<double, 1>({3});
  const tensor<double, 0> penalty = sum(w1 * w1) + sum(w2 * w2) + sum(w3 * w3);
  double want = 0;
  for (const double v : w1) want += v * v;
  for (const double v : w2) want += v * v;
  for (const double v : w3) want += v * v;
  CHECK(penalty.item() == want);
}

TEST_CASE("expressions and numbers that make no sense are refused with a sentence") {
  const tensor<float, 1> x{1, 2};
  const tensor<float, 1> undefined;
  CHECK_THROWS_WITH_AS(evaluate(x + undefined),
                       "heddle::evaluate: operand 1 is an undefined tensor; assign one that has "
                       "elements first",
                       state_error);
  CHECK_THROWS_AS(evaluate(x + x.to(cpu(1))), device_error);
}
