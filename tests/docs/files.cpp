// SPDX-License-Identifier: BSD-3-Clause
// The examples of the reference's pages on files, data and TensorBoard.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "../support/temporary_directory.hpp"
#include <doctest/doctest.h>

#include <heddle/data/loader.hpp>
#include <heddle/io/csv.hpp>
#include <heddle/io/file.hpp>
#include <heddle/io/json.hpp>
#include <heddle/io/safetensors.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/random.hpp>
#include <heddle/tensorboard/training_log.hpp>
#include <heddle/training/callback.hpp>

namespace {

//! [json_events]
// Adds up the numbers of a JSON text, and writes down the names of its members.
class number_sum final : public heddle::json_events {
 public:
  double sum = 0;
  std::vector<std::string> names;

  void key(std::string& name) override { names.push_back(std::move(name)); }
  void natural(std::uint64_t value) override { sum += static_cast<double>(value); }
  void number(double value) override { sum += value; }
  void string(std::string&) override {}
  void boolean(bool) override {}
  void null() override {}
  void begin_object() override { ++depth_; }
  void end_object() override { --depth_; }
  void begin_array() override { ++depth_; }
  void end_array() override { --depth_; }
  [[noreturn]] void malformed() override {
    throw std::runtime_error("no JSON at byte " + std::to_string(offset()) + ", " +
                             std::to_string(depth_) + " levels deep");
  }

 private:
  int depth_ = 0;
};
//! [json_events]

//! [dataset]
// Samples that are computed: (x, x²) for x from 0 to size() - 1. A model of `dataset`.
struct squares {
  std::int64_t size() const { return 10; }
  std::tuple<float, float> get(std::int64_t i) const {
    const auto x = static_cast<float>(i);
    return {x, x * x};
  }
};
static_assert(heddle::dataset<squares>);
//! [dataset]

//! [collate]
// Samples of a type of your own need a collate beside it, which makes their batch.
struct sentence {
  std::vector<std::int64_t> words;
};
// (samples, longest sentence), the shorter ones filled up with 0
heddle::tensor<std::int64_t, 2> collate(const std::vector<sentence>& samples) {
  std::size_t longest = 0;
  for (const sentence& each : samples) longest = std::max(longest, each.words.size());
  std::vector<heddle::tensor<std::int64_t, 1>> rows;
  for (const sentence& each : samples) {
    std::vector<std::int64_t> padded = each.words;
    padded.resize(longest);
    rows.emplace_back(padded);
  }
  return heddle::collate(rows);  // stacks rows of the same length
}
//! [collate]

}  // namespace

TEST_CASE("files are read whole and replaced whole") {
  const temporary_directory directory;
  const std::string path = directory / "notes.txt";
  //! [write_file]
  heddle::write_file(path, "first\n");  // replaces the file in one step, on the disk on return
  const std::string text = heddle::read_file(path);
  // A file of a stranger: with a budget, larger ones throw io_error.
  const std::string small = heddle::read_file(path, 1 << 20);
  //! [write_file]
  CHECK((text == "first\n" && small == text));

  //! [atomic_file]
  heddle::atomic_file file(path);
  file.write("one\n");  // into a temporary beside it
  file.write("two\n");
  const std::string before = heddle::read_file(path);  // still "first\n"
  file.commit();                                       // now "one\ntwo\n"
  //! [atomic_file]
  CHECK((before == "first\n" && heddle::read_file(path) == "one\ntwo\n"));
  CHECK(directory.names() == std::vector<std::string>{"notes.txt"});
}

TEST_CASE("files are mapped") {
  const temporary_directory directory;
  const std::string path = directory / "elements.bin";
  const float values[] = {1, 2, 3, 4};
  heddle::write_file(path, {reinterpret_cast<const char*>(values), sizeof values});
  //! [map_file]
  // Raw elements as a tensor, without reading them first.
  const heddle::handle<heddle::storage> mapped =
      heddle::map_file(path, heddle::unlimited_bytes);  // the usual budget
  const heddle::tensor<float, 2> x(mapped, reinterpret_cast<float*>(mapped->data()), {2, 2},
                                   heddle::contiguous_strides(heddle::extents<2>{2, 2}));
  //! [map_file]
  CHECK((x(0, 1) == 2 && x(1, 1) == 4));
}

