// SPDX-License-Identifier: BSD-3-Clause
// The gradient of `take` by the bodies of CUDA kernels on host teams: a scatter.
#pragma once

#include "run_bodies.hpp"

#include <heddle/graph/passes/differentiate.hpp>
#include <heddle/tensor/creation.hpp>
#include <heddle/tensor/let.hpp>

namespace support {

using namespace heddle;

/// The program of a statement's gradient with respect to its first operand of two, as
/// autograd/record.hpp has it.
template <class Statement>
struct derivative_of_first {
  static constexpr graph::graph make() {
    graph::derivative_request request;
    request.wanted.push_back(true);
    request.wanted.push_back(false);
    request.seed_slot = 2;
    request.saved_slot = 3;
    return graph::differentiate(graph::thaw(typename Statement::program{}), request);
  }
};

/// The gradient of `scale * take(table, index)` with respect to the table, for seed g, by its body.
struct take_gradient {
  static constexpr auto rows = [](auto t, auto i) { return 2 * take(t, i); };
  using statement = exec::statement<decltype(let(rows, std::declval<tensor<float, 2>>(),
                                                 std::declval<tensor<std::int64_t, 1>>()))>;
  using program = graph::frozen<derivative_of_first<statement>>;

  tensor<float, 2> made;
  body_report report;

  take_gradient(std::int64_t table_rows, const tensor<std::int64_t, 1>& index,
                const tensor<float, 2>& g, const body_run& how)
      : made(full<float, 2>({table_rows, g.extent(1)}, 77)) {
    exec::launch l;
    l.extents[0] = g.extent(0);
    l.extents[1] = g.extent(1);
    const exec::operand inputs[] = {
        {}, exec::detail::operand_of(index), exec::detail::operand_of(g)};
    const exec::operand outputs[] = {exec::detail::operand_of(made)};
    l.inputs = inputs;
    l.outputs = outputs;
    report = body_runner<program>(l, how).run();
  }
};

}  // namespace support
