// SPDX-License-Identifier: BSD-3-Clause
// What the interpreter promises beyond arithmetic: rounding, wrapping, empty extents, memory.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/graph/passes/frame.hpp>

using heddle::dtype;
using heddle::op;
using heddle::symbol;
namespace graph = heddle::graph;
namespace exec = heddle::exec;

namespace {

template <class T>
exec::operand over(std::vector<T>& v, std::initializer_list<std::int64_t> strides,
                   std::int64_t indexed_extent = 0) {
  exec::operand o;
  o.data = reinterpret_cast<std::byte*>(v.data());
  int i = 0;
  for (const std::int64_t s : strides) o.strides[i++] = s;
  o.indexed_extent = indexed_extent;
  return o;
}

void run(const graph::graph& g, std::initializer_list<std::int64_t> extents,
         const std::vector<exec::operand>& in, const std::vector<exec::operand>& out,
         const std::vector<exec::scalar_bits>& scalars = {}) {
  exec::launch l;
  for (std::int64_t& e : l.extents) e = 1;
  int i = 0;
  for (const std::int64_t e : extents) l.extents[i++] = e;
  l.inputs = in.data();
  l.outputs = out.data();
  l.scalars = scalars.data();
  exec::interpret(g, l);
}

constexpr graph::axis_map map_of(std::initializer_list<unsigned> axes) {
  graph::axis_map map = graph::empty_map;
  int p = 0;
  for (const unsigned axis : axes) map = graph::with_axis(map, p++, axis);
  return map;
}

/// A graph recorded node by node over one axis.
struct recording {
  graph::builder b;

  std::uint16_t input(dtype type, int slot, graph::axis_map map = map_of({0})) {
    return b.emit(
        {.code = op::input, .type = type, .a = static_cast<std::uint16_t>(slot), .extra = map});
  }
  void store(std::uint16_t x, int slot, dtype type, graph::axis_map map = map_of({0})) {
    b.emit({.code = op::store,
            .type = type,
            .a = x,
            .b = static_cast<std::uint16_t>(slot),
            .extra = map});
  }
  graph::graph finished() const {
    graph::graph g;
    g.nodes = b.nodes();
    g.user_ops = b.user_ops;
    return g;
  }
};

}  // namespace

TEST_CASE("16-bit values are rounded at a cast and at a store, and nowhere between") {
  // 1 + 2^-9 is no bf16; in f32 it survives until the 1 is taken away again
  recording r;
  const auto x = r.input(dtype::bf16, 0);
  const auto small = r.b.constant(dtype::bf16, 0x1p-9);
  const auto sum = r.b.binary(op::add, dtype::bf16, x, small);
  const auto kept = r.b.binary(op::sub, dtype::bf16, sum, x);
  const auto cast = r.b.cast(dtype::bf16, r.b.cast(dtype::f32, sum));
  r.store(kept, 0, dtype::f32);
  r.store(sum, 1, dtype::bf16);
  r.store(r.b.cast(dtype::f32, cast), 2, dtype::f32);
  std::vector<heddle::bfloat16> in = {heddle::bfloat16(1.0f)};
  std::vector<float> difference(1);
  std::vector<heddle::bfloat16> stored(1);
  std::vector<float> rounded(1);
  run(r.finished(), {1}, {over(in, {1})},
      {over(difference, {1}), over(stored, {1}), over(rounded, {1})});
  CHECK(difference[0] == 0x1p-9f);
  CHECK(static_cast<float>(stored[0]) == 1.0f);
  CHECK(rounded[0] == 1.0f);
}

