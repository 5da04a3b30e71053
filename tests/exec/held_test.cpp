// SPDX-License-Identifier: BSD-3-Clause
// Values that a pass computes at a cost and later passes read: which they are, and that holding
// them changes no bit, against the same statement's kernels that compute everything anew.
#include <cmath>
#include <cstdint>
#include <cstring>

#include <doctest/doctest.h>

#include <heddle/autograd/record.hpp>
#include <heddle/exec/host/nontemporal.hpp>
#include <heddle/nn/functional.hpp>
#include <heddle/tensor/random.hpp>

namespace {

using namespace heddle;

/// How often the host's nests evaluate an op for an element of a row, over all passes.
template <class Program>
consteval int evaluations(op code) {
  using holding_program = exec::host::nest_program<Program>;
  const auto& p = exec::plan_of<holding_program>;
  int count = 0;
  for (const exec::pass_info& pass : p.passes.values) {
    for (int k = 0; k < pass.node_count; ++k) {
      const int id = p.nodes[static_cast<std::size_t>(pass.first_node + k)];
      const bool held = exec::host::detail::held_read<holding_program>(pass, id) >= 0;
      if (p.graph_nodes[static_cast<std::size_t>(id)].code == code && !held) ++count;
    }
  }
  return count;
}
template <class Program>
constexpr int holds =
    static_cast<int>(exec::plan_of<exec::host::nest_program<Program>>.sizes.holds);

template <class... E>
using program_of = typename exec::statement<E...>::program;
template <class E>
using gradient_of = typename heddle::detail::derivative_of<exec::statement<E>>::program;

constexpr auto gated_norm = fused([](auto x, auto g) {
  const auto y = x * silu(g);
  return y * rsqrt(mean<-1>(y * y, keepdim) + 1e-5);
});
constexpr auto divergence = fused([](auto x, auto g) {
  const auto p = log_softmax<-1>(x);
  return mean<0>(sum<-1>(exp(p) * (p - log_softmax<-1>(g))));
});
template <int... Axis>
constexpr auto shares = fused([](auto x) {
  const auto e = exp(x);
  return e / sum<Axis...>(e, keepdim);
});
/// Four passes: the third reads a value of the second and holds one for the fourth.
constexpr auto chain = fused([](auto x) {
  const auto e = exp(x - amax<-1>(x, keepdim));
  const auto t = tanh(e / sum<-1>(e, keepdim) * 4);
  return t / sum<-1>(t, keepdim) + e;
});
/// Two values that the second pass needs are made of one power.
constexpr auto two_of_one = fused([](auto x, auto y) {
  const auto e = exp(x);
  return (e * x) * sum<-1>(e * x, keepdim) + (e * y) * sum<-1>(e * y, keepdim);
});
/// Nothing here takes longer than reading it again.
constexpr auto cheap = fused([](auto x) { return (x + 1) * 2 / sum<-1>((x + 1) * 2, keepdim); });

using matrix = tensor<float, 2>;
using parameter = variable<float, 2>;
using softmax_program = program_of<decltype(softmax<-1>(matrix{}))>;

static_assert(evaluations<softmax_program>(op::exp) == 1);
static_assert(exec::plan_of<softmax_program>.sizes.holds == 0, "other machines hold nothing");
static_assert(holds<program_of<decltype(gated_norm(matrix{}, matrix{}))>> == 1);
static_assert(evaluations<program_of<decltype(gated_norm(matrix{}, matrix{}))>>(op::sigmoid) == 1);
static_assert(
    evaluations<gradient_of<decltype(gated_norm(parameter{}, parameter{}))>>(op::sigmoid) == 1);
static_assert(evaluations<gradient_of<decltype(divergence(matrix{}, parameter{}))>>(op::exp) == 2,
              "one of each softmax");
static_assert(holds<program_of<decltype(chain(matrix{}))>> == 2);
static_assert(evaluations<program_of<decltype(chain(matrix{}))>>(op::exp) == 1);
static_assert(evaluations<program_of<decltype(chain(matrix{}))>>(op::tanh) == 1);
static_assert(holds<program_of<decltype(two_of_one(matrix{}, matrix{}))>> == 1);
static_assert(holds<program_of<decltype(cheap(matrix{}))>> == 0);
static_assert(holds<program_of<decltype(log_softmax<-1>(matrix{}))>> == 0, "one pass has powers");

/// Evaluates an expression by the host's kernels, or by those that hold nothing.
template <bool Holds, class T, int Rank, class E>
tensor<T, Rank> evaluate_by(const tensor<T, Rank>& like, const E& e) {
  using statement = exec::statement<E>;
  using plain = typename statement::program;
  static_assert(holds<plain> > 0);
  using program = std::conditional_t<Holds, exec::host::nest_program<plain>, plain>;
  const tensor<T, Rank> result = full_like(like, 77);
  const exec::bound<statement> b(e);
  exec::operand inputs[statement::operand_count + 1];
  b.bind_operands(inputs);
  const exec::operand output = exec::detail::operand_of(result);
  exec::launch l;
  for (int i = 0; i < graph::max_axes; ++i) l.extents[i] = b.extents[i];
  l.inputs = inputs;
  l.outputs = &output;
  l.scalars = b.scalars;
  constexpr auto passes = static_cast<int>(exec::plan_of<program>.sizes.passes);
  exec::host::run_nests(exec::view_of<program>(),
                        exec::host::detail::kernels_for<program, configuration>(
                            exec::best_isa(), std::make_integer_sequence<int, passes>{}),
                        l);
  return result;
}

template <class E>
bool changes_no_bit(const E& e) {
  const auto made = evaluate(e);
  const auto held = evaluate_by<true>(made, e), anew = evaluate_by<false>(made, e);
  const auto bytes = static_cast<std::size_t>(held.size()) * sizeof(*held.data());
  return held.size() == 0 || std::memcmp(held.data(), anew.data(), bytes) == 0;
}

/// The largest difference between two tensors.
double apart(const matrix& a, const matrix& b) {
  double most = 0;
  for (std::int64_t i = 0; i < a.size(); ++i) {
    most = std::fmax(most, std::fabs(static_cast<double>(a.data()[i] - b.data()[i])));
  }
  return most;
}

/// A pass that reads what is held, and not a strided operand, sums its row in other parts.
void check_sums_of_held(const matrix& x) {
  const matrix made = chain(x);
  const matrix held = evaluate_by<true>(made, chain(x)), anew = evaluate_by<false>(made, chain(x));
  CHECK(apart(held, anew) < 1e-6);
}

constexpr std::int64_t shapes[][2] = {{0, 5},    {5, 0},    {1, 1},    {700, 1},  {3, 10},
                                      {300, 31}, {257, 32}, {65, 33},  {41, 100}, {1, 128},
                                      {7, 513},  {3, 2048}, {5, 4099}, {2, 40001}};

void check_all_shapes() {
  generator from(3);
  for (const auto& s : shapes) {
    CAPTURE(s[0]);
    CAPTURE(s[1]);
    const matrix x = randn<float, 2>({s[0], s[1]}, from), y = randn<float, 2>({s[0], s[1]}, from);
    CHECK(changes_no_bit(softmax<-1>(x)));
    CHECK(changes_no_bit(softmax<0>(x)));
    CHECK(changes_no_bit(gated_norm(x, y)));
    CHECK(changes_no_bit(chain(x)));
    CHECK(changes_no_bit(two_of_one(x, y)));
    if (s[0] * s[1] > 20000) continue;
    CHECK(changes_no_bit(softmax<-1>(x.transpose())));
    const matrix wide = randn<float, 2>({s[0], 3 * s[1]}, from);
    CHECK(changes_no_bit(softmax<-1>(wide(all(), slice(1, 3 * s[1], 3)))));
    check_sums_of_held(wide(all(), slice(1, 3 * s[1], 3)));
  }
}

/// Sets a limit for as long as it lives.
class lowered {
 public:
  lowered(std::atomic<std::int64_t>& limit, std::int64_t to) : limit_(limit), before_(limit) {
    limit_ = to;
  }
  lowered(const lowered&) = delete;
  lowered& operator=(const lowered&) = delete;
  ~lowered() { limit_ = before_; }

