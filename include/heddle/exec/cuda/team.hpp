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
// - shuffle_xor(x, mask): x of the thread of the warp whose rank differs by these bits;
// - ballot(x, width): one bit a thread of the group, its x, a bool;
// - scratch(): memory that the team shares, scratch_bytes + 16, aligned to 16;
// - row_memory(): likewise, as much as the launch asked for;
// - members(), member(): how many teams share rows with this one, itself among them, and its place
//   there: the blocks of a cluster;
// - whole_warps: whether size() is always a multiple of a warp's;
// - begin_exchanges(): once, before the first of what follows;
// - send(place, member, x, number): writes x, 8 bytes, to where `place` would be in that member's
//   row memory; number: of the exchange, 0, 1, …;
// - await_sent<Site>(number, count): until all that `count` sends have sent to this team for that
//   exchange is there, by all threads of the team. The first exchange_words words of row memory are
//   for it;
// - fetch<Bytes>(to, from): copies 8 or a multiple of 16 bytes, aligned to 8 or 16, to row memory,
//   some time before await_fetches() returns to the same thread, which alone may then read them;
// - take_ticket(place): one arrival at a counter in device memory; whether it was the last of the
//   grid. What the team wrote before is then visible to the team that was last. The last arrival
//   sets the counter back to 0;
// - report(place, index): leaves an index that is outside of its table where the host looks;
// - limit(n): n; a test adds one, and must then see wrong results;
// - at(block, blocks): the same team at another place, in a grid of another size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
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
  values_sent,       ///< a row's partial reductions are with all teams that share it
};
inline constexpr int site_count = 6;

/// Threads of a warp.
inline constexpr int warp_width = 32;
/// Most threads of a team.
inline constexpr int max_team = 1024;
/// Most teams that share rows.
inline constexpr int max_members = 8;
/// Words of 8 bytes at the begin of row memory that exchanges between them count in.
inline constexpr int exchange_words = 2;
/// A value per warp.
inline constexpr int scratch_bytes = 8 * (max_team / warp_width);

#if defined(__CUDACC__)

// Blocks of a cluster reach each other's shared memory from Hopper on.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define HEDDLE_HAS_CLUSTERS
#endif

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
  template <class T>
  __device__ T shuffle_xor(T x, int mask) const {
    return static_cast<T>(__shfl_xor_sync(0xFFFFFFFFu, static_cast<wide<T>>(x), mask));
  }
  __device__ unsigned ballot(bool x, int width) const {
    const unsigned lane = threadIdx.x & (warp_width - 1);
    return (__ballot_sync(group(width), x) & group(width)) >>
           (lane & ~static_cast<unsigned>(width - 1));
  }
  __device__ std::byte* scratch() const { return scratch_; }
  __device__ std::byte* row_memory() const { return rows_; }
  __device__ int members() const {
#if defined(HEDDLE_HAS_CLUSTERS)
    unsigned count;
    asm("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(count));
    return static_cast<int>(count);
#else
    return 1;
#endif
  }
  __device__ int member() const {
#if defined(HEDDLE_HAS_CLUSTERS)
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return static_cast<int>(rank);
#else
    return 0;
#endif
  }
  static constexpr bool whole_warps = true;
  __device__ void begin_exchanges() const {
#if defined(HEDDLE_HAS_CLUSTERS)
    if (members() == 1) return;
    if (threadIdx.x == 0) {
      for (int i = 0; i < exchange_words; ++i) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(counter(i)) : "memory");
      }
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    // nobody is sent anything before it runs
    asm volatile("barrier.cluster.arrive;\n\tbarrier.cluster.wait;" ::: "memory");
#endif
  }
  __device__ void send(std::uint64_t* place, [[maybe_unused]] int member, std::uint64_t x,
                       [[maybe_unused]] int number) const {
#if defined(HEDDLE_HAS_CLUSTERS)
    if (members() > 1) {
      asm volatile(
          "{\n\t.reg .b32 place, counter;\n\t"
          "mapa.shared::cluster.u32 place, %0, %3;\n\t"
          "mapa.shared::cluster.u32 counter, %1, %3;\n\t"
          "st.async.shared::cluster.mbarrier::complete_tx::bytes.b64 [place], %2, "
          "[counter];\n\t}" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(place))),
          "r"(counter(number)), "l"(x), "r"(member)
          : "memory");
      return;
    }
#endif
    *place = x;
  }
  template <site>
  __device__ void await_sent([[maybe_unused]] int number, [[maybe_unused]] int count) const {
#if defined(HEDDLE_HAS_CLUSTERS)
    if (members() > 1) {
      if (threadIdx.x == 0) {
        asm volatile(
            "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(counter(number)),
            "r"(8 * count)
            : "memory");
      }
      unsigned there = 0;
      while (there == 0) {
        asm volatile(
            "{\n\t.reg .pred done;\n\t"
            "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%1], %2;\n\t"
            "selp.u32 %0, 1, 0, done;\n\t}"
            : "=r"(there)
            : "r"(counter(number)), "r"(number / exchange_words & 1)
            : "memory");
      }
      return;
    }
#endif
    __syncthreads();
  }
  template <int Bytes>
  __device__ void fetch(std::byte* to, const std::byte* from) const {
    static_assert(Bytes == 8 || Bytes % 16 == 0);
#if __CUDA_ARCH__ >= 800
    const auto place = static_cast<unsigned>(__cvta_generic_to_shared(to));
    const auto source = __cvta_generic_to_global(from);
    if constexpr (Bytes == 8) {
      asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(place), "l"(source) : "memory");
    } else {
#pragma unroll
      for (int i = 0; i < Bytes; i += 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(place + i), "l"(source + i)
                     : "memory");
      }
    }
