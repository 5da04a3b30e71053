// SPDX-License-Identifier: BSD-3-Clause
// The version is written once: version.hpp and CMake agree.
#include <string>

#include <doctest/doctest.h>

#include <heddle/version.hpp>

TEST_CASE("CMake reads the version that version.hpp defines") {
  const std::string written = std::to_string(HEDDLE_VERSION_MAJOR) + "." +
                              std::to_string(HEDDLE_VERSION_MINOR) + "." +
                              std::to_string(HEDDLE_VERSION_PATCH);
  CHECK(written == HEDDLE_VERSION_OF_CMAKE);
}
