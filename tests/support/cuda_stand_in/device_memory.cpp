// SPDX-License-Identifier: BSD-3-Clause
// Pages whose rights change together.
#include "device_memory.hpp"

#include <cstdlib>
#include <map>
#include <mutex>
#include <sys/mman.h>

namespace stand_in::device_memory {

namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t room = std::size_t{1} << 34;
constexpr std::size_t large = std::size_t{1} << 18;

std::size_t in_pages(std::size_t bytes) { return (bytes + page - 1) / page * page; }

std::byte* map_closed(std::size_t bytes) {
  void* const made =
      mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return made == MAP_FAILED ? nullptr : static_cast<std::byte*>(made);
}

/// Small allocations are neighbours, so that one call changes the rights of all; large ones are
/// mapped by themselves.
class region {
 public:
  static region& instance() {
    static auto* const one = new region;  // a program's last tensors may outlive everything static
    return *one;
  }

  std::byte* take(std::size_t bytes) {
    const std::lock_guard<std::mutex> hold(guard_);
    if (bytes >= large) {
      std::byte* const memory = map_closed(in_pages(bytes));
      if (memory == nullptr) return nullptr;
      large_.emplace(memory, in_pages(bytes));
      if (is_open()) set(memory, in_pages(bytes));
      return memory;
    }
    const auto again = free_.find(bytes);
    if (again != free_.end()) {
      std::byte* const memory = again->second;
      free_.erase(again);
      return memory;
    }
    if (begin_ == nullptr) begin_ = map_closed(room);
    if (begin_ == nullptr || bytes > room - used_) return nullptr;
    std::byte* const memory = begin_ + used_;
    const std::size_t before = in_pages(used_);
    used_ += bytes;
    if (is_open()) set(begin_ + before, in_pages(used_) - before);
    return memory;
  }
  void give_back(std::byte* memory, std::size_t bytes) {
    const std::lock_guard<std::mutex> hold(guard_);
    if (bytes < large) {
      free_.emplace(bytes, memory);
    } else {
      large_.erase(memory);
      munmap(memory, in_pages(bytes));
    }
  }
  void count(use by, int more) {
    const std::lock_guard<std::mutex> hold(guard_);
    const bool before = is_open();
    uses_[static_cast<int>(by)] += more;
    if (is_open() == before) return;
    set(begin_, in_pages(used_));
    for (const auto& [memory, bytes] : large_) set(memory, bytes);
  }

 private:
  [[nodiscard]] bool is_open() const {
    const auto any = [&](use by) { return uses_[static_cast<int>(by)] > 0; };
    return any(use::stand_in) || (any(use::devices) && !any(use::program));
  }
  /// Gives pages the rights of the moment.
  void set(std::byte* memory, std::size_t bytes) const {
    const int rights = is_open() ? PROT_READ | PROT_WRITE : PROT_NONE;
    if (bytes > 0 && mprotect(memory, bytes, rights) != 0) std::abort();
  }

  std::mutex guard_;
  std::byte* begin_ = nullptr;
  std::size_t used_ = 0;
  std::multimap<std::size_t, std::byte*> free_;  // by bytes
  std::map<std::byte*, std::size_t> large_;
  int uses_[3] = {};
};

}  // namespace

std::byte* take(std::size_t bytes) { return region::instance().take(bytes); }
void give_back(std::byte* memory, std::size_t bytes) {
  region::instance().give_back(memory, bytes);
}

scope::scope(use by) : by_(by) { region::instance().count(by_, 1); }
scope::~scope() { region::instance().count(by_, -1); }

}  // namespace stand_in::device_memory
