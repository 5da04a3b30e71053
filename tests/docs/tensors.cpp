// SPDX-License-Identifier: BSD-3-Clause
// The examples of the reference's pages on tensors, evaluation, products and algorithms.
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <heddle/algorithm/scan.hpp>
#include <heddle/algorithm/topk.hpp>
#include <heddle/algorithm/unique.hpp>
#include <heddle/core/cuda_graph.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/exec/profiler.hpp>
#include <heddle/linalg/matmul.hpp>
#include <heddle/tensor/any_tensor.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/random.hpp>
#include <heddle/tensor/tie.hpp>
#include <heddle/tensor/views.hpp>

namespace {

//! [concept]
// Takes tensors, variables and expressions of any floating dtype, and computes nothing yet.
template <heddle::expression E>
auto distance_from(const E& x, float centre) {
  static_assert(is_floating(E::type), "distance_from: the dtype is not floating");
  return abs(x - centre);
}
//! [concept]

//! [allocate]
// A tensor whose elements are written one by one: T and Rank are those of the caller.
template <class T, int Rank>
heddle::tensor<T, Rank> counted(const heddle::extents<Rank>& extents) {
  const auto result = heddle::tensor<T, Rank>::allocate(extents, heddle::cpu());
  for (std::int64_t i = 0; i < result.size(); ++i) result.data()[i] = static_cast<T>(i);
  return result;
}
//! [allocate]

}  // namespace

TEST_CASE("tensors are made of extents, or like another") {
  //! [creation]
  const auto x = heddle::full<float, 2>({2, 3}, 0.5f);
  const auto y = heddle::empty<float, 2>({2, 3});  // not initialised: written below
  assign(y, x * 2);

  const auto gradient = heddle::zeros_like(x);  // x's extents, dtype and device
  const auto limits = heddle::full_like(x, 6.f);
  const auto scratch = heddle::empty_like(x);
  //! [creation]
  CHECK((y(1, 2) == 1 && gradient(0, 0) == 0 && limits(1, 2) == 6));
  CHECK((scratch.extents() == x.extents() && scratch.is_contiguous()));
}

TEST_CASE("random tensors") {
  //! [random]
  heddle::generator numbers(7);                        // a seed: the same on every platform
  const auto order = heddle::randperm(1000, numbers);  // 0 to 999, each once
  const auto x = heddle::randn<float, 2>({100, 10}, numbers);

  const auto noise = heddle::randn_like(x);  // standard normal, of the default generator
  const auto kept = heddle::tensor(heddle::rand_like(x) < 0.9f);  // true of nine in ten
  //! [random]
  heddle::generator again(7);
  const auto same = heddle::randperm(1000, again);
  std::int64_t total = 0, equal = 0, count = 0;
  for (const std::int64_t index : order) total += index;
  for (std::int64_t i = 0; i < 1000; ++i) equal += order(i) == same(i);
  for (const bool each : kept) count += each;
  CHECK((total == 999 * 1000 / 2 && equal == 1000 && count > 850 && count < 950));
  CHECK(std::abs(heddle::tensor(mean(noise)).item()) < 0.2f);
}

TEST_CASE("how the elements lie") {
  //! [layout]
  const heddle::tensor<float, 2> x{{1, 2, 3}, {4, 5, 6}};
  const heddle::tensor<float, 2> columns = x.transpose();       // (3, 2): strides 1, 3
  const heddle::tensor<float, 2> dense = columns.contiguous();  // (3, 2): strides 2, 1

  const bool shared = columns.storage().get() == x.storage().get();  // a view: true
  const bool copied = dense.storage().get() != x.storage().get();    // of its own: true
  //! [layout]
  CHECK((shared && copied && !columns.is_contiguous() && dense.is_contiguous()));
  CHECK((columns.strides()[0] == 1 && columns.strides()[1] == 3 && dense.strides()[0] == 2));
  CHECK(dense(2, 1) == 6);
}

TEST_CASE("writing in place") {
  //! [in_place]
  heddle::tensor<float, 1> sum;  // undefined: no elements yet
  if (!sum.defined()) sum = heddle::zeros<float, 1>({3});
  const std::uint32_t before = sum.version();
  sum += heddle::tensor<float, 1>{1, 2, 3};
  const bool written = sum.version() != before;  // views of the storage see it too
  const float last = sum(-1);                    // 3
  sum.zero_();
  //! [in_place]
  CHECK((written && last == 3 && sum(2) == 0));
}

