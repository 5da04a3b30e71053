// SPDX-License-Identifier: BSD-3-Clause
// Parameters: what their first values depend on, threads that use them first, moves and checks.
#include <array>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/core/threads.hpp>
#include <heddle/nn/layer_norm.hpp>
#include <heddle/nn/linear.hpp>
#include <heddle/nn/sequential.hpp>
#include <heddle/nn/state.hpp>

using namespace heddle;

namespace {

struct two_layers {
  nn::linear fc1{4, 4}, fc2{4, 4};
  HEDDLE_MODULE(two_layers, fc1, fc2)
  auto forward(const auto& x) const { return fc2(fc1(x)); }
};

struct wide {
  nn::linear fc1{4, 4000}, fc2{4000, 4};  // drawing takes long enough for threads to meet there
  HEDDLE_MODULE(wide, fc1, fc2)
  auto forward(const auto& x) const { return fc2(fc1(x)); }
};

struct wrapper {
  two_layers inner;
  parameter<float, 1> scale{{4}, nn::init::normal()};
  HEDDLE_MODULE(wrapper, inner, scale)
  auto forward(const auto& x) const { return inner(x) * scale; }
};

// One embedding under two names, the second an extension of the first.
struct shared_embedding {
  parameter<float, 2> weight{{4, 4}, nn::init::normal()};
  nn::linear deeper{4, 4};
  HEDDLE_MODULE(shared_embedding, weight, deeper)
  shared_embedding() { deeper.weight = weight; }
  auto forward(const auto& x) const { return deeper(x); }
};

template <class T, int Rank>
bool equal(const tensor<T, Rank>& a, const tensor<T, Rank>& b) {
  auto other = b.begin();
  for (const T v : a) {
    if (v != *other++) return false;
  }
  return a.extents() == b.extents();
}

tensor<float, 2> input() { return ones<float, 2>({2, 4}); }

std::string names_in(const parameter_list& list) {
  std::string all;
  for (const any_parameter& p : list) all += (all.empty() ? "" : " ") + p.name();
  return all;
}

// Seeds the default generator, and at the end as it was at first.
struct seeded {
  explicit seeded(std::uint64_t seed) { manual_seed(seed); }
  ~seeded() { manual_seed(generator::default_seed); }
};

}  // namespace

TEST_CASE("layers of one shape differ, whichever root was used first") {
  const seeded seed(3);
  SUBCASE("each by its own") {
    two_layers m;
    const variable<float, 2> a = m.fc1(input()), b = m.fc2(input());
    CHECK_FALSE(equal(m.fc1.weight.value(), m.fc2.weight.value()));
  }
  SUBCASE("listed one by one, then called by their module") {
    two_layers m, expected;
    static_cast<void>(parameters(m.fc1));
    static_cast<void>(parameters(m.fc2));
    const variable<float, 2> y = m(input());
    CHECK_FALSE(equal(m.fc1.weight.value(), m.fc2.weight.value()));
    CHECK(equal(m.fc1.weight.value(), state_dict(expected)[0].second.as<float, 2>()));
    CHECK(names_in(parameters(m)) == "fc1.weight fc1.bias fc2.weight fc2.bias");
  }
  SUBCASE("of no module") {
    nn::linear a(4, 4), b(4, 4);
    const variable<float, 2> x = a(input()), y = b(input());
    CHECK_FALSE(equal(a.weight.value(), b.weight.value()));
    const parameter<float, 1> p({4}, nn::init::normal()), q({4}, nn::init::normal());
    CHECK_FALSE(equal(p.value(), q.value()));
  }
}

TEST_CASE("a layer by itself has the values of its seed and order of construction, not of use") {
  const seeded seed(3);
  nn::linear a(4, 4), b(4, 4);
  const tensor<float, 2> second = state_dict(b)[0].second.as<float, 2>();
  const tensor<float, 2> first = state_dict(a)[0].second.as<float, 2>();
  manual_seed(3);
  nn::linear c(4, 4), d(4, 4);
  const variable<float, 2> y = c(input());
  CHECK(equal(c.weight.value(), first));
  CHECK(equal(d.weight.value(), second));
}

TEST_CASE("names are those in the largest root, and the first there of a shared parameter") {
  wrapper w;
  CHECK(names_in(parameters(w.inner.fc1)) == "weight bias");
  CHECK(names_in(parameters(w.inner)) == "fc1.weight fc1.bias fc2.weight fc2.bias");
  const variable<float, 2> y = w(input());
  const std::string whole = "inner.fc1.weight inner.fc1.bias inner.fc2.weight inner.fc2.bias scale";
  CHECK(names_in(parameters(w)) == whole);
  CHECK(names_in(parameters(w.inner.fc1)) == "inner.fc1.weight inner.fc1.bias");
  CHECK(names_in(parameters(w)) == whole);

  shared_embedding tied;
  CHECK(names_in(parameters(tied)) == "weight deeper.bias");
  const variable<float, 2> z = tied(input());
  CHECK(names_in(parameters(tied)) == "weight deeper.bias");
}

