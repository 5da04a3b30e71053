// SPDX-License-Identifier: BSD-3-Clause
// Functions that make tensors: of given extents and values, of ranges, of memory that is there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <heddle/core/device.hpp>
#include <heddle/core/error.hpp>
#include <heddle/core/extents.hpp>
#include <heddle/tensor/tensor.hpp>

// Names, order of arguments and rules are PyTorch's. Extents may hold 0; negative ones throw
// shape_error, and out_of_memory is thrown where memory ends. Values are written by the caller's
// thread, before the function returns, on queued host devices too: nothing else uses new storage.

namespace heddle::inline v0 {

namespace detail {

/// A new tensor of elements `value_at(position)`, in row-major order.
template <class T, int Rank, class Function>
tensor<T, Rank> tabulate(const extents<Rank>& extents, device where, Function value_at) {
  if (where.is_cuda()) return tabulate<T, Rank>(extents, cpu(), value_at).to(where);
  tensor<T, Rank> result = tensor<T, Rank>::allocate(extents, where);
  T* const data = result.data();
  const std::int64_t count = data == nullptr ? 0 : result.size();
  for (std::int64_t i = 0; i < count; ++i) data[i] = static_cast<T>(value_at(i));
  return result;
}

template <class Number>
[[noreturn]] HEDDLE_COLD void raise_range(Number start, Number end, Number step) {
  raise<value_error>("heddle::arange: the step does not lead from start to end: ", start, " to ",
                     end, " by ", step,
                     "; its sign is that of end - start, it is not 0, and all are finite");
}
// How many of start, start + step, … lie before end.
inline std::int64_t steps_between(double start, double end, double step) {
  const double count = __builtin_ceil((end - start) / step);
  const bool leads = step > 0 ? start <= end : step < 0 && start >= end;
  if (!leads || !(count < 0x1p62)) raise_range(start, end, step);
  return static_cast<std::int64_t>(count);
}
inline std::int64_t steps_between(std::int64_t start, std::int64_t end, std::int64_t step) {
  if (!(step > 0 ? start <= end : step < 0 && start >= end)) raise_range(start, end, step);
  // Unsigned, as the distance of two 64-bit integers does not fit a signed one.
  const auto from = static_cast<std::uint64_t>(start), to = static_cast<std::uint64_t>(end);
  const std::uint64_t distance = step > 0 ? to - from : from - to;
  const std::uint64_t stride =
      step > 0 ? static_cast<std::uint64_t>(step) : 0 - static_cast<std::uint64_t>(step);
  return static_cast<std::int64_t>(distance / stride + (distance % stride != 0));
}

}  // namespace detail

/// Elements that are not initialised.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> empty(const extents<Rank>& extents, device where = cpu()) {
  return tensor<T, Rank>::allocate(extents, where);
}

/// Elements of one value, converted to T.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> full(const extents<Rank>& extents, compute_type<T> value,
                                   device where = cpu()) {
  tensor<T, Rank> result = tensor<T, Rank>::allocate(extents, where);
  const T element = static_cast<T>(value);
  if (where.is_cuda()) {
    detail::fill_elements({result.storage(), result.data(), result.strides().data()}, &element,
                          extents.data(), Rank, sizeof(T));
  } else if (!where.is_meta()) {
    detail::strided_fill(reinterpret_cast<std::byte*>(result.data()), result.strides().data(),
                         &element, extents.data(), Rank, sizeof(T));
  }
  return result;
}

/// Elements of 0.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> zeros(const extents<Rank>& extents, device where = cpu()) {
  return full<T, Rank>(extents, compute_type<T>(0), where);
}

/// Elements of 1.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> ones(const extents<Rank>& extents, device where = cpu()) {
  return full<T, Rank>(extents, compute_type<T>(1), where);
}

/// A contiguous tensor of x's extents, dtype and device that is not initialised.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> empty_like(const tensor<T, Rank>& x) {
  return empty<T, Rank>(x.extents(), x.device());
}
/// Elements of one value, with x's extents, dtype and device; contiguous.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> full_like(const tensor<T, Rank>& x, compute_type<T> value) {
  return full<T, Rank>(x.extents(), value, x.device());
}
/// Elements of 0, with x's extents, dtype and device; contiguous.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> zeros_like(const tensor<T, Rank>& x) {
  return zeros<T, Rank>(x.extents(), x.device());
}
/// Elements of 1, with x's extents, dtype and device; contiguous.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> ones_like(const tensor<T, Rank>& x) {
  return ones<T, Rank>(x.extents(), x.device());
}

