// SPDX-License-Identifier: BSD-3-Clause
// Tables of numbers.
#include <cmath>
#include <cstdint>
#include <string>

#include "../support/temporary_directory.hpp"
#include <doctest/doctest.h>

#include <heddle/io/csv.hpp>

namespace {

template <class T>
heddle::tensor<T, 2> table(const std::string& text, const heddle::csv_options& options = {}) {
  const temporary_directory place;
  heddle::write_file(place / "table.csv", text);
  return heddle::read_csv<T>(place / "table.csv", options);
}

template <class T>
std::string refusal(const std::string& text, const heddle::csv_options& options = {}) {
  try {
    static_cast<void>(table<T>(text, options));
  } catch (const heddle::io_error& failure) {
    return failure.what();
  }
  return "accepted";
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("rows and columns arrive in place, whatever the line ends") {
  for (const char* text :
       {"1,2,3\n4,5,6\n", "1,2,3\r\n4,5,6\r\n", "1,2,3\n4,5,6", " 1,2 ,\t3\n4,5,6\n"}) {
    const auto x = table<float>(text);
    REQUIRE(x.extents() == heddle::extents<2>{2, 3});
    CHECK(x(0, 2) == 3.f);
    CHECK(x(1, 0) == 4.f);
  }
  const auto x =
      table<double>("name;other\n-1.5;2e-3\ninf;nan\n", {.separator = ';', .skip_lines = 1});
  CHECK(x(0, 0) == -1.5);
  CHECK(x(0, 1) == 2e-3);
  CHECK(std::isinf(x(1, 0)));
  CHECK(std::isnan(x(1, 1)));
  CHECK(table<std::uint8_t>("0,255\n")(0, 1) == 255);
  CHECK(table<bool>("0,1\n")(0, 1));
  CHECK(static_cast<float>(table<heddle::bfloat16>("0.1\n")(0, 0)) == 0.10009765625f);
  CHECK(table<std::int64_t>("-9223372036854775808\n")(0, 0) == INT64_MIN);
}

TEST_CASE("a value that is no number of the dtype is named with its line and column") {
  CHECK(has(refusal<float>("1,2\n3,x\n"),
            "heddle::read_csv: a value is no number of dtype f32: \"x\" at line 2, column 2 of "));
  CHECK(has(refusal<float>("1,\n"), "\"\" at line 1, column 2"));
  CHECK(has(refusal<float>("a\n1\nb\n", {.skip_lines = 1}), "\"b\" at line 3, column 1"));
  CHECK(has(refusal<std::uint8_t>("1,256\n"), "dtype u8: \"256\""));
  CHECK(has(refusal<std::int32_t>("1.5\n"), "dtype i32: \"1.5\""));
  CHECK(has(refusal<bool>("2\n"), "dtype bool: \"2\""));
  CHECK(has(refusal<float>("1 2\n"), "\"1 2\""));
  CHECK(has(refusal<float>(std::string("1\0", 2) + "\n"), "at line 1, column 1"));
  CHECK(refusal<float>(std::string(1000, 'x') + '\n').size() < 300);
}

TEST_CASE("rows of different length, missing rows and large files are refused") {
  CHECK(has(refusal<float>("1,2\n3\n"), "another number of values: 1 at line 2 of "));
  CHECK(has(refusal<float>("1,2\n3,4,5\n"), "3 at line 2 of "));
  CHECK(has(refusal<float>("1\n\n2\n"), "another number of values: 0 at line 2 of "));
  CHECK(has(refusal<float>("1,2\n", {.columns = 3}), "2 at line 1 of "));
  CHECK(has(refusal<float>(""), "the file has no row"));
  CHECK(has(refusal<float>("name\n", {.skip_lines = 1}), "a row of numbers is expected at line 2"));
  CHECK(has(refusal<float>("1,2\n", {.max_bytes = 3}), "the budget is 3"));
  CHECK_THROWS_AS(static_cast<void>(heddle::read_csv<float>("none.csv")), heddle::io_error);
}

TEST_CASE("the digits of the examples are read whole") {
  const auto digits = heddle::read_csv<float>("examples/data/digits.csv");
  REQUIRE(digits.extents() == heddle::extents<2>{1797, 65});
  std::int64_t counts[10] = {};
  for (std::int64_t row = 0; row < 1797; ++row) ++counts[static_cast<int>(digits(row, 64))];
  // Of the data set's description.
  const std::int64_t expected[10] = {178, 182, 177, 183, 181, 182, 181, 179, 174, 180};
  for (int digit = 0; digit < 10; ++digit) CHECK(counts[digit] == expected[digit]);
}
