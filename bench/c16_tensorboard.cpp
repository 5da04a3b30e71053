// SPDX-License-Identifier: BSD-3-Clause
// Goal C16: what adding a scalar costs the training loop. PyTorch's writer is timed by
// bench/peers/summary_writer.py, which this runs where Python has torch and tensorboard.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "limits.hpp"

#include <heddle/tensorboard/summary_writer.hpp>

int main(int, char** arguments) {
  bench::tune(arguments);
  std::string name = (std::filesystem::temp_directory_path() / "heddle-bench-XXXXXX").string();
  const std::string directory = mkdtemp(name.data());
  bench::head("C16: add_scalar, PyTorch's defaults (10 events in the queue); goal 1 us");
  {
    heddle::tensorboard::summary_writer writer({.log_dir = directory});
    std::vector<bench::contender> contenders;
    contenders.push_back(bench::enter("heddle", 1, [&, step = std::int64_t{0}]() mutable {
      writer.add_scalar("training/loss", 0.25, step++);
    }));
    bench::row("1", 0, contenders);
  }
  std::filesystem::remove_all(directory);
  const std::string peer = std::string("python3 \"") + HEDDLE_BENCH_PEERS + "/summary_writer.py\"";
  return std::system(peer.c_str()) == 0 ? 0 : 1;
}
