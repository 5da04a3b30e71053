// SPDX-License-Identifier: BSD-3-Clause
// The command line of this example.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

struct options {
  std::int64_t epochs = 30;
  std::vector<std::uint64_t> seeds{0, 1, 2, 3, 4};
  std::int64_t batch = 64;
  std::string device = "cpu";
  std::string data = HEDDLE_EXAMPLES_DATA "/digits.csv";
  std::string save;
  std::string load;
};

// Reads the command line. Returns the exit status where there is nothing to run: 0 after --help, 2
// after bad usage; otherwise -1.
inline int parse(int count, char** arguments, options& given) {
  CLI::App app("Trains a network on handwritten digits; the last line is its test accuracy.");
  app.add_option("--epochs", given.epochs, "How often each image is shown")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed,--seeds", given.seeds, "One training for each of these, such as 0,1,2")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--batch", given.batch, "Images in a batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--device", given.device, "cpu, or cpu:0 to cpu:63")->capture_default_str();
  app.add_option("--data", given.data, "The images and labels")->capture_default_str();
  auto* save = app.add_option("--save", given.save, "Keep the last seed's weights (safetensors)");
  app.add_option("--load", given.load, "Train nothing: test these weights")->excludes(save);
  try {
    app.parse(count, arguments);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  return -1;
}
