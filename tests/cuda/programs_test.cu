// SPDX-License-Identifier: BSD-3-Clause
// Statements on a CUDA device against the host: maps, rows, reductions, gathers,
// random numbers, several results, assignments, and what goes back to the host.
#include <cmath>

#include "cuda_case.hpp"
#include "plain_unit.hpp"
#include <doctest/doctest.h>

#include <heddle/autograd/record.hpp>
#include <heddle/exec/evaluate.hpp>
#include <heddle/linalg/matmul.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/views.hpp>

namespace {

using namespace heddle;

template <class T = float>
tensor<T, 2> numbers(extents<2> e, unsigned seed) {
  tensor<T, 2> x = empty<T, 2>(e);
  for (T& v : x) {
    seed = seed * 1664525u + 1013904223u;
    v = static_cast<T>(static_cast<float>(seed >> 8) / 8388608.0f - 1.0f);
  }
  return x;
}

/// The largest difference, relative to the largest element; infinite where extents differ.
template <class T, int Rank>
double distance(const tensor<T, Rank>& on_device, const tensor<T, Rank>& wanted) {
  CHECK(on_device.device() == cuda(0));
  const tensor<T, Rank> got = on_device.to(cpu()).contiguous();
  const tensor<T, Rank> want = wanted.contiguous();
  if (got.extents() != want.extents()) return INFINITY;
  double difference = 0, largest = 1e-30;
  for (std::int64_t i = 0; i < want.size(); ++i) {
    const double a = static_cast<double>(got.data()[i]), b = static_cast<double>(want.data()[i]);
    difference = std::fmax(difference, std::fabs(a - b));
    largest = std::fmax(largest, std::fabs(b));
  }
  return difference / largest;
}

}  // namespace

TEST_CASE("maps, rows and reductions on a device are those of the host") {
  const support::cuda_case clean;
  const tensor<float, 2> x = numbers({37, 300}, 1), y = numbers({37, 300}, 2);
  const tensor<float, 2> dx = x.to(cuda(0)), dy = y.to(cuda(0));
  CHECK(distance(evaluate(dx * 2 + dy), evaluate(x * 2 + y)) < 1e-6);
  CHECK(distance(evaluate(dx.transpose() * dy.transpose()),
                 evaluate(x.transpose() * y.transpose())) < 1e-6);
  CHECK(distance(evaluate(softmax<-1>(dx)), evaluate(softmax<-1>(x))) < 1e-6);
  CHECK(distance(evaluate(sum<0>(dx)), evaluate(sum<0>(x))) < 1e-6);
  CHECK(distance(evaluate(sum(dx)), evaluate(sum(x))) < 1e-6);
  CHECK(distance(evaluate(amax<-1>(dx)), evaluate(amax<-1>(x))) == 0);
  const auto [s, m] = evaluate(sum<-1>(dx * dy), mean(dy));
  CHECK(distance(s, evaluate(sum<-1>(x * y))) < 1e-6);
  CHECK(distance(m, evaluate(mean(y))) < 1e-5);  // near 0
}

TEST_CASE("values that one kernel stores and a later one reads back are those of the host") {
  const support::cuda_case clean;
  const auto centred = [](auto a, auto b, auto c, auto d) {
    const auto t = a * b + c * d;
    const auto down = mean<0>(t, keepdim);
    const auto along = mean<1>(t, keepdim);
    return t - down - along;
  };
  for (const std::int64_t columns : {300, 301}) {
    const tensor<float, 2> a = numbers({37, columns}, 1), b = numbers({37, columns}, 2),
                           c = numbers({37, columns}, 3), d = numbers({37, columns}, 4);
    const auto there = [](const tensor<float, 2>& t) { return t.to(cuda(0)); };
    const auto e = let(centred, there(a), there(b), there(c), there(d));
    const profiler launches;
    CHECK(distance(evaluate(e), evaluate(let(centred, a, b, c, d))) < 1e-6);
    CHECK(launches.launches()[0].kernels == 2);
    CHECK(launches.launches()[0].bytes == 37 * columns * 4 * (4 + 1 + 1 + 1));
  }
}

TEST_CASE("rows of any length: in registers, in shared memory, and read again") {
  const support::cuda_case clean;
  for (const std::int64_t columns : {96, 1024, 5000, 20000, 60000}) {
    const tensor<float, 2> x = numbers({3, columns}, 1);
    CHECK(distance(evaluate(softmax<-1>(x.to(cuda(0)))), evaluate(softmax<-1>(x))) < 1e-5);
  }
}

TEST_CASE("the gradient of a table is the host's, bit for bit, for indices that come often") {
  const support::cuda_case clean;
  const tensor<float, 2> table = numbers({20, 40}, 1), g = numbers({300, 40}, 2);
  tensor<std::int64_t, 1> index = empty<std::int64_t, 1>({300});
  for (std::int64_t i = 0; i < 300; ++i) index(i) = i * i % 17;
  const auto gradient = [&](device where) {
    const variable<float, 2> t(table.to(where));
    const tensor<std::int64_t, 1> at = index.to(where);
    const variable<float, 2> rows = let([](auto x, auto i) { return take(x, i); }, t, at);
    rows.backward(g.to(where));
    return t.grad();
  };
  CHECK(distance(gradient(cuda(0)), gradient(cpu())) == 0);
}

