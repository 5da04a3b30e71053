// SPDX-License-Identifier: BSD-3-Clause
// Gradients of matmul. Products are linear in each operand: on small integers differences of values
// are derivatives, exactly.
#include <string>
#include <tuple>

#include <doctest/doctest.h>

#include <heddle/autograd/grad.hpp>
#include <heddle/autograd/matmul.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/views.hpp>

using namespace heddle;

namespace {

template <int Rank>
tensor<double, Rank> integers(const extents<Rank>& e, std::uint64_t state) {
  tensor<double, Rank> x = empty<double, Rank>(e);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    x.data()[i] = static_cast<double>((state >> 33) % 9) - 4;
  }
  return x;
}

template <int Rank>
double weighted_sum(const tensor<double, Rank>& x, const tensor<double, Rank>& weights) {
  double sum = 0;
  auto w = weights.begin();
  for (const double value : x) {
    sum += value * *w;
    ++w;
  }
  return sum;
}

// How many elements of `gradient` differ from the derivative of f, which reads x, with respect to
// x.
template <int Rank, class F>
int differences(const tensor<double, Rank>& x, const tensor<double, Rank>& gradient, F f) {
  REQUIRE(gradient.extents() == x.extents());
  const tensor<double, Rank> whole = gradient.contiguous();
  REQUIRE(x.is_contiguous());
  int wrong = 0;
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const double before = x.data()[i];
    x.data()[i] = before + 1;
    const double above = f();
    x.data()[i] = before - 1;
    const double below = f();
    x.data()[i] = before;
    wrong += whole.data()[i] != (above - below) / 2;
  }
  return wrong;
}

// First derivatives of product(a, b), weighted, with respect to both.
template <int A, int B, class F>
void check_first(const extents<A>& of_a, const extents<B>& of_b, F product) {
  const auto a = integers(of_a, 1);
  const auto b = integers(of_b, 2);
  const tensor c = product(a, b);
  const auto weights = integers(c.extents(), 3);
  const variable va(a);
  const variable vb(b);
  const variable vc = product(va, vb);
  CHECK(weighted_sum(vc.value(), weights) == weighted_sum(c, weights));
  vc.backward(weights);
  const auto value = [&] {
    const tensor again = product(a, b);
    return weighted_sum(again, weights);
  };
  CHECK_MESSAGE(differences(a, va.grad(), value) == 0, to_string(of_a), " x ", to_string(of_b));
  CHECK_MESSAGE(differences(b, vb.grad(), value) == 0, to_string(of_a), " x ", to_string(of_b));
}

// Derivatives of the gradient with respect to a: linear in b.
template <int A, int B, class F>
void check_second(const extents<A>& of_a, const extents<B>& of_b, F product) {
  const auto a = integers(of_a, 1);
  const auto b = integers(of_b, 2);
  const tensor c = product(a, b);
  const auto weights = integers(c.extents(), 3);
  const auto outer = integers(of_a, 4);
  const variable va(a);
  const variable vb(b);
  const variable vc = product(va, vb);
  backward_options options;
  options.create_graph = true;
  const auto ga = std::get<0>(grad(vc, std::tuple(va), weights, options));
  ga.backward(outer);
  const auto value = [&] {
    const variable again_a(a);
    const variable again = product(again_a, b);
    again.backward(weights);
    return weighted_sum(again_a.grad(), outer);
  };
  CHECK_MESSAGE(differences(b, vb.grad(), value) == 0, to_string(of_a), " x ", to_string(of_b));
}

constexpr auto plain = [](const auto& a, const auto& b) { return matmul(a, b); };
constexpr auto left = [](const auto& a, const auto& b) { return matmul(transposed(a), b); };
constexpr auto right = [](const auto& a, const auto& b) { return matmul(a, transposed(b)); };
constexpr auto both = [](const auto& a, const auto& b) {
  return matmul(transposed(a), transposed(b));
};

}  // namespace

TEST_CASE("gradients of a product of matrices, transposed or not") {
  check_first(extents<2>{3, 4}, extents<2>{4, 5}, plain);
  check_first(extents<2>{4, 3}, extents<2>{4, 5}, left);
  check_first(extents<2>{3, 4}, extents<2>{5, 4}, right);
  check_first(extents<2>{4, 3}, extents<2>{5, 4}, both);
  check_first(extents<2>{1, 4}, extents<2>{4, 1}, plain);
  check_first(extents<2>{4, 1}, extents<2>{1, 4}, plain);
}

TEST_CASE("gradients of products with vectors") {
  check_first(extents<2>{3, 4}, extents<1>{4}, plain);
  check_first(extents<1>{3}, extents<2>{3, 4}, plain);
  check_first(extents<1>{5}, extents<1>{5}, plain);
  check_first(extents<3>{2, 3, 4}, extents<1>{4}, plain);
  check_first(extents<1>{3}, extents<3>{2, 3, 4}, plain);
}

TEST_CASE("gradients are summed over the batch axes of a broadcast operand") {
  check_first(extents<3>{2, 3, 4}, extents<3>{2, 4, 5}, plain);
  check_first(extents<3>{2, 3, 4}, extents<2>{4, 5}, plain);
  check_first(extents<3>{2, 3, 4}, extents<2>{5, 4}, right);
  check_first(extents<2>{3, 4}, extents<3>{2, 4, 5}, plain);
  check_first(extents<3>{1, 3, 4}, extents<3>{3, 4, 5}, plain);
  check_first(extents<3>{3, 3, 4}, extents<3>{1, 4, 5}, plain);
  check_first(extents<4>{2, 1, 3, 4}, extents<4>{1, 3, 4, 2}, plain);
  check_first(extents<4>{2, 3, 2, 4}, extents<3>{3, 4, 2}, plain);
  check_first(extents<4>{2, 3, 4, 2}, extents<3>{3, 5, 4}, both);
}

