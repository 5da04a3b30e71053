// SPDX-License-Identifier: BSD-3-Clause
// Copies and fills of tensors on CUDA devices: between devices, to and from the host, of any
// strides.
#pragma once

#include <cstring>

#include <heddle/core/cuda/kernel.cuh>
#include <heddle/core/cuda/services.cuh>
#include <heddle/core/cuda/staging.cuh>
#include <heddle/tensor/copy.hpp>

namespace heddle::inline v0::detail {

/// The parameters of a copy of elements within one device. from: null for a fill.
struct copy_arguments {
  std::byte* to = nullptr;
  const std::byte* from = nullptr;
  std::int64_t count = 0;
  std::int64_t extents[max_rank] = {};
  std::int64_t to_strides[max_rank] = {};  ///< elements
  std::int64_t from_strides[max_rank] = {};
  int rank = 0;
  std::uint64_t element = 0;  ///< what a fill writes
};

/// One thread's part: thread `first` of `threads`.
template <class Word>
HEDDLE_HD void copy_part(const copy_arguments& a, std::int64_t first, std::int64_t threads) {
  for (std::int64_t i = first; i < a.count; i += threads) {
    std::int64_t rest = i, to = 0, from = 0;
    for (int axis = a.rank - 1; axis >= 0; --axis) {
      const std::int64_t outer = rest / a.extents[axis];
      const std::int64_t at = rest - outer * a.extents[axis];
      rest = outer;
      to += at * a.to_strides[axis];
      from += at * a.from_strides[axis];
    }
    reinterpret_cast<Word*>(a.to)[to] = a.from != nullptr
                                            ? reinterpret_cast<const Word*>(a.from)[from]
                                            : static_cast<Word>(a.element);
  }
}

template <class Word>
__global__ void __launch_bounds__(256) copy_kernel(const __grid_constant__ copy_arguments a) {
  copy_part<Word>(a, std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x,
                  std::int64_t{gridDim.x} * blockDim.x);
}
template <class Word>
struct copy_kernel_id {};

template <class Word>
void launch_copy(const copy_arguments& a, cudaStream_t stream) {
  constexpr int threads = 256;
  const std::int64_t blocks = (a.count + threads - 1) / threads;
  kernel_observer<copy_kernel_id<Word>>::before_launch();
  copy_kernel<Word>
      <<<static_cast<unsigned>(blocks < 4096 ? blocks : 4096), threads, 0, stream>>>(a);
  check_cuda(cudaPeekAtLastError(), "copy");
}

/// Elements in memory: where, and how they lie.
struct strided_place {
  std::byte* data;
  const std::int64_t* strides;
};

inline bool is_dense(const std::int64_t* extents, const std::int64_t* strides, int rank) {
  std::int64_t step = 1;
  for (int axis = rank - 1; axis >= 0; --axis) {
    if (extents[axis] != 1 && strides[axis] != step) return false;
    step *= extents[axis];
  }
  return true;
}

/// The extents of a copy, and the strides of a dense block of them.
struct copy_shape {
  const std::int64_t* extents;
  int rank;
  std::size_t element_size;
  std::int64_t count = 1;
  std::int64_t dense[max_rank] = {};

