// SPDX-License-Identifier: BSD-3-Clause
// Streams, the in-order queues of devices, and the events that order them among each other.
//
// The stream of `cpu()` runs a task in the caller before `enqueue` returns. A stream of `cpu(i)`
// has a thread of its own, started with the first task. A stream of `cuda(i)` is one of the CUDA
// run-time.
#pragma once

#include <heddle/core/backend.hpp>
#include <heddle/core/host_queue.hpp>

namespace heddle::inline v0 {

class stream;

namespace detail {

// The streams that `stream_scope`s of this thread made current.
struct current_streams {
  stream_state* host[max_host_devices] = {};
  stream_state* cuda[max_cuda_devices] = {};
};
inline constinit thread_local current_streams this_thread_streams;

/// What this thread records instead of having it run, if anything (capture.hpp).
struct recording_of_thread {
  stream_state* stream = nullptr;  ///< to which all its work for CUDA devices must go
  bool refused = false;            ///< something that cannot be recorded was asked for
};
inline constinit thread_local recording_of_thread this_thread_recording;

inline constexpr const char* one_stream =
    "uses a second stream or device; a graph holds the work of one stream";

/// Throws state_error while a step is captured, for what a graph cannot hold. `what` ends "the step
/// …".
[[noreturn]] HEDDLE_COLD inline void refuse_capture(const char* what) {
  this_thread_recording.refused = true;
  raise<state_error>("heddle::cuda_graph: the step ", what);
}

/// Whether streams of the device are queues, and not the caller itself.
constexpr bool has_queues(device where) noexcept {
  return where.is_cuda() || (where.is_host() && !where.is_inline());
}

inline stream_state*& current_state(device where) {
  return where.is_cuda() ? this_thread_streams.cuda[cuda_index(where, "current_stream")]
                         : this_thread_streams.host[where.index];
}

/// What a stream is on its device; none for an inline one.
handle<stream_state> state_of(const stream& s) noexcept;

}  // namespace detail

/// An in-order queue of a device's work; copies name the same queue.
class stream {
 public:
  /// The stream of `cpu()`: tasks run in the caller.
  stream() noexcept = default;

  /// A new stream; of `cpu()` and `meta()` there is one each, which runs in the caller. A stream
  /// whose last copy is gone finishes what was enqueued. Throws device_error for an absent backend.
  explicit stream(heddle::device where) : device_(where) {
    if (where.is_cuda()) {
      state_ = detail::cuda_backend(where, "stream").new_stream(where);
    } else if (detail::has_queues(where)) {
      state_ = make_handle<detail::queue>(where);
    }
  }

  /// A stream of the CUDA run-time that somebody else made (a `cudaStream_t`) and destroys after
  /// the last copy of this one is gone. Throws device_error where `where` is not a CUDA device.
  [[nodiscard]] static stream adopt(heddle::device where, void* native) {
    if (!where.is_cuda()) {
      raise<device_error>("heddle::stream::adopt: the device has no streams of its own: ", where,
                          "; adopt takes those of cuda(i)");
    }
    return stream(where, detail::cuda_backend(where, "stream").adopt_stream(where, native));
  }

  /// The `cudaStream_t` of a CUDA device's stream; null elsewhere, and for the default one.
  [[nodiscard]] void* native() const noexcept { return state_ ? state_->native() : nullptr; }

  /// Whose work it orders.
  [[nodiscard]] heddle::device device() const noexcept { return device_; }

  /// Whether tasks run in the caller, before `enqueue` returns.
  [[nodiscard]] bool is_inline() const noexcept { return !state_; }

  /// Appends a task: a callable without arguments, moved in. Inline streams run it now and let its
  /// exceptions through; others keep the first exception for `synchronize` and drop the tasks
  /// behind it. On a CUDA device it is a host function, which must not use the device.
  template <class Function>
  void enqueue(Function&& function) const {
    if (is_inline()) {
      std::forward<Function>(function)();
    } else {
      state_->push(detail::task(std::forward<Function>(function)));
    }
  }