TEST_CASE("threads that call a fresh module first together see one set of values") {
  pthread_barrier_t start;
  pthread_barrier_init(&start, nullptr, 4);
  for (int round = 0; round < 10; ++round) {
    wide m;
    struct caller {
      wide* m;
      pthread_barrier_t* start;
      tensor<float, 2> weight;
      float result = 0;
      pthread_t thread{};
    };
    std::array<caller, 4> callers;
    for (caller& c : callers) {
      c.m = &m;
      c.start = &start;
      c.thread = heddle::detail::start_thread(
          [](void* given) -> void* {
            auto& mine = *static_cast<caller*>(given);
            pthread_barrier_wait(mine.start);
            const variable<float, 2> y = (*mine.m)(input());
            mine.weight = mine.m->fc1.weight.value();
            mine.result = y.value()(1, 2);
            return nullptr;
          },
          &c);
    }
    for (caller& c : callers) pthread_join(c.thread, nullptr);
    for (const caller& c : callers) {
      CHECK(c.weight.data() == m.fc1.weight.value().data());
      CHECK(c.result == callers[0].result);
    }
  }
  pthread_barrier_destroy(&start);
}

TEST_CASE("a move that fails leaves all parameters of a module as they were") {
  two_layers m;
  const variable<float, 2> y = m(input());
  to(m.fc2, meta());
  m.fc1.weight.set_grad(zeros<float, 2>({4, 4}));
  // What is on meta has no elements to move.
  CHECK_THROWS_AS(to(m, cpu(1)), device_error);
  CHECK(m.fc1.weight.device() == cpu());
  CHECK(m.fc1.weight.value().device() == cpu());
  CHECK(m.fc1.weight.grad().device() == cpu());
  CHECK(m.fc2.weight.device() == meta());
  const any_parameter alone = parameters(m.fc2)[0];
  CHECK_THROWS_AS(alone.to(cpu()), device_error);
  CHECK(alone.device() == meta());
  to(m.fc1, cpu(1));
  CHECK(m.fc1.weight.grad().device() == cpu(1));
}

TEST_CASE("values of other extents than a parameter's or buffer's are refused") {
  const buffer<float, 1> b(extents<1>{3});
  CHECK_THROWS_WITH_AS(b.set_value(zeros<float, 1>({5})),
                       "heddle::set_value: the values have other extents: (5); (3) are expected",
                       shape_error);
  b.set_value(ones<float, 1>({3}, cpu(1)));
  CHECK(b.device() == cpu(1));
  CHECK_THROWS_AS(b.set_value(zeros<float, 1>({5})), shape_error);
  CHECK(b.device() == cpu(1));
  CHECK(b.value().device() == cpu(1));

  nn::layer_norm norm(4);
  const any_parameter waiting = parameters(norm)[0];
  CHECK_THROWS_WITH_AS(waiting.copy_(zeros<float, 1>({7})),
                       "heddle::copy_: the values have other extents: (7); (4) are expected",
                       shape_error);
  CHECK_THROWS_AS(waiting.copy_(zeros<float, 2>({4, 1})), shape_error);
  CHECK_THROWS_AS(waiting.copy_(zeros<double, 1>({4})), type_error);
  CHECK_FALSE(waiting.is_materialised());
  waiting.copy_(full<float, 1>({4}, 3.f));
  CHECK(norm.weight.value()(3) == 3);
}

TEST_CASE("requiring the gradient that is required already keeps gradient and hooks") {
  const parameter<float, 1> p(ones<float, 1>({2}));
  int calls = 0;
  any_parameter(parameter<float, 1>(p).state_handle()).add_gradient_hook([&](const auto&) {
    ++calls;
  });
  p.set_grad(ones<float, 1>({2}));
  p.requires_grad_(true);
  CHECK(p.grad().defined());
  variable loss = sum(p);
  loss.backward();
  CHECK(calls == 1);
  p.requires_grad_(false);
  p.requires_grad_(true);
  CHECK_FALSE(p.grad().defined());
}

TEST_CASE("containers that would hide modules or parameters are recognised") {
  using heddle::detail::hides_members;
  static_assert(hides_members<std::vector<nn::linear>>);
  static_assert(hides_members<std::array<nn::linear, 2>>);
  static_assert(hides_members<nn::linear[2]>);
  static_assert(hides_members<std::vector<parameter<float, 1>>>);
  static_assert(!hides_members<nn::module_list<nn::linear>>);
  static_assert(!hides_members<nn::sequential>);
  static_assert(!hides_members<nn::linear>);
  static_assert(!hides_members<parameter<float, 1>>);
  static_assert(!hides_members<std::vector<int>>);
  static_assert(!hides_members<std::string>);
}

TEST_CASE("a layer norm refuses an input of other features") {
  nn::layer_norm norm(4);
  CHECK_THROWS_WITH_AS(static_cast<void>(evaluate(norm(ones<float, 2>({2, 5})))),
                       "heddle::layer_norm: the input's last extent is not the features of the "
                       "weight (4): 5; 4 is expected",
                       shape_error);
}
