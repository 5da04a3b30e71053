// SPDX-License-Identifier: BSD-3-Clause
// safetensors files: the format's rules, the reference implementation's files, and what comes back.
#if defined(HEDDLE_WITH_JSON)

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../support/temporary_directory.hpp"
#include <doctest/doctest.h>

#include <heddle/core/philox.hpp>
#include <heddle/io/safetensors.hpp>
#include <heddle/tensor/creation.hpp>

using heddle::any_tensor;
using heddle::load_safetensors;
using heddle::save_safetensors;
using heddle::tensor;

namespace {

const std::string fixtures = "tests/io/fixtures/";

// A file of that header and that many bytes of data, 0, 1, 2, …
std::string file_of(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string content(8, '\0');
  std::memcpy(content.data(), &length, 8);
  content += header;
  for (std::size_t i = 0; i < data_bytes; ++i) content += static_cast<char>(i);
  return content;
}

heddle::safetensors loaded(const std::string& content) {
  static const temporary_directory place;
  std::remove((place / "x").c_str());  // tensors of the one before may still map it
  // Not by write_file, which would wait for the disk thousands of times.
  std::ofstream(place / "x", std::ios::binary) << content;
  return load_safetensors(place / "x");
}

// The sentence that refuses a file, or "accepted".
std::string refusal(const std::string& content) {
  try {
    static_cast<void>(loaded(content));
  } catch (const heddle::io_error& failure) {
    return failure.what();
  }
  return "accepted";
}
std::string refusal(const std::string& header, std::size_t data_bytes) {
  return refusal(file_of(header, data_bytes));
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string saved(const heddle::safetensors& content) {
  const temporary_directory place;
  save_safetensors(place / "x", content, content.metadata);
  return heddle::read_file(place / "x");
}

const std::string one = R"({"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]}})";

}  // namespace

TEST_CASE("a file of the reference implementation holds every dtype") {
  const heddle::safetensors file = load_safetensors(fixtures + "all_dtypes.safetensors");
  CHECK(file.size() == 10);
  CHECK(file.metadata.empty());
  const double values[] = {0, 1, 2, 3, 5, 250};
  const auto f64 = file.at("f64").as<double, 2>();
  const auto f32 = file.at("f32").as<float, 2>();
  const auto bf16 = file.at("bf16").as<heddle::bfloat16, 2>();
  const auto f16 = file.at("f16").as<heddle::float16, 1>();
  const auto i64 = file.at("i64").as<std::int64_t, 3>();
  const auto i32 = file.at("i32").as<std::int32_t, 1>();
  const auto u8 = file.at("u8").as<std::uint8_t, 1>();
  const auto boolean = file.at("bool").as<bool, 1>();
  REQUIRE(f64.extents() == heddle::extents<2>{2, 3});
  REQUIRE(f32.extents() == heddle::extents<2>{3, 2});
  REQUIRE(bf16.extents() == heddle::extents<2>{1, 6});
  REQUIRE(i64.extents() == heddle::extents<3>{3, 1, 2});
  REQUIRE(u8.extents() == heddle::extents<1>{5});
  for (int i = 0; i < 6; ++i) {
    const double value = values[i];
    CHECK(f64(i / 3, i % 3) == value / 3);
    CHECK(f32(i / 2, i % 2) == static_cast<float>(value) / 3.f);
    CHECK(static_cast<double>(static_cast<float>(bf16(0, i))) == value);
    CHECK(static_cast<double>(static_cast<float>(f16(i))) == value / 4);
    CHECK(i64(i / 2, 0, i % 2) == -static_cast<std::int64_t>(value) * (std::int64_t{1} << 40));
    CHECK(i32(i) == -static_cast<std::int32_t>(value) * (1 << 20));
    if (i < 5) CHECK(u8(i) == value);
    if (i < 3) CHECK(boolean(i) == (i == 1));
  }
  CHECK(file.at("scalar").as<float, 0>().item() == 2.5f);
  CHECK(file.at("empty").as<float, 2>().extents() == heddle::extents<2>{0, 7});
  CHECK(file.find("other") == nullptr);
  CHECK_THROWS_WITH_AS(static_cast<void>(file.at("other")),
                       doctest::Contains("no tensor of this name: \"other\""), heddle::value_error);
}

TEST_CASE("names and texts of the reference implementation need their escapes") {
  const heddle::safetensors file = load_safetensors(fixtures + "metadata.safetensors");
  REQUIRE(file.size() == 1);
  CHECK(file.tensors[0].first == "quote \" backslash \\ tab \t é 網");
  REQUIRE(file.metadata.size() == 1);
  CHECK(file.metadata[0] == std::pair<std::string, std::string>("format", "pt\n"));
}