/// start, start + step, … before end. Floating values are start + i · step computed in double.
/// Throws value_error where the step is 0 or leads away from end.
template <class T>
[[nodiscard]] tensor<T, 1> arange(compute_type<T> start, compute_type<T> end,
                                  compute_type<T> step = compute_type<T>(1), device where = cpu()) {
  static_assert(!std::is_same_v<T, bool>, "heddle::arange: there is no range of bool");
  using number = std::conditional_t<is_floating(dtype_of<T>), double, std::int64_t>;
  const number first = start, by = step;
  const std::int64_t count = detail::steps_between(first, number(end), by);
  // Integers wrap, so that i · step may pass the largest one and come back.
  using wrapping = std::conditional_t<is_floating(dtype_of<T>), double, std::uint64_t>;
  return detail::tabulate<T, 1>({count}, where, [=](std::int64_t i) {
    return static_cast<wrapping>(first) + static_cast<wrapping>(i) * static_cast<wrapping>(by);
  });
}

/// 0, 1, … before end.
template <class T>
[[nodiscard]] tensor<T, 1> arange(compute_type<T> end) {
  return arange<T>(compute_type<T>(0), end);
}

/// `steps` values from start to end, both included, at equal distances; computed in double.
/// Throws value_error for negative steps.
template <class T>
[[nodiscard]] tensor<T, 1> linspace(double start, double end, std::int64_t steps,
                                    device where = cpu()) {
  if (steps < 0) {
    raise<value_error>("heddle::linspace: the number of steps is negative: ", steps,
                       "; it is 0 or more");
  }
  const double step = steps > 1 ? (end - start) / static_cast<double>(steps - 1) : 0;
  // From both ends, so that both are exact.
  return detail::tabulate<T, 1>({steps}, where, [=](std::int64_t i) {
    return i < (steps + 1) / 2 ? start + step * static_cast<double>(i)
                               : end - step * static_cast<double>(steps - 1 - i);
  });
}

/// Ones on the diagonal of an (n, m) matrix of zeros; m is n where it is not given.
template <class T>
[[nodiscard]] tensor<T, 2> eye(std::int64_t n, std::int64_t m = -1, device where = cpu()) {
  const std::int64_t columns = m < 0 ? n : m;
  tensor<T, 2> result = zeros<T, 2>({n, columns}, where);
  const std::int64_t count = result.data() == nullptr ? 0 : n < columns ? n : columns;
  for (std::int64_t i = 0; i < count; ++i) result.data()[i * (columns + 1)] = static_cast<T>(1);
  return result;
}

/// The user's memory as a contiguous tensor on a host device. It stays the user's, and outlives the
/// tensor and its views. Throws shape_error for negative extents.
template <class T, int Rank>
[[nodiscard]] tensor<T, Rank> from_pointer(T* data, const extents<Rank>& extents,
                                           device where = cpu()) {
  const auto bytes = static_cast<std::size_t>(checked_element_count(extents)) * sizeof(T);
  return tensor<T, Rank>(storage::wrap(data, bytes, where), data, extents,
                         contiguous_strides(extents));
}

/// The same, given to the tensor: `deleter(data)` runs when the last handle is gone, in any thread.
/// It does not throw.
template <class T, int Rank, class Deleter>
requires(!std::is_same_v<Deleter, device>)
    [[nodiscard]] tensor<T, Rank> from_pointer(T* data, const extents<Rank>& extents,
                                               Deleter deleter, device where = cpu()) {
  struct owner {
    Deleter deleter;
    T* data;
  };
  const auto bytes = static_cast<std::size_t>(checked_element_count(extents)) * sizeof(T);
  auto* const owned = new owner{std::move(deleter), data};
  const auto release = [](void* context) {
    auto* const last = static_cast<owner*>(context);
    last->deleter(last->data);
    delete last;
  };
  return tensor<T, Rank>(storage::wrap(data, bytes, where, release, owned), data, extents,
                         contiguous_strides(extents));
}

}  // namespace heddle::inline v0
