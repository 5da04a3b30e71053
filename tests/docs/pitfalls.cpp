// SPDX-License-Identifier: BSD-3-Clause
// The examples of docs/pitfalls.md.
#include <cmath>
#include <iostream>

#include "printed.hpp"

#include <heddle/heddle.hpp>

TEST_CASE("handles share their elements") {
  //! [handles]
  const heddle::tensor<float, 1> a{1, 2, 3};
  heddle::tensor<float, 1> b = a;          // the same elements
  heddle::tensor<float, 1> c = a.clone();  // elements of its own
  b(0) = 10;                               // a(0) is 10 now, and c(0) is still 1
  a(1) = 20;                               // const says that the handle stays, not the elements
  //! [handles]
  CHECK((a(0) == 10 && b(1) == 20 && c(0) == 1 && c(1) == 2));
}

TEST_CASE("auto keeps a description") {
  //! [auto]
  heddle::tensor<float, 1> a{1, 2, 3};
  auto e = a * 2;                    // no elements: a handle to a's elements, and what to do
  heddle::tensor<float, 1> y = e;    // computed here: 2 4 6
  assign(a, a + 1);                  // new values in a's elements
  heddle::tensor<float, 1> z = e;    // computed again: 4 6 8
  a = heddle::zeros<float, 1>({3});  // another handle in a: e still has the old one
  heddle::tensor<float, 1> w = e;    // 4 6 8
  //! [auto]
  CHECK((y(0) == 2 && z(0) == 4 && w(0) == 4));
}

TEST_CASE("= gives a name to a new tensor, assign writes") {
  //! [rebinding]
  heddle::tensor<float, 2> x = heddle::zeros<float, 2>({2, 2});
  heddle::tensor<float, 2> seen = x;
  x = x + 1;          // a new tensor, called x; seen is as it was
  assign(seen, 5.f);  // writes into the elements that seen names
  seen(0) = 7.f;      // writes row 0
  heddle::tensor<float, 1> row = seen(1);
  row = row * 2;         // a new tensor, called row; seen is as it was
  assign(seen(1), row);  // writes row 1
  //! [rebinding]
  CHECK((x(0, 0) == 1 && seen(0, 1) == 7 && seen(1, 0) == 10));
}

TEST_CASE("a name that is written twice is read twice") {
  check_output("pitfalls_names", [] {
    //! [names]
    heddle::tensor<float, 1> x = heddle::ones<float, 1>({1000});
    std::cout << explain(x * sigmoid(x));
    std::cout << explain(heddle::let([](auto v) { return v * sigmoid(v); }, x));
    //! [names]
  });
}

TEST_CASE("a product is stored before it is used twice") {
  //! [contraction]
  const auto a = heddle::ones<float, 2>({4, 3}), b = heddle::ones<float, 2>({3, 5});
  heddle::tensor h = matmul(a, b);          // auto h would be a product still to be computed
  heddle::tensor<float, 2> y = h * h;       // h is a tensor: as often as wanted
  auto e = heddle::relu(matmul(a, b) + 1);  // an expression that holds a product: used once
  heddle::tensor<float, 2> z = std::move(e);
  //! [contraction]
  CHECK((y(0, 0) == 9 && z(3, 4) == 4));
}

TEST_CASE("numbers are arguments") {
  const heddle::tensor<float, 1> x{1, 4};
  //! [captures]
  float eps = 0.5f;
  // let([eps](auto x) { … }) does not compile: a program is made from the lambda's type alone
  heddle::tensor<float, 1> y = heddle::let([](auto v, auto e) { return v / (v + e); }, x, eps);
  //! [captures]
  CHECK(y(0) == doctest::Approx(1 / 1.5));
}

TEST_CASE("an extent that happens to be 1") {
  check_output("pitfalls_extent", [] {
    //! [extent]
    const auto a = heddle::ones<float, 2>({3, 4});
    const auto column = heddle::ones<float, 2>({3, 1});
    const auto flat = heddle::ones<float, 1>({3});
    std::cout << explain(a * column) << '\n';
    std::cout << explain(a * unsqueeze<1>(flat));
    //! [extent]
  });
}

