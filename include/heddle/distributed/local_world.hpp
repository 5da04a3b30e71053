// SPDX-License-Identifier: BSD-3-Clause
// The group of ranks that are threads of one process: how they meet, compare what they were asked
// for, and move elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include <heddle/core/monitor.hpp>
#include <heddle/distributed/communicator.hpp>

namespace heddle::inline v0 {

class local_communicator;

/// How the ranks of a local_world wait.
struct local_options {
  /// How long a collective waits for the other ranks, in seconds; PyTorch's default.
  double deadline = 1800;
};

namespace detail {

enum class collective : std::uint8_t {
  barrier,
  all_reduce,
  reduce_scatter,
  all_gather,
  broadcast,
  message
};

/// What a rank says that it wants done; ranks compare everything but the addresses.
struct collective_call {
  const char* name = "";
  collective what = collective::barrier;
  std::uint64_t sequence = 0;
  dtype type = dtype::f32;
  reduce_op op = reduce_op::sum;
  int root = 0;
  int rank = 0;  // of the tensor
  std::int64_t extents[max_rank] = {};
  std::int64_t count = 0;  // elements of `from`
  const std::byte* from = nullptr;
  std::byte* to = nullptr;

  bool agrees(const collective_call& other) const noexcept {
    bool same = what == other.what && sequence == other.sequence && type == other.type &&
                op == other.op && root == other.root && rank == other.rank;
    for (int i = 0; i < rank && same; ++i) same = extents[i] == other.extents[i];
    return same;
  }
};

inline std::string words_of(const collective_call& call) {
  std::string text = call.name;
  if (call.what == collective::broadcast) text += " from rank " + std::to_string(call.root);
  if (call.what == collective::all_reduce || call.what == collective::reduce_scatter) {
    text += " (" + to_string(call.op) + ")";
  }
  if (call.what != collective::barrier) {
    text += " of " + to_string(call.type) + " " + to_string(call.extents, call.rank);
  }
  if (call.what == collective::message) return text;
  return text + " as collective " + std::to_string(call.sequence);
}

template <class T>
T combine(reduce_op op, T a, T b) noexcept {
  if (op == reduce_op::sum) {
    if constexpr (std::is_integral_v<T>) {
      using bits = std::make_unsigned_t<T>;  // overflow wraps, as in PyTorch
      return static_cast<T>(static_cast<bits>(a) + static_cast<bits>(b));
    } else {
      return a + b;
    }
  }
  if (a != a) return a;  // NaN wins
  const bool second = b != b || (op == reduce_op::max ? b > a : b < a);
  return second ? b : a;
}

/// to[k][i] = the combination of from[0][i], from[1][i], …, in this order, for begin <= i < end.
template <class T>
void combine_elements(reduce_op op, const std::vector<collective_call>& calls, std::int64_t begin,
                      std::int64_t end, std::byte* only_to) {
  using compute = std::conditional_t<std::is_same_v<T, bool>, std::uint8_t, compute_type<T>>;
  for (std::int64_t i = begin; i < end; ++i) {
    auto value = static_cast<compute>(reinterpret_cast<const T*>(calls[0].from)[i]);
    for (std::size_t k = 1; k < calls.size(); ++k) {
      value =
          combine(op, value, static_cast<compute>(reinterpret_cast<const T*>(calls[k].from)[i]));
    }
    if (only_to != nullptr) {
      reinterpret_cast<T*>(only_to)[i - begin] = static_cast<T>(value);
    } else {
      for (const collective_call& each : calls) {
        reinterpret_cast<T*>(each.to)[i] = static_cast<T>(value);
      }
    }
  }
}

inline void combine_elements(const std::vector<collective_call>& calls, std::int64_t begin,
                             std::int64_t end, std::byte* only_to) {
  const reduce_op op = calls[0].op;
  switch (calls[0].type) {
    case dtype::f64:
      return combine_elements<double>(op, calls, begin, end, only_to);
    case dtype::f32:
      return combine_elements<float>(op, calls, begin, end, only_to);
    case dtype::bf16:
      return combine_elements<bfloat16>(op, calls, begin, end, only_to);
    case dtype::f16:
      return combine_elements<float16>(op, calls, begin, end, only_to);
    case dtype::i64:
      return combine_elements<std::int64_t>(op, calls, begin, end, only_to);
    case dtype::i32:
      return combine_elements<std::int32_t>(op, calls, begin, end, only_to);
    case dtype::u8:
      return combine_elements<std::uint8_t>(op, calls, begin, end, only_to);
    case dtype::boolean:
      return combine_elements<bool>(op, calls, begin, end, only_to);
  }
}

/// One rank's part of a collective that all have agreed on. Ranks write disjoint elements and read
/// none that another one writes, so they need no order among themselves.
inline void do_part(const std::vector<collective_call>& calls, int rank) {
  const auto world = static_cast<std::int64_t>(calls.size());
  const collective_call& mine = calls[static_cast<std::size_t>(rank)];
  const std::size_t bytes = static_cast<std::size_t>(mine.count) * size_of(mine.type);
  switch (mine.what) {
    case collective::all_reduce:
      return combine_elements(calls, mine.count * rank / world, mine.count * (rank + 1) / world,
                              nullptr);
    case collective::reduce_scatter:
      return combine_elements(calls, mine.count / world * rank, mine.count / world * (rank + 1),
                              mine.to);
    case collective::all_gather:
      for (std::size_t k = 0; k < calls.size() && bytes > 0; ++k) {
        std::memcpy(mine.to + k * bytes, calls[k].from, bytes);
      }
      return;
    case collective::broadcast:
      if (rank != mine.root && bytes > 0) {
        std::memcpy(mine.to, calls[static_cast<std::size_t>(mine.root)].from, bytes);
      }
      return;
    default:
      return;
  }
}

}  // namespace detail

/// A group of ranks that are threads of this process. Outlives its communicators.
class local_world {
 public:
  /// Throws value_error unless there is a rank.
  explicit local_world(int size, local_options options = {}) : options_(options) {
    if (size < 1) {
      raise<value_error>("heddle::local_world: there are too few ranks: ", size,
                         "; 1 or more are expected");
    }
    const auto count = static_cast<std::size_t>(size);
    calls_.resize(count);
    present_.assign(count, false);
    gone_.assign(count, false);
    sequences_.assign(count, 0);
    letters_.resize(count * count);
  }
  local_world(const local_world&) = delete;
  local_world& operator=(const local_world&) = delete;