TEST_CASE("saving what was loaded gives the reference implementation's bytes") {
  for (const char* name : {"all_dtypes.safetensors", "metadata.safetensors"}) {
    CHECK(saved(load_safetensors(fixtures + name)) == heddle::read_file(fixtures + name));
  }
}

TEST_CASE(
    "loading maps the file: nothing is copied, writes stay in memory, tensors outlive the file") {
  const temporary_directory place;
  save_safetensors(place / "x", {{"w", tensor<float, 1>{1, 2}}, {"v", tensor<float, 1>{3}}});
  heddle::safetensors file = load_safetensors(place / "x");
  tensor<float, 1> v = file.at("v").as<float, 1>();
  tensor<float, 1> w = file.at("w").as<float, 1>();
  CHECK(v.storage() != w.storage());  // one memory, versions of their own
  CHECK(w.data() == v.data() + 1);
  file = {};
  w.fill_(7.f);
  save_safetensors(place / "x", {{"other", tensor<float, 1>{5}}});
  CHECK(v(0) == 3.f);
  CHECK(w(1) == 7.f);
  CHECK(load_safetensors(place / "x").at("other").as<float, 1>()(0) == 5.f);
  CHECK(place.names() == std::vector<std::string>{"x"});
}

TEST_CASE("views, other host devices and maps of names are saved, and loaded onto a device") {
  const temporary_directory place;
  const tensor<float, 2> x{{1, 2, 3}, {4, 5, 6}};
  const std::map<std::string, any_tensor> tensors{
      {"transposed", x.transpose()}, {"moved", x.to(heddle::cpu(3))}, {"column", x.slice<1>(1, 2)}};
  save_safetensors(place / "x", tensors);
  const heddle::safetensors file = load_safetensors(place / "x", {.device = heddle::cpu(2)});
  for (const auto& [name, value] : file) CHECK(value.device() == heddle::cpu(2));
  CHECK(file.at("transposed").as<float, 2>()(2, 0) == 3.f);
  CHECK(file.at("moved").as<float, 2>()(1, 2) == 6.f);
  CHECK(file.at("column").as<float, 2>()(1, 0) == 5.f);
}

TEST_CASE("a file of no tensor is a file") {
  CHECK(loaded(file_of("{}", 0)).size() == 0);
  CHECK(loaded(file_of(R"({"__metadata__":{}}   )", 0)).size() == 0);
  CHECK(loaded(saved({})).size() == 0);
}

TEST_CASE("a foreign writer's order of tensors and missing alignment are read") {
  const auto file = loaded(file_of(
      R"({"b":{"shape":[1],"dtype":"I32","data_offsets":[1,5]},"a":{"data_offsets":[0,1],"dtype":"U8","shape":[1,1]}})",
      5));
  REQUIRE(file.size() == 2);
  CHECK(file.tensors[0].first == "a");
  CHECK(file.at("b").as<std::int32_t, 1>()(0) == 0x04030201);
}

TEST_CASE("rules of the prefix: a length that fits, an opening brace") {
  CHECK(has(refusal(""), "the file ends before its header: 0 in "));
  CHECK(has(refusal("1234567"), "the file ends before its header: 7 in "));
  CHECK(has(refusal(std::string(8, '\0')), "the file ends before its header: 8 in "));
  CHECK(has(refusal(std::string(16, '\xff')), "at byte 0, is too large: 18446744073709551615"));
  std::string large = file_of("{}", 0);
  const std::uint64_t limit = 100'000'001;
  std::memcpy(large.data(), &limit, 8);
  CHECK(has(refusal(large), "at byte 0, is too large: 100000001"));
  const std::uint64_t beyond = 3;
  std::memcpy(large.data(), &beyond, 8);
  CHECK(has(refusal(large), "goes beyond the end of the file: 3"));
  CHECK(has(refusal(file_of("", 5)), "at byte 8, does not begin with an opening brace"));
  CHECK(has(refusal(" {}", 0), "its first byte is: 32"));
  CHECK(has(refusal("\xef\xbb\xbf{}", 0), "its first byte is: 239"));
}

