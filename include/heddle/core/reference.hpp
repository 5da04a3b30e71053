// SPDX-License-Identifier: BSD-3-Clause
// Counted references without atomic read-modify-writes on the thread that made the object.
//
// The scheme is biased reference counting (Choi, Shull, Torrellas, "Biased Reference Counting",
// PACT 2018). Each object has an owner, and two counts whose sum is the number of handles:
//   biased   changed by the owner alone, with plain loads and stores;
//   shared   changed by everybody else, atomically; it may fall below zero.
// When the owner's count reaches zero it gives the object up ("merged"): from then on the shared
// count alone decides. When another thread is about to take the shared count below zero it leaves
// its handle in the owner's mailbox instead, and the owner merges the two counts when it next
// looks.
//
// The owner is not a thread but a `mailbox` that a thread holds while it lives. A mailbox that
// nobody holds is emptied by whoever would leave something in it, and is handed to a thread started
// later.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <heddle/core/config.hpp>
#include <heddle/core/threads.hpp>

namespace heddle::inline v0 {

class counted;

namespace detail {

struct mailbox {
  mutex guard;
  counted* head = nullptr;               // guarded
  bool held = false;                     // guarded
  std::atomic<bool> has_letters{false};  // a hint for the holder
  mailbox* next = nullptr;               // list of mailboxes that nobody holds
};

struct mailbox_list {
  mutex guard;
  mailbox* head = nullptr;
};

inline mailbox_list& unheld_mailboxes() noexcept {
  static constinit mailbox_list list;
  return list;
}

struct thread_identity {
  mailbox* held = nullptr;
  bool ended = false;  // the thread is past its thread-local destructors: it owns nothing any more
};

inline constinit thread_local thread_identity this_thread;

void enter_mailbox();
void empty_mailbox(mailbox& box) noexcept;

}  // namespace detail

/// The base of objects that handles count. Starts with one reference, which `handle` adopts.
class counted {
 public:
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;

