// SPDX-License-Identifier: BSD-3-Clause
// Losses at their edges: an empty quadratic part, and elements that are not finite.
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <heddle/autograd/record.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/tensor/creation.hpp>

using namespace heddle;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

template <class Loss>
tensor<float, 1> gradient_of(const tensor<float, 1>& x, Loss loss) {
  const variable<float, 1> v(x);
  variable y = loss(v, zeros_like(x));
  y.backward(ones_like(y.value()));
  return v.grad();
}

}  // namespace

TEST_CASE("smooth_l1_loss without a quadratic part is l1_loss, as PyTorch's, with its gradient") {
  const tensor<float, 1> x{-2.f, -0.5f, 0.f, 3.f};
  const auto smooth = [](const auto& a, const auto& b) {
    return smooth_l1_loss<reduction::none>(a, b, 0.0);
  };
  const tensor<float, 1> value = smooth(x, zeros_like(x));
  const tensor<float, 1> gradient = gradient_of(x, smooth);
  const float sign[] = {-1, -1, 0, 1};
  for (int i = 0; i < 4; ++i) {
    CHECK(value(i) == std::fabs(x(i)));
    CHECK(gradient(i) == sign[i]);
  }
}

TEST_CASE("smooth_l1_loss and huber_loss grow without bound, with a bounded gradient") {
  const tensor<float, 1> x{infinity, -infinity, 1.5f, 2.f, 3.f};
  const auto smooth = [](const auto& a, const auto& b) {
    return smooth_l1_loss<reduction::none>(a, b, 2.0);
  };
  const auto huber = [](const auto& a, const auto& b) {
    return huber_loss<reduction::none>(a, b, 2.0);
  };
  const float value[] = {infinity, infinity, 1.125f, 2.f, 4.f};
  const float slope[] = {2, -2, 1.5f, 2, 2};
  const tensor<float, 1> of_smooth = smooth(x, zeros_like(x)), of_huber = huber(x, zeros_like(x));
  const tensor<float, 1> from_smooth = gradient_of(x, smooth), from_huber = gradient_of(x, huber);
  for (int i = 0; i < 5; ++i) {
    CHECK(of_huber(i) == value[i]);
    CHECK(of_smooth(i) == value[i] / 2);
    CHECK(from_huber(i) == slope[i]);
    CHECK(from_smooth(i) == slope[i] / 2);
  }
}
