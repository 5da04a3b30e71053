// SPDX-License-Identifier: BSD-3-Clause
// Streams, the in-order queues of devices, and the events that order them among each other.
//
// The stream of `cpu()` runs a task in the caller before `enqueue` returns. A stream of `cpu(i)`
// has a thread of its own, started with the first task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <type_traits>
#include <utility>

#include <heddle/core/allocator.hpp>
#include <heddle/core/device.hpp>
#include <heddle/core/error.hpp>
#include <heddle/core/reference.hpp>
#include <heddle/core/threads.hpp>

namespace heddle::inline v0 {

namespace detail {

/// A move-only callable without arguments; up to 48 bytes lie inside.
class task {
 public:
  task() noexcept = default;
  template <class Function>
  requires(!std::is_same_v<std::remove_cvref_t<Function>, task>) explicit task(
      Function&& function) {
    using body = std::decay_t<Function>;
    if constexpr (sizeof(body) <= sizeof place_ && alignof(body) <= alignof(std::max_align_t) &&
                  std::is_nothrow_move_constructible_v<body>) {
      ::new (place_) body(std::forward<Function>(function));
      operate_ = [](action what, task& self, task* other) {
        body& inside = *std::launder(reinterpret_cast<body*>(self.place_));
        if (what == action::run) return static_cast<void>(inside());
        if (what == action::move) ::new (other->place_) body(std::move(inside));
        inside.~body();
      };
    } else {
      ::new (place_) body*(new body(std::forward<Function>(function)));
      operate_ = [](action what, task& self, task* other) {
        body* outside = *std::launder(reinterpret_cast<body**>(self.place_));
        if (what == action::run) return static_cast<void>((*outside)());
        if (what == action::move) {
          ::new (other->place_) body*(outside);
        } else {
          delete outside;
        }
      };
    }
  }
  task(task&& other) noexcept { take(other); }
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      clear();
      take(other);
    }
    return *this;
  }
  ~task() { clear(); }

  explicit operator bool() const noexcept { return operate_ != nullptr; }
  void operator()() { operate_(action::run, *this, nullptr); }
  void clear() noexcept {
    if (operate_ != nullptr) std::exchange(operate_, nullptr)(action::destroy, *this, nullptr);
  }

 private:
  enum class action { run, move, destroy };

  void take(task& other) noexcept {
    operate_ = std::exchange(other.operate_, nullptr);
    if (operate_ != nullptr) operate_(action::move, other, this);
  }

  alignas(std::max_align_t) std::byte place_[48];
  void (*operate_)(action, task& self, task* other) = nullptr;
};

// The first exception of a stream. It is handed to one caller only: an exception object that two
// threads hold would be destroyed by either.
struct failure : counted, pooled {
  mutex guard;
  std::exception_ptr error;  // guarded; null once reported

  explicit failure(std::exception_ptr&& caught) : error(std::move(caught)) { share(); }
  ~failure() override = default;

  bool is_reported() noexcept {
    lock hold(guard);
    return error == nullptr;
  }

  [[noreturn]] void report() {
    std::exception_ptr taken;
    {
      lock hold(guard);
      taken = std::exchange(error, nullptr);
    }
    if (taken) std::rethrow_exception(std::move(taken));
    raise<state_error>(
        "heddle::synchronize: work was dropped after a failure that was already reported "
        "elsewhere; "
        "run it again");
  }
};

// One recording of an event.
struct event_state : counted, pooled {
  mutex guard;
  condition fired_or_not;
  bool fired = false;      // guarded
  handle<failure> failed;  // guarded

  event_state() { share(); }
  ~event_state() override = default;

  void fire(const handle<failure>& why) noexcept {
    lock hold(guard);
    failed = why;
    fired = true;
    fired_or_not.notify_all();
  }
  handle<failure> wait() noexcept {
    lock hold(guard);
    while (!fired) fired_or_not.wait(guard);
    return failed;
  }
  bool query() noexcept {
    lock hold(guard);
    return fired;
  }
};

