// SPDX-License-Identifier: BSD-3-Clause
// Statements whose values cross from nest to nest through memory: they are the values that plain
// spelling gives, of all dtypes and layouts, and in derivatives.
#include <cmath>
#include <cstdio>

#include "../support/random_case.hpp"
#include <doctest/doctest.h>

#include <heddle/autograd/grad.hpp>
#include <heddle/exec/crossing.hpp>
#include <heddle/exec/explain.hpp>
#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/tensor/random.hpp>

using namespace heddle;

namespace {

generator numbers(5);

template <class T = float>
tensor<T, 2> matrix(std::int64_t rows, std::int64_t columns) {
  return evaluate(cast<T>(randn<float, 2>({rows, columns}, numbers)));
}

/// What is left of t without its means: two nests over all of it.
template <class T>
constexpr auto centred(const T& t) {
  const auto down = mean<0>(t, keepdim);
  const auto along = mean<1>(t, keepdim);
  return t - down - along;
}
constexpr auto of_four =
    fused([](auto a, auto b, auto c, auto d) { return centred(a * b + c * d); });

template <class E>
constexpr int crossings_of() {
  using program = exec::cut_program<typename exec::statement<E>::program>;
  return static_cast<int>(exec::plan_of<program>.sizes.crossings);
}
template <class E>
int crossings(const E&) {
  return crossings_of<E>();
}

template <class T, int Rank>
double distance(const tensor<T, Rank>& got, const tensor<T, Rank>& want) {
  return static_cast<double>(
      tensor<double, 0>(amax(abs(cast<double>(got) - cast<double>(want)))).item());
}
/// The same in two statements, of a tensor that is in memory.
template <class T>
tensor<T, 2> centred_apart(const tensor<T, 2>& t) {
  const tensor<T, 2> down = evaluate(mean<0>(t, keepdim));
  const tensor<T, 2> along = evaluate(mean<1>(t, keepdim));
  return evaluate(t - down - along);
}

}  // namespace

TEST_CASE("a value that crosses a cut is what it is elsewhere: rows, columns, tails, threads") {
  for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{1, 1},
                                      {3, 5},
                                      {70, 300},
                                      {1, 4097},
                                      {4097, 1},
                                      {700, 513},
                                      {0, 5}}) {
    const auto a = matrix(rows, columns), b = matrix(rows, columns), c = matrix(rows, columns),
               d = matrix(rows, columns);
    const auto e = of_four(a, b, c, d);
    CHECK(crossings(e) == 1);
    const tensor<float, 2> got = e;
    if (rows == 0) continue;
    CHECK(distance(got, centred_apart(tensor<float, 2>(a * b + c * d))) < 1e-4);
    // the same bits again
    CHECK(distance(got, tensor<float, 2>(of_four(a, b, c, d))) == 0);
  }
}

TEST_CASE("strided and broadcast operands, several dtypes, conditions and gathers cross, too") {
  const auto a = matrix(40, 60), b = matrix(60, 40), c = matrix(40, 60), d = matrix(40, 60);
  const tensor<float, 2> t = a * b.transpose() + c * d;
  CHECK(distance(tensor<float, 2>(of_four(a, b.transpose(), c, d)), centred_apart(t)) < 1e-5);
  const auto row = randn<float, 1>({60}, numbers);
  const auto with_row =
      let([](auto x, auto y, auto z, auto r) { return centred(x * y + z * r); }, a, c, d, row);
  CHECK(crossings(with_row) == 1);
  const tensor<float, 2> u = a * c + d * row;
  CHECK(distance(tensor<float, 2>(with_row), centred_apart(u)) < 1e-5);
  const auto wide = of_four(matrix<double>(9, 7), matrix<double>(9, 7), matrix<double>(9, 7),
                            matrix<double>(9, 7));
  CHECK(crossings(wide) == 1);
  CHECK(tensor<double, 2>(wide).extent(0) == 9);

  // stored as float: no rounding between the nests
  const auto h = [] { return matrix<bfloat16>(33, 65); };
  const auto h1 = h(), h2 = h(), h3 = h(), h4 = h(), h5 = h();
  const auto narrow =
      let([](auto v, auto w, auto x, auto y, auto z) { return centred(v * w + x * y + z); }, h1, h2,
          h3, h4, h5);
  CHECK(crossings(narrow) == 1);
  const tensor<float, 2> f =
      cast<float>(h1) * cast<float>(h2) + cast<float>(h3) * cast<float>(h4) + cast<float>(h5);
  const tensor<bfloat16, 2> rounded = evaluate(cast<bfloat16>(centred_apart(f)));
  CHECK(distance(tensor<bfloat16, 2>(narrow), rounded) < 0.04);

  const auto condition = let(
      [](auto x, auto y) {
        const auto kept = cast<float>(x < y);
        const auto down = sum<0>(kept, keepdim);
        const auto along = sum<1>(kept, keepdim);
        return kept * 4.0f - down * along;
      },
      a, c);
  CHECK(crossings(condition) == 1);
  const tensor<float, 2> k = cast<float>(a < c);
  const tensor<float, 2> down = evaluate(sum<0>(k, keepdim)), along = evaluate(sum<1>(k, keepdim));
  CHECK(distance(tensor<float, 2>(condition), tensor<float, 2>(k * 4.0f - down * along)) == 0);

  const tensor<std::int64_t, 2> index = randint<std::int64_t, 2>(0, 50, {40, 60}, numbers);
  const auto table = randn<float, 1>({50}, numbers);
  const auto taken = let([](auto v, auto i) { return centred(take(v, i)); }, table, index);
  CHECK(crossings(taken) == 1);
  const tensor<float, 2> elements = let([](auto v, auto i) { return take(v, i); }, table, index);
  CHECK(distance(tensor<float, 2>(taken), centred_apart(elements)) < 1e-5);
}

