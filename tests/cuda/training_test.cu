// SPDX-License-Identifier: BSD-3-Clause
// The training step of examples/digits on a CUDA device (of the stand-in): as on the host, in every
// order of the streams, and after every failure of every call.
#include <cmath>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "../../examples/digits/model.hpp"
#include "cuda_case.hpp"
#include <doctest/doctest.h>

#if !defined(HEDDLE_TEST_ON_GPU)
#include <heddle/distributed/cuda/nccl.cuh>
#endif

namespace {

using namespace heddle;

constexpr std::int64_t images = 6;

tensor<float, 2> pixels() {
  tensor<float, 2> x = empty<float, 2>({images, 64});
  unsigned seed = 5;
  for (float& v : x) {
    seed = seed * 1664525u + 1013904223u;
    v = static_cast<float>(seed >> 8) / 16777216.0f;
  }
  return x;
}
tensor<std::int64_t, 1> labels() { return {3, 1, 4, 1, 5, 9}; }

/// Weights are drawn from the seed that there is when the model is made.
digits_model seeded() {
  manual_seed(1);
  return {};
}

template <class Model>
std::vector<float> flat_weights(Model& model) {
  std::vector<float> all;
  for (const auto& [name, value] : state_dict(model)) {
    const any_tensor here = value.to(cpu()).contiguous();
    const auto* const data = reinterpret_cast<const float*>(here.data());
    all.insert(all.end(), data, data + here.size());
  }
  return all;
}

/// A model of the example's type with its optimizer, on a device.
class training {
 public:
  explicit training(device where) : where_(where), model_(seeded()) {
    to(model_, where);
    optimizer_.emplace(parameters(model_), optim::adamw_options{.lr = 1e-2, .weight_decay = 0.3});
  }

  double step() {
    const variable loss = cross_entropy(model_(pixels().to(where_)), labels().to(where_));
    optimizer_->zero_grad();
    loss.backward();
    optimizer_->step();
    return static_cast<double>(loss.item());
  }
  std::vector<float> weights() { return flat_weights(model_); }

 private:
  device where_;
  digits_model model_;
  std::optional<optim::adamw<float>> optimizer_;
};

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::fmax(largest, std::fabs(static_cast<double>(a[i]) - b[i]));
  }
  return largest;
}

}  // namespace

TEST_CASE("the digits example's training step on a device is the host's") {
  const support::cuda_case clean;
  training here(cpu()), there(cuda(0));
  for (int i = 0; i < 3; ++i) {
    CHECK(std::fabs(here.step() - there.step()) < 1e-5);
    CHECK(distance(here.weights(), there.weights()) < 1e-5);
  }
}

TEST_CASE("a sharded model on two devices is the whole one, in every order of the streams") {
  const support::cuda_case clean;
  const auto losses = [](auto& model, device first, device last) {
    optim::adamw<float> optimizer(parameters(model), {.lr = 1e-2});
    std::vector<float> result;
    for (int step = 0; step < 3; ++step) {
      const variable loss = cross_entropy(model(pixels().to(first)), labels().to(last));
      optimizer.zero_grad();
      loss.backward();
      CHECK(loss.device() == last);
      optimizer.step();
      result.push_back(loss.item());
    }
    const std::vector<float> weights = flat_weights(model);
    result.insert(result.end(), weights.begin(), weights.end());
    return result;
  };
  digits_model whole = seeded();
  to(whole, cuda(0));
  const std::vector<float> expected = losses(whole, cuda(0), cuda(0));
  CHECK(expected[2] < expected[0]);
  const device second = support::second_device();
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
#if !defined(HEDDLE_TEST_ON_GPU)
    stand_in::set_seed(seed);
#endif
    sharded<digits_model, placement::explicit_map<0, 0, 1>> parts(seeded(), {cuda(0), second});
    CHECK(losses(parts, cuda(0), second) == expected);
    sharded<digits_model, placement::explicit_map<0, 1, 1>> cut(seeded(), {second, cuda(0)});
    CHECK(losses(cut, cpu(), cuda(0)) == expected);
  }
}

namespace {

/// The weights of a rank of two after a step with its half of the batch.
template <class Communicator>
std::vector<float> step_of_half(Communicator& c, device where) {
  static std::mutex drawing;  // the seed is the process'
  std::optional<digits_model> model;
  {
    const std::lock_guard hold(drawing);
    model.emplace(seeded());
    to(*model, where);
  }
  distributed_data_parallel parallel(*model, c);
  optim::adamw<float> optimizer(parameters(*model), {.lr = 1e-2, .weight_decay = 0.3});
  const std::int64_t begin = c.rank() * images / 2, end = begin + images / 2;
  const variable loss = cross_entropy(parallel(pixels().slice<0>(begin, end).to(where)),
                                      labels().slice<0>(begin, end).to(where));
  loss.backward();
  optimizer.step();
  return flat_weights(*model);
}

}  // namespace