TEST_CASE("integers wrap to their own width") {
  recording r;
  const auto u = r.input(dtype::u8, 0);
  const auto i = r.input(dtype::i32, 1);
  const auto l = r.input(dtype::i64, 2);
  r.store(r.b.binary(op::add, dtype::u8, u, u), 0, dtype::u8);
  r.store(r.b.cast(dtype::i64, r.b.unary(op::neg, dtype::u8, u)), 1, dtype::i64);
  r.store(r.b.cast(dtype::i64, r.b.binary(op::add, dtype::i32, i, i)), 2, dtype::i64);
  r.store(r.b.binary(op::mul, dtype::i64, l, l), 3, dtype::i64);
  std::vector<std::uint8_t> a = {200};
  std::vector<std::int32_t> b = {2000000000};
  std::vector<std::int64_t> c = {std::int64_t{1} << 40};
  std::vector<std::uint8_t> a2(1);
  std::vector<std::int64_t> na(1), b2(1), c2(1);
  run(r.finished(), {1}, {over(a, {1}), over(b, {1}), over(c, {1})},
      {over(a2, {1}), over(na, {1}), over(b2, {1}), over(c2, {1})});
  CHECK(a2[0] == 144);
  CHECK(na[0] == 56);
  CHECK(b2[0] == -294967296);
  CHECK(c2[0] == 0);
}

TEST_CASE("a cast to an integer truncates toward zero, a cast to bool compares with zero") {
  recording r;
  const auto x = r.input(dtype::f32, 0);
  r.store(x, 0, dtype::i32);
  r.store(x, 1, dtype::boolean);
  std::vector<float> in = {-1.75f, 0.25f, 0.0f, 2.5f, std::nanf("")};
  std::vector<std::int32_t> whole(5);
  std::vector<std::uint8_t> truth(5, 77);
  run(r.finished(), {5}, {over(in, {1})}, {over(whole, {1}), over(truth, {1})});
  CHECK(whole[0] == -1);
  CHECK(whole[1] == 0);
  CHECK(whole[3] == 2);
  CHECK(truth == std::vector<std::uint8_t>{1, 1, 0, 1, 1});
}

TEST_CASE("a NaN compares false and survives extrema and their reductions") {
  recording r;
  const auto x = r.input(dtype::f64, 0);
  const auto y = r.input(dtype::f64, 1);
  r.store(r.b.binary(op::less_equal, dtype::boolean, x, y), 0, dtype::boolean);
  r.store(r.b.binary(op::maximum, dtype::f64, x, y), 1, dtype::f64);
  r.store(r.b.unary(op::amax, dtype::f64, y, 1), 2, dtype::f64, graph::empty_map);
  r.store(r.b.unary(op::amin, dtype::f64, x, 1), 3, dtype::f64, graph::empty_map);
  const double nan = std::nan("");
  std::vector<double> a = {nan, 1, 2}, b = {0, nan, 3}, largest(3), top(1), bottom(1);
  std::vector<std::uint8_t> less(3);
  run(r.finished(), {3}, {over(a, {1}), over(b, {1})},
      {over(less, {1}), over(largest, {1}), over(top, {}), over(bottom, {})});
  CHECK(less == std::vector<std::uint8_t>{0, 0, 1});
  CHECK(std::isnan(largest[0]));
  CHECK(std::isnan(largest[1]));
  CHECK(largest[2] == 3);
  CHECK(std::isnan(top[0]));
  CHECK(std::isnan(bottom[0]));
}

TEST_CASE("over no elements a sum is 0, a maximum -infinity or the least integer") {
  recording r;
  const auto x = r.input(dtype::f32, 0);
  const auto i = r.input(dtype::i32, 1);
  r.store(r.b.unary(op::sum, dtype::f32, x, 1), 0, dtype::f32, graph::empty_map);
  r.store(r.b.unary(op::amax, dtype::f32, x, 1), 1, dtype::f32, graph::empty_map);
  r.store(r.b.unary(op::amax, dtype::i32, i, 1), 2, dtype::i32, graph::empty_map);
  r.store(x, 3, dtype::f32);
  std::vector<float> none, sum = {5}, top = {5};
  std::vector<std::int32_t> nothing, least = {5};
  run(r.finished(), {0}, {over(none, {1}), over(nothing, {1})},
      {over(sum, {}), over(top, {}), over(least, {}), over(none, {1})});
  CHECK(sum[0] == 0);
  CHECK(top[0] == -std::numeric_limits<float>::infinity());
  CHECK(least[0] == std::numeric_limits<std::int32_t>::min());
}