  /// The number of ranks.
  [[nodiscard]] int size() const noexcept { return static_cast<int>(calls_.size()); }

  /// The end of one rank, for one thread at a time. Throws value_error for a rank that does not
  /// exist.
  [[nodiscard]] local_communicator communicator(int rank);

  /// Ends the group: who waits, and who calls later, gets a communication_error with this reason.
  void abort(const std::string& reason) {
    const detail::monitor::scope hold(monitor_);
    fail(reason);
  }

  /// Says that a rank will make no more calls: ranks that wait for it fail at once, not at the
  /// deadline.
  void leave(int rank) {
    const detail::monitor::scope hold(monitor_);
    gone_[static_cast<std::size_t>(rank)] = true;
    monitor_.notify_all();
  }

 private:
  friend class local_communicator;

  // A message from one rank to another.
  struct letter {
    enum class state { none, posted, taking, taken } is = state::none;
    detail::collective_call call;
  };

  void fail(const std::string& reason) {
    if (failure_.empty()) failure_ = reason.empty() ? "no reason was given" : reason;
    monitor_.notify_all();
  }
  [[noreturn]] void raise_failure(const detail::collective_call& call) {
    raise<communication_error>("heddle::", call.name, ": the group of ranks has failed: ", failure_,
                               "; make a new one");
  }

  // Runs a collective: returns when all ranks' parts are done. It completes on all ranks or on
  // none: the last to come compares the calls, and only then does anybody touch a buffer.
  void run(int rank, detail::collective_call call) {
    const auto me = static_cast<std::size_t>(rank);
    const detail::deadline until = detail::deadline::after(options_.deadline);
    std::uint64_t round = 0;
    {
      const detail::monitor::scope hold(monitor_);
      if (!failure_.empty()) raise_failure(call);
      call.sequence = sequences_[me]++;
      calls_[me] = call;
      present_[me] = true;
      round = rounds_agreed_;
      if (++arrived_ == size()) {
        agree();
      } else {
        while (rounds_agreed_ == round && failure_.empty()) {
          if (!complain_of_gone(call)) {
            if (!monitor_.wait_until(until) && rounds_agreed_ == round) complain_of_late(call);
          }
        }
      }
      if (rounds_agreed_ == round) raise_failure(call);
    }
    detail::do_part(calls_, rank);
    const detail::monitor::scope hold(monitor_);
    if (++finished_ == size()) {
      finished_ = arrived_ = 0;
      present_.assign(present_.size(), false);
      ++rounds_done_;
      monitor_.notify_all();
    }
    while (rounds_done_ == round) monitor_.wait();  // the others compute, so this ends
  }

