// SPDX-License-Identifier: BSD-3-Clause
// Extents, strides, devices and messages.
#include <string>
#include <type_traits>

#include "../support/said.hpp"
#include <doctest/doctest.h>

#include <heddle/core/config.hpp>
#include <heddle/core/device.hpp>
#include <heddle/core/error.hpp>
#include <heddle/core/extents.hpp>

namespace {

template <int Rank>
std::int64_t count_through_braces(heddle::extents<Rank> extents) {
  return heddle::element_count(extents);
}

}  // namespace

TEST_CASE("extents are made of exactly as many indices as their rank") {
  constexpr heddle::extents<2> pair{2, 3};
  static_assert(pair[0] == 2 && pair[1] == 3 && pair.rank() == 2);
  static_assert(!std::is_constructible_v<heddle::extents<3>, int, int>);
  static_assert(!std::is_constructible_v<heddle::extents<1>, int, int>);
  static_assert(std::is_trivially_copyable_v<heddle::extents<4>>);
  CHECK(count_through_braces<2>({4, 5}) == 20);
  CHECK(heddle::extents<3>::filled(7) == heddle::extents<3>{7, 7, 7});
  CHECK_FALSE(pair == heddle::extents<2>{2, 4});
  std::int64_t sum = 0;
  for (const std::int64_t extent : pair) sum += extent;
  CHECK(sum == 5);
}

TEST_CASE("rank 0 has one element") {
  constexpr heddle::extents<0> scalar;
  static_assert(heddle::element_count(scalar) == 1);
  static_assert(scalar == heddle::extents<0>{});
  CHECK(heddle::to_string(scalar) == "()");
  CHECK(scalar.begin() == scalar.end());
  CHECK(heddle::is_contiguous(scalar, heddle::contiguous_strides(scalar)));
}

TEST_CASE("contiguous strides are row-major, and empty axes count as one") {
  static_assert(heddle::contiguous_strides(heddle::extents<3>{2, 3, 4}) ==
                heddle::strides<3>{12, 4, 1});
  static_assert(heddle::contiguous_strides(heddle::extents<3>{2, 0, 4}) ==
                heddle::strides<3>{4, 4, 1});
  using heddle::extents;
  using heddle::strides;
  CHECK(heddle::is_contiguous(extents<2>{2, 3}, strides<2>{3, 1}));
  CHECK_FALSE(heddle::is_contiguous(extents<2>{2, 3}, strides<2>{1, 2}));
  CHECK(heddle::is_contiguous(extents<2>{1, 3}, strides<2>{99, 1}));
  CHECK(heddle::is_contiguous(extents<2>{0, 3}, strides<2>{7, 5}));
  CHECK_FALSE(heddle::is_contiguous(extents<2>{2, 3}, strides<2>{0, 1}));
}

TEST_CASE("counts that do not fit and negative extents are shape errors in a sentence") {
  const std::int64_t big = std::int64_t{1} << 40;
  CHECK(
      support::said<heddle::shape_error>([&] {
        (void)heddle::checked_element_count(heddle::extents<2>{big, big});
      }) ==
      "heddle::checked_element_count: the number of elements does not fit 64 bits: (1099511627776, "
      "1099511627776); use smaller extents");
  CHECK(support::said<heddle::shape_error>([] {
          (void)heddle::checked_element_count(heddle::extents<2>{2, -3});
        }) ==
        "heddle::checked_element_count: an extent is negative: (2, -3); extents are 0 or more");
  CHECK(heddle::checked_element_count(heddle::extents<3>{big, big, 0}) == 0);
  CHECK(heddle::checked_element_count(heddle::extents<2>{2, 3}) == 6);
  CHECK(heddle::checked_multiply(-3, 5) == -15);
  CHECK_THROWS_AS((void)heddle::checked_multiply(big, big), heddle::shape_error);
}

TEST_CASE("a message joins text, numbers and what has a to_string") {
  CHECK(support::said<heddle::error>([] {
          heddle::raise<heddle::value_error>("heddle::f: got ", 3, ' ', 2.5, ' ', true, ' ',
                                             std::string("s"), ' ', heddle::extents<1>{5}, ' ',
                                             heddle::cpu(1), ' ', std::size_t{7});
        }) == "heddle::f: got 3 2.5 true s (5) cpu:1 7");
  static_assert(std::is_base_of_v<std::runtime_error, heddle::error>);
  static_assert(std::is_base_of_v<heddle::error, heddle::out_of_memory>);
}

TEST_CASE("device names are read back as they are written") {
  static_assert(heddle::cpu() != heddle::cpu(0) && heddle::cpu().is_inline());
  static_assert(!heddle::cpu(0).is_inline() && heddle::cuda(0).is_cuda() &&
                heddle::meta().is_meta());
  for (const heddle::device each : {heddle::cpu(), heddle::cpu(0), heddle::cpu(63), heddle::cuda(0),
                                    heddle::cuda(12), heddle::meta()}) {
    CHECK(heddle::parse_device(heddle::to_string(each)) == each);
  }
  CHECK(heddle::parse_device("cuda") == heddle::cuda(0));
  CHECK(heddle::to_string(heddle::cuda(2)) == "cuda:2");
}

TEST_CASE("a device that does not exist is a device error in a sentence") {
  for (const char* text : {"", "gpu", "cpu:", "cpu:x", "cpu:64", "cpu:-1", "cuda:99999", "meta:0",
                           "cpu:1 ", "CPU", "cuda:1x"}) {
    CAPTURE(text);
    CHECK_THROWS_AS((void)heddle::parse_device(text), heddle::device_error);
  }
  CHECK(support::said<heddle::device_error>([] { (void)heddle::parse_device("tpu:3"); }) ==
        "heddle::parse_device: this names no device: \"tpu:3\"; accepted are \"cpu\", \"cpu:0\" to "
        "\"cpu:63\", \"cuda\", \"cuda:<index>\" and \"meta\"");
  CHECK_THROWS_AS((void)heddle::cpu(64), heddle::device_error);
  CHECK_THROWS_AS((void)heddle::cuda(-1), heddle::device_error);
}

TEST_CASE("units of differing flags have differing configuration tags") {
  static_assert(!std::is_same_v<heddle::configuration_tag<1>, heddle::configuration_tag<2>>);
  using bits = heddle::configuration;
#if defined(__AVX2__)
  CHECK(bits::has(heddle::configuration_bits::avx2));
#else
  CHECK_FALSE(bits::has(heddle::configuration_bits::avx2));
#endif
#if defined(__CUDACC__)
  CHECK(bits::has(heddle::configuration_bits::cuda));
#else
  CHECK_FALSE(bits::has(heddle::configuration_bits::cuda));
#endif
}
