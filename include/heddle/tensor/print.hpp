// SPDX-License-Identifier: BSD-3-Clause
// Printing of tensors as NumPy does with precision 4: aligned columns, nested brackets, and `...`
// in tensors of more than 1000 elements.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <heddle/core/dtype.hpp>
#include <heddle/tensor/any_tensor.hpp>
#include <heddle/tensor/tensor.hpp>

namespace heddle::inline v0 {

namespace detail {

inline constexpr int print_precision = 4;              // digits behind the point
inline constexpr std::int64_t print_threshold = 1000;  // elements printed in full
inline constexpr std::int64_t print_edge = 3;          // indices at either end of a longer axis
inline constexpr std::size_t print_width = 75;         // of a line

/// A number as words of text: what stands before the point, behind it, and the exponent.
struct printed_number {
  std::string whole;
  std::string fraction;
  std::string exponent;  // with its sign; empty in positional notation
};

// Significant digits without the point, and the exponent of the first.
struct decimal {
  std::string digits;
  int exponent;
};

inline decimal parse_decimal(const char* text, const char* end) {
  decimal result{{}, 0};
  if (*text == '-') ++text;
  for (; text != end && *text != 'e'; ++text) {
    if (*text != '.') result.digits += *text;
  }
  const bool negative = text[1] == '-';
  for (text += 2; text != end; ++text) result.exponent = result.exponent * 10 + (*text - '0');
  if (negative) result.exponent = -result.exponent;
  return result;
}

/// The fewest digits that read back as the same value of the dtype.
inline decimal shortest_decimal(double value, dtype type) {
  char text[40];
  if (type == dtype::f64) {
    return parse_decimal(
        text, std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr);
  }
  const float single = static_cast<float>(value);
  if (type == dtype::f32) {
    return parse_decimal(
        text, std::to_chars(text, text + sizeof text, single, std::chars_format::scientific).ptr);
  }
  for (int precision = 0;; ++precision) {
    const char* const end =
        std::to_chars(text, text + sizeof text, value, std::chars_format::scientific, precision)
            .ptr;
    float read = 0;
    std::from_chars(text, end, read);
    const bool same = type == dtype::f16 ? float16(read).bits == float16(single).bits
                                         : bfloat16(read).bits == bfloat16(single).bits;
    if (same || precision == 8) return parse_decimal(text, end);
  }
}

inline void trim_zeros(std::string& fraction) {
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
}

inline printed_number set_scientific(double value, const decimal& number) {
  printed_number result;
  result.whole = __builtin_signbit(value) ? "-" : "";
  result.whole += number.digits[0];
  result.fraction = number.digits.substr(1);
  const int magnitude = number.exponent < 0 ? -number.exponent : number.exponent;
  result.exponent = number.exponent < 0 ? "-" : "+";
  if (magnitude < 10) result.exponent += '0';
  result.exponent += std::to_string(magnitude);
  return result;
}

/// Scientific notation with exactly so many digits behind the point.
inline printed_number print_scientific(double value, int precision) {
  char text[40];
  const char* const end =
      std::to_chars(text, text + sizeof text, value, std::chars_format::scientific, precision).ptr;
  return set_scientific(value, parse_decimal(text, end));
}

/// The shortest digits that name the value, with at most `print_precision` behind the point, in
/// positional or scientific notation.
inline printed_number print_shortest(double value, dtype type, bool scientific) {
  const decimal shortest = shortest_decimal(value, type);
  const int count = static_cast<int>(shortest.digits.size());
  printed_number result;
  if (scientific) {
    result = count - 1 > print_precision ? print_scientific(value, print_precision)
                                         : set_scientific(value, shortest);
  } else if (count - 1 - shortest.exponent > print_precision) {
    // Not printf, whose point depends on the locale.
    char text[400];
    const char* const end =
        std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, print_precision)
            .ptr;
    const std::string_view whole_number(text, static_cast<std::size_t>(end - text));
    result.whole = whole_number.substr(0, whole_number.find('.'));
    result.fraction = whole_number.substr(whole_number.find('.') + 1);
  } else {
    std::string digits = shortest.digits;
    if (shortest.exponent < 0) digits.insert(0, static_cast<std::size_t>(-shortest.exponent), '0');
    const auto before = static_cast<std::size_t>(shortest.exponent < 0 ? 0 : shortest.exponent) + 1;
    if (digits.size() < before) digits.append(before - digits.size(), '0');
    result.whole = __builtin_signbit(value) ? "-" : "";
    result.whole += digits.substr(0, before);
    result.fraction = digits.substr(before);
  }
  trim_zeros(result.fraction);
  return result;
}

inline std::string aligned_right(std::string text, std::size_t width) {
  if (text.size() < width) text.insert(0, width - text.size(), ' ');
  return text;
}

inline double rounded_to(double value, dtype type) {
  switch (type) {
    case dtype::f64:
      return value;
    case dtype::f32:
      return static_cast<double>(static_cast<float>(value));
    case dtype::bf16:
      return static_cast<double>(static_cast<float>(bfloat16(value)));
    default:
      return static_cast<double>(static_cast<float>(float16(value)));
  }
}

/// Words of one width for floating values, as NumPy's FloatingFormat.
inline std::vector<std::string> print_floats(const std::vector<double>& values, dtype type) {
  double largest = 0, smallest = __builtin_huge_val();
  bool any_finite = false, any_special = false, any_negative_infinity = false;
  for (const double value : values) {
    const double magnitude = __builtin_fabs(value);
    if (!__builtin_isfinite(value)) {
      any_special = true;
      any_negative_infinity = any_negative_infinity || (__builtin_isinf(value) && value < 0);
      continue;
    }
    any_finite = true;
    if (magnitude > largest) largest = magnitude;
    if (magnitude > 0 && magnitude < smallest) smallest = magnitude;
  }
  // NumPy compares in the dtype. Its limit is the first power of ten that not all digits of the
  // dtype reach, and bf16 is not among its dtypes.
  const double limit = type == dtype::f64 ? 1e8 : type == dtype::f32 ? 1e6 : 1e3;
  const bool scientific = largest > 0 && (largest >= limit || smallest < rounded_to(1e-4, type) ||
                                          rounded_to(largest / smallest, type) > 1000);
  std::vector<printed_number> numbers;
  std::size_t whole = 0, fraction = 0, exponent = 0;
  for (const double value : values) {
    numbers.emplace_back();
    if (!__builtin_isfinite(value)) continue;
    printed_number& number = numbers.back() = print_shortest(value, type, scientific);
    if (number.whole.size() > whole) whole = number.whole.size();
    if (number.fraction.size() > fraction) fraction = number.fraction.size();
    if (number.exponent.size() > exponent) exponent = number.exponent.size();
  }
  const std::size_t behind = scientific ? fraction + 1 + exponent : any_finite ? fraction : 0;
  if (any_special) {
    const std::size_t longest = any_negative_infinity ? 4 : 3;
    if (whole + behind + 1 < longest) whole = longest - behind - 1;
  }
  std::vector<std::string> words;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!__builtin_isfinite(values[i])) {
      const char* const name = __builtin_isnan(values[i]) ? "nan" : values[i] < 0 ? "-inf" : "inf";
      words.push_back(aligned_right(name, whole + behind + 1));
      continue;
    }
    printed_number& number = numbers[i];
    // Places that the shortest digits leave open show the exact value's digits: 9.9976e-02 of f16.
    if (scientific) number = print_scientific(values[i], static_cast<int>(fraction));
    std::string word = aligned_right(number.whole, whole) + '.' + number.fraction;
    word.append(fraction - number.fraction.size(), ' ');
    if (scientific) {
      word += 'e';
      word += number.exponent[0];
      word.append(exponent - number.exponent.size(), '0');
      word.append(number.exponent, 1, std::string::npos);
    }
    words.push_back(std::move(word));
  }
  return words;
}

