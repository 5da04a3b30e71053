// SPDX-License-Identifier: BSD-3-Clause
// heddle.hpp reaches every header that it says it does.
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <doctest/doctest.h>

namespace {

// Adds a header, named as in an include, and all that it includes.
void follow(const std::string& header, std::set<std::string>& reached) {
  if (!reached.insert(header).second) return;
  std::ifstream text("include/" + header);
  REQUIRE(text);
  const std::string begin = "#include <heddle/";
  for (std::string line; std::getline(text, line);) {
    if (line.rfind(begin, 0) != 0) continue;
    const std::string name = line.substr(begin.size(), line.find('>') - begin.size());
    if (!name.ends_with(".cuh")) follow("heddle/" + name, reached);  // for nvcc only
  }
}

}  // namespace

TEST_CASE("the umbrella has every room but io and tensorboard, and no device or network backend") {
  std::set<std::string> reached;
  follow("heddle/heddle.hpp", reached);
  const std::set<std::string> backends = {"heddle/distributed/gloo.hpp",
                                          "heddle/distributed/nccl.hpp"};
  std::set<std::string> missing, there;
  for (const auto& entry : std::filesystem::recursive_directory_iterator("include")) {
    if (entry.path().extension() != ".hpp") continue;
    const std::string header = entry.path().lexically_relative("include").generic_string();
    const bool left_out = header.rfind("heddle/io/", 0) == 0 ||
                          header.rfind("heddle/exec/cuda/", 0) == 0 ||
                          header.rfind("heddle/tensorboard/", 0) == 0 || backends.count(header) > 0;
    if (!left_out && reached.count(header) == 0) missing.insert(header);
    if (left_out && reached.count(header) > 0) there.insert(header);
  }
  CHECK(reached.size() > 20);
  CHECK_MESSAGE(missing.empty(), "heddle.hpp lacks ", missing.empty() ? "" : *missing.begin());
  CHECK_MESSAGE(there.empty(), "heddle.hpp has ", there.empty() ? "" : *there.begin());
}
