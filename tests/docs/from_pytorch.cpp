// SPDX-License-Identifier: BSD-3-Clause
// The examples of docs/from-pytorch.md.
#include <iostream>

#include "printed.hpp"

#include <heddle/heddle.hpp>
#include <heddle/io/safetensors.hpp>

namespace {

//! [module]
struct net {
  heddle::nn::linear fc1{8, 16}, fc2{16, 3};
  heddle::nn::dropout drop{0.1};
  HEDDLE_MODULE(net, fc1, fc2, drop)

  auto forward(const auto& x) { return fc2(drop(heddle::relu(fc1(x)))); }
};
//! [module]

//! [parameters]
struct scaled_shift {
  heddle::parameter<float, 1> shift{{8}, heddle::nn::init::normal(0, 0.02)};
  heddle::buffer<float, 1> scale{{8}, heddle::nn::init::ones()};
  HEDDLE_MODULE(scaled_shift, shift, scale)

  auto forward(const auto& x) const { return x * scale + shift; }
};
//! [parameters]

}  // namespace

TEST_CASE("creation and indexing") {
  //! [creation]
  heddle::tensor<float, 2> a{{1, 2, 3}, {4, 5, 6}};
  auto z = heddle::zeros<float, 2>({2, 3});
  auto r = heddle::randn<float, 2>({2, 3});
  auto k = heddle::arange<std::int64_t>(0, 10, 2);
  auto l = heddle::linspace<double>(0, 1, 5);
  auto e = heddle::eye<float>(3);
  auto o = heddle::ones_like(a);
  std::vector<float> values(6);
  auto v = heddle::tensor<float, 2>(values, {2, 3});               // a copy
  auto p = heddle::from_pointer<float, 2>(values.data(), {2, 3});  // the vector's memory
  //! [creation]
  //! [indexing]
  float one = a(1, 2);                                           // a[1, 2].item()
  auto row = a(0);                                               // a[0]
  auto column = a(heddle::all, -1);                              // a[:, -1]
  auto part = a(heddle::all, heddle::slice(1, heddle::to_end));  // a[:, 1:]
  a(0) = 7.f;                                                    // a[0] = 7
  a(heddle::all, heddle::slice(0, 2)) = r(heddle::all, heddle::slice(1, 3));
  heddle::tensor<float, 2> rows = heddle::let(  // a[index]
      [](auto table, auto index) { return take(table, index); }, a,
      heddle::tensor<std::int64_t, 1>{1, 1, 0});
  //! [indexing]
  CHECK((one == 6 && row(0) == a(0, 0) && column.size() == 2 && part.extent(1) == 2));
  CHECK((rows.extent(0) == 3 && rows(0, 2) == 6 && z(0, 0) == 0 && k(4) == 8 && l(4) == 1));
  CHECK((e(1, 1) == 1 && o(1, 2) == 1 && v(1, 2) == 0 && p.data() == values.data()));
}

TEST_CASE("axes and broadcasting") {
  const auto x = heddle::ones<float, 3>({2, 3, 4});
  //! [axes]
  heddle::tensor<float, 2> s = sum<1>(x);                     // x.sum(1)
  heddle::tensor<float, 1> m = mean<0, -1>(x);                // x.mean((0, -1))
  heddle::tensor<float, 3> k = amax<-1>(x, heddle::keepdim);  // x.amax(-1, keepdim=True)
  heddle::tensor<float, 0> all = sum(x);                      // x.sum()
  heddle::tensor<float, 3> p = heddle::softmax<-1>(x);        // x.softmax(-1)
  auto t = heddle::permute<0, 2, 1>(x);                       // x.permute(0, 2, 1)
  auto f = heddle::flatten<1>(x);                             // x.flatten(1)
  auto r = heddle::reshape(x, {6, -1});                       // x.reshape(6, -1)
  heddle::tensor<float, 4> u = unsqueeze<0>(x) + 0.f;         // x.unsqueeze(0) + 0
  //! [axes]
  CHECK((s.extent(1) == 4 && m(0) == 1 && k.extent(2) == 1 && all.item() == 24 &&
         p(0, 0, 0) == 0.25f));
  CHECK((t.extent(1) == 4 && f.extent(1) == 12 && r.extent(1) == 4 && u.extent(0) == 1));
}

TEST_CASE("gradients") {
  const auto x = heddle::ones<float, 2>({2, 3});
  //! [autograd]
  heddle::variable<float, 2> w(x);         // torch.tensor(..., requires_grad=True)
  heddle::variable<float, 2> c(x, false);  // a constant
  heddle::variable loss = sum(w * w * c);
  loss.backward();
  heddle::tensor<float, 2> g = w.grad();
  w.zero_grad();

  auto [dw] = heddle::grad(evaluate(sum(w * w * w)), std::tuple{w}, {.create_graph = true});
  heddle::variable second = heddle::grad(evaluate(sum(dw)), w);  // 6 w
  //! [autograd]
  CHECK((g(0, 0) == 2 && second.value()(0, 0) == 6));
  //! [no_grad]
  {
    const heddle::no_grad off;
    heddle::variable y = w * 2;  // y.requires_grad() is false
  }
  heddle::tensor<float, 2> values = w.value();     // w.detach(): shares the elements
  heddle::variable half = w * detach(sigmoid(w));  // within a statement
  //! [no_grad]
  CHECK((values.data() == w.value().data() && half.requires_grad()));
}

