// SPDX-License-Identifier: BSD-3-Clause
// team: what a CUDA kernel's body is written against. On the device a team is a block of threads;
// in tests it is a group of fibres or threads of the host, so that every body runs without a GPU.
//
// A model T of the concept has
// - rank(), size(): of this thread in its team;
// - block(), blocks(): of this team in its grid;
// - sync<Site>(): a barrier of the team; Site names it, so that a test can leave one out;
// - shuffle_down(x, d, width): x of the thread d ranks on, within groups of `width` (a power of two
//   up to 32, aligned); any value where there is none;
// - shuffle_first(x, width): x of the first thread of the group;
// - ballot(x, width): one bit a thread of the group, its x, a bool;
// - scratch(): memory that the team shares, scratch_bytes + 16, aligned to 16;
// - row_memory(): likewise, as much as the launch asked for;
// - take_ticket(place): one arrival at a counter in device memory; whether it was the last of the
//   grid. What the team wrote before is then visible to the team that was last. The last arrival
//   sets the counter back to 0;
// - report(place, index): leaves an index that is outside of its table where the host looks;
// - limit(n): n; a test adds one, and must then see wrong results;
// - alone(): the same team as the only one of its grid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <heddle/core/config.hpp>

namespace heddle::inline v0::exec::cuda {

/// The barriers of the bodies.
enum class site : std::uint8_t {
  reduce_written,    ///< partial values of a block reduction are in scratch memory
  reduce_read,       ///< and have been read: the memory may be used again
  partials_written,  ///< the team's partial results are in device memory
  ticket_read,       ///< the ticket is known to all threads
  merged,            ///< merged reductions may be read by the nests that finish the program
};
inline constexpr int site_count = 5;

/// Threads of a warp.
inline constexpr int warp_width = 32;
/// Most threads of a team.
inline constexpr int max_team = 1024;
/// A value per warp.
inline constexpr int scratch_bytes = 8 * (max_team / warp_width);

#if defined(__CUDACC__)

/// A block of threads.
class block_team {
 public:
  __device__ block_team(std::byte* scratch, std::byte* rows, int block, int blocks)
      : scratch_(scratch), rows_(rows), block_(block), blocks_(blocks) {}

  __device__ int rank() const { return static_cast<int>(threadIdx.x); }
  __device__ int size() const { return static_cast<int>(blockDim.x); }
  __device__ int block() const { return block_; }
  __device__ int blocks() const { return blocks_; }
  template <site>
  __device__ void sync() const {
    __syncthreads();
  }
  template <class T>
  __device__ T shuffle_down(T x, int delta, int width) const {
    return static_cast<T>(__shfl_down_sync(group(width), static_cast<wide<T>>(x),
                                           static_cast<unsigned>(delta), width));
  }
  template <class T>
  __device__ T shuffle_first(T x, int width) const {
    return static_cast<T>(__shfl_sync(group(width), static_cast<wide<T>>(x), 0, width));
  }
  __device__ unsigned ballot(bool x, int width) const {
    const unsigned lane = threadIdx.x & (warp_width - 1);
    return (__ballot_sync(group(width), x) & group(width)) >>
           (lane & ~static_cast<unsigned>(width - 1));
  }
  __device__ std::byte* scratch() const { return scratch_; }
  __device__ std::byte* row_memory() const { return rows_; }
  __device__ bool take_ticket(unsigned* place) const {
    __threadfence();
    const bool last =
        atomicInc(place, static_cast<unsigned>(blocks_ - 1)) == static_cast<unsigned>(blocks_ - 1);
    __threadfence();
    return last;
  }
  __device__ void report(std::int64_t* place, std::int64_t index) const {
    atomicExch(reinterpret_cast<unsigned long long*>(place),
               static_cast<unsigned long long>(index));
  }
  template <class T>
  __device__ T limit(T n) const {
    return n;
  }
  __device__ block_team alone() const { return block_team(scratch_, rows_, 0, 1); }

 private:
  /// What shuffles move.
  template <class T>
  using wide = std::conditional_t<(sizeof(T) < 4), int, T>;

  /// The lanes of this thread's group: those alone take part, wherever the others are.
  __device__ static unsigned group(int width) {
    const unsigned lane = threadIdx.x & (warp_width - 1);
    const unsigned all = width >= warp_width ? 0xFFFFFFFFu : (1u << width) - 1u;
    return all << (lane & ~static_cast<unsigned>(width - 1));
  }

  std::byte* scratch_;
  std::byte* rows_;
  int block_;
  int blocks_;
};

#endif

/// Reduces one value a thread over groups of `width` threads (a power of two up to 32), in a fixed
/// order. The first thread of each group gets the result.
template <class T, class Combine, class Team>
HEDDLE_HD T reduce_group(const Team& team, T x, int width, Combine combine) {
  const int begin = team.rank() & ~(width - 1);
  // a team's last warp may have fewer threads than the group is wide
  const int present = team.size() - begin < width ? team.size() - begin : width;
  for (int delta = width / 2; delta > 0; delta /= 2) {
    const T other = team.shuffle_down(x, delta, width);
    if (team.rank() - begin + delta < present) x = combine(x, other);
  }
  return x;
}

/// Reduces one value a thread over the whole team, in a fixed order; every thread gets the result.
template <class T, class Combine, class Team>
HEDDLE_HD T reduce_team(const Team& team, T x, Combine combine) {
  x = reduce_group(team, x, warp_width, combine);
  T* const of_warp = reinterpret_cast<T*>(team.scratch());
  if (team.rank() % warp_width == 0) of_warp[team.rank() / warp_width] = x;
  team.template sync<site::reduce_written>();
  T total = of_warp[0];
  for (int k = 1; k < (team.size() + warp_width - 1) / warp_width; ++k) {
    total = combine(total, of_warp[k]);
  }
  team.template sync<site::reduce_read>();
  return total;
}

/// Over the threads that share a row: groups of `width`, or the whole team where that is its size.
template <class T, class Combine, class Team>
HEDDLE_HD T reduce_row(const Team& team, T x, int width, Combine combine) {
  if (width == team.size() && width > 1) return reduce_team(team, x, combine);
  return team.shuffle_first(reduce_group(team, x, width, combine), width);
}

}  // namespace heddle::inline v0::exec::cuda
