// SPDX-License-Identifier: BSD-3-Clause
// summary_writer: what happens in a training, for TensorBoard. Needs the target heddle::io.
#pragma once

#include <cstdint>
#include <ctime>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heddle/tensorboard/event_file.hpp>
#include <heddle/tensorboard/histogram.hpp>
#include <heddle/tensorboard/image.hpp>

namespace heddle::inline v0::tensorboard {

/// PyTorch's arguments of SummaryWriter, and its defaults.
struct writer_options {
  /// Where the event files go; empty: `runs/<Mon><dd>_<HH-MM-SS>_<host><comment>`.
  std::string log_dir = {};
  /// Ends the name of the usual directory; not used where log_dir is given.
  std::string comment = {};
  /// After a restart: what an earlier run logged at this step and later is not shown any more.
  std::optional<std::int64_t> purge_step = {};
  /// Events after which the writer's thread brings them to the file,
  int max_queue = 10;
  /// and seconds after which it does.
  double flush_secs = 120;
  /// Ends the names of the event files.
  std::string filename_suffix = {};
};

/// Writes event files that TensorBoard reads, as PyTorch's SummaryWriter. Adding takes well under a
/// microsecond and does not wait for the disk: a thread of the writer's writes. May be used by
/// several threads.
///
///     heddle::tensorboard::summary_writer writer({.log_dir = "runs/first"});
///     writer.add_scalar("loss", loss.item(), step);
///
/// Every add function throws value_error for an empty tag, io_error where the file could not be
/// written since the last call, and state_error after close. Nothing that was added is lost by such
/// an error: the next flush tries again. The destructor closes, and drops what went wrong then.
class summary_writer {
 public:
  /// Makes the directory, and the first event file in it. Throws io_error; value_error for options
  /// that are not positive.
  explicit summary_writer(writer_options options = {}) : options_(std::move(options)) {
    if (options_.max_queue < 1 || !(options_.flush_secs > 0)) {
      raise<value_error>("heddle::summary_writer: max_queue and flush_secs are to be positive: ",
                         options_.max_queue, ", ", options_.flush_secs,
                         "; PyTorch's defaults are 10 and 120");
    }
    if (options_.log_dir.empty()) options_.log_dir = usual_directory(options_.comment);
    main_ = open(options_.log_dir);
  }
  explicit summary_writer(const char* log_dir)
      : summary_writer(writer_options{.log_dir = log_dir}) {}

  /// The directory of the event files: the one asked for, or the usual one.
  [[nodiscard]] const std::string& log_dir() const noexcept { return options_.log_dir; }

  /// One point of a curve.
  void add_scalar(std::string_view tag, double value, std::int64_t step = 0) {
    check_tag("add_scalar", tag);
    add_scalar_to(*main_, tag, value, step);
  }
  /// One point each of several curves in one chart: curve `name` is a run of its own, in the
  /// directory log_dir/tag_name, with / in the tag as _.
  void add_scalars(std::string_view tag,
                   std::initializer_list<std::pair<std::string_view, double>> values,
                   std::int64_t step = 0) {
    check_tag("add_scalars", tag);
    for (const auto& [name, value] : values) {
      check_tag("add_scalars", name);
      std::string directory(tag);
      for (char& c : directory) c = c == '/' ? '_' : c;
      add_scalar_to(file_of(options_.log_dir + '/' + directory + '_' + std::string(name)), tag,
                    value, step);
    }
  }
  /// Markdown.
  void add_text(std::string_view tag, std::string_view text, std::int64_t step = 0) {
    check_tag("add_text", tag);
    add(step, std::string(tag) + "/text_summary",
        [&](protozero::pbf_writer& value) { detail::append_text(value, text); });
  }
  /// How the elements of x are distributed, over TensorFlow's buckets. x: any dtype, rank and
  /// device; its device is waited for. Throws value_error for no elements, NaN and infinities.
  void add_histogram(std::string_view tag, const any_tensor& x, std::int64_t step = 0) {
    check_tag("add_histogram", tag);
    add_histogram_of(tag, detail::count_elements(x, detail::usual_edges()), step);
  }
  /// Over buckets between `edges`, at least two, ascending. Throws value_error.
  void add_histogram(std::string_view tag, const any_tensor& x, std::int64_t step,
                     const std::vector<double>& edges) {
    check_tag("add_histogram", tag);
    bool ascending = edges.size() >= 2;
    for (std::size_t k = 1; k < edges.size(); ++k) ascending = ascending && edges[k - 1] < edges[k];
    if (!ascending) {
      raise<value_error>("heddle::add_histogram: the edges are not ascending: ", edges.size(),
                         " edges; two at least are expected, each above the one before");
    }
    add_histogram_of(tag, detail::count_elements(x, edges), step);
  }
  /// One image of `format` "CHW", "HWC" or "HW", with 1 (grey), 3 (RGB) or 4 (RGBA) channels: u8
  /// from 0 to 255, or floats from 0 to 1, clamped; NaN is 0. Any device; it is waited for. Throws
  /// shape_error, type_error, value_error for another format.
  void add_image(std::string_view tag, const any_tensor& x, std::int64_t step = 0,
                 std::string_view format = "CHW") {
    check_tag("add_image", tag);
    const detail::pixels image = detail::pixels_of(x, format);
    const std::string png = detail::png_of(image);
    add(step, tag, [&](protozero::pbf_writer& value) {
      detail::append_image(value, image.height, image.width, image.channels, png);
    });
  }

