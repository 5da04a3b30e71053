// SPDX-License-Identifier: BSD-3-Clause
// Data parallelism over two ranks that are threads: gradients of halves against those of the whole.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/heddle.hpp>

using heddle::cpu;
using heddle::distributed_data_parallel;
using heddle::local_communicator;
using heddle::run_ranks;
using heddle::tensor;
using heddle::variable;

namespace {

template <class T>
struct mlp {
  heddle::nn::basic_linear<T> fc1{6, 16}, fc2{16, 8}, fc3{8, 3};
  HEDDLE_MODULE(mlp, fc1, fc2, fc3)
  auto forward(const auto& x) { return fc3(heddle::tanh(fc2(heddle::relu(fc1(x))))); }
};

template <class T>
std::vector<double> values(const heddle::any_tensor& t) {
  std::vector<double> result;
  const auto flat = tensor<T, 1>(t.storage(), reinterpret_cast<T*>(t.data()), {t.size()}, {1});
  for (const T each : flat) result.push_back(static_cast<double>(each));
  return result;
}

template <class T>
struct batch {
  tensor<T, 2> x;
  tensor<std::int64_t, 1> y;
};
template <class T>
std::vector<batch<T>> batches() {
  heddle::generator from(11);
  std::vector<batch<T>> made;
  for (int i = 0; i < 4; ++i) {
    made.push_back(
        {heddle::randn<T, 2>({8, 6}, from), heddle::randint<std::int64_t, 1>(0, 3, {8}, from)});
  }
  return made;
}

// Gradients after each of some steps, then the parameters, one after the other.
template <class T, class Model, class Call>
std::vector<std::vector<double>> trained(Model& model, Call call,
                                         const std::vector<batch<T>>& given, std::int64_t begin,
                                         std::int64_t end) {
  heddle::optim::sgd<T> optimizer(heddle::parameters(model), {.lr = 0.1, .momentum = 0.9});
  std::vector<std::vector<double>> result;
  for (const batch<T>& b : given) {
    variable<T, 0> loss = heddle::cross_entropy(call(b.x.template slice<0>(begin, end)),
                                                b.y.template slice<0>(begin, end));
    optimizer.zero_grad();
    loss.backward();
    for (const auto& p : heddle::parameters(model)) result.push_back(values<T>(p.grad()));
    optimizer.step();
  }
  for (const auto& p : heddle::parameters(model)) result.push_back(values<T>(p.value()));
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("two ranks with a half of each batch get the gradients of the whole batch", T,
                   double, float) {
  const double relative = std::is_same_v<T, double> ? 1e-12 : 1.3e-6;
  const double absolute = std::is_same_v<T, double> ? 1e-15 : 5e-5;
  heddle::manual_seed(3);
  mlp<T> whole;
  const auto expected = trained<T>(
      whole, [&](const auto& x) { return whole(x); }, batches<T>(), 0, 8);

  // Built here: seeds belong to the process. Rank 1's other values are replaced by rank 0's.
  std::vector<mlp<T>> models(2);
  for (int rank = 0; rank < 2; ++rank) {
    heddle::manual_seed(rank == 0 ? 3 : 4);
    models[static_cast<std::size_t>(rank)] = mlp<T>();
  }
  std::vector<std::vector<std::vector<double>>> got(2);
  run_ranks(2, [&](local_communicator& c) {
    const auto me = static_cast<std::size_t>(c.rank());
    const std::vector<batch<T>> mine = batches<T>();
    distributed_data_parallel parallel(models[me], c);
    got[me] = trained<T>(
        models[me], [&](const auto& x) { return parallel(x); }, mine, 4 * c.rank(),
        4 * c.rank() + 4);
  });
  CHECK(got[0] == got[1]);  // sums are formed in the order of ranks on both
  REQUIRE(got[0].size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    REQUIRE(got[0][i].size() == expected[i].size());
    double worst = 0;
    for (std::size_t k = 0; k < expected[i].size(); ++k) {
      const double allowed = absolute + relative * std::abs(expected[i][k]);
      worst = std::max(worst, std::abs(got[0][i][k] - expected[i][k]) / allowed);
    }
    CAPTURE(i);
    CHECK(worst <= 1);
  }
}

namespace {

// What backward did, in order.
using events = std::vector<std::string>;

// x itself; notes when backward passes it.
template <class T, int Rank>
variable<T, Rank> noted(const variable<T, Rank>& x, events& to, const char* name) {
  return heddle::record(
      x.value(),
      [&to, name](const auto& g) {
        to.push_back(name);
        return std::tuple{g};
      },
      x);
}

// A communicator that notes its reductions.
struct noting_communicator : local_communicator {
  events& to;
  noting_communicator(const local_communicator& c, events& noted_in)
      : local_communicator(c), to(noted_in) {}
  void all_reduce(const heddle::any_tensor& buffer, heddle::reduce_op op) {
    to.push_back("all_reduce of " + std::to_string(buffer.size()));
    local_communicator::all_reduce(buffer, op);
  }
};

}  // namespace

TEST_CASE(
    "the hook of the last layer's parameter fires before backward passes the earlier layers") {
  std::vector<events> seen(2);
  run_ranks(2, [&](local_communicator& c) {
    events& mine = seen[static_cast<std::size_t>(c.rank())];
    noting_communicator noting(c, mine);
    mlp<float> model;
    distributed_data_parallel parallel(model, noting);
    for (const auto& [name, p] : heddle::named_parameters(model)) {
      p.add_gradient_hook(
          [&mine, name = name](const heddle::any_tensor&) { mine.push_back(name); });
    }
    const variable<float, 2> x(heddle::ones<float, 2>({4, 6}));
    variable<float, 2> first = heddle::relu(model.fc1(noted(x, mine, "before fc1")));
    variable<float, 2> second = heddle::tanh(model.fc2(noted(first, mine, "before fc2")));
    variable<float, 2> third = model.fc3(noted(second, mine, "before fc3"));
    variable<float, 0> loss = heddle::sum(third);
    mine.clear();
    loss.backward();
  });
  CHECK(seen[0] == seen[1]);
  const events& order = seen[0];
  REQUIRE(order.size() == 10);
  const auto at = [&](const std::string& name) {
    const auto found = std::find(order.begin(), order.end(), name);
    REQUIRE(found != order.end());
    return found - order.begin();
  };
  std::string all;
  for (const std::string& each : order) all += each + "; ";
  CAPTURE(all);
  CHECK(at("fc3.weight") < at("before fc2"));
  CHECK(at("fc3.bias") < at("before fc2"));
  CHECK(at("fc2.weight") < at("before fc1"));
  CHECK(at("fc2.bias") < at("before fc1"));
  CHECK(at("before fc3") < at("before fc2"));
  CHECK(at("before fc2") < at("before fc1"));
  // one bucket: 96 and 128 weights, 24 in 32; biases of 16, 8 in 16 and 3 in 16
  const auto reduced = at("all_reduce of 304");
  CHECK(reduced > at("fc2.weight"));
  CHECK(reduced >= static_cast<std::ptrdiff_t>(order.size()) - 4);
}

TEST_CASE("rank 0's parameters are everybody's after construction") {
  std::vector<std::vector<double>> weights(2);
  std::vector<mlp<float>> models(2);
  for (int rank = 0; rank < 2; ++rank) {
    heddle::manual_seed(static_cast<std::uint64_t>(rank));
    models[static_cast<std::size_t>(rank)] = mlp<float>();
  }
  run_ranks(2, [&](local_communicator& c) {
    const auto me = static_cast<std::size_t>(c.rank());
    distributed_data_parallel parallel(models[me], c);
    weights[me] = values<float>(heddle::state_dict(models[me])[0].second);
  });
  CHECK(weights[0].size() == 96);
  CHECK(weights[0] == weights[1]);
}

namespace {

struct narrow {
  heddle::nn::linear fc1{4, 4}, fc2;
  HEDDLE_MODULE(narrow, fc1, fc2)
  auto forward(const auto& x) { return fc1(x); }
};

std::string refusal(heddle::nn::linear of_rank_1) {
  std::string text;
  run_ranks(2, [&](local_communicator& c) {
    narrow model;
    model.fc2 = c.rank() == 0 ? heddle::nn::linear(4, 3) : of_rank_1;
    try {
      distributed_data_parallel parallel(model, c);
    } catch (const heddle::communication_error& e) {
      if (c.rank() == 0) text = e.what();
    }
  });
  return text;
}

}  // namespace

TEST_CASE("ranks whose modules differ are told the parameter and the rank") {
  CHECK(refusal(heddle::nn::linear(4, 5)) ==
        "heddle::distributed_data_parallel: the ranks' modules differ: parameter 2, here "
        "fc2.weight, has "
        "another name, dtype or shape on rank 1 than on rank 0; all are to have the same");
  CHECK(refusal(heddle::nn::linear()) ==
        "heddle::distributed_data_parallel: the ranks' modules differ: rank 1 has 2 parameters, "
        "rank 0 "
        "has 4; all are to have the same");
}

TEST_CASE("a parameter without a gradient is named at the next call") {
  std::atomic<int> named{0};
  run_ranks(2, [&](local_communicator& c) {
    narrow model;
    model.fc2 = heddle::nn::linear(4, 4);  // forward leaves it out
    distributed_data_parallel parallel(model, c);
    const tensor<float, 2> x = heddle::ones<float, 2>({2, 4});
    variable<float, 0> loss = heddle::sum(parallel(x));
    loss.backward();
    try {
      static_cast<void>(variable<float, 2>(parallel(x)));
    } catch (const heddle::state_error& e) {
      named += std::string(e.what()).find("fc2.weight, fc2.bias") != std::string::npos;
    }
  });
  CHECK(named == 2);
}

namespace {

struct mixed {
  heddle::nn::linear a{4, 4};
  heddle::nn::basic_linear<double> b{4, 2};
  HEDDLE_MODULE(mixed, a, b)
  auto forward(const auto& x) { return b(heddle::cast<double>(a(x))); }
};

}  // namespace

TEST_CASE("gradients of other devices and dtypes are reduced in buckets of their own") {
  std::vector<events> seen(2);
  std::vector<std::vector<double>> gradients(2);
  run_ranks(2, [&](local_communicator& c) {
    const auto me = static_cast<std::size_t>(c.rank());
    noting_communicator noting(c, seen[me]);
    mixed model;
    heddle::to(model, cpu(c.rank()));
    distributed_data_parallel parallel(model, noting);
    variable<double, 0> loss =
        heddle::sum(parallel(heddle::full<float, 2>({2, 4}, 1.f + me, cpu(c.rank()))));
    loss.backward();
    gradients[me] = values<double>(model.b.bias.grad());
    for (const double each : values<float>(model.a.weight.grad())) gradients[me].push_back(each);
  });
  CHECK(seen[0].size() == 2);
  CHECK(gradients[0] == gradients[1]);
  CHECK(gradients[0][0] == 2);
}

TEST_CASE("ranks of two devices each reduce a bucket a device, in one order") {
  heddle::manual_seed(3);
  mlp<double> whole;
  heddle::to(whole, cpu(4));
  const std::vector<batch<double>> given = batches<double>();
  variable<double, 0> expected =
      heddle::cross_entropy(whole(given[0].x.to(cpu(4))), given[0].y.to(cpu(4)));
  expected.backward();
  std::vector<events> seen(2);
  std::vector<double> worst(2);
  run_ranks(2, [&](local_communicator& c) {
    const auto me = static_cast<std::size_t>(c.rank());
    noting_communicator noting(c, seen[me]);
    using heddle::placement::explicit_map;
    heddle::sharded<mlp<double>, explicit_map<0, 1, 1>> parts(
        mlp<double>(), {cpu(2 * c.rank()), cpu(2 * c.rank() + 1)});
    distributed_data_parallel parallel(parts, noting);
    const std::vector<batch<double>> mine = batches<double>();
    const std::int64_t begin = 4 * c.rank();
    variable<double, 0> loss =
        heddle::cross_entropy(parallel(mine[0].x.slice<0>(begin, begin + 4)),
                              mine[0].y.slice<0>(begin, begin + 4).to(parts.last_device()));
    loss.backward();
    const auto here = heddle::parameters(parts);
    const auto there = heddle::parameters(whole);
    for (std::size_t i = 0; i < here.size(); ++i) {
      const auto a = values<double>(here[i].grad()), b = values<double>(there[i].grad());
      for (std::size_t k = 0; k < a.size(); ++k) {
        worst[me] = std::max(worst[me], std::abs(a[k] - b[k]) - 1e-12 * std::abs(b[k]));
      }
    }
  });
  // fc1 in the first, though its gradients come last: 96 and 16; then 128, 8, 24 and 3 in 8
  CHECK(seen[0] == events{"all_reduce of 112", "all_reduce of 168"});
  CHECK(seen[1] == seen[0]);
  CHECK(worst[0] < 1e-15);
  CHECK(worst[1] < 1e-15);
}

TEST_CASE("a module goes on training by itself when its wrapper is gone") {
  run_ranks(2, [&](local_communicator& c) {
    mlp<float> model;
    { distributed_data_parallel parallel(model, c); }
    variable<float, 0> loss = heddle::sum(model(heddle::full<float, 2>({2, 6}, 1.f + c.rank())));
    loss.backward();
    if (!model.fc1.weight.grad().defined()) throw std::logic_error("there is no gradient");
  });
}
