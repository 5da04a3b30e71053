// SPDX-License-Identifier: BSD-3-Clause
// The bodies of CUDA kernels on host teams: every size and order of threads computes what the
// host's own loops compute; a barrier left out and a lane too many are noticed.
#include <cmath>

#include "../support/body_sweep.hpp"
#include "../support/take_gradient.hpp"
#include <doctest/doctest.h>

#include <heddle/nn/functional.hpp>
#include <heddle/tensor/random.hpp>

using namespace heddle;
using namespace support;

namespace {

generator numbers(11);

tensor<float, 2> matrix(std::int64_t rows, std::int64_t columns) {
  return randn<float, 2>({rows, columns}, numbers);
}
tensor<float, 1> vector(std::int64_t n) { return randn<float, 1>({n}, numbers); }

}  // namespace

TEST_CASE("maps: contiguous, broadcast, strided, tails, several results, several dtypes") {
  const auto x = matrix(7, 129);
  const auto y = matrix(7, 129);
  CHECK(right_everywhere(1e-6, tanh(x * y + 1.0)));
  CHECK(right_everywhere(1e-6, relu(x + vector(129))));
  CHECK(right_everywhere(1e-6, x * matrix(7, 1)));
  CHECK(right_everywhere(1e-6, exp(x.transpose()) - y.transpose()));
  CHECK(right_everywhere(1e-6, x.slice<1>(1, 128, 2) * y.slice<1>(0, 127, 2)));
  CHECK(right_everywhere(1e-6, x + y, x * y, x < y));
  CHECK(right_everywhere(1e-2, cast<bfloat16>(x) * cast<bfloat16>(y)));
  const tensor<bfloat16, 2> narrow = evaluate(cast<bfloat16>(x));
  CHECK(right_everywhere(1e-2, narrow * 2.0 + narrow));
  CHECK(right_everywhere(1e-12, cast<double>(x) * 3.0));
  CHECK(right_everywhere(1e-6, where(x < y, x, 2.0 * y)));
  CHECK(right_everywhere(1e-6, matrix(0, 5) + 1.0));
  CHECK(right_everywhere(1e-6, tensor<float, 0>(3.0f) * 2.0));
  const tensor<std::uint8_t, 1> bytes = evaluate(cast<std::uint8_t>(abs(vector(300)) * 20.0));
  CHECK(right_everywhere(0, bytes + bytes));
}

TEST_CASE("rows: short, long, rows side by side, several passes") {
  for (const std::int64_t columns : {1, 3, 32, 100, 129, 1024, 3001}) {
    const auto x = matrix(columns > 1000 ? 5 : 37, columns);
    CHECK(right_everywhere(1e-5, softmax<-1>(x)));
    CHECK(right_everywhere(1e-5, sum<1>(x)));
    if (columns <= 129) CHECK(right_everywhere(1e-5, softmax<0>(x)));
  }
  // aligned, and longer than some rounds of several vectors: single vectors and lanes are left over
  CHECK(right_everywhere(1e-5, softmax<-1>(matrix(5, 3004).slice<1>(0, 3001))));
  CHECK(right_everywhere(1e-5, layer_norm(matrix(9, 130), vector(130), vector(130))));
  CHECK(right_everywhere(1e-5, amax<1>(matrix(9, 65)), amin<0>(matrix(9, 65))));
  const tensor<float, 4> images = randn<float, 4>({3, 5, 4, 7}, numbers);
  CHECK(right_everywhere(1e-5, let(
                                   [](auto x) {
                                     const auto centred = x - mean<0, 2, 3>(x, keepdim);
                                     return centred *
                                            rsqrt(mean<0, 2, 3>(square(centred), keepdim) + 1e-5);
                                   },
                                   images)));
}

