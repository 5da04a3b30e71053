// SPDX-License-Identifier: BSD-3-Clause
// Arrays as NumPy has them, evaluated at once and in double: a shape, row-major elements, the
// broadcasting rule and PyTorch's promotion. What traced expressions are compared with.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "element_arithmetic.hpp"

namespace support {

using shape_of = std::vector<std::int64_t>;

inline std::int64_t elements_of(const shape_of& shape) {
  std::int64_t count = 1;
  for (const std::int64_t n : shape) count *= n;
  return count;
}

/// An array; or a number, which has rank 0 and takes the dtype of what it meets.
struct plain_array {
  enum class number : std::uint8_t { none, integral, real };

  dtype type = dtype::f32;
  shape_of shape;
  std::vector<element> values;
  number weak = number::none;
  std::int64_t integer = 0;
  double real = 0;

  int rank() const { return static_cast<int>(shape.size()); }
};

/// The row-major coordinate of element `index` along each position.
inline shape_of coordinates(std::int64_t index, const shape_of& shape) {
  shape_of at(shape.size());
  for (std::size_t p = shape.size(); p-- > 0;) {
    at[p] = index % shape[p];
    index /= shape[p];
  }
  return at;
}
inline std::int64_t index_at(const shape_of& at, const shape_of& shape) {
  std::int64_t index = 0;
  for (std::size_t p = 0; p < shape.size(); ++p) index = index * shape[p] + at[p];
  return index;
}

/// Aligned from the right, extents must be equal or 1; false where they are not.
inline bool broadcast_shapes(const std::vector<const plain_array*>& arrays, shape_of& result) {
  result.clear();
  for (const plain_array* a : arrays) {
    const shape_of& shape = a->shape;
    if (shape.size() > result.size()) {
      result.insert(result.begin(), shape.size() - result.size(), 1);
    }
    const std::size_t shift = result.size() - shape.size();
    for (std::size_t p = 0; p < shape.size(); ++p) {
      std::int64_t& n = result[shift + p];
      if (shape[p] != 1 && n != 1 && n != shape[p]) return false;
      if (n == 1) n = shape[p];
    }
  }
  return true;
}

/// The element of `a`, broadcast to `shape`, at row-major `index` of that shape.
inline const element& broadcast_at(const plain_array& a, const shape_of& shape,
                                   std::int64_t index) {
  if (a.shape == shape) return a.values[static_cast<std::size_t>(index)];
  if (a.shape.empty()) return a.values[0];
  const shape_of at = coordinates(index, shape);
  std::int64_t own = 0;
  const std::size_t shift = shape.size() - a.shape.size();
  for (std::size_t p = 0; p < a.shape.size(); ++p) {
    own = own * a.shape[p] + (a.shape[p] == 1 ? 0 : at[shift + p]);
  }
  return a.values[static_cast<std::size_t>(own)];
}

// Promotion: bool < u8 < i32 < i64 < f16, bf16 < f32 < f64; the 16-bit two make f32.

inline int width_rank(dtype d) {
  switch (d) {
    case dtype::boolean:
      return 0;
    case dtype::u8:
      return 1;
    case dtype::i32:
      return 2;
    case dtype::i64:
      return 3;
    case dtype::f16:
    case dtype::bf16:
      return 4;
    case dtype::f32:
      return 5;
    default:
      return 6;
  }
}

/// The dtype of arithmetic on the arrays: numbers only raise the category.
inline dtype common_type(const std::vector<const plain_array*>& arrays) {
  bool strong = false, real = false, integral = false;
  dtype type = dtype::boolean;
  for (const plain_array* a : arrays) {
    real = real || a->weak == plain_array::number::real;
    integral = integral || a->weak == plain_array::number::integral;
    if (a->weak != plain_array::number::none) continue;
    if (!strong || width_rank(a->type) > width_rank(type)) {
      type = a->type;
    } else if (a->type != type && width_rank(a->type) == width_rank(type)) {
      type = dtype::f32;
    }
    strong = true;
  }
  if (real && !floating(type)) return dtype::f32;
  if (integral && type == dtype::boolean) return dtype::i64;
  return type;
}

inline plain_array as_type(const plain_array& a, dtype type) {
  plain_array y = a;
  y.type = type;
  y.weak = plain_array::number::none;
  if (a.weak == plain_array::number::real) {
    y.values = {number(a.real, type)};
  } else if (a.weak == plain_array::number::integral) {
    y.values = {number(a.integer, type)};
  } else if (a.type != type) {
    for (element& e : y.values) e = converted(e, a.type, type);
  }
  return y;
}

inline bool is_logical(op code) {
  return code == op::logical_not || code == op::logical_and || code == op::logical_or ||
         code == op::logical_xor;
}
/// Whether integers become f32.
inline bool needs_reals(op code) {
  switch (code) {
    case op::neg:
    case op::abs:
    case op::square:
    case op::floor:
    case op::sign:
    case op::detach:
    case op::add:
    case op::sub:
    case op::mul:
    case op::maximum:
    case op::minimum:
    case op::where:
      return false;
    default:
      return !is_comparison(code) && !is_logical(code);
  }
}
/// What arithmetic on truth values is; `code` itself where it is nothing else.
inline op of_truths(op code) {
  if (code == op::add || code == op::maximum) return op::logical_or;
  if (code == op::mul || code == op::minimum) return op::logical_and;
  return code;
}

/// The dtype in which an op computes (where's condition aside).
inline dtype operand_type(op code, const std::vector<const plain_array*>& arrays) {
  if (is_logical(code)) return dtype::boolean;
  const auto first = arrays.begin() + (code == op::where ? 1 : 0);
  const dtype type = common_type({first, arrays.end()});
  return needs_reals(code) && !floating(type) ? dtype::f32 : type;
}

/// The formula of an op that is not built in.
using formula = double (*)(const double*);

/// An element-wise op of broadcast operands.
inline plain_array computed(op code, const std::vector<const plain_array*>& arrays,
                            formula user = nullptr) {
  const dtype type = operand_type(code, arrays);
  std::vector<plain_array> x;
  for (const plain_array* a : arrays) {
    const bool condition = code == op::where && x.empty();
    x.push_back(as_type(*a, condition ? dtype::boolean : type));
  }
  plain_array y;
  y.type = is_comparison(code) || is_logical(code) ? dtype::boolean : type;
  broadcast_shapes(arrays, y.shape);
  const op actual = type == dtype::boolean && code != op::where ? of_truths(code) : code;
  const std::int64_t count = elements_of(y.shape);
  const element none;
  for (std::int64_t i = 0; i < count; ++i) {
    const element& a = broadcast_at(x[0], y.shape, i);
    const element& b = x.size() > 1 ? broadcast_at(x[1], y.shape, i) : none;
    const element& c = x.size() > 2 ? broadcast_at(x[2], y.shape, i) : none;
    y.values.push_back(user != nullptr     ? formula_value(user, type, a, b, c)
                       : code == op::where ? selected(a, b, c)
                                           : elementwise(actual, type, y.type, a, b));
  }
  return y;
}

/// A reduction over positions (a mask); `nothing`: they are statically of extent 1, or none.
inline plain_array reduced(op code, const plain_array& a, unsigned positions, bool keep,
                           bool nothing) {
  const plain_array x = code == op::sum && !floating(a.type) ? as_type(a, dtype::i64) : a;
  shape_of kept = x.shape;
  plain_array y;
  y.type = x.type;
  for (std::size_t p = 0; p < kept.size(); ++p) {
    const bool removed = (positions >> p & 1) != 0;
    if (removed) kept[p] = 1;
    if (!removed || keep) y.shape.push_back(kept[p]);
  }
  std::vector<reduction> groups(static_cast<std::size_t>(elements_of(kept)),
                                reduction(code, x.type));
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    shape_of at = coordinates(static_cast<std::int64_t>(i), x.shape);
    for (std::size_t p = 0; p < at.size(); ++p) at[p] = kept[p] == 1 ? 0 : at[p];
    groups[static_cast<std::size_t>(index_at(at, kept))].add(x.values[i]);
  }
  for (const reduction& group : groups) y.values.push_back(group.result());
  for (std::size_t i = 0; i < y.values.size() && nothing; ++i) {
    if (code != op::sum || !x.values[i].known()) continue;
    // the operand, or +0 and the operand
    y.values[i].signless = x.values[i].signless || std::signbit(x.values[i].real);
  }
  return y;
}

