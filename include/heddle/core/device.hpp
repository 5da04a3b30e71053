// SPDX-License-Identifier: BSD-3-Clause
// Devices: what computes and owns memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <heddle/core/config.hpp>
#include <heddle/core/error.hpp>

namespace heddle::inline v0 {

/// What a device is: the processor and its virtual devices, a GPU, or extents without elements.
enum class device_kind : std::uint8_t { host, cuda, meta };

/// How many virtual host devices `cpu(i)` there may be: i is 0 to 63.
inline constexpr int max_host_devices = 64;

/// A device by kind and index; made by `cpu`, `cuda` and `meta`.
struct device {
  device_kind kind = device_kind::host;  ///< with `index`, all that equality compares
  std::int16_t index = -1;               ///< of cpu(i) and cuda(i); -1 for cpu() and meta()

  /// Whether work for this device runs in the caller's thread, before the call returns.
  HEDDLE_HD constexpr bool is_inline() const noexcept {
    return kind == device_kind::host && index < 0;
  }
  /// cpu() or cpu(i): its memory may be read and written here.
  HEDDLE_HD constexpr bool is_host() const noexcept { return kind == device_kind::host; }
  /// cuda(i).
  HEDDLE_HD constexpr bool is_cuda() const noexcept { return kind == device_kind::cuda; }
  /// meta(): there are no elements.
  HEDDLE_HD constexpr bool is_meta() const noexcept { return kind == device_kind::meta; }
  friend constexpr bool operator==(device, device) noexcept = default;
};

/// The host: work runs in the caller's thread.
HEDDLE_HD constexpr device cpu() noexcept { return {device_kind::host, -1}; }

/// Computes extents and costs, and allocates nothing.
HEDDLE_HD constexpr device meta() noexcept { return {device_kind::meta, -1}; }

/// The virtual host device `index`, with a queue, threads and a memory arena of its own.
/// Throws device_error unless 0 <= index < max_host_devices.
constexpr device cpu(int index) {
  if (index < 0 || index >= max_host_devices) {
    raise<device_error>("heddle::cpu: there is no such virtual host device: ", index,
                        "; the index is 0 to ", max_host_devices - 1);
  }
  return {device_kind::host, static_cast<std::int16_t>(index)};
}

/// The CUDA device `index`. Whether it is present is known when it is used.
/// Throws device_error where the index is negative or above 32767.
constexpr device cuda(int index = 0) {
  if (index < 0 || index > 32767) {
    raise<device_error>("heddle::cuda: there is no such device: ", index,
                        "; the index is 0 or more");
  }
  return {device_kind::cuda, static_cast<std::int16_t>(index)};
}

/// "cpu", "cpu:1", "cuda:0", "meta".
inline std::string to_string(device which) {
  std::string text = which.is_host() ? "cpu" : which.is_cuda() ? "cuda" : "meta";
  if (which.index >= 0) text += ':' + std::to_string(which.index);
  return text;
}
HEDDLE_ONCE(void detail::append_part<device>(std::string&, const void*));

/// Reads what `to_string` writes; "cuda" is "cuda:0". Throws device_error for anything else.
inline device parse_device(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  int index = -1;
  bool understood = name == "cpu" || name == "cuda" || (name == "meta" && colon == text.npos);
  if (colon != text.npos) {
    const std::string_view digits = text.substr(colon + 1);
    understood = understood && !digits.empty() && digits.size() <= 5;
    index = 0;
    for (const char digit : digits) {
      understood = understood && digit >= '0' && digit <= '9';
      if (!understood) break;
      index = index * 10 + (digit - '0');
    }
    understood = understood && (name == "cpu" ? index < max_host_devices : index <= 32767);
  }
  if (!understood) {
    raise<device_error>("heddle::parse_device: this names no device: \"", text,
                        "\"; accepted are \"cpu\", \"cpu:0\" to \"cpu:", max_host_devices - 1,
                        "\", \"cuda\", \"cuda:<index>\" and \"meta\"");
  }
  if (name == "meta") return meta();
  if (name == "cuda") return cuda(index < 0 ? 0 : index);
  return index < 0 ? cpu() : cpu(index);
}

}  // namespace heddle::inline v0
