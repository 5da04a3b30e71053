// SPDX-License-Identifier: BSD-3-Clause
// Which programs a CUDA device runs in one launch though they have several independent nests: their
// bodies stand side by side in one kernel (horizontal fusion).
#pragma once

#include <heddle/exec/host/nest.hpp>

namespace heddle::inline v0::exec {

/// Elements of independent nests that one launch takes together, at most: one for each thread of a
/// large device, which has four teams a multiprocessor. A launch costs 2 to 5 microseconds, in
/// which memory moves several megabytes, so that fewer launches are what counts up to here. More
/// elements keep the device busy nest by nest, each by the body that its layout allows and with the
/// registers that it alone needs.
inline constexpr std::int64_t side_by_side_elements = std::int64_t{1} << 17;
/// Elements that one team goes through there, at most, while others wait: those of a row, or of
/// what reads merged results. 16 rounds of a team's threads, each about the latency of memory.
inline constexpr std::int64_t elements_of_one_team = 16 * 256;
/// Whether a nest reads no reduction of another, and nothing that another stores for it: it may
/// begin when the launch does.
constexpr bool is_independent(const plan_view& p, int nest) {
  for (int k = 0; k < p.nests[nest].pass_count; ++k) {
    const pass_info& pass = p.passes[p.nests[nest].first_pass + k];
    for (int i = 0; i < pass.value_count; ++i) {
      if (p.reductions[p.pass_values[pass.first_value + i]].nest != nest) return false;
    }
    for (int i = 0; i < pass.read_count; ++i) {
      const read_info& read = p.reads[p.pass_reads[pass.first_read + i]];
      if (!read.held && !p.is_own_input(read.slot)) return false;
    }
  }
  return true;
}

/// Whether a program has several nests that may begin together. Scatters share their work by rules
/// of their own.
constexpr bool may_run_side_by_side(const plan_view& p) {
  int independent = 0;
  for (int k = 0; k < p.nest_count; ++k) {
    if (p.nests[k].scatters) return false;
    independent += is_independent(p, k) ? 1 : 0;
  }
  return independent > 1;
}
/// Likewise. A program that holds values has the nests of one that does not.
template <class Program>
inline constexpr bool side_by_side_program =
    !is_holding<Program> && may_run_side_by_side(view_of<Program>());

/// Whether a result is added to memory that another nest of the launch writes, too, as gradients
/// are of a variable that occurs several times: then nests run one after the other.
inline bool adds_to_another_nest(const plan_view& p, const launch& l) {
  if (l.outputs == nullptr) return false;
  const auto for_each_result = [&p](auto f) {
    for (int k = 0; k < p.pass_count; ++k) {
      const pass_info& pass = p.passes[k];
      for (int i = pass.first_output; i < pass.first_output + pass.output_count; ++i) {
        const output_info& out = p.outputs[i];
        if (graph::writes_result(out.kind) && p.is_own_output(out.slot)) f(pass.nest, out.slot);
      }
    }
  };
  bool found = false;
  for_each_result([&](int nest, int slot) {
    if (!l.outputs[slot].accumulates) return;
    for_each_result([&](int other, int beside) {
      found = found || (other != nest && l.outputs[beside].data == l.outputs[slot].data);
    });
  });
  return found;
}

/// Whether such a program does run as one launch: where its independent nests have at most `most`
/// elements together, and what one team is to go through, a row or all that reads merged results,
/// is short.
inline bool runs_side_by_side(const plan_view& p, const launch& l,
                              std::int64_t most = side_by_side_elements) {
  std::int64_t together = 0, after = 0, row = 0;
  for (int k = 0; k < p.nest_count; ++k) {
    const std::int64_t elements = host::detail::elements_over(p.nests[k].domain, l);
    (is_independent(p, k) ? together : after) += elements;
    const std::int64_t of_row = host::detail::elements_over(p.nests[k].row, l);
    row = of_row > row ? of_row : row;
  }
  return together <= most && row <= elements_of_one_team && after <= elements_of_one_team &&
         !adds_to_another_nest(p, l);
}

}  // namespace heddle::inline v0::exec