TEST_CASE("two ranks with a half of the batch each get the gradients of the whole batch") {
  const support::cuda_case clean;
  training whole(cuda(0));
  whole.step();
  const std::vector<float> expected = whole.weights();
  std::vector<float> found[2];
  const auto check = [&] {
    CHECK(found[0] == found[1]);
    CHECK(distance(found[0], expected) <
          2e-3);  // AdamW's first step is of size lr, whatever its gradient
  };
  run_ranks(2, [&](local_communicator& c) {
    found[c.rank()] = step_of_half(c, c.rank() == 0 ? cuda(0) : support::second_device());
  });
  check();
#if !defined(HEDDLE_TEST_ON_GPU)
  const nccl_id id = nccl_id::make();
  run_ranks(2, [&](local_communicator& c) {
    nccl_communicator by_nccl(id, 2, c.rank(), cuda(c.rank()));
    found[c.rank()] = step_of_half(by_nccl, cuda(c.rank()));
  });
  check();
#endif
}

#if !defined(HEDDLE_TEST_ON_GPU)

TEST_CASE("after a failure of any call of a step the weights are whole and the next step works") {
  support::cuda_case clean;
  training there(cuda(0));
  there.step();
  const std::vector<float> before = there.weights();
  stand_in::reset_counters();
  there.step();
  const std::uint64_t calls = stand_in::calls(), allocations = stand_in::allocations();
  const std::vector<float> after = there.weights();
  MESSAGE(calls << " calls, " << allocations << " of them allocations");
  CHECK(calls > 100);
  CHECK(allocations > 20);
  int failures = 0;
  const auto survive = [&](std::uint64_t k, bool allocation) {
    support::cuda_case::settle();
    training model(cuda(0));
    model.step();
    REQUIRE(model.weights() == before);
    if (allocation) {
      stand_in::fail_allocation(k);
    } else {
      stand_in::fail_call(k, cudaErrorNotSupported);
    }
    std::string said;
    try {
      model.step();
    } catch (const out_of_memory& e) {
      said = e.what();
      CHECK(allocation);
    } catch (const cuda_error& e) {
      said = e.what();
    }
    failures += said.empty() ? 0 : 1;
    if (!said.empty()) CHECK_MESSAGE(said.rfind("heddle::", 0) == 0, said);
    synchronize(cuda(0));
    const std::vector<float> left = model.weights();
    CHECK_MESSAGE((left == before || left == after), "call " << k << ": " << said);
    if (left == before) model.step();
    CHECK_MESSAGE(model.weights() == after, "the step after call " << k << ": " << said);
  };
  collect_references();
  survive(calls + 1000, false);  // nothing fails: what the library keeps is there
  collect_references();
  cudaDeviceSynchronize();
  const std::size_t held = stand_in::live_allocations().size(),
                    events = stand_in::live_events().size();
  for (std::uint64_t k = 1; k <= calls; ++k) survive(k, false);
  for (std::uint64_t k = 1; k <= allocations; ++k) survive(k, true);
  CHECK(failures > static_cast<int>(calls) / 2);
  collect_references();
  cudaDeviceSynchronize();
  // of pinned blocks there may be more: a failure takes one out of use until it is free
  CHECK(stand_in::live_allocations().size() <= held + 8);
  CHECK(stand_in::live_events().size() <= events + 8);
}

TEST_CASE("after an error in any kernel of a step each call says so, and nothing is thrown twice") {
  std::uint64_t launches = 0;
  {
    const support::cuda_case clean;
    training there(cuda(0));
    there.step();
    stand_in::reset_counters();
    there.step();
    launches = stand_in::launches();
  }
  CHECK(launches > 3);
  for (std::uint64_t k = 1; k <= launches; ++k) {
    {
      training model(cuda(0));
      model.step();
      synchronize(cuda(0));
      stand_in::fail_kernel(k, cudaErrorIllegalAddress);
      std::string first, again;
      try {
        model.step();
        synchronize(cuda(0));
      } catch (const cuda_error& e) {
        first = e.what();
      }
      try {
        model.step();
      } catch (const cuda_error& e) {
        again = e.what();
      }
      for (const std::string& said : {first, again}) {
        CHECK_MESSAGE(
            said.find("the process cannot use its CUDA devices any more") != std::string::npos,
            "kernel " << k << ": " << said);
      }
      CHECK(detail::cuda_is_lost());
    }  // destructors: nothing is given back, nothing is thrown
    collect_references();
    stand_in::recover();
    detail::cuda_is_lost().store(false);  // a process of its own for each would take too long
  }
}

// The last one: it leaves memory behind that has been written to by mistake.
TEST_CASE("a wrong bound in the kernels' bodies is noticed") {
  stand_in::set_order(stand_in::order::eager);
  training here(cpu()), there(cuda(0));
  stand_in::set_team_fault(1);
  bool noticed = false;
  try {
    noticed = !(std::fabs(here.step() - there.step()) < 1e-5) ||
              !(distance(here.weights(), there.weights()) < 1e-5);
  } catch (const heddle::error&) {
    noticed = true;
  }
  stand_in::set_team_fault(0);
  CHECK((noticed || !stand_in::findings().empty()));
  stand_in::recover();
}

#endif
