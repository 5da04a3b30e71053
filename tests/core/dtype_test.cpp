// SPDX-License-Identifier: BSD-3-Clause
// Element types, their promotion, and the conversions of the 16-bit floating types.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include <doctest/doctest.h>

#include <heddle/core/dtype.hpp>

using heddle::bfloat16;
using heddle::dtype;
using heddle::float16;

namespace {

// The value of a binary format, from its definition.
double decode(unsigned bits, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const unsigned fraction = bits & ((1u << fraction_bits) - 1);
  const int exponent = static_cast<int>((bits >> fraction_bits) & ((1u << exponent_bits) - 1));
  const double sign = (bits >> (exponent_bits + fraction_bits)) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) {
    return fraction != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  }
  const double scaled = std::ldexp(fraction, -fraction_bits);
  if (exponent == 0) return sign * std::ldexp(scaled, 1 - bias);
  return sign * std::ldexp(1 + scaled, exponent - bias);
}

float from_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class Half>
void check_every_value(int exponent_bits, int fraction_bits) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const Half half = Half::from_bits(static_cast<std::uint16_t>(bits));
    const double expected = decode(bits, exponent_bits, fraction_bits);
    const float widened = half;
    if (std::isnan(expected)) {
      REQUIRE(std::isnan(widened));
      REQUIRE(std::isnan(static_cast<float>(Half(widened))));
    } else {
      REQUIRE(static_cast<double>(widened) == expected);
      REQUIRE(std::signbit(widened) == std::signbit(expected));
      REQUIRE(Half(widened).bits == bits);
      REQUIRE(Half(static_cast<double>(widened)).bits == bits);
    }
  }
}

// Around every value and every midpoint between neighbours, rounding goes to the nearest, ties to
// even.
template <class Half>
void check_rounding(unsigned infinity_bits, double step_beyond_max) {
  for (unsigned bits = 0; bits < infinity_bits; ++bits) {
    const double low = static_cast<float>(Half::from_bits(static_cast<std::uint16_t>(bits)));
    const bool last = bits + 1 == infinity_bits;
    const double high =
        last ? low + step_beyond_max
             : static_cast<float>(Half::from_bits(static_cast<std::uint16_t>(bits + 1)));
    const float middle = static_cast<float>((low + high) / 2);
    const unsigned even = (bits & 1) == 0 ? bits : bits + 1;
    REQUIRE(Half(middle).bits == even);
    REQUIRE(Half(-middle).bits == (even | 0x8000u));
    REQUIRE(Half(std::nextafter(middle, 0.0f)).bits == bits);
    REQUIRE(Half(std::nextafter(middle, std::numeric_limits<float>::infinity())).bits == bits + 1);
    // A double just beside the midpoint would round to it in float, and then to the wrong side.
    REQUIRE(Half(std::nextafter(static_cast<double>(middle), 0.0)).bits == bits);
    REQUIRE(Half(std::nextafter(static_cast<double>(middle), 1e300)).bits == bits + 1);
  }
}

}  // namespace

TEST_CASE("every float16 widens to the value of its definition and narrows back") {
  check_every_value<float16>(5, 10);
}

TEST_CASE("every bfloat16 widens to the value of its definition and narrows back") {
  check_every_value<bfloat16>(8, 7);
}

TEST_CASE("narrowing to float16 rounds once, to nearest even, from float and from double") {
  check_rounding<float16>(0x7c00, 32);
}

TEST_CASE("narrowing to bfloat16 rounds once, to nearest even, from float and from double") {
  check_rounding<bfloat16>(0x7f80, std::ldexp(1.0, 120));
}

