// SPDX-License-Identifier: BSD-3-Clause
// Named ranges for NVIDIA's profilers: one a statement, one a module's call.
#pragma once

#include <cstdlib>

#include <nvtx3/nvToolsExt.h>

#include <heddle/core/site.hpp>

namespace heddle::inline v0::detail {

/// Whether a profiler listens. It says so in the environment before the process starts.
inline bool ranges_are_read() noexcept {
  static const bool read = std::getenv("NVTX_INJECTION64_PATH") != nullptr;
  return read;
}

inline void push_range(const char* name) noexcept { static_cast<void>(nvtxRangePushA(name)); }
inline void pop_range() noexcept { static_cast<void>(nvtxRangePop()); }

/// The range of a launch: the statement's file, its line as the payload.
class launch_range {
 public:
  explicit launch_range(const char* function) noexcept : open_(ranges_are_read()) {
    if (!open_) return;
    const source_place at = current_statement();
    nvtxEventAttributes_t range{};
    range.version = NVTX_VERSION;
    range.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    range.messageType = NVTX_MESSAGE_TYPE_ASCII;
    range.message.ascii = at.line != 0 ? at.file : function;
    range.payloadType = NVTX_PAYLOAD_TYPE_INT32;
    range.payload.iValue = at.line;
    static_cast<void>(nvtxRangePushEx(&range));
  }
  ~launch_range() {
    if (open_) pop_range();
  }
  launch_range(const launch_range&) = delete;
  launch_range& operator=(const launch_range&) = delete;

 private:
  bool open_;
};

}  // namespace heddle::inline v0::detail