TEST_CASE("outputs may share the memory of operands, whatever the order of the stores") {
  recording r;
  const auto x = r.input(dtype::f32, 0);
  const auto y = r.input(dtype::f32, 1);
  r.store(y, 0, dtype::f32);  // x = y
  r.store(x, 1, dtype::f32);  // y = x
  r.store(r.b.binary(op::add, dtype::f32, x, y), 2, dtype::f32);
  std::vector<float> a = {1, 2, 3}, b = {10, 20, 30}, sum(3);
  run(r.finished(), {3}, {over(a, {1}), over(b, {1})},
      {over(a, {1}), over(b, {1}), over(sum, {1})});
  CHECK(a == std::vector<float>{10, 20, 30});
  CHECK(b == std::vector<float>{1, 2, 3});
  CHECK(sum == std::vector<float>{11, 22, 33});
}

TEST_CASE("long rows, transposed operands and broadcasts meet in one sum") {
  // z = sum over axis 1 of x + transpose(y) + row
  graph::builder b;
  const auto x = b.emit({.code = op::input, .type = dtype::f64, .a = 0, .extra = map_of({0, 1})});
  const auto y = b.emit({.code = op::input, .type = dtype::f64, .a = 1, .extra = map_of({1, 0})});
  const auto row = b.emit({.code = op::input, .type = dtype::f64, .a = 2, .extra = map_of({1})});
  const auto total = b.binary(op::add, dtype::f64, b.binary(op::add, dtype::f64, x, y), row);
  const auto z = b.unary(op::sum, dtype::f64, total, 2);
  b.emit({.code = op::store, .type = dtype::f64, .a = z, .b = 0, .extra = map_of({0})});
  graph::graph g;
  g.nodes = b.nodes();
  const std::int64_t n = 3, m = 1000;  // longer than one block
  std::vector<double> xs, ys, rows, out(3);
  for (int i = 0; i < n * m; ++i) xs.push_back(i % 7), ys.push_back(i % 5);
  for (int i = 0; i < m; ++i) rows.push_back(i % 3);
  run(g, {n, m}, {over(xs, {m, 1}), over(ys, {n, 1}), over(rows, {1})}, {over(out, {1})});
  for (int i = 0; i < n; ++i) {
    double want = 0;
    for (int j = 0; j < m; ++j) {
      want += static_cast<double>((i * m + j) % 7 + (j * n + i) % 5 + j % 3);
    }
    CHECK(out[static_cast<std::size_t>(i)] == want);
  }
}

TEST_CASE("gather reads rows by index and names an index that is out of range") {
  recording r;
  const auto index = r.input(dtype::i64, 0);
  const auto rows = r.b.emit({.code = op::gather,
                              .type = dtype::f32,
                              .a = index,
                              .b = 1,
                              .extra = map_of({graph::indexed_axis, 1})});
  r.store(rows, 0, dtype::f32, map_of({0, 1}));
  std::vector<std::int64_t> at = {2, 0};
  std::vector<float> table = {1, 2, 3, 4, 5, 6}, out(4);
  const auto g = r.finished();
  run(g, {2, 2}, {over(at, {1}), over(table, {2, 1}, 3)}, {over(out, {2, 1})});
  CHECK(out == std::vector<float>{5, 6, 1, 2});
  for (const std::int64_t wrong : {std::int64_t{3}, std::int64_t{-1}}) {
    at[1] = wrong;
    std::string message;
    try {
      run(g, {2, 2}, {over(at, {1}), over(table, {2, 1}, 3)}, {over(out, {2, 1})});
    } catch (const heddle::index_error& e) {
      message = e.what();
    }
    CHECK(message == "heddle::take: an index is out of range: it is " + std::to_string(wrong) +
                         "; the indexed axis has extent 3");
  }
}