TEST_CASE("rules of the header: JSON, UTF-8, known fields and dtypes, each once") {
  CHECK(refusal(one, 8) == "accepted");
  CHECK(has(refusal(R"({"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8]})", 8),
            "this is no JSON: byte 61 of "));
  CHECK(has(refusal(one + "x", 8), "this is no JSON: byte 63 of "));
  CHECK(has(refusal(one + std::string(1, '\0'), 8), "this is no JSON: byte 62 of "));
  CHECK(has(refusal("{\"\xff\":{}}", 0), "this is no JSON: byte 11 of "));
  CHECK(has(refusal(R"({"a":1})", 0), "here stands a number, where the format has something else"));
  CHECK(has(refusal(R"({"a":[1]})", 0), "here stands an array"));
  CHECK(has(refusal(R"({"a":{"dtype":"I32","shape":[2],"data_offsets":[0,8],"x":1}})", 8),
            "a field that is not dtype, shape or data_offsets"));
  CHECK(has(refusal(R"({"a":{"dtype":"I32","dtype":"I32","shape":[2],"data_offsets":[0,8]}})", 8),
            "a field of a tensor is there twice"));
  CHECK(has(refusal(R"({"a":{"dtype":"I32","shape":[2]}})", 8),
            "lacks dtype, shape or data_offsets"));
  CHECK(has(refusal(R"({"a":{"dtype":"U16","shape":[2],"data_offsets":[0,4]}})", 4),
            "the dtype \"U16\" is not one of"));
  CHECK(has(refusal(R"({"a":{"dtype":"i32","shape":[2],"data_offsets":[0,8]}})", 8),
            "the dtype \"i32\""));
  CHECK(has(refusal(R"({"a":{"dtype":5,"shape":[2],"data_offsets":[0,8]}})", 8),
            "here stands a number"));
  CHECK(has(refusal(R"({"a":{"dtype":"I32","shape":2,"data_offsets":[0,8]}})", 8),
            "here stands a number"));
  for (const char* extent :
       {"-2", "2.0", "2e0", "true", "null", "\"2\"", "[2]", "{}", "18446744073709551616"}) {
    const std::string header =
        std::string(R"({"a":{"dtype":"I32","shape":[)") + extent + R"(],"data_offsets":[0,8]}})";
    CHECK_MESSAGE(has(refusal(header, 8), "here stands "), extent);
  }
  CHECK(has(refusal(R"({"__metadata__":{"a":1}})", 0), "here stands a number"));
  CHECK(has(refusal(R"({"__metadata__":{"a":{}}})", 0), "here stands an object"));
  CHECK(
      has(refusal(R"({"__metadata__":{},"__metadata__":{}})", 0), "the metadata are there twice"));
  CHECK(
      has(refusal(R"({"__metadata__":{"a":"1","b":"","a":"2"}})", 0), "two texts of the metadata"));
}

TEST_CASE("rules of the names: unique, also where escapes hide it") {
  CHECK(has(refusal(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                    R"("\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                    2),
            "two tensors have one name: byte "));
}

TEST_CASE("rules of the data: two offsets of the right size, no hole, no overlap, up to the end") {
  const auto header = [](const char* first, const char* second) {
    return std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  CHECK(refusal(header("[0,4]", "[4,8]"), 8) == "accepted");
  CHECK(refusal(header("[4,8]", "[0,4]"), 8) == "accepted");
  CHECK(has(refusal(header("[0,4]", "[5,9]"), 9), "the data have a hole before a tensor"));
  CHECK(has(refusal(header("[1,5]", "[5,9]"), 9), "the data have a hole before a tensor"));
  CHECK(has(refusal(header("[0,4]", "[3,7]"), 8), "the data of two tensors overlap"));
  CHECK(has(refusal(header("[0,4]", "[0,4]"), 8), "the data of two tensors overlap"));
  CHECK(has(refusal(header("[0,4]", "[4,8]"), 9),
            "the tensors end at byte 8 of the data, which are 9"));
  CHECK(has(refusal(header("[0,4]", "[4,8]"), 7), "end at byte 8 of the data, which are 7"));
  CHECK(has(refusal(header("[0,4]", "[4,9]"), 9), "hold 5 bytes, but dtype and shape make 4"));
  CHECK(has(refusal(header("[0,4]", "[8,4]"), 8), "end before they begin"));
  CHECK(has(refusal(header("[0,4]", "[4]"), 8), "data_offsets are not two numbers"));
  CHECK(has(refusal(header("[0,4]", "[4,8,8]"), 8), "data_offsets are not two numbers"));
  CHECK(has(refusal(header("[0,4]", "[]"), 8), "data_offsets are not two numbers"));
  CHECK(has(refusal("{}", 1), "the tensors end at byte 0 of the data, which are 1"));
}

TEST_CASE("rules of the sizes: checked multiplication, bounded rank and count") {
  const auto header = [](const std::string& shape, const std::string& end) {
    return R"({"a":{"dtype":"F64","shape":[)" + shape + R"(],"data_offsets":[0,)" + end + "]}}";
  };
  CHECK(has(refusal(header("4294967296,4294967296", "0"), 0), "does not fit 63 bits"));
  CHECK(has(refusal(header("9223372036854775807", "18446744073709551608"), 0),
            "does not fit 63 bits"));
  CHECK(has(refusal(header("9223372036854775808", "0"), 0), "an extent does not fit 63 bits"));
  CHECK(has(refusal(header("1152921504606846976", "9223372036854775808"), 8),
            "does not fit 63 bits"));
  CHECK(has(refusal(header("1152921504606846975", "9223372036854775800"), 8), "which are 8"));
  CHECK(has(refusal(header("0,4294967296,4294967296", "0"), 0), "does not fit 63 bits"));
  CHECK(refusal(header("0,1152921504606846975", "0"), 0) == "accepted");
  CHECK(refusal(header("1,1,1,1,1,1,1,1", "8"), 8) == "accepted");
  CHECK(has(refusal(header("1,1,1,1,1,1,1,1,1", "8"), 8), "the rank is above 8"));

  std::string many = "{";
  for (int i = 0; i <= 65536; ++i) {
    many += (i > 0 ? ",\"" : "\"") + std::to_string(i) +
            R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  CHECK(has(refusal(many + '}', 0), "there are more than 65536 tensors"));
}

TEST_CASE("elements of BOOL are 0 or 1") {
  CHECK(has(refusal(R"({"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})", 3),
            "a BOOL element is neither 0 nor 1: 2 at byte 65 of "));
}

TEST_CASE("a tensor of a file that is written to leaves the versions of the others") {
  const heddle::safetensors file = loaded(file_of(
      R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}})",
      32));
  tensor<float, 1> a = file.tensors[0].second.as<float, 1>();
  const tensor<float, 1> b = file.tensors[1].second.as<float, 1>();
  const auto before = b.storage()->version();
  a.fill_(1);
  CHECK(a.storage()->version() == 1);
  CHECK(b.storage()->version() == before);
}

