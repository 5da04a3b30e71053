// SPDX-License-Identifier: BSD-3-Clause
// A lock whose holders can wait for a change with a deadline.
#pragma once

#include <pthread.h>

#include <time.h>

#include <heddle/core/config.hpp>

namespace heddle::inline v0::detail {

/// A point of the monotonic clock.
struct deadline {
  timespec at{};

  /// `seconds` from now; more than about 30 years are taken as that.
  static deadline after(double seconds) noexcept {
    deadline d;
    clock_gettime(CLOCK_MONOTONIC, &d.at);
    seconds = seconds < 0 ? 0 : seconds > 1e9 ? 1e9 : seconds;
    const auto whole = static_cast<long>(seconds);
    d.at.tv_sec += whole;
    d.at.tv_nsec += static_cast<long>((seconds - static_cast<double>(whole)) * 1e9);
    if (d.at.tv_nsec >= 1000000000L) {
      d.at.tv_nsec -= 1000000000L;
      ++d.at.tv_sec;
    }
    return d;
  }
  [[nodiscard]] bool has_passed() const noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec != at.tv_sec ? now.tv_sec > at.tv_sec : now.tv_nsec >= at.tv_nsec;
  }
};

/// Between two questions whether something has happened, 0.1 ms.
inline void pause_briefly() noexcept {
  constexpr timespec length{0, 100'000};
  nanosleep(&length, nullptr);
}

class monitor {
 public:
  monitor() {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed_, &attributes);
    pthread_condattr_destroy(&attributes);
  }
  ~monitor() { pthread_cond_destroy(&changed_); }
  monitor(const monitor&) = delete;
  monitor& operator=(const monitor&) = delete;

  void lock() noexcept { pthread_mutex_lock(&held_); }
  void unlock() noexcept { pthread_mutex_unlock(&held_); }
  void notify_all() noexcept { pthread_cond_broadcast(&changed_); }
  /// The caller holds the lock; spurious returns happen.
  void wait() noexcept { pthread_cond_wait(&changed_, &held_); }
  /// False when the deadline has passed.
  bool wait_until(const deadline& d) noexcept {
    return pthread_cond_timedwait(&changed_, &held_, &d.at) == 0;
  }

  /// Holds a monitor for a scope.
  class [[nodiscard]] scope {
   public:
    explicit scope(monitor& m) noexcept : monitor_(m) { monitor_.lock(); }
    ~scope() { monitor_.unlock(); }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

   private:
    monitor& monitor_;
  };

 private:
  pthread_mutex_t held_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed_;
};

}  // namespace heddle::inline v0::detail
