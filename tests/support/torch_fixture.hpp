// SPDX-License-Identifier: BSD-3-Clause
// Reads what nn/fixtures/make_torch_fixtures.py wrote, and compares with it.
#pragma once

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/tensor/creation.hpp>

namespace support {

class torch_fixture {
 public:
  explicit torch_fixture(const std::string& path) {
    std::ifstream file(path);
    REQUIRE_MESSAGE(file.good(), "cannot read ", path);
    std::string head, body;
    while (std::getline(file, head) && std::getline(file, body)) {
      std::istringstream heads(head), bodies(body);
      std::string name;
      heads >> name;
      entry e;
      for (std::int64_t n; heads >> n;) e.extents.push_back(n);
      for (double v; bodies >> v;) e.values.push_back(v);
      entries_[name] = e;
    }
  }

  template <class T, int Rank>
  heddle::tensor<T, Rank> get(const std::string& name) const {
    const entry& e = at(name);
    REQUIRE(e.extents.size() == static_cast<std::size_t>(Rank));
    heddle::extents<Rank> extents;
    for (int i = 0; i < Rank; ++i) extents[i] = e.extents[static_cast<std::size_t>(i)];
    auto result = heddle::empty<T, Rank>(extents);
    std::size_t i = 0;
    for (T& each : result) each = static_cast<T>(e.values[i++]);
    return result;
  }
  const std::vector<double>& values(const std::string& name) const { return at(name).values; }

  /// Within PyTorch's own tolerances for the dtype.
  template <class T, int Rank>
  void check(const std::string& name, const heddle::tensor<T, Rank>& got) const {
    const entry& e = at(name);
    const double relative = sizeof(T) == 8 ? 1e-7 : 1.3e-6;
    const double absolute = sizeof(T) == 8 ? 1e-7 : 1e-5;
    REQUIRE_MESSAGE(got.size() == static_cast<std::int64_t>(e.values.size()), name);
    std::size_t i = 0;
    double worst = 0;
    for (const T v : got) {
      const double expected = e.values[i++];
      const double excess = std::fabs(static_cast<double>(v) - expected) /
                            (absolute + relative * std::fabs(expected));
      worst = std::isnan(excess) ? INFINITY : std::fmax(worst, excess);
    }
    CHECK_MESSAGE(worst <= 1, name, " differs by ", worst, " of the tolerance");
  }

 private:
  struct entry {
    std::vector<std::int64_t> extents;
    std::vector<double> values;
  };
  const entry& at(const std::string& name) const {
    const auto found = entries_.find(name);
    REQUIRE_MESSAGE(found != entries_.end(), "the fixture has no ", name);
    return found->second;
  }
  std::map<std::string, entry> entries_;
};

}  // namespace support
