// SPDX-License-Identifier: BSD-3-Clause
// The training loop, its callbacks and its progress.
#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/data/loader.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/training/fit.hpp>
#include <heddle/training/progress.hpp>

using heddle::fit;
using heddle::training_run;

namespace {

// Five samples, 0 to 4, in batches of two.
auto five() {
  return heddle::loader(heddle::tensor_dataset(heddle::arange<float>(5.f)), {.batch_size = 2});
}

// Writes down each moment.
struct diary {
  std::string* seen;
  void on_fit_begin(training_run&) { *seen += "fit("; }
  void on_epoch_begin(training_run& run) { *seen += std::to_string(run.current.epoch) + "("; }
  void on_batch_end(training_run& run) { *seen += std::to_string(run.current.batches); }
  void on_epoch_end(training_run&) { *seen += ")"; }
  void on_fit_end(training_run&) { *seen += ")"; }
  void on_failure(training_run&) { *seen += "!"; }
};

struct only_batches {
  int count = 0;
  void on_batch_end(training_run&) { ++count; }
};

std::string count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return std::to_string(count);
}

}  // namespace

TEST_CASE("every batch of every epoch is stepped, and the loss is the mean over samples") {
  auto batches = five();
  int steps = 0;
  const auto history = fit({.epochs = 3}, batches, [&](auto& batch) {
    auto& [x] = batch;
    ++steps;
    return x(0);  // 0, 2, 4 for batches of 2, 2 and 1
  });
  CHECK(steps == 9);
  REQUIRE(history.epochs.size() == 3);
  CHECK(history.stop_reason.empty());
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(history.epochs[i].epoch == static_cast<std::int64_t>(i) + 1);
    CHECK(history.epochs[i].batches == 3);
    CHECK(history.epochs[i].samples == 5);
    CHECK(history.epochs[i].at("loss") == doctest::Approx((0 * 2 + 2 * 2 + 4 * 1) / 5.0));
    CHECK(history.epochs[i].seconds >= 0);
  }
  CHECK(history.of("loss").size() == 3);
  CHECK_THROWS_WITH_AS(static_cast<void>(history.last().at("accuracy")),
                       doctest::Contains("no metric of this name: \"accuracy\"; it has \"loss\""),
                       heddle::value_error);
}

TEST_CASE("a step may return named metrics and tensors; one left out is the mean of the others") {
  const std::vector<int> batches{0, 1, 2, 3};
  const auto history = fit({}, batches, [](int batch) {
    const heddle::tensor<float, 0> loss(static_cast<float>(batch));
    if (batch == 3) return heddle::step_metrics{{"accuracy", 0.5}, {"loss", loss}};
    if (batch == 2) return heddle::step_metrics{{"loss", loss}};
    return heddle::step_metrics{{"accuracy", 1}, {"loss", loss}};
  });
  CHECK(history.last().samples == 4);
  CHECK(history.last().at("loss") == doctest::Approx(1.5));
  CHECK(history.last().at("accuracy") == doctest::Approx(2.5 / 3));
  CHECK(history.last().metrics[0].name == "accuracy");
  const auto tensors = fit({}, batches, [](int) { return heddle::ones<double, 1>({1}); });
  CHECK(tensors.last().at("loss") == 1);
}

TEST_CASE("callbacks are told every moment, in order, and progress last") {
  std::string seen;
  only_batches counter;
  fit({.epochs = 2, .callbacks = {diary{&seen}, &counter}, .progress = diary{&seen}}, five(),
      [](auto&) { return 0.0; });
  CHECK(seen == "fit(fit(1(1(112233))2(2(112233))))");
  CHECK(counter.count == 6);
}

TEST_CASE("a callback of the end of an epoch logs what later ones monitor") {
  const double scores[] = {0.1, 0.3, 0.2, 0.3, 0.25, 0.9};
  heddle::early_stopping stopper{.monitor = "validation accuracy", .patience = 3, .maximize = true};
  const auto validate = heddle::on_epoch_end(
      [&](training_run& run) { run.log("validation accuracy", scores[run.current.epoch - 1]); });
  const auto history =
      fit({.epochs = 6, .callbacks = {validate, &stopper}}, five(), [](auto&) { return 1.0; });
  CHECK(history.epochs.size() == 5);
  CHECK(stopper.best == 0.3);
  CHECK(stopper.best_epoch == 2);
  CHECK(history.stop_reason == "validation accuracy has not improved since epoch 2");
  CHECK_THROWS_AS(fit({.callbacks = {heddle::early_stopping{.monitor = "x"}}}, five(),
                      [](auto&) { return 1.0; }),
                  heddle::value_error);
}

