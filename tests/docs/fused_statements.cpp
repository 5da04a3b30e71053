// SPDX-License-Identifier: BSD-3-Clause
// The examples of docs/fused-statements.md.
#include <iostream>

#include "printed.hpp"

#include <heddle/heddle.hpp>

namespace {

const heddle::tensor<float, 2> a = heddle::ones<float, 2>({64, 128});
const heddle::tensor<float, 2> b = heddle::ones<float, 2>({64, 128});
const heddle::tensor<float, 2> x = heddle::ones<float, 2>({64, 128});
const heddle::tensor<float, 2> g = heddle::ones<float, 2>({64, 128});
const heddle::tensor<float, 1> bias = heddle::ones<float, 1>({128});

//! [launches]
void print(const heddle::profiler& profile) {
  for (const heddle::launch_record& each : profile.launches()) {
    std::cout << each.name << ": kernels " << each.kernels << ", bytes " << each.bytes << '\n';
  }
}
//! [launches]

}  // namespace

TEST_CASE("element-wise statements") {
  check_output("fused_map", [] {
    //! [map]
    std::cout << explain(heddle::relu(a * 2 + bias));
    //! [map]
  });
}

TEST_CASE("rows") {
  check_output("fused_softmax", [] {
    //! [softmax]
    std::cout << explain(heddle::softmax<-1>(x));
    //! [softmax]
  });
  check_output("fused_cross_entropy", [] {
    //! [cross_entropy]
    const auto target = heddle::zeros<std::int64_t, 1>({64});
    std::cout << explain(heddle::cross_entropy(x, target));
    //! [cross_entropy]
  });
}

TEST_CASE("several results") {
  check_output("fused_several", [] {
    //! [several]
    const auto e = heddle::let(
        [](auto v) {
          auto m = heddle::mean<-1>(v);
          return heddle::outputs(m, heddle::mean<-1>(v * v) - m * m);
        },
        x);
    auto [mean, variance] = evaluate(e);
    std::cout << explain(e);
    //! [several]
    CHECK((mean(0) == 1 && variance(63) == 0));
  });
}

TEST_CASE("cuts") {
  check_output("fused_cut_whole", [] {
    //! [cut_whole]
    std::cout << explain(heddle::let([](auto v) { return v / sum(v); }, x));
    //! [cut_whole]
  });
  check_output("fused_independent", [] {
    //! [independent]
    const auto batch = heddle::ones<float, 2>({32, 5});
    const auto losses = heddle::ones<float, 1>({20});
    const auto average = heddle::zeros<float, 1>({5});
    const auto smooth = heddle::zeros<float, 0>({});
    assign(tie(average, smooth), average * 0.9 + heddle::mean<0>(batch) * 0.1,
           smooth * 0.9 + mean(losses) * 0.1);
    std::cout << explain(average * 0.9 + heddle::mean<0>(batch) * 0.1,
                         smooth * 0.9 + mean(losses) * 0.1);
    //! [independent]
  });
  check_output("fused_cut_axes", [] {
    //! [cut_axes]
    const auto other = heddle::ones<float, 2>({5, 2});
    std::cout << explain(sum(a) + sum(other));
    //! [cut_axes]
  });
  check_output("fused_cut_stored", [] {
    //! [cut_stored]
    std::cout << explain(heddle::let(
        [](auto u, auto v, auto w) {
          auto h = u * v + w;
          auto across = mean<0>(h, heddle::keepdim);
          auto along = mean<1>(h, heddle::keepdim);
          return h - across - along;
        },
        a, b, x));
    //! [cut_stored]
  });
}

TEST_CASE("products") {
  check_output("fused_product", [] {
    //! [product]
    const auto w = heddle::ones<float, 2>({128, 128});
    const heddle::profiler profile;
    heddle::tensor y = evaluate(heddle::relu(matmul(x, w) + bias));
    print(profile);
    //! [product]
    CHECK(y(0, 0) == 129);
  });
}

TEST_CASE("derivatives") {
  check_output("fused_softmax_derivative", [] {
    //! [softmax_derivative]
    std::cout << explain(vjp(heddle::softmax<-1>, g, x));
    //! [softmax_derivative]
  });
  check_output("fused_saved", [] {
    //! [saved]
    heddle::variable v(x);
    const heddle::profiler profile;
    heddle::variable y = heddle::softmax<-1>(v);
    y.backward(g);
    print(profile);
    //! [saved]
  });
  check_output("fused_backward", [] {
    //! [backward]
    // The program of a backward pass that is one launch.
    const auto print_backward = [](const heddle::variable<float, 2>& y) {
      const heddle::profiler profile;
      y.backward(g);
      const heddle::launch_record first = profile.launches().front();
      std::cout << to_text(heddle::graph::decode(first.words, first.word_count)) << '\n';
    };
    heddle::variable v(x), w(x);
    print_backward(evaluate(tanh(v + w)));
    print_backward(evaluate(heddle::let([](auto s) { return tanh(s * s); }, v)));
    //! [backward]
  });
  check_output("fused_plain", [] {
    //! [plain]
    heddle::variable v(x);
    const heddle::profiler profile;
    heddle::variable e = exp(v - detach(heddle::amax<-1>(v, heddle::keepdim)));
    heddle::variable y = e / sum<-1>(e, heddle::keepdim);
    y.backward(g);
    print(profile);
    //! [plain]
  });
}
