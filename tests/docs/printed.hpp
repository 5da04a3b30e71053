// SPDX-License-Identifier: BSD-3-Clause
// What the examples of the pages print, compared with the files of tests/docs/output, which the
// pages show. With HEDDLE_WRITE_OUTPUT set the files are written instead.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "../support/temporary_directory.hpp"
#include <doctest/doctest.h>

/// Sends std::cout to a text for a scope; what is set of its format is undone.
class printed {
 public:
  printed() : before_(std::cout.rdbuf(text_.rdbuf())) { format_.copyfmt(std::cout); }
  printed(const printed&) = delete;
  printed& operator=(const printed&) = delete;
  ~printed() {
    std::cout.rdbuf(before_);
    std::cout.copyfmt(format_);
  }
  std::string text() const { return text_.str(); }

 private:
  std::ios format_{nullptr};
  std::ostringstream text_;
  std::streambuf* before_;
};

/// Runs a program in an empty directory of its own.
template <class Program>
void run_apart(Program program) {
  const std::filesystem::path root = std::filesystem::current_path();
  const temporary_directory apart;
  std::filesystem::current_path(apart.path());
  program();
  std::filesystem::current_path(root);
}

/// Runs a program, which must print what stands in tests/docs/output/<name>.txt.
template <class Program>
void check_output(const char* name, Program program) {
  const std::string path = std::string("tests/docs/output/") + name + ".txt";
  std::string text;
  {
    const printed out;
    program();
    text = out.text();
  }
  if (std::getenv("HEDDLE_WRITE_OUTPUT") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  std::stringstream expected;
  expected << file.rdbuf();
  CHECK(text == expected.str());
}
