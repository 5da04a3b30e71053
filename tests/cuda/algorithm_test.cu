// SPDX-License-Identifier: BSD-3-Clause
// The algorithms of CUDA devices against the host's. On the stand-in for the run-time a kernel of
// the host sorts in the place of CUB, which runs on a GPU only.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "../algorithm/random_elements.hpp"
#include "cuda_case.hpp"
#include <doctest/doctest.h>

#include <heddle/algorithm/scan.hpp>
#include <heddle/algorithm/topk.hpp>
#include <heddle/algorithm/unique.hpp>
#include <heddle/autograd/grad.hpp>
#include <heddle/tensor/let.hpp>
#include <heddle/tensor/random.hpp>
#if defined(HEDDLE_TEST_ON_GPU)
#include <heddle/algorithm/cuda/cub.cuh>
#else
#include <heddle/algorithm/cuda/pipeline.cuh>
#endif

namespace {

using namespace heddle;
namespace device_side = heddle::algorithm::cuda;

#if defined(HEDDLE_TEST_ON_GPU)

void put_chosen_in_place() {
  device_side::put_in_place<device_side::cub_sorter>(device_side::algorithms_by_cub);
}

}  // namespace

#else

struct sort_arguments {
  std::uint64_t* words;
  std::uint64_t* words_out;
  std::int64_t* places;
  std::int64_t* places_out;
  std::int64_t count;
  int bits;
};
__global__ void sort_kernel(const __grid_constant__ sort_arguments) {}

struct sort_body {
  static void run(const void* with, int, int, std::size_t, std::uint64_t) {
    const sort_arguments& a = *static_cast<const sort_arguments*>(with);
    const std::uint64_t mask = a.bits < 64 ? (std::uint64_t{1} << a.bits) - 1 : ~std::uint64_t{0};
    std::vector<std::int64_t> order(static_cast<std::size_t>(a.count));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t x, std::int64_t y) {
      return (a.words[x] & mask) < (a.words[y] & mask);
    });
    for (std::int64_t i = 0; i < a.count; ++i) {
      a.words_out[i] = a.words[order[static_cast<std::size_t>(i)]];
      a.places_out[i] = a.places[order[static_cast<std::size_t>(i)]];
    }
  }
  static void accesses(const void* with, int, void* context, stand_in::add_access add) {
    const sort_arguments& a = *static_cast<const sort_arguments*>(with);
    const auto bytes = static_cast<std::size_t>(a.count) * 8;
    add(context, a.words, bytes, stand_in::touch::read);
    add(context, a.places, bytes, stand_in::touch::read);
    add(context, a.words_out, bytes, stand_in::touch::written);
    add(context, a.places_out, bytes, stand_in::touch::written);
  }
};

struct host_sorter {
  static void sort_words(const device_side::device_call& call, device_side::sort_buffers& b,
                         std::int64_t count, int bits) {
    static const bool told = [] {
      stand_in::register_kernel(
          reinterpret_cast<const void*>(&sort_kernel),
          {"a sort of words", sizeof(sort_arguments), 256, &sort_body::run, &sort_body::accesses});
      return true;
    }();
    static_cast<void>(told);
    sort_kernel<<<1, 1, 0, call.stream()>>>(
        {b.words, b.words_room, b.places, b.places_room, count, bits});
    call.check(cudaPeekAtLastError());
    std::swap(b.words, b.words_room);
    std::swap(b.places, b.places_room);
  }
};

constexpr algorithm::cuda_algorithms by_host_sort = device_side::make_algorithms<host_sorter>();
void put_chosen_in_place() { device_side::put_in_place<host_sorter>(by_host_sort); }