TEST_CASE("kept and outer reductions, finished across the grid, beside element-wise results") {
  const auto x = matrix(67, 36);
  const auto y = matrix(67, 36);
  CHECK(right_everywhere(1e-5, sum(x * y)));
  CHECK(right_everywhere(1e-5, sum<0>(x)));
  CHECK(right_everywhere(1e-5, amax<0>(x), sum(x), x * y));
  CHECK(right_everywhere(1e-5, mean(square(x - y))));
  CHECK(right_everywhere(1e-5, sum<0>(matrix(3, 1000))));
  CHECK(right_everywhere(1e-5, sum<0>(matrix(0, 5))));
  CHECK(right_everywhere(1e-5, sum(matrix(5, 0))));
  CHECK(right_everywhere(1e-5, x / amax(abs(x), keepdim)));
  for (const std::int64_t columns : {5, 36, 700, 5000}) {
    const auto z = matrix(columns > 1000 ? 6 : 33, columns);
    CHECK(right_everywhere(3e-5,
                           layer_norm_gradient(z, vector(columns), matrix(z.extent(0), columns))));
  }
  const tensor<float, 4> images = randn<float, 4>({3, 5, 4, 7}, numbers);
  CHECK(right_everywhere(1e-5, sum<0, 2, 3>(images)));
  CHECK(right_everywhere(1e-5,
                         let([](auto v) { return outputs(sum<0, 2, 3>(v), v * 2.0); }, images)));
  CHECK(right_everywhere(
      1e-5, let([](auto v) { return outputs(sum<1>(v), sum<3>(v), sum<0, 1>(v)); }, images)));
  const tensor<std::int64_t, 1> classes = randint<std::int64_t, 1>(0, 36, {67}, numbers);
  CHECK(right_everywhere(1e-5, cross_entropy(x, classes)));
}

TEST_CASE("gathers, scatters, coordinates, counts and random numbers") {
  const auto table = matrix(10, 12);
  const tensor<std::int64_t, 1> index = randint<std::int64_t, 1>(0, 10, {41}, numbers);
  CHECK(right_everywhere(1e-6, let([](auto t, auto i) { return 2 * take(t, i); }, table, index)));
  CHECK(right_everywhere(
      1e-5, let([](auto t, auto i) { return take(t, i) - mean<-1>(take(t, i), keepdim); }, table,
                index)));
  const auto x = matrix(13, 17);
  CHECK(right_everywhere(1e-6, let([](auto v) { return v * iota<0>(v) + iota<1>(v); }, x)));
  CHECK(right_everywhere(1e-6, let([](auto v) { return v - mean(v, keepdim); }, x)));
  CHECK(right_everywhere(
      1e-5, let([](auto v, auto s) { return v + normal_like(v, s, 3) * uniform_like(v, s, 0); }, x,
                std::int64_t{99})));
  const tensor<std::int64_t, 1> outside{0, 10, 3};
  const auto rows = let([](auto t, auto i) { return take(t, i); }, table, outside);
  tensor<float, 2> room = zeros<float, 2>({3, 12});
  const body_report report = run_bodies({}, std::tuple{room}, rows);
  CHECK(report.bad_index == 10);
}

