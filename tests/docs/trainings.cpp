// SPDX-License-Identifier: BSD-3-Clause
// The examples of docs/reference/training.md, placement.md and distributed.md.
#include <iostream>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "printed.hpp"

#include <heddle/distributed/local.hpp>
#include <heddle/distributed/reducer.hpp>
#include <heddle/nn/linear.hpp>
#include <heddle/optim/sgd.hpp>
#include <heddle/placement/sharded.hpp>
#include <heddle/training/fit.hpp>
#include <heddle/training/metrics.hpp>
#include <heddle/training/progress.hpp>

namespace {

//! [listener]
/// The losses of the last training, for a plot.
struct loss_curve {
  std::vector<double> losses;

  void on_fit_begin(heddle::training_run&) { losses.clear(); }
  void on_epoch_end(heddle::training_run& run) { losses.push_back(run.current.at("loss")); }
};
//! [listener]

//! [model]
struct two_layers {
  heddle::nn::linear fc1{8, 16}, fc2{16, 3};
  HEDDLE_MODULE(two_layers, fc1, fc2)

  auto forward(const auto& x) { return fc2(heddle::relu(fc1(x))); }
};
//! [model]

//! [policy]
/// A new stage as soon as the one before has its share of the parameters' bytes.
struct equal_shares {
  static heddle::placement::plan assign(std::span<const heddle::placement::layer_cost> layers,
                                        std::span<const heddle::device> devices) {
    std::int64_t all = 0, before = 0;
    for (const auto& layer : layers) all += layer.bytes;
    heddle::placement::plan plan;
    plan.devices.assign(devices.begin(), devices.end());
    const auto count = static_cast<std::int64_t>(devices.size());
    for (const auto& layer : layers) {
      plan.layers.push_back({layer, static_cast<int>(before * count / all)});
      before += layer.bytes;
    }
    return plan;
  }
};
static_assert(heddle::placement::placement_policy<equal_shares>);
//! [policy]

//! [communicator]
template <heddle::communicator Communicator>
float mean_over_ranks(Communicator& c, float mine) {
  const heddle::tensor<float, 1> sum{mine};
  c.all_reduce(sum);
  return sum(0) / static_cast<float>(c.size());
}
//! [communicator]

}  // namespace

TEST_CASE("training tells what it does") {
  const printed out;
  const std::vector<double> batches{3, 2, 1};
  const auto step = [](double loss) { return loss; };
  const auto validate = [] { return 0.5; };
  //! [callbacks]
  loss_curve curve;
  heddle::training_history history = heddle::fit(
      {.epochs = 5,
       .callbacks =
           {
               &curve,
               heddle::on_epoch_begin([](heddle::training_run& run) {
                 std::cout << "epoch " << run.current.epoch << " of " << run.epochs << '\n';
               }),
               heddle::on_batch_end([](heddle::training_run& run) {
                 std::cout << run.current.batches << '/' << run.batches_per_epoch << ": "
                           << run.step.front().value << '\n';
               }),
               heddle::on_epoch_end([&](heddle::training_run& run) {
                 run.log("validation", validate());
                 if (run.current.epoch == 2) run.stop("two epochs are enough");
               }),
           }},
      batches, step);
  //! [callbacks]
  CHECK(curve.losses == std::vector<double>{2, 2});
  //! [history]
  const heddle::epoch_record& last = history.last();
  double loss = last.at("loss");                       // throws where there is none
  const double* top5 = last.find("top5");              // null where there is none
  std::vector<double> all = history.of("validation");  // by epoch
  for (const heddle::named_value& each : last.metrics) {
    std::cout << each.name << ' ' << each.value << '\n';
  }
  std::cout << last.samples << " samples in " << last.seconds << " s; ended because "
            << history.stop_reason << '\n';
  //! [history]
  CHECK((loss == 2 && top5 == nullptr && all == std::vector<double>{0.5, 0.5}));
  CHECK(last.metrics.size() == 2);
}

