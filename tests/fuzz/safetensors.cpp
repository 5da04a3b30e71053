// SPDX-License-Identifier: BSD-3-Clause
// Any bytes as a safetensors file: they are refused with heddle's io_error, or load, and then come
// back the same however often they are saved and loaded (one in eight is). Live memory stays below
// twice the file and 16 MiB. tests/fuzz/run builds and runs this with libFuzzer.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include <malloc.h>
#include <sanitizer/allocator_interface.h>

#include <heddle/io/safetensors.hpp>

namespace {

std::atomic<std::int64_t> live{0}, peak{0};

void count_new(const volatile void* at, std::size_t) {
  const auto size =
      static_cast<std::int64_t>(__sanitizer_get_allocated_size(const_cast<const void*>(at)));
  const std::int64_t now = live += size;
  std::int64_t before = peak;
  while (now > before && !peak.compare_exchange_weak(before, now)) {
  }
}
void count_free(const volatile void* at) {
  if (at == nullptr) return;
  live -= static_cast<std::int64_t>(__sanitizer_get_allocated_size(const_cast<const void*>(at)));
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "safetensors: %s\n", what);
  std::abort();
}

/// A file in memory, and its name.
struct memory_file {
  int descriptor = memfd_create("safetensors", 0);
  std::string path = "/proc/self/fd/" + std::to_string(descriptor);

  void fill(const std::uint8_t* data, std::size_t size) const {
    if (ftruncate(descriptor, 0) != 0 ||
        pwrite(descriptor, data, size, 0) != static_cast<ssize_t>(size)) {
      fail("the file in memory cannot be written");
    }
  }
};

/// What is saved of what was loaded, as bytes.
std::string saved(const heddle::safetensors& file) {
  static const std::string path = "/dev/shm/heddle-fuzz-" + std::to_string(getpid());
  heddle::save_safetensors(path, file.tensors, file.metadata);
  std::string bytes = heddle::read_file(path);
  unlink(path.c_str());
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool counting =
      __sanitizer_install_malloc_and_free_hooks(&count_new, &count_free) != 0;
  if (!counting) fail("memory cannot be counted");
  static const memory_file input, output;
  input.fill(data, size);
  const std::int64_t before = live;
  peak = before;
  heddle::safetensors file;
  try {
    file = heddle::load_safetensors(input.path);
  } catch (const heddle::io_error&) {
    if (peak - before > 2 * static_cast<std::int64_t>(size) + (16 << 20)) fail("too much memory");
    return 0;
  }
  if (peak - before > 2 * static_cast<std::int64_t>(size) + (16 << 20)) fail("too much memory");
  // Saving takes most of the time: one in eight, by its bytes, so that a finding can be repeated.
  unsigned sum = 0;
  for (std::size_t i = 0; i < size; ++i) sum = sum * 31 + data[i];
  if ((sum >> 7) % 8 != 0) return 0;
  const std::string first = saved(file);
  output.fill(reinterpret_cast<const std::uint8_t*>(first.data()), first.size());
  const heddle::safetensors again = heddle::load_safetensors(output.path);
  if (again.tensors.size() != file.tensors.size()) fail("tensors were lost");
  for (std::size_t i = 0; i < file.tensors.size(); ++i) {
    bool found = false;
    for (const auto& [name, value] : again.tensors) {
      if (name != file.tensors[i].first) continue;
      const heddle::any_tensor& x = file.tensors[i].second;
      found = value.dtype() == x.dtype() && value.bytes() == x.bytes() &&
              (x.bytes() == 0 || std::memcmp(value.data(), x.data(), x.bytes()) == 0);
    }
    if (!found) fail("a tensor came back as another one");
  }
  if (saved(again) != first) fail("saving twice gives other bytes");
  return 0;
}
