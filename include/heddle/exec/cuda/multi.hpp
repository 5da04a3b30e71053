// SPDX-License-Identifier: BSD-3-Clause
// One launch over many tensors: a program over each group of a list, the list in the kernel's
// parameters. What it reduces over all of them is merged and finished by the team that is last.
#pragma once

#include <optional>
#include <vector>

#include <heddle/exec/cuda/prepare.hpp>
#include <heddle/exec/multi_group.hpp>

namespace heddle::inline v0::exec::cuda {

/// The parameters of a launch over up to Groups groups of tensors. Work is cut into chunks of
/// `chunk` elements; group g has chunks first_chunk[g] to first_chunk[g + 1] - 1.
template <class Program, int Groups>
struct multi_arguments {
  using layout = detail::nest_layout<Program, 0>;

  group_arguments<Program, 0> group;
  std::byte* base[Groups][layout::cursor_count] = {};
  std::int64_t count[Groups] = {};
  std::int64_t first_chunk[Groups + 1] = {};
  std::int64_t chunk = 1;
  int groups = 0;
  int merged_teams = 0;  ///< whose results the last team of this launch merges; 0: a later launch
};

/// One team's part of a launch over a list.
template <class Program, access Access, class Team, int Groups>
HEDDLE_HD void run_multi(const Team& team, const multi_arguments<Program, Groups>& a) {
  const arguments_of<Program, 0>& nest = a.group.template nest<0>();
  detail::nest_body<Program, 0, Access, Team> body(team, a.group.program, nest);
  body.run_list([&](auto run) {
    int g = 0;
    // chunks come in order, so that each search begins where the last one ended
    for (std::int64_t c = team.block(); c < a.first_chunk[a.groups]; c += team.blocks()) {
      while (c >= a.first_chunk[g + 1]) ++g;
      const std::int64_t begin = (c - a.first_chunk[g]) * a.chunk;
      const std::int64_t rest = a.count[g] - begin;
      run(a.base[g], begin, rest < a.chunk ? rest : a.chunk);
    }
  });
  if constexpr (detail::has_terminals<Program, 0>()) {
    if (a.merged_teams == 0) return;
    detail::finish_if_last<Program, 0, Access>(team, a.group, a.merged_teams);
  }
}

/// The launches over a list of groups, as few as their parameters allow, and the body each one
/// takes. They share a workspace, as they run one after the other: each leaves partial results
/// beside those of the others, the last one merges them all.
template <class Program, int Operands, int Groups>
class multi_launches {
  using layout = detail::nest_layout<Program, 0>;
  static constexpr bool reduces = detail::has_terminals<Program, 0>();

 public:
  using arguments = multi_arguments<Program, Groups>;
  struct one {
    arguments with;
    access how = access::wide;
    int blocks = 1;
  };

  /// team: threads of a team. Groups without elements are left out.
  multi_launches(const multi_group<Operands>* groups, std::size_t count, const multi_shared& shared,
                 int team, int max_blocks)
      : shared_(shared), team_(team) {
    constexpr int vector = detail::vector_width<Program, 0, access::wide>;
    constexpr int unroll = detail::unroll_of<Program, 0, access::wide, layout::first_pass>;
    const std::int64_t chunk = std::int64_t{team} * vector * unroll * rounds_of_list;
    for (std::size_t i = 0; i < count; ++i) {
      if (groups[i].count == 0) continue;
      if (made_.empty() || made_.back().with.groups == Groups) begin(chunk);
      add(made_.back(), groups[i], std::make_integer_sequence<int, layout::cursor_count>{});
    }
    if (reduces && made_.empty()) begin(chunk);  // a reduction of nothing has a value, too
    for (one& each : made_) {
      const std::int64_t chunks = each.with.first_chunk[each.with.groups];
      each.blocks = static_cast<int>(std::clamp(chunks, std::int64_t{1}, std::int64_t{max_blocks}));
      blocks_ += each.blocks;
    }
    if (blocks_ > 0) prepare(std::int64_t{blocks_} * team * vector * unroll);
  }

  [[nodiscard]] const std::vector<one>& all() const { return made_; }
  [[nodiscard]] std::int64_t workspace_bytes() const {
    return reduces && ready_ ? ready_->workspace_bytes() : 0;
  }
  /// Puts the workspace in place, before `all` is read.
  void place(std::byte* workspace, unsigned* ticket) {
    if (!ready_) return;
    ready_->place(workspace, ticket, nullptr);
    auto group = ready_->template group<0>(launch_);
    group.template nest<0>().shape.width = team_;
    group.template nest<0>().shape.groups = 1;
    int behind = 0;  // the teams of later launches, whose partial results come first
    for (std::size_t i = made_.size(); i-- > 0;) {
      multi_arguments<Program, Groups>& with = made_[i].with;
      with.group = group;
      leave_behind(with.group.program, behind, detail::reduction_indices<Program>{});
      if (behind == 0) with.merged_teams = blocks_;
      behind += made_[i].blocks;
    }
  }

