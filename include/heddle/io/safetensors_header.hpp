// SPDX-License-Identifier: BSD-3-Clause
// The header of a safetensors file: its rules, checked while its JSON goes by.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heddle/core/dtype.hpp>
#include <heddle/core/error.hpp>
#include <heddle/core/extents.hpp>
#include <heddle/io/json.hpp>

namespace heddle::inline v0::detail {

inline constexpr std::uint64_t safetensors_prefix = 8;  // bytes of the header's length
inline constexpr std::uint64_t safetensors_max_header = 100'000'000;  // the reference's own limit
inline constexpr std::size_t safetensors_max_tensors = 65'536;

struct safetensors_type {
  dtype type;
  std::string_view name;
  int place;  // files begin with the dtypes of the highest; the reference's order
};
inline constexpr safetensors_type safetensors_types[] = {
    {dtype::f64, "F64", 6}, {dtype::f32, "F32", 5},      {dtype::bf16, "BF16", 3},
    {dtype::f16, "F16", 2}, {dtype::i64, "I64", 7},      {dtype::i32, "I32", 4},
    {dtype::u8, "U8", 1},   {dtype::boolean, "BOOL", 0},
};

struct safetensors_entry {
  std::string name;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::int64_t extents[max_rank] = {};
  std::uint32_t where = 0;  // in the file, in bytes: for messages
  heddle::dtype type = heddle::dtype::f32;
  std::int8_t rank = 0;
};

/// Reads a header as its JSON goes by, and refuses whatever the format does not have.
class safetensors_header final : public json_events {
 public:
  explicit safetensors_header(const std::string& path) : path_(path) {}

  std::vector<safetensors_entry> entries;
  std::vector<std::pair<std::string, std::string>> metadata;

  void begin_object() override {
    if (state_ == state::start) {
      state_ = state::names;
    } else if (state_ == state::name) {
      state_ = in_metadata_ ? state::texts : state::fields;
    } else {
      unexpected("an object");
    }
  }
  void key(std::string& name) override {
    switch (state_) {
      case state::names:
        in_metadata_ = name == "__metadata__";
        if (in_metadata_) {
          if (seen_metadata_) refuse("the metadata are there twice");
          seen_metadata_ = true;
        } else {
          if (entries.size() == safetensors_max_tensors)
            refuse("there are more than 65536 tensors");
          entries.emplace_back().name = std::move(name);
          seen_fields_ = 0;
        }
        state_ = state::name;
        return;
      case state::texts:
        if (metadata.size() == safetensors_max_tensors) refuse("there are more than 65536 texts");
        metadata.emplace_back(std::move(name), std::string());
        state_ = state::text;
        return;
      default:  // state::fields: keys stand in objects only
        state_ = name == "dtype"          ? state::type
                 : name == "shape"        ? state::shape
                 : name == "data_offsets" ? state::offsets
                                          : state::done;
        if (state_ == state::done) {
          refuse("a tensor has a field that is not dtype, shape or data_offsets");
        }
        const unsigned bit = 1u << static_cast<unsigned>(state_);
        if ((seen_fields_ & bit) != 0) refuse("a field of a tensor is there twice");
        seen_fields_ |= bit;
    }
  }
  void end_object() override {
    if (state_ == state::names) {
      state_ = state::done;
      return;
    }
    if (state_ == state::fields) finish_tensor();
    if (state_ == state::texts) check_metadata();
    state_ = state::names;
  }
  void begin_array() override {
    if (state_ == state::shape) {
      state_ = state::extents;
    } else if (state_ == state::offsets) {
      state_ = state::places;
      places_ = 0;
    } else {
      unexpected("an array");
    }
  }
  void end_array() override {
    if (state_ == state::places && places_ != 2) refuse("data_offsets are not two numbers");
    state_ = state::fields;
  }
  void string(std::string& text) override {
    if (state_ == state::text) {
      metadata.back().second = std::move(text);
      state_ = state::texts;
      return;
    }
    if (state_ != state::type) unexpected("text");
    for (const safetensors_type& known : safetensors_types) {
      if (known.name == text) {
        entries.back().type = known.type;
        state_ = state::fields;
        return;
      }
    }
    if (text.size() > 16) text.resize(16);
    refuse("the dtype \"" + text +
           "\" is not one of F64, F32, BF16, F16, I64, I32, U8 and BOOL, which heddle has");
  }
  void natural(std::uint64_t value) override {
    safetensors_entry* const entry = entries.empty() ? nullptr : &entries.back();
    if (state_ == state::extents) {
      if (entry->rank == max_rank) refuse("the rank is above 8, the largest that heddle supports");
      if (value > static_cast<std::uint64_t>(INT64_MAX)) refuse("an extent does not fit 63 bits");
      entry->extents[entry->rank++] = static_cast<std::int64_t>(value);
    } else if (state_ == state::places) {
      if (places_ == 2) refuse("data_offsets are not two numbers");
      (places_++ == 0 ? entry->begin : entry->end) = value;
    } else {
      unexpected("a number");
    }
  }
  void number(double) override { unexpected("a number that is no integer of 0 or more"); }
  void boolean(bool) override { unexpected("true or false"); }
  void null() override { unexpected("null"); }
  [[noreturn]] void malformed() override { refuse("this is no JSON"); }

