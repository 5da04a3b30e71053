// SPDX-License-Identifier: BSD-3-Clause
#include <string>

#include <doctest/doctest.h>

#include <heddle/exec/explain.hpp>
#include <heddle/tensor/creation.hpp>

using namespace heddle;

namespace {

bool says(const std::string& text, const char* words) {
  return text.find(words) != std::string::npos;
}
const tensor<float, 2> a = ones<float, 2>({3, 4});
const tensor<float, 2> b = ones<float, 2>({5, 2});

}  // namespace

TEST_CASE("explain names operands that are read several times, and let's remedy works") {
  const std::string plain = explain(exp(a - amax<-1>(a, keepdim)) / (a + 1));
  CHECK(says(plain, "1 kernel\n"));
  CHECK(says(plain, "operand 0 is read 3 times under different names; write let(...)"));
  const std::string traced =
      explain(let([](auto x) { return exp(x - amax<-1>(x, keepdim)) / (x + 1); }, a));
  CHECK_FALSE(says(traced, "times under different names"));
  // one read and one write of 12 floats
  CHECK(says(traced, "moves 96 bytes"));
}

TEST_CASE("explain says where a statement was cut and why") {
  const std::string text = explain(sum(a * a) + sum(b * b));
  CHECK(says(text, "2 kernels"));
  CHECK(says(text, "nest 1 over axes {2,3}"));
  CHECK(says(text, "cut: it runs over axes {2,3}, the nests before it over others"));
  CHECK(says(text, "which is complete only after nest 0"));
}

TEST_CASE("explain says of what crosses a cut whether it is stored, and what the other way takes") {
  const auto centred = [](auto a, auto b, auto c, auto d) {
    const auto t = a * b + c * d;
    const auto down = sum<0>(t, keepdim);
    const auto along = sum<1>(t, keepdim);
    return t - down - along;
  };
  const std::string stored = explain(let(centred, a, a, a, a));
  CHECK(says(stored, "2 kernels"));
  CHECK(says(stored, "crosses the cut: nest 0 stores it, this nest reads it back as %"));
  CHECK(says(stored, ": 8 bytes an element; computing it again would take 16\n"));
  CHECK(says(stored, "to output 1 [0,1], read back as input 4\n"));
  // four operands are read, one value is written, read back, and the result is written
  CHECK(says(stored, "moves 336 bytes"));
  const auto of_two = [](auto a, auto b) {
    const auto t = a * b;
    const auto down = sum<0>(t, keepdim);
    const auto along = sum<1>(t, keepdim);
    return t - down - along;
  };
  const std::string again = explain(let(of_two, a, a));
  CHECK(says(again,
             "is computed again from its operands: 8 bytes an element; storing it would take "
             "8\n"));
  CHECK(says(again, "moves 240 bytes"));
  const std::string read = explain(let(
      [](auto x) {
        const auto down = sum<0>(x, keepdim);
        const auto along = sum<1>(x, keepdim);
        return x - down - along;
      },
      a));
  CHECK(says(read, "is read again: 4 bytes an element; storing it would take 8\n"));
}

TEST_CASE("explain says that an extent only happens to be 1") {
  const tensor<float, 2> column = ones<float, 2>({3, 1});
  CHECK(says(explain(a * column), "operand 1 happens to have extent 1 along its axis 1"));
  const tensor<float, 1> flat = ones<float, 1>({3});
  CHECK_FALSE(says(explain(a * unsqueeze<1>(flat)), "happens to have extent 1"));
}

TEST_CASE("explain evaluates nothing") {
  const profiler p;
  static_cast<void>(explain(a + b(slice(0, 3), slice(0, 1))));
  CHECK(p.launches().empty());
}
