// SPDX-License-Identifier: BSD-3-Clause
// One launch for all nests of a program: those that read nothing of each other have a part of the
// grid each; the team that finishes last merges their partial results and runs the nests that read
// them. Bodies are the strided ones: they take any layout, so that a program has one such kernel,
// whose registers are those of its largest nest, and they give work that is small to the most
// threads.
#pragma once

#include <heddle/exec/cuda/group.hpp>
#include <heddle/exec/side_by_side.hpp>

namespace heddle::inline v0::exec::cuda {

/// The parameters of the launch.
template <class Program>
struct side_by_side_arguments
    : arguments_of_nests<Program, 0, static_cast<int>(plan_of<Program>.sizes.nests)> {
  static constexpr int nests = static_cast<int>(plan_of<Program>.sizes.nests);
  /// Nest k has the teams first_team[k] to first_team[k + 1] - 1.
  int first_team[nests + 1] = {};

  template <int Nest>
  [[nodiscard]] HEDDLE_HD int teams_of() const {
    return first_team[Nest + 1] - first_team[Nest];
  }
};

namespace detail {

/// Whether a nest has a part of the grid, or reads what those that have one leave.
template <class Program, int Nest>
inline constexpr bool has_part = is_independent(view_of<Program>(), Nest);

template <class Program, int Nest, class Team>
HEDDLE_HD void run_part(const Team& team, const side_by_side_arguments<Program>& a) {
  if constexpr (has_part<Program, Nest>) {
    const int block = team.block() - a.first_team[Nest];
    if (block < 0 || block >= a.template teams_of<Nest>()) return;
    nest_body<Program, Nest, access::strided, Team>(team.at(block, a.template teams_of<Nest>()),
                                                    a.program, a.template nest<Nest>())
        .run();
  }
}
template <class Program, int Nest, class Team>
HEDDLE_HD void merge_part(const Team& team, const side_by_side_arguments<Program>& a) {
  if constexpr (has_part<Program, Nest> && has_terminals<Program, Nest>()) {
    merge_totals<Program, Nest, access::strided>(
        team, a.program, a.template nest<Nest>().shape.slots, a.template teams_of<Nest>(),
        reduction_indices<Program>{});
  }
}
template <class Program, int Nest, class Team>
HEDDLE_HD void finish_part(const Team& team, const side_by_side_arguments<Program>& a) {
  if constexpr (!has_part<Program, Nest>) finish_nest<Program, Nest>(team, a);
}

template <class Program, class Team, int... Nest>
HEDDLE_HD void run_parts(const Team& team, const side_by_side_arguments<Program>& a,
                         std::integer_sequence<int, Nest...>) {
  (run_part<Program, Nest>(team, a), ...);
  if constexpr (!(has_part<Program, Nest> && ...)) {
    if (!is_last(team, a.program.ticket)) return;
    (merge_part<Program, Nest>(team, a), ...);
    (finish_part<Program, Nest>(team.at(0, 1), a), ...);
  }
}

}  // namespace detail

/// One team's part of the launch.
template <class Program, class Team>
HEDDLE_HD void run_side_by_side(const Team& team, const side_by_side_arguments<Program>& a) {
  detail::run_parts<Program>(
      team, a, std::make_integer_sequence<int, side_by_side_arguments<Program>::nests>{});
}

}  // namespace heddle::inline v0::exec::cuda
