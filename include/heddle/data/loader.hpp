// SPDX-License-Identifier: BSD-3-Clause
// The loader: a dataset's samples in batches, shuffled anew each epoch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>

#include <heddle/core/error.hpp>
#include <heddle/data/dataset.hpp>
#include <heddle/data/permutation.hpp>

namespace heddle::inline v0 {

/// PyTorch's names and defaults, and a seed.
struct loader_options {
  /// Samples in a batch.
  std::int64_t batch_size = 1;
  /// A random order for each epoch, `random_permutation(size, seed, epoch)`; otherwise that of the
  /// dataset.
  bool shuffle = false;
  /// Of the random orders.
  std::uint64_t seed = 0;
  /// Leaves out the last batch where it is smaller.
  bool drop_last = false;
};

/// Where a loader stands: what a checkpoint keeps of it.
struct loader_state {
  /// Of the random orders.
  std::uint64_t seed = 0;
  /// Epochs completed.
  std::uint64_t epoch = 0;
  /// Batches of the current epoch that were handed out.
  std::int64_t position = 0;

  friend bool operator==(const loader_state&, const loader_state&) = default;
};

/// Iterates over batches: `for (auto& [x, y] : batches)`. One loop is one epoch; the next loop is
/// the next epoch, in another order if it shuffles. Leaving a loop early ends its epoch.
///
/// A batch is what the dataset's `get_batch` returns, or `collate` of its samples: for a
/// tensor_dataset, a tuple of tensors (batch_size, …), contiguous on cpu().
template <dataset D>
class loader {
 public:
  /// What a loop meets: for a tensor_dataset, a tuple of tensors.
  using batch_type = decltype(detail::batch_of(std::declval<D&>(), nullptr, 0));

  /// Throws value_error for a batch size below 1.
  explicit loader(D samples, const loader_options& options = {})
      : samples_(std::move(samples)), options_(options) {
    if (options.batch_size < 1) {
      raise<value_error>("heddle::loader: the batch size is not positive: ", options.batch_size,
                         "; a batch holds 1 sample or more");
    }
    state_.seed = options.seed;
  }

  /// Visits the batches of one epoch, once.
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = batch_type;
    using difference_type = std::ptrdiff_t;
    using pointer = batch_type*;
    using reference = batch_type&;

    explicit iterator(loader& owner) : owner_(&owner) { load(); }
    batch_type& operator*() const noexcept { return *owner_->batch_; }
    batch_type* operator->() const noexcept { return &*owner_->batch_; }
    iterator& operator++() {
      load();
      return *this;
    }
    void operator++(int) { load(); }
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept {
      return i.owner_ == nullptr;
    }

   private:
    void load() {
      if (!owner_->load_next()) owner_ = nullptr;
    }
    loader* owner_;
  };

  /// Begins an epoch, or continues the one that `restore` named.
  [[nodiscard]] iterator begin() {
    if (state_.position > 0 && !restored_) next_epoch();
    restored_ = false;
    // The dataset may have grown or shrunk since the last epoch.
    const bool resized = !order_.defined() || order_.size() != sample_count();
    if (resized || order_epoch_ != state_.epoch || order_seed_ != state_.seed) {
      order_ = options_.shuffle ? random_permutation(sample_count(), state_.seed, state_.epoch)
               : resized        ? counted_order()
                                : order_;
      order_epoch_ = state_.epoch;
      order_seed_ = state_.seed;
    }
    return iterator(*this);
  }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// Batches in an epoch.
  [[nodiscard]] std::int64_t size() const { return batches_of(sample_count()); }
  /// Samples in the dataset.
  [[nodiscard]] std::int64_t sample_count() const {
    return static_cast<std::int64_t>(samples_.size());
  }
  /// As they were given to the constructor; a restored seed is in `state()`.
  [[nodiscard]] const loader_options& options() const noexcept { return options_; }
  /// The dataset, which may grow or shrink between epochs.
  [[nodiscard]] D& samples() noexcept { return samples_; }

  /// Where the loader stands, the current batch counted as handed out. In the loop's body or after
  /// it.
  [[nodiscard]] loader_state state() const noexcept { return state_; }
  /// The next loop continues from there: with the batch that follows, in the same order as the
  /// loader that was saved (given the same dataset, batch size and `shuffle`). Throws value_error
  /// for a position outside of an epoch.
  void restore(const loader_state& saved) {
    if (saved.position < 0 || saved.position > size()) {
      raise<value_error>(
          "heddle::loader::restore: the position is outside of an epoch: ", saved.position, " of ",
          size(), " batches; restore with the dataset and batch size it was saved with");
    }
    state_ = saved;
    if (state_.position > 0 && state_.position == size()) next_epoch();
    restored_ = true;
  }

 private:
  std::int64_t batches_of(std::int64_t samples) const noexcept {
    const std::int64_t batch = options_.batch_size;
    return samples / batch + (!options_.drop_last && samples % batch != 0 ? 1 : 0);
  }
  void next_epoch() noexcept {
    ++state_.epoch;
    state_.position = 0;
  }
  tensor<std::int64_t, 1> counted_order() const {
    auto order = tensor<std::int64_t, 1>::allocate({sample_count()}, cpu());
    for (std::int64_t i = 0; i < order.size(); ++i) order.data()[i] = i;
    return order;
  }
  // False at the end of the epoch.
  bool load_next() {
    batch_.reset();  // so that its memory serves the next
    // By the order: a dataset that grows within an epoch has its new samples in the next.
    if (state_.position >= batches_of(order_.size())) {
      next_epoch();
      return false;
    }
    const std::int64_t first = state_.position * options_.batch_size;
    const std::int64_t left = order_.size() - first;
    const std::int64_t count = left < options_.batch_size ? left : options_.batch_size;
    batch_.emplace(detail::batch_of(samples_, order_.data() + first, count));
    ++state_.position;
    return true;
  }

  D samples_;
  loader_options options_;
  loader_state state_;
  tensor<std::int64_t, 1> order_;
  std::uint64_t order_epoch_ = 0;
  std::uint64_t order_seed_ = 0;
  bool restored_ = false;
  std::optional<batch_type> batch_;
};

}  // namespace heddle::inline v0
