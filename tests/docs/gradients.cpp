// SPDX-License-Identifier: BSD-3-Clause
// The examples of docs/reference/autograd.md.
#include <iostream>
#include <tuple>

#include "printed.hpp"

#include <heddle/autograd/cursor.hpp>
#include <heddle/autograd/gradcheck.hpp>
#include <heddle/autograd/views.hpp>

namespace {

//! [no-gradient]
// x scaled by numbers that are none of training's business: they get no gradient.
template <int Rank>
heddle::variable<float, Rank> scaled(const heddle::variable<float, Rank>& x,
                                     const heddle::tensor<float, Rank>& scale) {
  heddle::tensor<float, Rank> y = x.value() * scale;
  return heddle::record(
      y,
      [](const auto& g, const auto&, const auto& by) {
        return std::tuple{g * by, heddle::no_gradient()};
      },
      x, scale);
}
//! [no-gradient]

}  // namespace

TEST_CASE("variables know their place on the tape") {
  //! [variable]
  heddle::variable<float, 1> w(heddle::tensor<float, 1>{1, 2});         // a leaf, trained
  heddle::variable<float, 1> c(heddle::tensor<float, 1>{3, 4}, false);  // a constant
  heddle::variable y = w * c;
  heddle::variable<float, 1> later;  // without a value

  bool is_trained = w.is_leaf() && w.requires_grad() && !c.requires_grad();
  bool is_recorded = y.requires_grad() && !y.is_leaf();
  heddle::tensor<float, 1> plain = y.detached();  // shares the elements
  //! [variable]
  CHECK((is_trained && is_recorded && !later.defined()));
  CHECK((y.defined() && plain.data() == y.value().data()));
  //! [set-value]
  w.set_value(heddle::tensor<float, 1>{5, 6});  // the leaf and its gradient stay
  w.set_grad(heddle::zeros<float, 1>({2}));     // what backward passes add to
  //! [set-value]
  CHECK((w.value()(1) == 6 && w.grad()(1) == 0));
}

TEST_CASE("hooks are told of final gradients") {
  //! [gradient-hook]
  heddle::variable<float, 1> w(heddle::tensor<float, 1>{1, 2});
  float largest = 0;
  heddle::add_gradient_hook(w, [&](const heddle::any_tensor& gradient) {
    largest = evaluate(amax(gradient.as<float, 1>())).item();
  });
  heddle::variable loss = sum(w * w);
  loss.backward();
  //! [gradient-hook]
  CHECK(largest == 4);
}

TEST_CASE("a graph that is kept is differentiated again") {
  //! [retain-graph]
  heddle::variable<float, 1> w(heddle::tensor<float, 1>{1, 2});
  heddle::variable loss = sum(w * w);
  const heddle::backward_options keep{.retain_graph = true};
  loss.backward(keep);
  loss.backward();  // adds to the gradients of the first: 4, 8
  //! [retain-graph]
  CHECK(w.grad()(1) == 8);
}

TEST_CASE("a backward pass stops at a variable") {
  //! [backward-pass]
  heddle::variable<float, 1> w(heddle::tensor<float, 1>{1, 2});
  heddle::variable h = w * w;
  heddle::variable loss = sum(h * h);

  heddle::backward_pass pass(loss);
  heddle::tensor<float, 1> of_h = pass.run_until(h);  // 2 h; w's is not there yet
  bool early = !w.grad().defined() && !pass.done();
  pass.run();  // the rest
  //! [backward-pass]
  CHECK((early && pass.done()));
  CHECK((of_h(1) == 8 && w.grad()(1) == 32));
}

TEST_CASE("recording is switched on within a scope that switched it off") {
  //! [enable-grad]
  heddle::variable<float, 1> w(heddle::tensor<float, 1>{1, 2});
  const heddle::no_grad off;
  heddle::variable a = w * 2;  // not recorded
  bool within = false;
  {
    const heddle::enable_grad on;
    heddle::variable b = w * 2;  // recorded
    within = heddle::is_grad_enabled() && b.requires_grad();
  }
  //! [enable-grad]
  CHECK(within);
  CHECK((!heddle::is_grad_enabled() && !a.requires_grad()));
}

TEST_CASE("gradcheck compares with differences") {
  const printed out;
  //! [gradcheck]
  const heddle::tensor<double, 1> x{0.5, 1, 2};
  heddle::gradcheck_options options{.epsilon = 1e-5, .relative = 1e-6, .absolute = 1e-8};
  heddle::gradcheck_result right =
      heddle::gradcheck([](const auto& v) { return evaluate(sin(v) * v); }, std::tuple{x}, options);

  // a derivative that lacks its factor 2 is found
  heddle::gradcheck_result wrong = heddle::gradcheck(
      [](const auto& v) {
        return record(
            evaluate(v.value() * v.value()),
            [](const auto& g, const auto& at) { return std::tuple{g * at}; }, v);
      },
      std::tuple{x});
  if (!wrong.agrees) {  // what is worst
    std::cout << "element " << wrong.element << " of input " << wrong.input << " is "
              << wrong.derived << ", differences say " << wrong.measured << ": " << wrong.excess
              << " times what is allowed\n";
  }
  //! [gradcheck]
  CHECK((right.agrees && !wrong.agrees && wrong.input == 0 && wrong.excess > 1));
  CHECK(wrong.measured == doctest::Approx(2 * wrong.derived));
}

TEST_CASE("an input of a recorded function may have no gradient") {
  heddle::variable<float, 1> w(heddle::tensor<float, 1>{1, 2});
  heddle::variable loss = sum(scaled(w, heddle::tensor<float, 1>{3, 4}));
  loss.backward();
  CHECK((loss.item() == 11 && w.grad()(1) == 4));
}

TEST_CASE("views of variables") {
  //! [views]
  heddle::variable<float, 3> x(heddle::ones<float, 3>({2, 1, 3}));
  heddle::variable rows = heddle::squeeze<1>(x);            // (2, 3)
  heddle::variable turned = heddle::transpose(rows);        // (3, 2)
  heddle::variable part = heddle::narrow<0>(turned, 1, 2);  // rows 1 and 2
  heddle::variable last = heddle::select<0>(turned, -1);    // (2)
  heddle::variable loss = sum(part) + sum(last);
  loss.backward();
  //! [views]
  CHECK((part.extents() == heddle::extents<2>{2, 2} && last.size() == 2));
  CHECK((x.grad()(0, 0, 0) == 0 && x.grad()(0, 0, 1) == 1 && x.grad()(0, 0, 2) == 2));
}