 private:
  std::atomic<std::int64_t>& limit_;
  std::int64_t before_;
};

}  // namespace

TEST_CASE("holding values changes no bit, rows of many lengths") { check_all_shapes(); }

TEST_CASE("… whatever the number of threads") {
  const int before = num_threads();
  set_num_threads(3);
  check_all_shapes();
  set_num_threads(before);
}

TEST_CASE("… where results are written past the caches") {
  const lowered limit(exec::host::nontemporal_bytes(), 0);
  check_all_shapes();
}

TEST_CASE("rows too long to be held are computed again, a few lanes at a time, to the same bits") {
  const lowered limit(exec::host::most_held_lanes(), 40);
  generator from(4);
  for (const auto& s : shapes) {
    CAPTURE(s[0]);
    CAPTURE(s[1]);
    const matrix x = randn<float, 2>({s[0], s[1]}, from), y = randn<float, 2>({s[0], s[1]}, from);
    CHECK(changes_no_bit(softmax<-1>(x)));
    CHECK(changes_no_bit(softmax<0>(x)));
    CHECK(changes_no_bit(gated_norm(x, y)));
    check_sums_of_held(x);
  }
}

TEST_CASE("rows that span several loops are held whole") {
  generator from(5);
  constexpr std::int64_t forms[][3] = {{2, 3, 49}, {1500, 3, 2}, {3, 40, 33}, {70, 2, 64}};
  for (const auto& f : forms) {
    CAPTURE(f[0]);
    CAPTURE(f[2]);
    const tensor<float, 3> x = randn<float, 3>({f[0], f[1], f[2]}, from);
    for (const std::int64_t most : {std::int64_t{1} << 24, std::int64_t{0}}) {
      const lowered limit(exec::host::most_held_lanes(), most);
      CHECK(changes_no_bit(shares<0, 2>(x)));
      CHECK(changes_no_bit(shares<0, 1>(x)));
      CHECK(changes_no_bit(shares<1>(x)));
    }
  }
}

