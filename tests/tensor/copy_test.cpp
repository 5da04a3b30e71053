// SPDX-License-Identifier: BSD-3-Clause
// Copies between all kinds of strides, and the overlap test, against walks over single elements.
#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/tensor/copy.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/tensor.hpp>
#include <heddle/tensor/views.hpp>

using namespace heddle;

namespace {

template <class T, int Rank>
detail::memory_map map_of(const tensor<T, Rank>& x) {
  return {x.data(), x.extents().data(), x.strides().data(), Rank, sizeof(T)};
}

template <class A, class B>
bool overlap(const A& a, const B& b) {
  return detail::overlaps(map_of(a), map_of(b));
}

// A permuted, sliced view of random extents.
template <class T>
tensor<T, 4> random_view(std::mt19937& random, extents<4> wanted) {
  const auto draw = [&](int n) { return static_cast<std::int64_t>(random() % unsigned(n)); };
  const std::int64_t steps[4] = {1 + draw(2), 1 + draw(2), 1 + draw(2), 1 + draw(2)};
  extents<4> whole;
  int order[4] = {0, 1, 2, 3};
  for (int i = 3; i > 0; --i) std::swap(order[i], order[draw(i + 1)]);
  for (int i = 0; i < 4; ++i) whole[i] = wanted[order[i]] * steps[order[i]] + draw(2);
  tensor<T, 4> made = zeros<T, 4>(whole);
  extents<4> extents;
  strides<4> strides;
  for (int i = 0; i < 4; ++i) {
    extents[order[i]] = wanted[order[i]];
    strides[order[i]] = made.strides()[i] * steps[order[i]];
  }
  return tensor<T, 4>(made.storage(), made.data(), extents, strides);
}

template <class T>
void check_random_copies(unsigned seed) {
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    INFO("seed " << seed << " round " << round);
    extents<4> wanted;
    for (int axis = 0; axis < 4; ++axis) {
      wanted[axis] =
          static_cast<std::int64_t>(random() % (round % 20 == 0 ? 40 : 5)) + (round % 7 != 0);
    }
    const tensor<T, 4> to = random_view<T>(random, wanted);
    const tensor<T, 4> from = random_view<T>(random, wanted);
    int next = 1;
    for (T& value : from) value = static_cast<T>(next++ % 101);
    detail::strided_copy(reinterpret_cast<std::byte*>(to.data()), to.strides().data(),
                         reinterpret_cast<const std::byte*>(from.data()), from.strides().data(),
                         wanted.data(), 4, sizeof(T));
    next = 1;
    std::int64_t wrong = 0;
    for (const T& value : to) wrong += value != static_cast<T>(next++ % 101);
    CHECK(wrong == 0);
    // Nothing was written beside the view.
    std::int64_t sum = 0, expected = 0;
    const std::int64_t count = static_cast<std::int64_t>(to.storage()->bytes() / sizeof(T));
    const T* whole = reinterpret_cast<const T*>(to.storage()->data());
    for (std::int64_t i = 0; i < count; ++i) sum += static_cast<std::int64_t>(whole[i]);
    for (const T& value : from) expected += static_cast<std::int64_t>(value);
    CHECK(sum == expected);
  }
}

}  // namespace

TEST_CASE("strided copies equal a walk over the elements, for every element size") {
  check_random_copies<std::uint8_t>(1);
  check_random_copies<float16>(2);
  check_random_copies<float>(3);
  check_random_copies<double>(4);
}

TEST_CASE("a large transposed copy goes through tiles and keeps every element") {
  const tensor<float, 2> x = reshape(arange<float>(70 * 101), {70, 101});
  const tensor<float, 2> y = x.transpose().clone();
  std::int64_t wrong = 0;
  for (int i = 0; i < 101; ++i)
    for (int j = 0; j < 70; ++j) wrong += y(i, j) != x(j, i);
  CHECK(wrong == 0);
}

TEST_CASE("the same map and ranges apart are no hazard") {
  const tensor<float, 2> x = zeros<float, 2>({4, 6});
  CHECK_FALSE(overlap(x, x));
  CHECK_FALSE(overlap(x, view(x, {4, 1, 6})));
  CHECK_FALSE(overlap(x.slice<0>(0, 2), x.slice<0>(2, 4)));
  CHECK_FALSE(overlap(x, x.clone()));
  CHECK_FALSE(overlap(x(all, 0), x(all, 1)));
  CHECK_FALSE(overlap(x(all, slice(0, 6, 2)), x(all, slice(1, 6, 2))));
  CHECK_FALSE(overlap(x.slice<0>(0, 0), x));
}

TEST_CASE("other maps of shared elements are a hazard, from whichever storage they are seen") {
  const tensor<float, 2> x = zeros<float, 2>({4, 4});
  CHECK(overlap(x, x.transpose()));
  CHECK(overlap(x.slice<0>(0, 3), x.slice<0>(1, 4)));
  CHECK(overlap(x, x(0)));
  CHECK(overlap(x, expand(x.slice<0>(0, 1), {4, 4})));
  CHECK(overlap(x, view(x, {16})));
  const tensor<float, 1> seen_again = from_pointer(x.data() + 1, extents<1>{4});
  CHECK(overlap(x, seen_again));
  // The same bytes as other elements.
  const auto bytes = from_pointer(reinterpret_cast<std::uint8_t*>(x.data()), extents<2>{4, 4});
  CHECK(overlap(x, bytes));
}

TEST_CASE("random views that share an element are always called overlapping") {
  std::mt19937 random(7);
  const tensor<float, 1> memory = zeros<float, 1>({200});
  int shared_count = 0, apart_count = 0;
  for (int round = 0; round < 2000; ++round) {
    tensor<float, 2> views[2];
    std::set<const float*> places[2];
    for (int i = 0; i < 2; ++i) {
      const auto draw = [&](int n) { return static_cast<std::int64_t>(random() % unsigned(n)); };
      const extents<2> shape{1 + draw(4), 1 + draw(4)};
      const strides<2> steps{draw(12), draw(12)};
      views[i] = tensor<float, 2>(memory.storage(), memory.data() + draw(60), shape, steps);
      for (float& value : views[i]) places[i].insert(&value);
    }
    bool shares = false;
    for (const float* place : places[0]) shares = shares || places[1].count(place) > 0;
    const bool same = views[0].data() == views[1].data() &&
                      views[0].extents() == views[1].extents() &&
                      views[0].strides() == views[1].strides();
    const bool answer = overlap(views[0], views[1]);
    if (shares && !same && !detail::same_map(map_of(views[0]), map_of(views[1]))) CHECK(answer);
    CHECK(answer == overlap(views[1], views[0]));
    shared_count += shares;
    apart_count += !shares && !answer;
  }
  CHECK(shared_count > 100);
  CHECK(apart_count > 100);
}