template <class T>
T load_as(const std::byte* place) {
  T value;
  std::memcpy(&value, place, sizeof value);
  return value;
}

inline double load_floating(const std::byte* place, dtype type) {
  switch (type) {
    case dtype::f64:
      return load_as<double>(place);
    case dtype::f32:
      return static_cast<double>(load_as<float>(place));
    case dtype::bf16:
      return static_cast<double>(static_cast<float>(load_as<bfloat16>(place)));
    default:
      return static_cast<double>(static_cast<float>(load_as<float16>(place)));
  }
}

inline std::int64_t load_integral(const std::byte* place, dtype type) {
  switch (type) {
    case dtype::i64:
      return load_as<std::int64_t>(place);
    case dtype::i32:
      return load_as<std::int32_t>(place);
    default:
      return load_as<std::uint8_t>(place);
  }
}

/// Prints one tensor: collects the elements that are shown, makes words of one width, sets them.
class printer {
 public:
  explicit printer(const any_tensor& x) : x_(x), shortened_(x.size() > print_threshold) {
    collect(x.data(), 0);
    if (is_floating(x.dtype())) {
      words_ = print_floats(floats_, x.dtype());
      return;
    }
    std::size_t width = 0;
    for (const std::string& word : words_) width = word.size() > width ? word.size() : width;
    // As in NumPy, room for "false" even where all are true.
    if (x.dtype() == dtype::boolean && x.rank() > 0) width = 5;
    for (std::string& word : words_) word = aligned_right(std::move(word), width);
  }