TEST_CASE("what is held has the type it is computed in") {
  generator from(6);
  for (const auto& s : shapes) {
    const matrix x = randn<float, 2>({s[0], s[1]}, from);
    CHECK(changes_no_bit(softmax<-1>(tensor<double, 2>(cast<double>(x)))));
    CHECK(changes_no_bit(softmax<-1>(tensor<bfloat16, 2>(cast<bfloat16>(x)))));
    CHECK(changes_no_bit(softmax<-1>(tensor<float16, 2>(cast<float16>(x)))));
  }
}

TEST_CASE("a gradient that holds values, beside sums over all rows, is that of its parts") {
  generator from(7);
  for (const auto& s : shapes) {
    if (s[0] * s[1] == 0 || s[1] < 10) continue;
    CAPTURE(s[0]);
    CAPTURE(s[1]);
    const matrix seed = randn<float, 2>({s[0], s[1]}, from);
    const parameter x(randn<float, 2>({s[0], s[1]}, from)), g(randn<float, 2>({s[0], s[1]}, from));
    const parameter scale(ones<float, 2>({1, s[1]}));
    const auto gradients = [&](const parameter& y) {
      y.backward(seed);
      const std::tuple<matrix, matrix, matrix> made(x.grad().clone(), g.grad().clone(),
                                                    scale.grad().clone());
      x.zero_grad();
      g.zero_grad();
      scale.zero_grad();
      return made;
    };
    const auto whole = gradients(parameter(gated_norm(x * scale, g)));
    const parameter scaled(x * scale), gate(silu(g)), y(scaled * gate);
    const parameter mean_square(mean<-1>(y * y, keepdim));
    const parameter inverse(rsqrt(mean_square + 1e-5));
    const auto parts = gradients(parameter(y * inverse));
    CHECK(apart(std::get<0>(whole), std::get<0>(parts)) < 1e-4);
    CHECK(apart(std::get<1>(whole), std::get<1>(parts)) < 1e-4);
    CHECK(apart(std::get<2>(whole), std::get<2>(parts)) < 1e-3);
  }
}
