// SPDX-License-Identifier: BSD-3-Clause
// safetensors files: saving and loading named tensors in the format that PyTorch and Hugging Face
// share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <heddle/core/device.hpp>
#include <heddle/core/dtype.hpp>
#include <heddle/core/error.hpp>
#include <heddle/core/extents.hpp>
#include <heddle/core/memory.hpp>
#include <heddle/core/stream.hpp>
#include <heddle/io/file.hpp>
#include <heddle/io/json.hpp>
#include <heddle/io/safetensors_header.hpp>
#include <heddle/tensor/any_tensor.hpp>

// The format: <https://github.com/huggingface/safetensors>. A header length (8 bytes,
// little-endian), a JSON header of names, dtypes, shapes and places, padded with spaces, and the
// elements, row-major and little-endian, without gaps.

namespace heddle::inline v0 {

/// What may be asked of `load_safetensors`.
struct safetensors_options {
  /// The largest file that is accepted, in bytes.
  std::uint64_t max_bytes = unlimited_bytes;
  /// Where the tensors are to be. On `cpu()` they are the mapped file itself.
  heddle::device device = cpu();
};

/// What a file held.
struct safetensors {
  /// In the order of their elements in the file.
  std::vector<std::pair<std::string, any_tensor>> tensors;
  /// The free text beside the tensors, in the order of the header.
  std::vector<std::pair<std::string, std::string>> metadata;

  [[nodiscard]] auto begin() const noexcept { return tensors.begin(); }
  [[nodiscard]] auto end() const noexcept { return tensors.end(); }
  /// The number of tensors.
  [[nodiscard]] std::size_t size() const noexcept { return tensors.size(); }

