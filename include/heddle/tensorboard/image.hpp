// SPDX-License-Identifier: BSD-3-Clause
// Tensors as pixels.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include <heddle/tensorboard/elements.hpp>
#include <heddle/tensorboard/png.hpp>

namespace heddle::inline v0::tensorboard::detail {

/// The pixels of a tensor whose axes `format` names: H, W and, but for grey, C.
inline pixels pixels_of(const any_tensor& given, std::string_view format) {
  if (format != "CHW" && format != "HWC" && format != "HW") {
    raise<value_error>("heddle::add_image: there is no such format: \"", format,
                       "\"; CHW, HWC and HW are known");
  }
  if (given.rank() != static_cast<int>(format.size())) {
    raise<shape_error>("heddle::add_image: the rank is not the format's: ", given.rank(), "; ",
                       format, " has ", format.size(), " axes");
  }
  if (given.dtype() != dtype::u8 && !is_floating(given.dtype())) {
    raise<type_error>("heddle::add_image: pixels cannot be ", given.dtype(),
                      "; u8 from 0 to 255 and floats from 0 to 1 are expected");
  }
  const any_tensor x = given.to(cpu()).contiguous();
  const auto axis = [&](char name) { return format.find(name); };
  const std::int64_t height = x.extents()[axis('H')], width = x.extents()[axis('W')];
  const std::int64_t channels = format.size() == 2 ? 1 : x.extents()[axis('C')];
  if (channels != 1 && channels != 3 && channels != 4) {
    raise<shape_error>("heddle::add_image: an image cannot have ", channels,
                       " channels; 1, 3 and 4 are known");
  }
  constexpr std::int64_t most = 1 << 15;
  if (height < 1 || width < 1 || height > most || width > most) {
    raise<shape_error>("heddle::add_image: the image is empty or too large: ", height, " x ", width,
                       "; 1 to ", most, " pixels a side are possible");
  }
  pixels made{static_cast<std::uint32_t>(height),
              static_cast<std::uint32_t>(width),
              static_cast<int>(channels),
              {}};
  made.bytes.reserve(static_cast<std::size_t>(height * width * channels));
  const bool planes = format.front() == 'C';
  with_elements(x, [&]<class T>(const T* values) {
    for (std::int64_t i = 0; i < height * width; ++i) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const T v = values[planes ? c * height * width + i : i * channels + c];
        if constexpr (std::is_same_v<T, std::uint8_t>) {
          made.bytes.push_back(static_cast<char>(v));
        } else {
          const double scaled = static_cast<double>(v) * 255;
          const double level = !(scaled > 0) ? 0 : scaled > 255 ? 255 : scaled;
          made.bytes.push_back(static_cast<char>(static_cast<unsigned char>(level)));
        }
      }
    }
  });
  return made;
}

}  // namespace heddle::inline v0::tensorboard::detail