  copy_shape(const std::int64_t* over, int axes, std::size_t size)
      : extents(over), rank(axes), element_size(size) {
    for (int axis = rank - 1; axis >= 0; --axis) {
      dense[axis] = count;
      count *= extents[axis];
    }
  }
  std::size_t bytes() const { return static_cast<std::size_t>(count) * element_size; }
};

/// Copies, or fills where `from.data` is null, within the device that is current.
inline void copy_within(const copy_shape& s, strided_place to, strided_place from,
                        std::uint64_t element, cudaStream_t stream) {
  if (from.data != nullptr && is_dense(s.extents, to.strides, s.rank) &&
      is_dense(s.extents, from.strides, s.rank)) {
    check_cuda(cudaMemcpyAsync(to.data, from.data, s.bytes(), cudaMemcpyDeviceToDevice, stream),
               "copy");
    return;
  }
  copy_arguments a;
  a.to = to.data;
  a.from = from.data;
  a.count = s.count;
  a.rank = s.rank;
  a.element = element;
  for (int axis = 0; axis < s.rank; ++axis) {
    a.extents[axis] = s.extents[axis];
    a.to_strides[axis] = to.strides[axis];
    a.from_strides[axis] = from.data != nullptr ? from.strides[axis] : 0;
  }
  switch (s.element_size) {
    case 1:
      return launch_copy<std::uint8_t>(a, stream);
    case 2:
      return launch_copy<std::uint16_t>(a, stream);
    case 4:
      return launch_copy<std::uint32_t>(a, stream);
    default:
      return launch_copy<std::uint64_t>(a, stream);
  }
}

/// A dense block of a device for the elements of a range: the range itself where it is dense.
/// `scratch` keeps what had to be made.
inline std::byte* dense_source(const copy_shape& s, const element_range& from, device where,
                               stream_state& queue, handle<storage>& scratch) {
  auto* const data = static_cast<std::byte*>(from.data);
  if (is_dense(s.extents, from.strides, s.rank)) return data;
  scratch = storage::allocate(s.bytes(), where);
  scratch->record_stream(queue);
  const strided_place whole{scratch->data(), s.dense};
  if (where.is_cuda()) {
    copy_within(s, whole, {data, from.strides}, 0, static_cast<cuda_stream&>(queue).get());
  } else {
    strided_copy(whole.data, whole.strides, data, from.strides, s.extents, s.rank, s.element_size);
  }
  return scratch->data();
}

inline void copy_to_cuda(const copy_shape& s, const element_range& to, const element_range& from) {
  const device source = from.held->device();
  const device destination = to.held->device();
  const stream receiver = current_stream(destination);
  const handle<stream_state> queue = state_of(receiver);
  event made;
  made.record(current_stream(source));
  made.synchronize();
  const cuda_device_scope scope(destination.index, "copy");
  handle<storage> packed;
  const std::byte* const data = dense_source(s, from, cpu(), *queue, packed);
  const cudaStream_t native = cuda_state(queue).get();
  to.held->record_stream(*queue);
  if (is_dense(s.extents, to.strides, s.rank)) {
    send_staged(to.data, data, s.bytes(), queue);
    return;
  }
  const handle<storage> sent = storage::allocate(s.bytes(), destination);
  send_staged(sent->data(), data, s.bytes(), queue);
  copy_within(s, {static_cast<std::byte*>(to.data), to.strides}, {sent->data(), s.dense}, 0,
              native);
}

inline void copy_from_cuda(const copy_shape& s, const element_range& to,
                           const element_range& from) {
  const device source = from.held->device();
  const handle<stream_state> queue = state_of(current_stream(source));
  if (cuda_state(queue).get_capture() != nullptr) refuse_capture(cuda_stream::waits);
  const cuda_device_scope scope(source.index, "copy");
  handle<storage> packed;
  const std::byte* const data = dense_source(s, from, source, *queue, packed);
  from.held->record_stream(*queue);
  event free;  // of what a queue of the host still does with the destination
  free.record(current_stream(to.held->device()));
  free.synchronize();
  auto* const target = static_cast<std::byte*>(to.data);
  const bool dense = is_dense(s.extents, to.strides, s.rank);
  const handle<storage> received = dense ? nullptr : storage::allocate(s.bytes(), cpu());
  check_cuda(cudaMemcpyAsync(dense ? target : received->data(), data, s.bytes(),
                             cudaMemcpyDeviceToHost, cuda_state(queue).get()),
             "copy");
  queue->synchronize();
  if (!dense) {
    strided_copy(target, to.strides, received->data(), s.dense, s.extents, s.rank, s.element_size);
  }
}

/// On the source's stream: a destination that is new has nobody who uses it yet.
inline void copy_across_cuda(const copy_shape& s, const element_range& to,
                             const element_range& from) {
  const device source = from.held->device();
  const device destination = to.held->device();
  const stream sender = current_stream(source);
  const stream receiver = current_stream(destination);
  const handle<stream_state> sending = state_of(sender);
  const handle<stream_state> receiving = state_of(receiver);
  const bool dense = is_dense(s.extents, to.strides, s.rank);
  const handle<storage> landed = dense ? to.held : storage::allocate(s.bytes(), destination);
  event ready;  // the destination's memory is there
  ready.record(receiver);
  ready.wait(sender);
  {
    const cuda_device_scope scope(source.index, "copy");
    handle<storage> packed;
    const std::byte* const data = dense_source(s, from, source, *sending, packed);
    from.held->record_stream(*sending);
    landed->record_stream(*sending);
    check_cuda(cudaMemcpyPeerAsync(dense ? to.data : landed->data(), destination.index, data,
                                   source.index, s.bytes(), cuda_state(sending).get()),
               "copy");
  }
  event sent;
  sent.record(sender);
  sent.wait(receiver);
  if (!dense) {
    const cuda_device_scope scope(destination.index, "copy");
    to.held->record_stream(*receiving);
    copy_within(s, {static_cast<std::byte*>(to.data), to.strides}, {landed->data(), s.dense}, 0,
                cuda_state(receiving).get());
  }
}

inline void copy_cuda(const element_range& to, const element_range& from,
                      const std::int64_t* extents, int rank, std::size_t element_size) {
  const copy_shape s(extents, rank, element_size);
  const device source = from.held->device();
  const device destination = to.held->device();
  if (s.count == 0) return;
  if (!source.is_cuda()) return copy_to_cuda(s, to, from);
  if (!destination.is_cuda()) return copy_from_cuda(s, to, from);
  if (!(source == destination)) return copy_across_cuda(s, to, from);
  const handle<stream_state> queue = state_of(current_stream(source));
  const cuda_device_scope scope(source.index, "copy");
  to.held->record_stream(*queue);
  cuda_state(queue).note_written(to.held.get());
  from.held->record_stream(*queue);
  copy_within(s, {static_cast<std::byte*>(to.data), to.strides},
              {static_cast<std::byte*>(from.data), from.strides}, 0, cuda_state(queue).get());
}

inline void fill_cuda(const element_range& to, const void* element, const std::int64_t* extents,
                      int rank, std::size_t element_size) {
  const copy_shape s(extents, rank, element_size);
  if (s.count == 0) return;
  const device where = to.held->device();
  const handle<stream_state> queue = state_of(current_stream(where));
  const cuda_device_scope scope(where.index, "fill");
  std::uint64_t bits = 0;
  std::memcpy(&bits, element, element_size);
  to.held->record_stream(*queue);
  cuda_state(queue).note_written(to.held.get());
  copy_within(s, {static_cast<std::byte*>(to.data), to.strides}, {nullptr, nullptr}, bits,
              cuda_state(queue).get());
}

inline constexpr cuda_copies cuda_copies_of_unit = {&copy_cuda, &fill_cuda};

inline const bool cuda_copies_are_in_place = [] {
  cuda_copies_in_place.store(&cuda_copies_of_unit, std::memory_order_release);
  return true;
}();

}  // namespace heddle::inline v0::detail