// What a queue holds: a task, the recording of an event, or the wait for one.
struct queue_entry {
  task work;
  handle<event_state> record;
  handle<event_state> wait;
  bool after_report = false;  ///< pushed when the queue's failure was known to the program
  queue_entry* next = nullptr;

  static void* operator new(std::size_t bytes) { return allocate_block(bytes, -1); }
  static void operator delete(void* block, std::size_t bytes) noexcept {
    release_block(block, bytes, -1);
  }
};

class queue;

// Every queue that has a thread, and threads that wait to be joined.
struct queue_registry {
  mutex guard;
  queue* queues = nullptr;                 // guarded
  queue* ended = nullptr;                  // guarded: their threads have nothing left to do
  bool closed = false;                     // guarded
  queue* defaults[max_host_devices] = {};  // guarded; the registry keeps a reference
};
inline queue_registry& all_queues() noexcept {
  static constinit queue_registry registry;
  return registry;
}

inline constinit thread_local queue* this_thread_queue = nullptr;

class queue final : public counted {
 public:
  explicit queue(heddle::device where) : where_(where) { share(); }
  ~queue() override = default;

  heddle::device device() const noexcept { return where_; }

  void push(queue_entry* entry) {
    {
      lock hold(guard_);
      if (!started_ && !closed_) {
        try {
          start();
        } catch (...) {
          delete entry;
          throw;
        }
      }
      if (!closed_) {
        entry->after_report = failed_ && failed_->is_reported();
        *tail_ = entry;
        tail_ = &entry->next;
        ++pushed_;
        work_.notify_one();
        return;
      }
    }
    // The program is ending and the thread is gone: late work runs here.
    run(*entry);
    delete entry;
  }

  void synchronize() {
    if (this_thread_queue == this) {
      raise<state_error>("heddle::synchronize: a task waits for its own stream, ", where_,
                         "; it would wait for ever");
    }
    handle<failure> failed;
    {
      lock hold(guard_);
      const std::uint64_t wanted = pushed_;
      ++waiting_;
      while (done_ < wanted) progress_.wait(guard_);
      --waiting_;
      failed = std::move(failed_);
    }
    if (failed) failed->report();
  }

  // The end of the program: drops what has not begun, so that events fire and the thread ends.
  void close() noexcept {
    queue_entry* dropped = nullptr;
    {
      lock hold(guard_);
      closed_ = ending_ = true;
      dropped = std::exchange(head_, nullptr);
      tail_ = &head_;
      work_.notify_one();
    }
    std::uint64_t count = 0;
    while (dropped != nullptr) {
      queue_entry* entry = std::exchange(dropped, dropped->next);
      if (entry->record) entry->record->fire(nullptr);
      delete entry;
      ++count;
    }
    lock hold(guard_);
    done_ += count;
    progress_.notify_all();
  }

  static void close_all() noexcept {
    queue_registry& registry = all_queues();
    queue* first = nullptr;
    {
      lock hold(registry.guard);
      registry.closed = true;
      first = std::exchange(registry.queues, nullptr);
      // From here on a thread that ends leaves its queue to this function.
    }
    for (queue* each = first; each != nullptr; each = each->next_) each->close();
    while (first != nullptr) {
      queue* each = std::exchange(first, first->next_);
      pthread_join(each->thread_, nullptr);
      lock hold(each->guard_);
      each->joined_ = true;
      // Streams that are dropped after this dispose of their queue themselves.
      const bool abandoned = each->abandoned_;
      hold.unlock();
      if (abandoned) delete each;
    }
    join_ended();
  }

  static void join_ended() noexcept {
    queue_registry& registry = all_queues();
    queue* ended = nullptr;
    {
      lock hold(registry.guard);
      ended = std::exchange(registry.ended, nullptr);
    }
    while (ended != nullptr) {
      queue* each = std::exchange(ended, ended->next_);
      pthread_join(each->thread_, nullptr);
      delete each;
    }
  }