  /// Waits for everything enqueued so far; rethrows the first exception of a task, once.
  void synchronize() const {
    if (!is_inline()) state_->synchronize();
  }

  friend bool operator==(const stream& a, const stream& b) noexcept {
    return a.device_ == b.device_ && a.state_ == b.state_;
  }

 private:
  friend class event;
  friend class stream_scope;
  friend stream default_stream(heddle::device where);
  friend stream current_stream(heddle::device where);
  friend handle<detail::stream_state> detail::state_of(const stream& s) noexcept;

  stream(heddle::device where, handle<detail::stream_state> state) noexcept
      : device_(where), state_(std::move(state)) {}

  heddle::device device_ = cpu();
  handle<detail::stream_state> state_;
};

inline handle<detail::stream_state> detail::state_of(const stream& s) noexcept { return s.state_; }

/// The stream every device has. Throws device_error for an absent backend.
[[nodiscard]] inline stream default_stream(device where) {
  if (where.is_cuda()) {
    return stream(where, detail::cuda_backend(where, "default_stream").default_stream(where));
  }
  if (!detail::has_queues(where)) return stream(where, nullptr);
  return stream(where, detail::default_queue<>(where));
}

/// The stream that this thread's work for a device goes to: the innermost `stream_scope`'s, or the
/// default one.
[[nodiscard]] inline stream current_stream(device where) {
  if (detail::has_queues(where)) {
    detail::stream_state* const current = detail::current_state(where);
    const detail::stream_state* const recording = detail::this_thread_recording.stream;
    if (recording != nullptr && where.is_cuda() && current != recording) [[unlikely]] {
      detail::refuse_capture(detail::one_stream);
    }
    if (current != nullptr) {
      return stream(where, handle<detail::stream_state>::share(current));
    }
  }
  return default_stream(where);
}

/// Makes a stream the current one of its device in this thread, for a scope.
class [[nodiscard]] stream_scope {
 public:
  explicit stream_scope(stream chosen) noexcept : chosen_(std::move(chosen)) {
    if (!chosen_.is_inline()) {
      before_ = std::exchange(slot(), chosen_.state_.get());
    }
  }
  ~stream_scope() {
    if (!chosen_.is_inline()) slot() = before_;
  }
  stream_scope(const stream_scope&) = delete;
  stream_scope& operator=(const stream_scope&) = delete;

 private:
  detail::stream_state*& slot() const { return detail::current_state(chosen_.device_); }

  stream chosen_;
  detail::stream_state* before_ = nullptr;
};

/// Waits for the default stream of a device and this thread's current one; rethrows as
/// `stream::synchronize`.
inline void synchronize(device where) {
  const stream current = current_stream(where);
  current.synchronize();
  const stream usual = default_stream(where);
  if (!(usual == current)) usual.synchronize();
}

/// A point in a stream. A copy stands for the same point; recording again makes a new one, and
/// earlier waits keep to theirs. An event that was never recorded has passed.
class event {
 public:
  event() noexcept = default;

  /// The point after everything enqueued on `where` so far.
  void record(const stream& where) {
    if (where.is_inline()) {
      state_ = nullptr;
      return;
    }
    state_ = where.state_->record();
  }

  /// Work enqueued on `waiter` from now on begins after the point. Inline streams wait here. A
  /// failure before the point fails the waiter too.
  void wait(const stream& waiter) const {
    if (!state_) return;
    if (waiter.is_inline()) {
      synchronize();
    } else {
      waiter.state_->wait(state_);
    }
  }

  /// Waits here for the point; rethrows the first exception of the work before it, once.
  void synchronize() const {
    if (!state_) return;
    if (const handle<detail::failure> failed = state_->wait()) failed->report();
  }

  /// Whether the point has passed.
  [[nodiscard]] bool query() const noexcept { return !state_ || state_->query(); }

 private:
  handle<detail::event_state> state_;
};

}  // namespace heddle::inline v0
