// SPDX-License-Identifier: BSD-3-Clause
// Allocations of the stand-in and the accesses to them.
#include "memory.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "device_memory.hpp"

namespace stand_in {

namespace {

// Not-a-numbers in every floating format, and told apart by a reader of a hex dump.
constexpr std::byte of_new{0xFF};
constexpr std::byte of_freed[2] = {std::byte{0xFD}, std::byte{0xFF}};
constexpr std::byte of_guard{0xA7};
constexpr std::size_t default_capacity = std::size_t{1} << 32;

bool all_are(const std::byte* from, std::size_t bytes, std::byte value) {
  return std::all_of(from, from + bytes, [&](std::byte b) { return b == value; });
}
bool is_freed_pattern(const std::byte* from, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    if (from[i] != of_freed[i % 2]) return false;
  }
  return true;
}

const char* verb(touch how) { return how == touch::read ? " reads " : " writes "; }

bool conflict(touch a, touch b) {
  return a != touch::read || b != touch::read ? !(a == touch::atomic && b == touch::atomic) : false;
}

}  // namespace

void finding_list::add(std::string sentence) {
  if (sentences_.size() < most) {
    sentences_.push_back(std::move(sentence));
  } else {
    ++more_;
  }
}
std::vector<std::string> finding_list::all() const {
  std::vector<std::string> made = sentences_;
  if (more_ > 0) made.push_back("and " + std::to_string(more_) + " more");
  return made;
}

std::string allocation::text() const {
  const std::string where = kind == memory_kind::pinned ? "" : ", device " + std::to_string(device);
  return "allocation " + std::to_string(ordinal) + " (" + std::to_string(bytes) + " bytes, " +
         made_by + where + ")";
}

std::size_t memory_map::capacity(int device) const {
  const auto at = static_cast<std::size_t>(device);
  return at < capacity_.size() ? capacity_[at] : default_capacity;
}
void memory_map::set_capacity(int device, std::size_t bytes) {
  const auto at = static_cast<std::size_t>(device);
  if (at >= capacity_.size()) capacity_.resize(at + 1, default_capacity);
  capacity_[at] = bytes;
}

void memory_map::settle() {
  std::erase_if(leaving_, [&](const allocation* a) {
    if (a->retired) used_[a->device] -= a->bytes;
    return a->retired;
  });
}
std::size_t memory_map::used(int device, const vector_clock& before) {
  settle();
  std::size_t still = used_[device];
  for (const allocation* a : leaving_) {
    if (a->device == device && before.covers(a->freed_at)) still -= a->bytes;
  }
  return still;
}

allocation* memory_map::make(memory_kind kind, int device, std::size_t bytes, const char* made_by,
                             const vector_clock& before) {
  if (kind != memory_kind::pinned) {
    const std::size_t taken = used(device, before);
    if (taken > capacity(device) || bytes > capacity(device) - taken) return nullptr;
  }
  const std::size_t inside = (bytes + guard_bytes - 1) / guard_bytes * guard_bytes;
  const std::size_t whole = inside + 2 * guard_bytes;
  auto made = std::make_unique<allocation>();
  if (kind == memory_kind::pinned) {
    made->block = {static_cast<std::byte*>(std::aligned_alloc(guard_bytes, whole)), std::free};
  } else {
    made->block = {device_memory::take(whole),
                   [whole](std::byte* memory) { device_memory::give_back(memory, whole); }};
  }
  if (made->block == nullptr) return nullptr;
  const device_memory::scope rights(device_memory::use::stand_in);
  std::byte* const block = made->block.get();
  made->ordinal = ++made_;
  made->kind = kind;
  made->device = device;
  made->made_by = made_by;
  made->bytes = bytes;
  made->begin = block + guard_bytes;
  std::memset(block, static_cast<int>(of_guard), whole);
  fill_new(*made);
  if (kind != memory_kind::pinned) used_[device] += bytes;
  allocation* const result = made.get();
  blocks_.emplace(block + whole, std::move(made));
  return result;
}

void memory_map::fill_new(allocation& a) {
  std::memset(a.begin, static_cast<int>(of_new), a.bytes);
}

allocation* memory_map::find(const void* address) {
  const auto* const at = static_cast<const std::byte*>(address);
  const auto place = blocks_.upper_bound(at);
  if (place == blocks_.end() || at < place->second->block.get()) return nullptr;
  return place->second.get();
}