inline plain_array permuted(const plain_array& a, const std::vector<int>& order) {
  plain_array y = a;
  for (std::size_t p = 0; p < order.size(); ++p) {
    y.shape[p] = a.shape[static_cast<std::size_t>(order[p])];
  }
  for (std::size_t i = 0; i < y.values.size(); ++i) {
    const shape_of at = coordinates(static_cast<std::int64_t>(i), y.shape);
    shape_of from(at.size());
    for (std::size_t p = 0; p < order.size(); ++p) from[static_cast<std::size_t>(order[p])] = at[p];
    y.values[i] = a.values[static_cast<std::size_t>(index_at(from, a.shape))];
  }
  return y;
}

/// table[index]: rows of the table in the place of indices.
inline plain_array taken(const plain_array& table, const plain_array& index) {
  plain_array y;
  y.type = table.type;
  y.shape = index.shape;
  y.shape.insert(y.shape.end(), table.shape.begin() + 1, table.shape.end());
  const std::int64_t row = elements_of({table.shape.begin() + 1, table.shape.end()});
  for (const element& at : index.values) {
    for (std::int64_t i = 0; i < row; ++i) {
      y.values.push_back(table.values[static_cast<std::size_t>(at.integer * row + i)]);
    }
  }
  return y;
}

/// Coordinates along a position, 1 elsewhere.
inline plain_array enumerated(const plain_array& a, int position) {
  plain_array y;
  y.type = dtype::i64;
  y.shape.assign(a.shape.size(), 1);
  const auto p = static_cast<std::size_t>(position);
  y.shape[p] = a.shape[p];
  for (std::int64_t i = 0; i < a.shape[p]; ++i) y.values.push_back({0, 0, i});
  return y;
}

/// Random numbers of a's shape: samples along position 0, elements along the others.
inline plain_array drawn(op code, const plain_array& a, std::int64_t seed, std::int64_t offset) {
  plain_array y;
  y.type = a.type == dtype::f64 ? dtype::f64 : dtype::f32;
  y.shape = a.shape;
  for (std::int64_t i = 0; i < elements_of(a.shape); ++i) {
    const std::int64_t elements = a.shape.empty() ? 1 : elements_of(a.shape) / a.shape[0];
    y.values.push_back(random_value(code, y.type, seed, offset + i / elements, i % elements));
  }
  return y;
}

}  // namespace support
