// SPDX-License-Identifier: BSD-3-Clause
// sort, scan and unique as kernels in a device's current stream, from the steps and a sort of
// words, which cub.cuh brings.
#pragma once

#include <bit>
#include <cstdint>

#include <heddle/algorithm/backend.hpp>
#include <heddle/algorithm/cuda/steps.cuh>
#include <heddle/core/cuda/kernel.cuh>
#include <heddle/core/cuda/range.cuh>
#include <heddle/core/cuda/services.cuh>
#include <heddle/exec/cuda/sorted.hpp>

namespace heddle::inline v0::algorithm::cuda {

template <class Step>
__global__ void __launch_bounds__(256) step_kernel(const __grid_constant__ Step step) {
  const std::int64_t threads = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < step.count;
       i += threads) {
    step(i);
  }
}
/// Names the kernel to its observer.
template <class Step>
struct step_kernel_id {};

template <class From, class To, class Sum>
__global__ void __launch_bounds__(scan_threads)
    scan_kernel(const __grid_constant__ scan_arguments<From, To, Sum> arguments) {
  __shared__ Sum shared[scan_threads];
  const exec::cuda::block_team team(nullptr, nullptr, static_cast<int>(blockIdx.x),
                                    static_cast<int>(gridDim.x));
  scan_part(team, shared, arguments);
}
template <class From, class To, class Sum>
struct scan_kernel_id {};

/// One call: the device, its current stream, and the range that a profiler sees.
class device_call {
 public:
  device_call(const char* function, device where)
      : range_(function),
        function_(function),
        where_(where),
        queue_(heddle::detail::state_of(current_stream(where))),
        scope_(where.index, function) {}

  const char* function() const noexcept { return function_; }
  device where() const noexcept { return where_; }
  cudaStream_t stream() const noexcept { return heddle::detail::cuda_state(queue_).get(); }
  void check(cudaError_t code) const { heddle::detail::check_cuda(code, function_); }
  void synchronize() const { queue_->synchronize(); }

  /// An operand's elements, which this call's stream uses from now on.
  template <class T>
  T* use(const device_elements& operand) const {
    operand.memory->record_stream(*queue_);
    return reinterpret_cast<T*>(operand.data);
  }

  template <class Step>
  void run(const Step& step) const {
    const std::int64_t blocks = (step.count + 255) / 256;
    heddle::detail::kernel_observer<step_kernel_id<Step>>::before_launch();
    step_kernel<Step>
        <<<static_cast<unsigned>(blocks < 4096 ? blocks : 4096), 256, 0, stream()>>>(step);
    check(cudaPeekAtLastError());
  }
  template <class From, class To, class Sum>
  void run(const scan_arguments<From, To, Sum>& a) const {
    const std::int64_t parts = a.rows * a.parts();
    const std::int64_t most = std::int64_t{1} << 16;
    heddle::detail::kernel_observer<scan_kernel_id<From, To, Sum>>::before_launch();
    scan_kernel<From, To, Sum>
        <<<static_cast<unsigned>(parts < most ? parts : most), scan_threads, 0, stream()>>>(a);
    check(cudaPeekAtLastError());
  }

 private:
  heddle::detail::launch_range range_;
  const char* function_;
  device where_;
  handle<heddle::detail::stream_state> queue_;
  heddle::detail::cuda_device_scope scope_;
};

/// Memory for the length of a call, freed in the order of its stream.
template <class T>
class scratch {
 public:
  scratch(const device_call& call, std::int64_t count)
      : memory_(storage::allocate(static_cast<std::size_t>(count) * sizeof(T), call.where())) {}
  T* data() const noexcept { return reinterpret_cast<T*>(memory_->data()); }

 private:
  handle<storage> memory_;
};

using exec::cuda::sort_buffers;

/// Sorts the elements of rows, ascending or descending, by their words; Sorter::sort_words(call,
/// buffers, count, bits) sorts pairs by the lowest bits of the words and keeps the order of equal
/// ones.
template <class Sorter>
class sorted_places {
 public:
  template <class T>
  sorted_places(const device_call& call, const T* x, dense_rows rows, bool descending)
      : words_(call, 2 * rows.count * rows.length), places_(call, 2 * rows.count * rows.length) {
    const std::int64_t count = rows.count * rows.length;
    const int row_bits =
        static_cast<int>(std::bit_width(static_cast<std::uint64_t>(rows.count - 1)));
    const bool with_row = key_bits<T> + row_bits <= 64;
    buffers_ = {words_.data(), words_.data() + count, places_.data(), places_.data() + count};
    call.run(make_words<T>{x, buffers_.words, buffers_.places, count, rows.length, with_row,
                           descending});
    Sorter::sort_words(call, buffers_, count, key_bits<T> + (with_row ? row_bits : 0));
    if (with_row) return;
    call.run(make_row_words{buffers_.places, buffers_.words, count, rows.length});
    Sorter::sort_words(call, buffers_, count, row_bits);
  }
  const std::uint64_t* words() const noexcept { return buffers_.words; }
  const std::int64_t* places() const noexcept { return buffers_.places; }

