// SPDX-License-Identifier: BSD-3-Clause
// The command line of this example.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

struct options {
  std::int64_t epochs = 30;
  std::vector<std::uint64_t> seeds{0, 1, 2, 3, 4};
  std::int64_t batch = 64;
  std::string device = "cpu";
  std::string data = HEDDLE_EXAMPLES_DATA "/digits.csv";
  std::string logdir;
  std::string save;
  std::string load;
};

// Reads "0,1,2". Returns what is wrong, or nothing.
inline std::string parse_seeds(std::string_view text, std::vector<std::uint64_t>& seeds) {
  seeds.clear();
  while (true) {
    const std::string_view one = text.substr(0, text.find(','));
    std::uint64_t seed = 0;
    const auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), seed);
    if (error != std::errc() || end != one.data() + one.size()) {
      return "\"" + std::string(one) + "\" is no seed; whole numbers from 0 on are expected";
    }
    seeds.push_back(seed);
    if (one.size() == text.size()) return {};
    text.remove_prefix(one.size() + 1);
  }
}

// Reads the command line. Returns the exit status where there is nothing to run: 0 after --help, 2
// after bad usage; otherwise -1.
inline int parse(int count, char** arguments, options& given) {
  CLI::App app("Trains a network on handwritten digits; the last line is its test accuracy.");
  app.add_option("--epochs", given.epochs, "How often each image is shown")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  // As text: CLI11's numbers wrap around below 0, and its lists skip what is empty.
  std::string seeds = "0,1,2,3,4";
  app.add_option("--seed,--seeds", seeds, "One training for each of these, such as 0,1,2")
      ->check([&](const std::string& text) { return parse_seeds(text, given.seeds); })
      ->capture_default_str();
  const auto names_a_file = [](const std::string& text) {
    return text.empty() ? std::string("the name is empty; name a file") : std::string();
  };
  app.add_option("--batch", given.batch, "Images in a batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--device", given.device, "cpu, cpu:0 to cpu:63, or cuda:0 and on")
      ->capture_default_str();
  app.add_option("--data", given.data, "The images and labels")->capture_default_str();
  app.add_option("--logdir", given.logdir, "Log the trainings there, for TensorBoard")
      ->check(names_a_file);
  auto* save = app.add_option("--save", given.save, "Keep the last seed's weights (safetensors)")
                   ->check(names_a_file);
  app.add_option("--load", given.load, "Train nothing: test these weights")
      ->excludes(save)
      ->check(names_a_file);
  try {
    app.parse(count, arguments);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  return -1;
}
