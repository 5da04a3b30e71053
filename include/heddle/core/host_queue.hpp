// SPDX-License-Identifier: BSD-3-Clause
// The streams of `cpu(i)`: a queue with a thread, started with the first task.
#pragma once

#include <cstdint>

#include <heddle/core/stream_state.hpp>

namespace heddle::inline v0::detail {

/// One recording of an event on a host device.
class host_event final : public event_state {
 public:
  host_event() { share(); }

  void fire(const handle<failure>& why) noexcept {
    lock hold(guard_);
    failed_ = why;
    fired_ = true;
    fired_or_not_.notify_all();
  }
  handle<failure> wait() noexcept override {
    lock hold(guard_);
    while (!fired_) fired_or_not_.wait(guard_);
    return failed_;
  }
  bool query() noexcept override {
    lock hold(guard_);
    return fired_;
  }

 private:
  mutex guard_;
  condition fired_or_not_;
  bool fired_ = false;      // guarded
  handle<failure> failed_;  // guarded
};

// What a queue holds: a task, the recording of an event, or the wait for one.
struct queue_entry {
  task work;
  handle<host_event> record;
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

class queue final : public stream_state {
 public:
  explicit queue(heddle::device where) : stream_state(where) { share(); }
  ~queue() override = default;

  void push(task&& work) override { push(new queue_entry{static_cast<task&&>(work), {}, {}}); }
  handle<event_state> record() override {
    handle<host_event> made = make_handle<host_event>();
    push(new queue_entry{{}, made, {}});
    return made;
  }
  void wait(const handle<event_state>& point) override { push(new queue_entry{{}, {}, point}); }

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

  void synchronize() override {
    if (this_thread_queue == this) {
      raise<state_error>("heddle::synchronize: a task waits for its own stream, ", device(),
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
    this_thread_device = device().index;
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
  pthread_t thread_{};
  queue* next_ = nullptr;  // guarded by the registry
};

template <class Configuration = configuration>
handle<queue> default_queue(device where) {
  queue_registry& registry = all_queues();
  lock hold(registry.guard);
  queue*& found = registry.defaults[where.index];
  if (found == nullptr) found = make_handle<queue>(where).detach();
  return handle<queue>::share(found);
}
HEDDLE_ONCE(handle<queue> default_queue<configuration>(device));

}  // namespace heddle::inline v0::detail