// What the steps reach.
struct sink {
  void* context;
  stand_in::add_access add;
  template <class T>
  void read(const T* at, std::int64_t n) const {
    add(context, at, static_cast<std::size_t>(n) * sizeof(T), stand_in::touch::read);
  }
  template <class T>
  void write(const T* at, std::int64_t n) const {
    add(context, at, static_cast<std::size_t>(n) * sizeof(T), stand_in::touch::written);
  }
};
template <class T>
void reach(const device_side::make_words<T>& s, const sink& to) {
  to.read(s.x, s.count);
  to.write(s.words, s.count);
  to.write(s.places, s.count);
}
void reach(const device_side::make_row_words& s, const sink& to) {
  to.read(s.places, s.count);
  to.write(s.words, s.count);
}
template <class T>
void reach(const device_side::gather_sorted<T>& s, const sink& to) {
  to.read(s.x, s.count);
  to.read(s.places, s.count);
  to.write(s.values, s.count);
  to.write(s.indices, s.count);
}
template <class T>
void reach(const device_side::mark_firsts<T>& s, const sink& to) {
  to.read(s.words, s.count);
  to.write(s.marks, s.count);
}
template <class T>
void reach(const device_side::place_distinct<T>& s, const sink& to) {
  to.read(s.x, s.count);
  to.read(s.places, s.count);
  to.read(s.numbers, s.count);
  to.write(s.values, s.count);
  to.write(s.starts, s.count);
  to.write(s.inverse, s.count);
}
void reach(const device_side::count_distinct& s, const sink& to) {
  to.read(s.starts, s.count);
  to.write(s.counts, s.count);
}
template <class From, class To, class Sum>
void reach(const device_side::scan_arguments<From, To, Sum>& s, const sink& to) {
  to.read(s.from, s.rows * s.length);
  if (s.to != nullptr) to.write(s.to, s.rows * s.length);
  if (s.totals != nullptr) to.write(s.totals, s.rows * s.parts());
  if (s.carries != nullptr) to.read(s.carries, s.rows * s.parts());
}

template <class Step>
struct step_body {
  static void run(const void* with, int, int, std::size_t, std::uint64_t) {
    const Step& s = *static_cast<const Step*>(with);
    for (std::int64_t i = s.count - 1; i >= 0; --i) s(i);
  }
  static void accesses(const void* with, int, void* context, stand_in::add_access add) {
    reach(*static_cast<const Step*>(with), {context, add});
  }
};
template <class From, class To, class Sum>
struct scan_body {
  using arguments = device_side::scan_arguments<From, To, Sum>;
  struct one_block {
    const arguments* with;
    int block, blocks;
  };
  static void thread(void* context, stand_in::fibre_block& of, int rank) {
    const one_block& one = *static_cast<const one_block*>(context);
    device_side::scan_part(
        support::host_team<stand_in::fibre_block>(of, rank, one.block, one.blocks, {}),
        reinterpret_cast<Sum*>(of.scratch()), *one.with);
  }
  static void run(const void* with, int blocks, int threads, std::size_t, std::uint64_t seed) {
    for (int b = 0; b < blocks; ++b) {
      one_block one{static_cast<const arguments*>(with), b, blocks};
      if (!stand_in::run_block(threads, sizeof(Sum) * device_side::scan_threads,
                               seed + static_cast<std::uint64_t>(b), &thread, &one)) {
        stand_in::report("waits for ever: a scan");
      }
    }
  }
  static void accesses(const void* with, int, void* context, stand_in::add_access add) {
    reach(*static_cast<const arguments*>(with), {context, add});
  }
};

}  // namespace

namespace heddle::inline v0::detail {
template <class Step>
struct kernel_observer<algorithm::cuda::step_kernel_id<Step>> {
  static void before_launch() {
    static const bool told = [] {
      stand_in::register_kernel(
          reinterpret_cast<const void*>(&algorithm::cuda::step_kernel<Step>),
          {"a step", sizeof(Step), 256, &step_body<Step>::run, &step_body<Step>::accesses});
      return true;
    }();
    static_cast<void>(told);
  }
};
template <class From, class To, class Sum>
struct kernel_observer<algorithm::cuda::scan_kernel_id<From, To, Sum>> {
  static void before_launch() {
    static const bool told = [] {
      using body = scan_body<From, To, Sum>;
      stand_in::register_kernel(
          reinterpret_cast<const void*>(&algorithm::cuda::scan_kernel<From, To, Sum>),
          {"a scan", sizeof(typename body::arguments), algorithm::cuda::scan_threads, &body::run,
           &body::accesses});
      return true;
    }();
    static_cast<void>(told);
  }
};
}  // namespace heddle::inline v0::detail

