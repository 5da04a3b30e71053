// SPDX-License-Identifier: BSD-3-Clause
// What files say when the system fails, and what is not saved. fstat stands before the system's, so
// that it can fail, or a file change behind it.
#include <cerrno>
#include <fcntl.h>
#include <map>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "../support/temporary_directory.hpp"
#include <doctest/doctest.h>

#include <heddle/io/safetensors.hpp>
#include <heddle/tensor/creation.hpp>

namespace {

/// What fstat does in this thread: fails with this error, or adds this to a file's length.
thread_local int fstat_error = 0;
thread_local off_t fstat_longer = 0;

}  // namespace

extern "C" int fstat(int descriptor, struct stat* found) noexcept {
  if (fstat_error != 0) {
    errno = fstat_error;
    return -1;
  }
  const int answer = fstatat(descriptor, "", found, AT_EMPTY_PATH);
  if (answer == 0) found->st_size += fstat_longer;
  return answer;
}

TEST_CASE(
    "files that cannot be opened, examined or mapped, or that shrink, are named with a cause") {
  const temporary_directory place;
  const std::string path = place / "a";
  CHECK_THROWS_WITH_AS(static_cast<void>(heddle::read_file(path)),
                       ("heddle::read_file: the file cannot be opened: " + path +
                        ": No such file or directory; name a readable file")
                           .c_str(),
                       heddle::io_error);
  heddle::write_file(path, "four");
  fstat_error = EIO;
  CHECK_THROWS_WITH_AS(static_cast<void>(heddle::read_file(path)),
                       ("heddle::read_file: the file cannot be examined: " + path +
                        ": Input/output error; name a readable file")
                           .c_str(),
                       heddle::io_error);
  fstat_error = 0;
  fstat_longer = 1;
  CHECK_THROWS_WITH_AS(static_cast<void>(heddle::read_file(path)),
                       ("heddle::read_file: the file became shorter while it was read: " + path +
                        " at byte 4; it had 5 bytes")
                           .c_str(),
                       heddle::io_error);
  fstat_longer = off_t{1} << 60;
  CHECK_THROWS_WITH_AS(
      static_cast<void>(heddle::map_file(path)),
      ("heddle::map_file: the file cannot be mapped into memory: " + path +
       ": Cannot allocate memory; raise the limit on address space, or use a file system that maps")
          .c_str(),
      heddle::io_error);
  fstat_longer = 0;
  CHECK(heddle::read_file(path) == "four");
}

namespace {

/// While it is there, no file can be opened.
struct no_descriptors {
  rlimit before{};
  no_descriptors() {
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    rlimit none = before;
    none.rlim_cur = 0;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  no_descriptors(const no_descriptors&) = delete;
  no_descriptors& operator=(const no_descriptors&) = delete;
  ~no_descriptors() { setrlimit(RLIMIT_NOFILE, &before); }
};

}  // namespace

TEST_CASE("a directory that cannot be brought to the disk is said when the new file is in place") {
  const temporary_directory place;
  heddle::atomic_file file(place / "a");
  file.write("new");
  std::string said;
  try {
    const no_descriptors limit;
    file.commit();
  } catch (const heddle::io_error& e) {
    said = e.what();
  }
  CHECK(said.find("heddle::atomic_file: bringing the directory to the disk failed: ") == 0);
  CHECK(said.find(": Too many open files; the new file is in place, and may be lost with the "
                  "power") != std::string::npos);
  CHECK(heddle::read_file(place / "a") == "new");
}

namespace {

using tensors = std::vector<std::pair<std::string, heddle::any_tensor>>;

/// What saving says, if it is refused.
std::string refusal(const tensors& given,
                    const std::vector<std::pair<std::string, std::string>>& texts = {}) {
  const temporary_directory place;
  try {
    heddle::save_safetensors(place / "a", given, texts);
  } catch (const heddle::error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("what a safetensors file cannot hold is not saved") {
  const heddle::any_tensor one(heddle::zeros<float, 0>({}));
  CHECK(refusal({{"x", one}, {"x", one}}) ==
        "heddle::save_safetensors: two tensors have one name: \"x\"; names are UTF-8, each there "
        "once, and not __metadata__");
  CHECK(refusal({{"x", heddle::any_tensor()}}) ==
        "heddle::save_safetensors: the tensor is undefined: \"x\"; assign one that has elements "
        "first");
  const heddle::any_tensor nowhere(heddle::empty<float, 1>({2}, heddle::meta()));
  CHECK(refusal({{"x", nowhere}}) ==
        "heddle::save_safetensors: the tensor is on meta and has no elements: \"x\"; materialize "
        "it first");
}

TEST_SUITE("long") {
  TEST_CASE("more tensors or text than a safetensors file holds is not saved") {
    const heddle::any_tensor one(heddle::zeros<float, 0>({}));
    tensors many;
    for (int i = 0; i <= 65536; ++i) many.emplace_back(std::to_string(i), one);
    CHECK(refusal(many) ==
          "heddle::save_safetensors: there are too many tensors: 65537; a file holds 65536 at "
          "most");
    const std::string said = refusal({}, {{"text", std::string(17'000'000, '\1')}});
    CHECK(said.find("heddle::save_safetensors: the names and texts are too long: 102000") == 0);
    CHECK(said.find(" bytes of header; the format has 100000000 at most") != std::string::npos);
  }
}
