// SPDX-License-Identifier: BSD-3-Clause
// Tables of numbers in text: comma-separated values as a tensor.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <heddle/core/dtype.hpp>
#include <heddle/core/error.hpp>
#include <heddle/io/file.hpp>
#include <heddle/tensor/tensor.hpp>

namespace heddle::inline v0 {

/// How a table is written.
struct csv_options {
  /// What stands between two values.
  char separator = ',';
  /// Lines before the first row, such as one of column names.
  std::int64_t skip_lines = 0;
  /// How many values a row has; -1: as many as the first.
  std::int64_t columns = -1;
  /// The largest file that is accepted, in bytes.
  std::uint64_t max_bytes = std::uint64_t{1} << 30;
};

namespace detail {

/// Goes through a table line by line.
class csv_lines {
 public:
  csv_lines(std::string_view text, std::int64_t skipped) noexcept : rest_(text) {
    for (std::int64_t i = 0; i < skipped && next(); ++i) {
    }
  }
  /// Moves to the next line, without its line end; false after the last.
  bool next() noexcept {
    if (rest_.empty()) return false;
    const std::size_t end = rest_.find('\n');
    line_ = rest_.substr(0, end);
    rest_.remove_prefix(end == rest_.npos ? rest_.size() : end + 1);
    if (!line_.empty() && line_.back() == '\r') line_.remove_suffix(1);
    ++number_;
    return true;
  }
  [[nodiscard]] std::string_view line() const noexcept { return line_; }
  /// Counted from 1.
  [[nodiscard]] std::int64_t number() const noexcept { return number_; }

 private:
  std::string_view rest_;
  std::string_view line_;
  std::int64_t number_ = 0;
};

inline std::string_view without_blanks(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

inline std::int64_t csv_columns(std::string_view line, char separator) noexcept {
  std::int64_t columns = 1;
  for (const char c : line) columns += c == separator;
  return columns;
}

// A value as a message may hold it: short, and on one line.
inline std::string printable(std::string_view text) {
  std::string result(text.substr(0, 40));
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20) c = '?';
  }
  return result;
}

// 16-bit floats are read as float, bool as the integers 0 and 1.
template <class T>
bool parse_number(std::string_view text, T& value) {
  using number = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, compute_type<T>>;
  number read{};
  const char* const end = text.data() + text.size();
  const auto [stopped, code] = std::from_chars(text.data(), end, read);
  if (code != std::errc() || stopped != end) return false;
  if constexpr (std::is_same_v<T, bool>) {
    if (read > 1) return false;
  }
  value = static_cast<T>(read);
  return true;
}

}  // namespace detail

/// Reads a table of numbers: (rows, columns). Lines end in `\n` or `\r\n`, the last may lack its
/// end; blanks around a value are skipped; there is no quoting. Floating values may be written as
/// 1, -1.5, 2e-3, inf or nan; of integers and bool the dtype's own range is accepted. Throws
/// io_error, with the line and the column (both from 1), for a value that is no number of the dtype
/// or a row of another length; with the size, for a file beyond the byte budget.
template <class T>
[[nodiscard]] tensor<T, 2> read_csv(const std::string& path, const csv_options& options = {}) {
  const std::string content = read_file(path, options.max_bytes);
  // The shape first: a row takes a line, so memory is bounded by the file.
  std::int64_t rows = 0;
  std::int64_t columns = options.columns;
  for (detail::csv_lines lines(content, options.skip_lines); lines.next(); ++rows) {
    const std::int64_t found = detail::csv_columns(lines.line(), options.separator);
    if (columns < 0) columns = found;
    if (found != columns || detail::without_blanks(lines.line()).empty()) {
      raise<io_error>("heddle::read_csv: a row has another number of values: ",
                      detail::without_blanks(lines.line()).empty() ? 0 : found, " at line ",
                      lines.number(), " of ", path, "; ", columns, " are expected");
    }
  }
  if (rows == 0) {
    raise<io_error>("heddle::read_csv: the file has no row: ", path, " has ", content.size(),
                    " bytes; a row of numbers is expected at line ", options.skip_lines + 1);
  }
  tensor<T, 2> result = tensor<T, 2>::allocate({rows, columns}, cpu());
  T* place = result.data();
  for (detail::csv_lines lines(content, options.skip_lines); lines.next();) {
    std::string_view rest = lines.line();
    for (std::int64_t column = 1; column <= columns; ++column) {
      const std::size_t end = rest.find(options.separator);
      const std::string_view text = detail::without_blanks(rest.substr(0, end));
      if (!detail::parse_number(text, *place)) {
        raise<io_error>("heddle::read_csv: a value is no number of dtype ", dtype_of<T>, ": \"",
                        detail::printable(text), "\" at line ", lines.number(), ", column ", column,
                        " of ", path, "; check the line and the separator");
      }
      ++place;
      if (end != rest.npos) rest.remove_prefix(end + 1);
    }
  }
  return result;
}

}  // namespace heddle::inline v0