TEST_CASE("elements that are written one by one") {
  CHECK(counted<double, 2>({2, 2})(1, 1) == 3);
  CHECK(counted<std::uint8_t, 1>({5})(4) == 4);
}

TEST_CASE("a function of expressions") {
  //! [concept_use]
  const heddle::tensor<float, 1> x{1, 2, 4};
  const heddle::tensor<float, 1> y = distance_from(x * 2, 3.f);  // 1 1 5, in one launch
  //! [concept_use]
  CHECK((y(0) == 1 && y(1) == 1 && y(2) == 5));
}

TEST_CASE("tensors of which dtype and rank are known at run time") {
  //! [any_tensor]
  // Tensors of several types in one list: any_tensor shares the elements.
  const heddle::tensor<float, 2> weight{{1, 2}, {3, 4}};
  const std::vector<heddle::any_tensor> state{weight, heddle::tensor<std::int64_t, 0>(12)};
  std::size_t bytes = 0;
  for (const heddle::any_tensor& each : state) bytes += each.bytes();  // 16 + 8

  const heddle::tensor<float, 2> again = state[0].as<float, 2>();  // throws where types differ

  // One of the same dtype and extents, and a copy into it.
  const auto saved = heddle::any_tensor::allocate(state[0].dtype(), state[0].extents());
  saved.copy_(state[0].contiguous());
  //! [any_tensor]
  CHECK((bytes == 24 && again.data() == weight.data() && saved.as<float, 2>()(1, 1) == 4));
  CHECK((saved.defined() && saved.is_contiguous() && saved.strides()[0] == 2));
  CHECK(saved.version() == saved.storage()->version());
  CHECK_THROWS_AS(static_cast<void>(state[1].as<float, 0>()), heddle::type_error);
}

TEST_CASE("several destinations") {
  //! [tie]
  const heddle::tensor<float, 1> g{1, 2}, average{0, 0}, parameter{5, 5};
  const auto to = tie(average, parameter);
  const auto next = average * 0.9f + g * 0.1f;
  assign(to, next, parameter - next);  // one launch; both read what was there before
  const heddle::tensor<float, 1>& first = get<0>(to);  // average: handles, no copies
  //! [tie]
  CHECK((first(1) == doctest::Approx(0.2f) && parameter(1) == doctest::Approx(4.8f)));
}

TEST_CASE("other extents over the same elements") {
  //! [views]
  const heddle::tensor<float, 1> x = heddle::arange<float>(12);
  const heddle::tensor<float, 2> rows = view(x, {3, -1});  // (3, 4); throws if it had to copy
  const heddle::tensor<float, 1> line = reshape(rows.transpose(), {-1});  // (12); copies here
  rows(0, 1) = 100;  // x(1) is 100 now, line is as it was
  //! [views]
  CHECK((rows.extent(1) == 4 && x(1) == 100 && line(3) == 1));
}

TEST_CASE("sorting") {
  //! [sort]
  const heddle::tensor<float, 2> x{{3, 1, 2}, {4, 6, 5}};
  const auto [values, indices] = sort(x);                    // 1 2 3 | 4 5 6, and 1 2 0 | 0 2 1
  const auto down = sort<0>(x, {.descending = true});        // columns: 4 6 5 | 3 1 2
  const heddle::tensor<std::int64_t, 2> order = argsort(x);  // the indices alone

  // The options by name; equal elements keep their order in any case.
  heddle::sort_options options;
  options.stable = true;
  const heddle::sort_result<float, 2> result = sort(x, options);
  //! [sort]
  CHECK((values(0, 0) == 1 && indices(0, 0) == 1 && down.values(0, 1) == 6));
  CHECK((down.indices(0, 1) == 1 && order(1, 1) == 2 && result.values(1, 2) == 6));
}

