// SPDX-License-Identifier: BSD-3-Clause
// What broadcasting makes of the axes of a traced lambda: which of them are one, how long each is,
// and what is refused. NumPy's results are written beside the statements.
#include <cmath>

#include <doctest/doctest.h>

#include <heddle/exec/evaluate.hpp>
#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/tensor/creation.hpp>

namespace {

using namespace heddle;

const tensor<float, 1> x{1, 2, 3};
const tensor<float, 1> y{10, 20, 30};
const tensor<float, 1> one{7};

/// The problem of framing f of traced vectors.
template <class F>
graph::framing_problem problem_of(F f) {
  graph::builder b;
  b.tracing = true;
  const symbol a = graph::trace_input(b, 0, dtype::f32, 1);
  const symbol c = graph::trace_input(b, 1, dtype::f32, 1);
  const symbol root = f(a, c);
  return graph::frame_statement(b, &root, 1).problem;
}

}  // namespace

TEST_CASE("two axes of one value that are one axis are refused, wherever the value is") {
  // NumPy: 8
  CHECK(problem_of([](auto a, auto) {
          return heddle::sum<0, 1>(abs(unsqueeze<1>(a) - unsqueeze<0>(a)));
        }) == graph::framing_problem::aligned);
  // NumPy: 360; the axes become one behind the product
  CHECK(problem_of([](auto a, auto b) {
          return heddle::sum<0, 1>(unsqueeze<1>(a) * unsqueeze<0>(b)) + 0 * heddle::sum<0>(a * b);
        }) == graph::framing_problem::aligned);
  // the rows of a table, at indices of its own columns' coordinates
  CHECK(problem_of([](auto a, auto b) {
          graph::builder& builder = *a.owner;
          const symbol table = graph::trace_input(builder, 2, dtype::f32, 2);
          const symbol row = heddle::sum<0>(table);
          return heddle::sum<0, 1>(take(table, cast<std::int64_t>(iota<0>(row)))) +
                 0 * heddle::sum<0>(a * b);
        }) == graph::framing_problem::aligned);
  // a value that nothing needs may be what it likes
  CHECK(problem_of([](auto a, auto b) {
          static_cast<void>(unsqueeze<1>(a) - unsqueeze<0>(a));
          return a + b;
        }) == graph::framing_problem::none);
  // but not one whose shape is taken
  CHECK(problem_of([](auto a, auto) {
          return heddle::count<0, 1>(unsqueeze<1>(a) - unsqueeze<0>(a));
        }) == graph::framing_problem::aligned);
  // two operands are two axes
  const tensor<float, 0> distance = evaluate(
      let([](auto a, auto b) { return heddle::sum<0, 1>(abs(unsqueeze<1>(a) - unsqueeze<0>(b))); },
          x, x));
  CHECK(distance.item() == 8);
}

TEST_CASE("an extent that only coordinates or a count know is known") {
  const auto coordinates = let([](auto a) { return heddle::sum<0>(iota<0>(a)); }, x);
  CHECK(evaluate(coordinates).item() == 3);
  const auto counted =
      let([](auto a, auto b) { return heddle::sum<0>(b) * heddle::count<0>(a); }, x, one);
  CHECK(evaluate(counted).item() == 21);
  // through a value that is computed for its shape only
  const auto through =
      let([](auto a, auto b) { return iota<0>(unsqueeze<0>(a) * b); }, x, ones<float, 2>({4, 3}));
  const tensor<std::int64_t, 2> rows = evaluate(through);
  CHECK(rows.extents() == extents<2>{4, 1});
  CHECK(rows(3, 0) == 3);
}

TEST_CASE("what no result needs lengthens none") {
  const tensor<float, 1> less = evaluate(let(
      [](auto a, auto b) {
        static_cast<void>(a + b);
        return b - 1;
      },
      x, one));
  CHECK(less.extents() == extents<1>{1});
  CHECK(less(0) == 6);
  // read by nobody after simplification, an operand still takes part
  const auto chosen =
      let([](auto a, auto b) { return where(a == a || a != a || true, b, a); }, x, one);
  CHECK(evaluate(chosen).extents() == extents<1>{3});
}