TEST_CASE("scatter_add starts from zero and adds rows of the same index") {
  recording r;
  const auto index = r.input(dtype::i32, 0);
  const auto x = r.input(dtype::f32, 1, map_of({0, 1}));
  r.b.emit({.code = op::scatter_add,
            .type = dtype::f32,
            .a = x,
            .b = index,
            .c = 0,
            .extra = map_of({graph::indexed_axis, 1})});
  std::vector<std::int32_t> at = {1, 1, 0};
  std::vector<float> rows = {1, 2, 10, 20, 100, 200}, out = {9, 9, 9, 9, 9, 9};
  run(r.finished(), {3, 2}, {over(at, {1}), over(rows, {2, 1})}, {over(out, {2, 1}, 3)});
  CHECK(out == std::vector<float>{100, 200, 11, 22, 0, 0});
}

TEST_CASE("a random element depends on its place and the offset, not on the layout of the rest") {
  const auto draw = [](op code, std::int64_t rows, std::int64_t offset) {
    recording r;
    const auto seed = r.b.constant(dtype::i64, 42);
    const auto shift = r.b.emit({.code = op::argument, .type = dtype::i64, .a = 0, .extra = 1});
    const auto x = r.b.emit(
        {.code = code, .type = dtype::f32, .a = seed, .b = shift, .extra = map_of({0, 1})});
    r.store(x, 0, dtype::f32, map_of({0, 1}));
    std::vector<float> out(static_cast<std::size_t>(rows) * 3);
    exec::scalar_bits bits;
    bits.integral = offset;
    run(r.finished(), {rows, 3}, {}, {over(out, {3, 1})}, {bits});
    return out;
  };
  const auto first = draw(op::random_uniform, 4, 0);
  const auto later = draw(op::random_uniform, 2, 2);
  for (std::size_t i = 0; i < 6; ++i) CHECK(later[i] == first[6 + i]);
  // element (sample 1, position 2), from the generator itself
  CHECK(first[5] == heddle::uniform_float(heddle::philox(42, 2, 1)[0]));
  const auto normal = draw(op::random_normal, 20000, 0);
  double mean = 0, square = 0;
  for (const float x : normal) mean += x, square += x * x;
  CHECK(std::fabs(mean / 60000) < 0.02);
  CHECK(std::fabs(square / 60000 - 1) < 0.03);
}

TEST_CASE("an op with operands that promotion would have converted is refused in a sentence") {
  recording r;
  const auto i = r.input(dtype::i64, 0);
  r.store(r.b.unary(op::exp, dtype::i64, i), 0, dtype::i64);
  std::vector<std::int64_t> in = {1}, out(1);
  CHECK_THROWS_WITH_AS(run(r.finished(), {1}, {over(in, {1})}, {over(out, {1})}),
                       "heddle::interpret: exp has operands of dtype i64; it takes floating ones",
                       heddle::type_error);
}

TEST_CASE("outputs that accumulate add to what is there, after the others have been written") {
  // two results for one place, the one that accumulates recorded first, and one with a stride
  recording r;
  const auto x = r.input(dtype::f32, 0);
  const auto twice = r.b.binary(op::add, dtype::f32, x, x);
  r.store(twice, 0, dtype::f32);
  r.store(x, 1, dtype::f32);
  r.store(r.b.cast(dtype::bf16, x), 2, dtype::bf16);
  std::vector<float> in(700);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
  std::vector<float> sums(700, NAN);
  std::vector<heddle::bfloat16> strided(2100, heddle::bfloat16(1.0f));
  exec::operand added = over(sums, {1});
  added.accumulates = true;
  exec::operand every_third = over(strided, {3});
  every_third.accumulates = true;
  run(r.finished(), {700}, {over(in, {1})}, {added, over(sums, {1}), every_third});
  for (std::size_t i = 0; i < in.size(); ++i) {
    CHECK(sums[i] == 3 * in[i]);
    const float rounded = static_cast<float>(heddle::bfloat16(in[i]));
    CHECK(static_cast<float>(strided[3 * i]) ==
          static_cast<float>(heddle::bfloat16(rounded + 1.0f)));
    CHECK(static_cast<float>(strided[3 * i + 1]) == 1.0f);
  }
}
