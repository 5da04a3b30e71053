// SPDX-License-Identifier: BSD-3-Clause
// Copies and fills of strided elements by their bytes, and the test whether two tensors share some.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <heddle/core/config.hpp>
#include <heddle/core/extents.hpp>
#include <heddle/core/memory.hpp>
#include <heddle/core/stream.hpp>

namespace heddle::inline v0::detail {

/// The axes of one or two strided ranges after merging: extent 1 dropped, neighbours that lie
/// behind each other joined. Strides in elements.
struct merged_axes {
  std::int64_t extents[max_rank];
  std::int64_t first[max_rank];
  std::int64_t second[max_rank];
  int rank = 0;
  bool empty = false;

  merged_axes(const std::int64_t* from_extents, const std::int64_t* first_strides,
              const std::int64_t* second_strides, int from_rank) {
    for (int axis = 0; axis < from_rank; ++axis) {
      const std::int64_t extent = from_extents[axis];
      if (extent == 0) empty = true;
      if (extent <= 1) continue;
      insert(extent, first_strides[axis], second_strides[axis]);
    }
    int kept = 0;
    for (int axis = 1; axis < rank; ++axis) {
      if (first[kept] == first[axis] * extents[axis] &&
          second[kept] == second[axis] * extents[axis]) {
        extents[axis] *= extents[kept];
      } else {
        ++kept;
      }
      extents[kept] = extents[axis];
      first[kept] = first[axis];
      second[kept] = second[axis];
    }
    if (rank > 0) rank = kept + 1;
  }

 private:
  // Keeps the axes by falling strides of the first range, which is the one written.
  void insert(std::int64_t extent, std::int64_t first_stride, std::int64_t second_stride) {
    int place = rank++;
    for (; place > 0 && first[place - 1] < first_stride; --place) {
      extents[place] = extents[place - 1];
      first[place] = first[place - 1];
      second[place] = second[place - 1];
    }
    extents[place] = extent;
    first[place] = first_stride;
    second[place] = second_stride;
  }
};

template <std::size_t Size>
void copy_row(std::byte* to, std::int64_t to_stride, const std::byte* from,
              std::int64_t from_stride, std::int64_t count) {
  constexpr auto size = static_cast<std::int64_t>(Size);
  if (to_stride == 1 && from_stride == 1) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * Size);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(to + i * to_stride * size, from + i * from_stride * size, Size);
  }
}

