// SPDX-License-Identifier: BSD-3-Clause
// JSON: a reader that hands out what it meets, in order, and the quoting that writers need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <heddle/core/config.hpp>

#if defined(HEDDLE_WITH_JSON)
#include <iterator>

#include <nlohmann/json.hpp>
#endif

namespace heddle::inline v0 {

/// What `read_json` calls, in the order of the text. A call that throws ends the reading.
class json_events {
 public:
  virtual ~json_events() = default;

  /// An object begins; its members follow, each a key and a value.
  virtual void begin_object() = 0;
  /// The name of the member whose value follows. The text may be moved from.
  virtual void key(std::string& name) = 0;
  /// The innermost open object ends.
  virtual void end_object() = 0;
  /// An array begins; its values follow.
  virtual void begin_array() = 0;
  /// The innermost open array ends.
  virtual void end_array() = 0;
  /// The text may be moved from.
  virtual void string(std::string& text) = 0;
  /// An integer of 0 or more that fits 64 bits.
  virtual void natural(std::uint64_t value) = 0;
  /// A negative integer that fits 64 bits, or any other number.
  virtual void number(double value) = 0;
  /// true or false.
  virtual void boolean(bool value) = 0;
  /// The value null.
  virtual void null() = 0;
  /// The text is no JSON from this byte on. Throws.
  [[noreturn]] virtual void malformed() = 0;

  /// How many bytes of the text were read before the call: where the item ends, or at most one
  /// further.
  [[nodiscard]] std::size_t offset() const noexcept { return offset_; }

  /// Called by the reader before each event: what `offset` is to return.
  void at(std::size_t offset) noexcept { offset_ = offset; }

 private:
  std::size_t offset_ = 0;
};

namespace detail {

template <class>
inline constexpr bool json_is_linked =
#if defined(HEDDLE_WITH_JSON)
    true;
#else
    false;
#endif

/// The length of the UTF-8 sequence that begins here, 0 where there is none (RFC 3629).
inline std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned first = byte(0);
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return follows(1) ? 2 : 0;
  if (first < 0xf0) {
    const bool overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = first == 0xed && byte(1) > 0x9f;
    return !overlong && !surrogate && follows(1) && follows(2) ? 3 : 0;
  }
  if (first > 0xf4) return 0;
  const bool overlong = first == 0xf0 && byte(1) < 0x90;
  const bool beyond = first == 0xf4 && byte(1) > 0x8f;
  return !overlong && !beyond && follows(1) && follows(2) && follows(3) ? 4 : 0;
}

#if defined(HEDDLE_WITH_JSON)

// Counts the bytes read: nlohmann's events do not say where they are.
class counted_characters {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  counted_characters(const char* place, const char** latest) noexcept
      : place_(place), latest_(latest) {}
  const char& operator*() const noexcept { return *place_; }
  counted_characters& operator++() noexcept {
    *latest_ = ++place_;
    return *this;
  }
  friend bool operator==(const counted_characters& a, const counted_characters& b) noexcept {
    return a.place_ == b.place_;
  }
  friend bool operator!=(const counted_characters& a, const counted_characters& b) noexcept {
    return a.place_ != b.place_;
  }

 private:
  const char* place_;
  const char** latest_;
};

// What nlohmann's parser calls.
struct json_forwarder {
  json_events& events;
  const char* begin;
  const char* const& latest;

  json_events& here() const {
    events.at(static_cast<std::size_t>(latest - begin));
    return events;
  }
  bool null() { return here().null(), true; }
  bool boolean(bool value) { return here().boolean(value), true; }
  bool number_integer(std::int64_t value) {
    return here().number(static_cast<double>(value)), true;
  }
  bool number_unsigned(std::uint64_t value) { return here().natural(value), true; }
  bool number_float(double value, const std::string&) { return here().number(value), true; }
  bool string(std::string& text) { return here().string(text), true; }
  bool binary(nlohmann::json::binary_t&) { return here().malformed(), false; }
  bool start_object(std::size_t) { return here().begin_object(), true; }
  bool key(std::string& name) { return here().key(name), true; }
  bool end_object() { return here().end_object(), true; }
  bool start_array(std::size_t) { return here().begin_array(), true; }
  bool end_array() { return here().end_array(), true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) {
    return here().malformed(), false;
  }
};

#endif

}  // namespace detail

/// Reads one JSON value (RFC 8259; numbers beyond double are malformed) and hands out what it
/// holds. Memory is bounded by its longest string, and one bit for each level of nesting.
template <class Configuration = configuration>
void read_json(std::string_view text, json_events& events) {
  static_assert(detail::json_is_linked<Configuration>,
                "heddle::read_json: this build has no JSON parser; link the target heddle::io "
                "(without CMake: define HEDDLE_WITH_JSON, with nlohmann-json3-dev installed)");
#if defined(HEDDLE_WITH_JSON)
  // nlohmann takes a NUL for the end of its input.
  if (const std::size_t end = text.find('\0'); end != std::string_view::npos) {
    events.at(end);
    events.malformed();
  }
  const char* latest = text.data();
  const char* const begin = text.data();
  detail::json_forwarder forwarder{events, begin, latest};
  nlohmann::json::sax_parse(detail::counted_characters(begin, &latest),
                            detail::counted_characters(begin + text.size(), &latest), &forwarder);
#else
  static_cast<void>(text), static_cast<void>(events);
#endif
}

/// Appends text as a JSON string with its quotes; false, with nothing appended, where the text is
/// not UTF-8. Control characters are escaped, others stand as they are.
[[nodiscard]] inline bool append_json_string(std::string& out, std::string_view text) {
  const std::size_t before = out.size();
  out += '"';
  while (!text.empty()) {
    const std::size_t length = detail::utf8_length(text);
    if (length == 0) {
      out.resize(before);
      return false;
    }
    const char c = text[0];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr const char* digits = "0123456789abcdef";
      constexpr std::string_view named = "btn?fr";  // 8 to 13; 11 has no letter
      const auto code = static_cast<unsigned>(c);
      if (code >= 8 && code <= 13 && code != 11) {
        out += '\\';
        out += named[code - 8];
      } else {
        out += "\\u00";
        out += digits[code >> 4];
        out += digits[code & 15];
      }
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  out += '"';
  return true;
}

}  // namespace heddle::inline v0
