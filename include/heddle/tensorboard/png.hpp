// SPDX-License-Identifier: BSD-3-Clause
// Pixels as PNG (ISO/IEC 15948): 8 bits a channel, compressed by zlib.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <zlib.h>

#include <heddle/core/error.hpp>

namespace heddle::inline v0::tensorboard::detail {

/// Rows of pixels, one behind the other; channels interleaved: 1 grey, 2 grey and alpha, 3 RGB, 4
/// RGBA.
struct pixels {
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  int channels = 1;
  std::string bytes;
};

inline void append_big_endian(std::string& to, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    to.push_back(static_cast<char>(value >> shift & 0xffu));
}
inline void append_chunk(std::string& to, std::string_view type, std::string_view data) {
  append_big_endian(to, static_cast<std::uint32_t>(data.size()));
  const std::size_t begin = to.size();
  to.append(type).append(data);
  const uLong crc = ::crc32(0, reinterpret_cast<const Bytef*>(to.data() + begin),
                            static_cast<uInt>(to.size() - begin));
  append_big_endian(to, static_cast<std::uint32_t>(crc));
}

/// Throws out_of_memory.
inline std::string png_of(const pixels& image) {
  constexpr char colour_types[] = {0, 0, 4, 2, 6};
  std::string header;
  append_big_endian(header, image.width);
  append_big_endian(header, image.height);
  header += {8, colour_types[image.channels], 0, 0, 0};
  // each row after the number of its filter: none
  std::string rows;
  const std::size_t row = std::size_t{image.width} * static_cast<std::size_t>(image.channels);
  rows.reserve((row + 1) * image.height);
  for (std::size_t y = 0; y < image.height; ++y) {
    rows.push_back(0);
    rows.append(image.bytes, y * row, row);
  }
  uLongf length = ::compressBound(static_cast<uLong>(rows.size()));
  std::string data(length, '\0');
  if (::compress2(reinterpret_cast<Bytef*>(data.data()), &length,
                  reinterpret_cast<const Bytef*>(rows.data()), static_cast<uLong>(rows.size()),
                  Z_DEFAULT_COMPRESSION) != Z_OK) {
    raise<out_of_memory>("heddle::add_image: zlib has no memory to compress ", rows.size(),
                         " bytes");
  }
  data.resize(length);
  std::string made = "\x89PNG\r\n\x1a\n";
  append_chunk(made, "IHDR", header);
  append_chunk(made, "IDAT", data);
  append_chunk(made, "IEND", {});
  return made;
}

}  // namespace heddle::inline v0::tensorboard::detail
