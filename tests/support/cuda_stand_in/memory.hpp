// SPDX-License-Identifier: BSD-3-Clause
// The stand-in's memory: allocations between guard zones, never used twice, and who reached them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "stand_in.hpp"
#include "vector_clock.hpp"

namespace stand_in {

/// Sentences; after a few hundred, more are only counted.
class finding_list {
 public:
  void add(std::string sentence);
  [[nodiscard]] std::vector<std::string> all() const;

 private:
  static constexpr std::size_t most = 300;
  std::vector<std::string> sentences_;
  std::size_t more_ = 0;
};

/// An operation as findings name it.
using label = std::shared_ptr<const std::string>;

/// What an operation reaches.
struct range {
  const std::byte* begin = nullptr;
  std::size_t bytes = 0;
  touch how = touch::read;
};

/// The operation behind an access: its place, what comes before it, and the device that a kernel
/// runs on (-1: a copy engine or the host, which reach everything).
struct accessor {
  label name;
  moment at;
  const vector_clock* clock = nullptr;
  int device = -1;
};

enum class memory_kind : std::uint8_t { device, pool, pinned };

struct allocation {
  std::uint64_t ordinal = 0;
  memory_kind kind = memory_kind::device;
  int device = 0;
  const char* made_by = "";
  std::size_t bytes = 0;
  std::unique_ptr<std::byte, std::function<void(std::byte*)>> block;
  std::byte* begin = nullptr;
  moment made;
  bool freed = false;
  bool retired = false;  ///< and filled
  bool damage_told = false;
  moment freed_at;
  label freed_by;
  struct access {
    const std::byte* begin;
    const std::byte* end;
    touch how;
    moment at;
    label by;
  };
  std::vector<access> history;

  [[nodiscard]] std::string text() const;
};

class memory_map {
 public:
  explicit memory_map(finding_list& findings) : findings_(&findings) {}

  /// Guards on both sides of an allocation, and how its begin is aligned.
  static constexpr std::size_t guard_bytes = 512;

  /// Null: there is no room. Memory that was freed in stream order is back when the free has run,
  /// or for who comes after it: `before` is the asker's clock.
  allocation* make(memory_kind kind, int device, std::size_t bytes, const char* made_by,
                   const vector_clock& before);
  /// Fills new memory with not-a-numbers.
  static void fill_new(allocation& a);
  /// The allocation whose block, guards included, holds the address; freed ones too.
  allocation* find(const void* address);

  /// Notes an access and whether anything is wrong with it. False: it is out of range.
  bool check(const accessor& by, range r);
  /// A free: looks at whether everything done to the memory comes before it.
  void check_free(const accessor& by, allocation& a);
  /// The free has happened: fills the memory.
  void retire(allocation& a);
  /// Of all allocations, guards and, if freed, contents.
  void check_guards();
  /// Gives memory back that is freed and that no queued operation may reach.
  void forget_freed();

  [[nodiscard]] std::vector<live> all_live() const;
  [[nodiscard]] std::size_t used(int device, const vector_clock& before);
  [[nodiscard]] std::size_t capacity(int device) const;
  void set_capacity(int device, std::size_t bytes);
  /// Whether kernels on device `from` reach memory of device `to`, that of its pool apart.
  bool& reaches(int from, int to) { return reaches_[{from, to}]; }
  bool& reaches_pool(int from, int to) { return reaches_pool_[{from, to}]; }

 private:
  void settle();
  void check_order(const accessor& by, allocation& a, const range& r);
  void note(const accessor& by, allocation& a, const range& r);
  void damage(allocation& a, const char* where);

  finding_list* findings_;
  std::map<const std::byte*, std::unique_ptr<allocation>> blocks_;  // by the block's end
  std::uint64_t made_ = 0;
  std::vector<std::size_t> capacity_;
  std::map<int, std::size_t> used_;
  std::vector<allocation*> leaving_;  // freed in stream order; the free may not have run
  std::map<std::pair<int, int>, bool> reaches_, reaches_pool_;
};

}  // namespace stand_in
