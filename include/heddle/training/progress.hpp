// SPDX-License-Identifier: BSD-3-Clause
// Progress of training on a console: a bar on a terminal, plain lines elsewhere.
#pragma once

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <sys/ioctl.h>
#include <unistd.h>

#include <heddle/training/callback.hpp>

namespace heddle::inline v0 {

/// How progress is shown.
struct console_options {
  /// Whether the stream is a terminal, where a line may be drawn over.
  enum class terminal { automatic, no, yes };
  /// Automatic: std::cout, std::cerr and std::clog are asked, other streams are none.
  terminal is_terminal = terminal::automatic;
  /// Seconds between two drawings of the bar.
  double bar_interval = 0.1;
  /// Seconds between two plain lines within an epoch.
  double line_interval = 30;
  /// Characters in a line of a terminal; 0: as many as it says it has.
  int columns = 0;
};

namespace detail {

inline int descriptor_of(const std::ostream& out) noexcept {
  if (&out == &std::cout) return STDOUT_FILENO;
  return &out == &std::cerr || &out == &std::clog ? STDERR_FILENO : -1;
}

template <class... Values>
void append_format(std::string& text, const char* format, Values... values) {
  char buffer[64];
  const int length = std::snprintf(buffer, sizeof buffer, format, values...);
  text.append(buffer, length < 0 ? 0 : length < 64 ? static_cast<std::size_t>(length) : 63);
}

// "0.4 s", "12 s", "3:07", "1:02:33"
inline void append_duration(std::string& text, double seconds) {
  if (seconds < 9.95) return append_format(text, "%.1f s", seconds);
  if (!(seconds < 3.6e8)) return static_cast<void>(text += "long");
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole < 60) return append_format(text, "%lld s", whole);
  if (whole < 3600) return append_format(text, "%lld:%02lld", whole / 60, whole % 60);
  append_format(text, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
}

// "85.3", "7185", "1.25e+06"
inline void append_rate(std::string& text, double rate) {
  append_format(text,
                rate < 100   ? "%.1f samples/s"
                : rate < 1e6 ? "%.0f samples/s"
                             : "%.3g samples/s",
                rate);
}

inline void append_metrics(std::string& text, const epoch_record& record) {
  for (const named_value& each : record.metrics) {
    text += ", " + each.name;
    append_format(text, " %.4g", each.value);
  }
}

/// What `console_progress` returns.
class console {
 public:
  console(std::ostream& out, const console_options& options) : out_(&out), options_(options) {
    const int descriptor = descriptor_of(out);
    terminal_ = options.is_terminal == console_options::terminal::yes ||
                (options.is_terminal == console_options::terminal::automatic && descriptor >= 0 &&
                 ::isatty(descriptor) == 1);
    columns_ = options.columns;
    winsize size{};
    if (columns_ <= 0 && descriptor >= 0 && ::ioctl(descriptor, TIOCGWINSZ, &size) == 0) {
      columns_ = size.ws_col;
    }
    if (columns_ <= 0) columns_ = 80;
  }

  void on_epoch_begin(training_run&) { shown_ = 0; }
  void on_batch_end(training_run& run) {
    const double now = run.current.seconds;
    if (now - shown_ < (terminal_ ? options_.bar_interval : options_.line_interval)) return;
    shown_ = now;
    std::string line = terminal_ ? bar(run) : plain(run);
    if (terminal_) {
      // A line that wraps could not be drawn over: what does not fit is left out from the end.
      const auto fits = static_cast<std::size_t>(columns_ - 1);
      while (line.size() > fits) {
        const std::size_t comma = line.rfind(", ");
        line.resize(comma != line.npos ? comma : fits);
      }
      *out_ << '\r' << line << "\x1b[K" << std::flush;
      drawn_ = true;
    } else {
      *out_ << line << std::endl;
    }
  }
  void on_epoch_end(training_run& run) {
    std::string line = title(run) + ": ";
    append_format(line, "%lld samples in ", static_cast<long long>(run.current.samples));
    append_duration(line, run.current.seconds);
    line += ", ";
    append_rate(line, rate(run));
    append_metrics(line, run.current);
    clear();
    *out_ << line << std::endl;
  }
  void on_fit_end(training_run& run) {
    if (!run.history.stop_reason.empty())
      *out_ << "stopped: " << run.history.stop_reason << std::endl;
  }
  // What has been drawn stays, so that it can be read, and the message begins a line of its own.
  void on_failure(training_run&) {
    if (drawn_) *out_ << std::endl;
    drawn_ = false;
  }

 private:
  static std::string title(const training_run& run) {
    const std::string last = std::to_string(run.epochs);
    std::string epoch = std::to_string(run.current.epoch);
    if (epoch.size() < last.size()) epoch.insert(0, last.size() - epoch.size(), ' ');
    return "epoch " + epoch + '/' + last;
  }
  static double rate(const training_run& run) {
    const double seconds = run.current.seconds;
    return seconds > 0 ? static_cast<double>(run.current.samples) / seconds : 0;
  }
  static std::string counted(const training_run& run) {
    std::string text = std::to_string(run.current.batches);
    if (run.batches_per_epoch > 0) text += '/' + std::to_string(run.batches_per_epoch);
    return text;
  }
  static void append_remaining(std::string& line, const training_run& run) {
    const std::int64_t left = run.batches_per_epoch - run.current.batches;
    if (left < 0 || run.batches_per_epoch < 0) return;
    line += ", ETA ";
    append_duration(line, run.current.seconds * static_cast<double>(left) /
                              static_cast<double>(run.current.batches));
  }
  static std::string plain(const training_run& run) {
    std::string line = title(run) + ", batch " + counted(run) + ": ";
    append_rate(line, rate(run));
    append_remaining(line, run);
    append_metrics(line, run.current);
    return line;
  }
  static std::string bar(const training_run& run) {
    constexpr std::int64_t width = 20;
    std::string line = title(run) + ' ';
    if (run.batches_per_epoch > 0) {
      const std::int64_t reached = run.current.batches * width / run.batches_per_epoch;
      const auto filled = static_cast<std::size_t>(reached < width ? reached : width);
      line += '[' + std::string(filled, '#') + std::string(width - filled, '-') + "] ";
    }
    line += counted(run) + ", ";
    append_rate(line, rate(run));
    append_remaining(line, run);
    append_metrics(line, run.current);
    return line;
  }
  void clear() {
    if (drawn_) *out_ << "\r\x1b[K";
    drawn_ = false;
  }

  std::ostream* out_;
  console_options options_;
  bool terminal_ = false;
  int columns_ = 80;
  double shown_ = 0;
  bool drawn_ = false;
};

}  // namespace detail

/// Shows training on a stream, which outlives it: on a terminal a bar with samples per second, the
/// time left in the epoch and the means of the metrics so far; elsewhere plain lines, one for each
/// epoch and, within long ones, one each 30 s. A finished epoch leaves its line.
///
///     fit({.epochs = 20, .progress = console_progress(std::cout)}, batches, step);
[[nodiscard]] inline callback console_progress(std::ostream& out,
                                               const console_options& options = {}) {
  return callback(detail::console(out, options));
}

}  // namespace heddle::inline v0