 private:
  scratch<std::uint64_t> words_;
  scratch<std::int64_t> places_;
  sort_buffers buffers_{};
};

/// Sorts for the scatters of exec/, such as the gradient of `take`.
template <class Sorter>
void sort_words(sort_buffers& buffers, std::int64_t count, int bits, device where) {
  Sorter::sort_words(device_call("take's gradient", where), buffers, count, bits);
}

template <class T, class Sorter>
void sort(const device_elements& x, const device_elements& values, const device_elements& indices,
          dense_rows rows, bool descending, device where) {
  const device_call call("sort", where);
  const T* const from = call.use<const T>(x);
  const sorted_places<Sorter> sorted(call, from, rows, descending);
  call.run(gather_sorted<T>{from, sorted.places(), call.use<T>(values),
                            call.use<std::int64_t>(indices), rows.count * rows.length,
                            rows.length});
}

/// Scans rows. One row is cut into tiles, whose sums are scanned first, where there are too few
/// rows to keep a device busy.
template <class Sum, class From, class To>
void scan_rows(const device_call& call, const From* from, To* to, dense_rows rows, bool exclusive) {
  constexpr std::int64_t enough_rows = 512;
  scan_arguments<From, To, Sum> a{from,       to,          nullptr,     nullptr,
                                  rows.count, rows.length, rows.length, exclusive};
  if (rows.length <= scan_tile || rows.count >= enough_rows) {
    call.run(a);
    return;
  }
  a.span = scan_tile;
  const std::int64_t parts = a.parts();
  const scratch<Sum> totals(call, rows.count * parts);
  a.to = nullptr;
  a.totals = totals.data();
  call.run(a);
  call.run(scan_arguments<Sum, Sum, Sum>{totals.data(), totals.data(), nullptr, nullptr, rows.count,
                                         parts, parts, true});
  a.to = to;
  a.totals = nullptr;
  a.carries = totals.data();
  call.run(a);
}

template <class T>
void scan(const device_elements& x, const device_elements& sums, dense_rows rows, bool exclusive,
          device where) {
  const device_call call("cumsum", where);
  scan_rows<running_type<T>>(call, call.use<const T>(x), call.use<cumsum_type<T>>(sums), rows,
                             exclusive);
}

template <class T, class Sorter>
std::int64_t unique(const device_elements& x, const device_elements& values,
                    const device_elements& inverse, const device_elements& counts,
                    std::int64_t count, device where) {
  const device_call call("unique", where);
  const T* const from = call.use<const T>(x);
  const sorted_places<Sorter> sorted(call, from, {1, count}, false);
  const scratch<std::int64_t> numbers(call, count), starts(call, count);
  call.run(mark_firsts<T>{sorted.words(), numbers.data(), count});
  scan_rows<std::uint64_t>(call, numbers.data(), numbers.data(), {1, count}, false);
  call.run(place_distinct<T>{from, sorted.places(), numbers.data(), call.use<T>(values),
                             starts.data(), call.use<std::int64_t>(inverse), count});
  std::int64_t found = 0;
  call.check(cudaMemcpyAsync(&found, numbers.data() + count - 1, sizeof found,
                             cudaMemcpyDeviceToHost, call.stream()));
  call.synchronize();
  call.run(count_distinct{starts.data(), call.use<std::int64_t>(counts), found, count});
  return found;
}

/// Makes the entry of a dtype and of those behind it.
template <class Sorter, int Dtype = 0>
constexpr void fill_table(cuda_algorithms& table) {
  if constexpr (Dtype < dtype_count) {
    using type = type_of<static_cast<dtype>(Dtype)>;
    table.sort[Dtype] = &sort<type, Sorter>;
    table.scan[Dtype] = &scan<type>;
    table.unique[Dtype] = &unique<type, Sorter>;
    fill_table<Sorter, Dtype + 1>(table);
  }
}

/// Puts algorithms and their sort in place.
template <class Sorter>
void put_in_place(const cuda_algorithms& algorithms) {
  cuda_algorithms_in_place.store(&algorithms, std::memory_order_release);
  exec::cuda::word_sorter_in_place.store(&sort_words<Sorter>, std::memory_order_release);
}

/// The algorithms of all dtypes.
template <class Sorter>
constexpr cuda_algorithms make_algorithms() {
  cuda_algorithms table{};
  fill_table<Sorter>(table);
  return table;
}

}  // namespace heddle::inline v0::algorithm::cuda
