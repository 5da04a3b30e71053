// SPDX-License-Identifier: BSD-3-Clause
// From a launch to the arguments of its bodies and the workspace they need. Runs on the host.
#pragma once

#include <heddle/exec/crossing.hpp>
#include <heddle/exec/cuda/divide.hpp>
#include <heddle/exec/cuda/side_by_side.hpp>

namespace heddle::inline v0::exec::cuda {

namespace detail {

/// The arguments of a nest, without its type.
struct nest_target {
  nest_shape* shape;
  divisor* loops;
  std::int8_t* axes;
  std::byte** base;
  std::int64_t* strides;  ///< [cursor][outer]
  std::int64_t* lane;
  bool* fixed;
  int outer_bound;
};

/// Arguments of a nest from its collapsed loops.
inline void fill_arguments(const nest_tables& t, const host::detail::nest_state& s,
                           const nest_target& to) {
  for (int k = 0; k < s.outer_count; ++k) {
    to.loops[k] = divisor(s.outer[k].extent);
    to.axes[k] = static_cast<std::int8_t>(s.outer[k].axis);
  }
  const int outputs = t.read_count + t.value_count;
  for (int i = 0; i < s.cursor_count; ++i) {
    const host::detail::cursor& c = s.cursors[i];
    to.base[i] = c.base;
    to.lane[i] = c.lane ? c.strides[s.inner] : 0;
    bool fixed = !to.shape->slot_of_unit;
    for (int k = 0; k < s.outer_count; ++k) {
      const std::int64_t stride = c.strides[s.outer[k].axis];
      to.strides[i * to.outer_bound + k] = stride;
      fixed = fixed && (stride == 0 || s.outer[k].extent == 1);
    }
    const bool terminal = i >= outputs && t.plan->outputs[t.first_output + i - outputs].kind ==
                                              graph::item_kind::terminal_reduction;
    to.fixed[i] = terminal && fixed && c.lane;
    // partial results lie in the slot, wherever the merged ones are
    if (terminal) to.base[i] = nullptr;
  }
}

}  // namespace detail

/// The limits of a launch whose nests run side by side: one kind of team, and few partial results
/// for the last one to merge.
inline launch_limits limits_of_parts(launch_limits limits) {
  limits.strided = limits.fixed_team = true;
  limits.max_blocks = std::min(limits.max_blocks, side_by_side_teams);
  limits.merged_apart = INT64_MAX;
  return limits;
}

/// Memory to be set to a reduction's identity before the launch.
struct identity_fill {
  std::byte* at = nullptr;
  std::int64_t count = 0;
  op code = op::sum;
  dtype type = dtype::f32;
};

/// A launch of a program, ready for its device: workspace, arguments, and how each group runs.
template <class Program>
class prepared {
  static constexpr int nest_count = static_cast<int>(plan_of<Program>.sizes.nests);
  static constexpr int reduction_count = static_cast<int>(plan_of<Program>.sizes.reductions);
  static constexpr int crossing_count = static_cast<int>(plan_of<Program>.sizes.crossings);
  static constexpr int input_count =
      crossing_count == 0 ? 1 : plan_of<Program>.crossings[0].input + crossing_count;
  static constexpr int output_count =
      crossing_count == 0 ? 1 : plan_of<Program>.crossings[0].output + crossing_count;

