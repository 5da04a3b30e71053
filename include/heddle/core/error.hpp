// SPDX-License-Identifier: BSD-3-Clause
// The exceptions heddle throws, and `raise`, which builds their sentences.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include <heddle/core/config.hpp>

namespace heddle::inline v0 {

/// The root of everything heddle throws. The message is a sentence:
/// `heddle::<function>: <what is wrong>: <got>; <expected>`.
struct error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Extents, ranks or axes that do not fit.
struct shape_error : error {
  using error::error;
};
/// A dtype that does not fit.
struct type_error : error {
  using error::error;
};
/// A device that does not exist, is not compiled in, or differs from its companions'.
struct device_error : error {
  using error::error;
};
/// An allocation that failed; the message names the bytes asked for.
struct out_of_memory : error {
  using error::error;
};
/// A file or stream that could not be read or written.
struct io_error : error {
  using error::error;
};
/// A call to the CUDA run-time or one of its libraries that failed.
struct cuda_error : error {
  using error::error;
};
/// A collective or a connection between ranks that failed.
struct communication_error : error {
  using error::error;
};
/// An argument whose value is outside of what is accepted.
struct value_error : error {
  using error::error;
};
/// An index outside of its extent.
struct index_error : error {
  using error::error;
};
/// An object used in a state that does not allow it: a stale version, a graph already freed.
struct state_error : error {
  using error::error;
};

namespace detail {

// One piece of a message as text. A type of the library takes part through a `to_string` beside it.
inline std::string text_of(std::string_view part) { return std::string(part); }
inline std::string text_of(const std::string& part) { return part; }
inline std::string text_of(const char* part) { return part; }
inline std::string text_of(char part) { return std::string(1, part); }
inline std::string text_of(bool part) { return part ? "true" : "false"; }
inline std::string text_of(int part) { return std::to_string(part); }
inline std::string text_of(unsigned part) { return std::to_string(part); }
inline std::string text_of(long part) { return std::to_string(part); }
inline std::string text_of(unsigned long part) { return std::to_string(part); }
inline std::string text_of(long long part) { return std::to_string(part); }
inline std::string text_of(unsigned long long part) { return std::to_string(part); }
inline std::string text_of(double part) {
  char digits[32];
  const int length = __builtin_snprintf(digits, sizeof digits, "%g", part);
  return std::string(digits, static_cast<std::size_t>(length));
}
template <class T>
std::string text_of(const T& part) {
  return to_string(part);
}

template <class T>
HEDDLE_COLD void append_part(std::string& message, const void* part) {
  message.append(text_of(*static_cast<const T*>(part)));
}
// literals of all lengths are one kind
HEDDLE_COLD inline void append_literal(std::string& message, const void* part) {
  message.append(static_cast<const char*>(part));
}
HEDDLE_ONCE(void append_part<int>(std::string&, const void*));
HEDDLE_ONCE(void append_part<long>(std::string&, const void*));
HEDDLE_ONCE(void append_part<unsigned long>(std::string&, const void*));
HEDDLE_ONCE(void append_part<std::string>(std::string&, const void*));
HEDDLE_ONCE(void append_part<std::string_view>(std::string&, const void*));

/// A part of a message where it is thrown, and how it becomes text.
struct message_part {
  const void* what;
  void (*append)(std::string& message, const void* what);

  template <class T>
  static message_part of(const T& part) {
    return {&part, &append_part<T>};
  }
  static message_part of(const char* part) { return {part, &append_literal}; }
};

template <class Error>
[[noreturn]] HEDDLE_COLD void raise_parts(const message_part* parts, std::size_t count) {
  std::string message;
  for (std::size_t i = 0; i < count; ++i) parts[i].append(message, parts[i].what);
  throw Error(message);
}
HEDDLE_ONCE(void raise_parts<shape_error>(const message_part*, std::size_t));
HEDDLE_ONCE(void raise_parts<type_error>(const message_part*, std::size_t));
HEDDLE_ONCE(void raise_parts<device_error>(const message_part*, std::size_t));
HEDDLE_ONCE(void raise_parts<out_of_memory>(const message_part*, std::size_t));
HEDDLE_ONCE(void raise_parts<value_error>(const message_part*, std::size_t));
HEDDLE_ONCE(void raise_parts<index_error>(const message_part*, std::size_t));
HEDDLE_ONCE(void raise_parts<state_error>(const message_part*, std::size_t));

}  // namespace detail

/// Throws an `Error` whose message is `parts` joined: text, numbers, and anything with a
/// `to_string` (extents, devices, dtypes).
template <class Error, class... Parts>
[[noreturn]] HEDDLE_COLD void raise(const Parts&... parts) {
  const detail::message_part all[] = {detail::message_part::of(parts)...};
  detail::raise_parts<Error>(all, sizeof...(parts));
}

}  // namespace heddle::inline v0