#endif

namespace {

template <class T, int Rank>
bool equal(const tensor<T, Rank>& there, const tensor<T, Rank>& here) {
  if (!(there.device() == heddle::cuda(0)) || !there.is_contiguous()) return false;
  const auto back = there.to(cpu());
  if (!(back.extents() == here.extents())) return false;
  for (std::int64_t i = 0; i < here.size(); ++i) {
    if (!support::same_bits(back.data()[i], here.data()[i])) return false;
  }
  return true;
}
template <class T, int Rank>
bool close(const tensor<T, Rank>& there, const tensor<T, Rank>& here) {
  const auto back = there.to(cpu());
  if (!(back.extents() == here.extents()) || !there.is_contiguous()) return false;
  for (std::int64_t i = 0; i < here.size(); ++i) {
    const auto a = static_cast<double>(back.data()[i]), b = static_cast<double>(here.data()[i]);
    const double tolerance = is_floating(dtype_of<T>) ? epsilon_of(dtype_of<T>) * 2 : 0;
    if (a != b && !(a != a && b != b) && !(std::fabs(a - b) <= tolerance * (1 + std::fabs(b))))
      return false;
  }
  return true;
}

template <int Axis, class T>
void check_axis(const tensor<T, 3>& x, const tensor<T, 3>& there) {
  for (const bool descending : {false, true}) {
    const auto a = sort<Axis>(there, {.descending = descending});
    const auto b = sort<Axis>(x, {.descending = descending});
    CHECK(equal(a.values, b.values));
    CHECK(equal(a.indices, b.indices));
    const std::int64_t k = x.extent(Axis) / 2;
    const auto c = topk<Axis>(there, k, {.largest = descending});
    const auto d = topk<Axis>(x, k, {.largest = descending});
    CHECK(equal(c.values, d.values));
    CHECK(equal(c.indices, d.indices));
  }
  CHECK(close(cumsum<Axis>(there), cumsum<Axis>(x)));
  CHECK(close(exclusive_cumsum<Axis>(there), exclusive_cumsum<Axis>(x)));
}

struct check_type {
  template <class T>
  void operator()() const {
    support::random_source random(51);
    for (const extents<3>& shape :
         {extents<3>{3, 4, 21}, extents<3>{1, 1, 1}, extents<3>{2, 0, 3}}) {
      for (int layout = 0; layout < support::layouts; ++layout) {
        INFO(name_of(dtype_of<T>) << ' ' << to_string(shape) << " layout " << layout);
        const auto x = support::random_view<T>(shape, layout, random);
        const auto there = transpose<0, 2>(transpose<0, 2>(x).to(heddle::cuda(0)));
        check_axis<0>(x, there);
        check_axis<1>(x, there);
        check_axis<2>(x, there);
        const auto a = unique(there), b = unique(x);
        CHECK(equal(a.values, b.values));
        CHECK(equal(a.inverse, b.inverse));
        CHECK(equal(a.counts, b.counts));
      }
    }
  }
};

}  // namespace

TEST_CASE("without CUB in the program the algorithms work on a copy on the host") {
  const support::cuda_case clean;
  algorithm::cuda_algorithms_in_place.store(nullptr);
  exec::cuda::word_sorter_in_place.store(nullptr);
  check_type{}.operator()<float>();
  check_type{}.operator()<bool>();
}

TEST_CASE("all algorithms of all dtypes give what the host gives") {
  const support::cuda_case clean;
  put_chosen_in_place();
  support::for_all_types(check_type{});
}