 public:
  prepared(const launch& given, const launch_limits& limits) : limits_(limits) {
    static_assert(plan_of<Program>.sizes.outputs <= 64,
                  "heddle: the statement has more than 64 results for a CUDA device: split it");
    const launch l = whole(given);
    for (int i = 0; i < graph::max_axes; ++i) program_.extents[i] = l.extents[i];
    for (int i = 0; i < program_arguments<Program>::scalar_count; ++i) {
      program_.scalars[i] = l.scalars[i];
    }
    const plan_view view = view_of<Program>();
    for (int i = 0; i < view.read_count; ++i) {
      if (!view.reads[i].gathered) continue;
      const operand& o = l.inputs[view.reads[i].slot];
      program_.tables[i] = {indexed_stride(o, view.reads[i].map), o.indexed_extent};
    }
    for (std::size_t i = 0; i < plan_of<Program>.sizes.outputs; ++i) {
      const output_info& out = view.outputs[i];
      if (!graph::writes_result(out.kind)) continue;
      const operand& o = l.outputs[out.slot];
      program_.written[i] = {indexed_stride(o, out.map), o.indexed_extent};
      if (o.accumulates) program_.accumulates |= std::uint64_t{1} << i;
    }
    if constexpr (side_by_side_program<Program>) {
      side_by_side_ = limits.side_by_side > 0 && runs_side_by_side(view, l, limits.side_by_side);
      if (side_by_side_) limits_ = limits_of_parts(limits);
    }
    // 1. how the work is divided (pointers do not matter but for their alignment)
    divide_all(l, std::make_integer_sequence<int, nest_count>{});
    // 2. the workspace
    std::int64_t at = 0;
    for (int r = 0; r < reduction_count; ++r) {
      const reduction_info& info = view.reductions[r];
      program_.kept[r] = host::detail::elements_over(info.kept, l);
      if (!info.stored()) continue;
      merged_at_[r] = take(at, program_.kept[r] * 8);
      if (info.row) continue;
      const std::int64_t slots =
          info.kept == 0 ? choices_[info.nest].blocks : shapes_[info.nest].slots;
      partial_at_[r] = take(at, slots * program_.kept[r] * 8);
      partial_count_[r] = info.kept == 0 ? 0 : slots * program_.kept[r];
    }
    for (int n = 0; n < nest_count; ++n) {
      if (!choices_[n].sorted) continue;
      sorted_at_[n] = take(at, 4 * 8 * shapes_[n].rows);
      shared_at_[n] = take(at, shapes_[n].segments * detail::shared_bytes_of_segment(
                                                         shapes_[n].inner_extent, outputs_of(n)));
    }
    crossings_at_ = take(at, crossing_bytes(view, l));
    workspace_bytes_ = at;
  }

  /// Whether rows are held wherever values are, which then several passes have; of a program
  /// without such, anywhere.
  [[nodiscard]] bool holds() const {
    bool any = false, all = true;
    for_nests([&]<int Nest>(std::integral_constant<int, Nest>) {
      const bool held = choices_[Nest].how == access::held;
      any = any || held;
      all = all && (held || !detail::has_holds<Program, Nest>());
    });
    return is_holding<Program> ? all : any;
  }
  [[nodiscard]] std::int64_t workspace_bytes() const { return workspace_bytes_; }
  [[nodiscard]] const detail::nest_choice& choice(int nest) const { return choices_[nest]; }

  /// Whether all nests run in one launch.
  [[nodiscard]] bool side_by_side() const { return side_by_side_; }

  /// Puts the workspace in place. Afterwards groups may be asked for.
  void place(std::byte* workspace, unsigned* ticket, std::int64_t* bad_index) {
    for (int r = 0; r < reduction_count; ++r) {
      program_.merged[r] = workspace + merged_at_[r];
      program_.partials[r] = workspace + partial_at_[r];
    }
    crossings_ = workspace + crossings_at_;
    program_.ticket = ticket;
    program_.bad_index = bad_index;
    for (int n = 0; n < nest_count; ++n) {
      if (!choices_[n].sorted) continue;
      const std::int64_t rows = shapes_[n].rows;
      auto* const words = reinterpret_cast<std::uint64_t*>(workspace + sorted_at_[n]);
      auto* const places = reinterpret_cast<std::int64_t*>(words + 2 * rows);
      sort_[n] = {words, words + rows, places, places + rows};
      shapes_[n].sorted = {words, places, workspace + shared_at_[n], table_rows(n)};
    }
  }

  /// Has the rows of the scatter of a nest sorted: leave(group) queues the kernel that leaves their
  /// words, sort(buffers, rows, bits) sorts them.
  template <int Nest, class Leave, class Sort>
  void sort_rows(const launch& l, Leave leave, Sort sort) {
    leave(group<Nest>(l));
    nest_shape& shape = shapes_[Nest];
    const auto largest = static_cast<std::uint64_t>(shape.sorted.table_rows);
    sort(sort_[Nest], shape.rows, static_cast<int>(std::bit_width(largest)));
    shape.sorted.words = sort_[Nest].words;
    shape.sorted.places = sort_[Nest].places;
  }

  /// Partial results that the bodies add to.
  template <class F>
  void for_each_fill(const launch& l, F f) {
    for_fills(l, f, std::make_integer_sequence<int, nest_count>{});
  }