TEST_CASE("tables") {
  const temporary_directory directory;
  const std::string path = directory / "table.csv";
  //! [csv]
  heddle::write_file(path, "height; weight\n1.8; 80\n1.7; 65\n");
  heddle::csv_options options;
  options.separator = ';';
  options.skip_lines = 1;       // the names of the columns
  options.columns = 2;          // a row of another length throws io_error
  options.max_bytes = 1 << 20;  // as does a larger file
  const heddle::tensor<float, 2> table = heddle::read_csv<float>(path, options);  // (2, 2)
  //! [csv]
  CHECK((table.extent(0) == 2 && table(0, 0) == 1.8f && table(1, 1) == 65));
}

TEST_CASE("JSON") {
  //! [json]
  number_sum events;
  heddle::read_json(R"({"loss": [1, 0.5], "epoch": 3, "note": null})", events);
  //! [json]
  CHECK((events.sum == 4.5 && events.names == std::vector<std::string>{"loss", "epoch", "note"}));
  number_sum bad;
  CHECK_THROWS_WITH_AS(heddle::read_json("[1, 2", bad), "no JSON at byte 5, 1 levels deep",
                       std::runtime_error);
}

TEST_CASE("safetensors") {
  const temporary_directory directory;
  const std::string path = directory / "model.safetensors";
  //! [safetensors]
  const heddle::tensor<float, 2> weight{{1, 2}, {3, 4}};
  heddle::save_safetensors(path, {{"weight", weight}}, {{"format", "heddle"}});

  const heddle::safetensors_options options{.max_bytes = 1 << 30, .device = heddle::cpu()};
  const heddle::safetensors file = heddle::load_safetensors(path, options);
  const auto again = file.at("weight").as<float, 2>();  // throws where there is none
  const bool biased = file.find("bias") != nullptr;     // asks whether there is
  std::size_t bytes = 0;
  for (const auto& [name, value] : file.tensors) bytes += value.bytes();
  const std::string format = file.metadata.front().second;
  //! [safetensors]
  CHECK((again(1, 0) == 3 && !biased && bytes == 16 && format == "heddle"));
}

TEST_CASE("samples in batches") {
  //! [collate_use]
  const auto batch = collate({sentence{{5, 2, 8}}, sentence{{7}}});   // 5 2 8 | 7 0 0
  const auto numbers = heddle::collate(std::vector<float>{1, 2, 3});  // (3)
  //! [collate_use]
  CHECK((batch.extent(1) == 3 && batch(0, 2) == 8 && batch(1, 0) == 7 && batch(1, 2) == 0));
  CHECK(numbers(2) == 3);

  //! [dataset_use]
  for (auto& [x, y] : heddle::loader(squares{}, {.batch_size = 5})) {  // (5), (5), twice
    CHECK(y(4) == x(4) * x(4));
  }
  //! [dataset_use]
}

TEST_CASE("tensors as datasets, and parts of them") {
  //! [tensor_dataset]
  const heddle::tensor_dataset samples(heddle::randn<float, 2>({6, 3}),
                                       heddle::arange<std::int64_t>(6));
  const auto [x, label] = samples.get(4);  // views: (3) and a rank-0 label, 4
  const std::int64_t wanted[] = {5, 0};
  const auto [xs, labels] = samples.get_batch(wanted, 2);  // copies: (2, 3), (2)
  const auto& images = std::get<0>(samples.tensors());     // all of them, (6, 3)

  const heddle::subset odd(samples, heddle::tensor<std::int64_t, 1>{1, 3, 5});
  const auto third = std::get<1>(odd.get(2)).item();  // 5
  const std::int64_t last = odd.indices()(-1);        // 5, its place in `samples`
  //! [tensor_dataset]
  CHECK((x.extent(0) == 3 && label.item() == 4 && labels(0) == 5 && xs(1, 2) == images(0, 2)));
  CHECK((third == 5 && last == 5 && odd.size() == 3));
}

