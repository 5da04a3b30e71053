// SPDX-License-Identifier: BSD-3-Clause
// What one launch runs: a nest over the whole grid, then, in the team that finishes last, the merge
// of partial results in index order and the small nests that read them. Where partial results are
// many, launches of their own merge them and run those nests.
#pragma once

#include <heddle/exec/cuda/body.hpp>
#include <heddle/exec/cuda/sorted.hpp>

namespace heddle::inline v0::exec::cuda {

namespace detail {

/// Whether a nest finishes an earlier one: it is part of that one's launch.
template <class Program>
consteval bool is_finish(int nest) {
  return plan_of<Program>.nests[static_cast<std::size_t>(nest)].finish;
}

/// The first nest of the launch that nest `nest` is part of.
template <class Program>
consteval int group_begin(int nest) {
  while (nest > 0 && is_finish<Program>(nest)) --nest;
  return nest;
}
/// The nest behind the last one of the launch that begins with nest `first`.
template <class Program>
consteval int group_end(int first) {
  int end = first + 1;
  while (end < static_cast<int>(plan_of<Program>.sizes.nests) && is_finish<Program>(end)) ++end;
  return end;
}

template <class Program, int Nest>
struct nest_place {
  arguments_of<Program, Nest> arguments;
};
template <class Program, int First, class Offsets>
struct nests_of_group;
template <class Program, int First, int... K>
struct nests_of_group<Program, First, std::integer_sequence<int, K...>>
    : nest_place<Program, First + K>... {};

/// The nest before `nest` that finishes the same launch and has partial results; -1: none.
template <class Program>
consteval int partial_finish(int nest) {
  const int begin = group_begin<Program>(nest);
  int last = -1;
  for (int k = begin + 1; k < nest; ++k) {
    if (plan_of<Program>.nests[static_cast<std::size_t>(k)].terminal) last = k;
  }
  return last;
}
/// The nest behind those that a launch of nest `nest` runs, of those that finish what was merged
/// apart: itself, or, where it has partial results, all behind it, too, in the team that is last.
template <class Program>
consteval int finish_end(int nest) {
  const int end = group_end<Program>(group_begin<Program>(nest));
  return plan_of<Program>.nests[static_cast<std::size_t>(nest)].terminal ? end : nest + 1;
}

}  // namespace detail

/// Threads of a team that merges apart: whole warps.
constexpr int merge_team(int team) {
  return (team < usual_team ? team : usual_team) / warp_width * warp_width;
}
/// Bytes of row memory that it needs: a value per thread.
inline constexpr int merge_bytes = 8 * usual_team;

/// The parameters of the nests First to End - 1 of a program.
template <class Program, int First, int End>
struct arguments_of_nests
    : detail::nests_of_group<Program, First, std::make_integer_sequence<int, End - First>> {
  static constexpr int first = First;
  static constexpr int end = End;
  program_arguments<Program> program;

  template <int Nest>
  HEDDLE_HD const arguments_of<Program, Nest>& nest() const {
    return static_cast<const detail::nest_place<Program, Nest>&>(*this).arguments;
  }
  template <int Nest>
  arguments_of<Program, Nest>& nest() {
    return static_cast<detail::nest_place<Program, Nest>&>(*this).arguments;
  }
};
/// The parameters of one launch: the nest First and those that finish it.
template <class Program, int First>
struct group_arguments : arguments_of_nests<Program, First, detail::group_end<Program>(First)> {};

namespace detail {

/// Merges the partial results of reduction R: slot after slot, in order.
template <class Program, int Nest, access Access, int R, class Team>
HEDDLE_HD void merge_total(const Team& team, const program_arguments<Program>& program,
                           std::int64_t slots, int blocks) {
  constexpr total_kind how = kind_of_total<Program, Nest, Access, R>;
  using T = total_type<Program, R>;
  constexpr op code = total_code<Program, R>;
  if constexpr (how == total_kind::full) {
    constexpr T none = identity<code, T>();
    const T* const from = reinterpret_cast<const T*>(program.partials[R]);
    T total = none;
    for (int s = team.rank(); s < blocks; s += team.size()) total = combine<code>(total, from[s]);
    total = reduce_team(team, total, [](T a, T b) { return combine<code>(a, b); });
    if (team.rank() == 0) *reinterpret_cast<T*>(program.merged[R]) = total;
  } else if constexpr (how == total_kind::lanes || how == total_kind::held ||
                       how == total_kind::memory) {
    constexpr T none = identity<code, T>();
    const std::int64_t kept = program.kept[R];
    const T* const from = reinterpret_cast<const T*>(program.partials[R]);
    T* const to = reinterpret_cast<T*>(program.merged[R]);
    for (std::int64_t e = team.rank(); e < kept; e += team.size()) {
      T total = none;
      for (std::int64_t s = 0; s < slots; ++s) total = combine<code>(total, from[s * kept + e]);
      to[e] = total;
    }
  }
}
template <class Program, int Nest, access Access, class Team, int... R>
HEDDLE_HD void merge_totals(const Team& team, const program_arguments<Program>& program,
                            std::int64_t slots, int blocks, std::integer_sequence<int, R...>) {
  (merge_total<Program, Nest, Access, R>(team, program, slots, blocks), ...);
}

/// Likewise, by all teams of a launch of its own: each has some elements of what is kept, its warps
/// a part of the slots each.
template <class Program, int Nest, int R, class Team>
HEDDLE_HD void merge_apart(const Team& team, const program_arguments<Program>& program,
                           const nest_shape& shape) {
  constexpr total_kind how = kind_of_total<Program, Nest, access::strided, R>;
  if constexpr (how == total_kind::full) {
    if (team.block() != 0) return;
    merge_total<Program, Nest, access::strided, R>(team, program, shape.slots, shape.merged_apart);
  } else if constexpr (how == total_kind::lanes || how == total_kind::memory) {
    using T = total_type<Program, R>;
    constexpr op code = total_code<Program, R>;
    constexpr T none = identity<code, T>();
    const int parts = team.size() / warp_width;
    const int part = team.rank() / warp_width, lane = team.rank() % warp_width;
    const std::int64_t kept = program.kept[R];
    const std::int64_t begin = shape.slots * part / parts, end = shape.slots * (part + 1) / parts;
    const T* const from = reinterpret_cast<const T*>(program.partials[R]);
    T* const of_part = reinterpret_cast<T*>(team.row_memory());
    for (std::int64_t first = std::int64_t{team.block()} * warp_width; first < kept;
         first += std::int64_t{team.blocks()} * warp_width) {
      const std::int64_t e = first + lane;
      T total = none;
      if (e < kept) {
        constexpr int under_way = 8;
        std::int64_t s = begin;
        for (; s + under_way <= end; s += under_way) {
          T next[under_way];
          HEDDLE_UNROLL
          for (int u = 0; u < under_way; ++u) next[u] = from[(s + u) * kept + e];
          HEDDLE_UNROLL
          for (int u = 0; u < under_way; ++u) total = combine<code>(total, next[u]);
        }
        for (; s < end; ++s) total = combine<code>(total, from[s * kept + e]);
      }
      of_part[team.rank()] = total;
      team.template sync<site::reduce_written>();
      if (part == 0 && e < kept) {
        for (int k = 1; k < parts; ++k) {
          total = combine<code>(total, of_part[k * warp_width + lane]);
        }
        reinterpret_cast<T*>(program.merged[R])[e] = total;
      }
      team.template sync<site::reduce_read>();
    }
  }
}
template <class Program, int Nest, class Team, int... R>
HEDDLE_HD void merge_all_apart(const Team& team, const program_arguments<Program>& program,
                               const nest_shape& shape, std::integer_sequence<int, R...>) {
  (merge_apart<Program, Nest, R>(team, program, shape), ...);
}

/// Whether a nest leaves partial results of more than one element each.
template <class Program, int Nest>
consteval bool keeps_axes() {
  return has_total<Program, Nest, access::strided>(total_kind::lanes) ||
         has_total<Program, Nest, access::strided>(total_kind::memory);
}

/// A nest that reads merged results, by one team, which is alone in its grid.
template <class Program, int Nest, class Team, class Arguments>
HEDDLE_HD void finish_nest(const Team& team, const Arguments& a) {
  team.template sync<site::merged>();
  nest_body<Program, Nest, access::strided, Team>(team, a.program, a.template nest<Nest>()).run();
  if constexpr (has_terminals<Program, Nest>()) {
    team.template sync<site::partials_written>();
    merge_totals<Program, Nest, access::strided>(
        team, a.program, a.template nest<Nest>().shape.slots, 1, reduction_indices<Program>{});
  }
}
/// The nests from Nest on.
template <class Program, int First, int Nest, class Team>
HEDDLE_HD void finish(const Team& team, const group_arguments<Program, First>& a) {
  if constexpr (Nest < group_end<Program>(First)) {
    finish_nest<Program, Nest>(team, a);
    finish<Program, First, Nest + 1>(team, a);
  }
}

/// Whether this team is the last of the grid whose results are in device memory.
template <class Team>
HEDDLE_HD bool is_last(const Team& team, unsigned* ticket) {
  team.template sync<site::partials_written>();
  auto* const last = reinterpret_cast<bool*>(team.scratch() + scratch_bytes);
  if (team.rank() == 0) *last = team.take_ticket(ticket);
  team.template sync<site::ticket_read>();
  return *last;
}

/// What a team does behind its part of nest First: the one that is last merges what `teams` teams
/// have left, and runs the nests that finish the launch.
template <class Program, int First, access Access, class Team>
HEDDLE_HD void finish_if_last(const Team& team, const group_arguments<Program, First>& a,
                              int teams) {
  if (!is_last(team, a.program.ticket)) return;
  merge_totals<Program, First, Access>(team, a.program, a.template nest<First>().shape.slots, teams,
                                       reduction_indices<Program>{});
  finish<Program, First, First + 1>(team.at(0, 1), a);
}

}  // namespace detail

/// One team's part of a launch.
template <class Program, int First, access Access, class Team>
HEDDLE_HD void run_group(const Team& team, const group_arguments<Program, First>& a) {
  detail::nest_body<Program, First, Access, Team>(team, a.program, a.template nest<First>()).run();
  if constexpr (detail::has_terminals<Program, First>()) {
    if (a.template nest<First>().shape.merged_apart > 0) return;
    detail::finish_if_last<Program, First, Access>(team, a, team.blocks());
  }
}

/// One team's part of the launch that merges what the one before has left. What finishes it is
/// launched behind it.
template <class Program, int First, class Team>
HEDDLE_HD void run_merge(const Team& team, const group_arguments<Program, First>& a) {
  detail::merge_all_apart<Program, First>(team, a.program, a.template nest<First>().shape,
                                          detail::reduction_indices<Program>{});
}

/// One team's part of a launch before or after that of a sorted scatter.
template <class Program, int First, sorted_step Step, class Team>
HEDDLE_HD void run_sorted_step(const Team& team, const group_arguments<Program, First>& a) {
  detail::sorted_body<Program, First, Team> body(team, a.program, a.template nest<First>());
  if constexpr (Step == sorted_step::words) {
    body.leave_words();
  } else {
    body.add_shared_sums();
  }
}

}  // namespace heddle::inline v0::exec::cuda