  /// The arguments of the launch that begins with nest First.
  template <int First>
  [[nodiscard]] group_arguments<Program, First> group(const launch& l) {
    group_arguments<Program, First> made{};
    made.program = program_;
    fill_nests(l, made,
               std::make_integer_sequence<int, group_arguments<Program, First>::end - First>{});
    return made;
  }
  /// The arguments of the launch of nests that run side by side.
  [[nodiscard]] side_by_side_arguments<Program> parts(const launch& l) {
    side_by_side_arguments<Program> made{};
    made.program = program_;
    fill_nests(l, made, std::make_integer_sequence<int, nest_count>{});
    for_nests([&]<int Nest>(std::integral_constant<int, Nest>) {
      made.first_team[Nest + 1] =
          made.first_team[Nest] + (detail::has_part<Program, Nest> ? choices_[Nest].blocks : 0);
    });
    return made;
  }

 private:
  static std::int64_t take(std::int64_t& at, std::int64_t bytes) {
    const std::int64_t begin = at;
    at += (bytes + 255) / 256 * 256;
    return begin;
  }

  /// A launch with the operands and outputs that cross from nest to nest.
  launch whole(const launch& l) {
    if constexpr (crossing_count == 0) {
      return l;
    } else {
      return with_crossings(view_of<Program>(), l, inputs_, outputs_, crossings_);
    }
  }

  static int outputs_of(int nest) {
    const plan_view view = view_of<Program>();
    const nest_info& info = view.nests[nest];
    int count = 0;
    for (int k = 0; k < info.pass_count; ++k) {
      count += view.passes[info.first_pass + k].output_count;
    }
    return count;
  }
  /// The largest extent that the indices of a nest's scatters are for.
  std::int64_t table_rows(int nest) const {
    const plan_view view = view_of<Program>();
    const int first = view.passes[view.nests[nest].first_pass].first_output;
    std::int64_t most = 0;
    for (int k = first; k < first + outputs_of(nest); ++k) {
      most = std::max(most, program_.written[k].extent);
    }
    return most;
  }

  template <int Nest>
  struct tables {
    using layout = detail::nest_layout<Program, Nest>;
    static constexpr auto reads = detail::find_reads<Program, Nest>();
    static constexpr auto values = detail::find_values<Program, Nest>();
    using kinds =
        exec::detail::table<detail::total_kind, static_cast<std::size_t>(reduction_count)>;
    template <access Access, int... R>
    static constexpr kinds find_kinds(std::integer_sequence<int, R...>) {
      return {{detail::kind_of_total<Program, Nest, Access, R>...}};
    }
    static constexpr kinds looped = find_kinds<access::wide>(detail::reduction_indices<Program>{});
    static constexpr kinds resident =
        find_kinds<access::resident>(detail::reduction_indices<Program>{});
    static constexpr kinds held = find_kinds<access::held>(detail::reduction_indices<Program>{});
  };
  template <int Nest>
  static detail::nest_tables tables_of(const plan_view& view, const launch& l) {
    using layout = detail::nest_layout<Program, Nest>;
    using own = tables<Nest>;
    return {&view,
            &l,
            Nest,
            own::reads.values,
            layout::read_count,
            own::values.values,
            layout::value_count,
            layout::first_output,
            layout::output_count,
            layout::inner,
            layout::inner_in_row,
            detail::owned_scatter<Program, Nest>,
            detail::holds_rows<Program, Nest> ? detail::lane_bytes<Program, Nest>() : 0,
            detail::most_row_reductions<Program, Nest>(),
            held_teams_at_a_time(Program::node_count),
            detail::vector_width<Program, Nest, access::wide>,
            detail::unroll_of<Program, Nest, access::wide, layout::first_pass>,
            own::looped.values,
            own::resident.values,
            own::held.values};
  }

  /// Calls f(tables, state) with the nest's loops collapsed.
  template <int Nest, class F>
  void with_loops(const launch& given, F f) {
    const plan_view view = view_of<Program>();
    const launch l = whole(given);
    const detail::nest_tables t = tables_of<Nest>(view, l);
    host::detail::cursor cursors[detail::nest_layout<Program, Nest>::cursor_count + 1];
    host::detail::nest_state s{};
    s.plan = &view;
    s.l = &l;
    s.info = view.nests + Nest;
    s.nest = Nest;
    s.cursors = cursors;
    detail::place_cursors(t, program_.merged, s);
    f(t, s);
  }

  template <class F>
  static void for_nests(F f) {
    [&f]<int... Nest>(std::integer_sequence<int, Nest...>) {
      (f(std::integral_constant<int, Nest>{}), ...);
    }
    (std::make_integer_sequence<int, nest_count>{});
  }