TEST_CASE("a byte budget is kept") {
  const std::string path = fixtures + "all_dtypes.safetensors";
  CHECK(load_safetensors(path, {.max_bytes = 796}).size() == 10);
  CHECK_THROWS_WITH_AS(static_cast<void>(load_safetensors(path, {.max_bytes = 795})),
                       doctest::Contains("has 796 bytes; the budget is 795"), heddle::io_error);
}

TEST_CASE("every truncation of a file is refused") {
  for (const char* name : {"all_dtypes.safetensors", "metadata.safetensors"}) {
    const std::string whole = heddle::read_file(fixtures + name);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      REQUIRE(refusal(whole.substr(0, length)) != "accepted");
    }
  }
}

TEST_CASE("damaged files are refused with a sentence, or load and come back when saved again") {
  const std::string whole = heddle::read_file(fixtures + "all_dtypes.safetensors");
  int accepted = 0;
  for (std::uint64_t round = 0; round < 2000; ++round) {
    std::string damaged = whole;
    const heddle::philox_words words = heddle::philox(1, round);
    for (unsigned i = 0; i <= round % 3; ++i) {
      damaged[words[static_cast<int>(i)] % damaged.size()] = static_cast<char>(words[3] >> (8 * i));
    }
    heddle::safetensors file;
    try {
      file = loaded(damaged);
    } catch (const heddle::io_error& failure) {
      REQUIRE(has(failure.what(), "heddle::load_safetensors: "));
      continue;
    }
    if (++accepted % 50 != 0) continue;
    const std::string again = saved(file);
    REQUIRE(saved(loaded(again)) == again);
  }
  CHECK(accepted > 100);
  CHECK(accepted < 1900);
}

TEST_CASE("what cannot be saved is refused before a file appears") {
  const temporary_directory place;
  const tensor<float, 1> x{1};
  const std::string path = place / "x";
  CHECK_THROWS_WITH_AS(save_safetensors(path, {{"__metadata__", x}}),
                       doctest::Contains("a name that the format keeps for itself"),
                       heddle::value_error);
  CHECK_THROWS_WITH_AS(save_safetensors(path, {{"a", x}, {"a", x}}),
                       doctest::Contains("two tensors have one name: \"a\""), heddle::value_error);
  CHECK_THROWS_WITH_AS(save_safetensors(path, {{"\xff", x}}), doctest::Contains("not UTF-8"),
                       heddle::value_error);
  CHECK_THROWS_WITH_AS(save_safetensors(path, {{"a", x}}, {{"k", "1"}, {"k", "2"}}),
                       doctest::Contains("two texts have one name"), heddle::value_error);
  CHECK_THROWS_AS(save_safetensors(path, {{"a", any_tensor()}}), heddle::state_error);
  const tensor<float, 1> nowhere = heddle::empty<float, 1>({3}, heddle::meta());
  CHECK_THROWS_AS(save_safetensors(path, {{"a", nowhere}}), heddle::device_error);
  CHECK_THROWS_AS(save_safetensors(place / "none/x", {{"a", x}}), heddle::io_error);
  CHECK(place.names().empty());
}

#endif