  /// Adds a reference; any thread that already has one may.
  void retain() noexcept {
    if (is_mine()) {
      biased_.store(biased_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    } else {
      shared_.fetch_add(one, std::memory_order_relaxed);
    }
  }

  /// Drops a reference; with the last one the object is disposed of, at once or, where its owner
  /// holds references that other threads dropped, when the owner next makes an object, or calls
  /// `collect_references`.
  void release() noexcept {
    if (is_mine()) {
      const std::int32_t left = biased_.load(std::memory_order_relaxed) - 1;
      biased_.store(left, std::memory_order_relaxed);
      if (left == 0) release_last_biased();
    } else {
      release_shared();
    }
  }

  /// Gives the object up to all threads alike: it is disposed of by whoever drops the last
  /// reference, at once. Only the owner's call has an effect; use it before handing an object to
  /// another thread.
  void share() noexcept {
    if (is_mine()) merge(0);
  }

  /// Whether the caller's reference is certainly the only one. On threads other than the owner's,
  /// and while a reference waits for the owner to collect it, the answer may be a cautious no.
  [[nodiscard]] bool is_unique() const noexcept {
    const std::int32_t shared = shared_.load(std::memory_order_acquire);
    if (is_mine()) return biased_.load(std::memory_order_relaxed) + (shared >> flag_bits) == 1;
    return shared == (one | merged);
  }

 protected:
  counted() {
    if (detail::this_thread.held == nullptr) [[unlikely]] {
      detail::enter_mailbox();
      if (detail::this_thread.held == nullptr) {
        biased_.store(0, std::memory_order_relaxed);
        shared_.store(one | merged, std::memory_order_relaxed);
        return;
      }
    }
    owner_.store(detail::this_thread.held, std::memory_order_relaxed);
    if (detail::this_thread.held->has_letters.load(std::memory_order_relaxed)) [[unlikely]] {
      detail::empty_mailbox(*detail::this_thread.held);
    }
  }
  virtual ~counted() = default;

  /// Destroys the object and returns its memory.
  virtual void dispose() noexcept { delete this; }

 private:
  friend void detail::empty_mailbox(detail::mailbox& box) noexcept;

  // shared_ is count * 4 + flags.
  static constexpr int flag_bits = 2;
  static constexpr std::int32_t one = 1 << flag_bits;
  static constexpr std::int32_t merged = 1;
  static constexpr std::int32_t queued = 2;

  // True only on the owner's thread: no other thread's mailbox can be the one stored. A merged
  // object has none, and a thread without one is nobody's owner.
  bool is_mine() const noexcept {
    const detail::mailbox* mine = detail::this_thread.held;
    return mine != nullptr && owner_.load(std::memory_order_relaxed) == mine;
  }

  HEDDLE_NOINLINE void release_last_biased() noexcept {
    // Nobody else has a reference: no read-modify-write is needed.
    if (shared_.load(std::memory_order_acquire) == 0) {
      dispose();
      return;
    }
    if (merge(0)) dispose();
  }

  // Called by the owner, or for an owner that nobody holds, under its guard. Adds the biased count
  // and `change` to the shared one; returns whether the object is dead.
  bool merge(std::int32_t change) noexcept {
    const std::int32_t count = biased_.load(std::memory_order_relaxed) + change;
    biased_.store(0, std::memory_order_relaxed);
    owner_.store(nullptr, std::memory_order_relaxed);
    std::int32_t seen = shared_.load(std::memory_order_relaxed);
    std::int32_t wanted = 0;
    do {
      wanted = (((seen >> flag_bits) + count) * one) | merged;
    } while (!shared_.compare_exchange_weak(seen, wanted, std::memory_order_acq_rel,
                                            std::memory_order_relaxed));
    return wanted == merged;
  }

  HEDDLE_NOINLINE void release_shared() noexcept {
    std::int32_t seen = shared_.load(std::memory_order_relaxed);
    std::int32_t wanted = 0;
    do {
      // Below zero the owner must learn of it; the mailbox then has this reference.
      wanted = seen == 0 ? queued : seen - one;
    } while (!shared_.compare_exchange_weak(seen, wanted, std::memory_order_acq_rel,
                                            std::memory_order_relaxed));
    if (seen == 0) {
      post();
    } else if (wanted == merged) {
      dispose();
    }
  }

  // Leaves the caller's reference with the owner, or drops it where there is none any more.
  void post() noexcept {
    detail::mailbox* owner = owner_.load(std::memory_order_relaxed);
    if (owner != nullptr) {
      detail::lock hold(owner->guard);
      if (owner->held) {
        next_ = owner->head;
        owner->head = this;
        owner->has_letters.store(true, std::memory_order_relaxed);
        return;
      }
      if (owner_.load(std::memory_order_relaxed) == owner) {
        const bool dead = merge(-1);
        hold.unlock();
        if (dead) dispose();
        return;
      }
    }
    const std::int32_t left = shared_.fetch_sub(one, std::memory_order_acq_rel) - one;
    if (left == merged) dispose();
  }

  // The owner takes a letter from its mailbox.
  void receive() noexcept {
    if (is_mine()) {
      if (merge(-1)) dispose();
    } else if (shared_.fetch_sub(one, std::memory_order_acq_rel) - one == merged) {
      dispose();
    }
  }

  std::atomic<detail::mailbox*> owner_{nullptr};
  std::atomic<std::int32_t> biased_{1};
  std::atomic<std::int32_t> shared_{0};
  counted* next_ = nullptr;  // guarded by the mailbox that holds this object
};

/// Disposes of objects of this thread whose last reference another thread dropped.
inline void collect_references() noexcept {
  if (detail::this_thread.held != nullptr) detail::empty_mailbox(*detail::this_thread.held);
}

namespace detail {

// Takes and handles the letters until there are none; run by the holder.
HEDDLE_NOINLINE inline void empty_mailbox(mailbox& box) noexcept {
  for (;;) {
    counted* letters = nullptr;
    {
      lock hold(box.guard);
      letters = std::exchange(box.head, nullptr);
      box.has_letters.store(false, std::memory_order_relaxed);
    }
    if (letters == nullptr) return;
    while (letters != nullptr) {
      counted* letter = std::exchange(letters, letters->next_);
      letter->receive();
    }
  }
}

// Gives the mailbox back when its thread ends.
struct mailbox_holder {
  bool engaged = false;
  ~mailbox_holder() {
    mailbox* box = this_thread.held;
    if (box == nullptr) return;
    for (;;) {
      empty_mailbox(*box);
      lock hold(box->guard);
      if (box->head != nullptr) continue;
      box->held = false;
      break;
    }
    this_thread.held = nullptr;
    this_thread.ended = true;
    mailbox_list& list = unheld_mailboxes();
    lock hold(list.guard);
    box->next = list.head;
    list.head = box;
  }
};

HEDDLE_NOINLINE inline void enter_mailbox() {
  if (this_thread.ended) return;
  static thread_local mailbox_holder holder;
  holder.engaged = true;
  mailbox* box = nullptr;
  {
    mailbox_list& list = unheld_mailboxes();
    lock hold(list.guard);
    box = list.head;
    if (box != nullptr) list.head = box->next;
  }
  // Mailboxes are never freed: objects may name theirs for as long as the process lives. There are
  // no more of them than there were threads at one time.
  if (box == nullptr) box = new mailbox;
  lock hold(box->guard);
  box->held = true;
  this_thread.held = box;
}

}  // namespace detail

/// A counted reference to a T, which derives from `counted`. Copies share. A handle may be used by
/// one thread at a time; different handles to one object by any threads at once.
template <class T>
class handle {
 public:
  constexpr handle() noexcept = default;
  constexpr handle(std::nullptr_t) noexcept {}
  handle(const handle& other) noexcept : object_(other.object_) {
    if (object_ != nullptr) object_->retain();
  }
  handle(handle&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class Derived>
  requires std::is_convertible_v<Derived*, T*> handle(handle<Derived> other)
  noexcept : object_(other.detach()) {}
  handle& operator=(const handle& other) noexcept {
    handle copy(other);
    swap(copy);
    return *this;
  }
  handle& operator=(handle&& other) noexcept {
    handle taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~handle() {
    if (object_ != nullptr) object_->release();
  }

  /// Takes over a reference that the caller has; `new T` comes with one.
  [[nodiscard]] static handle adopt(T* object) noexcept {
    handle result;
    result.object_ = object;
    return result;
  }
  /// Adds a reference of its own.
  [[nodiscard]] static handle share(T* object) noexcept {
    if (object != nullptr) object->retain();
    return adopt(object);
  }
  /// Lets go without dropping the reference; the caller has it now.
  [[nodiscard]] T* detach() noexcept { return std::exchange(object_, nullptr); }

  /// Exchanges objects; no count changes.
  void swap(handle& other) noexcept { std::swap(object_, other.object_); }
  /// Drops the reference; null afterwards.
  void reset() noexcept { handle().swap(*this); }

  /// The object, which is there while a handle to it is; null where there is none.
  [[nodiscard]] T* get() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  T* operator->() const noexcept { return object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  friend bool operator==(const handle& a, const handle& b) noexcept {
    return a.object_ == b.object_;
  }
  friend bool operator==(const handle& a, std::nullptr_t) noexcept { return a.object_ == nullptr; }

 private:
  T* object_ = nullptr;
};

/// A new T and the first handle to it.
template <class T, class... Arguments>
[[nodiscard]] handle<T> make_handle(Arguments&&... arguments) {
  return handle<T>::adopt(new T(std::forward<Arguments>(arguments)...));
}

}  // namespace heddle::inline v0