TEST_CASE("training stops early") {
  const printed out;
  const std::vector<double> batches{1};
  const auto train = [](double) { return 0.25; };
  auto right = [epoch = 0]() mutable { return ++epoch < 4 ? 0.1 * epoch : 0.3; };
  //! [early-stopping]
  heddle::early_stopping stopper{
      .monitor = "accuracy", .patience = 2, .min_delta = 0.001, .maximize = true};
  heddle::fit({.epochs = 100, .callbacks = {&stopper}}, batches, [&](auto& batch) {
    double loss = train(batch);
    return heddle::step_metrics{{"loss", loss}, {"accuracy", right()}};
  });
  std::cout << "the best was " << stopper.best << " at epoch " << stopper.best_epoch << ", "
            << stopper.waited << " epochs before the end\n";
  //! [early-stopping]
  CHECK((stopper.best == doctest::Approx(0.3) && stopper.best_epoch == 3 && stopper.waited == 2));
}

TEST_CASE("training goes on where an earlier run ended") {
  const printed out;
  const std::vector<double> batches{1, 1};
  const auto step = [](double loss) { return loss; };
  //! [trainer-options]
  heddle::trainer_options options{.epochs = 20, .completed_epochs = 18};  // trains 19 and 20
  options.progress = heddle::console_progress(std::cout);
  heddle::training_history history = heddle::fit(options, batches, step);
  //! [trainer-options]
  CHECK((history.epochs.size() == 2 && history.last().epoch == 20));
}

TEST_CASE("progress in a loop of one's own") {
  //! [console]
  std::ostringstream log;
  heddle::console_options options{.is_terminal = heddle::console_options::terminal::yes,
                                  .bar_interval = 0.5,  // seconds between two drawings
                                  .line_interval = 60,  // where it is no terminal
                                  .columns = 100};
  heddle::callback progress = heddle::console_progress(log, options);
  //! [console]
  //! [own-loop]
  using moment = heddle::callback::moment;
  heddle::training_run run;
  run.epochs = 2;
  progress.tell(moment::fit_begin, run);
  for (std::int64_t epoch = 1; epoch <= run.epochs && !run.stopping(); ++epoch) {
    run.current = {};
    run.current.epoch = epoch;
    progress.tell(moment::epoch_begin, run);
    run.current.set("loss", 0.5);  // … what training gives
    progress.tell(moment::epoch_end, run);
  }
  progress.tell(moment::fit_end, run);
  //! [own-loop]
  CHECK(log.str().find("epoch 2/2") != std::string::npos);
}

TEST_CASE("metrics add up") {
  //! [metrics]
  heddle::running_mean loss;
  loss.add(0.5, 32);  // of 32 samples
  loss.add(0.2, 16);
  double mean = loss.value(), samples = loss.weight();
  loss.reset();

  const heddle::tensor<float, 2> logits{{2, 0, 1}, {0, 3, 1}};
  const heddle::tensor<std::int64_t, 1> labels{0, 2};
  heddle::accuracy accuracy;
  accuracy.add(logits, labels);
  double share = accuracy.value();                                            // 0.5
  accuracy.reset();                                                           // for the next epoch
  heddle::tensor<std::int64_t, 1> classes = heddle::largest_of_rows(logits);  // 0, 1
  //! [metrics]
  CHECK((mean == doctest::Approx(0.4) && samples == 48 && loss.weight() == 0));
  CHECK((share == 0.5 && accuracy.count() == 0 && classes(0) == 0 && classes(1) == 1));
}

