// SPDX-License-Identifier: BSD-3-Clause
// The op table on a CUDA device: every op of every operand's dtype that it takes, special values
// among the operands, against the interpreter.
#include <cmath>
#include <limits>
#include <vector>

#include "cuda_case.hpp"
#include <doctest/doctest.h>

#include <heddle/exec/evaluate.hpp>
#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/tensor/creation.hpp>

namespace {

using namespace heddle;

/// 0, ±0.5 … beside infinities, NaN, the largest and the smallest; repeated to some length.
template <class T>
tensor<T, 1> values(std::int64_t count, int shift) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> special{0.0, -0.0, 0.5,  -0.5, 1.0,   -1.0,  2.0, -2.0,  0.1,
                                    3.0, -7.5, 20.0, 1e-3, -1e-3, 80.0,  inf, -inf,  std::nan(""),
                                    0.9, 1.1,  -0.9, 5.0,  0.25,  -0.25, 9.0, 100.0, 6.0};
  tensor<T, 1> x = empty<T, 1>({count});
  std::size_t next = static_cast<std::size_t>(shift);
  for (T& v : x) {
    double value = special[next++ % special.size()];
    if constexpr (std::is_integral_v<T>) value = std::isfinite(value) ? std::fabs(value) : 17;
    v = static_cast<T>(value);
  }
  return x;
}

constexpr auto one_operand = [](auto x) {
  return outputs(-x, exp(x), log(x), log1p(x), expm1(x), tanh(x), sqrt(x), rsqrt(x), abs(x),
                 square(x), erf(x), sigmoid(x), sin(x), cos(x), floor(x), sign(x), detach(x) + x,
                 where(!(x < 0), x, 2));
};
constexpr auto two_operands = [](auto x, auto y) {
  return outputs(x + y, x - y, x * y, x / y, pow(abs(x), y), maximum(x, y), minimum(x, y),
                 where(x == y, x, y), where(x != y, x, y), where(x < y, x, y),
                 where(x <= y, 1, 0) + x, where(x > y, 1, 0) + x, where(x >= y, 1, 0) + x,
                 where((x < y) && (y < 1), x, y), where((x < y) || (y < 1), x, y));
};
constexpr auto conversions = [](auto x) {
  return outputs(cast<double>(x), cast<float>(x), cast<bfloat16>(x), cast<float16>(x),
                 cast<std::int64_t>(where(x == x, minimum(maximum(x, -100), 100), 0)),
                 cast<std::int32_t>(where(x == x, minimum(maximum(x, -100), 100), 0)),
                 cast<std::uint8_t>(where(x == x, minimum(maximum(x, 0), 100), 0)), cast<bool>(x));
};

/// The steps between neighbouring values of T at x.
template <class T>
double spacing(double x) {
  const double at = std::fmax(std::fabs(x), static_cast<double>(std::numeric_limits<float>::min()));
  const double relative = std::is_same_v<T, double>     ? 0x1p-52
                          : std::is_same_v<T, float>    ? 0x1p-23
                          : std::is_same_v<T, float16>  ? 0x1p-10
                          : std::is_same_v<T, bfloat16> ? 0x1p-7
                                                        : 0;
  return at * relative;
}
template <class T>
bool same(T got, T want, double steps) {
  const auto a = static_cast<double>(got), b = static_cast<double>(want);
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b || std::fabs(a - b) <= steps * spacing<T>(b);
}

/// The results of a lambda on the device, each element within `steps` of the interpreter's.
template <class F, class... T>
void check_ops(F f, double steps, const tensor<T, 1>&... operands) {
  using statement = exec::statement<decltype(let(f, operands...))>;
  const auto on_device = evaluate(let(f, operands.to(cuda(0))...));
  const auto wanted = [&] {
    const auto e = let(f, operands...);
    const exec::bound<statement> b(e);
    auto made = exec::detail::allocate_results<std::remove_cvref_t<decltype(on_device)>>(b);
    exec::operand in[statement::operand_count + 1], out[statement::output_count];
    b.bind_operands(in);
    int k = 0;
    std::apply([&](const auto&... t) { ((out[k++] = exec::detail::operand_of(t)), ...); }, made);
    exec::launch l;
    for (int i = 0; i < graph::max_axes; ++i) l.extents[i] = b.extents[i];
    l.inputs = in;
    l.outputs = out;
    l.scalars = b.scalars;
    exec::interpret(graph::thaw(typename statement::program{}), l);
    return made;
  }();
  int result = 0;
  const auto compare = [&](const auto& there, const auto& want) {
    const auto got = there.to(cpu());
    for (std::int64_t i = 0; i < want.size(); ++i) {
      CHECK_MESSAGE(same(got(i), want(i), steps),
                    "result " << result << ", element " << i << ": " << static_cast<double>(got(i))
                              << " for " << static_cast<double>(want(i)));
    }
    ++result;
  };
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (compare(std::get<I>(on_device), std::get<I>(wanted)), ...);
  }
  (std::make_index_sequence<std::tuple_size_v<std::remove_cvref_t<decltype(on_device)>>>{});
}

}  // namespace

TEST_CASE_TEMPLATE("ops of one floating operand", T, double, float, bfloat16) {
  const support::cuda_case clean;
  // functions are right to a few steps; 16-bit ones are computed in f32 and rounded once
  check_ops(one_operand, sizeof(T) == 2 ? 1 : 8, values<T>(270, 0));
}
TEST_CASE_TEMPLATE("ops of two floating operands", T, float, float16) {
  const support::cuda_case clean;
  check_ops(two_operands, sizeof(T) == 2 ? 1 : 8, values<T>(270, 0), values<T>(270, 5));
}
TEST_CASE("conversions") {
  const support::cuda_case clean;
  check_ops(conversions, 1, values<float>(81, 0));
}

TEST_CASE("ops of integers and bools") {
  const support::cuda_case clean;
  constexpr auto arithmetic = [](auto x, auto y) {
    return outputs(x + y, x * y - y, abs(x), maximum(x, y), minimum(x, y), where(x < y, x, y),
                   x == y, x / (y + 1), square(x));
  };
  check_ops(arithmetic, 1, values<std::int64_t>(81, 0), values<std::int64_t>(81, 5));
  check_ops(arithmetic, 1, values<std::uint8_t>(81, 0), values<std::uint8_t>(81, 5));
  constexpr auto logic = [](auto x, auto y) { return outputs(x && y, x || y, x != y, !x, x + y); };
  check_ops(logic, 0, values<bool>(81, 0), values<bool>(81, 5));
}
