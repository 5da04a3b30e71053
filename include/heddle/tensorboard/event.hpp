// SPDX-License-Identifier: BSD-3-Clause
// TensorBoard's messages (event.proto, summary.proto, tensor.proto of TensorFlow), as far as they
// are written here.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <protozero/pbf_writer.hpp>

namespace heddle::inline v0::tensorboard::detail {

/// When something was, and at which step.
struct moment {
  double wall = 0;
  std::int64_t step = 0;
};

inline void append_moment(protozero::pbf_writer& event, const moment& at) {
  event.add_double(1, at.wall);
  event.add_int64(2, at.step);
}
inline void append_file_version(std::string& to, const moment& at) {
  protozero::pbf_writer event(to);
  append_moment(event, at);
  event.add_string(3, "brain.Event:2");
}
/// What was logged at this step and later, before, is not valid any more.
inline void append_session_start(std::string& to, const moment& at) {
  protozero::pbf_writer event(to);
  append_moment(event, at);
  protozero::pbf_writer session(event, 7);
  session.add_enum(1, 1);  // START
}

/// An event with one value: fill(value) adds what it holds.
template <class Fill>
void append_value(std::string& to, const moment& at, std::string_view tag, Fill fill) {
  protozero::pbf_writer event(to);
  append_moment(event, at);
  protozero::pbf_writer summary(event, 5);
  protozero::pbf_writer value(summary, 1);
  value.add_string(1, tag.data(), tag.size());
  fill(value);
}

/// Numbers in buckets, each above the limit of the one before.
struct histogram {
  double min = std::numeric_limits<double>::max();
  double max = -std::numeric_limits<double>::max();
  double count = 0;
  double sum = 0;
  double sum_of_squares = 0;
  std::vector<double> limits;
  std::vector<double> counts;
};
inline void append_histogram(protozero::pbf_writer& value, const histogram& h) {
  protozero::pbf_writer message(value, 5);
  message.add_double(1, h.min);
  message.add_double(2, h.max);
  message.add_double(3, h.count);
  message.add_double(4, h.sum);
  message.add_double(5, h.sum_of_squares);
  message.add_packed_double(6, h.limits.begin(), h.limits.end());
  message.add_packed_double(7, h.counts.begin(), h.counts.end());
}

inline void append_image(protozero::pbf_writer& value, std::uint32_t height, std::uint32_t width,
                         int channels, std::string_view png) {
  protozero::pbf_writer message(value, 4);
  message.add_int32(1, static_cast<std::int32_t>(height));
  message.add_int32(2, static_cast<std::int32_t>(width));
  message.add_int32(3, channels);
  message.add_bytes(4, png.data(), png.size());
}

/// A text: a tensor of one string, for the plugin of that name.
inline void append_text(protozero::pbf_writer& value, std::string_view text) {
  {
    protozero::pbf_writer tensor(value, 8);
    tensor.add_enum(1, 7);  // DT_STRING
    {
      protozero::pbf_writer shape(tensor, 2);
      protozero::pbf_writer dim(shape, 2);
      dim.add_int64(1, 1);
    }
    tensor.add_bytes(8, text.data(), text.size());
  }
  protozero::pbf_writer metadata(value, 9);
  protozero::pbf_writer plugin(metadata, 1);
  plugin.add_string(1, "text");
}

}  // namespace heddle::inline v0::tensorboard::detail
