// SPDX-License-Identifier: BSD-3-Clause
// What a dataset is, the one made of tensors, and subsets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <heddle/core/error.hpp>
#include <heddle/data/collate.hpp>
#include <heddle/data/permutation.hpp>
#include <heddle/tensor/tensor.hpp>

namespace heddle::inline v0 {

/// Samples by index: `size()`, and `get(i)` for i from 0 to size() - 1, which returns a tensor, a
/// number, a tuple of such, or a type of your own with a `collate`. A dataset that can make a whole
/// batch faster also has `get_batch(indices, count)`.
template <class D>
concept dataset = requires(D& d, std::int64_t i) {
  static_cast<std::int64_t>(d.size());
  d.get(i);
};

namespace detail {

template <class D>
concept batched_dataset = dataset<D> &&
    requires(D& d, const std::int64_t* indices, std::int64_t count) {
  d.get_batch(indices, count);
};

/// The samples of these indices as one batch.
template <dataset D>
auto batch_of(D& samples, const std::int64_t* indices, std::int64_t count) {
  if constexpr (batched_dataset<D>) {
    return samples.get_batch(indices, count);
  } else {
    std::vector<decltype(samples.get(count))> chosen;
    chosen.reserve(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) chosen.push_back(samples.get(indices[i]));
    return collate(chosen);
  }
}

}  // namespace detail

/// Tensors whose first axes count the same samples: `tensor_dataset(images, labels)`. Sample i is
/// the tuple of their rows i (views); a batch, a tuple of tensors (samples, …) on cpu().
template <class... Tensors>
class tensor_dataset {
 public:
  /// Shares the tensors' elements. Throws shape_error where first extents differ.
  explicit tensor_dataset(Tensors... tensors) : tensors_(std::move(tensors)...) {
    static_assert(sizeof...(Tensors) > 0, "heddle::tensor_dataset: give at least one tensor");
    static_assert(((Tensors::rank > 0) && ...),
                  "heddle::tensor_dataset: a tensor has no axis that counts samples");
    size_ = std::get<0>(tensors_).extents()[0];
    std::apply(
        [&](const auto&... each) {
          if (((each.extents()[0] != size_) || ...)) {
            std::string all;
            ((all += ' ' + to_string(each.extents())), ...);
            raise<shape_error>("heddle::tensor_dataset: the first extents differ:", all,
                               "; they count the same samples");
          }
        },
        tensors_);
  }

  /// The number of samples.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  /// All samples, as they were given.
  [[nodiscard]] const std::tuple<Tensors...>& tensors() const noexcept { return tensors_; }

  /// Throws index_error.
  [[nodiscard]] auto get(std::int64_t i) const {
    if (i < 0 || i >= size_) {
      raise<index_error>("heddle::tensor_dataset: the index is outside of the samples: ", i, " of ",
                         size_, "; indices are 0 to ", size_ - 1);
    }
    return std::apply([&](const auto&... each) { return std::tuple(row(each, i)...); }, tensors_);
  }
  /// Throws index_error, device_error where a tensor is not on a host device.
  [[nodiscard]] std::tuple<Tensors...> get_batch(const std::int64_t* indices,
                                                 std::int64_t count) const {
    return std::apply(
        [&](const auto&... each) {
          return std::tuple<Tensors...>(detail::gather_rows(each, indices, count)...);
        },
        tensors_);
  }

 private:
  template <class T, int Rank>
  static tensor<T, Rank - 1> row(const tensor<T, Rank>& x, std::int64_t i) {
    extents<Rank - 1> extents;
    strides<Rank - 1> strides;
    for (int axis = 1; axis < Rank; ++axis) {
      extents[axis - 1] = x.extents()[axis];
      strides[axis - 1] = x.strides()[axis];
    }
    T* const data = x.data() == nullptr ? nullptr : x.data() + i * x.strides()[0];
    return tensor<T, Rank - 1>(x.storage(), data, extents, strides);
  }

  std::tuple<Tensors...> tensors_;
  std::int64_t size_ = 0;
};

/// Some samples of a dataset, in an order of their own. Holds a copy of the dataset, which is a
/// handle for a tensor_dataset.
template <dataset D>
class subset {
 public:
  /// `indices`: (samples), on a host device. Throws index_error where one is outside of the
  /// dataset.
  subset(D samples, tensor<std::int64_t, 1> indices)
      : samples_(std::move(samples)), indices_(indices.to(cpu()).contiguous()) {
    const auto available = static_cast<std::int64_t>(samples_.size());
    for (const std::int64_t index : indices_) {
      if (index < 0 || index >= available) {
        raise<index_error>("heddle::subset: an index is outside of the dataset: ", index, " of ",
                           available, " samples; indices are 0 to ", available - 1);
      }
    }
  }

  /// The number of samples in the subset.
  [[nodiscard]] std::int64_t size() const noexcept { return indices_.size(); }
  /// (samples), into the whole dataset, contiguous on cpu().
  [[nodiscard]] const tensor<std::int64_t, 1>& indices() const noexcept { return indices_; }
  /// Throws index_error.
  [[nodiscard]] auto get(std::int64_t i) const { return samples_.get(indices_(i)); }
  /// `indices` are of the subset. Throws index_error.
  [[nodiscard]] auto get_batch(const std::int64_t* indices, std::int64_t count) const {
    std::vector<std::int64_t> chosen;
    chosen.reserve(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) chosen.push_back(indices_(indices[i]));
    return detail::batch_of(samples_, chosen.data(), count);
  }

 private:
  D samples_;
  tensor<std::int64_t, 1> indices_;
};

/// Splits a dataset at random into subsets of these lengths, which add up to its size:
/// `auto [train, test] = random_split(samples, {1437, 360}, 0)`. The same seed gives the same split
/// on every platform. Throws value_error for lengths that do not add up.
template <dataset D, std::size_t Parts>
[[nodiscard]] std::array<subset<D>, Parts> random_split(const D& samples,
                                                        const std::int64_t (&lengths)[Parts],
                                                        std::uint64_t seed) {
  const auto size = static_cast<std::int64_t>(samples.size());
  std::int64_t rest = size;
  bool fits = true;
  for (const std::int64_t length : lengths) {
    fits = fits && length >= 0 && length <= rest;
    if (fits) rest -= length;
  }
  if (!fits || rest != 0) {
    raise<value_error>("heddle::random_split: the lengths do not add up to the dataset's size: ",
                       to_string(lengths, static_cast<int>(Parts)), " of ", size,
                       " samples; give lengths of 0 or more whose sum is the size");
  }
  // Number 2^64 - 1: apart from the orders of a loader's epochs.
  const tensor<std::int64_t, 1> order = random_permutation(size, seed, UINT64_MAX);
  std::int64_t begin = 0;
  const auto part = [&](std::int64_t length) {
    const std::int64_t first = begin;
    begin += length;
    return subset<D>(samples, order.slice<0>(first, begin));
  };
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return std::array<subset<D>, Parts>{part(lengths[I])...};
  }
  (std::make_index_sequence<Parts>());
}

}  // namespace heddle::inline v0