  /// The tensor of that name; null where there is none.
  [[nodiscard]] const any_tensor* find(std::string_view name) const noexcept {
    for (const auto& [known, value] : tensors) {
      if (known == name) return &value;
    }
    return nullptr;
  }
  /// The tensor of that name. Throws value_error where there is none.
  [[nodiscard]] const any_tensor& at(std::string_view name) const {
    const any_tensor* const found = find(name);
    if (found == nullptr) {
      raise<value_error>("heddle::safetensors::at: the file holds no tensor of this name: \"", name,
                         "\"; it holds ", tensors.size(), " others");
    }
    return *found;
  }
};

namespace detail {

template <class T, int Rank>
any_tensor any_tensor_at(const handle<storage>& held, std::byte* data,
                         const std::int64_t* extents) {
  heddle::extents<Rank> fixed;
  for (int axis = 0; axis < Rank; ++axis) fixed[axis] = extents[axis];
  return tensor<T, Rank>(held, reinterpret_cast<T*>(data), fixed, contiguous_strides(fixed));
}

template <class T>
any_tensor any_tensor_at(const handle<storage>& held, std::byte* data, const std::int64_t* extents,
                         int rank) {
  using make = any_tensor (*)(const handle<storage>&, std::byte*, const std::int64_t*);
  constexpr make of_rank[] = {any_tensor_at<T, 0>, any_tensor_at<T, 1>, any_tensor_at<T, 2>,
                              any_tensor_at<T, 3>, any_tensor_at<T, 4>, any_tensor_at<T, 5>,
                              any_tensor_at<T, 6>, any_tensor_at<T, 7>, any_tensor_at<T, 8>};
  static_assert(sizeof of_rank / sizeof *of_rank == max_rank + 1);
  return of_rank[rank](held, data, extents);
}

/// A contiguous tensor whose elements begin at `data`, which lies in the storage.
inline any_tensor any_tensor_at(const handle<storage>& held, std::byte* data, dtype type,
                                const std::int64_t* extents, int rank) {
  switch (type) {
    case dtype::f64:
      return any_tensor_at<double>(held, data, extents, rank);
    case dtype::f32:
      return any_tensor_at<float>(held, data, extents, rank);
    case dtype::bf16:
      return any_tensor_at<bfloat16>(held, data, extents, rank);
    case dtype::f16:
      return any_tensor_at<float16>(held, data, extents, rank);
    case dtype::i64:
      return any_tensor_at<std::int64_t>(held, data, extents, rank);
    case dtype::i32:
      return any_tensor_at<std::int32_t>(held, data, extents, rank);
    case dtype::u8:
      return any_tensor_at<std::uint8_t>(held, data, extents, rank);
    case dtype::boolean:
      break;
  }
  return any_tensor_at<bool>(held, data, extents, rank);
}

/// The header's entry of a tensor to save, and what to write.
struct safetensors_item {
  std::string_view name;
  any_tensor value;
  const safetensors_type* type;
};

inline void write_safetensors(
    const std::string& path, std::vector<safetensors_item>& items,
    const std::vector<std::pair<std::string_view, std::string_view>>& metadata) {
  static_assert(
      __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
      "heddle::save_safetensors: the file's elements are little-endian, this machine's not");
  const auto refuse = [](const char* what, std::string_view name) {
    raise<value_error>("heddle::save_safetensors: ", what, ": \"", name,
                       "\"; names are UTF-8, each there once, and not __metadata__");
  };
  std::sort(items.begin(), items.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string_view name = items[i].name;
    if (name == "__metadata__")
      refuse("a tensor has a name that the format keeps for itself", name);
    if (i > 0 && items[i - 1].name == name) refuse("two tensors have one name", name);
    if (!items[i].value.defined()) {
      raise<state_error>("heddle::save_safetensors: the tensor is undefined: \"", name,
                         "\"; assign one that has elements first");
    }
    if (items[i].value.device().is_meta()) {
      raise<device_error>("heddle::save_safetensors: the tensor is on meta and has no elements: \"",
                          name, "\"; materialize it first");
    }
  }
  if (items.size() > safetensors_max_tensors) {
    raise<value_error>("heddle::save_safetensors: there are too many tensors: ", items.size(),
                       "; a file holds ", safetensors_max_tensors, " at most");
  }
  // The reference's order, which aligns every tensor to its elements.
  std::stable_sort(items.begin(), items.end(),
                   [](const auto& a, const auto& b) { return a.type->place > b.type->place; });

  std::string header(safetensors_prefix, '\0');
  const auto quote = [&](std::string_view text) {
    if (!append_json_string(header, text)) refuse("a name or text is not UTF-8", text);
  };
  header += '{';
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (std::size_t i = 0; i < metadata.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (metadata[i].first == metadata[j].first)
          refuse("two texts have one name", metadata[i].first);
      }
      if (i > 0) header += ',';
      quote(metadata[i].first);
      header += ':';
      quote(metadata[i].second);
    }
    header += '}';
  }
  std::uint64_t offset = 0;
  for (const safetensors_item& item : items) {
    if (header.back() != '{') header += ',';
    quote(item.name);
    header += ":{\"dtype\":\"";
    header += item.type->name;
    header += "\",\"shape\":[";
    for (const std::int64_t extent : item.value.extents()) {
      if (header.back() != '[') header += ',';
      header += std::to_string(extent);
    }
    header += "],\"data_offsets\":[" + std::to_string(offset) + ',';
    offset += item.value.bytes();
    header += std::to_string(offset) + "]}";
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = header.size() - safetensors_prefix;
  if (length > safetensors_max_header) {
    raise<value_error>("heddle::save_safetensors: the names and texts are too long: ", length,
                       " bytes of header; the format has ", safetensors_max_header, " at most");
  }
  std::memcpy(header.data(), &length, sizeof length);

  atomic_file file(path);
  file.write(header);
  for (safetensors_item& item : items) {
    any_tensor value = std::exchange(item.value, {}).to(cpu()).contiguous();
    synchronize(value.device());
    file.write(value.data(), value.bytes());
  }
  file.commit();
}

}  // namespace detail

/// Writes named tensors as one safetensors file that any framework reads. `tensors` is a range of
/// pairs (name, tensor): a vector, a map, or what `load_safetensors` returned; `metadata` a range
/// of pairs of text. The file appears whole or not at all, and is on the disk on return. Throws
/// io_error where it cannot be written, value_error for names that are not UTF-8 or there twice,
/// state_error for undefined tensors, device_error for tensors on meta.
template <class Tensors, class Metadata = std::vector<std::pair<std::string, std::string>>>
void save_safetensors(const std::string& path, const Tensors& tensors,
                      const Metadata& metadata = Metadata()) {
  std::vector<detail::safetensors_item> items;
  for (const auto& [name, value] : tensors) {
    any_tensor held(value);
    const detail::safetensors_type* type = detail::safetensors_types;
    while (type->type != held.dtype()) ++type;
    items.push_back({std::string_view(name), std::move(held), type});
  }
  std::vector<std::pair<std::string_view, std::string_view>> texts;
  for (const auto& [name, text] : metadata) texts.emplace_back(name, text);
  detail::write_safetensors(path, items, texts);
}
/// The same with names and tensors written out: `save_safetensors(path, {{"weight", w}, {"bias",
/// b}})`.
inline void save_safetensors(
    const std::string& path, const std::vector<std::pair<std::string, any_tensor>>& tensors,
    const std::vector<std::pair<std::string, std::string>>& metadata = {}) {
  save_safetensors<std::vector<std::pair<std::string, any_tensor>>>(path, tensors, metadata);
}

