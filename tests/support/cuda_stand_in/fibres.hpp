// SPDX-License-Identifier: BSD-3-Clause
// Runs the threads of a block as fibres of one thread of the host: each goes on until it meets a
// barrier. Stacks are kept and used again, and changing from one to the next costs no system call
// where the machine's is known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stand_in {

class fibre_scheduler;

/// What the threads of a block share; the scheduler of support::host_team.
class fibre_block {
 public:
  fibre_block(fibre_scheduler& scheduler, int threads, std::size_t scratch_bytes);

  [[nodiscard]] int size() const { return threads_; }
  std::byte* scratch() { return scratch_.data(); }
  std::uint64_t& exchange(int rank) { return exchange_[static_cast<std::size_t>(rank)]; }
  /// A barrier of `count` threads, known by the first one's rank and by `kind`: 0 for all, else the
  /// group's width, a power of two.
  void wait(int first, int count, int kind);

  // One block runs after the other: none shares rows.
  [[nodiscard]] static int members() { return 1; }
  [[nodiscard]] static int member() { return 0; }
  std::byte* scratch_of(int) { return scratch(); }
  void wait_for_members() { wait(0, threads_, 0); }

 private:
  struct barrier {
    int arrived = 0;
    int epoch = 0;
  };
  fibre_scheduler* scheduler_;
  int threads_;
  std::vector<std::byte> scratch_;
  std::vector<std::uint64_t> exchange_;
  std::vector<barrier> barriers_;
};

/// Calls thread(context, block, rank) for each rank, in an order that the seed gives. False: some
/// wait for ever, and are abandoned.
[[nodiscard]] bool run_block(int threads, std::size_t scratch_bytes, std::uint64_t seed,
                             void (*thread)(void* context, fibre_block& block, int rank),
                             void* context);

}  // namespace stand_in
