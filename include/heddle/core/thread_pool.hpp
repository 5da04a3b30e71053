// SPDX-License-Identifier: BSD-3-Clause
// `parallel_for`: a range split over the threads of the device that the caller works for.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <utility>

#include <sched.h>

#include <heddle/core/config.hpp>
#include <heddle/core/device.hpp>
#include <heddle/core/error.hpp>
#include <heddle/core/threads.hpp>

namespace heddle::inline v0 {

/// The most threads one device may use.
inline constexpr int max_threads = 256;

namespace detail {

// Threads each host device may use; 0: not set. Element 0 is cpu().
struct thread_counts {
  std::atomic<int> of[1 + max_host_devices] = {};
};
inline thread_counts& chosen_threads() noexcept {
  static constinit thread_counts counts;
  return counts;
}

inline int processors() noexcept {
  static const int count = [] {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
    const int found = CPU_COUNT(&allowed);
    return found < 1 ? 1 : found > max_threads ? max_threads : found;
  }();
  return count;
}

// True within the body of a parallel_for: further ones run in their caller.
inline constinit thread_local bool this_thread_in_parallel = false;

// The body of a parallel_for, in whichever thread, works for the device of the caller.
class parallel_scope {
 public:
  explicit parallel_scope(int device) noexcept
      : nested_(std::exchange(this_thread_in_parallel, true)),
        device_(std::exchange(this_thread_device, device)) {}
  ~parallel_scope() {
    this_thread_in_parallel = nested_;
    this_thread_device = device_;
  }
  parallel_scope(const parallel_scope&) = delete;
  parallel_scope& operator=(const parallel_scope&) = delete;

 private:
  bool nested_;
  int device_;
};

}  // namespace detail

/// The threads a host device uses: of `cpu()` as many as the process may run on, of `cpu(i)` one,
/// unless set. Throws device_error for other devices.
[[nodiscard]] inline int num_threads(device which = cpu()) {
  if (!which.is_host()) {
    raise<device_error>("heddle::num_threads: the device has no host threads: ", which,
                        "; host devices are cpu() and cpu(i)");
  }
  const int chosen = detail::chosen_threads().of[which.index + 1].load(std::memory_order_relaxed);
  return chosen > 0 ? chosen : which.is_inline() ? detail::processors() : 1;
}

/// Sets how many threads a host device uses, the caller's included. Results do not depend on it,
/// except where a function says so. Throws value_error unless 1 <= count <= max_threads, and
/// device_error.
inline void set_num_threads(int count, device which = cpu()) {
  if (!which.is_host()) {
    raise<device_error>("heddle::set_num_threads: the device has no host threads: ", which,
                        "; host devices are cpu() and cpu(i)");
  }
  if (count < 1 || count > max_threads) {
    raise<value_error>("heddle::set_num_threads: the count is out of range: ", count,
                       "; it is 1 to ", max_threads);
  }
  detail::chosen_threads().of[which.index + 1].store(count, std::memory_order_relaxed);
}

namespace detail {

// One parallel_for: parts are numbered, and run by a plain function.
struct parallel_job {
  void (*run)(void* context, int part) = nullptr;
  void* context = nullptr;
  int parts = 0;
};

// The first exception by part number, so that which one the caller sees does not depend on timing.
class part_failures {
 public:
  template <class Function>
  void guard(int part, Function&& function) noexcept {
    try {
      function();
    } catch (...) {
      std::exception_ptr caught = std::current_exception();
      lock hold(guard_);
      if (part_ < 0 || part < part_) {
        part_ = part;
        first_.swap(caught);
      }
    }
  }
  void rethrow() {
    if (first_) std::rethrow_exception(std::exchange(first_, nullptr));
  }

