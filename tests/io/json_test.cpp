// SPDX-License-Identifier: BSD-3-Clause
// Events of JSON texts, and the quoting of strings.
#include <string>

#include <doctest/doctest.h>

#include <heddle/io/json.hpp>

TEST_CASE("text is quoted as JSON has it, and refused where it is no UTF-8") {
  const auto quoted = [](std::string_view text) {
    std::string out = "x";
    return heddle::append_json_string(out, text) ? out : out + " refused";
  };
  CHECK(quoted("") == "x\"\"");
  CHECK(quoted("a\"b\\c/") == "x\"a\\\"b\\\\c/\"");
  CHECK(quoted(std::string_view("\0\b\t\n\v\f\r\x1f\x7f", 9)) ==
        "x\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\x7f\"");
  CHECK(quoted("é網😀") == "x\"é網😀\"");
  for (const char* bad :
       {"\x80", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xe7\xb6"}) {
    CHECK(quoted(bad) == "x refused");
  }
  for (const char* good :
       {"\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80", "\xc2\x80"}) {
    CHECK(quoted(good) == 'x' + ('"' + std::string(good) + '"'));
  }
}

#if defined(HEDDLE_WITH_JSON)

namespace {

// Writes down what it is told.
struct scribe final : heddle::json_events {
  std::string seen;
  void begin_object() override { seen += "{"; }
  void key(std::string& name) override { seen += "key:" + name + " "; }
  void end_object() override { seen += "}"; }
  void begin_array() override { seen += "["; }
  void end_array() override { seen += "]"; }
  void string(std::string& text) override { seen += "string:" + text + " "; }
  void natural(std::uint64_t value) override { seen += "natural:" + std::to_string(value) + " "; }
  void number(double value) override { seen += "number:" + std::to_string(value) + " "; }
  void boolean(bool value) override { seen += value ? "true " : "false "; }
  void null() override { seen += "null "; }
  [[noreturn]] void malformed() override { throw offset(); }
};

// What was seen, or "malformed at <byte>".
std::string read(std::string_view text) {
  scribe events;
  try {
    heddle::read_json(text, events);
  } catch (std::size_t offset) {
    return "malformed at " + std::to_string(offset);
  }
  return events.seen;
}

}  // namespace

TEST_CASE("a JSON text is told in order") {
  CHECK(read(R"({"a": [1, -2, 1.5, true, false, null, "b\u00e9"], "c": {}})") ==
        "{key:a [natural:1 number:-2.000000 number:1.500000 true false null string:bé ]key:c {}}");
  CHECK(read(" 18446744073709551615 ") == "natural:18446744073709551615 ");
}

TEST_CASE("what is no JSON is malformed, at its byte") {
  CHECK(read("{\"a\" x}") == "malformed at 6");
  CHECK(read("{\"a\" 1}") == "malformed at 7");  // a number ends where the next byte is none of its
  CHECK(read("{} x") == "malformed at 4");
  CHECK(read(std::string_view("{}\0 x", 5)) == "malformed at 2");
  CHECK(read("\"\xff\"") == "malformed at 2");
  for (const char* bad :
       {"", "{", "[1,]", "{\"a\":1,}", "01", "1e999", "'a'", "\"\\ud800\"", "// x\n1", "NaN"}) {
    CHECK_MESSAGE(read(bad).starts_with("malformed at "), bad);
  }
}

TEST_CASE("a million open brackets are malformed, not a deep stack") {
  CHECK(read(std::string(1000000, '[')).starts_with("malformed at 1000000"));
}

#endif
