// SPDX-License-Identifier: BSD-3-Clause
// Trains a small network to read handwritten digits, and says how many unseen ones it reads right.
//
// The data (examples/data/README.md) are 1 797 images of 8 x 8 pixels. 1 437 are trained on, the
// other 360 only tested on: always the same, drawn once with seed 0. What differs between the seeds
// of --seeds is the first weights and the order of the images. The last line is the seeds' mean.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <system_error>
#include <unistd.h>
#include <vector>

#include "model.hpp"
#include "options.hpp"

#include <heddle/io/csv.hpp>
#include <heddle/io/file.hpp>
#include <heddle/io/safetensors.hpp>
#include <heddle/tensorboard/training_log.hpp>

// The images, (1797, 64) from 0 to 1, and what they show, (1797).
auto read_digits(const std::string& path) {
  const auto table = heddle::read_csv<float>(path, {.columns = 65});
  if (table.extent(0) != 1797) {
    heddle::raise<heddle::io_error>("digits: the file is truncated or another one: ", path, " has ",
                                    table.extent(0), " rows; 1797 are expected");
  }
  for (std::int64_t i = 0; i < 1797; ++i) {
    const double label = table(i, 64);
    if (!(label >= 0 && label <= 9) || label != static_cast<int>(label)) {
      heddle::raise<heddle::io_error>("digits: a label is no digit: ", label, " at line ", i + 1,
                                      " of ", path, "; 0 to 9 are expected in column 65");
    }
  }
  heddle::tensor<float, 2> pixels = table.slice<1>(0, 64) / 16.f;
  heddle::tensor<std::int64_t, 1> labels = heddle::cast<std::int64_t>(table(heddle::all, 64));
  return heddle::tensor_dataset(pixels, labels);
}

// The share of images that the model reads right.
template <class Images>
double test_accuracy(digits_model& model, const Images& images, heddle::device where) {
  heddle::accuracy right;
  for (auto& [x, y] : heddle::loader(images, {.batch_size = 360})) {
    right.add(heddle::inference(model)(x.to(where)), y);  // inference: no gradients
  }
  return right.value();
}

// Trains with AdamW, at a learning rate that falls to 0 along a cosine. The log may be null.
template <class Images>
void train(digits_model& model, const Images& images, std::uint64_t seed, heddle::device where,
           heddle::tensorboard::summary_writer* log, const options& given) {
  heddle::optim::adamw optimizer(heddle::parameters(model), {.lr = 1e-2, .weight_decay = 0.3});
  heddle::optim::cosine_lr schedule(optimizer, given.epochs);
  struct lower_rate {
    heddle::optim::cosine_lr<heddle::optim::adamw<float>>& schedule;
    void on_epoch_end(heddle::training_run&) { schedule.step(); }
  };
  heddle::loader batches(images, {.batch_size = given.batch, .shuffle = true, .seed = seed});

  std::vector<heddle::callback> callbacks{lower_rate{schedule}};
  if (log != nullptr) callbacks.push_back(heddle::tensorboard::training_log(*log));
  heddle::fit({.epochs = given.epochs,
               .callbacks = callbacks,
               .progress = heddle::console_progress(std::cout)},
              batches, [&](auto& batch) {
                auto& [x, y] = batch;
                heddle::variable loss = heddle::cross_entropy(model(x.to(where)), y.to(where));
                optimizer.zero_grad();
                loss.backward();
                optimizer.step();
                return loss.item();
              });
}

// Where the weights go without --save, until they are read again.
std::string temporary_file() {
  std::error_code failure;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(failure);
  if (failure) {
    heddle::raise<heddle::io_error>(
        "digits: there is no folder for temporary files: ", failure.message(),
        "; let TMPDIR name one, or give --save a file");
  }
  return folder / ("digits-" + std::to_string(getpid()) + ".safetensors");
}

// Throws io_error where the weights could not be saved: before training, not after it.
void check_writable(const std::string& file) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored)) {
    heddle::raise<heddle::io_error>("digits: the weights cannot be saved: ", file,
                                    " is a directory; the name of a file is expected");
  }
  const heddle::atomic_file trial(file);  // leaves nothing behind
}

// Prints the progress and the accuracy. Throws what went wrong.
void run(const options& given) {
  const heddle::device where = heddle::parse_device(given.device);
  if (where.is_host()) heddle::set_num_threads(1, where);  // fastest for so small a network
  const auto parts = heddle::random_split(read_digits(given.data), {1437, 360}, 0);
  const auto& [training_images, test_images] = parts;

  double accuracy = 0;
  if (!given.load.empty()) {
    digits_model model;
    heddle::load_state_dict(heddle::to(model, where), heddle::load_safetensors(given.load));
    accuracy = test_accuracy(model, test_images, where);
  } else {
    const std::string file = !given.save.empty() ? given.save : temporary_file();
    check_writable(file);
    for (const std::uint64_t seed : given.seeds) {
      heddle::manual_seed(seed);
      digits_model model;
      std::optional<heddle::tensorboard::summary_writer> log;
      if (!given.logdir.empty()) {
        const std::string run = given.logdir + "/seed_" + std::to_string(seed);
        log.emplace(heddle::tensorboard::writer_options{.log_dir = run});
      }
      train(heddle::to(model, where), training_images, seed, where, log ? &*log : nullptr, given);
      const double trained = test_accuracy(model, test_images, where);
      if (log) {
        for (const auto& [name, value] : heddle::state_dict(model)) {
          log->add_histogram("weights/" + name, value, given.epochs);
        }
        log->add_scalar("test accuracy", trained, given.epochs);
        log->close();
      }
      heddle::save_safetensors(file, heddle::state_dict(model));

      // what was saved is read into another model, which must be as good
      digits_model fresh;
      heddle::load_state_dict(heddle::to(fresh, where), heddle::load_safetensors(file));
      const double reloaded = test_accuracy(fresh, test_images, where);
      if (given.save.empty()) std::remove(file.c_str());
      if (reloaded != trained) {
        heddle::raise<heddle::io_error>("digits: the reloaded weights give another accuracy: ",
                                        reloaded, "; ", trained, " is expected");
      }
      std::cout << "seed " << seed << ": " << trained << " of the test images are read right\n";
      accuracy += trained / static_cast<double>(given.seeds.size());
    }
  }
  std::cout << "test accuracy " << accuracy << std::endl;
  if (!std::cout) heddle::raise<heddle::io_error>("digits: the output cannot be written");
}

int main(int count, char** arguments) {
  options given;
  if (const int status = parse(count, arguments, given); status >= 0) return status;
  try {
    run(given);
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