bool memory_map::check(const accessor& by, range r) {
  if (r.begin == nullptr || r.bytes == 0) return true;
  allocation* const a = find(r.begin);
  if (a == nullptr) {
    findings_->add("not allocated: " + *by.name + verb(r.how) + "memory that is not allocated");
    return false;
  }
  if (r.bytes == whole_allocation) {
    if (r.begin < a->begin || r.begin > a->begin + a->bytes) {
      findings_->add("out of range: " + *by.name + verb(r.how) + "beside " + a->text());
      return false;
    }
    r.begin = a->begin;
    r.bytes = a->bytes;
  }
  const std::ptrdiff_t before = a->begin - r.begin;
  const std::ptrdiff_t behind = r.begin + r.bytes - (a->begin + a->bytes);
  if (before > 0 || behind > 0) {
    findings_->add("out of range: " + *by.name + verb(r.how) +
                   std::to_string(before > 0 ? before : behind) + " bytes " +
                   (before > 0 ? "before " : "behind ") + a->text());
    return false;
  }
  if (by.device >= 0 && a->kind != memory_kind::pinned && a->device != by.device) {
    const auto& reached = a->kind == memory_kind::pool ? reaches_pool_ : reaches_;
    const auto found = reached.find({by.device, a->device});
    if (found == reached.end() || !found->second) {
      findings_->add("no peer access: " + *by.name + verb(r.how) + a->text());
    }
  }
  if (a->freed) {
    findings_->add("use after free: " + *by.name + verb(r.how) + a->text() + ", which " +
                   *a->freed_by + " frees" +
                   (by.clock->covers(a->freed_at) ? "" : " without waiting for it"));
    return true;
  }
  check_order(by, *a, r);
  note(by, *a, r);
  return true;
}

void memory_map::check_order(const accessor& by, allocation& a, const range& r) {
  if (!by.clock->covers(a.made)) {
    findings_->add("use before allocation: " + *by.name + verb(r.how) + a.text() +
                   " and does not wait for it to be made");
  }
  for (const allocation::access& past : a.history) {
    const bool overlap = past.begin < r.begin + r.bytes && r.begin < past.end;
    if (!overlap || !conflict(past.how, r.how) || by.clock->covers(past.at)) continue;
    findings_->add("race: " + *by.name + verb(r.how) + a.text() + ", which " + *past.by +
                   verb(past.how) + "too, and does not wait for it");
  }
}

/// Accesses that come before this one need not be remembered where it stands for them: whatever
/// does not wait for them does not wait for it either.
void memory_map::note(const accessor& by, allocation& a, const range& r) {
  const std::byte* const end = r.begin + r.bytes;
  std::erase_if(a.history, [&](const allocation::access& past) {
    const bool inside = r.begin <= past.begin && past.end <= end;
    const bool as_strong = r.how == touch::written || past.how == r.how;
    return inside && as_strong && by.clock->covers(past.at);
  });
  a.history.push_back({r.begin, end, r.how, by.at, by.name});
}

void memory_map::check_free(const accessor& by, allocation& a) {
  if (!by.clock->covers(a.made)) {
    findings_->add("use before allocation: " + *by.name + " frees " + a.text() +
                   " and does not wait for it to be made");
  }
  for (const allocation::access& past : a.history) {
    if (by.clock->covers(past.at)) continue;
    findings_->add("use after free: " + *by.name + " frees " + a.text() +
                   " and does not wait for " + *past.by);
  }
  a.freed = true;
  a.freed_at = by.at;
  a.freed_by = by.name;
  a.history.clear();
  if (a.kind == memory_kind::pinned) return;
  if (by.at.actor == 0) {
    used_[a.device] -= a.bytes;
  } else {
    leaving_.push_back(&a);
  }
}

void memory_map::damage(allocation& a, const char* where) {
  if (a.damage_told) return;
  a.damage_told = true;
  findings_->add(std::string("guard: memory ") + where + " " + a.text() + " was written to");
}

void memory_map::retire(allocation& a) {
  const device_memory::scope rights(device_memory::use::stand_in);
  for (std::size_t i = 0; i < a.bytes; ++i) a.begin[i] = of_freed[i % 2];
  a.retired = true;
}

void memory_map::check_guards() {
  const device_memory::scope rights(device_memory::use::stand_in);
  for (const auto& [place, a] : blocks_) {
    const std::byte* const behind = a->begin + a->bytes;
    if (!all_are(a->block.get(), guard_bytes, of_guard)) damage(*a, "before");
    if (!all_are(behind, static_cast<std::size_t>(place - behind), of_guard)) damage(*a, "behind");
    if (a->retired && !is_freed_pattern(a->begin, a->bytes)) damage(*a, "of the freed");
  }
}

void memory_map::forget_freed() {
  settle();
  std::erase_if(blocks_, [](const auto& each) { return each.second->retired; });
}

std::vector<live> memory_map::all_live() const {
  std::vector<live> made;
  for (const auto& [place, a] : blocks_) {
    if (!a->freed) made.push_back({a->ordinal, a->device, a->bytes, a->made_by});
  }
  std::sort(made.begin(), made.end(),
            [](const live& a, const live& b) { return a.ordinal < b.ordinal; });
  return made;
}

}  // namespace stand_in
