// SPDX-License-Identifier: BSD-3-Clause
// The numbers by which work on a CUDA device is divided. They decide how fast a kernel is, never
// what it computes.
#pragma once

#include <cstdint>

namespace heddle::inline v0::exec::cuda {

// Teams and grids.

/// Threads of a team.
inline constexpr int usual_team = 256;
/// Most threads of a team that holds rows in registers: 128 registers a thread are left, of which a
/// layer norm's derivative needs over 64.
inline constexpr int resident_team = 512;
/// Teams that a multiprocessor should hold at a time. Said, and not left to the assembler, which
/// would rather spill than take more registers than its own guess. Programs of few nodes are faster
/// with four teams, though some then spill a few of their 64 registers a thread
/// (docs/results/2026-11-27-gpu.md).
constexpr int teams_at_a_time(int nodes) { return nodes <= 32 ? 4 : 2; }
inline constexpr int usual_teams_at_a_time = 2;
inline constexpr int resident_teams_at_a_time = 1;
/// Blocks of a grid for each multiprocessor, at most.
inline constexpr int blocks_of_multiprocessor = 8;
/// Rounds of a team over the chunk of a list of tensors: long enough that finding the tensor does
/// not count.
inline constexpr std::int64_t rounds_of_list = 4;

// Memory.

/// Bytes of shared memory that a kernel has of its own and that the system reserves.
inline constexpr int shared_reserved = 2048;
/// Threads of a team that holds rows in memory, and how many such teams a multiprocessor has.
inline constexpr int held_team = 128;
constexpr int held_teams_at_a_time(int nodes) { return nodes <= 32 ? 8 : 3; }
/// Bytes of rows that a team should hold at most: where teams can share a row, so many do. Fewer
/// bytes are more teams at a time, but fewer lanes for the sums that they agree on.
inline constexpr std::int64_t wanted_row_bytes = std::int64_t{60} << 10;
/// Vectors of each operand that a thread of a held body has under way. Rows were fetched before.
inline constexpr int held_vectors_under_way = 2;
/// Partial results from which on they are merged by a launch of their own, by many teams: one team
/// reads 100 GB a second, and a launch costs it 200 KB.
inline constexpr std::int64_t results_merged_apart = std::int64_t{1} << 16;
/// Bytes of partial results, at most.
inline constexpr std::int64_t partial_bytes = std::int64_t{64} << 20;
/// Vectors of each operand that a thread has under way, by the operands that it reads: enough bytes
/// in flight to hide the latency of memory, few enough registers.
constexpr int vectors_under_way(int operands) { return operands <= 2 ? 4 : operands <= 4 ? 2 : 1; }

// Nests side by side.

/// Teams of a nest that leave partial results, at most: the last team merges them. How many
/// elements nests side by side have is said in exec/side_by_side.hpp.
inline constexpr int side_by_side_teams = 32;

// Scatters.

/// Groups that share a scatter whose rows are not sorted. Each looks at all indices and adds the
/// rows it owns, one after the other: more groups look more often, fewer add longer. Looking at 32
/// indices takes about 100 instructions of a warp, adding a row the latency of memory twice, half a
/// microsecond; on a device of 132 multiprocessors the sum is least near here, whatever the number
/// of indices.
inline constexpr std::int64_t scatter_owners = 384;
/// Rows from which on a scatter sorts them first, where the program has a sort for its device: the
/// looks at so many indices take as long as the five or six launches of a sort, 20 microseconds.
inline constexpr std::int64_t sorted_scatter_rows = 4096;
/// Rows of a segment of a sorted scatter, at least.
inline constexpr std::int64_t sorted_segment_rows = 32;

/// What a division of work aims at.
struct launch_limits {
  int team = usual_team;         ///< threads of a team; rows held in registers may want others
  int max_team = resident_team;  ///< of rows held in registers
  bool fixed_team = false;       ///< `team` whatever the work (tests)
  int max_blocks = 1024;
  int max_blocks_of_maps = 1024;  ///< of nests that leave no partial results
  std::int64_t max_partial_bytes = partial_bytes;
  std::int64_t row_memory = 0;  ///< bytes of shared memory that a team may hold rows in
  /// And should at most: beyond it, teams share a row.
  std::int64_t wanted_row_memory = wanted_row_bytes;
  int max_members = 1;  ///< teams that may share a row: on devices with clusters
  int multiprocessors = 1;
  std::int64_t shared_memory = 0;  ///< bytes of shared memory of a multiprocessor
  /// Teams that run at a time, of a nest whose teams share rows; null: not known.
  int (*teams_at_a_time)(const void* context, int nest, int team, std::int64_t row_bytes,
                         int members) = nullptr;
  const void* context = nullptr;
  std::int64_t side_by_side = 0;  ///< so many elements of independent nests share a launch; 0: none
  bool strided = false;           ///< bodies go element by element, whatever the layout
  std::int64_t sorted_rows = 0;   ///< a scatter of so many rows sorts them; 0: none does
  std::int64_t merged_apart = results_merged_apart;  ///< so many partial results are
};

}  // namespace heddle::inline v0::exec::cuda
