// SPDX-License-Identifier: BSD-3-Clause
// One launch over many tensors: an element-wise program over each group of a list, the list in the
// kernel's parameters.
#pragma once

#include <vector>

#include <heddle/exec/cuda/body.hpp>
#include <heddle/exec/multi_group.hpp>

namespace heddle::inline v0::exec::cuda {

/// The parameters of a launch over up to Groups groups of tensors. Work is cut into chunks of
/// `chunk` elements; group g has chunks first_chunk[g] to first_chunk[g + 1] - 1.
template <class Program, int Groups>
struct multi_arguments {
  using layout = detail::nest_layout<Program, 0>;

  program_arguments<Program> program;
  arguments_of<Program, 0> nest;
  std::byte* base[Groups][layout::cursor_count] = {};
  std::int64_t count[Groups] = {};
  std::int64_t first_chunk[Groups + 1] = {};
  std::int64_t chunk = 1;
  int groups = 0;
};

/// One team's part of a launch over a list.
template <class Program, access Access, class Team, int Groups>
HEDDLE_HD void run_multi(const Team& team, const multi_arguments<Program, Groups>& a) {
  detail::nest_body<Program, 0, Access, Team> body(team, a.program, a.nest);
  int g = 0;
  // chunks come in order, so that each search begins where the last one ended
  for (std::int64_t c = team.block(); c < a.first_chunk[a.groups]; c += team.blocks()) {
    while (c >= a.first_chunk[g + 1]) ++g;
    const std::int64_t begin = (c - a.first_chunk[g]) * a.chunk;
    const std::int64_t rest = a.count[g] - begin;
    body.run_chunk(a.base[g], begin, rest < a.chunk ? rest : a.chunk);
  }
}

/// The arguments of launches over a list of groups, as few as their parameters allow, and the body
/// each one takes.
template <class Program, int Operands, int Groups>
class multi_launches {
  using layout = detail::nest_layout<Program, 0>;

 public:
  using arguments = multi_arguments<Program, Groups>;
  struct one {
    arguments with;
    access how = access::wide;
    int blocks = 1;
  };

  /// team: threads of a team. Groups without elements are left out.
  multi_launches(const multi_group<Operands>* groups, std::size_t count, const scalar_bits* scalars,
                 int team, int max_blocks) {
    constexpr int vector = detail::vector_width<Program, 0, access::wide>;
    constexpr int unroll = detail::unroll_of<Program, 0, access::wide, layout::first_pass>;
    const std::int64_t chunk = std::int64_t{team} * vector * unroll * rounds_of_list;
    for (std::size_t i = 0; i < count; ++i) {
      if (groups[i].count == 0) continue;
      if (made_.empty() || made_.back().with.groups == Groups) begin(scalars, team, chunk);
      add(made_.back(), groups[i]);
    }
    for (one& each : made_) {
      const std::int64_t chunks = each.with.first_chunk[each.with.groups];
      each.blocks = static_cast<int>(chunks < max_blocks ? chunks : max_blocks);
    }
  }

  [[nodiscard]] const std::vector<one>& all() const { return made_; }

 private:
  void begin(const scalar_bits* scalars, int team, std::int64_t chunk) {
    one next;
    for (int i = 0; i < program_arguments<Program>::scalar_count; ++i) {
      next.with.program.scalars[i] = scalars[i];
    }
    for (std::int64_t& e : next.with.program.extents) e = 1;
    next.with.nest.shape.width = team;
    next.with.chunk = chunk;
    place_lanes(next.with.nest, std::make_integer_sequence<int, layout::cursor_count>{});
    made_.push_back(next);
  }
  template <int... C>
  static void place_lanes(arguments_of<Program, 0>& nest, std::integer_sequence<int, C...>) {
    ((nest.lane[C] = size_at<C>()), ...);
  }
  template <int C>
  static constexpr int slot_at() {
    if constexpr (C < layout::read_count) {
      return plan_of<Program>.reads[layout::read_at(C)].slot;
    } else {
      return plan_of<Program>.outputs[C - layout::read_count].slot;
    }
  }
  template <int C>
  static constexpr std::int64_t size_at() {
    if constexpr (C < layout::read_count) {
      return static_cast<std::int64_t>(size_of(plan_of<Program>.reads[layout::read_at(C)].type));
    } else {
      return static_cast<std::int64_t>(
          size_of(plan_of<Program>.outputs[C - layout::read_count].type));
    }
  }
  template <int... C>
  static void place_group(one& to, const multi_group<Operands>& group,
                          std::integer_sequence<int, C...>) {
    std::byte** const base = to.with.base[to.with.groups];
    ((base[C] = group.data[slot_at<C>()]), ...);
    for (int c = 0; c < layout::cursor_count; ++c) {
      if (reinterpret_cast<std::uintptr_t>(base[c]) % 16 != 0) to.how = access::strided;
    }
  }
  void add(one& to, const multi_group<Operands>& group) {
    place_group(to, group, std::make_integer_sequence<int, layout::cursor_count>{});
    const int g = to.with.groups++;
    to.with.count[g] = group.count;
    to.with.first_chunk[g + 1] =
        to.with.first_chunk[g] + (group.count + to.with.chunk - 1) / to.with.chunk;
  }

  std::vector<one> made_;
};

}  // namespace heddle::inline v0::exec::cuda
