// SPDX-License-Identifier: BSD-3-Clause
// Extents and strides: fixed-rank arrays of 64-bit indices, and the arithmetic on them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <heddle/core/config.hpp>
#include <heddle/core/error.hpp>

namespace heddle::inline v0 {

/// The largest rank of a tensor.
inline constexpr int max_rank = 8;

namespace detail {

template <int>
using index_value = std::int64_t;

template <int Rank, class Positions = std::make_integer_sequence<int, Rank>>
struct index_values;

// One constructor of exactly Rank arguments: `{2, 3}` for rank 3 does not compile.
template <int Rank, int... Positions>
struct index_values<Rank, std::integer_sequence<int, Positions...>> {
  std::int64_t values[Rank] = {};

  constexpr index_values() = default;
  HEDDLE_HD constexpr index_values(index_value<Positions>... value) noexcept : values{value...} {}

  HEDDLE_HD constexpr std::int64_t* begin() noexcept { return values; }
  HEDDLE_HD constexpr const std::int64_t* begin() const noexcept { return values; }
};

template <>
struct index_values<0, std::integer_sequence<int>> {
  char none = 0;  // an object without members may be used uninitialised, says g++ in item()

  constexpr index_values() = default;
  HEDDLE_HD constexpr std::int64_t* begin() noexcept { return nullptr; }
  HEDDLE_HD constexpr const std::int64_t* begin() const noexcept { return nullptr; }
};

}  // namespace detail

/// `Rank` indices. Made from exactly that many: `extents<2>{2, 3}`; default-made of zeros.
template <int Rank>
struct index_array : detail::index_values<Rank> {
  static_assert(Rank >= 0 && Rank <= max_rank,
                "heddle::extents: the rank is outside of 0 to 8, the largest that heddle supports");

  using detail::index_values<Rank>::index_values;

  /// Every index the same.
  HEDDLE_HD static constexpr index_array filled(std::int64_t value) noexcept {
    index_array result;
    for (int axis = 0; axis < Rank; ++axis) result[axis] = value;
    return result;
  }

  /// Rank, for algorithms over ranges; not the elements of a tensor (`element_count`).
  HEDDLE_HD static constexpr int size() noexcept { return Rank; }
  HEDDLE_HD static constexpr int rank() noexcept { return Rank; }
  HEDDLE_HD constexpr std::int64_t& operator[](int axis) noexcept { return this->begin()[axis]; }
  HEDDLE_HD constexpr const std::int64_t& operator[](int axis) const noexcept {
    return this->begin()[axis];
  }
  HEDDLE_HD constexpr std::int64_t* end() noexcept { return this->begin() + Rank; }
  HEDDLE_HD constexpr const std::int64_t* end() const noexcept { return this->begin() + Rank; }
  /// Rank indices side by side; null for rank 0.
  HEDDLE_HD constexpr std::int64_t* data() noexcept { return this->begin(); }
  HEDDLE_HD constexpr const std::int64_t* data() const noexcept { return this->begin(); }

  HEDDLE_HD friend constexpr bool operator==(const index_array& a, const index_array& b) noexcept {
    bool equal = true;
    for (int axis = 0; axis < Rank; ++axis) equal = equal && a[axis] == b[axis];
    return equal;
  }
};

/// The sizes of a tensor's axes, outermost first.
template <int Rank>
using extents = index_array<Rank>;

/// The distance, in elements, between neighbours along each axis.
template <int Rank>
using strides = index_array<Rank>;

/// The number of elements; 1 for rank 0. Unchecked: see `checked_element_count`.
template <int Rank>
HEDDLE_HD constexpr std::int64_t element_count(const index_array<Rank>& extents) noexcept {
  std::int64_t count = 1;
  for (int axis = 0; axis < Rank; ++axis) count *= extents[axis];
  return count;
}

/// The strides of row-major storage without gaps. Axes of extent 0 count as 1, as in PyTorch.
template <int Rank>
HEDDLE_HD constexpr index_array<Rank> contiguous_strides(
    const index_array<Rank>& extents) noexcept {
  index_array<Rank> result;
  std::int64_t stride = 1;
  for (int axis = Rank - 1; axis >= 0; --axis) {
    result[axis] = stride;
    // unsigned: beside an extent of 0 the product may wrap, and means nothing
    stride = static_cast<std::int64_t>(
        static_cast<std::uint64_t>(stride) *
        static_cast<std::uint64_t>(extents[axis] > 1 ? extents[axis] : 1));
  }
  return result;
}

/// Whether elements of these extents and strides lie row-major without gaps; axes of extent 1 may
/// have any stride, and an empty tensor is contiguous.
template <int Rank>
HEDDLE_HD constexpr bool is_contiguous(const index_array<Rank>& extents,
                                       const index_array<Rank>& strides) noexcept {
  std::int64_t expected = 1;
  bool contiguous = true;
  for (int axis = Rank - 1; axis >= 0; --axis) {
    if (extents[axis] == 0) return true;
    if (extents[axis] == 1) continue;
    contiguous = contiguous && strides[axis] == expected;
    expected *= extents[axis];
  }
  return contiguous;
}

/// `a * b`; throws shape_error where the product does not fit 64 bits.
constexpr std::int64_t checked_multiply(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) {
    raise<shape_error>("heddle::checked_multiply: the product does not fit 64 bits: ", a, " x ", b,
                       "; use smaller extents");
  }
  return product;
}

/// "(2, 3)", "(5)", "()".
inline std::string to_string(const std::int64_t* indices, int rank) {
  std::string text = "(";
  for (int axis = 0; axis < rank; ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string(indices[axis]);
  }
  return text += ')';
}

/// "(2, 3)", "(5)", "()".
template <int Rank>
std::string to_string(const index_array<Rank>& indices) {
  return to_string(indices.begin(), Rank);
}

/// The number of elements; throws shape_error where an extent is negative or the count does not fit
/// 64 bits.
template <int Rank>
constexpr std::int64_t checked_element_count(const index_array<Rank>& extents) {
  std::int64_t count = 1;
  bool empty = false;
  for (int axis = 0; axis < Rank; ++axis) {
    if (extents[axis] < 0) {
      raise<shape_error>("heddle::checked_element_count: an extent is negative: ", extents,
                         "; extents are 0 or more");
    }
    empty = empty || extents[axis] == 0;
  }
  if (empty) return 0;
  for (int axis = 0; axis < Rank; ++axis) {
    if (__builtin_mul_overflow(count, extents[axis], &count)) {
      raise<shape_error>(
          "heddle::checked_element_count: the number of elements does not fit 64 bits: ", extents,
          "; use smaller extents");
    }
  }
  return count;
}

}  // namespace heddle::inline v0