TEST_CASE("long rows are scanned in parts, and many rows whole") {
  const support::cuda_case clean;
  put_chosen_in_place();
  support::random_source random(52);
  const auto x = support::random_elements<std::int32_t, 2>({3, 9001}, random);
  CHECK(equal(cumsum(x.to(heddle::cuda(0))), cumsum(x)));
  CHECK(equal(exclusive_cumsum<0>(x.to(heddle::cuda(0))), exclusive_cumsum<0>(x)));
  const auto y = support::random_elements<bool, 1>({20000}, random);
  CHECK(equal(cumsum(y.to(heddle::cuda(0))), cumsum(y)));
  const auto z = support::random_elements<float16, 1>({10000}, random);
  const auto a = unique(z.to(heddle::cuda(0))), b = unique(z);
  CHECK(equal(a.values, b.values));
  CHECK(equal(a.inverse, b.inverse));
  CHECK(equal(a.counts, b.counts));
  const auto w = support::random_elements<std::uint8_t, 2>({600, 4200}, random);
  CHECK(equal(cumsum(w.to(heddle::cuda(0))), cumsum(w)));
}

TEST_CASE("another stream than the operand's may run the algorithms") {
  const support::cuda_case clean;
  put_chosen_in_place();
  support::random_source random(53);
  const auto x = support::random_elements<double, 2>({40, 50}, random);
  const stream other(heddle::cuda(0));
  sort_result<double, 2> got;
  {
    const auto there = x.to(heddle::cuda(0));
    event sent;
    sent.record(current_stream(heddle::cuda(0)));
    sent.wait(other);
    const stream_scope scope(other);
    got = sort(there);
  }
  const tensor<double, 2> again = full<double, 2>({40, 50}, -1.0, heddle::cuda(0));
  const stream_scope scope(other);
  const auto expected = sort(x);
  CHECK(equal(got.values, expected.values));
  CHECK(equal(got.indices, expected.indices));
}

namespace {

/// The gradient of a sum of rows of a table, weighted by w, on a device.
tensor<float, 2> table_gradient(const tensor<std::int64_t, 1>& index, const tensor<float, 2>& w,
                                std::int64_t rows) {
  const device where = heddle::cuda(0);
  const variable<float, 2> table(zeros<float, 2>({rows, w.extent(1)}, where));
  const tensor<std::int64_t, 1> there = index.to(where);
  const tensor<float, 2> weights = w.to(where);
  variable(let([](auto t, auto i, auto by) { return sum(take(t, i) * by); }, table, there, weights))
      .backward();
  return table.grad().to(cpu());
}

}  // namespace

TEST_CASE("the gradient of take sorts many indices, and is that of the host") {
  const support::cuda_case clean;
  generator numbers(54);
  const std::int64_t n = exec::cuda::sorted_scatter_rows + 123;
  // a word asked for in every second row, most words seldom or never
  tensor<std::int64_t, 1> index = randint<std::int64_t, 1>(0, 3000, {n}, numbers);
  for (std::int64_t i = 0; i < n; i += 2) index(i) = 17;
  const tensor<float, 2> w = randn<float, 2>({n, 12}, numbers);
  tensor<double, 2> expected = zeros<double, 2>({3000, 12});
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t k = 0; k < 12; ++k) expected(index(i), k) += double{w(i, k)};
  }
  exec::cuda::word_sorter_in_place.store(nullptr);
  const auto unsorted = table_gradient(index, w, 3000);
  put_chosen_in_place();
  static const exec::cuda::word_sorter chosen = exec::cuda::word_sorter_in_place.load();
  static int sorts = 0;
  exec::cuda::word_sorter_in_place.store(
      [](exec::cuda::sort_buffers& buffers, std::int64_t count, int bits, device where) {
        ++sorts;
        chosen(buffers, count, bits, where);
      });
  const auto sorted = table_gradient(index, w, 3000);
  const auto again = table_gradient(index, w, 3000);
  double worst = 0, worst_unsorted = 0;
  bool same = true;
  for (std::int64_t i = 0; i < expected.size(); ++i) {
    worst = std::fmax(worst, std::fabs(sorted.data()[i] - expected.data()[i]));
    worst_unsorted = std::fmax(worst_unsorted, std::fabs(unsorted.data()[i] - expected.data()[i]));
    same = same && support::same_bits(sorted.data()[i], again.data()[i]);
  }
  CHECK(worst < 1e-3);
  CHECK(worst_unsorted < 1e-3);
  CHECK(same);
  CHECK(sorts == 2);
  index(77) = 3000;
  CHECK_THROWS_AS(table_gradient(index, w, 3000), index_error);
}
