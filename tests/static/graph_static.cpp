// SPDX-License-Identifier: BSD-3-Clause
// What the compiler itself must find: traces, derivatives and schedules of known statements.
#include <heddle/graph/passes/schedule.hpp>
#include <heddle/graph/program.hpp>

namespace {

namespace graph = heddle::graph;
using heddle::dtype;
using heddle::keepdim;
using heddle::symbol;

struct softmax {
  static constexpr graph::graph make() {
    graph::builder b;
    b.tracing = true;
    const symbol x = graph::trace_input(b, 0, dtype::f32, 2);
    const symbol e = exp(x - heddle::amax<-1>(x, keepdim));
    symbol root = e / heddle::sum<-1>(e, keepdim);
    return graph::frame(b, &root, 1);
  }
};

struct softmax_backward {
  static constexpr graph::graph make() {
    graph::derivative_request request;
    request.wanted = graph::list<bool>(1, true);
    request.seed_slot = 1;
    request.saved_slot = 2;
    return graph::differentiate_cheapest(softmax::make(), request);
  }
};

using program = graph::frozen<softmax>;
static_assert(program::node_count == 7, "input, amax, sub, exp, sum, div and a store");
static_assert(graph::make_schedule(graph::thaw(program{})).kernels() == 1);
static_assert(graph::make_schedule(graph::thaw(graph::frozen<softmax_backward>{})).kernels() == 1);

// Equal statements are one type, whoever wrote them.
struct softmax_again : softmax {};
template <class A, class B>
inline constexpr bool same = false;
template <class A>
inline constexpr bool same<A, A> = true;
static_assert(same<program, graph::frozen<softmax_again>>);

// Read at four leaves, the same statement is twice the nodes.
struct softmax_of_operators {
  static constexpr graph::graph make() {
    graph::builder b;
    b.tracing = true;
    const auto x = [&](int slot) { return graph::trace_input(b, slot, dtype::f32, 2); };
    symbol root = exp(x(0) - heddle::amax<-1>(x(1), keepdim)) /
                  heddle::sum<-1>(exp(x(2) - heddle::amax<-1>(x(3), keepdim)), keepdim);
    return graph::frame(b, &root, 1);
  }
};
static_assert(graph::frozen<softmax_of_operators>::node_count == 13);

}  // namespace