 private:
  /// Results among the first `count` outputs of the plan.
  static constexpr int results_before(int count) {
    int n = 0;
    for (int i = 0; i < count; ++i) {
      const output_info& out = plan_of<Program>.outputs[static_cast<std::size_t>(i)];
      n += graph::writes_result(out.kind) ? 1 : 0;
    }
    return n;
  }
  static constexpr int assigned = results_before(layout::output_count);  // of a group
  static constexpr int results =
      results_before(static_cast<int>(plan_of<Program>.sizes.outputs)) - assigned;
  static constexpr int inputs = [] {
    int n = Operands;
    for (int i = 0; i < static_cast<int>(plan_of<Program>.sizes.reads); ++i) {
      const int slot = plan_of<Program>.reads[static_cast<std::size_t>(i)].slot;
      n = slot < n ? n : slot + 1;
    }
    return n;
  }();

  void begin(std::int64_t chunk) { made_.emplace_back().with.chunk = chunk; }

  /// What all launches have in common, from one launch over as many elements as give each team its
  /// place for partial results.
  void prepare(std::int64_t elements) {
    for (operand& o : inputs_) o.strides[0] = 1;
    for (operand& o : outputs_) o.strides[0] = 1;
    for (int i = Operands; i < inputs; ++i) inputs_[i].data = shared_.data[i - Operands];
    for (int i = 0; i < results; ++i) {
      outputs_[assigned + i].data = shared_.data[shared_.reads + i];
    }
    for (std::int64_t& e : launch_.extents) e = 1;
    launch_.extents[0] = elements;
    launch_.inputs = inputs_;
    launch_.outputs = outputs_;
    launch_.scalars = shared_.scalars;
    launch_limits limits;
    limits.team = team_;
    limits.fixed_team = true;
    limits.max_blocks = limits.max_blocks_of_maps = blocks_;
    ready_.emplace(launch_, limits);
  }

  /// Has a launch leave its partial results behind those of `teams` teams.
  template <int... R>
  static void leave_behind(program_arguments<Program>& program, std::int64_t teams,
                           std::integer_sequence<int, R...>) {
    ((program.partials[R] +=
      teams * static_cast<std::int64_t>(sizeof(detail::total_type<Program, R>))),
     ...);
  }
  template <int C>
  std::byte* base_of(const multi_group<Operands>& group) const {
    if constexpr (C < layout::read_count) {
      constexpr int slot = plan_of<Program>.reads[layout::read_at(C)].slot;
      return slot < Operands ? group.data[slot] : shared_.data[slot - Operands];
    } else {
      constexpr output_info out = plan_of<Program>.outputs[C - layout::read_count];
      return graph::writes_result(out.kind) ? group.data[out.slot] : nullptr;
    }
  }
  /// Whether a cursor moves from lane to lane.
  template <int C>
  static consteval bool has_lanes() {
    if constexpr (C < layout::read_count) {
      return plan_of<Program>.reads[layout::read_at(C)].slot < Operands;
    } else {
      return graph::writes_result(plan_of<Program>.outputs[C - layout::read_count].kind);
    }
  }
  template <int... C>
  void add(one& to, const multi_group<Operands>& group, std::integer_sequence<int, C...>) {
    std::byte** const base = to.with.base[to.with.groups];
    ((base[C] = base_of<C>(group)), ...);
    const bool aligned =
        ((!has_lanes<C>() || reinterpret_cast<std::uintptr_t>(base[C]) % 16 == 0) && ...);
    if (!aligned) to.how = access::strided;
    const int g = to.with.groups++;
    to.with.count[g] = group.count;
    to.with.first_chunk[g + 1] =
        to.with.first_chunk[g] + detail::ceil_divide(group.count, to.with.chunk);
  }

  multi_shared shared_;
  int team_;
  int blocks_ = 0;
  std::vector<one> made_;
  operand inputs_[inputs];
  operand outputs_[assigned + results];
  launch launch_{};
  std::optional<prepared<Program>> ready_;
};

}  // namespace heddle::inline v0::exec::cuda
