// SPDX-License-Identifier: BSD-3-Clause
// Datasets, splits and the loader.
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/data/loader.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/views.hpp>

using heddle::loader;
using heddle::tensor;
using heddle::tensor_dataset;
using numbers = std::vector<std::int64_t>;

namespace {

// Sample i is the row (10 i, 10 i + 1) and the label i.
auto ten_samples(std::int64_t count = 10) {
  auto x = heddle::empty<float, 2>({count, 2});
  auto y = heddle::empty<std::int64_t, 1>({count});
  for (std::int64_t i = 0; i < count; ++i) {
    x(i, 0) = static_cast<float>(10 * i);
    x(i, 1) = static_cast<float>(10 * i + 1);
    y(i) = i;
  }
  return tensor_dataset(x, y);
}

// The labels of one epoch, batch after batch.
template <class Loader>
numbers labels_of(Loader& batches) {
  numbers labels;
  for (auto& [x, y] : batches) labels.insert(labels.end(), y.begin(), y.end());
  return labels;
}

numbers counted(std::int64_t count) {
  numbers all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

numbers order_of(std::int64_t count, std::uint64_t seed, std::uint64_t epoch) {
  const auto order = heddle::random_permutation(count, seed, epoch);
  return numbers(order.begin(), order.end());
}

// A dataset with samples of a type of its own, and what makes batches of them.
struct sentence {
  numbers words;
};
struct sentence_batch {
  std::int64_t count;
  std::size_t longest;
};
sentence_batch collate(const std::vector<sentence>& samples) {
  sentence_batch batch{static_cast<std::int64_t>(samples.size()), 0};
  for (const sentence& each : samples) batch.longest = std::max(batch.longest, each.words.size());
  return batch;
}
struct sentences {
  std::int64_t size() const { return 5; }
  sentence get(std::int64_t i) const { return {counted(i)}; }
};

// A dataset computed on demand: a tensor and a number.
struct squares {
  std::int64_t size() const { return 6; }
  std::tuple<tensor<float, 1>, double> get(std::int64_t i) const {
    const auto value = static_cast<float>(i);
    return {tensor<float, 1>{value, value * value}, static_cast<double>(i) / 2};
  }
};
// The least that the concept asks for.
struct archetype {
  long size();
  float get(std::int64_t);
};
static_assert(heddle::dataset<archetype>);
static_assert(heddle::dataset<squares>);
static_assert(!heddle::dataset<std::vector<int>>);

}  // namespace

TEST_CASE("a tensor dataset's samples are views of its rows") {
  const auto samples = ten_samples();
  CHECK(samples.size() == 10);
  const auto [x, y] = samples.get(3);
  CHECK(x(1) == 31.f);
  CHECK(y.item() == 3);
  CHECK(x.storage() == std::get<0>(samples.tensors()).storage());
  CHECK_THROWS_AS(samples.get(10), heddle::index_error);
  CHECK_THROWS_AS(samples.get(-1), heddle::index_error);
  CHECK_THROWS_WITH_AS(
      tensor_dataset(heddle::zeros<float, 2>({3, 2}), heddle::zeros<float, 1>({4})),
      doctest::Contains("the first extents differ: (3, 2) (4)"), heddle::shape_error);
}

TEST_CASE("batches are the rows in order, the last one smaller or left out") {
  loader batches(ten_samples(), {.batch_size = 4});
  CHECK(batches.size() == 3);
  numbers sizes;
  for (auto& [x, y] : batches) {
    sizes.push_back(x.extent(0));
    REQUIRE(y.extent(0) == x.extent(0));
    CHECK(x.is_contiguous());
    for (std::int64_t i = 0; i < x.extent(0); ++i) {
      CHECK(x(i, 1) == static_cast<float>(10 * y(i) + 1));
    }
  }
  CHECK(sizes == numbers{4, 4, 2});
  CHECK(labels_of(batches) == counted(10));

  loader full(ten_samples(), {.batch_size = 4, .drop_last = true});
  CHECK(full.size() == 2);
  CHECK(labels_of(full) == counted(8));
  loader none(ten_samples(), {.batch_size = 11, .drop_last = true});
  CHECK(none.size() == 0);
  CHECK(labels_of(none).empty());
  loader exact(ten_samples(), {.batch_size = 5});
  CHECK(exact.size() == 2);
  loader empty(ten_samples(0), {.batch_size = 5});
  CHECK(labels_of(empty).empty());
  CHECK_THROWS_WITH_AS(loader(ten_samples(), {.batch_size = 0}),
                       doctest::Contains("the batch size is not positive: 0"), heddle::value_error);
}

TEST_CASE("a batch kept beyond its turn is not overwritten") {
  loader batches(ten_samples(), {.batch_size = 5});
  std::vector<tensor<std::int64_t, 1>> kept;
  for (auto& [x, y] : batches) kept.push_back(y);
  CHECK(kept[0](0) == 0);
  CHECK(kept[1](0) == 5);
}

TEST_CASE("rows of views are gathered as they read") {
  auto x = heddle::empty<float, 3>({2, 3, 4});
  for (std::int64_t i = 0; i < 24; ++i) x.data()[i] = static_cast<float>(i);
  // (4, 2, 3): the samples are the last axis.
  const tensor<float, 3> moved = heddle::permute<2, 0, 1>(x);
  loader batches{tensor_dataset(moved), {.batch_size = 3}};
  auto it = batches.begin();
  const auto& [first] = *it;
  REQUIRE(first.extents() == heddle::extents<3>{3, 2, 3});
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 2; ++j) {
      for (int k = 0; k < 3; ++k) CHECK(first(i, j, k) == x(j, k, i));
    }
  }
  // Every other row, rows of one column.
  const tensor<float, 2> matrix{{0, 1}, {2, 3}, {4, 5}, {6, 7}};
  loader columns(tensor_dataset(tensor<float, 2>(matrix.slice<0>(0, 4, 2).slice<1>(1, 2))),
                 {.batch_size = 2});
  for (auto& [column] : columns) {
    CHECK(column(0, 0) == 1.f);
    CHECK(column(1, 0) == 5.f);
  }
}

