// SPDX-License-Identifier: BSD-3-Clause
// The iterator over a tensor's elements on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>

#include <heddle/core/extents.hpp>

namespace heddle::inline v0 {

/// Visits the elements in row-major order of their indices, whatever the strides. Lives no longer
/// than the tensor's storage.
template <class T, int Rank>
class element_iterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using pointer = T*;
  using reference = T&;

  element_iterator() = default;
  /// The element at the row-major `position`: 0, or the number of elements, for the end.
  element_iterator(T* data, const extents<Rank>& extents, const strides<Rank>& strides,
                   std::int64_t position) noexcept
      : place_(data), extents_(extents), strides_(strides), position_(position) {}

  T& operator*() const noexcept { return *place_; }
  T* operator->() const noexcept { return place_; }

  element_iterator& operator++() noexcept {
    ++position_;
    if constexpr (Rank > 0) {
      place_ += strides_[Rank - 1];
      if (++index_[Rank - 1] == extents_[Rank - 1]) [[unlikely]] {
        carry();
      }
    }
    return *this;
  }
  element_iterator operator++(int) noexcept {
    element_iterator before = *this;
    ++*this;
    return before;
  }

  friend bool operator==(const element_iterator& a, const element_iterator& b) noexcept {
    return a.position_ == b.position_;
  }

 private:
  void carry() noexcept {
    for (int axis = Rank - 1; axis > 0 && index_[axis] == extents_[axis]; --axis) {
      place_ += strides_[axis - 1] - extents_[axis] * strides_[axis];
      index_[axis] = 0;
      ++index_[axis - 1];
    }
  }

  T* place_ = nullptr;
  extents<Rank> extents_;
  strides<Rank> strides_;
  index_array<Rank> index_;
  std::int64_t position_ = 0;
};

}  // namespace heddle::inline v0