  std::string print() { return set(0, " ", print_width); }

 private:
  std::int64_t extent(int axis) const { return x_.extents()[static_cast<std::size_t>(axis)]; }
  bool shortens(int axis) const { return shortened_ && extent(axis) > 2 * print_edge; }

  void collect(const std::byte* place, int axis) {
    if (axis == x_.rank()) {
      if (is_floating(x_.dtype())) {
        floats_.push_back(load_floating(place, x_.dtype()));
      } else if (x_.dtype() == dtype::boolean) {
        words_.emplace_back(load_as<bool>(place) ? "true" : "false");
      } else {
        words_.push_back(std::to_string(load_integral(place, x_.dtype())));
      }
      return;
    }
    const std::int64_t step = x_.strides()[static_cast<std::size_t>(axis)] *
                              static_cast<std::int64_t>(size_of(x_.dtype()));
    for (std::int64_t i = 0; i < extent(axis); ++i) {
      if (shortens(axis) && i == print_edge) i = extent(axis) - print_edge;
      collect(place + i * step, axis + 1);
    }
  }

  // Adds a word to a line, or begins another where it does not fit.
  static void add(std::string& text, std::string& line, const std::string& word, std::size_t width,
                  const std::string& indent) {
    if (line.size() + word.size() > width && line.size() > indent.size()) {
      while (line.back() == ' ') line.pop_back();
      text += line + '\n';
      line = indent;
    }
    line += word;
  }

  std::string set(int axis, const std::string& indent, std::size_t width) {
    if (axis == x_.rank()) return words_[next_++];
    const int axes_left = x_.rank() - axis;
    std::string text;
    std::string line = indent;
    for (std::int64_t i = 0; i < extent(axis); ++i) {
      const bool last = i + 1 == extent(axis);
      const bool gap = shortens(axis) && i == print_edge;
      if (gap) i = extent(axis) - print_edge;
      if (axes_left == 1) {
        if (gap) {
          add(text, line, "...", width - 1, indent);
          line += ' ';
        }
        add(text, line, words_[next_++], width - 1, indent);
        if (i + 1 < extent(axis)) line += ' ';
        continue;
      }
      const std::string separator(static_cast<std::size_t>(axes_left - 1), '\n');
      if (gap) text += indent + "..." + separator;
      text += indent + set(axis + 1, indent + ' ', width - 1);
      if (!last && i + 1 < extent(axis)) text += separator;
    }
    if (axes_left == 1) text += line;
    return '[' + text.substr(indent.size()) + ']';
  }

  const any_tensor& x_;
  bool shortened_;
  std::vector<double> floats_;
  std::vector<std::string> words_;
  std::size_t next_ = 0;
};

}  // namespace detail

/// The elements as text, in NumPy's format with precision 4. Waits for the tensor's device. Of a
/// tensor on `meta()`, dtype and extents; of an undefined one, "undefined".
[[nodiscard]] inline std::string to_string(const any_tensor& x) {
  if (!x.defined()) return "undefined";
  if (x.device().is_meta()) {
    return to_string(x.dtype()) + ' ' + to_string(x.extents().data(), x.rank()) + " on meta";
  }
  if (x.size() == 0) return "[]";
  const any_tensor here = x.device().is_host() ? x : x.to(cpu());
  detail::make_readable(here.storage().get(), "to_string");
  return detail::printer(here).print();
}

/// See `to_string(any_tensor)`.
template <class T, int Rank>
[[nodiscard]] std::string to_string(const tensor<T, Rank>& x) {
  return to_string(any_tensor(x));
}

inline std::ostream& operator<<(std::ostream& out, const any_tensor& x) {
  return out << to_string(x);
}

template <class T, int Rank>
std::ostream& operator<<(std::ostream& out, const tensor<T, Rank>& x) {
  return out << to_string(any_tensor(x));
}

}  // namespace heddle::inline v0