TEST_CASE("statements without elements launch what they must, and sums of nothing are 0") {
  const support::cuda_case clean;
  const tensor<float, 2> none = zeros<float, 2>({0, 5}, cuda(0));
  CHECK(evaluate(none * 2 + none).extents() == extents<2>{0, 5});
  CHECK(evaluate(sum(none)).to(cpu()).item() == 0);
  const tensor<float, 1> columns = evaluate(sum<0>(none));
  CHECK(columns.extents() == extents<1>{5});
  CHECK(columns.to(cpu())(4) == 0);
  CHECK(evaluate(softmax<-1>(none)).extents() == extents<2>{0, 5});
}

TEST_CASE("random numbers and gathers on a device are those of the host") {
  const support::cuda_case clean;
  const tensor<float, 2> x = numbers({16, 33}, 3);
  const auto noisy = [](const tensor<float, 2>& t) {
    return evaluate(let([](auto a) { return a + uniform_like(a, 7, 11); }, t));
  };
  CHECK(distance(noisy(x.to(cuda(0))), noisy(x)) < 1e-7);
  const tensor<std::int64_t, 1> rows{3, 0, 15, 3};
  const auto taken = [](const tensor<float, 2>& t, const tensor<std::int64_t, 1>& i) {
    return evaluate(let([](auto table, auto at) { return take(table, at) * 2; }, t, i));
  };
  CHECK(distance(taken(x.to(cuda(0)), rows.to(cuda(0))), taken(x, rows)) == 0);
}

TEST_CASE("an index outside of its table is reported when somebody waits, once") {
  const support::cuda_case clean;
  const tensor<float, 2> table = numbers({4, 5}, 4).to(cuda(0));
  const tensor<std::int64_t, 1> wrong = tensor<std::int64_t, 1>{1, 9}.to(cuda(0));
  static_cast<void>(evaluate(let([](auto t, auto at) { return take(t, at); }, table, wrong)));
  std::string said;
  try {
    synchronize(cuda(0));
  } catch (const index_error& e) {
    said = e.what();
  }
  CHECK(said == "heddle::take: an index is outside of its table: 9, on cuda:0");
  synchronize(cuda(0));
}

TEST_CASE("assignments write through views on a device") {
  const support::cuda_case clean;
  const tensor<float, 2> x = numbers({8, 40}, 5);
  const tensor<float, 2> there = x.to(cuda(0)), here = x.clone();
  assign(there.slice<1>(3, 21), there.slice<1>(3, 21) * 2 + 1);
  assign(here.slice<1>(3, 21), here.slice<1>(3, 21) * 2 + 1);
  CHECK(distance(there, here) < 1e-7);
  // what is written overlaps what is read: through a temporary
  assign(there.slice<1>(0, 20), there.slice<1>(1, 21) + 0.5f);
  assign(here.slice<1>(0, 20), here.slice<1>(1, 21) + 0.5f);
  CHECK(distance(there, here) < 1e-7);
}

TEST_CASE("a unit without kernels computes on a device all the same, by way of the host") {
  const support::cuda_case clean;
  const tensor<float, 2> x = numbers({9, 31}, 9);
  CHECK(distance(halved_softmax(x.to(cuda(0))), halved_softmax(x)) < 1e-6);
  CHECK(distance(halved_softmax(x.to(cuda(0)).transpose()), halved_softmax(x.transpose())) < 1e-6);
  // derivatives above first order are interpreted
  const tensor<double, 1> v{1, -2, 0.5};
  const tensor<double, 1> second = curvature(v.to(cuda(0))).to(cpu());
  CHECK(second(0) == doctest::Approx(12));
  CHECK(second(1) == doctest::Approx(48));
  CHECK(second(2) == doctest::Approx(3));
}

TEST_CASE("products on a device are those of the host, in every layout") {
  const support::cuda_case clean;
  const tensor<float, 2> a = numbers({12, 7}, 6), b = numbers({7, 9}, 7);
  const auto there = [](const auto& t) { return t.to(cuda(0)); };
  const tensor<float, 2> right = matmul(a, b);
  CHECK(distance(tensor<float, 2>(matmul(there(a), there(b))), right) < 1e-6);
  const tensor<float, 2> at = there(tensor<float, 2>(a.transpose().contiguous()));
  const tensor<float, 2> bt = there(tensor<float, 2>(b.transpose().contiguous()));
  CHECK(distance(tensor<float, 2>(matmul(at.transpose(), there(b))), right) < 1e-6);
  CHECK(distance(tensor<float, 2>(matmul(there(a), bt.transpose())), right) < 1e-6);
  CHECK(distance(tensor<float, 2>(matmul(at.transpose(), bt.transpose())), right) < 1e-6);
  const tensor<double, 2> c = numbers<double>({5, 6}, 8);
  CHECK(distance(tensor<double, 2>(matmul(there(c), there(c).transpose())),
                 tensor<double, 2>(matmul(c, c.transpose()))) < 1e-12);
  const tensor<float, 3> batch = ones<float, 3>({3, 4, 7}) * 0.5f;
  CHECK(distance(tensor<float, 3>(matmul(there(batch), there(b))),
                 tensor<float, 3>(matmul(batch, b))) < 1e-6);
  const tensor<std::int64_t, 2> whole = ones<std::int64_t, 2>({2, 2}, cuda(0));
  CHECK_THROWS_AS(static_cast<void>(tensor<std::int64_t, 2>(matmul(whole, whole))), type_error);
}
