// SPDX-License-Identifier: BSD-3-Clause
// Which programs a CUDA device runs in one launch though they have several independent nests: their
// bodies stand side by side in one kernel (horizontal fusion).
#pragma once

#include <heddle/exec/cuda/tuning.hpp>
#include <heddle/exec/host/nest.hpp>

namespace heddle::inline v0::exec {

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

/// Whether such a program does run as one launch: where its independent nests have at most `most`
/// elements together, and what one team is to go through, a row or all that reads merged results,
/// is short.
inline bool runs_side_by_side(const plan_view& p, const launch& l,
                              std::int64_t most = cuda::side_by_side_elements) {
  std::int64_t together = 0, after = 0, row = 0;
  for (int k = 0; k < p.nest_count; ++k) {
    const std::int64_t elements = host::detail::elements_over(p.nests[k].domain, l);
    (is_independent(p, k) ? together : after) += elements;
    row = std::max(row, host::detail::elements_over(p.nests[k].row, l));
  }
  return together <= most && std::max(row, after) <= cuda::elements_of_one_team;
}

}  // namespace heddle::inline v0::exec