TEST_CASE("early stopping of a loss counts improvements above min_delta, and no NaN") {
  const auto epochs_until_stop = [](std::vector<double> losses, double min_delta) {
    const auto log = heddle::on_epoch_end([&](training_run& run) {
      run.log("monitored", losses[static_cast<std::size_t>(run.current.epoch - 1)]);
    });
    const heddle::early_stopping stopper{
        .monitor = "monitored", .patience = 2, .min_delta = min_delta};
    return fit({.epochs = static_cast<std::int64_t>(losses.size()), .callbacks = {log, stopper}},
               five(), [](auto&) { return 1.0; })
        .epochs.size();
  };
  CHECK(epochs_until_stop({5, 4, 3, 2, 1}, 0) == 5);
  CHECK(epochs_until_stop({5, 4, 4, 4, 1}, 0) == 4);
  CHECK(epochs_until_stop({5, 4.95, 4.9, 4.8, 1}, 0.5) == 3);
  CHECK(epochs_until_stop({NAN, NAN, 3, 2, 1}, 0) == 2);
}

TEST_CASE("early stopping judges each training by its own epochs") {
  heddle::early_stopping stopper{.patience = 2};
  const auto train = [&](double loss) {
    return fit({.epochs = 4, .callbacks = {&stopper}}, five(), [&](auto&) { return loss; });
  };
  CHECK(train(1).epochs.size() == 3);
  CHECK(train(2).epochs.size() == 3);
  CHECK(stopper.best == 2);
  CHECK(stopper.best_epoch == 1);
}

TEST_CASE("a stop request ends training after its batch, before another is loaded") {
  auto batches = five();
  std::string seen;
  const auto stop = heddle::on_batch_end([](training_run& run) {
    if (run.current.batches < 2) return;
    run.stop("asked to");
    run.stop("too late");
  });
  const auto history =
      fit({.epochs = 3, .callbacks = {diary{&seen}, stop}}, batches, [](auto&) { return 1.0; });
  CHECK(seen == "fit(1(12))");
  CHECK(history.stop_reason == "asked to");
  CHECK(history.last().samples == 4);
  CHECK(batches.state().position == 2);
  seen.clear();
  const auto none =
      fit({.callbacks = {diary{&seen},
                         heddle::on_epoch_begin([](training_run& run) { run.stop("at once"); })}},
          batches, [](auto&) { return 1.0; });
  CHECK(none.epochs.empty());
  CHECK(seen == "fit(1()");
  CHECK_THROWS_AS(static_cast<void>(none.last()), heddle::state_error);
}

TEST_CASE("a loss that is not finite ends training at its batch, with a sentence") {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity(), -HUGE_VAL}) {
    int steps = 0;
    std::string seen, message;
    try {
      fit({.epochs = 3, .progress = diary{&seen}}, five(),
          [&](auto&) { return ++steps == 5 ? bad : 0.5; });
    } catch (const heddle::value_error& failure) {
      message = failure.what();
    }
    CHECK(steps == 5);
    const std::string name = bad != bad ? "nan" : bad > 0 ? "inf" : "-inf";
    CHECK(message.find("heddle::fit: the loss is not finite: " + name +
                       " at epoch 2, batch 2; the epoch's mean before was 0.5; ") == 0);
    CHECK(seen == "fit(1(123)2(1!");
  }
  // Of several metrics only the loss must be finite.
  const std::vector<int> one{1};
  const auto history = fit({}, one, [](int) {
    return heddle::step_metrics{{"ratio", std::nan("")}, {"loss", 1.f}};
  });
  CHECK(std::isnan(history.last().at("ratio")));
  CHECK_THROWS_WITH_AS(fit({}, one, [](int) { return std::nanf(""); }),
                       doctest::Contains("nan at epoch 1, batch 1, its first step; "),
                       heddle::value_error);
}

TEST_CASE("exceptions of a step pass through, callbacks are told") {
  std::string seen;
  CHECK_THROWS_WITH_AS(fit({.progress = diary{&seen}}, five(),
                           [](auto&) -> double { throw std::runtime_error("mine"); }),
                       "mine", std::runtime_error);
  CHECK(seen == "fit(1(!");
}