  /// Returns when everything that was added is in the files. Throws io_error.
  void flush() {
    const heddle::detail::lock hold(guard_);
    main_->flush();
    for (const auto& [directory, file] : others_) file->flush();
  }
  /// Flushes and ends the writer's threads. Throws io_error.
  void close() {
    const heddle::detail::lock hold(guard_);
    main_->close();
    for (const auto& [directory, file] : others_) file->close();
  }

 private:
  static std::string usual_directory(const std::string& comment) {
    const std::time_t now = std::time(nullptr);
    std::tm here{};
    localtime_r(&now, &here);
    char text[32];
    std::strftime(text, sizeof text, "%b%d_%H-%M-%S", &here);
    return std::string("runs/") + text + '_' + detail::host_name() + comment;
  }
  static void check_tag(const char* function, std::string_view tag) {
    if (tag.empty()) {
      raise<value_error>("heddle::", function, ": the tag is empty; name the curve");
    }
  }

  std::unique_ptr<detail::event_file> open(const std::string& directory) const {
    auto made = std::make_unique<detail::event_file>(
        directory, detail::event_file_options{options_.max_queue, options_.flush_secs,
                                              options_.filename_suffix});
    const detail::moment begin{detail::wall_time(), options_.purge_step.value_or(0)};
    made->add([&](std::string& to) { detail::append_file_version(to, begin); });
    if (options_.purge_step) {
      made->add([&](std::string& to) { detail::append_session_start(to, begin); });
    }
    return made;
  }
  detail::event_file& file_of(const std::string& directory) {
    const heddle::detail::lock hold(guard_);
    std::unique_ptr<detail::event_file>& found = others_[directory];
    if (found == nullptr) found = open(directory);
    return *found;
  }

  static void add_scalar_to(detail::event_file& file, std::string_view tag, double value,
                            std::int64_t step) {
    const detail::moment now{detail::wall_time(), step};
    file.add([&](std::string& to) {
      detail::append_value(to, now, tag, [&](protozero::pbf_writer& message) {
        message.add_float(2, static_cast<float>(value));
      });
    });
  }
  template <class Fill>
  void add(std::int64_t step, std::string_view tag, Fill fill) {
    const detail::moment now{detail::wall_time(), step};
    main_->add([&](std::string& to) { detail::append_value(to, now, tag, fill); });
  }
  void add_histogram_of(std::string_view tag, const detail::histogram& h, std::int64_t step) {
    add(step, tag, [&](protozero::pbf_writer& value) { detail::append_histogram(value, h); });
  }

  writer_options options_;
  std::unique_ptr<detail::event_file> main_;
  heddle::detail::mutex guard_;
  std::map<std::string, std::unique_ptr<detail::event_file>> others_;  // by directory; guarded
};

}  // namespace heddle::inline v0::tensorboard