TEST_CASE("the order of an epoch depends on the seed and the epoch alone") {
  loader batches(ten_samples(), {.batch_size = 3, .shuffle = true, .seed = 7});
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    CHECK(batches.state() == heddle::loader_state{7, epoch, 0});
    CHECK(labels_of(batches) == order_of(10, 7, epoch));
  }
  loader other(ten_samples(), {.batch_size = 5, .shuffle = true, .seed = 7});
  CHECK(labels_of(other) == order_of(10, 7, 0));
}

TEST_CASE("leaving a loop early ends the epoch") {
  loader batches(ten_samples(), {.batch_size = 3, .shuffle = true, .seed = 7});
  for ([[maybe_unused]] auto& batch : batches) break;
  CHECK(batches.state() == heddle::loader_state{7, 0, 1});
  CHECK(labels_of(batches) == order_of(10, 7, 1));
}

TEST_CASE("a restored loader hands out what the saved one would have") {
  for (std::int64_t stop = 1; stop <= 4; ++stop) {
    loader batches(ten_samples(), {.batch_size = 3, .shuffle = true, .seed = 7});
    labels_of(batches);
    heddle::loader_state saved;
    numbers rest;
    for (auto& [x, y] : batches) {
      if (batches.state().position <= stop) saved = batches.state();
      if (batches.state().position > stop) rest.insert(rest.end(), y.begin(), y.end());
    }
    loader resumed(ten_samples(), {.batch_size = 3, .shuffle = true, .seed = 1});
    resumed.restore(saved);
    if (!rest.empty()) CHECK(labels_of(resumed) == rest);
    CHECK(labels_of(resumed) == order_of(10, 7, 2));
  }
  loader batches(ten_samples(), {.batch_size = 3});
  CHECK_THROWS_WITH_AS(batches.restore({0, 0, 5}), doctest::Contains("outside of an epoch: 5 of 4"),
                       heddle::value_error);
}

