// SPDX-License-Identifier: BSD-3-Clause
// What ranks say of buffers and of parameters without a gradient.
#include <string>

#include <doctest/doctest.h>

#include <heddle/distributed/local.hpp>
#include <heddle/distributed/reducer.hpp>
#include <heddle/nn/layer_norm.hpp>
#include <heddle/tensor/creation.hpp>

using heddle::local_communicator;

TEST_CASE("a buffer with holes is not sent") {
  std::string said;
  heddle::run_ranks(1, [&](local_communicator& c) {
    try {
      c.all_reduce(heddle::zeros<float, 2>({2, 3}).transpose());
    } catch (const heddle::value_error& e) {
      said = e.what();
    }
  });
  CHECK(said ==
        "heddle::all_reduce: the buffer is not contiguous: strides (1, 3) of (3, 2); use "
        "its contiguous()");
}

namespace {

struct half_used {
  heddle::nn::layer_norm used{4}, unused{4};
  HEDDLE_MODULE(half_used, used, unused)
  auto forward(const auto& x) { return used(x); }
};

}  // namespace

TEST_CASE("the next call says which parameters the last backward pass left without a gradient") {
  std::string said;
  heddle::run_ranks(1, [&](local_communicator& c) {
    half_used model;
    heddle::distributed_data_parallel parallel(model, c);
    const heddle::tensor<float, 2> x = heddle::ones<float, 2>({2, 4});
    heddle::variable<float, 2>(parallel(x)).backward(x);
    try {
      static_cast<void>(parallel(x));
    } catch (const heddle::state_error& e) {
      said = e.what();
    }
  });
  CHECK(said ==
        "heddle::distributed_data_parallel: parameters got no gradient in the last "
        "backward pass: unused.weight, unused.bias; every parameter is to be used in each");
}
