// SPDX-License-Identifier: BSD-3-Clause
// Models of the team concept on the host: fibres of one thread, run in a chosen order, and threads.
// Both can leave out a barrier or overrun a tail, to see that a test notices.
#pragma once

#include <atomic>
#include <bit>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "random_source.hpp"
#include <ucontext.h>

#include <heddle/exec/cuda/team.hpp>

namespace support {

namespace cuda = heddle::exec::cuda;

/// A fault planted in a team.
struct team_fault {
  int missing_site = -1;  ///< the barrier that is left out, of cuda::site
  bool tail = false;      ///< one lane too many
};

/// Room for the rows that a team holds.
inline constexpr int row_bytes = 32 << 10;

/// Groups of different widths that begin with one thread meet at different barriers.
inline constexpr std::size_t barrier_kinds = 7;
constexpr std::size_t barrier_place(int first, int width) {
  return static_cast<std::size_t>(first) * barrier_kinds +
         static_cast<std::size_t>(std::bit_width(static_cast<unsigned>(width)));
}

enum class fibre_order { forward, backward, shuffled };

/// Runs the threads of a whole grid as fibres: each goes on until it meets a barrier. Teams run
/// side by side, as on a device.
class fibre_grid {
 public:
  /// What the threads of one team share.
  class block {
   public:
    std::byte* scratch() { return scratch_.data(); }
    int size() const { return size_; }
    std::uint64_t& exchange(int rank) { return exchange_[static_cast<std::size_t>(rank)]; }
    /// A barrier among `count` threads, known by the first one's rank and `kind`: 0 the team, else
    /// a group of that width.
    void wait(int first, int count, int kind) {
      const std::size_t at = barrier_place(first, kind);
      const int before = epoch_[at];
      grid_->progress_ = true;
      if (++arrived_[at] == count) {
        arrived_[at] = 0;
        ++epoch_[at];
        return;
      }
      while (epoch_[at] == before) grid_->yield();
      grid_->progress_ = true;
    }

    int members() const { return grid_->members_; }
    int member() const { return index_ % grid_->members_; }
    std::byte* scratch_of(int member) {
      return grid_->blocks_[static_cast<std::size_t>(index_ - this->member() + member)].scratch();
    }
    /// A barrier among all threads of the teams that share rows.
    void wait_for_members() {
      block& first = grid_->blocks_[static_cast<std::size_t>(index_ - member())];
      const int before = first.epoch_of_members_;
      grid_->progress_ = true;
      if (++first.arrived_members_ == size_ * members()) {
        first.arrived_members_ = 0;
        ++first.epoch_of_members_;
        return;
      }
      while (first.epoch_of_members_ == before) grid_->yield();
      grid_->progress_ = true;
    }

   private:
    friend class fibre_grid;
    fibre_grid* grid_ = nullptr;
    int index_ = 0;
    int size_ = 0;
    int arrived_members_ = 0;
    int epoch_of_members_ = 0;
    std::vector<std::byte> scratch_;
    std::vector<int> arrived_;
    std::vector<int> epoch_;
    std::vector<std::uint64_t> exchange_;
  };

  /// `members` of the blocks share rows.
  fibre_grid(int team, int blocks, int members, fibre_order order, std::uint64_t seed)
      : team_(team),
        members_(members),
        order_(order),
        random_(seed),
        fibres_(static_cast<std::size_t>(team * blocks)),
        blocks_(static_cast<std::size_t>(blocks)) {
    for (block& b : blocks_) {
      b.grid_ = this;
      b.index_ = static_cast<int>(&b - blocks_.data());
      b.size_ = team;
      b.scratch_.assign(cuda::scratch_bytes + 16 + row_bytes, std::byte{0xA5});
      b.arrived_.assign(static_cast<std::size_t>(team) * barrier_kinds, 0);
      b.epoch_.assign(static_cast<std::size_t>(team) * barrier_kinds, 0);
      b.exchange_.assign(static_cast<std::size_t>(team), 0);
    }
  }