 private:
  // The last stream that names this queue is gone: its thread finishes what there is, then ends.
  void dispose() noexcept override {
    {
      lock hold(guard_);
      if (started_ && !joined_) {
        ending_ = abandoned_ = true;
        work_.notify_one();
        return;
      }
    }
    delete this;
  }

  // Marks the queue closed instead where the program is ending.
  void start() {
    struct closer {
      ~closer() { close_all(); }
    };
    static closer at_exit;
    join_ended();
    queue_registry& registry = all_queues();
    lock hold(registry.guard);
    if (registry.closed) {
      closed_ = true;
      return;
    }
    thread_ = start_thread(
        [](void* self) -> void* {
          static_cast<queue*>(self)->work();
          return nullptr;
        },
        this);
    started_ = true;
    next_ = registry.queues;
    registry.queues = this;
  }

  void work() noexcept {
    this_thread_queue = this;
    this_thread_device = where_.index;
    for (;;) {
      queue_entry* entry = nullptr;
      {
        lock hold(guard_);
        while (head_ == nullptr && !ending_) work_.wait(guard_);
        if (head_ == nullptr) break;
        entry = head_;
        head_ = entry->next;
        if (head_ == nullptr) tail_ = &head_;
      }
      run(*entry);
      delete entry;
      lock hold(guard_);
      ++done_;
      if (waiting_ > 0) progress_.notify_all();
    }
    queue_registry& registry = all_queues();
    lock hold(registry.guard);
    if (registry.closed) return;
    queue** link = &registry.queues;
    while (*link != this) link = &(*link)->next_;
    *link = next_;
    next_ = registry.ended;
    registry.ended = this;
  }

  // After a failure the tasks that follow are dropped: they would work on what was never made.
  // Until somebody was told: what is pushed then is a new attempt.
  void run(queue_entry& entry) noexcept {
    handle<failure> failed;
    {
      lock hold(guard_);
      if (entry.after_report && failed_ && failed_->is_reported()) failed_.reset();
      failed = failed_;
    }
    handle<failure> raised;
    if (entry.record) {
      entry.record->fire(failed);
    } else if (entry.wait) {
      raised = entry.wait->wait();
    } else if (!failed) {
      std::exception_ptr caught;
      try {
        entry.work();
      } catch (...) {
        caught = std::current_exception();
      }
      if (caught) raised = make_handle<failure>(std::move(caught));
    }
    entry.work.clear();
    if (raised && !failed) {
      lock hold(guard_);
      failed_ = std::move(raised);
    }
  }

  mutex guard_;
  condition work_;
  condition progress_;
  queue_entry* head_ = nullptr;  // guarded, as are all below
  queue_entry** tail_ = &head_;
  std::uint64_t pushed_ = 0;
  std::uint64_t done_ = 0;
  int waiting_ = 0;
  bool started_ = false;
  bool ending_ = false;  // the thread ends when there is nothing left
  bool closed_ = false;  // the program ends: nothing is queued any more
  bool joined_ = false;
  bool abandoned_ = false;  // no stream names this queue any more
  handle<failure> failed_;
  heddle::device where_;
  pthread_t thread_{};
  queue* next_ = nullptr;  // guarded by the registry
};

// The streams that `stream_scope`s of this thread made current.
struct current_queues {
  queue* of[max_host_devices] = {};
};
inline constinit thread_local current_queues this_thread_streams;

inline handle<queue> default_queue(device where) {
  queue_registry& registry = all_queues();
  lock hold(registry.guard);
  queue*& found = registry.defaults[where.index];
  if (found == nullptr) found = make_handle<queue>(where).detach();
  return handle<queue>::share(found);
}