/// Reads a safetensors file. On `cpu()` the tensors are the mapped file, without a copy: pages are
/// read when they are touched, writing into a tensor does not change the file, and the last tensor
/// unmaps it. (Copied are only tensors that a foreign writer placed across their elements'
/// alignment.) The file is not to be shortened in place while tensors of it live; replacing it, as
/// saving does, is safe. Throws io_error, with the byte where the file breaks the format's rules:
/// header of at most 100 000 000 bytes, at most 65 536 tensors of rank 8 at most, data without hole
/// or overlap up to the file's end, BOOL elements 0 or 1.
template <class Configuration = configuration>
[[nodiscard]] safetensors load_safetensors(const std::string& path,
                                           const safetensors_options& options = {}) {
  static_assert(
      __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
      "heddle::load_safetensors: the file's elements are little-endian, this machine's not");
  const handle<storage> file = map_file(path, options.max_bytes);
  const auto refuse = [&](const char* what, std::uint64_t got, const char* expected) {
    raise<io_error>("heddle::load_safetensors: ", what, ": ", got, " in ", path, "; ", expected);
  };
  if (file->bytes() <= detail::safetensors_prefix) {
    refuse("the file ends before its header", file->bytes(),
           "8 bytes of length and a header are expected at byte 0");
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file->data(), sizeof length);
  if (length > detail::safetensors_max_header) {
    refuse("the header's length, at byte 0, is too large", length, "it is 100000000 bytes at most");
  }
  if (length > file->bytes() - detail::safetensors_prefix) {
    refuse("the header's length, at byte 0, goes beyond the end of the file", length,
           "the file is truncated, or no safetensors file");
  }
  const char* const text = reinterpret_cast<const char*>(file->data()) + detail::safetensors_prefix;
  if (length == 0 || text[0] != '{') {
    refuse("the header, at byte 8, does not begin with an opening brace: its first byte is",
           length == 0 ? 0 : static_cast<unsigned char>(text[0]), "a safetensors file is expected");
  }
  detail::safetensors_header header(path);
  read_json<Configuration>(std::string_view(text, static_cast<std::size_t>(length)), header);
  const std::uint64_t data_begin = detail::safetensors_prefix + length;
  detail::order_entries(header.entries, file->bytes() - data_begin, path);

  safetensors result;
  result.metadata = std::move(header.metadata);
  result.tensors.reserve(header.entries.size());
  for (detail::safetensors_entry& entry : header.entries) {
    std::byte* const data = file->data() + data_begin + entry.begin;
    if (entry.type == dtype::boolean) {
      for (std::uint64_t i = 0; i < entry.end - entry.begin; ++i) {
        if (static_cast<unsigned>(data[i]) > 1) {
          raise<io_error>("heddle::load_safetensors: a BOOL element is neither 0 nor 1: ",
                          static_cast<unsigned>(data[i]), " at byte ", data_begin + entry.begin + i,
                          " of ", path, "; a safetensors file is expected");
        }
      }
    }
    any_tensor value;
    if (reinterpret_cast<std::uintptr_t>(data) % size_of(entry.type) == 0) {
      // the file's memory, but a storage of its own: with a version of its own
      auto whole = std::make_unique<handle<storage>>(file);
      const handle<storage> part = storage::wrap(
          data, entry.end - entry.begin, cpu(),
          [](void* held) { delete static_cast<handle<storage>*>(held); }, whole.get());
      static_cast<void>(whole.release());
      value = detail::any_tensor_at(part, data, entry.type, entry.extents, entry.rank);
    } else {
      value =
          any_tensor::allocate(entry.type, {entry.extents, static_cast<std::size_t>(entry.rank)});
      if (value.bytes() > 0) std::memcpy(value.data(), data, value.bytes());
    }
    result.tensors.emplace_back(std::move(entry.name), value.to(options.device));
  }
  return result;
}

}  // namespace heddle::inline v0