  /// Calls body(block, index of the block, rank) in a fibre each and returns when all have; false
  /// if some wait for ever.
  template <class Body>
  bool run(Body body) {
    current_body_ = [](void* context, fibre_grid& grid, int fibre_index) {
      const int b = fibre_index / grid.team_;
      (*static_cast<Body*>(context))(grid.blocks_[static_cast<std::size_t>(b)], b,
                                     fibre_index % grid.team_);
    };
    context_ = &body;
    const int count = static_cast<int>(fibres_.size());
    for (int i = 0; i < count; ++i) prepare(i);
    std::vector<int> turn(fibres_.size());
    for (int i = 0; i < count; ++i) {
      turn[static_cast<std::size_t>(i)] = order_ == fibre_order::backward ? count - 1 - i : i;
    }
    for (int left = count; left > 0;) {
      progress_ = false;
      for (int i = count - 1; i > 0 && order_ == fibre_order::shuffled; --i) {
        std::swap(turn[static_cast<std::size_t>(i)],
                  turn[static_cast<std::size_t>(random_.below(i + 1))]);
      }
      for (const int i : turn) {
        fibre& f = fibres_[static_cast<std::size_t>(i)];
        if (f.done) continue;
        running_ = i;
        swapcontext(&main_, &f.context);
        if (f.done) {
          --left;
          progress_ = true;
        }
      }
      if (!progress_) return false;  // what the fibres hold needs no destruction
    }
    return true;
  }

 private:
  static constexpr std::size_t stack_bytes = std::size_t{128} << 10;
  struct fibre {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done = false;
  };

  /// Gives fibre i its stack and its first call. A function of its own, as getcontext returns
  /// twice.
  __attribute__((noinline)) void prepare(int i) {
    fibre& f = fibres_[static_cast<std::size_t>(i)];
    f.stack = std::make_unique_for_overwrite<char[]>(stack_bytes);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = stack_bytes;
    f.context.uc_link = &main_;
    const auto self = reinterpret_cast<std::uintptr_t>(this);
    makecontext(&f.context, reinterpret_cast<void (*)()>(&enter), 3,
                static_cast<unsigned>(self >> 32), static_cast<unsigned>(self), i);
  }
  static void enter(unsigned high, unsigned low, int index) {
    auto* const self = reinterpret_cast<fibre_grid*>(std::uintptr_t{high} << 32 | low);
    self->current_body_(self->context_, *self, index);
    self->fibres_[static_cast<std::size_t>(index)].done = true;
  }
  void yield() { swapcontext(&fibres_[static_cast<std::size_t>(running_)].context, &main_); }

  int team_;
  int members_;
  fibre_order order_;
  random_source random_;
  std::vector<fibre> fibres_;
  std::vector<block> blocks_;
  ucontext_t main_;
  int running_ = 0;
  bool progress_ = false;
  void (*current_body_)(void*, fibre_grid&, int) = nullptr;
  void* context_ = nullptr;
};

/// Runs the threads of one team as threads of the host.
class thread_scheduler {
 public:
  explicit thread_scheduler(int size)
      : size_(size), scratch_(cuda::scratch_bytes + 16 + row_bytes, std::byte{0xA5}) {}

  template <class Body>
  bool run(Body body) {
    places_ = std::vector<place>(static_cast<std::size_t>(size_) * barrier_kinds);
    exchange_.assign(static_cast<std::size_t>(size_), 0);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size_; ++rank) threads.emplace_back(body, rank);
    for (std::thread& t : threads) t.join();
    return true;
  }
  std::byte* scratch() { return scratch_.data(); }
  int size() const { return size_; }
  int members() const { return 1; }
  int member() const { return 0; }
  std::byte* scratch_of(int) { return scratch(); }
  void wait_for_members() { wait(0, size_, 0); }
  void wait(int first, int count, int kind) {
    place& p = places_[barrier_place(first, kind)];
    std::unique_lock hold(guard_);
    const int before = p.epoch;
    if (++p.arrived == count) {
      p.arrived = 0;
      ++p.epoch;
      passed_.notify_all();
      return;
    }
    passed_.wait(hold, [&] { return p.epoch != before; });
  }
  std::uint64_t& exchange(int rank) { return exchange_[static_cast<std::size_t>(rank)]; }

 private:
  struct place {
    int arrived = 0;
    int epoch = 0;
  };
  int size_;
  std::mutex guard_;
  std::condition_variable passed_;
  std::vector<place> places_;
  std::vector<std::byte> scratch_;
  std::vector<std::uint64_t> exchange_;
};

/// One thread's view of its team.
template <class Scheduler>
class host_team {
 public:
  host_team(Scheduler& scheduler, int rank, int block, int blocks, team_fault fault = {})
      : scheduler_(&scheduler), rank_(rank), block_(block), blocks_(blocks), fault_(fault) {}