TEST_CASE("a loader without a batch is refused, and so are negative epochs") {
  CHECK_THROWS_WITH_AS(fit({}, std::vector<int>(), [](int) { return 1.0; }),
                       doctest::Contains("the loader has no batch: epoch 1"), heddle::value_error);
  CHECK_THROWS_AS(fit({.epochs = -1}, five(), [](auto&) { return 1.0; }), heddle::value_error);
  CHECK(fit({.epochs = 0}, five(), [](auto&) { return 1.0; }).epochs.empty());
}

TEST_CASE("a resumed training continues with the epoch and the batch that follow") {
  auto whole = heddle::loader(heddle::tensor_dataset(heddle::arange<float>(7.f)),
                              {.batch_size = 2, .shuffle = true, .seed = 3});
  std::vector<float> all, resumed;
  heddle::loader_state saved;
  fit({.epochs = 3}, whole, [&](auto& batch) {
    all.push_back(std::get<0>(batch)(0));
    if (all.size() == 6) saved = whole.state();
    return 1.0;
  });
  auto again = heddle::loader(heddle::tensor_dataset(heddle::arange<float>(7.f)),
                              {.batch_size = 2, .shuffle = true});
  again.restore(saved);
  const auto history =
      fit({.epochs = 3, .completed_epochs = static_cast<std::int64_t>(saved.epoch)}, again,
          [&](auto& batch) {
            resumed.push_back(std::get<0>(batch)(0));
            return 1.0;
          });
  CHECK(resumed == std::vector<float>(all.begin() + 6, all.end()));
  CHECK(history.epochs[0].epoch == 2);
  CHECK(history.epochs[0].batches == 2);
}

TEST_CASE("elsewhere than on a terminal, progress is one line an epoch") {
  std::ostringstream out;
  fit({.epochs = 10, .progress = heddle::console_progress(out)}, five(), [](auto&) {
    return heddle::step_metrics{{"loss", 0.25}, {"accuracy", 0.5}};
  });
  const std::string text = out.str();
  CHECK(count_of(text, "\n") == "10");
  CHECK(text.find("epoch  1/10: 5 samples in 0.0 s, ") == 0);
  CHECK(count_of(text, " samples/s, loss 0.25, accuracy 0.5\n") == "10");
  CHECK(text.find('\r') == text.npos);
  CHECK(text.find('\x1b') == text.npos);
}

TEST_CASE("long epochs show lines in between, with what is left") {
  std::ostringstream out;
  fit({.progress = heddle::console_progress(out, {.line_interval = 0})}, five(),
      [](auto&) { return 0.25; });
  CHECK(out.str().find("epoch 1/1, batch 2/3: ") != std::string::npos);
  CHECK(out.str().find(" samples/s, ETA 0.0 s, loss 0.25\n") != std::string::npos);
}

TEST_CASE("on a terminal a bar is drawn over, fits the line, and leaves the epoch's line") {
  std::ostringstream out;
  using terminal = heddle::console_options::terminal;
  fit({.progress = heddle::console_progress(
           out, {.is_terminal = terminal::yes, .bar_interval = 0, .columns = 60})},
      five(), [](auto&) {
        return heddle::step_metrics{{"loss", 0.25}, {"a metric of quite a long name", 0.5}};
      });
  const std::string text = out.str();
  CHECK(text.find("\repoch 1/1 [######--------------] 1/3, ") == 0);
  CHECK(text.find("\repoch 1/1 [####################] 3/3, ") != text.npos);
  CHECK(count_of(text, "\n") == "1");
  CHECK(text.find("\x1b[Kepoch 1/1: 5 samples in ") != text.npos);
  for (std::size_t at = 0; (at = text.find("\repoch", at)) != text.npos; ++at) {
    CHECK(text.find("\x1b[K", at) - at - 1 < 60);
  }
}

TEST_CASE("a failure leaves what was drawn, and the cursor on a new line") {
  std::ostringstream out;
  int steps = 0;
  CHECK_THROWS_AS(
      fit({.progress = heddle::console_progress(
               out, {.is_terminal = heddle::console_options::terminal::yes, .bar_interval = 0})},
          five(), [&](auto&) { return ++steps == 2 ? std::nan("") : 1.0; }),
      heddle::value_error);
  CHECK(out.str().ends_with("\x1b[K\n"));
}

TEST_CASE("why training stopped is shown") {
  std::ostringstream out;
  fit({.callbacks = {heddle::on_epoch_end([](training_run& run) { run.stop("good enough"); })},
       .progress = heddle::console_progress(out)},
      five(), [](auto&) { return 1.0; });
  CHECK(out.str().ends_with("\nstopped: good enough\n"));
}
