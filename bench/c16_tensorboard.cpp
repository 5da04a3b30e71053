// SPDX-License-Identifier: BSD-3-Clause
// Goal C16: what adding a scalar to a TensorBoard run costs the training thread.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "program.hpp"

#include <heddle/tensorboard/summary_writer.hpp>

namespace {

constexpr char tag[] = "training/loss";

struct run_folder {
  std::string path = (std::filesystem::temp_directory_path() / "heddle-bench-XXXXXX").string();
  run_folder() {
    if (mkdtemp(path.data()) == nullptr) std::exit(1);
  }
  run_folder(const run_folder&) = delete;
  run_folder& operator=(const run_folder&) = delete;
  ~run_folder() { std::filesystem::remove_all(path); }
};

// How many times the files of a run of 100 scalars name the tag.
std::vector<double> written() {
  const run_folder folder;
  {
    heddle::tensorboard::summary_writer writer(folder.path.c_str());
    for (std::int64_t step = 0; step < 100; ++step) writer.add_scalar(tag, 0.25, step);
  }
  double found = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder.path)) {
    std::ifstream stream(file.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    for (std::size_t at = bytes.find(tag); at != std::string::npos; at = bytes.find(tag, at + 1)) {
      ++found;
    }
  }
  return {found};
}

struct run {
  run_folder folder;
  heddle::tensorboard::summary_writer writer{folder.path.c_str()};
  std::int64_t step = 0;
};

std::vector<bench::contender> enter() {
  bench::contender c = bench::enter("heddle", "", 1, [r = std::make_shared<run>()](auto) {
    r->writer.add_scalar(tag, 0.25, r->step++);
  });
  c.values = written;
  return {c};
}

}  // namespace

int main(int count, char** arguments) {
  return bench::run(count, arguments,
                    {"C16",
                     "add_scalar with PyTorch's defaults (10 events in the queue): ≤ 1 µs",
                     {"torch"},
                     {{"add_scalar", "s", {1}, {bench::at_most(1e-6)}, enter}}});
}