namespace {

double off_by(const tensor<float, 2>& a, const tensor<float, 2>& b) {
  double worst = 0;
  for (std::int64_t i = 0; i < a.extent(0); ++i) {
    for (std::int64_t k = 0; k < a.extent(1); ++k) {
      const double difference = std::fabs(double{a(i, k)} - double{b(i, k)});
      worst = difference <= worst ? worst : difference;  // not-a-number is the worst
    }
  }
  return worst;
}
/// The same additions in the same order.
bool same_bits(const tensor<float, 2>& a, const tensor<float, 2>& b) {
  for (std::int64_t i = 0; i < a.extent(0); ++i) {
    for (std::int64_t k = 0; k < a.extent(1); ++k) {
      if (!(a(i, k) == b(i, k))) return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("scatters: groups share the table's rows, and add in one order") {
  for (const std::int64_t columns : {1, 3, 24, 132}) {
    const std::int64_t rows = 500;
    const auto g = matrix(rows + 1, columns).slice<0>(0, rows);  // a lane too many reads memory
    const tensor<std::int64_t, 1> index = randint<std::int64_t, 1>(0, 23, {rows}, numbers);
    tensor<float, 2> expected = zeros<float, 2>({30, columns});
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t k = 0; k < columns; ++k) expected(index(i), k) += 2 * g(i, k);
    }
    for (const int team : {1, 2, 31, 32, 33, 256}) {
      for (const fibre_order order :
           {fibre_order::forward, fibre_order::backward, fibre_order::shuffled}) {
        const take_gradient found(30, index, g, {.team = team, .blocks = 5, .order = order});
        CHECK_MESSAGE(same_bits(found.made, expected),
                      "team " << team << ", " << columns << " columns");
        if (columns >= 24 && team >= 32) CHECK(found.report.blocks > 1);
        CHECK(found.report.bad_index == std::numeric_limits<std::int64_t>::min());
      }
    }
    const take_gradient threads(30, index, g, {.team = 8, .blocks = 3, .threads = true});
    CHECK(same_bits(threads.made, expected));
    const take_gradient late(30, index, g, {.team = 32, .blocks = 2, .fault = {.tail = true}});
    CHECK_FALSE(same_bits(late.made, expected));
  }
  tensor<std::int64_t, 1> outside = randint<std::int64_t, 1>(0, 23, {50}, numbers);
  outside(41) = 30;
  CHECK(take_gradient(30, outside, matrix(50, 8), {}).report.bad_index == 30);
}

TEST_CASE(
    "scatters of sorted rows: segments add apart what they share, whatever is asked for most") {
  for (const std::int64_t columns : {1, 3, 24, 132}) {
    const std::int64_t rows = 500;
    const auto g = matrix(rows + 1, columns).slice<0>(0, rows);  // a lane too many reads memory
    for (const int asked : {1, 2, 30, 400}) {  // one for all, two, a few often, most once
      INFO(columns << " columns, " << asked << " rows of the table");
      // one row and a word too many: what lies behind is not to be read
      const tensor<std::int64_t, 1> index =
          randint<std::int64_t, 1>(0, asked, {rows + 1}, numbers).slice<0>(0, rows);
      tensor<float, 2> expected = zeros<float, 2>({410, columns});
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t k = 0; k < columns; ++k) expected(index(i), k) += 2 * g(i, k);
      }
      tensor<float, 2> first;
      for (const int team : {1, 2, 31, 32, 33, 256}) {
        for (const fibre_order order :
             {fibre_order::forward, fibre_order::backward, fibre_order::shuffled}) {
          const take_gradient found(
              410, index, g, {.team = team, .blocks = 5, .order = order, .sorted_rows = 100});
          CHECK(found.report.sorts == 1);
          CHECK(off_by(found.made, expected) <= 1e-4);
          CHECK(found.report.bad_index == std::numeric_limits<std::int64_t>::min());
          if (first.size() == 0) first = found.made;
          CHECK(same_bits(found.made, first));  // of any team, in any order
        }
      }
      const take_gradient threads(410, index, g,
                                  {.team = 8, .blocks = 3, .threads = true, .sorted_rows = 100});
      CHECK(same_bits(threads.made, first));
      const take_gradient late(
          410, index, g, {.team = 32, .blocks = 2, .fault = {.tail = true}, .sorted_rows = 100});
      CHECK_FALSE(same_bits(late.made, first));
    }
  }
  const auto g = matrix(200, 8);
  tensor<std::int64_t, 1> outside = randint<std::int64_t, 1>(0, 23, {200}, numbers);
  outside(150) = 30;
  const take_gradient found(30, outside, g, {.sorted_rows = 100});
  CHECK(found.report.bad_index == 30);
  outside(150) = -1;
  CHECK(take_gradient(30, outside, g, {.sorted_rows = 100}).report.bad_index == -1);
  CHECK(take_gradient(30, outside, g, {.sorted_rows = 201}).report.sorts == 0);
}