 private:
  mutex guard_;
  int part_ = -1;
  std::exception_ptr first_;
};

// Looks for a while before a thread goes to sleep: waking it costs some 50 microseconds.
template <class Ready>
void spin_until(Ready ready) noexcept {
  for (int i = 0; i < 1000 && !ready(); ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

// Threads of one device that wait for jobs. One job at a time; a second caller does its own work.
class thread_pool {
 public:
  /// Runs every part, part 0 in the caller; returns false, having done nothing, where the pool is
  /// busy.
  bool run(parallel_job job) {
    if (!in_use_.try_lock()) return false;
    {
      lock hold(guard_);
      if (closing_) {  // the program is ending
        in_use_.unlock();
        return false;
      }
      try {
        while (workers_ < job.parts - 1) start();
      } catch (...) {
        in_use_.unlock();
        throw;
      }
      job_ = job;
      left_.store(job.parts - 1, std::memory_order_relaxed);
      generation_.fetch_add(1, std::memory_order_release);
      work_.notify_all();
    }
    {
      const parallel_scope scope(this_thread_device);
      job.run(job.context, 0);
    }
    const auto finished = [this] { return left_.load(std::memory_order_acquire) == 0; };
    if (job.parts <= processors()) spin_until(finished);
    {
      lock hold(guard_);
      while (!finished()) done_.wait(guard_);
    }
    in_use_.unlock();
    return true;
  }

  /// Ends the threads, once the job that runs is done. Callers do their own work from now on.
  void close() noexcept {
    const lock idle(in_use_);
    {
      lock hold(guard_);
      closing_ = true;
      work_.notify_all();
    }
    for (int i = 0; i < workers_; ++i) pthread_join(threads_[i], nullptr);
    lock hold(guard_);
    workers_ = 0;
  }

 private:
  struct start_note {
    thread_pool* pool;
    int part;
    std::uint64_t generation;
    int device;
  };

  void start();

  void work(int part, std::uint64_t seen) noexcept {
    this_thread_in_parallel = true;
    for (;;) {
      parallel_job job;
      const auto called = [this, seen] {
        return generation_.load(std::memory_order_acquire) != seen;
      };
      if (part < processors()) spin_until(called);
      {
        lock hold(guard_);
        while (!called() && !closing_) work_.wait(guard_);
        if (!called()) return;  // closing
        seen = generation_.load(std::memory_order_relaxed);
        job = job_;
      }
      if (part >= job.parts) continue;
      job.run(job.context, part);
      lock hold(guard_);
      if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) done_.notify_one();
    }
  }

  mutex in_use_;
  mutex guard_;
  condition work_;
  condition done_;
  std::atomic<std::uint64_t> generation_{0};  // changed under the guard
  std::atomic<int> left_{0};                  // parts that other threads have not ended
  parallel_job job_;                          // guarded, as are all below
  int workers_ = 0;
  bool closing_ = false;
  pthread_t threads_[max_threads] = {};
};

struct thread_pools {
  thread_pool of[1 + max_host_devices];
};
inline thread_pools& all_thread_pools() noexcept {
  static constinit thread_pools pools;
  return pools;
}

inline void thread_pool::start() {
  struct closer {
    ~closer() {
      for (thread_pool& pool : all_thread_pools().of) pool.close();
    }
  };
  static closer at_exit;
  auto* note = new start_note{this, workers_ + 1, generation_.load(std::memory_order_relaxed),
                              this_thread_device};
  try {
    threads_[workers_] = start_thread(
        [](void* given) -> void* {
          const start_note started = *static_cast<start_note*>(given);
          delete static_cast<start_note*>(given);
          this_thread_device = started.device;
          started.pool->work(started.part, started.generation);
          return nullptr;
        },
        note);
  } catch (...) {
    delete note;
    throw;
  }
  ++workers_;
}

// How many parts `count` iterations make: the same for the same count, grain and threads.
inline int parts_of(std::int64_t count, std::int64_t grain, int threads) noexcept {
  const std::int64_t wanted = grain < 1 ? count : count / grain;
  return wanted < 2 ? 1 : wanted < threads ? static_cast<int>(wanted) : threads;
}

// The first iteration of a part: parts differ by at most one iteration.
inline std::int64_t start_of_part(std::int64_t count, int parts, int part) noexcept {
  const std::int64_t size = count / parts;
  const std::int64_t rest = count % parts;
  return size * part + (part < rest ? part : rest);
}

template <class Configuration, class Function>
HEDDLE_NOINLINE void run_parts(std::int64_t begin, std::int64_t count, int parts,
                               Function& function) {
  struct context {
    std::int64_t begin;
    std::int64_t count;
    int parts;
    Function* function;
    part_failures failures;

    void operator()(int part) noexcept {
      failures.guard(part, [this, part] {
        (*function)(begin + start_of_part(count, parts, part),
                    begin + start_of_part(count, parts, part + 1));
      });
    }
  };
  context shared{begin, count, parts, &function, {}};
#if defined(HEDDLE_OPENMP)
  const int device = this_thread_device;
#pragma omp parallel for num_threads(parts) schedule(static, 1)
  for (int part = 0; part < parts; ++part) {
    const parallel_scope scope(device);
    shared(part);
  }
#else
  const bool ran = all_thread_pools().of[this_thread_device + 1].run(
      {[](void* given, int part) { (*static_cast<context*>(given))(part); }, &shared, parts});
  if (!ran) {
    const parallel_scope scope(this_thread_device);
    for (int part = 0; part < parts; ++part) shared(part);
  }
#endif
  shared.failures.rethrow();
}

}  // namespace detail

/// Calls `function(first, last)` for consecutive parts of [begin, end), in several threads where at
/// least two parts of `grain` iterations can be made and the caller's device may use them;
/// otherwise once, in the caller, for the whole. The parts depend on the count, the grain and the
/// threads alone. Within a part, further parallel_for calls run in their caller. The exception of
/// the lowest part that threw is rethrown, after all parts have ended.
template <class Function, class Configuration = configuration>
HEDDLE_INLINE void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain,
                                Function&& function) {
  const std::int64_t count = end - begin;
  if (count <= 0) return;
  if (count >= 2 * grain && count > 1 && !detail::this_thread_in_parallel) {
    const device here{device_kind::host, static_cast<std::int16_t>(detail::this_thread_device)};
    const int parts = detail::parts_of(count, grain, num_threads(here));
    if (parts > 1) {
      detail::run_parts<Configuration>(begin, count, parts, function);
      return;
    }
  }
  function(begin, end);
}

}  // namespace heddle::inline v0
