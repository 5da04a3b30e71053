// SPDX-License-Identifier: BSD-3-Clause
// Where the stand-in's device memory lies. The program cannot reach it, as on a GPU: only while a
// `device_memory::open` lives, which is while the devices work, are there any rights to it.
#pragma once

#include <cstddef>

namespace stand_in::device_memory {

/// Aligned as `bytes` and all asked for before are; null where there is no room.
[[nodiscard]] std::byte* take(std::size_t bytes);
/// Gives back what take(bytes) answered.
void give_back(std::byte* memory, std::size_t bytes);

class [[nodiscard]] open {
 public:
  open();
  ~open();
  open(const open&) = delete;
  open& operator=(const open&) = delete;
};

/// Takes the rights away for as long as it lives: around the program's own code.
class [[nodiscard]] closed {
 public:
  closed();
  ~closed();
  closed(const closed&) = delete;
  closed& operator=(const closed&) = delete;
};

}  // namespace stand_in::device_memory