TEST_CASE("rows too long for registers are held in the team's memory, as far as they fit") {
  const auto held = [](const auto& e) {
    const auto want = evaluate(e);
    auto room = empty_like(want);
    return run_bodies({.team = 32, .blocks = 2}, std::tuple{room}, e).held;
  };
  CHECK(held(softmax<-1>(matrix(5, 520))));
  CHECK_FALSE(held(softmax<-1>(matrix(5, 64))));                    // in registers
  CHECK_FALSE(held(softmax<-1>(matrix(2, 8256))));                  // more than 32 KiB
  CHECK_FALSE(held(matrix(5, 520) + 1.0));                          // read once as it is
  CHECK_FALSE(held(softmax<-1>(matrix(5, 521).slice<1>(1, 521))));  // not aligned
  const auto x = matrix(5, 520);
  CHECK(right_everywhere(1e-5, softmax<-1>(x)));
  CHECK(right_everywhere(1e-4, layer_norm(matrix(5, 1028), vector(1028), vector(1028))));
  CHECK(right_everywhere(1e-5, let([](auto a, auto b) { return a * sum<-1>(a * b, keepdim); },
                                   matrix(3, 2052), matrix(3, 2052))));
  CHECK(noticed({.tail = true}, softmax<-1>(matrix(5, 520))));
}

TEST_CASE("partial results that are not aligned are not reached by vectors") {
  const tensor<float, 3> x = randn<float, 3>({4, 3, 1004}, numbers);
  const auto sums = sum<0>(softmax<-1>(x.slice<2>(0, 1001)));
  auto room = empty_like(tensor<float, 2>(evaluate(sums)));
  CHECK(run_bodies({.team = 32, .blocks = 2}, std::tuple{room}, sums).bodies[0] ==
        cuda::access::strided);
  CHECK(right_everywhere(1e-5, sums));
  CHECK(right_everywhere(1e-5, sum<0>(softmax<-1>(x.slice<2>(0, 1000)))));
}

TEST_CASE("teams share rows that are long, or few, and each holds a part") {
  const auto members = [](const body_run& how, const auto&... e) {
    return run_as(how, e...).members;
  };
  const auto x = matrix(5, 2080);
  const body_run eight{.team = 32, .blocks = 16, .members = 8};
  CHECK(members(eight, softmax<-1>(x)) == 8);
  CHECK(members({.team = 32, .blocks = 16, .members = 8, .wanted_rows = 5000},
                softmax<-1>(matrix(20, 2080))) == 2);
  // as many as the grid has, and none whose every thread would not have a vector
  CHECK(members({.team = 32, .blocks = 5, .members = 8}, softmax<-1>(x)) == 4);
  CHECK(members(eight, softmax<-1>(matrix(5, 520))) == 4);
  // few rows: more teams than their memory asks for
  CHECK(members({.team = 32, .blocks = 16, .members = 8, .wanted_rows = 1 << 20}, softmax<-1>(x)) ==
        4);
  for (const fibre_order order :
       {fibre_order::forward, fibre_order::backward, fibre_order::shuffled}) {
    for (const int blocks : {8, 16, 40}) {
      body_run how = eight;
      how.order = order;
      how.blocks = blocks;
      CHECK(run_as(how, softmax<-1>(x)).worst <= 1e-5);
      CHECK(run_as(how, cross_entropy(x, tensor<std::int64_t, 1>(full<std::int64_t, 1>({5}, 2079))))
                .worst <= 1e-5);
      CHECK(run_as(how, layer_norm_gradient(x, vector(2080), matrix(5, 2080))).worst <= 3e-5);
      CHECK(
          run_as(how, layer_norm_gradient(matrix(5, 2071), vector(2071), matrix(5, 2071))).worst <=
          3e-5);
    }
  }
}

TEST_CASE("what several passes need at a cost is computed once where rows are held") {
  const auto holds = [](const auto& e) { return run_as({.team = 32, .blocks = 2}, e).values_held; };
  CHECK(holds(softmax<-1>(matrix(5, 520))));
  CHECK_FALSE(holds(softmax<-1>(matrix(5, 64))));                            // in registers
  CHECK_FALSE(holds(softmax<-1>(matrix(2, 8256))));                          // too long
  CHECK_FALSE(holds(layer_norm(matrix(5, 520), vector(520), vector(520))));  // nothing costs
  // in the place of x, beside it, and where 16-bit floats leave no place
  const auto x = matrix(5, 520);
  CHECK(right_everywhere(1e-5, let(
                                   [](auto v) {
                                     const auto e = exp(v - amax<-1>(v, keepdim));
                                     return v * e / sum<-1>(e, keepdim);
                                   },
                                   x)));
  CHECK(right_everywhere(1e-2, softmax<-1>(tensor<bfloat16, 2>(evaluate(cast<bfloat16>(x))))));
}