TEST_CASE("gradients of a statement whose values cross are those of the statements one by one") {
  const auto x = [] { return variable<float, 2>(matrix(31, 47)); };
  auto a = x(), b = x(), c = x(), d = x();
  const auto w = matrix(31, 47);
  const variable<float, 0> together = sum(w * square(of_four(a, b, c, d)));
  together.backward();
  const tensor<float, 2> got[] = {a.grad(), b.grad(), c.grad(), d.grad()};
  for (auto* v : {&a, &b, &c, &d}) v->zero_grad();
  const variable<float, 2> t = a * b + c * d;
  const variable<float, 2> down = mean<0>(t, keepdim);
  const variable<float, 2> along = mean<1>(t, keepdim);
  const variable<float, 2> z = t - down - along;
  const variable<float, 0> apart = sum(w * square(z));
  apart.backward();
  const tensor<float, 2> want[] = {a.grad(), b.grad(), c.grad(), d.grad()};
  for (int i = 0; i < 4; ++i) CHECK(distance(got[i], want[i]) < 1e-4);
}

TEST_CASE("a launch counts the bytes of what crosses") {
  const auto a = matrix(30, 20), b = matrix(30, 20), c = matrix(30, 20), d = matrix(30, 20);
  const profiler p;
  const tensor<float, 2> z = of_four(a, b, c, d);
  REQUIRE(p.launches().size() == 1);
  CHECK(p.launches()[0].kernels == 2);
  CHECK(p.launches()[0].bytes == 30 * 20 * 4 * (4 + 1 + 1 + 1));
}

TEST_CASE("queued launches keep what crosses until they have run") {
  const auto there = [](const tensor<float, 2>& t) { return t.to(cpu(1)); };
  const auto a = matrix(64, 100), b = matrix(64, 100), c = matrix(64, 100), d = matrix(64, 100);
  const tensor<float, 2> want = of_four(a, b, c, d);
  const tensor<float, 2> got = of_four(there(a), there(b), there(c), there(d));
  CHECK(distance(got.to(cpu()), want) == 0);
}

TEST_CASE("random graphs compute the same when they are cut") {
  const std::uint64_t seed = support::run_seed();
  std::printf("HEDDLE_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  const std::vector<support::user_formula> formulas = {
      {cube, [](const double* x) { return x[0] * x[0] * x[0]; }},
      {multiply_add, [](const double* x) { return x[0] * x[1] + x[2]; }},
  };
  int crossing = 0;
  support::tally counts;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const std::uint64_t own = seed * 0x9E3779B97F4A7C15u + i;
    support::random_case c(
        support::graph_generator(own, {.least_nodes = 60, .most_nodes = 90}).make(), own);
    const graph::graph& g = c.graphs().simplified;
    const graph::graph cut = graph::cut_cheapest(g);
    const exec::plan p = exec::make_plan(cut);
    if (p.crossings.empty()) continue;
    ++crossing;
    exec::plan_view view{};
    view.crossings = p.crossings.begin();
    view.crossing_count = static_cast<int>(p.crossings.size());
    std::vector<std::byte> memory(
        static_cast<std::size_t>(exec::crossing_bytes(view, c.launch()) + 1));
    std::vector<exec::operand> inputs(p.crossings[0].input + p.crossings.size());
    std::vector<exec::operand> outputs(p.crossings[0].output + p.crossings.size());
    const exec::launch l =
        exec::with_crossings(view, c.launch(), inputs.data(), outputs.data(), memory.data());
    // the interpreter stores when all values stand: what crosses is there from the next run on
    for (std::size_t run = 0; run <= p.crossings.size(); ++run) {
      c.clear_outputs();
      exec::interpret(cut, l);
    }
    const support::independent_walk walk(c.graphs().raw, c.launch(), formulas);
    const std::string wrong = c.compare(walk, counts);
    if (!wrong.empty()) FAIL(wrong << "\ngraph " << i << ":\n" << graph::to_text(cut));
  }
  std::printf("%d graphs with values that cross\n", crossing);
  CHECK(crossing > 5);
}