TEST_CASE("coordinates, counts and random numbers of extent 1 are not lengthened unnoticed") {
  const auto coordinates = let([](auto a, auto b) { return iota<0>(a) + iota<0>(b); }, one, x);
  CHECK_THROWS_AS(static_cast<void>(evaluate(coordinates)), shape_error);
  const auto draws = let([](auto a, auto b) { return uniform_like(a, 1, 0) + b; }, one, x);
  CHECK_THROWS_AS(static_cast<void>(evaluate(draws)), shape_error);
  const auto counted = let([](auto a, auto b) { return b * heddle::count<0>(a); }, one, x);
  CHECK(evaluate(counted).extents() == extents<1>{3});
  const auto lengthened = let([](auto a, auto b) { return (a + b) * heddle::count<0>(a); }, one, x);
  CHECK_THROWS_AS(static_cast<void>(evaluate(lengthened)), shape_error);
  // of the same extent they are what they are in NumPy
  const auto fit = let([](auto a, auto b) { return iota<0>(a) + iota<0>(b); }, y, x);
  CHECK(evaluate(fit)(2) == 4);
  const auto sums = let([](auto a, auto b) { return heddle::sum<0>(a * iota<0>(b)); }, one, x);
  CHECK(evaluate(sums).item() == 21);
}

TEST_CASE("a gather's table is no operand along an axis it is indexed by") {
  const tensor<float, 1> table{5, 6};
  const tensor<std::int64_t, 1> index{1};
  const auto rows =
      let([](auto t, auto i) { return outputs(take(t, i), t * take(t, i)); }, table, index);
  CHECK_THROWS_AS(static_cast<void>(evaluate(rows)), shape_error);
  const tensor<std::int64_t, 1> both{1, 0};
  const auto fit =
      let([](auto t, auto i) { return outputs(take(t, i), t * take(t, i)); }, table, both);
  const auto [taken, product] = evaluate(fit);
  CHECK(taken(0) == 6);
  CHECK(product(1) == 30);
}

TEST_CASE("a number of a lambda is cast, reduced and asked for truth as a tensor would be") {
  const auto scaled = let([](auto a, auto n) { return a * cast<float>(n); }, x, 3);
  CHECK(evaluate(scaled)(2) == 9);
  const auto summed = let([](auto a, auto n) { return a + heddle::sum<>(n); }, x, 0.5);
  CHECK(evaluate(summed)(0) == 1.5f);
  const auto truth = let([](auto a) { return where(symbol(0.5), a, -a); }, x);
  CHECK(evaluate(truth)(1) == 2);
  const auto given = let([](auto a, auto n) { return where(n, a, -a); }, x, 0.5);
  CHECK(evaluate(given)(1) == 2);
}

TEST_CASE("a sum over no axes keeps the sign of zero in the interpreter") {
  graph::graph g;
  g.nodes.push_back({.code = op::input, .type = dtype::f32, .a = 0, .extra = graph::empty_map});
  g.nodes.push_back({.code = op::sum, .type = dtype::f32, .a = 0});
  g.nodes.push_back(
      {.code = op::store, .type = dtype::f32, .a = 1, .b = 0, .extra = graph::empty_map});
  float from = -0.0f, to = 1;
  exec::operand in, out;
  in.data = reinterpret_cast<std::byte*>(&from);
  out.data = reinterpret_cast<std::byte*>(&to);
  exec::launch l;
  for (std::int64_t& n : l.extents) n = 1;
  l.inputs = &in;
  l.outputs = &out;
  exec::interpret(g, l);
  CHECK(to == 0);
  CHECK(std::signbit(to));
}