TEST_CASE("lanes divided by one value: the nearest quotients, whatever the value") {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> special{0.0f,   -0.0f,           1.0f,   -3.0f,  1e-45f,   -1e-40f,
                                   1e-30f, 1e30f,           3e38f,  -2e38f, infinity, -infinity,
                                   NAN,    1.17549435e-38f, 7e-20f, 1e18f};
  const auto x = empty<float, 2>({16, 16});
  const auto y = full<float, 2>({16, 16}, 0);
  for (std::int64_t i = 0; i < 16; ++i) {
    y(i, 0) = i == 1 ? 0.5f : special[static_cast<std::size_t>(i)];
    for (std::int64_t k = 0; k < 16; ++k) x(i, k) = special[static_cast<std::size_t>(k)];
  }
  // one value for a row, as the compiler sees it
  const auto divided = let([](auto v, auto d) { return v / sum<-1>(d, keepdim); }, x, y);
  const tensor<float, 2> want = evaluate(divided);
  auto got = empty_like(want);
  run_bodies({.team = 32, .blocks = 2}, std::tuple{got}, divided);
  const auto same = [](float a, float b) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
    if (std::isinf(a) || a == 0) return a == b && std::signbit(a) == std::signbit(b);
    return std::fabs(a - b) <= 1.2e-7f * std::fabs(a) || std::fabs(a - b) <= 3e-45f;
  };
  for (std::int64_t i = 0; i < 16; ++i) {
    for (std::int64_t k = 0; k < 16; ++k) {
      CAPTURE(x(i, k));
      CAPTURE(y(i, 0));
      CAPTURE(got(i, k));
      CHECK(same(want(i, k), got(i, k)));
    }
  }
  // ordinary numbers: to the bit
  const auto numerators = matrix(9, 1000);
  const auto divisors = full<float, 2>({9, 1000}, 0);
  for (std::int64_t i = 0; i < 9; ++i) divisors(i, 0) = 7 * numerators(i, 1) + 0.1f;
  const auto ordinary =
      let([](auto v, auto d) { return v / sum<-1>(d, keepdim); }, numerators, divisors);
  const tensor<float, 2> exact = evaluate(ordinary);
  auto quotients = empty_like(exact);
  run_bodies({.team = 32, .blocks = 2}, std::tuple{quotients}, ordinary);
  int off = 0;
  for (std::int64_t i = 0; i < 9; ++i) {
    for (std::int64_t k = 0; k < 1000; ++k) off += exact(i, k) != quotients(i, k) ? 1 : 0;
  }
  CHECK(off == 0);
}

