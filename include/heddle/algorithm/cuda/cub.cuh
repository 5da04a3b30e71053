// SPDX-License-Identifier: BSD-3-Clause
// sort, argsort, topk, unique, cumsum and exclusive_cumsum on CUDA devices: include this in one
// unit of the program, one that nvcc compiles. All units use it then, and so does the gradient of
// `take` by many indices, which sorts them. No other header includes it,
// as CUB, which sorts the keys, takes seconds to compile. In a program without it these functions
// copy their operand to the host, work there and copy back: right, and slow. CUB brings a namespace
// of the name ::cuda: in that unit write heddle::cuda(0), also below `using namespace heddle`.
//
// Results are those of the host, in every bit where no floats are summed: elements are sorted by
// the same keys (algorithm/keys.hpp), not by CUB's own order of floats, which takes -0 and +0 as
// equal but has no rule for NaN. Running sums of floats are added in another order than the host's,
// the same one in every run: CUB's own scan does not promise that.
#pragma once

#include <cub/device/device_radix_sort.cuh>

#include <heddle/algorithm/cuda/pipeline.cuh>

namespace heddle::inline v0::algorithm::cuda {

/// Radix sort, which is stable.
struct cub_sorter {
  static void sort_words(const device_call& call, sort_buffers& buffers, std::int64_t count,
                         int bits) {
    cub::DoubleBuffer<std::uint64_t> words(buffers.words, buffers.words_room);
    cub::DoubleBuffer<std::int64_t> places(buffers.places, buffers.places_room);
    std::size_t bytes = 0;
    call.check(cub::DeviceRadixSort::SortPairs(nullptr, bytes, words, places, count, 0, bits,
                                               call.stream()));
    const scratch<std::byte> room(call, static_cast<std::int64_t>(bytes > 0 ? bytes : 1));
    call.check(cub::DeviceRadixSort::SortPairs(room.data(), bytes, words, places, count, 0, bits,
                                               call.stream()));
    buffers = {words.Current(), words.Alternate(), places.Current(), places.Alternate()};
  }
};

inline constexpr cuda_algorithms algorithms_by_cub = make_algorithms<cub_sorter>();

inline const bool is_in_place = [] {
  put_in_place<cub_sorter>(algorithms_by_cub);
  return true;
}();

}  // namespace heddle::inline v0::algorithm::cuda