 private:
  // Where the reading stands; the three fields also number their bits.
  enum class state {
    start,
    names,
    name,
    fields,
    type,
    shape,
    offsets,
    extents,
    places,
    texts,
    text,
    done
  };

  [[noreturn]] void refuse(std::string_view what) const {
    raise<io_error>("heddle::load_safetensors: the header is not valid: ", what, ": byte ",
                    safetensors_prefix + offset(), " of ", path_,
                    "; a safetensors file is expected");
  }
  [[noreturn]] void unexpected(const char* kind) const {
    refuse(std::string("here stands ") + kind + ", where the format has something else");
  }
  void finish_tensor() {
    constexpr unsigned all = 1u << static_cast<unsigned>(state::type) |
                             1u << static_cast<unsigned>(state::shape) |
                             1u << static_cast<unsigned>(state::offsets);
    if (seen_fields_ != all) refuse("a tensor lacks dtype, shape or data_offsets");
    safetensors_entry& entry = entries.back();
    entry.where = static_cast<std::uint32_t>(safetensors_prefix + offset());
    // Strides are products of extents too, with 0 counted as 1.
    std::int64_t strides = static_cast<std::int64_t>(size_of(entry.type));
    bool empty = false;
    for (int axis = 0; axis < entry.rank; ++axis) {
      const std::int64_t extent = entry.extents[axis];
      empty = empty || extent == 0;
      if (__builtin_mul_overflow(strides, extent == 0 ? 1 : extent, &strides)) {
        refuse("the size of a tensor does not fit 63 bits");
      }
    }
    const std::uint64_t bytes = empty ? 0 : static_cast<std::uint64_t>(strides);
    if (entry.begin > entry.end) refuse("the data of a tensor end before they begin");
    if (entry.end - entry.begin != bytes) {
      refuse("data_offsets hold " + std::to_string(entry.end - entry.begin) +
             " bytes, but dtype and shape make " + std::to_string(bytes));
    }
  }

  void check_metadata() const {
    std::vector<std::string_view> names;
    for (const auto& text : metadata) names.push_back(text.first);
    std::sort(names.begin(), names.end());
    if (std::adjacent_find(names.begin(), names.end()) != names.end()) {
      refuse("two texts of the metadata have one name");
    }
  }

  const std::string& path_;
  state state_ = state::start;
  unsigned seen_fields_ = 0;
  int places_ = 0;
  bool in_metadata_ = false;
  bool seen_metadata_ = false;
};

/// The tensors in the order of their data, checked to fill them without hole or overlap.
inline void order_entries(std::vector<safetensors_entry>& entries, std::uint64_t data_bytes,
                          const std::string& path) {
  const auto refuse = [&](std::uint64_t where, const std::string& what) {
    raise<io_error>("heddle::load_safetensors: the header is not valid: ", what, ": byte ", where,
                    " of ", path, "; a safetensors file is expected");
  };
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < entries.size(); ++i) {
    if (entries[i].name == entries[i - 1].name) {
      refuse(std::max(entries[i - 1].where, entries[i].where), "two tensors have one name");
    }
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return a.begin != b.begin ? a.begin < b.begin
           : a.end != b.end   ? a.end < b.end
                              : a.where < b.where;
  });
  std::uint64_t filled = 0;
  for (const safetensors_entry& entry : entries) {
    if (entry.begin != filled) {
      refuse(entry.where, entry.begin > filled ? "the data have a hole before a tensor"
                                               : "the data of two tensors overlap");
    }
    filled = entry.end;
    if (filled > data_bytes) {
      refuse(entry.where, "the data of a tensor end at byte " + std::to_string(filled) +
                              " of the data, which are " + std::to_string(data_bytes));
    }
  }
  if (filled != data_bytes) {
    refuse(entries.empty() ? safetensors_prefix : entries.back().where,
           "the tensors end at byte " + std::to_string(filled) + " of the data, which are " +
               std::to_string(data_bytes));
  }
}

}  // namespace heddle::inline v0::detail
