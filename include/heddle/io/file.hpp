// SPDX-License-Identifier: BSD-3-Clause
// Files: reading whole, mapping into memory, and replacing in one step that a crash cannot tear.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <heddle/core/error.hpp>
#include <heddle/core/memory.hpp>

namespace heddle::inline v0 {

/// No limit on the bytes that a reader takes in.
inline constexpr std::uint64_t unlimited_bytes = UINT64_MAX;

namespace detail {

[[noreturn]] HEDDLE_COLD inline void raise_system(const char* function, const char* what,
                                                  const std::string& path, int code,
                                                  const char* advice) {
  raise<io_error>("heddle::", function, ": ", what, ": ", path, ": ",
                  std::system_category().message(code), "; ", advice);
}

/// An open file descriptor, closed with its owner.
class file_descriptor {
 public:
  file_descriptor() = default;
  explicit file_descriptor(int opened) noexcept : number_(opened) {}
  file_descriptor(file_descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  file_descriptor& operator=(file_descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~file_descriptor() {
    if (number_ >= 0) ::close(number_);
  }

  [[nodiscard]] int number() const noexcept { return number_; }
  /// The error number of `close`, 0 where it succeeded: a write may fail as late as here.
  [[nodiscard]] int close() noexcept {
    return ::close(std::exchange(number_, -1)) == 0 ? 0 : errno;
  }

 private:
  int number_ = -1;
};

inline int open_again(const char* path, int flags, mode_t mode = 0) noexcept {
  int opened = -1;
  do {
    opened = ::open(path, flags | O_CLOEXEC, mode);
  } while (opened < 0 && errno == EINTR);
  return opened;
}

/// A plain file open for reading, and its length in bytes.
struct readable_file {
  file_descriptor descriptor;
  std::uint64_t length;
};

inline readable_file open_readable(const char* function, const std::string& path,
                                   std::uint64_t max_bytes) {
  // Not blocking, so that a pipe nobody writes to is refused below and not waited for.
  readable_file opened{file_descriptor(open_again(path.c_str(), O_RDONLY | O_NONBLOCK)), 0};
  if (opened.descriptor.number() < 0) {
    raise_system(function, "the file cannot be opened", path, errno, "name a readable file");
  }
  struct stat found {};
  if (::fstat(opened.descriptor.number(), &found) != 0) {
    raise_system(function, "the file cannot be examined", path, errno, "name a readable file");
  }
  if (!S_ISREG(found.st_mode)) {
    raise<io_error>("heddle::", function, ": this is no plain file: ", path,
                    "; directories, pipes and devices are not read");
  }
  opened.length = static_cast<std::uint64_t>(found.st_size);
  if (opened.length > max_bytes) {
    raise<io_error>("heddle::", function, ": the file exceeds the byte budget: ", path, " has ",
                    opened.length, " bytes; the budget is ", max_bytes);
  }
  return opened;
}

}  // namespace detail

/// The content of a plain file. Throws io_error where it cannot be read, shrinks while it is read,
/// or is larger than `max_bytes`, which is checked before memory is allocated.
[[nodiscard]] inline std::string read_file(const std::string& path,
                                           std::uint64_t max_bytes = unlimited_bytes) {
  const detail::readable_file opened = detail::open_readable("read_file", path, max_bytes);
  std::string content(static_cast<std::size_t>(opened.length), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t got =
        ::read(opened.descriptor.number(), content.data() + done, content.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      detail::raise_system("read_file", "reading failed", path + " at byte " + std::to_string(done),
                           errno, "check the disk");
    }
    if (got == 0) {
      raise<io_error>("heddle::read_file: the file became shorter while it was read: ", path,
                      " at byte ", done, "; it had ", content.size(), " bytes");
    }
    done += static_cast<std::size_t>(got);
  }
  return content;
}

/// A plain file as memory on `cpu()`: pages are read when they are touched, writes stay in memory,
/// and the last handle unmaps. An empty file has no memory (data() is null). The file is not to be
/// made shorter while it is mapped; one that is replaced by renaming, as heddle does, stays as it
/// was. Throws io_error where it cannot be mapped or is larger than `max_bytes`.
[[nodiscard]] inline handle<storage> map_file(const std::string& path,
                                              std::uint64_t max_bytes = unlimited_bytes) {
  const detail::readable_file opened = detail::open_readable("map_file", path, max_bytes);
  const auto length = static_cast<std::size_t>(opened.length);
  if (length == 0) return storage::wrap(nullptr, 0);
  void* const mapped = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
                              opened.descriptor.number(), 0);
  if (mapped == MAP_FAILED) {
    detail::raise_system("map_file", "the file cannot be mapped into memory", path, errno,
                         "raise the limit on address space, or use a file system that maps");
  }
  struct mapping {
    void* begin;
    std::size_t length;
  };
  mapping* kept = nullptr;
  try {
    kept = new mapping{mapped, length};
    const auto release = [](void* context) {
      auto* const last = static_cast<mapping*>(context);
      ::munmap(last->begin, last->length);
      delete last;
    };
    return storage::wrap(mapped, length, cpu(), release, kept);
  } catch (...) {
    delete kept;
    ::munmap(mapped, length);
    throw;
  }
}

/// Writes a file that appears under its name whole or not at all: into a temporary beside it, which
/// `commit` brings to the disk and renames. Destroyed before that, it leaves nothing behind; a
/// killed program may leave the temporary, `<path>.<process>.<number>.tmp`. A symbolic link is
/// replaced.
class atomic_file {
 public:
  /// Throws io_error where the directory cannot be written to.
  explicit atomic_file(std::string path) : path_(std::move(path)) {
    static std::atomic<unsigned> numbers{0};
    for (int attempt = 0; descriptor_.number() < 0; ++attempt) {
      temporary_ =
          path_ + '.' + std::to_string(::getpid()) + '.' + std::to_string(numbers++) + ".tmp";
      descriptor_ = detail::file_descriptor(
          detail::open_again(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0666));
      if (descriptor_.number() < 0 && (errno != EEXIST || attempt == 1000)) {
        detail::raise_system("atomic_file", "the file cannot be created", temporary_, errno,
                             "name a file in a directory that can be written to");
      }
    }
    exists_ = true;
  }
  atomic_file(const atomic_file&) = delete;
  atomic_file& operator=(const atomic_file&) = delete;
  ~atomic_file() {
    if (exists_) ::unlink(temporary_.c_str());
  }

