// SPDX-License-Identifier: BSD-3-Clause
// A training's numbers as curves: for the callbacks of `fit`.
#pragma once

#include <cstdint>
#include <string>

#include <heddle/tensorboard/summary_writer.hpp>

namespace heddle::inline v0::tensorboard {

/// Logs what a training's steps return, batch by batch, as `step/<name>`, and the metrics of its
/// epochs as `epoch/<name>`, with the samples a second. The writer outlives the training.
///
///     fit({.epochs = 20, .callbacks = {heddle::tensorboard::training_log(writer)}}, batches,
///     step);
class training_log {
 public:
  /// `prefix` stands before every tag, such as "teacher/".
  explicit training_log(summary_writer& writer, std::string prefix = "")
      : writer_(&writer), prefix_(std::move(prefix)) {}

  /// One point of each `step/<name>`, at the number of batches so far, from 1.
  template <class Run>
  void on_batch_end(Run& run) {
    ++batches_;
    for (const auto& each : run.step) {
      writer_->add_scalar(prefix_ + "step/" + each.name, each.value, batches_);
    }
  }
  /// One point of each `epoch/<name>`, at the epoch's number.
  template <class Run>
  void on_epoch_end(Run& run) {
    for (const auto& each : run.current.metrics) {
      writer_->add_scalar(prefix_ + "epoch/" + each.name, each.value, run.current.epoch);
    }
    if (run.current.seconds > 0) {
      writer_->add_scalar(prefix_ + "epoch/samples per second",
                          static_cast<double>(run.current.samples) / run.current.seconds,
                          run.current.epoch);
    }
  }
  /// Brings what was logged to the files.
  template <class Run>
  void on_fit_end(Run&) {
    writer_->flush();
  }
  /// What was logged before a failure is worth reading.
  template <class Run>
  void on_failure(Run&) {
    writer_->flush();
  }

 private:
  summary_writer* writer_;
  std::string prefix_;
  std::int64_t batches_ = 0;
};

}  // namespace heddle::inline v0::tensorboard
