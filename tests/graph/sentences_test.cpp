// SPDX-License-Identifier: BSD-3-Clause
// What the compiler of expressions says where it refuses a statement. While compiling, the sentence
// is in the compiler's error; with HEDDLE_UNFUSED, and here, it is thrown.
#include <string>

#include <doctest/doctest.h>

#include <heddle/graph/passes/schedule.hpp>
#include <heddle/graph/program.hpp>
#include <heddle/graph/shape.hpp>

using heddle::dtype;
using heddle::op;
using heddle::symbol;
namespace graph = heddle::graph;

namespace {

/// The sentence that f throws, given a trace and a matrix in it.
template <class F>
std::string refusal(F f) {
  graph::builder b;
  b.tracing = true;
  const symbol x = graph::trace_input(b, 0, dtype::f32, 2);
  try {
    f(b, x);
  } catch (const char* sentence) {
    return sentence;
  }
  return "";
}

}  // namespace

TEST_CASE("functions of symbols refuse axes that the operand lacks") {
  CHECK(refusal([](graph::builder&, symbol x) { (void)heddle::squeeze<0>(x); }) ==
        "heddle::squeeze: the axis is not known to have extent 1");
  const char* const once = "heddle::permute: name each axis of the operand once";
  CHECK(refusal([](graph::builder&, symbol x) { (void)heddle::permute<0>(x); }) == once);
  CHECK(refusal([](graph::builder&, symbol x) { (void)heddle::permute<0, 0>(x); }) == once);
  CHECK(refusal([](graph::builder&, symbol x) { (void)heddle::permute<0, 2>(x); }) == once);
  CHECK(refusal([](graph::builder&, symbol x) { (void)heddle::permute<1, -2>(x); }).empty());
  CHECK(refusal([](graph::builder&, symbol x) { (void)heddle::iota<2>(x); }) ==
        "heddle::iota: the axis is out of range");
}

TEST_CASE("functions of symbols refuse numbers where they need a traced value") {
  CHECK(refusal([](graph::builder&, symbol) { (void)exp(symbol(1.0)); }) ==
        "heddle: an op needs at least one traced operand");
  CHECK(refusal([](graph::builder&, symbol) { (void)heddle::sum<0>(symbol(1.0)); }) ==
        "heddle: a reduction needs a traced operand");
  CHECK(refusal([](graph::builder&, symbol) { (void)heddle::cast<double>(symbol(1.0)); }) ==
        "heddle::cast: a number is cast by writing it in its type");
  CHECK(refusal([](graph::builder&, symbol) {
          (void)heddle::uniform_like(symbol(1.0), symbol(1), symbol(2));
        }) == "heddle: random numbers need a traced value, whose shape they get");
}

TEST_CASE("take refuses a computed table and a result of over 8 axes") {
  CHECK(refusal([](graph::builder& b, symbol x) {
          (void)take(exp(x), graph::trace_input(b, 1, dtype::i64, 1));
        }) == "heddle::take: the table must be a tensor of rank 1 or more, not an expression");
  CHECK(refusal([](graph::builder& b, symbol x) {
          (void)take(x, graph::trace_input(b, 1, dtype::i64, 8));
        }) == "heddle::take: the result has over 8 axes");
}

TEST_CASE("statements that are too large are refused") {
  CHECK(refusal([](graph::builder& b, symbol) {
          for (int i = 1; i < 256; ++i) (void)graph::trace_input(b, i, dtype::f32, 1);
        }) == "heddle: the statement has more than 254 operand axes");
  CHECK(refusal([](graph::builder& b, symbol x) {
          for (int i = 0; i < 65'536; ++i) (void)b.unary(op::exp, dtype::f32, x.id);
        }) == "heddle: the statement is too large: over 65 534 nodes");
  CHECK(refusal([](graph::builder& b, symbol x) {
          // sums along another axis than the one before end the nest
          symbol value = x;
          for (int i = 0; i < 110; ++i) {
            value = exp(x + heddle::sum<1>(value, heddle::keepdim));
            value = exp(x + heddle::sum<0>(value, heddle::keepdim));
          }
          (void)graph::make_schedule(graph::frame(b, &value, 1));
        }) == "heddle: the statement is too large: over 100 loop nests");
}

TEST_CASE("programs with ops that nobody describes, or too many of a user's, are refused") {
  const auto user_op = [](int k) {
    graph::node n{.type = dtype::f32};
    n.code = static_cast<op>(static_cast<int>(op::user) + k);
    return n;
  };
  CHECK(refusal([&](graph::builder&, symbol) { (void)graph::find_info(user_op(3).code, {}); }) ==
        "heddle: the graph holds an op that no op_traits describes");
  CHECK(refusal([&](graph::builder&, symbol) {
          graph::list<std::uint64_t> words;
          words.push_back(graph::encoding_version << 56 | 33);
          for (int k = 0; k < 33; ++k) words.push_back(graph::encode_word(user_op(k)));
          (void)graph::detail::find_user_codes(words.begin(), words.size());
        }) == "heddle: over 32 user ops in one statement");
}
