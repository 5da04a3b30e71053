// SPDX-License-Identifier: BSD-3-Clause
// The examples of docs/tutorial.md.
#include <iostream>

#include "printed.hpp"

#include <heddle/heddle.hpp>
#include <heddle/io/safetensors.hpp>
#include <heddle/tensorboard/training_log.hpp>

namespace {

//! [module]
struct classifier {
  heddle::nn::linear fc1{2, 16}, fc2{16, 2};
  HEDDLE_MODULE(classifier, fc1, fc2)

  // x: (points, 2). Returns (points, 2), one number for each class.
  auto forward(const auto& x) { return fc2(heddle::relu(fc1(x))); }
};
//! [module]

//! [data]
// Points of a square, (points, 2), and whether each lies within a circle, (points).
auto make_points(std::int64_t count) {
  heddle::tensor<float, 2> points = heddle::rand<float, 2>({count, 2}) * 2 - 1;
  heddle::tensor<std::int64_t, 1> inside =
      heddle::cast<std::int64_t>(sum<-1>(points * points) < 0.5f);
  return heddle::tensor_dataset(points, inside);
}
//! [data]

//! [accuracy]
double accuracy_of(classifier& model, const auto& samples, heddle::device where) {
  heddle::accuracy right;
  for (auto& [x, y] : heddle::loader(samples, {.batch_size = 100})) {
    right.add(heddle::inference(model)(x.to(where)), y);
  }
  return right.value();
}
//! [accuracy]

}  // namespace

TEST_CASE("the tutorial's tensors") {
  check_output("tutorial_tensors", [] {
    //! [tensors]
    heddle::tensor<float, 2> a{{1, 2, 3}, {4, 5, 6}};  // (2, 3)
    auto ones = heddle::ones<float, 2>({2, 3});
    auto steps = heddle::arange<std::int64_t>(6);                     // (6)
    auto column = heddle::reshape(heddle::arange<float>(2), {2, 1});  // (2, 1)

    std::cout << a << '\n' << to_string(a.extents()) << ' ' << a.extent(-1) << '\n';
    std::cout << a(0, 2) << ' ' << a(heddle::all, heddle::slice(1, 3)) << '\n';
    //! [tensors]
    CHECK((ones.size() == 6 && steps.size() == 6 && column.size() == 2));
  });
}

TEST_CASE("the tutorial's expressions") {
  const heddle::tensor<float, 2> a{{1, 2, 3}, {4, 5, 6}};
  check_output("tutorial_expressions", [&] {
    //! [expressions]
    auto e = sqrt(a) * 2 + 1;                     // a description: nothing is computed yet
    heddle::tensor<float, 2> b = e;               // one loop over a computes it
    heddle::tensor<float, 1> rows = mean<-1>(b);  // (2)
    heddle::tensor<float, 2> centred = b - mean<-1>(b, heddle::keepdim);  // (2, 3)
    b += centred;  // writes into b's elements
    std::cout << b << '\n' << rows << '\n';
    //! [expressions]
  });
  check_output("tutorial_let", [&] {
    //! [let]
    // x * sigmoid(x): the lambda's x is read once, however often it is written
    heddle::tensor<float, 2> once = heddle::let([](auto x) { return x * sigmoid(x); }, a - 3);

    // the same as a function with a name; numbers are arguments of the program
    constexpr auto swish = heddle::fused([](auto x, auto beta) { return x * sigmoid(beta * x); });
    heddle::tensor<float, 2> steep = swish(a - 3, 2);
    std::cout << once << '\n' << steep << '\n';
    //! [let]
  });
}

TEST_CASE("the tutorial's gradients") {
  check_output("tutorial_gradients", [] {
    //! [gradients]
    heddle::variable<float, 1> w(heddle::tensor<float, 1>{1, 2, 3}, true);  // requires a gradient
    heddle::variable loss = sum(w * w * w);
    loss.backward();
    std::cout << loss.item() << ": " << w.grad() << '\n';
    //! [gradients]
  });
}

TEST_CASE("the tutorial's training") {
  run_apart([] {
    //! [split]
    heddle::manual_seed(0);
    const auto parts = heddle::random_split(make_points(1000), {800, 200}, 0);
    const auto& [training, test] = parts;
    //! [split]
    //! [optimizer]
    classifier model;
    heddle::optim::adamw optimizer(heddle::parameters(model), {.lr = 1e-2});
    //! [optimizer]
    const double before = accuracy_of(model, test, heddle::cpu());
    //! [fit]
    heddle::device where = heddle::cpu();
    heddle::to(model, where);
    heddle::tensorboard::summary_writer writer("runs/circle");
    heddle::loader batches(training, {.batch_size = 32, .shuffle = true, .seed = 0});

    heddle::training_history history = heddle::fit(
        {.epochs = 10, .callbacks = {heddle::tensorboard::training_log(writer)}}, batches,
        [&](auto& batch) {
          auto& [x, y] = batch;
          heddle::variable loss = heddle::cross_entropy(model(x.to(where)), y.to(where));
          optimizer.zero_grad();
          loss.backward();
          optimizer.step();
          return loss.item();
        });
    //! [fit]
    //! [evaluate]
    double accuracy = accuracy_of(model, test, where);
    writer.add_scalar("test accuracy", accuracy, 10);
    writer.close();
    //! [evaluate]
    CHECK(history.epochs.size() == 10);
    CHECK(history.of("loss").front() > history.last().at("loss"));
    CHECK(accuracy > 0.9);
    CHECK(before < 0.9);
    //! [save]
    heddle::save_safetensors("circle.safetensors", heddle::state_dict(model));

    classifier reloaded;
    heddle::load_state_dict(reloaded, heddle::load_safetensors("circle.safetensors"));
    //! [save]
    CHECK(accuracy_of(reloaded, test, where) == accuracy);
    //! [device]
    heddle::device other = heddle::parse_device("cpu:1");  // or "cuda:0"
    heddle::to(model, other);
    heddle::tensor<float, 2> x = heddle::tensor<float, 2>{{0.1f, 0.2f}}.to(other);
    heddle::tensor<float, 2> y = heddle::inference(model)(x);  // on other
    int inside = y.to(heddle::cpu())(0, 1) > y.to(heddle::cpu())(0, 0);
    //! [device]
    CHECK(inside == 1);
    CHECK(y.device() == other);
  });
}