TEST_CASE("a model's layers are on several devices") {
  const printed out;
  const auto x = heddle::ones<float, 2>({4, 8});
  const heddle::tensor<std::int64_t, 1> y{0, 1, 2, 0};
  //! [sharded]
  const std::vector<heddle::device> devices{heddle::cpu(0), heddle::cpu(1)};
  using split = heddle::placement::explicit_map<0, 1>;  // fc1 to cpu:0, fc2 to cpu:1
  static_assert(split::stages.size() == 2);
  heddle::sharded<two_layers, split> model(two_layers(), devices);
  heddle::optim::sgd optimizer(heddle::parameters(model), {.lr = 0.1});
  heddle::variable loss = heddle::cross_entropy(model(x), y.to(model.last_device()));
  loss.backward();
  optimizer.step();
  //! [sharded]
  CHECK(loss.device() == heddle::cpu(1));
  //! [plan]
  const heddle::placement::plan& plan = model.plan();
  for (const heddle::placement::plan::entry& each : plan.layers) {
    std::cout << each.layer.name << ": stage " << each.stage << " of " << plan.devices.size()
              << ", on " << to_string(plan.device_of(each)) << '\n';
  }
  //! [plan]
  CHECK(out.text() == "fc1: stage 0 of 2, on cpu:0\nfc2: stage 1 of 2, on cpu:1\n");
  heddle::sharded<two_layers, equal_shares> shared(two_layers(), devices);
  CHECK(shared.plan().layers.size() == 2);
}

TEST_CASE("ranks combine what each has") {
  float mean = 0;
  //! [collectives]
  heddle::run_ranks(2, [&](heddle::local_communicator& c) {
    const auto mine = heddle::full<float, 1>({2}, static_cast<float>(c.rank()));
    c.all_reduce(mine, heddle::reduce_op::max);  // 1, 1 on both
    c.broadcast(mine, 0);                        // rank 0's

    const auto all = heddle::zeros<float, 1>({4});
    c.all_gather(mine, all);  // rank 0's, then rank 1's
    const auto part = heddle::zeros<float, 1>({1});
    c.reduce_scatter(mine, part);  // element rank() of the sum: 2

    if (c.rank() == 0) c.send(part, 1);
    if (c.rank() == 1) c.recv(part, 0);
    c.barrier();
    const float found = mean_over_ranks(c, part(0));
    if (c.rank() == 0) mean = found;
  });
  //! [collectives]
  CHECK(mean == 2);
}

TEST_CASE("a group of ranks in threads of one's own") {
  const printed out;
  //! [local-world]
  const heddle::local_options options{.deadline = 30};  // seconds
  heddle::local_world world(2, options);
  std::thread other([&] {
    heddle::local_communicator c = world.communicator(1);
    c.barrier();
    world.leave(1);  // it makes no more calls
  });
  heddle::local_communicator c = world.communicator(0);
  c.barrier();
  other.join();
  try {
    c.barrier();
  } catch (const heddle::communication_error& error) {
    std::cout << error.what() << '\n';  // rank 1 has ended
  }
  //! [local-world]
  CHECK(out.text().find("rank 1 has ended") != std::string::npos);
  //! [abort]
  heddle::local_world group(1);
  heddle::local_communicator only = group.communicator(0);
  only.abort("the data has ended");  // from any rank or thread, as group.abort(…)
  //! [abort]
  CHECK_THROWS_AS(only.barrier(), heddle::communication_error);
}

TEST_CASE("data parallel training") {
  std::vector<float> biases(2);
  //! [data-parallel]
  heddle::run_ranks(2, [&](heddle::local_communicator& c) {
    two_layers model;
    heddle::distributed_data_parallel parallel(model, c);  // rank 0's values go to all
    heddle::optim::sgd optimizer(heddle::parameters(parallel.module()), {.lr = 0.1});
    const auto x = heddle::full<float, 2>({4, 8}, static_cast<float>(c.rank()));
    heddle::variable loss = mean(square(parallel(x)));
    loss.backward();  // averages the gradients over the ranks
    optimizer.step();
    biases[static_cast<std::size_t>(c.rank())] = model.fc2.bias.value()(0);  // the same on both
  });
  //! [data-parallel]
  CHECK(biases[0] == biases[1]);
}
