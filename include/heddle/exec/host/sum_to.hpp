// SPDX-License-Identifier: BSD-3-Clause
// sum_to: a gradient at the broadcast shape summed over the axes along which the operand happened
// to have extent 1. Such axes are found at run time only, so this is no program.
#pragma once

#include <heddle/core/stream.hpp>
#include <heddle/exec/profiler.hpp>
#include <heddle/exec/staged.hpp>
#include <heddle/tensor/tensor.hpp>

namespace heddle::inline v0::exec::host {

namespace detail {

/// Sums in double, as the interpreter does: the summed axes may be long. The innermost axis in a
/// loop of its own.
template <class T>
void sum_axes(const T* from, T* to, const std::int64_t* extents, int rank, unsigned summed) {
  std::int64_t results = 1;
  std::int64_t rows = 1;
  std::int64_t strides[max_rank] = {};
  for (int k = rank - 1; k >= 0; --k) {
    if ((summed >> k & 1u) == 0) {
      strides[k] = results;
      results *= extents[k];
    }
    if (k < rank - 1) rows *= extents[k];
  }
  const std::int64_t inner = rank == 0 ? 1 : extents[rank - 1];
  const bool folds = rank == 0 || strides[rank - 1] == 0;
  const auto bytes = static_cast<std::size_t>(results) * sizeof(double);
  double* sums = static_cast<double*>(heddle::detail::allocate_block(bytes, -1));
  for (std::int64_t i = 0; i < results; ++i) sums[i] = 0;
  std::int64_t at[max_rank] = {};
  std::int64_t place = 0;
  for (std::int64_t row = 0; row < rows; ++row, from += inner) {
    if (folds) {
      double parts[8] = {};  // independent sums, so that additions overlap
      std::int64_t i = 0;
      for (; i + 8 <= inner; i += 8) {
        for (int p = 0; p < 8; ++p) parts[p] += static_cast<double>(from[i + p]);
      }
      for (; i < inner; ++i) parts[0] += static_cast<double>(from[i]);
      sums[place] += ((parts[0] + parts[1]) + (parts[2] + parts[3])) +
                     ((parts[4] + parts[5]) + (parts[6] + parts[7]));
    } else {
      for (std::int64_t i = 0; i < inner; ++i) sums[place + i] += static_cast<double>(from[i]);
    }
    for (int k = rank - 2; k >= 0; --k) {
      place += strides[k];
      if (++at[k] < extents[k]) break;
      place -= strides[k] * extents[k];
      at[k] = 0;
    }
  }
  for (std::int64_t i = 0; i < results; ++i) to[i] = static_cast<T>(sums[i]);
  heddle::detail::release_block(sums, bytes, -1);
}

/// The same on the stream of a device, into new memory.
template <class T>
handle<storage> sum_on_device(const handle<storage>& owner, std::byte* data,
                              const extents<max_rank>& e, int rank, unsigned summed, device where) {
  std::int64_t count = 1;
  std::int64_t results = 1;
  for (int k = 0; k < rank; ++k) {
    count *= e[k];
    if ((summed >> k & 1u) == 0) results *= e[k];
  }
  handle<storage> made = storage::allocate(static_cast<std::size_t>(results) * sizeof(T), where);
  if (where.is_meta()) return made;
  heddle::detail::record_launch([&] {
    const auto bytes = (count + results) * static_cast<std::int64_t>(sizeof(T));
    return launch_record{"sum_to", nullptr, 0, 1, bytes, 0, where, {}};
  });
  if (where.is_cuda()) {
    exec::detail::host_copies copies;
    copies.add(owner.get(), false);
    copies.add(made.get(), true);
    sum_axes(reinterpret_cast<const T*>(copies.place_of(owner.get(), data)),
             reinterpret_cast<T*>(copies.place_of(made.get(), made->data())), e.data(), rank,
             summed);
    copies.write_back();
    return made;
  }
  current_stream(where).enqueue([owner, data, made, e, rank, summed] {
    sum_axes(reinterpret_cast<const T*>(data), reinterpret_cast<T*>(made->data()), e.data(), rank,
             summed);
  });
  return made;
}
HEDDLE_ONCE(handle<storage> sum_on_device<float>(const handle<storage>&, std::byte*,
                                                 const extents<max_rank>&, int, unsigned, device));

}  // namespace detail

/// Sums contiguous elements of extents e over the axes in `summed`, which become 1 in e too. G has
/// the members memory (a storage) and data.
template <class T, class G, int Rank>
G sum_to(const G& from, extents<Rank>& e, unsigned summed, device where) {
  extents<max_rank> whole = extents<max_rank>::filled(1);
  for (int k = 0; k < Rank; ++k) {
    whole[k] = e[k];
    if ((summed >> k & 1u) != 0) e[k] = 1;
  }
  handle<storage> made =
      detail::sum_on_device<T>(from.memory, from.data, whole, Rank, summed, where);
  std::byte* const data = made->data();
  return G{static_cast<handle<storage>&&>(made), data, {}};
}

}  // namespace heddle::inline v0::exec::host