TEST_CASE("narrowing overflows to infinity and keeps every NaN a NaN") {
  CHECK(float16(65520.0f).bits == 0x7c00);
  CHECK(float16(65519.0f).bits == 0x7bff);
  CHECK(float16(1e30f).bits == 0x7c00);
  CHECK(float16(-1e300).bits == 0xfc00);
  CHECK(bfloat16(1e300).bits == 0x7f80);
  CHECK(bfloat16(std::numeric_limits<double>::infinity()).bits == 0x7f80);
  for (const std::uint32_t bits :
       {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    const float nan = from_bits(bits);
    CHECK((float16(nan).bits & 0x7fff) > 0x7c00);
    CHECK((bfloat16(nan).bits & 0x7fff) > 0x7f80);
    CHECK((float16(nan).bits >> 15) == (bits >> 31));
  }
  CHECK((float16(std::nan("")).bits & 0x7fff) > 0x7c00);
  CHECK(float16(-0.0f).bits == 0x8000);
  CHECK(bfloat16(-0.0).bits == 0x8000);
}

TEST_CASE("16-bit floats compute and compare as float, also in constant expressions") {
  constexpr float16 half(1.5f);
  static_assert(half.bits == 0x3e00);
  static_assert(half == 1.5f && half < float16(2.0f) && half + half == 3.0f);
  static_assert(bfloat16(3).bits == 0x4040 && float16(0x1p-24f).bits == 1);
  static_assert(float16(1e300).bits == 0x7c00);
  CHECK(static_cast<float>(half) == 1.5f);
}

TEST_CASE("promotion is PyTorch's table") {
  using enum dtype;
  const dtype order[] = {f64, f32, bf16, f16, i64, i32, u8, boolean};
  // Rows and columns in `order`, as torch.promote_types answers.
  const dtype table[8][8] = {
      {f64, f64, f64, f64, f64, f64, f64, f64},      {f64, f32, f32, f32, f32, f32, f32, f32},
      {f64, f32, bf16, f32, bf16, bf16, bf16, bf16}, {f64, f32, f32, f16, f16, f16, f16, f16},
      {f64, f32, bf16, f16, i64, i64, i64, i64},     {f64, f32, bf16, f16, i64, i32, i32, i32},
      {f64, f32, bf16, f16, i64, i32, u8, u8},       {f64, f32, bf16, f16, i64, i32, u8, boolean}};
  for (int a = 0; a < 8; ++a) {
    for (int b = 0; b < 8; ++b) {
      CAPTURE(heddle::to_string(order[a]));
      CAPTURE(heddle::to_string(order[b]));
      CHECK(heddle::promote(order[a], order[b]) == table[a][b]);
    }
  }
}

TEST_CASE("names, sizes, classes and limits fit the types") {
  using enum dtype;
  CHECK(heddle::name_of(boolean) == "bool");
  CHECK(heddle::to_string(bf16) == "bf16");
  CHECK(heddle::size_of(f64) == sizeof(double));
  CHECK(heddle::size_of(f16) == sizeof(float16));
  CHECK(heddle::size_of(boolean) == sizeof(bool));
  CHECK(heddle::is_floating(f16));
  CHECK_FALSE(heddle::is_floating(i64));
  CHECK(heddle::is_integral(u8));
  CHECK_FALSE(heddle::is_integral(boolean));
  CHECK(heddle::compute_dtype(bf16) == f32);
  CHECK(heddle::compute_dtype(f64) == f64);
  static_assert(std::is_same_v<heddle::type_of<f16>, float16>);
  static_assert(std::is_same_v<heddle::compute_type<bfloat16>, float>);
  static_assert(heddle::dtype_of<std::int64_t> == i64 && heddle::dtype_of<bool> == boolean);
  static_assert(heddle::element<std::uint8_t> && !heddle::element<char> && !heddle::element<short>);
  CHECK(heddle::max_of(f32) == std::numeric_limits<float>::max());
  CHECK(heddle::max_of(f16) == static_cast<float>(float16::from_bits(0x7bff)));
  CHECK(heddle::max_of(bf16) == static_cast<float>(bfloat16::from_bits(0x7f7f)));
  CHECK(heddle::lowest_of(i32) == std::numeric_limits<std::int32_t>::lowest());
  CHECK(heddle::max_of(i32) == std::numeric_limits<std::int32_t>::max());
  CHECK(heddle::infinity_of(f32) == std::numeric_limits<double>::infinity());
  CHECK(heddle::infinity_of(u8) == 255);
  CHECK(heddle::epsilon_of(f16) == static_cast<float>(float16::from_bits(0x3c01)) - 1);
  CHECK(heddle::epsilon_of(bf16) == static_cast<float>(bfloat16::from_bits(0x3f81)) - 1);
}

TEST_CASE("a 64-bit integer becomes a bfloat16 with one rounding") {
  using heddle::bfloat16;
  const std::int64_t tie = (std::int64_t{1} << 60) + (std::int64_t{1} << 52);
  CHECK(static_cast<float>(bfloat16(tie)) == 0x1p60f);  // to even
  CHECK(static_cast<float>(bfloat16(tie + 1)) == 0x1p60f + 0x1p53f);
  CHECK(static_cast<float>(bfloat16(-tie)) == -0x1p60f);
  CHECK(static_cast<float>(bfloat16(-tie - 1)) == -0x1p60f - 0x1p53f);
  CHECK(static_cast<float>(bfloat16(std::uint64_t{0x8000000000000000u})) == 0x1p63f);
  CHECK(static_cast<float>(bfloat16(INT64_MIN)) == -0x1p63f);
}