  int rank() const { return rank_; }
  int size() const { return scheduler_->size(); }
  int block() const { return block_; }
  int blocks() const { return blocks_; }
  template <cuda::site Site>
  void sync() const {
    if (static_cast<int>(Site) != fault_.missing_site) scheduler_->wait(0, size(), 0);
  }
  template <class T>
  T shuffle_down(T x, int delta, int width) const {
    return exchange(x, rank_ + delta, width);
  }
  template <class T>
  T shuffle_first(T x, int width) const {
    return exchange(x, rank_ & ~(width - 1), width);
  }
  template <class T>
  T shuffle_xor(T x, int mask) const {
    return exchange(x, rank_ ^ mask, cuda::warp_width);
  }
  unsigned ballot(bool x, int width) const {
    const int first = rank_ & ~(width - 1);
    const int count = size() - first < width ? size() - first : width;
    scheduler_->exchange(rank_) = x ? 1 : 0;
    scheduler_->wait(first, count, width);
    unsigned bits = 0;
    for (int i = 0; i < count; ++i) {
      bits |= static_cast<unsigned>(scheduler_->exchange(first + i)) << i;
    }
    scheduler_->wait(first, count, width);
    return bits;
  }
  std::byte* scratch() const { return scheduler_->scratch(); }
  std::byte* row_memory() const { return scratch() + cuda::scratch_bytes + 16; }
  int members() const { return scheduler_->members(); }
  int member() const { return scheduler_->member(); }
  static constexpr bool whole_warps = false;
  /// What exchanges count in holds anything until they are begun.
  void begin_exchanges() const {
    if (rank_ == 0) std::memset(row_memory(), 0, 8 * cuda::exchange_words);
    scheduler_->wait_for_members();
  }
  void send(std::uint64_t* place, int member, std::uint64_t x, int number) const {
    std::byte* const there = scheduler_->scratch_of(member);
    std::memcpy(there + (reinterpret_cast<std::byte*>(place) - scratch()), &x, sizeof x);
    sent(there, number).fetch_add(1, std::memory_order_relaxed);
  }
  /// A barrier. Where others have come than were said, all is lost.
  template <cuda::site Site>
  void await_sent(int number, int count) const {
    if (static_cast<int>(Site) != fault_.missing_site) scheduler_->wait_for_members();
    if (rank_ != 0) return;
    const std::uint64_t came = sent(scratch(), number).exchange(0, std::memory_order_relaxed);
    if (came != static_cast<std::uint64_t>(count) && fault_.missing_site < 0) {
      std::memset(row_memory() + 8 * cuda::exchange_words, 0xFF,
                  8 * static_cast<std::size_t>(count));
    }
  }
  /// What was there is lost at once, and what comes is not there before it is awaited.
  template <int Bytes>
  void fetch(std::byte* to, const std::byte* from) const {
    std::memset(to, 0xA5, Bytes);
    fetches_.push_back({to, from, Bytes});
  }
  void await_fetches() const {
    for (const fetched& f : fetches_) std::memcpy(f.to, f.from, f.bytes);
    fetches_.clear();
  }
  bool take_ticket(unsigned* place) const {
    std::atomic_ref<unsigned> counter(*place);
    if (counter.fetch_add(1, std::memory_order_acq_rel) + 1 != static_cast<unsigned>(blocks_)) {
      return false;
    }
    counter.store(0, std::memory_order_relaxed);
    return true;
  }
  void report(std::int64_t* place, std::int64_t index) const {
    std::atomic_ref<std::int64_t>(*place).store(index, std::memory_order_relaxed);
  }
  std::int64_t limit(std::int64_t n) const { return fault_.tail ? n + 1 : n; }
  host_team at(int block, int blocks) const {
    return host_team(*scheduler_, rank_, block, blocks, fault_);
  }

 private:
  static std::atomic_ref<std::uint64_t> sent(std::byte* scratch, int number) {
    auto* const words = reinterpret_cast<std::uint64_t*>(scratch + cuda::scratch_bytes + 16);
    return std::atomic_ref<std::uint64_t>(words[number % cuda::exchange_words]);
  }

  template <class T>
  T exchange(T x, int from, int width) const {
    static_assert(sizeof(T) <= 8);
    const int first = rank_ & ~(width - 1);
    const int count = size() - first < width ? size() - first : width;
    std::memcpy(&scheduler_->exchange(rank_), &x, sizeof x);
    scheduler_->wait(first, count, width);
    T result = x;
    if (from < first + count) std::memcpy(&result, &scheduler_->exchange(from), sizeof result);
    scheduler_->wait(first, count, width);
    return result;
  }

  struct fetched {
    std::byte* to;
    const std::byte* from;
    std::size_t bytes;
  };

  mutable std::vector<fetched> fetches_;
  Scheduler* scheduler_;
  int rank_;
  int block_;
  int blocks_;
  team_fault fault_;
};

}  // namespace support
