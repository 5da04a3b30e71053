// SPDX-License-Identifier: BSD-3-Clause
// A tensor whose dtype and rank are known at run time: for state dicts and file formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <heddle/core/device.hpp>
#include <heddle/core/dtype.hpp>
#include <heddle/core/error.hpp>
#include <heddle/core/extents.hpp>
#include <heddle/core/memory.hpp>
#include <heddle/tensor/copy.hpp>
#include <heddle/tensor/tensor.hpp>

namespace heddle::inline v0 {

/// A shared handle as `tensor`, without dtype and rank in its type. Made by default it is
/// undefined: of rank 0 and dtype f32, without elements.
class any_tensor {
 public:
  any_tensor() = default;

  /// Shares the elements of x.
  template <class T, int Rank>
  any_tensor(const tensor<T, Rank>& x) noexcept
      : storage_(x.storage()),
        data_(reinterpret_cast<std::byte*>(x.data())),
        dtype_(dtype_of<T>),
        rank_(Rank) {
    for (int axis = 0; axis < Rank; ++axis) {
      extents_[axis] = x.extents()[axis];
      strides_[axis] = x.strides()[axis];
    }
  }

  /// Contiguous elements that are not initialised. Throws shape_error for a rank above 8 or
  /// negative extents, type_error for an invalid dtype, out_of_memory.
  [[nodiscard]] static any_tensor allocate(heddle::dtype type,
                                           std::span<const std::int64_t> extents,
                                           heddle::device where = cpu()) {
    if (!is_valid(type)) {
      raise<type_error>("heddle::any_tensor: there is no such dtype: ", static_cast<int>(type),
                        "; dtypes are 0 to ", dtype_count - 1);
    }
    if (extents.size() > static_cast<std::size_t>(max_rank)) {
      raise<shape_error>("heddle::any_tensor: the rank is too large: ", extents.size(),
                         "; the largest is ", max_rank);
    }
    any_tensor result;
    result.dtype_ = type;
    result.rank_ = static_cast<int>(extents.size());
    // Axes beyond the rank count as 1.
    auto all_extents = heddle::extents<max_rank>::filled(1);
    for (int axis = 0; axis < result.rank_; ++axis) {
      all_extents[axis] = result.extents_[axis] = extents[static_cast<std::size_t>(axis)];
    }
    const std::int64_t bytes = checked_multiply(checked_element_count(all_extents),
                                                static_cast<std::int64_t>(size_of(type)));
    result.set_contiguous();
    result.storage_ = heddle::storage::allocate(static_cast<std::size_t>(bytes), where);
    result.data_ = result.storage_->data();
    return result;
  }

  /// The same elements as a tensor. Throws type_error or shape_error where dtype or rank differ,
  /// state_error for an undefined tensor. Dtypes are not converted.
  template <class T, int Rank>
  [[nodiscard]] tensor<T, Rank> as() const {
    require(dtype_of<T>, Rank);
    heddle::extents<Rank> extents;
    heddle::strides<Rank> strides;
    for (int axis = 0; axis < Rank; ++axis) {
      extents[axis] = extents_[axis];
      strides[axis] = strides_[axis];
    }
    return tensor<T, Rank>(storage_, reinterpret_cast<T*>(data_), extents, strides);
  }

  /// Whether there is a storage; false of one made by default.
  [[nodiscard]] bool defined() const noexcept { return static_cast<bool>(storage_); }
  /// Of the elements; f32 where undefined.
  [[nodiscard]] heddle::dtype dtype() const noexcept { return dtype_; }
  [[nodiscard]] int rank() const noexcept { return rank_; }
  /// One per axis; the span lasts as long as this tensor.
  [[nodiscard]] std::span<const std::int64_t> extents() const noexcept {
    return {extents_, static_cast<std::size_t>(rank_)};
  }
  /// In elements.
  [[nodiscard]] std::span<const std::int64_t> strides() const noexcept {
    return {strides_, static_cast<std::size_t>(rank_)};
  }
  /// The number of elements.
  [[nodiscard]] std::int64_t size() const noexcept {
    std::int64_t count = defined() ? 1 : 0;
    for (int axis = 0; axis < rank_; ++axis) count *= extents_[axis];
    return count;
  }
  /// The bytes of the elements, without gaps.
  [[nodiscard]] std::size_t bytes() const noexcept {
    return static_cast<std::size_t>(size()) * size_of(dtype_);
  }
  /// The first element; null on `meta()`. Does not wait for the device: see `synchronize`.
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  /// What holds the elements, shared with all views of them; null where undefined.
  [[nodiscard]] const handle<heddle::storage>& storage() const noexcept { return storage_; }
  /// How often the storage was written in place; 0 where undefined.
  [[nodiscard]] std::uint32_t version() const noexcept {
    return storage_ ? storage_->version() : 0;
  }
  /// Throws state_error for an undefined tensor.
  [[nodiscard]] heddle::device device() const {
    require_defined("device");
    return storage_->device();
  }
  /// Whether the elements lie in row-major order without gaps; axes of extent 1 do not count.
  [[nodiscard]] bool is_contiguous() const noexcept {
    std::int64_t expected = 1;
    bool contiguous = true;
    for (int axis = rank_ - 1; axis >= 0; --axis) {
      if (extents_[axis] == 0) return true;
      if (extents_[axis] == 1) continue;
      contiguous = contiguous && strides_[axis] == expected;
      expected *= extents_[axis];
    }
    return contiguous;
  }