#else
#pragma unroll
    for (int i = 0; i < Bytes; i += 8) {
      *reinterpret_cast<uint2*>(to + i) = *reinterpret_cast<const uint2*>(from + i);
    }
#endif
  }
  __device__ void await_fetches() const {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
  }
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
  __device__ block_team at(int block, int blocks) const {
    return block_team(scratch_, rows_, block, blocks);
  }

 private:
  __device__ unsigned counter(int number) const {
    return static_cast<unsigned>(__cvta_generic_to_shared(rows_ + 8 * (number % exchange_words)));
  }

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

#undef HEDDLE_HAS_CLUSTERS

#endif

/// The threads of this thread's group of `width` (a power of two up to 32): a team's last warp may
/// have fewer.
template <class Team>
HEDDLE_HD int threads_of_group(const Team& team, int width) {
  const int rest = team.size() - (team.rank() & ~(width - 1));
  return rest < width ? rest : width;
}

/// Reduces one value a thread over groups of `width` threads (a power of two up to 32), in a fixed
/// order: those of the first `present` threads. The first thread of each group gets the result.
template <class T, class Combine, class Team>
HEDDLE_HD T reduce_group(const Team& team, T x, int width, int present, Combine combine) {
  const int rank = team.rank() & (width - 1);
  for (int delta = width / 2; delta > 0; delta /= 2) {
    const T other = team.shuffle_down(x, delta, width);
    if (rank + delta < present) x = combine(x, other);
  }
  return x;
}
template <class T, class Combine, class Team>
HEDDLE_HD T reduce_group(const Team& team, T x, int width, Combine combine) {
  return reduce_group(team, x, width, threads_of_group(team, width), combine);
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

/// Warps of a team.
template <class Team>
HEDDLE_HD int warps_of(const Team& team) {
  return (team.size() + warp_width - 1) / warp_width;
}

/// Reduces one value a thread over groups of `width` threads of each warp, a power of two; all of
/// them get the result. Warps are whole.
template <class T, class Combine, class Team>
HEDDLE_HD T reduce_whole(const Team& team, T x, int width, Combine combine) {
  HEDDLE_UNROLL
  for (int mask = 1; mask < warp_width; mask *= 2) {
    if (mask < width) x = combine(x, team.shuffle_xor(x, mask));
  }
  return x;
}
/// Whether all warps of a team are whole.
template <class Team>
HEDDLE_HD bool has_whole_warps(const Team& team) {
  return Team::whole_warps || team.size() % warp_width == 0;
}

/// The first half of a reduction over all teams that share a row: each warp's value goes to every
/// team, into `values`, [member][warp].
template <class T, class Combine, class Team>
HEDDLE_HD void send_to_members(const Team& team, std::uint64_t* values, T x, int number,
                               Combine combine) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  const int lane = team.rank() % warp_width;
  const int members = team.members();
  std::uint64_t* const mine = values + team.member() * warps_of(team) + team.rank() / warp_width;
  const auto send = [&](int member) {
    std::uint64_t word = 0;
    std::memcpy(&word, &x, sizeof x);
    team.send(mine, member, word, number);
  };
  if (has_whole_warps(team)) {
    x = reduce_whole(team, x, warp_width, combine);
    if (lane < members) send(lane);
    return;
  }
  const int threads = threads_of_group(team, warp_width);
  x = team.shuffle_first(reduce_group(team, x, warp_width, combine), warp_width);
  for (int m = lane; m < members; m += threads) send(m);
}
/// The other half, when all is there: every warp combines all values, in the same order.
template <class T, class Combine, class Team>
HEDDLE_HD T take_from_members(const Team& team, const std::uint64_t* values, Combine combine) {
  const auto value = [values](int k) {
    T x;
    std::memcpy(&x, values + k, sizeof x);
    return x;
  };
  const int count = team.members() * warps_of(team);
  const int lane = team.rank() % warp_width;
  if (has_whole_warps(team) && (count & (count - 1)) == 0) {
    const int width = count < warp_width ? count : warp_width;
    T x = value(lane & (width - 1));
    HEDDLE_NO_UNROLL
    for (int k = lane + warp_width; k < count; k += warp_width) x = combine(x, value(k));
    return reduce_whole(team, x, width, combine);
  }
  const int threads = threads_of_group(team, warp_width);
  T x = value(lane < count ? lane : 0);
  HEDDLE_NO_UNROLL
  for (int k = lane + threads; k < count; k += threads) x = combine(x, value(k));
  x = reduce_group(team, x, warp_width, count < threads ? count : threads, combine);
  return team.shuffle_first(x, warp_width);
}

}  // namespace heddle::inline v0::exec::cuda