  template <int... Nest>
  void divide_all(const launch& l, std::integer_sequence<int, Nest...>) {
    (divide_one<Nest>(l), ...);
  }
  template <int Nest>
  void divide_one(const launch& l) {
    with_loops<Nest>(l, [&](const detail::nest_tables& t, const host::detail::nest_state& s) {
      // what finishes a launch is done by the team that is there, element by element, unless what
      // it finishes was merged apart
      const bool finish =
          side_by_side_ ? !detail::has_part<Program, Nest> : detail::is_finish<Program>(Nest);
      constexpr int first = detail::group_begin<Program>(Nest);
      constexpr int partial = detail::partial_finish<Program>(Nest);
      const bool apart = choices_[first].merge_blocks > 0;
      const bool by_one = finish && (!apart || partial >= 0);
      launch_limits limits = limits_;
      if (finish) limits.sorted_rows = 0;
      if (by_one && !side_by_side_) {
        limits.team = choices_[apart ? partial : first].team;
        limits.fixed_team = true;
      }
      const nest_info& info = plan_of<Program>.nests[Nest];
      const int most =
          info.terminal || info.scatters ? limits.max_blocks : limits.max_blocks_of_maps;
      const bool wide = !finish && !limits.strided && detail::can_be_wide(t, s);
      choices_[Nest] = detail::divide(t, s, wide, limits, by_one ? 1 : most, shapes_[Nest]);
      if (finish) choices_[Nest].merge_blocks = shapes_[Nest].merged_apart = 0;
    });
  }

  template <class F, int... Nest>
  void for_fills(const launch& l, F& f, std::integer_sequence<int, Nest...>) {
    (fill_nest<Nest>(l, f), ...);
  }
  template <int Nest, class F>
  void fill_nest(const launch& l, F& f) {
    arguments_of<Program, Nest> a{};
    arguments_for<Nest>(l, a);
    const plan_view view = view_of<Program>();
    using layout = detail::nest_layout<Program, Nest>;
    for (int i = 0; i < layout::output_count; ++i) {
      const output_info& out = view.outputs[layout::first_output + i];
      if (out.kind != graph::item_kind::terminal_reduction || partial_count_[out.slot] == 0)
        continue;
      if (a.fixed[layout::read_count + layout::value_count + i] && !is_memory<Nest>(out.slot))
        continue;
      const reduction_info& r = view.reductions[out.slot];
      f(identity_fill{program_.partials[out.slot], partial_count_[out.slot], r.code, r.type});
    }
  }
  template <int Nest>
  bool is_memory(int reduction) const {
    const access how = choices_[Nest].how;
    const auto& kinds = how == access::resident ? tables<Nest>::resident
                        : how == access::held   ? tables<Nest>::held
                                                : tables<Nest>::looped;
    return kinds.values[reduction] == detail::total_kind::memory;
  }

  template <class Arguments, int... K>
  void fill_nests(const launch& l, Arguments& made, std::integer_sequence<int, K...>) {
    (arguments_for<Arguments::first + K>(l, made.template nest<Arguments::first + K>()), ...);
  }
  template <int Nest>
  void arguments_for(const launch& l, arguments_of<Program, Nest>& a) {
    with_loops<Nest>(l, [&](const detail::nest_tables& t, const host::detail::nest_state& s) {
      a.shape = shapes_[Nest];
      detail::fill_arguments(t, s,
                             {&a.shape, a.loops, a.axes, a.base, a.strides[0], a.lane, a.fixed,
                              detail::nest_layout<Program, Nest>::outer_bound});
    });
  }

  launch_limits limits_;
  bool side_by_side_ = false;
  program_arguments<Program> program_{};
  nest_shape shapes_[nest_count];
  detail::nest_choice choices_[nest_count];
  std::int64_t merged_at_[reduction_count + 1] = {};
  std::int64_t partial_at_[reduction_count + 1] = {};
  std::int64_t partial_count_[reduction_count + 1] = {};
  std::int64_t sorted_at_[nest_count] = {};
  std::int64_t shared_at_[nest_count] = {};
  sort_buffers sort_[nest_count];
  std::int64_t crossings_at_ = 0;
  std::int64_t workspace_bytes_ = 0;
  std::byte* crossings_ = nullptr;  ///< where values cross from nest to nest
  operand inputs_[input_count];
  operand outputs_[output_count];
};

}  // namespace heddle::inline v0::exec::cuda