TEST_CASE("the largest elements") {
  //! [topk]
  const heddle::tensor<float, 1> scores{0.1f, 0.5f, 0.3f, 0.9f};
  const auto best = topk(scores, 2);  // 0.9 0.5, at 3 and 1

  // The three smallest, in whatever order they are found.
  const heddle::topk_options smallest{.largest = false, .sorted = false};
  const auto low = topk(scores, 3, smallest);
  //! [topk]
  CHECK((best.indices(0) == 3 && best.indices(1) == 1 && low.values.size() == 3));
  CHECK(heddle::tensor(amax(low.values)).item() == 0.5f);
}

TEST_CASE("sums up to each element") {
  //! [cumsum]
  const heddle::tensor<std::int32_t, 1> lengths{3, 1, 4};
  const auto ends = cumsum(lengths);               // 3 4 8; integers are summed in i64
  const auto offsets = exclusive_cumsum(lengths);  // 0 3 4
  static_assert(std::is_same_v<heddle::cumsum_type<std::int32_t>, std::int64_t>);
  static_assert(std::is_same_v<heddle::cumsum_type<float>, float>);
  //! [cumsum]
  CHECK((ends(2) == 8 && offsets(0) == 0 && offsets(2) == 4));
}

TEST_CASE("distinct elements") {
  //! [unique]
  const heddle::tensor<std::int64_t, 2> labels{{7, 2}, {7, 5}};
  const heddle::unique_result<std::int64_t, 2> found = unique(labels);
  const std::int64_t most = found.values(argsort(found.counts)(-1));  // of 2 5 7, the 7
  const std::int64_t again = found.values(found.inverse(1, 1));       // labels(1, 1)
  //! [unique]
  CHECK((found.values.size() == 3 && found.values(2) == 7 && found.counts(2) == 2));
  CHECK((found.inverse(0, 0) == 2 && found.inverse(1, 1) == 1 && most == 7 && again == 5));
}

TEST_CASE("products with transposed operands") {
  //! [transposed]
  const auto x = heddle::ones<float, 2>({4, 3});
  const auto w = heddle::ones<float, 2>({5, 3});          // as a linear layer's: (N, K)
  heddle::tensor<float, 2> y = matmul(x, transposed(w));  // (4, 5); w is not copied
  heddle::tensor<float, 2> z = matmul(transposed(x), y);  // (3, 5)
  //! [transposed]
  CHECK((y.extent(1) == 5 && y(3, 4) == 3 && z.extent(0) == 3 && z(2, 4) == 12));
}

TEST_CASE("what was launched") {
  //! [profiler]
  const auto a = heddle::ones<float, 2>({8, 8});
  heddle::profiler profile;
  heddle::tensor<float, 2> warm = a + 1;
  profile.clear();  // what follows counts
  heddle::tensor<float, 2> h = matmul(a, warm);
  const heddle::launch_record product = profile.launches().front();
  const double intensity =  // operations per byte: 2 · 8 · 8 · 8 by 3 · 8 · 8 · 4
      static_cast<double>(product.operations) / static_cast<double>(product.bytes);
  const std::string place =
      std::string(product.statement.file) + ':' + std::to_string(product.statement.line);
  //! [profiler]
  CHECK(h(0, 0) == 16);
  CHECK(intensity == doctest::Approx(1024.0 / 768));
  CHECK(place.find("tensors.cpp:") != std::string::npos);
}

TEST_CASE("graphs") {
  const auto replay = [] {
    //! [cuda_graph]
    const heddle::device gpu = heddle::cuda(0);
    const auto x = heddle::zeros<float, 2>({64, 784}, gpu);  // inputs have a fixed place
    heddle::tensor<float, 1> lengths;
    const heddle::cuda_graph step(gpu, [&] {
      const heddle::tensor<float, 1> squares =
          heddle::sum<1>(x * x);  // in memory of the graph's own
      lengths = heddle::sqrt(squares);
    });
    for (int i = 0; i < 3; ++i) {
      heddle::assign(x, heddle::rand<float, 2>({64, 784}).to(gpu));
      step.replay();  // one call, whatever the step launches
    }
    const auto last = lengths.to(heddle::cpu());
    const std::int64_t held = step.bytes();  // until the graph and `lengths` are gone
    //! [cuda_graph]
    CHECK((last.size() == 64 && held > 0));
  };
  // this program has no unit of nvcc's
  CHECK_THROWS_AS(replay(), heddle::device_error);
}
