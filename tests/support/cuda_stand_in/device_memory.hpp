// SPDX-License-Identifier: BSD-3-Clause
// Where the stand-in's device memory lies. The program cannot reach it, as on a GPU: only while a
// `device_memory::scope` lives, which is while the devices work, are there any rights to it.
#pragma once

#include <cstddef>

namespace stand_in::device_memory {

/// Aligned as `bytes` and all asked for before are; null where there is no room.
[[nodiscard]] std::byte* take(std::size_t bytes);
/// Gives back what take(bytes) answered.
void give_back(std::byte* memory, std::size_t bytes);

enum class use {
  devices,  ///< while operations run
  program,  ///< while one of them runs the program's own code: takes the rights of `devices` away
  stand_in  ///< for what a call of the runtime does itself, in any thread: goes before both
};

class [[nodiscard]] scope {
 public:
  explicit scope(use by);
  ~scope();
  scope(const scope&) = delete;
  scope& operator=(const scope&) = delete;

 private:
  use by_;
};

}  // namespace stand_in::device_memory