TEST_CASE("dtypes of results") {
  //! [dtypes]
  const heddle::tensor<std::int64_t, 1> n{1, 2, 3};
  const heddle::tensor<std::uint8_t, 1> small{200, 100, 1};
  heddle::tensor<float, 1> half = n / 2;                    // division gives f32: 0.5 1 1.5
  heddle::tensor<std::int64_t, 1> twice = n * 2;            // a whole number leaves the dtype
  heddle::tensor<float, 1> scaled = n * 0.5;                // a floating number makes integers f32
  heddle::tensor<std::uint8_t, 1> wrapped = small + small;  // u8 wraps around: 144 200 2
  heddle::tensor<std::int64_t, 0> total = sum(small);       // sums of integers are i64: 301
  heddle::tensor<std::int64_t, 0> many = sum(n > 1);        // and of bool: 2
  const heddle::tensor<heddle::bfloat16, 1> b{1, 2, 3};
  heddle::tensor<heddle::bfloat16, 1> c = b * 0.1;  // a number never widens a floating dtype
  heddle::tensor<float, 1> d = b * scaled;          // a tensor does: bf16 and f32 give f32
  //! [dtypes]
  CHECK((half(0) == 0.5f && twice(2) == 6 && scaled(0) == 0.5f && wrapped(0) == 144));
  CHECK((total.item() == 301 && many.item() == 2 && d(2) == 4.5f));
  CHECK(static_cast<float>(c(0)) == doctest::Approx(0.1).epsilon(0.01));
}

TEST_CASE("streams are ordered by events") {
  //! [streams]
  const heddle::device where = heddle::cpu(0);  // as on cuda(0)
  heddle::stream side(where);
  heddle::tensor<float, 1> x = heddle::ones<float, 1>({100}, where);
  x = x * 3;  // queued in the device's current stream

  heddle::event written;
  written.record(heddle::current_stream(where));
  written.wait(side);  // without it, side might read x before it is written
  heddle::tensor<float, 1> y;
  {
    const heddle::stream_scope here(side);
    y = x + 1;
  }
  side.synchronize();
  //! [streams]
  CHECK(y(99) == 4);
}

TEST_CASE("views that overlap") {
  //! [views]
  heddle::tensor<float, 1> x{1, 2, 3, 4};
  // Overlaps by another layout: through a temporary, so the right values are read.
  x(heddle::slice(1, 4)) = x(heddle::slice(0, 3)) * 10.f;  // 1 10 20 30
  auto wide = heddle::expand(x, {2, 4});                   // two rows, one set of elements
  // assign(wide, 0.f) throws shape_error: several indices name one element
  //! [views]
  CHECK((x(0) == 1 && x(1) == 10 && x(3) == 30));
  CHECK_THROWS_AS(assign(wide, 0.f), heddle::shape_error);
}

TEST_CASE("objects are not found by their arguments") {
  const auto x = heddle::ones<float, 2>({2, 3});
  //! [qualification]
  auto e = exp(x) + sum<-1>(x, heddle::keepdim);  // functions: found by their argument's namespace
  auto f = heddle::relu(x);                       // an object: must be named in full
  auto g = heddle::softmax<-1>(x);                // likewise
  //! [qualification]
  heddle::tensor y = evaluate(e + f + g);
  CHECK(y(0, 0) == doctest::Approx(std::exp(1.0) + 3 + 1 + 1 / 3.0));
}

//! [axes]
// The axis of x that `axis` names at run time: one function for each, chosen by a switch.
heddle::tensor<float, 1> sum_along(const heddle::tensor<float, 2>& x, int axis) {
  if (axis == 0) return sum<0>(x);
  return sum<1>(x);
}
//! [axes]

TEST_CASE("an axis of run time") { CHECK(sum_along(heddle::ones<float, 2>({2, 3}), 1)(0) == 3); }

TEST_CASE("values that backward needs are not to be overwritten") {
  //! [stale]
  heddle::tensor<float, 1> data{1, 2, 3};
  heddle::variable<float, 1> w(data);  // shares data's elements
  heddle::variable loss = sum(w * w);  // its derivative reads w
  data.fill_(0);                       // overwrites what it is to read
  // loss.backward() throws state_error
  //! [stale]
  CHECK_THROWS_AS(loss.backward(), heddle::state_error);
}