template <std::size_t Size>
void copy_axes(std::byte* to, const std::byte* from, const merged_axes& axes) {
  constexpr auto size = static_cast<std::int64_t>(Size);
  if (axes.rank == 0) {
    std::memcpy(to, from, Size);
    return;
  }
  const int inner = axes.rank - 1;
  // A tile of both inner axes stays in the first cache where rows of one range are columns of the
  // other.
  constexpr std::int64_t tile = 32;
  const bool tiled = inner > 0 && axes.second[inner] > axes.second[inner - 1];
  const int outer = tiled ? inner - 1 : inner;
  std::int64_t index[max_rank] = {};
  for (;;) {
    if (tiled) {
      const std::int64_t rows = axes.extents[inner - 1], columns = axes.extents[inner];
      for (std::int64_t row = 0; row < rows; row += tile) {
        const std::int64_t row_end = row + tile < rows ? row + tile : rows;
        for (std::int64_t column = 0; column < columns; column += tile) {
          const std::int64_t width = column + tile < columns ? tile : columns - column;
          for (std::int64_t r = row; r < row_end; ++r) {
            copy_row<Size>(to + (r * axes.first[inner - 1] + column * axes.first[inner]) * size,
                           axes.first[inner],
                           from + (r * axes.second[inner - 1] + column * axes.second[inner]) * size,
                           axes.second[inner], width);
          }
        }
      }
    } else {
      copy_row<Size>(to, axes.first[inner], from, axes.second[inner], axes.extents[inner]);
    }
    int axis = outer - 1;
    for (; axis >= 0; --axis) {
      to += axes.first[axis] * size;
      from += axes.second[axis] * size;
      if (++index[axis] < axes.extents[axis]) break;
      to -= axes.extents[axis] * axes.first[axis] * size;
      from -= axes.extents[axis] * axes.second[axis] * size;
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}

/// Copies elements of 1, 2, 4 or 8 bytes between ranges that do not overlap. Strides in elements, 0
/// or more; those of the destination are not 0 where an extent is above 1.
inline void strided_copy(std::byte* to, const std::int64_t* to_strides, const std::byte* from,
                         const std::int64_t* from_strides, const std::int64_t* extents, int rank,
                         std::size_t element_size) {
  const merged_axes axes(extents, to_strides, from_strides, rank);
  if (axes.empty) return;
  switch (element_size) {
    case 1:
      return copy_axes<1>(to, from, axes);
    case 2:
      return copy_axes<2>(to, from, axes);
    case 4:
      return copy_axes<4>(to, from, axes);
    default:
      return copy_axes<8>(to, from, axes);
  }
}

/// Writes one element of 1, 2, 4 or 8 bytes to all places of a range.
inline void strided_fill(std::byte* to, const std::int64_t* strides, const void* element,
                         const std::int64_t* extents, int rank, std::size_t element_size) {
  constexpr std::int64_t stay[max_rank] = {};
  strided_copy(to, strides, static_cast<const std::byte*>(element), stay, extents, rank,
               element_size);
}

/// A strided range in memory: what of a tensor decides whether it overlaps another.
struct memory_map {
  const void* data;
  const std::int64_t* extents;
  const std::int64_t* strides;
  int rank;
  std::size_t element_size;

  bool empty() const noexcept {
    for (int axis = 0; axis < rank; ++axis) {
      if (extents[axis] == 0) return true;
    }
    return data == nullptr;
  }
  /// The first byte, as a number.
  std::uintptr_t begin() const noexcept { return reinterpret_cast<std::uintptr_t>(data); }
  /// One past the last byte of a range that is not empty.
  std::uintptr_t end() const noexcept {
    std::int64_t last = 0;
    for (int axis = 0; axis < rank; ++axis) last += (extents[axis] - 1) * strides[axis];
    return begin() + (static_cast<std::uintptr_t>(last) + 1) * element_size;
  }
};

/// Whether both ranges visit the same addresses in the same order; axes of extent 1 do not count.
inline bool same_map(const memory_map& a, const memory_map& b) noexcept {
  if (a.data != b.data || a.element_size != b.element_size) return false;
  int i = 0, j = 0;
  for (;;) {
    while (i < a.rank && a.extents[i] == 1) ++i;
    while (j < b.rank && b.extents[j] == 1) ++j;
    if (i == a.rank || j == b.rank) return i == a.rank && j == b.rank;
    if (a.extents[i] != b.extents[j] || a.strides[i] != b.strides[j]) return false;
    ++i, ++j;
  }
}

/// Whether writing `a` element by element may change an element of `b` that is read later: false
/// for ranges that are apart, and for the same map. May say true of ranges that only interleave.
inline bool overlaps(const memory_map& a, const memory_map& b) noexcept {
  if (a.empty() || b.empty() || same_map(a, b)) return false;
  if (a.end() <= b.begin() || b.end() <= a.begin()) return false;
  if (a.element_size != b.element_size) return true;
  // Addresses of a range are congruent modulo the greatest divisor of its strides: two columns of a
  // matrix never meet.
  std::int64_t divisor = 0;
  for (const memory_map* map : {&a, &b}) {
    for (int axis = 0; axis < map->rank; ++axis) {
      std::int64_t stride = map->extents[axis] > 1 ? map->strides[axis] : 0;
      while (stride != 0) {
        const std::int64_t rest = divisor % stride;
        divisor = stride;
        stride = rest;
      }
    }
  }
  const std::uintptr_t apart =
      a.begin() > b.begin() ? a.begin() - b.begin() : b.begin() - a.begin();
  const std::uintptr_t period = static_cast<std::uintptr_t>(divisor) * a.element_size;
  if (period == 0) return true;
  const std::uintptr_t phase = apart % period;
  return phase < a.element_size || period - phase < a.element_size;
}

/// Whether two indices of the range certainly name one element: an axis above 1 of stride 0, as
/// `expand` makes. Such a range is not written.
inline bool repeats_elements(const std::int64_t* extents, const std::int64_t* strides,
                             int rank) noexcept {
  for (int axis = 0; axis < rank; ++axis) {
    if (extents[axis] > 1 && strides[axis] == 0) return true;
  }
  return false;
}

/// Elements of a storage, as far as a copy cares.
struct element_range {
  const handle<storage>& held;
  void* data;
  const std::int64_t* strides;
};

/// A copy that waits in a queue, and keeps both storages until it is done.
struct queued_copy {
  handle<storage> to_storage, from_storage;
  std::byte *to, *from;
  std::int64_t extents[max_rank], to_strides[max_rank], from_strides[max_rank];
  int rank;
  std::size_t element_size;
  std::byte element[8] = {};  // what a fill writes

  queued_copy(const element_range& destination, const std::int64_t* over, int axes,
              std::size_t size)
      : to_storage(destination.held),
        to(static_cast<std::byte*>(destination.data)),
        from(nullptr),
        rank(axes),
        element_size(size) {
    for (int axis = 0; axis < rank; ++axis) {
      extents[axis] = over[axis];
      to_strides[axis] = destination.strides[axis];
      from_strides[axis] = 0;
    }
  }
  void operator()() const {
    strided_copy(to, to_strides, from != nullptr ? from : element, from_strides, extents, rank,
                 element_size);
  }
};

/// The seam to copies that CUDA devices take part in: tensor/cuda/copy.cuh.
struct cuda_copies {
  void (*copy)(const element_range& to, const element_range& from, const std::int64_t* extents,
               int rank, std::size_t element_size);
  void (*fill)(const element_range& to, const void* element, const std::int64_t* extents, int rank,
               std::size_t element_size);
};
inline constinit std::atomic<const cuda_copies*> cuda_copies_in_place{nullptr};

/// Throws device_error where no unit of the program has been compiled by nvcc.
inline const cuda_copies& copies_of_cuda(device where) {
  static_cast<void>(cuda_backend(where, "copy"));
  return *cuda_copies_in_place.load(std::memory_order_acquire);
}

/// Copies where a CUDA device takes part; false where none does.
inline bool copy_by_cuda(const element_range& to, const element_range& from,
                         const std::int64_t* extents, int rank, std::size_t element_size) {
  const device source = from.held->device();
  const device destination = to.held->device();
  if (!source.is_cuda() && !destination.is_cuda()) [[likely]]
    return false;
  const device first = source.is_cuda() ? source : destination;
  copies_of_cuda(first).copy(to, from, extents, rank, element_size);
  return true;
}

/// Copies between host storages, in the order of the source's stream: at once where that is inline.
/// The destination is new: nothing else uses it yet. Its stream waits, so that a stage that hands
/// on its result never waits for the one that receives it.
template <class Configuration = configuration>
void copy_elements(const element_range& to, const element_range& from, const std::int64_t* extents,
                   int rank, std::size_t element_size) {
  const device source = from.held->device();
  const device destination = to.held->device();
  if (source.is_meta() || destination.is_meta()) return;
  if (copy_by_cuda(to, from, extents, rank, element_size)) return;
  const stream sender = current_stream(source);
  if (sender.is_inline()) {
    strided_copy(static_cast<std::byte*>(to.data), to.strides,
                 static_cast<const std::byte*>(from.data), from.strides, extents, rank,
                 element_size);
    return;
  }
  queued_copy job(to, extents, rank, element_size);
  job.from_storage = from.held;
  job.from = static_cast<std::byte*>(from.data);
  for (int axis = 0; axis < rank; ++axis) job.from_strides[axis] = from.strides[axis];
  sender.enqueue(std::move(job));
  if (source == destination) return;
  event sent;
  sent.record(sender);
  sent.wait(current_stream(destination));
}
HEDDLE_ONCE(void copy_elements<configuration>(const element_range&, const element_range&,
                                              const std::int64_t*, int, std::size_t));

/// Copies into elements that are in use, on the destination's stream: after the work before it on
/// both streams, and before what follows on either.
inline void overwrite_elements(const element_range& to, const element_range& from,
                               const std::int64_t* extents, int rank, std::size_t element_size) {
  if (copy_by_cuda(to, from, extents, rank, element_size)) return;
  const stream receiver = current_stream(to.held->device());
  const stream sender = current_stream(from.held->device());
  event written;
  written.record(sender);
  written.wait(receiver);
  queued_copy job(to, extents, rank, element_size);
  job.from_storage = from.held;
  job.from = static_cast<std::byte*>(from.data);
  for (int axis = 0; axis < rank; ++axis) job.from_strides[axis] = from.strides[axis];
  receiver.enqueue(std::move(job));
  event read;
  read.record(receiver);
  read.wait(sender);
}

/// Writes one element to all places of a range, in the order of its device's stream.
template <class Configuration = configuration>
void fill_elements(const element_range& to, const void* element, const std::int64_t* extents,
                   int rank, std::size_t element_size) {
  const device where = to.held->device();
  if (where.is_meta()) return;
  if (where.is_cuda()) [[unlikely]] {
    return copies_of_cuda(where).fill(to, element, extents, rank, element_size);
  }
  const stream queue = current_stream(where);
  if (queue.is_inline()) {
    strided_fill(static_cast<std::byte*>(to.data), to.strides, element, extents, rank,
                 element_size);
    return;
  }
  queued_copy job(to, extents, rank, element_size);
  std::memcpy(job.element, element, element_size);
  queue.enqueue(std::move(job));
}
HEDDLE_ONCE(void fill_elements<configuration>(const element_range&, const void*,
                                              const std::int64_t*, int, std::size_t));

/// Makes elements readable in the caller: waits for their device. Throws device_error where they
/// are not in host memory, state_error where there are none.
HEDDLE_COLD inline void make_readable_slowly(const storage* held, const char* function) {
  if (held == nullptr) {
    raise<state_error>("heddle::", function,
                       ": the tensor is undefined; assign one that has elements first");
  }
  const device where = held->device();
  if (where.is_meta()) {
    raise<device_error>("heddle::", function,
                        ": a tensor on meta has extents and no elements; make it on cpu()");
  }
  if (!where.is_host()) {
    raise<device_error>("heddle::", function, ": the elements are not in host memory: ", where,
                        "; copy them with .to(cpu())");
  }
  synchronize(where);
}

HEDDLE_INLINE void make_readable(const storage* held, const char* function) {
  if (held == nullptr || !held->device().is_inline()) [[unlikely]] {
    make_readable_slowly(held, function);
  }
}

}  // namespace heddle::inline v0::detail

#if defined(__CUDACC__)
#include <heddle/tensor/cuda/copy.cuh>  // copies on CUDA devices
#endif