inline void check_queueable(device where, const char* function) {
  if (where.is_cuda()) {
    raise<device_error>("heddle::", function,
                        ": this program is built without the device's backend: ", where,
                        "; devices here are cpu(), cpu(i) and meta()");
  }
}

}  // namespace detail

/// An in-order queue of a device's work; copies name the same queue.
class stream {
 public:
  /// The stream of `cpu()`: tasks run in the caller.
  stream() noexcept = default;

  /// A new stream; of `cpu()` and `meta()` there is one each, which runs in the caller. A stream
  /// whose last copy is gone finishes what was enqueued. Throws device_error for an absent backend.
  explicit stream(heddle::device where) : device_(where) {
    detail::check_queueable(where, "stream");
    if (where.is_host() && !where.is_inline()) queue_ = make_handle<detail::queue>(where);
  }

  [[nodiscard]] heddle::device device() const noexcept { return device_; }

  /// Whether tasks run in the caller, before `enqueue` returns.
  [[nodiscard]] bool is_inline() const noexcept { return !queue_; }

  /// Appends a task: a callable without arguments, moved in. Inline streams run it now and let its
  /// exceptions through; others keep the first exception for `synchronize` and drop the tasks
  /// behind it.
  template <class Function>
  void enqueue(Function&& function) const {
    if (is_inline()) {
      std::forward<Function>(function)();
    } else {
      queue_->push(new detail::queue_entry{detail::task(std::forward<Function>(function)), {}, {}});
    }
  }

  /// Waits for everything enqueued so far; rethrows the first exception of a task, once.
  void synchronize() const {
    if (!is_inline()) queue_->synchronize();
  }

  friend bool operator==(const stream& a, const stream& b) noexcept {
    return a.device_ == b.device_ && a.queue_ == b.queue_;
  }

 private:
  friend class event;
  friend class stream_scope;
  friend stream default_stream(heddle::device where);
  friend stream current_stream(heddle::device where);

  stream(heddle::device where, handle<detail::queue> queue) noexcept
      : device_(where), queue_(std::move(queue)) {}

  heddle::device device_ = cpu();
  handle<detail::queue> queue_;
};

/// The stream every device has. Throws device_error for an absent backend.
[[nodiscard]] inline stream default_stream(device where) {
  detail::check_queueable(where, "default_stream");
  if (!where.is_host() || where.is_inline()) return stream(where, nullptr);
  return stream(where, detail::default_queue(where));
}

/// The stream that this thread's work for a device goes to: the innermost `stream_scope`'s, or the
/// default one.
[[nodiscard]] inline stream current_stream(device where) {
  if (where.is_host() && !where.is_inline()) {
    if (detail::queue* current = detail::this_thread_streams.of[where.index]) {
      return stream(where, handle<detail::queue>::share(current));
    }
  }
  return default_stream(where);
}

/// Makes a stream the current one of its device in this thread, for a scope.
class [[nodiscard]] stream_scope {
 public:
  explicit stream_scope(stream chosen) noexcept : chosen_(std::move(chosen)) {
    if (!chosen_.is_inline()) {
      before_ = std::exchange(slot(), chosen_.queue_.get());
    }
  }
  ~stream_scope() {
    if (!chosen_.is_inline()) slot() = before_;
  }
  stream_scope(const stream_scope&) = delete;
  stream_scope& operator=(const stream_scope&) = delete;

 private:
  detail::queue*& slot() const noexcept {
    return detail::this_thread_streams.of[chosen_.device_.index];
  }

  stream chosen_;
  detail::queue* before_ = nullptr;
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
    state_ = make_handle<detail::event_state>();
    where.queue_->push(new detail::queue_entry{{}, state_, {}});
  }

  /// Work enqueued on `waiter` from now on begins after the point. Inline streams wait here. A
  /// failure before the point fails the waiter too.
  void wait(const stream& waiter) const {
    if (!state_) return;
    if (waiter.is_inline()) {
      synchronize();
    } else {
      waiter.queue_->push(new detail::queue_entry{{}, {}, state_});
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
