// SPDX-License-Identifier: BSD-3-Clause
// Mutex, condition and thread over POSIX threads: their standard counterparts cost 0.15 s of
// compile time in every unit.
#pragma once

#include <pthread.h>

#include <heddle/core/config.hpp>
#include <heddle/core/error.hpp>

namespace heddle::inline v0::detail {

class mutex {
 public:
  /// Asks for a mutex of zeros, so that an object full of zeros takes no room in the program's
  /// file.
  struct zeros {};

  constexpr mutex() noexcept = default;
  constexpr explicit mutex(zeros) noexcept : native_ PTHREAD_MUTEX_INITIALIZER {}
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  void lock() noexcept { pthread_mutex_lock(&native_); }
  bool try_lock() noexcept { return pthread_mutex_trylock(&native_) == 0; }
  void unlock() noexcept { pthread_mutex_unlock(&native_); }

 private:
  friend class condition;
#if defined(PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP)
  // Tries a little before it sleeps: everything here is held for a few instructions.
  pthread_mutex_t native_ = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
#else
  pthread_mutex_t native_ = PTHREAD_MUTEX_INITIALIZER;
#endif
};

/// Holds a mutex for a scope; may let go of it early.
class [[nodiscard]] lock {
 public:
  explicit lock(mutex& held) noexcept : held_(&held) { held.lock(); }
  ~lock() {
    if (held_ != nullptr) held_->unlock();
  }
  lock(const lock&) = delete;
  lock& operator=(const lock&) = delete;

  void unlock() noexcept {
    held_->unlock();
    held_ = nullptr;
  }

 private:
  mutex* held_;
};

class condition {
 public:
  constexpr condition() noexcept = default;
  condition(const condition&) = delete;
  condition& operator=(const condition&) = delete;

  /// The caller holds `held`; spurious returns happen.
  void wait(mutex& held) noexcept { pthread_cond_wait(&native_, &held.native_); }
  void notify_all() noexcept { pthread_cond_broadcast(&native_); }
  void notify_one() noexcept { pthread_cond_signal(&native_); }

 private:
  pthread_cond_t native_ = PTHREAD_COND_INITIALIZER;
};

/// The index of the virtual host device this thread works for; -1 in threads of the user's.
inline constinit thread_local int this_thread_device = -1;

/// Starts a thread that runs `body(argument)`; the caller joins it. Throws state_error.
inline pthread_t start_thread(void* (*body)(void*), void* argument) {
  pthread_t started{};
  if (pthread_create(&started, nullptr, body, argument) != 0) {
    raise<state_error>("heddle::start_thread: the system refused another thread; raise its limit");
  }
  return started;
}

}  // namespace heddle::inline v0::detail
