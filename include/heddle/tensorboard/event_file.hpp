// SPDX-License-Identifier: BSD-3-Clause
// One event file: records are gathered in memory and written by a thread of the file's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <heddle/core/monitor.hpp>
#include <heddle/core/threads.hpp>
#include <heddle/io/file.hpp>
#include <heddle/tensorboard/crc32c.hpp>

namespace heddle::inline v0::tensorboard::detail {

using heddle::detail::deadline;
using heddle::detail::monitor;

/// Seconds since 1970.
inline double wall_time() noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

inline std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "localhost";
}

struct event_file_options {
  int max_queue = 10;       ///< events after which the thread writes
  double flush_secs = 120;  ///< seconds after which it does
  std::string suffix;       ///< of the file's name
};

class event_file {
 public:
  /// Makes the directory and the file. Throws io_error.
  event_file(const std::string& directory, event_file_options options)
      : options_(std::move(options)) {
    constexpr const char* name = "summary_writer";
    std::error_code failed;
    std::filesystem::create_directories(directory, failed);
    if (failed) {
      heddle::detail::raise_system(name, "the directory cannot be made", directory, failed.value(),
                                   "name one in a directory that can be written to");
    }
    static std::atomic<unsigned> numbers{0};
    char time[24];
    std::snprintf(time, sizeof time, "%010lld", static_cast<long long>(wall_time()));
    path_ = directory + "/events.out.tfevents." + time + '.' + host_name() + '.' +
            std::to_string(::getpid()) + '.' + std::to_string(numbers++) + options_.suffix;
    file_ = heddle::detail::file_descriptor(
        heddle::detail::open_again(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0666));
    if (file_.number() < 0) {
      heddle::detail::raise_system(name, "the event file cannot be created", path_, errno,
                                   "name a directory that can be written to");
    }
    thread_ = heddle::detail::start_thread(&run, this);
  }
  event_file(const event_file&) = delete;
  event_file& operator=(const event_file&) = delete;
  ~event_file() {
    try {
      close();
    } catch (...) {  // who wants to know calls close
    }
  }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Appends a record of what fill(std::string&) appends. Throws io_error where the thread could
  /// not write since the last call; state_error after close.
  template <class Fill>
  void add(Fill fill) {
    const monitor::scope hold(guard_);
    if (ending_) {
      raise<state_error>("heddle::summary_writer: it is closed: ", path_,
                         "; make another one to write on");
    }
    payload_.clear();
    fill(payload_);
    append_record(pending_, payload_);
    if (++events_ >= options_.max_queue && !wanted_) {
      wanted_ = true;
      guard_.notify_all();
    }
    throw_failure();
  }

  /// Returns when all that was added is in the file. Throws io_error; what could not be written is
  /// kept, and written by a later flush that can.
  void flush() {
    const monitor::scope hold(guard_);
    write_all();
    throw_failure();
  }
  /// Flushes and ends the thread. Throws as flush; after that nothing can be added.
  void close() {
    {
      const monitor::scope hold(guard_);
      if (ending_) return;
      ending_ = true;
      guard_.notify_all();
    }
    pthread_join(thread_, nullptr);
    const monitor::scope hold(guard_);
    write_all();
    int code = failed_;
    const int closed = file_.close();
    if (code == 0) code = closed;
    failed_ = code;
    throw_failure();
  }

 private:
  static void* run(void* self) {
    static_cast<event_file*>(self)->write_on();
    return nullptr;
  }
  void write_on() noexcept {
    const monitor::scope hold(guard_);
    deadline until = deadline::after(options_.flush_secs);
    while (!ending_) {
      if (!wanted_ && guard_.wait_until(until)) continue;
      wanted_ = false;
      write_pending();
      until = deadline::after(options_.flush_secs);
    }
  }

  // The caller holds guard_. While bytes are on their way others may add: it is let go meanwhile.
  void write_pending() noexcept {
    while (writing_) guard_.wait();
    if (written_.empty()) {  // otherwise what could not be written goes first
      written_.swap(pending_);
      events_ = 0;
    }
    if (written_.empty()) return;
    writing_ = true;
    guard_.unlock();
    const int code = write_whole(written_);
    guard_.lock();
    if (code == 0) written_.clear();
    failed_ = code;
    writing_ = false;
    guard_.notify_all();
  }
  void write_all() noexcept {
    write_pending();
    if (failed_ == 0) write_pending();
  }
  /// Appends whole records, or nothing. An error number, or 0.
  int write_whole(std::string_view bytes) noexcept {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t part = ::write(file_.number(), bytes.data() + done, bytes.size() - done);
      if (part < 0 && errno == EINTR) continue;
      if (part <= 0) {
        const int code = part < 0 ? errno : ENOSPC;
        if (done > 0 && ::ftruncate(file_.number(), length_) == 0) {
          ::lseek(file_.number(), length_, SEEK_SET);
        }
        return code;
      }
      done += static_cast<std::size_t>(part);
    }
    length_ += static_cast<off_t>(bytes.size());
    return 0;
  }
  void throw_failure() {
    if (failed_ == 0) return;
    const int code = std::exchange(failed_, 0);
    heddle::detail::raise_system("summary_writer", "the event file cannot be written", path_, code,
                                 "what is not in the file yet is kept for the next flush");
  }

  event_file_options options_;
  std::string path_;
  heddle::detail::file_descriptor file_;
  off_t length_ = 0;
  pthread_t thread_{};
  monitor guard_;        // guards all below
  std::string pending_;  // whole records
  std::string written_;  // on their way to the file
  std::string payload_;  // of the record that is made
  int events_ = 0;       // in pending_
  int failed_ = 0;       // an error number that nobody was told of
  bool wanted_ = false;  // the thread is to write
  bool writing_ = false;
  bool ending_ = false;
};

}  // namespace heddle::inline v0::tensorboard::detail