TEST_CASE("gradients of gradients") {
  check_second(extents<2>{3, 4}, extents<2>{4, 5}, plain);
  check_second(extents<2>{4, 3}, extents<2>{5, 4}, both);
  check_second(extents<3>{2, 3, 4}, extents<2>{5, 4}, right);
  check_second(extents<4>{2, 1, 3, 4}, extents<4>{1, 3, 4, 2}, plain);
  check_second(extents<2>{3, 4}, extents<3>{2, 4, 5}, plain);
  check_second(extents<1>{3}, extents<3>{2, 3, 4}, plain);
}

TEST_CASE("gradients of gradients pass through chains of products") {
  const auto a = integers(extents<2>{2, 3}, 1);
  const auto b = integers(extents<2>{3, 3}, 2);
  const auto weights = integers(extents<2>{2, 3}, 3);
  const auto outer = integers(extents<2>{2, 3}, 4);
  const variable va(a);
  const variable vb(b);
  const variable c = matmul(va, vb);
  const variable d = matmul(c, vb);
  backward_options options;
  options.create_graph = true;
  const auto ga = std::get<0>(grad(d, std::tuple(va), weights, options));
  ga.backward(outer);
  const auto value = [&] {
    // d = a b b, so that the gradient with respect to a is weights bᵀ bᵀ: quadratic in b, for which
    // central differences are exact too.
    const tensor inner = matmul(weights, b.transpose());
    const tensor g = matmul(inner, b.transpose());
    return weighted_sum(g, outer);
  };
  CHECK(differences(b, vb.grad(), value) == 0);
}

TEST_CASE("operands that need no gradient cost none") {
  const auto x = integers(extents<3>{4, 5, 6}, 1);
  const variable w(integers(extents<2>{7, 6}, 2));
  const variable y = matmul(x, transposed(w));
  const auto seed = integers(extents<3>{4, 5, 7}, 3);
  profiler p;
  y.backward(seed);
  // One product for all of the batch, and nothing is summed or copied afterwards.
  REQUIRE(p.launches().size() == 1);
  CHECK(std::string(p.launches()[0].name) == "matmul");
  CHECK(w.grad().extents() == extents<2>{7, 6});
}

TEST_CASE("without recording a product of variables has no place on the tape") {
  const variable a(integers(extents<2>{2, 2}, 1));
  const no_grad scope;
  const variable c = matmul(a, a);
  CHECK_FALSE(c.requires_grad());
}

TEST_CASE("an operand used twice collects both gradients") {
  const auto a = integers(extents<2>{3, 3}, 1);
  const auto weights = integers(extents<2>{3, 3}, 2);
  const variable va(a);
  const variable c = matmul(va, va);
  c.backward(weights);
  const auto value = [&] {
    const tensor again = matmul(a, a);
    return weighted_sum(again, weights);
  };
  CHECK(differences(a, va.grad(), value) == 0);
}

TEST_CASE("a product within a statement is one operand of its program") {
  const variable x(integers(extents<2>{4, 3}, 1));
  const variable w(integers(extents<2>{3, 2}, 2));
  const variable bias(integers(extents<1>{2}, 3));
  variable<double, 0> loss;
  {
    profiler p;
    loss = sum(square(matmul(x, w) + bias));
    CHECK(p.launches().size() == 2);
  }
  loss.backward();
  const auto value = [&] {
    const tensor h = matmul(x.value(), w.value());
    double total = 0;
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 2; ++j) {
        const double each = h(i, j) + bias.value()(j);
        total += each * each;
      }
    }
    return total;
  };
  CHECK(differences(x.value(), x.grad(), value) == 0);
  CHECK(differences(w.value(), w.grad(), value) == 0);
  CHECK(differences(bias.value(), bias.grad(), value) == 0);
}

TEST_CASE("a product differentiated after its operand was written says so") {
  variable a(integers(extents<2>{2, 2}, 1));
  const variable b(integers(extents<2>{2, 2}, 2));
  const variable c = matmul(a, b);
  tensor<double, 2> storage = b.value();
  storage.fill_(1);
  CHECK_THROWS_AS(c.backward(integers(extents<2>{2, 2}, 3)), state_error);
}

TEST_CASE("a queued device computes gradients on its stream") {
  const auto a = integers(extents<2>{30, 20}, 1);
  const auto b = integers(extents<2>{20, 10}, 2);
  const auto weights = integers(extents<2>{30, 10}, 3);
  const variable here_a(a);
  const variable here_b(b);
  variable here = matmul(here_a, here_b);
  here.backward(weights);
  const variable there_a(a.to(cpu(1)));
  const variable there_b(b.to(cpu(1)));
  variable there = matmul(there_a, there_b);
  there.backward(weights.to(cpu(1)));
  CHECK(there_a.grad().device() == cpu(1));
  CHECK(weighted_sum(there_a.grad(), here_a.grad()) == weighted_sum(here_a.grad(), here_a.grad()));
  CHECK(weighted_sum(there_b.grad(), here_b.grad()) == weighted_sum(here_b.grad(), here_b.grad()));
}
