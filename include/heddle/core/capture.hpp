// SPDX-License-Identifier: BSD-3-Clause
// A step whose work a device records instead of running it, to be replayed as a whole: the seam
// between `cuda_graph`, what a step calls, and the CUDA backend.
#pragma once

#include <cstdint>
#include <vector>

#include <heddle/core/philox.hpp>
#include <heddle/core/stream.hpp>

namespace heddle::inline v0 {

class storage;

namespace detail {

/// Writes the scalars that a launch has in a replay.
struct scalars_of_replay : public counted {
  virtual void write(double* to) = 0;
};

/// What a graph records. Kernels keep the numbers that they were captured with; those that are to
/// change from replay to replay come from functions that are called before each.
class graph_capture : public counted, public draw_observer {
 public:
  /// Records what this thread queues on the graph's device until `end` or `abandon`.
  virtual void begin() = 0;
  virtual void end() = 0;
  virtual void abandon() noexcept = 0;
  /// Queues what was recorded on the stream that was current when the graph was made.
  virtual void replay() = 0;
  /// Of the memory that the graph holds.
  [[nodiscard]] virtual std::int64_t bytes() const noexcept = 0;
  [[nodiscard]] virtual stream_state& home() const noexcept = 0;
  /// Keeps memory from outside that the step uses.
  virtual void keep(storage& used) = 0;
  /// Has replays count as writes of such memory.
  virtual void note_written(storage& used) = 0;

  /// Has a function called before each replay, in the order in which they came; `undo`, if there
  /// is one, where the replay fails after it.
  void at_replay(task function, task undo = {}) {
    at_replay_.push_back({std::move(function), std::move(undo)});
  }

  static constexpr int most_scalars = 16;
  /// Of the launch under way; null: its scalars are those it has now.
  handle<scalars_of_replay> scalars;

 protected:
  struct step_of_replay {
    task call, undo;
  };
  std::vector<step_of_replay> at_replay_;
};

/// The capture that this thread is in.
inline constinit thread_local graph_capture* this_thread_capture = nullptr;

/// Makes this thread's work part of a capture.
class [[nodiscard]] capture_scope {
 public:
  explicit capture_scope(graph_capture& into) : into_(&into) {
    if (this_thread_capture != nullptr) refuse_capture("makes or replays a graph itself");
    into.begin();
    this_thread_capture = into_;
    this_thread_draws = into_;
    this_thread_recording = {current_state(into.home().device()), false};
  }
  ~capture_scope() {
    if (into_ == nullptr) return;
    leave();
    into_->abandon();
  }
  capture_scope(const capture_scope&) = delete;
  capture_scope& operator=(const capture_scope&) = delete;

  void end() {
    if (this_thread_recording.refused) refuse_capture("went on after it was refused");
    leave();
    std::exchange(into_, nullptr)->end();
  }

 private:
  static void leave() noexcept {
    this_thread_capture = nullptr;
    this_thread_draws = nullptr;
    this_thread_recording = {};
  }

  graph_capture* into_;
};

/// What a step makes once and keeps, as a parameter its values, is made outside of a capture.
class [[nodiscard]] outside_capture {
 public:
  outside_capture() noexcept : left_(std::exchange(this_thread_capture, nullptr)) {
    if (left_ == nullptr) return;
    this_thread_draws = nullptr;
    recording_ = std::exchange(this_thread_recording.stream, nullptr);
    slot() = &left_->home();
  }
  ~outside_capture() {
    if (left_ == nullptr) return;
    this_thread_capture = left_;
    this_thread_draws = left_;
    slot() = this_thread_recording.stream = recording_;
  }
  outside_capture(const outside_capture&) = delete;
  outside_capture& operator=(const outside_capture&) = delete;

 private:
  stream_state*& slot() const { return current_state(left_->home().device()); }

  graph_capture* left_;
  stream_state* recording_ = nullptr;
};

}  // namespace detail
}  // namespace heddle::inline v0
