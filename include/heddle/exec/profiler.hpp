// SPDX-License-Identifier: BSD-3-Clause
// The profiler: records every launch while one exists. Kernels and bytes are counted where launches
// happen, so that tests can assert on fusion.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include <heddle/core/device.hpp>
#include <heddle/core/site.hpp>
#include <heddle/core/threads.hpp>

namespace heddle::inline v0 {

/// One launch: a program's nests, or one library call.
struct launch_record {
  const char* name = "";                 ///< "program", "interpret", "matmul", …
  const std::uint64_t* words = nullptr;  ///< the program's words (static), for graph::decode
  std::size_t word_count = 0;            ///< 0 where there are none, as of a library call
  int kernels = 0;                       ///< sweeps over memory; nests side by side are one
  std::int64_t bytes = 0;                ///< operands read and outputs written, each once
  std::int64_t operations = 0;           ///< floating-point ones, where the launch counts them
  heddle::device device;                 ///< where it ran
  source_place statement;                ///< where it was written, if that is known
};

/// While it lives, collects the launches of all threads. At most one collects: a second one takes
/// over until it ends.
class profiler {
 public:
  profiler() : previous_(active().exchange(this)) {}
  profiler(const profiler&) = delete;
  profiler& operator=(const profiler&) = delete;
  ~profiler() { active().store(previous_); }

  /// The launches so far, in order of their start.
  [[nodiscard]] std::vector<launch_record> launches() const {
    detail::lock hold(guard_);
    return records_;
  }
  /// Sweeps over memory so far.
  [[nodiscard]] int kernels() const {
    int total = 0;
    for (const launch_record& r : launches()) total += r.kernels;
    return total;
  }
  /// Bytes read and written so far.
  [[nodiscard]] std::int64_t bytes() const {
    std::int64_t total = 0;
    for (const launch_record& r : launches()) total += r.bytes;
    return total;
  }
  /// Forgets the launches so far.
  void clear() {
    detail::lock hold(guard_);
    records_.clear();
  }

  /// Called by what launches, from any thread.
  void add(const launch_record& record) {
    detail::lock hold(guard_);
    records_.push_back(record);
  }
  /// The one that collects; null where none does.
  static std::atomic<profiler*>& active() {
    static std::atomic<profiler*> current{nullptr};
    return current;
  }

 private:
  mutable detail::mutex guard_;
  std::vector<launch_record> records_;
  profiler* previous_;
};

namespace detail {

/// Calls make() for the record, if anybody collects.
template <class Make>
void record_launch(Make make) {
  if (profiler* p = profiler::active().load(std::memory_order_acquire)) [[unlikely]] {
    launch_record record = make();
    record.statement = current_statement();
    p->add(record);
  }
}

}  // namespace detail
}  // namespace heddle::inline v0