TEST_CASE("samples of tuples, and of types with a collate of their own, make batches") {
  loader batches(squares(), {.batch_size = 4});
  auto it = batches.begin();
  {
    const auto& [x, half] = *it;
    REQUIRE(x.extents() == heddle::extents<2>{4, 2});
    CHECK(x(3, 1) == 9.f);
    CHECK(half(3) == 1.5);
  }
  ++it;
  CHECK(std::get<0>(*it)(1, 1) == 25.f);
  ++it;
  CHECK(it == batches.end());

  loader words(sentences(), {.batch_size = 2});
  std::vector<std::size_t> longest;
  for (const sentence_batch& batch : words) longest.push_back(batch.longest);
  CHECK(longest == std::vector<std::size_t>{1, 3, 4});
}

TEST_CASE("samples of one batch have the same extents") {
  CHECK_THROWS_WITH_AS(
      static_cast<void>(heddle::collate(std::vector{tensor<float, 1>{1, 2}, tensor<float, 1>{1}})),
      doctest::Contains("differ in their extents: (1) after (2)"), heddle::shape_error);
  const tensor<float, 2> x{{1, 2}, {3, 4}};
  const auto stacked = heddle::collate(std::vector{x, x.transpose()});
  CHECK(stacked(1, 0, 1) == 3.f);
  CHECK(heddle::collate(std::vector<tensor<float, 0>>{tensor<float, 0>(2.f)})(0) == 2.f);
}

TEST_CASE("a random split covers the samples once, the same for the same seed") {
  const auto samples = ten_samples();
  const auto [train, test] = heddle::random_split(samples, {7, 3}, 5);
  CHECK(train.size() == 7);
  CHECK(test.size() == 3);
  numbers all(train.indices().begin(), train.indices().end());
  all.insert(all.end(), test.indices().begin(), test.indices().end());
  CHECK(all == order_of(10, 5, UINT64_MAX));
  loader batches(test, {.batch_size = 2});
  CHECK(labels_of(batches) == numbers(all.begin() + 7, all.end()));
  CHECK(std::get<1>(test.get(0)).item() == all[7]);
  CHECK_THROWS_WITH_AS(static_cast<void>(heddle::random_split(samples, {7, 2}, 5)),
                       doctest::Contains("(7, 2) of 10 samples"), heddle::value_error);
  CHECK_THROWS_AS(static_cast<void>(heddle::random_split(samples, {11, -1}, 5)),
                  heddle::value_error);

  // A subset of samples without a get_batch, of a subset.
  const auto parts = heddle::random_split(squares(), {4, 2}, 1);
  const auto halves = heddle::random_split(parts[0], {2, 2}, 1);
  loader half(halves[1], {.batch_size = 2});
  for (auto& [x, value] : half) {
    const std::int64_t expected = parts[0].indices()(halves[1].indices()(0));
    CHECK(x(0, 0) == static_cast<float>(expected));
  }
  CHECK_THROWS_AS(heddle::subset(samples, tensor<std::int64_t, 1>{0, 10}), heddle::index_error);
}

namespace {

// A dataset that grows between epochs, as a replay buffer does.
struct growing {
  std::int64_t* count;
  std::int64_t size() const { return *count; }
  std::int64_t get(std::int64_t i) const { return i; }
};

}  // namespace

TEST_CASE("a dataset that grew is visited whole in the next epoch, and as it was in this one") {
  for (const bool shuffle : {false, true}) {
    std::int64_t count = 3;
    loader batches(growing{&count}, {.batch_size = 2, .shuffle = shuffle});
    const auto visited = [&](std::int64_t grown) {
      numbers seen;
      for (auto& batch : batches) {
        seen.insert(seen.end(), batch.begin(), batch.end());
        count = grown;
      }
      std::sort(seen.begin(), seen.end());
      return seen;
    };
    CHECK(visited(3) == counted(3));
    count = 1000;
    CHECK(visited(5000) == counted(1000));
    CHECK(visited(5000) == counted(5000));
  }
}