TEST_CASE("many partial results are merged by a launch of their own") {
  const auto x = matrix(67, 1000);
  const auto run = [&](std::int64_t from, fibre_order order) {
    tensor<float, 1> columns = zeros<float, 1>({1000});
    const body_run how{.team = 96, .blocks = 40, .order = order, .merged_apart = from};
    const body_report report = run_bodies(how, std::tuple{columns}, mean<0>(x));
    return std::pair{report.merges, columns};
  };
  const auto [merges, columns] = run(10'000, fibre_order::forward);
  CHECK(merges == 1);
  CHECK(run(1'000'000, fibre_order::forward).first == 0);
  const auto again = run(10'000, fibre_order::shuffled).second;
  const auto wanted = evaluate(mean<0>(x));
  for (std::int64_t i = 0; i < 1000; ++i) {
    CHECK(again(i) == columns(i));
    CHECK(std::fabs(columns(i) - wanted(i)) < 1e-5f);
  }
  // the one before the ticket is between teams, which fibres do not let apart
  for (const cuda::site at :
       {cuda::site::reduce_written, cuda::site::reduce_read, cuda::site::ticket_read}) {
    INFO("site " << static_cast<int>(at));
    const team_fault missing{.missing_site = static_cast<int>(at)};
    CHECK(noticed({.merged_apart = 1}, missing, sum<0>(x), amax<0>(x), sum<0>(x * x)));
  }
  CHECK(!noticed({.merged_apart = 1}, {}, sum<0>(x), amax<0>(x), sum<0>(x * x)));
}

TEST_CASE("results of two runs are the same bits, whatever the order of blocks and threads") {
  const auto x = matrix(67, 36);
  const auto run = [&](fibre_order order, bool threads) {
    tensor<float, 0> total = zeros<float, 0>({});
    tensor<float, 1> columns = zeros<float, 1>({36});
    run_bodies({.team = 32, .blocks = 6, .order = order, .threads = threads},
               std::tuple{total, columns}, sum(x), sum<0>(x));
    return std::pair{total.item(), columns(7)};
  };
  const auto first = run(fibre_order::forward, false);
  CHECK(first == run(fibre_order::backward, false));
  CHECK(first == run(fibre_order::shuffled, false));
  CHECK(first == run(fibre_order::forward, true));
}

TEST_CASE("aligned operands take the wide bodies, short rows the resident one, others neither") {
  const auto body_of = [](const auto& e, int team = 64) {
    const auto want = evaluate(e);
    auto room = empty_like(want);
    return run_bodies({.team = team, .blocks = 2}, std::tuple{room}, e).bodies[0];
  };
  const auto x = matrix(8, 128);
  CHECK(body_of(x + x) == cuda::access::wide);
  CHECK(body_of(x.slice<1>(1, 128) + 1.0) == cuda::access::strided);  // four bytes off
  CHECK(body_of(x.slice<1>(4, 128) + 1.0) == cuda::access::wide);
  CHECK(body_of(x.transpose() + 1.0) == cuda::access::strided);
  CHECK(body_of(matrix(8, 127) + vector(127)) == cuda::access::strided);  // rows are not aligned
  CHECK(body_of(matrix(8, 127) + 1.0) == cuda::access::wide);             // one long run
  CHECK(body_of(softmax<-1>(x)) == cuda::access::resident);
  CHECK(body_of(softmax<-1>(matrix(4, 2048))) == cuda::access::held);
  CHECK(body_of(softmax<-1>(matrix(2, 16384))) == cuda::access::wide);  // more than 32 KiB
}

TEST_CASE("each barrier left out is noticed") {
  const auto x = matrix(67, 300);
  const auto missing = [](cuda::site at) {
    return team_fault{.missing_site = static_cast<int>(at)};
  };
  // a row reduction of the whole team: its two barriers
  CHECK(noticed(missing(cuda::site::reduce_written), softmax<-1>(matrix(9, 3001))));
  CHECK(noticed(missing(cuda::site::reduce_read), softmax<-1>(matrix(9, 3001))));
  // and of teams that hold rows: one
  CHECK(noticed(missing(cuda::site::values_sent), softmax<-1>(matrix(9, 3000))));
  // partial results, the ticket, what finishes
  CHECK(noticed(missing(cuda::site::partials_written), sum<0>(x)));
  CHECK(noticed(missing(cuda::site::ticket_read), sum<0>(x)));
  // a merged value that another thread reads: rows of 7 do not end where a team does
  const tensor<float, 3> deep = randn<float, 3>({9, 5, 7}, numbers);
  CHECK(noticed(missing(cuda::site::merged), sum<0>(deep) * vector(7)));
  CHECK(!noticed({}, softmax<-1>(matrix(9, 3000)), sum<0>(x)));
}

TEST_CASE("a tail of one lane too many is noticed in every body") {
  const team_fault tail{.tail = true};
  CHECK(noticed(tail, matrix(1, 131) + 1.0));                            // wide map
  CHECK(noticed(tail, matrix(3, 130).slice<1>(1, 130) + 1.0));           // strided map
  CHECK(noticed(tail, sum<1>(matrix(5, 99).slice<1>(1, 99))));           // strided rows
  CHECK(noticed(tail, softmax<-1>(matrix(5, 61)) + 0.0 * vector(61)));   // resident or strided rows
  CHECK(noticed(tail, softmax<-1>(matrix(5, 4095))));                    // long rows
  CHECK(noticed(tail, softmax<-1>(matrix(5, 3004).slice<1>(0, 3001))));  // held rows
  CHECK(noticed(tail, sum<0>(matrix(5, 61))));                           // kept lanes
}
