// SPDX-License-Identifier: BSD-3-Clause
// What the algorithms share: how they take their operand, and the rows of a tensor along one axis.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include <heddle/algorithm/backend.hpp>
#include <heddle/core/thread_pool.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/exec/profiler.hpp>
#include <heddle/tensor/tensor.hpp>
#include <heddle/tensor/views.hpp>

namespace heddle::inline v0::algorithm::detail {

/// The operand as a tensor: a tensor or view itself, a variable's value, any other expression
/// evaluated.
template <class Configuration, class E>
tensor<type_of<E::type>, E::rank> values_of(const E& e) {
  if constexpr (std::is_base_of_v<tensor<type_of<E::type>, E::rank>, E>) {
    return e;
  } else if constexpr (requires {
                         E::is_variable;
                         e.value();
                       }) {
    return e.value();
  } else {
    return values_of<Configuration>(heddle::detail::evaluate_in<Configuration>(e));
  }
}

/// The rows of a tensor along an axis, and of a contiguous result that differs in the extent of
/// that axis at most. Strides in elements.
class row_map {
 public:
  struct place {
    std::int64_t from;
    std::int64_t to;
  };

  template <int Rank>
  row_map(const extents<Rank>& e, const strides<Rank>& from, const strides<Rank>& to, int axis)
      : length_(e[axis]), from_step_(from[axis]), to_step_(to[axis]) {
    for (int i = 0; i < Rank; ++i) {
      if (i == axis) continue;
      extents_[rank_] = e[i];
      from_[rank_] = from[i];
      to_[rank_++] = to[i];
      count_ *= e[i];
    }
  }

  std::int64_t count() const noexcept { return count_; }
  std::int64_t length() const noexcept { return length_; }
  std::int64_t from_step() const noexcept { return from_step_; }
  std::int64_t to_step() const noexcept { return to_step_; }
  /// Where a row begins.
  place operator[](std::int64_t row) const noexcept {
    place found{0, 0};
    for (int axis = rank_ - 1; axis >= 0; --axis) {
      const std::int64_t outer = row / extents_[axis];
      const std::int64_t at = row - outer * extents_[axis];
      row = outer;
      found.from += at * from_[axis];
      found.to += at * to_[axis];
    }
    return found;
  }

 private:
  std::int64_t count_ = 1;
  std::int64_t length_;
  std::int64_t from_step_;
  std::int64_t to_step_;
  int rank_ = 0;
  std::int64_t extents_[max_rank] = {};
  std::int64_t from_[max_rank] = {};
  std::int64_t to_[max_rank] = {};
};

/// Calls `part(first, last)` for parts of the rows, in several threads where there is enough to do.
template <class Configuration, class Part>
void for_rows(const row_map& rows, Part part) {
  constexpr std::int64_t elements_per_thread = std::int64_t{1} << 14;
  const std::int64_t length = rows.length() > 0 ? rows.length() : 1;
  const std::int64_t grain = (elements_per_thread + length - 1) / length;
  parallel_for<Part&, Configuration>(0, rows.count(), grain, part);
}

inline void record(const char* name, std::int64_t bytes, device where) {
  heddle::detail::record_launch([&] {
    launch_record made;
    made.name = name;
    made.kernels = 1;
    made.bytes = bytes;
    made.device = where;
    return made;
  });
}

template <class T, int Rank>
std::int64_t bytes_of(const tensor<T, Rank>& x) {
  return x.size() * static_cast<std::int64_t>(sizeof(T));
}

template <class T, int Rank>
device_elements elements_of(const tensor<T, Rank>& x) {
  return {x.storage().get(), reinterpret_cast<std::byte*>(x.data())};
}

/// x, contiguous, with an axis in the last one's place.
template <int Axis, class T, int Rank>
tensor<T, Rank> with_axis_last(const tensor<T, Rank>& x) {
  if constexpr (Axis == Rank - 1) {
    return x.contiguous();
  } else {
    return transpose<Axis, -1>(x).contiguous();
  }
}

/// The rows of what `with_axis_last` returns.
template <class T, int Rank>
dense_rows rows_of(const tensor<T, Rank>& x) {
  const std::int64_t length = x.extents()[Rank - 1];
  return {x.size() / length, length};
}

}  // namespace heddle::inline v0::algorithm::detail