  void agree() {
    for (std::size_t k = 1; k < calls_.size(); ++k) {
      if (calls_[k].agrees(calls_[0])) continue;
      fail("rank 0 calls " + words_of(calls_[0]) + ", rank " + std::to_string(k) + " calls " +
           words_of(calls_[k]) + "; all ranks are to call the same collectives in the same order");
      return;
    }
    ++rounds_agreed_;
    monitor_.notify_all();
  }
  bool complain_of_gone(const detail::collective_call& call) {
    for (std::size_t k = 0; k < gone_.size(); ++k) {
      if (!gone_[k] || present_[k]) continue;
      fail("rank " + std::to_string(k) + " has ended while others wait for it in " +
           words_of(call));
      return true;
    }
    return false;
  }
  void complain_of_late(const detail::collective_call& call) {
    std::string missing;
    for (std::size_t k = 0; k < present_.size(); ++k) {
      if (!present_[k]) missing += (missing.empty() ? "rank " : ", rank ") + std::to_string(k);
    }
    fail(missing + " did not come within " + detail::text_of(options_.deadline) + " s to " +
         words_of(call));
  }

  letter& between(int from, int to) {
    return letters_[static_cast<std::size_t>(from) * calls_.size() + static_cast<std::size_t>(to)];
  }
  // Waits until the letter is in a state, or throws.
  void await(letter& l, letter::state wanted, int other, const detail::collective_call& call) {
    const detail::deadline until = detail::deadline::after(options_.deadline);
    while (l.is != wanted) {
      if (l.is == letter::state::taking) {
        monitor_.wait();  // the other side copies, so this ends
      } else if (!failure_.empty()) {
        l.is = letter::state::none;
        raise_failure(call);
      } else if (gone_[static_cast<std::size_t>(other)]) {
        fail("rank " + std::to_string(other) + " has ended while another waits for it in " +
             words_of(call));
      } else if (!monitor_.wait_until(until) && l.is != wanted && l.is != letter::state::taking) {
        fail("rank " + std::to_string(other) + " did not answer within " +
             detail::text_of(options_.deadline) + " s to " + words_of(call));
      }
    }
  }
  void send(int from, int to, const detail::collective_call& call) {
    const detail::monitor::scope hold(monitor_);
    if (!failure_.empty()) raise_failure(call);
    letter& l = between(from, to);
    l = {letter::state::posted, call};
    monitor_.notify_all();
    await(l, letter::state::taken, to, call);
    l.is = letter::state::none;
  }
  void receive(int from, int to, const detail::collective_call& call) {
    letter& l = between(from, to);
    {
      const detail::monitor::scope hold(monitor_);
      if (!failure_.empty()) raise_failure(call);
      await(l, letter::state::posted, from, call);
      if (!call.agrees(l.call)) {
        fail("rank " + std::to_string(from) + " calls " + words_of(l.call) + ", rank " +
             std::to_string(to) + " calls " + words_of(call) +
             "; both are to name the same tensor");
        raise_failure(call);
      }
      l.is = letter::state::taking;
    }
    const std::size_t bytes = static_cast<std::size_t>(call.count) * size_of(call.type);
    if (bytes > 0) std::memcpy(call.to, l.call.from, bytes);
    const detail::monitor::scope hold(monitor_);
    l.is = letter::state::taken;
    monitor_.notify_all();
  }

  local_options options_;
  detail::monitor monitor_;  // guards all below; `calls_` is also read between agreement and end
  std::vector<detail::collective_call> calls_;  // by rank
  std::vector<bool> present_;                   // whether a rank has come to this round
  std::vector<bool> gone_;                      // whether it has ended
  std::vector<std::uint64_t> sequences_;
  std::vector<letter> letters_;  // by sender and receiver
  int arrived_ = 0;
  int finished_ = 0;
  std::uint64_t rounds_agreed_ = 0;
  std::uint64_t rounds_done_ = 0;
  std::string failure_;  // empty while the group works
};

}  // namespace heddle::inline v0