  /// Appends bytes. Throws io_error, at the byte that could not be written.
  void write(const void* data, std::size_t bytes) {
    const char* place = static_cast<const char*>(data);
    while (bytes > 0) {
      // One call writes less than 2 GiB.
      const std::size_t part = bytes < (std::size_t{1} << 30) ? bytes : std::size_t{1} << 30;
      const ssize_t done = ::write(descriptor_.number(), place, part);
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) {
        fail("writing failed", done < 0 ? errno : ENOSPC);
      }
      place += done;
      bytes -= static_cast<std::size_t>(done);
      written_ += static_cast<std::uint64_t>(done);
    }
  }
  void write(std::string_view text) { write(text.data(), text.size()); }

  /// The bytes written so far.
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }

  /// Returns when the content is on the disk under its name. Throws io_error; then the name still
  /// stands for what it did before, unless only the last step failed, bringing the directory to the
  /// disk.
  void commit() {
    int code = 0;
    do {
      code = ::fsync(descriptor_.number()) == 0 ? 0 : errno;
    } while (code == EINTR);
    if (code != 0) fail("bringing the file to the disk failed", code);
    code = descriptor_.close();
    if (code != 0) fail("closing the file failed", code);
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("renaming the file failed", errno);
    exists_ = false;
    const std::size_t slash = path_.rfind('/');
    const std::string directory = slash == std::string::npos ? "."
                                  : slash == 0               ? "/"
                                                             : path_.substr(0, slash);
    detail::file_descriptor opened(detail::open_again(directory.c_str(), O_RDONLY | O_DIRECTORY));
    if (opened.number() < 0) code = errno;
    // A file system that cannot do this for directories says EINVAL.
    if (code == 0 && ::fsync(opened.number()) != 0 && errno != EINVAL) code = errno;
    if (code != 0) {
      detail::raise_system("atomic_file", "bringing the directory to the disk failed", directory,
                           code, "the new file is in place, and may be lost with the power");
    }
  }

 private:
  [[noreturn]] void fail(const char* what, int code) const {
    detail::raise_system("atomic_file", what, path_ + " at byte " + std::to_string(written_), code,
                         "the file that was there before is unchanged");
  }

  std::string path_;
  std::string temporary_;
  detail::file_descriptor descriptor_;
  std::uint64_t written_ = 0;
  bool exists_ = false;
};

/// Replaces a file by `content`, as atomic_file does. Throws io_error.
inline void write_file(const std::string& path, std::string_view content) {
  atomic_file replacement(path);
  replacement.write(content);
  replacement.commit();
}

}  // namespace heddle::inline v0