  /// A contiguous copy.
  [[nodiscard]] any_tensor clone() const { return copied_to(device()); }
  /// This tensor where it is contiguous, otherwise a copy that is.
  [[nodiscard]] any_tensor contiguous() const { return is_contiguous() ? *this : clone(); }
  /// As `tensor::to(device)`.
  [[nodiscard]] any_tensor to(heddle::device where) const {
    const heddle::device from = device();
    if (where == from) return *this;
    if (from.is_meta()) {
      raise<device_error>("heddle::to: a tensor on meta has no elements to copy to ", where,
                          "; make it there");
    }
    return copied_to(where);
  }

  /// Copies the elements of another tensor into this one's, in place, from any device.
  /// Throws type_error or shape_error where dtype or extents differ, device_error on `meta()`.
  const any_tensor& copy_(const any_tensor& from) const {
    require_defined("copy_");
    from.require_defined("copy_");
    if (from.dtype_ != dtype_) {
      raise<type_error>("heddle::copy_: the dtypes differ: ", from.dtype_, " into ", dtype_,
                        "; cast first");
    }
    bool same = rank_ == from.rank_;
    for (int axis = 0; axis < rank_; ++axis) same = same && extents_[axis] == from.extents_[axis];
    if (!same || detail::repeats_elements(extents_, strides_, rank_)) {
      raise<shape_error>("heddle::copy_: the extents differ, or indices share an element: ",
                         to_string(from.extents_, from.rank_), " into ", to_string(extents_, rank_),
                         " with strides ", to_string(strides_, rank_),
                         "; the extents are to be the same, and every element is written once");
    }
    storage_->bump_version();
    if (device().is_meta() && from.device().is_meta()) return *this;
    if (device().is_meta() || from.device().is_meta()) {
      raise<device_error>("heddle::copy_: a tensor on meta has no elements: ", from.device(),
                          " into ", device(), "; make it on another device");
    }
    const bool overlap = detail::overlaps(map(), from.map());
    const any_tensor source = overlap ? from.clone() : from;
    detail::overwrite_elements({storage_, data_, strides_},
                               {source.storage_, source.data_, source.strides_}, extents_, rank_,
                               size_of(dtype_));
    return *this;
  }

 private:
  void require_defined(const char* function) const {
    if (!storage_) {
      raise<state_error>("heddle::", function,
                         ": the tensor is undefined; assign one that has elements first");
    }
  }
  void require(heddle::dtype type, int rank) const {
    require_defined("any_tensor::as");
    if (type != dtype_) {
      raise<type_error>("heddle::any_tensor::as: the dtypes differ: the tensor holds ", dtype_, " ",
                        to_string(extents_, rank_), "; ", type, " of rank ", rank, " is expected");
    }
    if (rank != rank_) {
      raise<shape_error>("heddle::any_tensor::as: the ranks differ: the tensor holds ", dtype_, " ",
                         to_string(extents_, rank_), " of rank ", rank_, "; rank ", rank,
                         " is expected");
    }
  }
  detail::memory_map map() const noexcept {
    return {data_, extents_, strides_, rank_, size_of(dtype_)};
  }
  void set_contiguous() noexcept {
    std::int64_t stride = 1;
    for (int axis = rank_ - 1; axis >= 0; --axis) {
      strides_[axis] = stride;
      // unsigned: beside an extent of 0 the product may wrap, and means nothing
      stride = static_cast<std::int64_t>(
          static_cast<std::uint64_t>(stride) *
          static_cast<std::uint64_t>(extents_[axis] > 1 ? extents_[axis] : 1));
    }
  }
  any_tensor copied_to(heddle::device where) const {
    any_tensor result = allocate(dtype_, extents(), where);
    detail::copy_elements({result.storage_, result.data_, result.strides_},
                          {storage_, data_, strides_}, extents_, rank_, size_of(dtype_));
    return result;
  }

  handle<heddle::storage> storage_;
  std::byte* data_ = nullptr;
  heddle::dtype dtype_ = heddle::dtype::f32;
  int rank_ = 0;
  std::int64_t extents_[max_rank] = {};
  std::int64_t strides_[max_rank] = {};
};

}  // namespace heddle::inline v0
