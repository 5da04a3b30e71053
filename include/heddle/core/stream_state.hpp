// SPDX-License-Identifier: BSD-3-Clause
// What streams and events are on a device of some kind: what `stream` and `event` call.
#pragma once

#include <cstddef>
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

class storage;

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

/// One recording of an event.
class event_state : public counted, public pooled {
 public:
  /// Waits here for the point; what failed before it, if anything did.
  virtual handle<failure> wait() noexcept = 0;
  [[nodiscard]] virtual bool query() noexcept = 0;
  /// The event of the device's own run-time, or null.
  [[nodiscard]] virtual void* native() const noexcept { return nullptr; }

  ~event_state() override = default;
};

/// An in-order queue of a device's work.
class stream_state : public counted {
 public:
  explicit stream_state(heddle::device where) noexcept : where_(where) {}
  [[nodiscard]] heddle::device device() const noexcept { return where_; }

  virtual void push(task&& work) = 0;
  /// Waits for everything pushed so far, and throws what failed, once.
  virtual void synchronize() = 0;
  virtual handle<event_state> record() = 0;
  /// What is pushed from now on begins after the event.
  virtual void wait(const handle<event_state>& point) = 0;
  /// The stream of the device's own run-time, or null.
  [[nodiscard]] virtual void* native() const noexcept { return nullptr; }
  /// Told of memory that work on the stream uses; where that is recorded, it is kept with it.
  virtual void keep(storage&) {}

  ~stream_state() override = default;

 private:
  heddle::device where_;
};

}  // namespace detail
}  // namespace heddle::inline v0
