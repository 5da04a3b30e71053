// SPDX-License-Identifier: BSD-3-Clause
// A directory of a test's own, removed with all that is in it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

class temporary_directory {
 public:
  temporary_directory() {
    std::string pattern = std::filesystem::temp_directory_path() / "heddle.XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  ~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string path() const { return path_; }
  std::string operator/(const char* name) const { return path_ / name; }

  // The names of all files in it.
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      found.push_back(entry.path().filename());
    }
    return found;
  }

 private:
  std::filesystem::path path_;
};
