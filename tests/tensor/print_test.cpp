// SPDX-License-Identifier: BSD-3-Clause
// Printing against the text that NumPy gives for the same tensors (fixtures/numpy_print.txt).
#include <cstdint>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/print.hpp>
#include <heddle/tensor/tensor.hpp>
#include <heddle/tensor/views.hpp>

using namespace heddle;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

// What follows `# <name>` in the fixture, to the next name.
std::string golden(const std::string& name) {
  std::ifstream file("tests/tensor/fixtures/numpy_print.txt");
  REQUIRE_MESSAGE(file.is_open(), "run the tests from the root of the project");
  std::string line, text;
  bool inside = false;
  while (std::getline(file, line)) {
    if (line.rfind("# ", 0) == 0) {
      if (inside) break;
      inside = line == "# " + name;
    } else if (inside) {
      text += text.empty() ? line : '\n' + line;
    }
  }
  REQUIRE_MESSAGE(!text.empty(), "the fixture has no case " << name);
  return text;
}

void check(const std::string& name, const any_tensor& x) {
  INFO(name);
  CHECK(to_string(x) == golden(name));
}

std::vector<double> noise(int count, double scale) {
  std::uint32_t state = 12345;
  std::vector<double> values;
  for (int i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    values.push_back((state / 4294967296.0 - 0.5) * scale);
  }
  return values;
}

template <class T, int Rank>
tensor<T, Rank> rounded(const std::vector<double>& values, const extents<Rank>& extents) {
  tensor<T, Rank> result = empty<T, Rank>(extents);
  for (std::size_t i = 0; i < values.size(); ++i) result.data()[i] = static_cast<T>(values[i]);
  return result;
}

}  // namespace

TEST_CASE("integers and bool print as in NumPy") {
  check("integers of several widths", tensor<std::int32_t, 2>{{1, -20}, {300, 4}});
  check("i64 extremes", tensor<std::int64_t, 1>{INT64_MIN, INT64_MAX});
  check("u8", tensor<std::uint8_t, 2>{{0, 255}, {7, 8}});
  check("bool", tensor<bool, 2>{{true, false}, {true, true}});
  check("all true", tensor<bool, 1>{true, true});
  CHECK(to_string(tensor<bool, 0>(true)) == "true");
}

TEST_CASE("floating values print as in NumPy with precision 4") {
  check("matrix f32", tensor<float, 2>{{1, 2.25f}, {-3.14159f, 4}});
  check("zeros", zeros<float, 2>({2, 3}));
  check("negative zero", tensor<double, 1>{-0.0, 0.0});
  check("large but positional", tensor<double, 1>{12345678, 99999999});
  check("f32 up to a million", tensor<float, 1>{123456.7f, 999999});
  check("f32 just not tiny", tensor<float, 1>{1e-4f, 2e-4f});
  check("f16 up to a thousand", tensor<float16, 1>{100, 999.5f});
  check("rounds to four digits", tensor<double, 1>{0.12345, 0.99999, 0.00015, 2.5});
  check("ties round to even", tensor<double, 1>{0.03125, 0.09375, 0.15625});
  check("halves", tensor<float16, 1>{0.1f, 1 / 3.f, 99.5f});
  check("scalar f32", tensor<float, 0>(2.302585f));
  check("scalar i32", tensor<std::int32_t, 0>(-7));
}

TEST_CASE("values of very different or extreme size print in scientific notation") {
  check("tiny makes scientific", tensor<double, 1>{1e-5, 1, 123.456});
  check("tiny with nan", tensor<double, 1>{1e-5, nan, -infinity});
  check("large makes scientific", tensor<float, 1>{1e10f, 2.5e10f});
  check("wide ratio makes scientific", tensor<double, 1>{0.5, 1234.5678});
  check("f32 from a million", tensor<float, 1>{123456.7f, 1000000});
  check("f16 from a thousand", tensor<float16, 1>{100, 1000});
  check("halves in scientific notation", tensor<float16, 1>{0.1f, 1 / 3.f, 1000.5f});
  check("three digit exponents", tensor<double, 1>{1e-300, 1.0, -1e300});
}

TEST_CASE("nan and inf print as words of the column's width") {
  check("special values",
        tensor<float, 1>{1.5f, static_cast<float>(nan), static_cast<float>(infinity),
                         -static_cast<float>(infinity)});
  check("only nan and inf", tensor<double, 1>{nan, infinity});
  check("only -inf", tensor<double, 1>{-infinity});
}

TEST_CASE("brackets nest, rows wrap at 75 columns, views print their own order") {
  check("rank 3", reshape(arange<float>(24), {2, 3, 4}));
  check("rank 4", reshape(arange<std::int64_t>(16), {2, 2, 2, 2}));
  check("empty", zeros<float, 2>({2, 0}));
  check("transposed", reshape(arange<float>(6), {2, 3}).transpose());
  check("long row wraps", arange<float>(0, 50, 1.25f));
  check("long rows wrap", reshape(arange<std::int32_t>(0, 6000, 100), {2, 30}));
}

TEST_CASE("more than 1000 elements are shortened to 3 at either end of an axis") {
  check("1000 elements are shown", arange<std::int32_t>(1000));
  check("1001 are not", arange<std::int32_t>(1001));
  check("shortened matrix", reshape(arange<float>(2000), {20, 100}));
  check("shortened along one axis", reshape(arange<std::int32_t>(2004), {501, 4}));
  check("shortened rank 3", reshape(arange<float>(4000), {10, 4, 100}));
}

TEST_CASE("noise of all sizes prints as in NumPy") {
  check("noise f64", rounded<double, 2>(noise(30, 2), {5, 6}));
  check("noise f32", rounded<float, 2>(noise(30, 200), {5, 6}));
  check("noise f16", rounded<float16, 2>(noise(30, 20), {5, 6}));
  check("noise of 1e6", rounded<double, 1>(noise(12, 1e6), {12}));
  check("noise of 1e-6", rounded<float, 1>(noise(12, 1e-6), {12}));
}

TEST_CASE("bfloat16 prints the fewest digits that name the value") {
  CHECK(to_string(tensor<bfloat16, 1>{1.f / 3, 0.1f, 100.f}) == "[  0.334   0.1   100.   ]");
}

TEST_CASE("tensors without elements in memory print what they are") {
  CHECK(to_string(zeros<float, 2>({2, 3}, meta())) == "f32 (2, 3) on meta");
  CHECK(to_string(tensor<float, 2>()) == "undefined");
}

TEST_CASE("operator<< writes to_string, and waits for a queued device") {
  tensor<float, 1> x = zeros<float, 1>({2}, cpu(0));
  x.fill_(3);
  std::ostringstream out;
  out << x;
  CHECK(out.str() == "[3. 3.]");
}
