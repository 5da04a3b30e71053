// SPDX-License-Identifier: BSD-3-Clause
// Metrics: accumulators of means and of classification accuracy.
#pragma once

#include <cstdint>

#include <heddle/core/dtype.hpp>
#include <heddle/core/error.hpp>
#include <heddle/tensor/copy.hpp>
#include <heddle/tensor/tensor.hpp>

namespace heddle::inline v0 {

/// The mean of the values added so far, in double.
class running_mean {
 public:
  /// A value that stands for `weight` samples.
  void add(double value, double weight = 1) noexcept {
    sum_ += value * weight;
    weight_ += weight;
  }
  /// NaN where nothing was added.
  [[nodiscard]] double value() const noexcept {
    return weight_ > 0 ? sum_ / weight_ : __builtin_nan("");
  }
  /// The sum of the weights.
  [[nodiscard]] double weight() const noexcept { return weight_; }
  /// Begins anew: for the next epoch.
  void reset() noexcept { *this = {}; }

 private:
  double sum_ = 0;
  double weight_ = 0;
};

namespace detail {

/// x, or a copy of it that the host can read.
template <class T, int Rank>
tensor<T, Rank> on_host(const tensor<T, Rank>& x) {
  return x.defined() && x.device().is_cuda() ? x.to(cpu()) : x;
}

}  // namespace detail

/// The index of the largest value of each row of x, (rows, columns): (rows), on cpu(). The first of
/// equal ones; a NaN counts as largest, as PyTorch's `argmax`. Throws shape_error for rows without
/// columns, device_error on meta().
template <class T>
[[nodiscard]] tensor<std::int64_t, 1> largest_of_rows(const tensor<T, 2>& given) {
  const tensor<T, 2> x = detail::on_host(given);
  detail::make_readable(x.storage().get(), "largest_of_rows");
  const std::int64_t rows = x.extents()[0], columns = x.extents()[1];
  if (columns == 0 && rows > 0) {
    raise<shape_error>("heddle::largest_of_rows: the rows are empty: ", x.extents(),
                       "; a row has one column at least");
  }
  auto result = tensor<std::int64_t, 1>::allocate({rows}, cpu());
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* const values = x.data() + row * x.strides()[0];
    std::int64_t found = 0;
    auto largest = static_cast<compute_type<T>>(values[0]);
    for (std::int64_t column = 1; column < columns; ++column) {
      const auto value = static_cast<compute_type<T>>(values[column * x.strides()[1]]);
      // value != value is true of NaN only.
      if (largest == largest && (value > largest || value != value)) {
        largest = value;
        found = column;
      }
    }
    result.data()[row] = found;
  }
  return result;
}

/// The share of samples whose largest logit is that of their label.
class accuracy {
 public:
  /// logits: (samples, classes), or anything that rises with them; labels: (samples), 0 to classes
  /// - 1. A row with a NaN counts as wrong. Returns the number of right ones among these. Throws
  /// shape_error where the numbers of samples differ, index_error for a label that is no class,
  /// device_error on meta().
  template <class T, class Label>
  std::int64_t add(const tensor<T, 2>& given_logits, const tensor<Label, 1>& given_labels) {
    const tensor<T, 2> logits = detail::on_host(given_logits);
    const tensor<Label, 1> labels = detail::on_host(given_labels);
    static_assert(is_integral(dtype_of<Label>), "heddle::accuracy: labels are integers");
    if (labels.extents()[0] != logits.extents()[0]) {
      raise<shape_error>(
          "heddle::accuracy: logits and labels differ in the number of samples: ", logits.extents(),
          " and ", labels.extents(), "; they are (samples, classes) and (samples)");
    }
    const std::int64_t classes = logits.extents()[1];
    const tensor<std::int64_t, 1> found = largest_of_rows(logits);
    std::int64_t right = 0;
    std::int64_t row = 0;
    for (const Label each : labels) {
      const auto label = static_cast<std::int64_t>(each);
      if (label < 0 || label >= classes) {
        raise<index_error>("heddle::accuracy: a label is no class: ", label, " of sample ", row,
                           "; classes are 0 to ", classes - 1);
      }
      const std::int64_t chosen = found.data()[row];
      const auto value = static_cast<compute_type<T>>(
          logits.data()[row * logits.strides()[0] + chosen * logits.strides()[1]]);
      right += chosen == label && value == value;
      ++row;
    }
    right_ += right;
    count_ += row;
    return right;
  }

  /// 0 to 1; NaN where nothing was added.
  [[nodiscard]] double value() const noexcept {
    return count_ > 0 ? static_cast<double>(right_) / static_cast<double>(count_)
                      : __builtin_nan("");
  }
  /// Samples that were right, of `count()`.
  [[nodiscard]] std::int64_t right() const noexcept { return right_; }
  /// Samples that were added.
  [[nodiscard]] std::int64_t count() const noexcept { return count_; }
  /// Begins anew: for the next epoch.
  void reset() noexcept { *this = {}; }

 private:
  std::int64_t right_ = 0;
  std::int64_t count_ = 0;
};

}  // namespace heddle::inline v0
