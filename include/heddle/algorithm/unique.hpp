// SPDX-License-Identifier: BSD-3-Clause
// unique: the distinct elements of a tensor, in order, and how often and where they stand.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <heddle/algorithm/sort.hpp>

namespace heddle::inline v0 {

/// The distinct elements of a tensor of rank Rank; U is how many they are.
template <class T, int Rank>
struct unique_result {
  tensor<T, 1> values;                 ///< (U), ascending
  tensor<std::int64_t, Rank> inverse;  ///< the place in `values` of each element
  tensor<std::int64_t, 1> counts;      ///< (U), how often each stands in the tensor
};

namespace algorithm::detail {

/// On a device of the host, in the caller. x: contiguous and readable.
template <class T, int Rank>
unique_result<T, Rank> unique_on_host(const tensor<T, Rank>& x) {
  const device where = x.device();
  std::vector<sort_entry<T>> entries(static_cast<std::size_t>(x.size()));
  read_entries(entries, x.data(), 1, false);
  std::sort(entries.begin(), entries.end());
  std::vector<std::int64_t> starts;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i == 0 || differs<T>(entries[i].key, entries[i - 1].key)) {
      starts.push_back(static_cast<std::int64_t>(i));
    }
  }
  const auto found = static_cast<std::int64_t>(starts.size());
  starts.push_back(x.size());
  unique_result<T, Rank> made{tensor<T, 1>::allocate({found}, where),
                              tensor<std::int64_t, Rank>::allocate(x.extents(), where),
                              tensor<std::int64_t, 1>::allocate({found}, where)};
  for (std::int64_t value = 0; value < found; ++value) {
    const std::int64_t begin = starts[static_cast<std::size_t>(value)];
    const std::int64_t end = starts[static_cast<std::size_t>(value) + 1];
    made.values.data()[value] = x.data()[entries[static_cast<std::size_t>(begin)].index];
    made.counts.data()[value] = end - begin;
    for (std::int64_t i = begin; i < end; ++i) {
      made.inverse.data()[entries[static_cast<std::size_t>(i)].index] = value;
    }
  }
  return made;
}

template <class T, int Rank>
unique_result<T, Rank> unique_on_cuda(const cuda_algorithms& algorithms, const tensor<T, Rank>& x) {
  const heddle::device where = x.device();
  const auto values = tensor<T, 1>::allocate({x.size()}, where);
  const auto counts = tensor<std::int64_t, 1>::allocate({x.size()}, where);
  auto inverse = tensor<std::int64_t, Rank>::allocate(x.extents(), where);
  const std::int64_t found = algorithms.unique[static_cast<int>(dtype_of<T>)](
      elements_of(x), elements_of(values), elements_of(inverse), elements_of(counts), x.size(),
      where);
  return {values.template slice<0>(0, found).clone(), inverse,
          counts.template slice<0>(0, found).clone()};
}

template <class T, int Rank>
unique_result<T, Rank> unique_tensor(const tensor<T, Rank>& x) {
  const device where = x.device();
  if (where.is_cuda()) {
    const cuda_algorithms* const found = device_algorithms();
    if (found != nullptr && x.size() > 0) {
      record("unique", 2 * bytes_of(x) + 16 * x.size(), where);
      return unique_on_cuda(*found, x.contiguous());
    }
    const auto made = unique_tensor(x.to(cpu()));
    return {made.values.to(where), made.inverse.to(where), made.counts.to(where)};
  }
  const tensor<T, Rank> dense = x.contiguous();
  heddle::detail::make_readable(dense.storage().get(), "unique");
  record("unique", 2 * bytes_of(x) + 16 * x.size(), where);
  return unique_on_host(dense);
}

}  // namespace algorithm::detail

/// The distinct elements of x in ascending order, the place of each element among them, and how
/// often each stands in x, as torch.unique(x, sorted, return_inverse, return_counts), contiguous on
/// x's device. x: any dtype and rank; a tensor, or an expression, which is evaluated (of a
/// variable, the values; no gradients). Of -0 and +0, which are equal, the first one in x is kept.
///
/// Each NaN is a value of its own, counted once, and the NaNs stand last in the order they have in
/// x. So the array API standard has it; PyTorch documents no rule, compares with ==, and its
/// releases differ in what they make of NaNs.
///
/// Waits for x's device, as the extents of the result hang on the elements. Throws device_error on
/// meta(), state_error for an undefined tensor, out_of_memory.
template <class E, class Configuration = configuration>
requires expression<E>
[[nodiscard]] unique_result<type_of<E::type>, E::rank> unique(const E& x) {
  return algorithm::detail::unique_tensor(algorithm::detail::values_of<Configuration>(x));
}

}  // namespace heddle::inline v0