TEST_CASE("a loader that goes on where it stopped") {
  const heddle::tensor_dataset samples(heddle::arange<float>(10));
  //! [loader]
  heddle::loader_options options;
  options.batch_size = 4;
  options.shuffle = true;    // another order each epoch, the same on every platform
  options.drop_last = true;  // 10 samples: 2 batches
  heddle::loader batches(samples, options);
  using batch = decltype(batches)::batch_type;  // std::tuple<tensor<float, 1>>

  heddle::loader_state saved;
  std::vector<batch> seen;
  for (const batch& each : batches) {
    seen.push_back(each);
    if (seen.size() == 1) saved = batches.state();  // for a checkpoint: epoch 0, position 1
  }

  heddle::loader continued(samples, options);
  continued.restore(saved);
  const auto left = continued.sample_count() - saved.position * options.batch_size;  // 6 samples
  for (const batch& each : continued) seen.push_back(each);  // the second batch again
  //! [loader]
  CHECK((batches.size() == 2 && left == 6 && saved.position == 1));
  CHECK((batches.options().drop_last && batches.samples().size() == 10));
  REQUIRE(seen.size() == 3);
  for (int i = 0; i < 4; ++i) CHECK(std::get<0>(seen[1])(i) == std::get<0>(seen[2])(i));
}

TEST_CASE("random orders") {
  //! [permutation]
  const auto order = heddle::random_permutation(1797, 0);       // of seed 0
  const auto epoch_3 = heddle::random_permutation(1797, 0, 3);  // another of that seed
  const auto train = order.slice<0>(0, 1437), test = order.slice<0>(1437, heddle::to_end);
  //! [permutation]
  CHECK((train.size() + test.size() == 1797 && order(0) != epoch_3(0)));
}

TEST_CASE("curves, texts, histograms and images") {
  const temporary_directory directory;
  //! [writer]
  heddle::tensorboard::writer_options options;
  options.log_dir = directory.path() + "/runs/second";  // empty: runs/<date>_<host><comment>
  options.comment = "_wide";                            // not used here, as log_dir is given
  options.filename_suffix = ".train";                   // the end of the event file's name
  options.max_queue = 100;                              // written after 100 events
  options.flush_secs = 30;                              // or 30 seconds
  options.purge_step = 1000;  // a restart: an earlier run's steps from here are hidden
  heddle::tensorboard::summary_writer writer(options);

  writer.add_scalar("loss", 0.25, 1000);
  writer.add_scalars("losses", {{"train", 0.25}, {"test", 0.5}}, 1000);  // two curves in one chart
  writer.add_text("notes", "learning rate **0.1**", 1000);
  writer.add_histogram("weights", heddle::randn<float, 2>({64, 64}), 1000);
  writer.add_image("digit", heddle::rand<float, 2>({8, 8}), 1000, "HW");
  writer.flush();
  const std::string where = writer.log_dir();
  //! [writer]
  CHECK(where == directory.path() + "/runs/second");
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(where)) {
    files += entry.path().extension() == ".train";
  }
  CHECK(files == 1);
  CHECK(std::filesystem::exists(where + "/losses_test"));
}

TEST_CASE("a loop of one's own keeps a training log") {
  const temporary_directory directory;
  heddle::tensorboard::summary_writer writer({.log_dir = directory.path()});
  //! [training_log]
  // What `fit` does for its callbacks, in a loop of your own.
  heddle::tensorboard::training_log log(writer, "student/");
  heddle::training_run run;
  try {
    for (run.current.epoch = 1; run.current.epoch <= 3; ++run.current.epoch) {
      for (int batch = 0; batch < 10; ++batch) {
        run.step = {{"loss", 1.0 / static_cast<double>(run.current.epoch)}};
        log.on_batch_end(run);  // student/step/loss, at 1, 2, …
      }
      run.log("accuracy", 0.9);
      log.on_epoch_end(run);  // student/epoch/accuracy, at 1, 2, 3
    }
    log.on_fit_end(run);
  } catch (...) {
    log.on_failure(run);  // brings what is there to the files
    throw;
  }
  //! [training_log]
  const std::string file = directory.names().front();
  const std::string events = heddle::read_file(directory / file.c_str());
  CHECK(events.find("student/step/loss") != std::string::npos);
  CHECK(events.find("student/epoch/accuracy") != std::string::npos);
}