TEST_CASE("modules, optimizers and state dicts") {
  run_apart([] {
    const auto x = heddle::ones<float, 2>({4, 8});
    const heddle::tensor<std::int64_t, 1> y{0, 1, 2, 0};
    //! [training]
    net model;
    heddle::optim::sgd optimizer(heddle::parameters(model), {.lr = 0.1, .momentum = 0.9});
    heddle::optim::step_lr schedule(optimizer, 30, 0.1);
    heddle::train(model);
    for (int epoch = 0; epoch < 2; ++epoch) {
      heddle::variable loss = heddle::cross_entropy(model(x), y);
      optimizer.zero_grad();
      loss.backward();
      heddle::optim::clip_grad_norm_(heddle::parameters(model), 1.0);
      optimizer.step();
      schedule.step();
    }
    heddle::eval(model);
    heddle::tensor<float, 2> logits = heddle::inference(model)(x);  // with torch.no_grad()
    //! [training]
    CHECK(logits.extent(1) == 3);
    //! [scaler]
    heddle::optim::grad_scaler_options options{.init_scale = 1024,  // 65536 by default
                                               .growth_factor = 2,
                                               .backoff_factor = 0.5,
                                               .growth_interval = 2000};
    heddle::optim::grad_scaler scaler(options);
    heddle::variable loss = heddle::cross_entropy(model(x), y);
    optimizer.zero_grad();
    scaler.scale(loss).backward();
    scaler.unscale_(optimizer);  // only to clip
    heddle::tensor<float, 0> norm = heddle::optim::clip_grad_norm_(heddle::parameters(model), 1.0);
    scaler.step(optimizer);  // not if a gradient is infinite or not a number
    scaler.update();
    double scale = scaler.get_scale();
    //! [scaler]
    CHECK((norm.item() > 0 && scale == 1024));
    //! [state]
    heddle::save_safetensors("net.safetensors", heddle::state_dict(model));
    heddle::save_safetensors("optimizer.safetensors", optimizer.state_dict());

    net other;
    heddle::load_state_dict(other, heddle::load_safetensors("net.safetensors"));
    for (const auto& [name, value] : heddle::state_dict(other)) {
      std::cout << name << ' ' << to_string(value.dtype()) << ' ' << value.size() << '\n';
    }
    heddle::nn::linear copy = heddle::clone(model.fc1);  // copy.deepcopy(model.fc1)
    //! [state]
    CHECK(copy.weight.value().data() != model.fc1.weight.value().data());
    scaled_shift shift;
    CHECK(heddle::parameter_count(shift) == 8);
    heddle::variable shifted = shift(x);
    CHECK(shifted.extent(1) == 8);
  });
}

TEST_CASE("data") {
  //! [data]
  auto images = heddle::rand<float, 2>({100, 8});
  auto labels = heddle::randint<std::int64_t, 1>(0, 3, {100});
  heddle::tensor_dataset samples(images, labels);
  auto [training, test] = heddle::random_split(samples, {80, 20}, 0);
  heddle::loader batches(training, {.batch_size = 16, .shuffle = true, .seed = 0});
  for (auto& [x, y] : batches) {
    std::cout << x.extent(0) << ' ' << y.extent(0) << '\n';
  }
  //! [data]
  CHECK(batches.size() == 5);
  CHECK(test.size() == 20);
}

TEST_CASE("data parallel") {
  //! [parallel]
  // Every rank is a thread of this process; rank r trains on its own share of the data.
  heddle::run_ranks(2, [](heddle::local_communicator& c) {
    heddle::nn::linear model(8, 3);  // rank 0's values go to all
    heddle::distributed_data_parallel parallel(model, c);
    heddle::optim::sgd optimizer(heddle::parameters(model), {.lr = 0.1});
    heddle::tensor<float, 2> x = heddle::full<float, 2>({4, 8}, static_cast<float>(c.rank()));
    heddle::variable loss = mean(parallel(x));
    loss.backward();  // averages the gradients over the ranks
    optimizer.step();
  });
  //! [parallel]
}

TEST_CASE("streams") {
  //! [streams]
  heddle::device where = heddle::cpu(0);  // or heddle::cuda(0)
  heddle::stream side(where);
  heddle::event ready;
  {
    const heddle::stream_scope scope(side);  // with torch.cuda.stream(side):
    auto x = heddle::ones<float, 1>({10}, where);
    ready.record(side);
  }
  ready.wait(heddle::current_stream(where));  // torch.cuda.current_stream().wait_event(ready)
  heddle::synchronize(where);                 // torch.cuda.synchronize()
  //! [streams]
  CHECK(ready.query());
}
