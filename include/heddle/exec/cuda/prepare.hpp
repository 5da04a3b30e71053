// SPDX-License-Identifier: BSD-3-Clause
// From a launch to the arguments of its bodies: loops are collapsed, a body is chosen by the layout
// of the operands, and the work is divided. Runs on the host.
#pragma once

#include <algorithm>
#include <bit>

#include <heddle/exec/cuda/group.hpp>
#include <heddle/exec/host/nest.hpp>

namespace heddle::inline v0::exec::cuda {

namespace detail {

/// A nest as prepare sees it, without its program's type.
struct nest_tables {
  const plan_view* plan;
  const launch* l;
  int nest;
  const std::uint16_t* reads;  ///< plan reads, by place
  int read_count;
  const std::uint16_t* values;  ///< reductions, by place
  int value_count;
  int first_output, output_count;
  int inner;
  bool inner_in_row;
  bool owned_scatter;
  int reread_bytes;            ///< of a row's lane
  int vector, unroll;          ///< of the wide body
  const total_kind* looped;    ///< per reduction, of the strided and the wide body
  const total_kind* resident;  ///< of the resident body
};

template <class Program, int Nest>
using nest_places =
    exec::detail::table<std::uint16_t,
                        static_cast<std::size_t>(nest_layout<Program, Nest>::cursor_count)>;
template <class Program, int Nest>
consteval nest_places<Program, Nest> find_reads() {
  nest_places<Program, Nest> t;
  for (int i = 0; i < nest_layout<Program, Nest>::read_count; ++i) {
    t.values[i] = static_cast<std::uint16_t>(nest_layout<Program, Nest>::read_at(i));
  }
  return t;
}
template <class Program, int Nest>
consteval nest_places<Program, Nest> find_values() {
  using layout = nest_layout<Program, Nest>;
  nest_places<Program, Nest> t;
  for (int i = 0; i < layout::value_count; ++i) {
    t.values[i] = static_cast<std::uint16_t>(layout::value_at(layout::read_count + i));
  }
  return t;
}

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

struct nest_choice {
  access how = access::strided;
  int team = 1;
  int blocks = 1;
  std::int64_t row_bytes = 0;  ///< of shared memory
  bool sorted = false;         ///< a scatter, whose rows are to be sorted
  int merge_blocks = 0;        ///< of the launch that merges partial results; 0: there is none
};

constexpr std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr int power_of_two_from(std::int64_t n) {
  int p = 1;
  while (p < n) p *= 2;
  return p;
}
constexpr int power_of_two_below(std::int64_t n) {
  int p = 1;
  while (2 * p <= n) p *= 2;
  return p;
}

/// Fills `cursors` (by place) and collapses the loops.
inline void place_cursors(const nest_tables& t, std::byte* const* merged,
                          host::detail::nest_state& s) {
  using host::detail::cursor;
  const plan_view& p = *t.plan;
  cursor* next = s.cursors;
  const auto moves = [&t](graph::axis_mask mask) {
    return t.inner >= 0 && (mask >> t.inner & 1) != 0;
  };
  for (int i = 0; i < t.read_count; ++i, ++next) {
    const read_info& r = p.reads[t.reads[i]];
    next->size = static_cast<std::uint8_t>(size_of(r.type));
    host::detail::place_operand(*next, t.l->inputs[r.slot], r.map);
    next->direct = r.gathered;
  }
  for (int i = 0; i < t.value_count; ++i, ++next) {
    const reduction_info& r = p.reductions[t.values[i]];
    next->size = static_cast<std::uint8_t>(size_of(r.type));
    host::detail::place_buffer(*next, merged[t.values[i]], r.kept, *t.l);
  }
  for (int i = 0; i < t.output_count; ++i, ++next) {
    const output_info& out = p.outputs[t.first_output + i];
    next->size = static_cast<std::uint8_t>(size_of(out.type));
    next->type = out.type;
    switch (out.kind) {
      case graph::item_kind::store:
      case graph::item_kind::scatter:
        host::detail::place_operand(*next, t.l->outputs[out.slot], out.map);
        next->direct = out.kind == graph::item_kind::scatter;
        break;
      case graph::item_kind::row_reduction:
        break;  // in registers
      default:
        host::detail::place_buffer(*next, merged[out.slot], p.reductions[out.slot].kept, *t.l);
    }
  }
  s.cursor_count = static_cast<int>(next - s.cursors);
  for (int i = 0; i < s.cursor_count; ++i) s.cursors[i].lane = moves(s.cursors[i].has);
  host::detail::collapse(s);
}

/// Whether vectors of `vector` lanes can be read and written: contiguous, aligned.
inline bool can_be_wide(const nest_tables& t, const host::detail::nest_state& s) {
  if (t.inner < 0 || t.vector < 2) return false;
  for (int i = 0; i < s.cursor_count; ++i) {
    const host::detail::cursor& c = s.cursors[i];
    const int k = i - t.read_count - t.value_count;
    if (i >= t.read_count && k < 0) continue;  // reductions' values: element by element
    const output_info* const out = k < 0 ? nullptr : t.plan->outputs + t.first_output + k;
    const bool added = t.owned_scatter && out != nullptr;
    if (out != nullptr && out->kind != graph::item_kind::store && !added) continue;
    if (added && !c.lane) return false;
    if (!c.lane || (c.direct && !added)) continue;
    if (c.strides[s.inner] != c.size) return false;
    const std::int64_t bytes = t.vector * c.size < 16 ? t.vector * c.size : 16;
    if (reinterpret_cast<std::uintptr_t>(c.base) % static_cast<std::uintptr_t>(bytes) != 0) {
      return false;
    }
    for (int o = 0; o < s.outer_count; ++o) {
      if (c.strides[s.outer[o].axis] % bytes != 0) return false;
    }
    if (!added) continue;
    const std::int64_t row = indexed_stride(t.l->outputs[out->slot], out->map);
    if (row * static_cast<std::int64_t>(c.size) % bytes != 0) return false;
  }
  return true;
}

/// The terminal reductions of a nest that keep some axes.
struct kept_totals {
  bool lanes = false;
  bool memory = false;
  std::int64_t elements = 1;  ///< of the largest
};
inline kept_totals find_kept(const nest_tables& t, const total_kind* kinds) {
  kept_totals kept;
  for (int r = 0; r < t.plan->reduction_count; ++r) {
    if (kinds[r] != total_kind::lanes && kinds[r] != total_kind::memory) continue;
    (kinds[r] == total_kind::lanes ? kept.lanes : kept.memory) = true;
    const std::int64_t n = host::detail::elements_over(t.plan->reductions[r].kept, *t.l);
    if (n > kept.elements) kept.elements = n;
  }
  return kept;
}

/// What a segment of a sorted scatter may leave for others.
inline std::int64_t shared_bytes_of_segment(std::int64_t inner_extent, int outputs) {
  return 2 * 8 * outputs * shared_lanes(inner_extent);
}

/// Whether a scatter's rows may be sorted: each goes to a row of the table that its index alone
/// names.
inline bool can_be_sorted(const nest_tables& t, const host::detail::nest_state& s) {
  for (int i = t.read_count + t.value_count; i < s.cursor_count; ++i) {
    for (int k = 0; k < s.outer_count; ++k) {
      if (s.cursors[i].strides[s.outer[k].axis] != 0) return false;
    }
  }
  return true;
}

/// Divides the work of a nest.
inline nest_choice divide(const nest_tables& t, const host::detail::nest_state& s, bool wide,
                          const launch_limits& limits, int most_blocks, nest_shape& shape) {
  const plan_view& p = *t.plan;
  shape = {};
  shape.inner_extent = s.inner < 0 ? 1 : s.inner_extent;
  for (int k = 0; k < s.outer_count; ++k) {
    (s.outer[k].row ? shape.row_steps : shape.rows) *= s.outer[k].extent;
    if (s.outer[k].row) shape.row_loops |= 1u << k;
  }
  shape.outer_count = s.outer_count;
  bool scatters = false;
  bool scatter_lanes = true;
  for (int i = 0; i < t.output_count; ++i) {
    if (p.outputs[t.first_output + i].kind != graph::item_kind::scatter) continue;
    scatters = true;
    scatter_lanes = scatter_lanes && s.cursors[t.read_count + t.value_count + i].lane;
  }
  nest_choice made;
  made.how = wide ? access::wide : access::strided;
  made.team = limits.team;
  const std::int64_t vector = wide ? t.vector : 1;
  const std::int64_t unroll = wide ? t.unroll : 1;
  const bool rows = p.nests[t.nest].row != 0;
  kept_totals kept = find_kept(t, t.looped);
  const bool owned = t.owned_scatter && scatter_lanes && shape.rows > 1;
  if (owned) {
    const std::int64_t threads = ceil_divide(shape.inner_extent, vector);
    const int largest = power_of_two_below(made.team < warp_width ? made.team : warp_width);
    shape.width = threads <= largest ? power_of_two_from(threads) : largest;
    shape.groups = made.team / shape.width;
    made.sorted = limits.sorted_rows > 0 && shape.rows >= limits.sorted_rows && can_be_sorted(t, s);
    shape.chunk = made.sorted ? shape.width * vector : shape.inner_extent;
  } else if (scatters && !scatter_lanes) {
    shape.width = 1;
    shape.chunk = shape.inner_extent;
    shape.groups = 1;
  } else if (t.inner_in_row) {
    const std::int64_t threads = ceil_divide(shape.inner_extent, vector);
    if (wide && shape.row_steps == 1 && threads <= limits.max_team) {
      const std::int64_t whole = ceil_divide(threads, warp_width) * warp_width;
      const int largest = power_of_two_below(made.team < warp_width ? made.team : warp_width);
      if (threads <= largest) {
        made.how = access::resident;
        shape.width = power_of_two_from(threads);
      } else if (!limits.fixed_team || threads <= made.team) {
        made.how = access::resident;
        if (!limits.fixed_team) made.team = static_cast<int>(whole);
        shape.width = made.team;
      }
    }
    if (made.how != access::resident) {
      const int largest = power_of_two_below(made.team < warp_width ? made.team : warp_width);
      shape.width = threads <= largest ? power_of_two_from(threads) : made.team;
    }
    shape.groups = made.team / shape.width;
    shape.chunk = shape.inner_extent;
    const std::int64_t bytes = t.reread_bytes * held_lanes(shape.inner_extent);
    if (made.how == access::wide && shape.row_steps == 1 && shape.groups == 1 && bytes > 0 &&
        bytes <= limits.row_memory) {
      shape.held = true;
      made.row_bytes = bytes;
    }
  } else {
    const std::int64_t threads = ceil_divide(shape.inner_extent, vector * unroll);
    const int largest =
        power_of_two_below(kept.memory && made.team > warp_width ? warp_width : made.team);
    shape.width = threads <= largest ? power_of_two_from(threads) : made.team;
    shape.groups = made.team / shape.width;
    shape.chunk = shape.width * vector * unroll;
    if (kept.memory && !rows) shape.chunk = shape.inner_extent;  // folded over all lanes
  }
  if (made.how == access::resident) kept = find_kept(t, t.resident);
  shape.chunks = shape.chunk == 0 ? 0 : ceil_divide(shape.inner_extent, shape.chunk);
  if (shape.chunks == 0) shape.chunks = shape.inner_extent == 0 ? 0 : 1;
  shape.segments = shape.rows;
  if (made.sorted) {
    const std::int64_t fit =
        limits.max_partial_bytes / shared_bytes_of_segment(shape.inner_extent, t.output_count);
    shape.segments = std::clamp(fit, std::int64_t{1}, ceil_divide(shape.rows, sorted_segment_rows));
  } else if (owned) {
    shape.segments = shape.rows < scatter_owners ? shape.rows : scatter_owners;
  } else if (scatters) {
    shape.segments = shape.rows > 0 ? 1 : 0;
  } else if (kept.lanes || kept.memory) {
    const std::int64_t wanted =
        ceil_divide(std::int64_t{most_blocks} * shape.groups, shape.chunks > 0 ? shape.chunks : 1);
    const std::int64_t fit =
        limits.max_partial_bytes / (8 * (kept.elements > 0 ? kept.elements : 1));
    std::int64_t most = wanted < fit ? wanted : fit;
    if (most < 1) most = 1;
    if (shape.segments > most) shape.segments = most;
  }
  shape.slot_of_unit = kept.memory;
  shape.slots = shape.slot_of_unit ? shape.segments * shape.chunks : shape.segments;
  shape.by_segments = divisor(shape.segments);
  shape.by_chunks = divisor(shape.chunks);
  const std::int64_t units = shape.segments * shape.chunks;
  const std::int64_t blocks = ceil_divide(units, shape.groups);
  made.blocks = static_cast<int>(blocks < 1 ? 1 : blocks > most_blocks ? most_blocks : blocks);
  if ((kept.lanes || kept.memory) && most_blocks > 1 && made.team >= warp_width &&
      shape.slots > 1 && shape.slots * kept.elements >= limits.merged_apart) {
    shape.merged_apart = made.blocks;
    made.merge_blocks =
        static_cast<int>(std::clamp(ceil_divide(kept.elements, warp_width), std::int64_t{1},
                                    static_cast<std::int64_t>(most_blocks)));
  }
  return made;
}

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

 public:
  prepared(const launch& l, const launch_limits& limits) : limits_(limits) {
    static_assert(plan_of<Program>.sizes.outputs <= 64,
                  "heddle: the statement has more than 64 results for a CUDA device: split it");
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
    workspace_bytes_ = at;
  }

  [[nodiscard]] std::int64_t workspace_bytes() const { return workspace_bytes_; }
  [[nodiscard]] const detail::nest_choice& choice(int nest) const { return choices_[nest]; }

  /// Puts the workspace in place. Afterwards groups may be asked for.
  void place(std::byte* workspace, unsigned* ticket, std::int64_t* bad_index) {
    for (int r = 0; r < reduction_count; ++r) {
      program_.merged[r] = workspace + merged_at_[r];
      program_.partials[r] = workspace + partial_at_[r];
    }
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
    fill_group<First>(
        l, made, std::make_integer_sequence<int, group_arguments<Program, First>::end - First>{});
    return made;
  }

 private:
  static std::int64_t take(std::int64_t& at, std::int64_t bytes) {
    const std::int64_t begin = at;
    at += (bytes + 255) / 256 * 256;
    return begin;
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
            detail::reread_bytes<Program, Nest>(),
            detail::vector_width<Program, Nest, access::wide>,
            detail::unroll_of<Program, Nest, access::wide, layout::first_pass>,
            own::looped.values,
            own::resident.values};
  }

  /// Calls f(tables, state) with the nest's loops collapsed.
  template <int Nest, class F>
  void with_loops(const launch& l, F f) {
    const plan_view view = view_of<Program>();
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

  template <int... Nest>
  void divide_all(const launch& l, std::integer_sequence<int, Nest...>) {
    (divide_one<Nest>(l), ...);
  }
  template <int Nest>
  void divide_one(const launch& l) {
    with_loops<Nest>(l, [&](const detail::nest_tables& t, const host::detail::nest_state& s) {
      // what finishes a launch is done by the team that is there, element by element
      const bool finish = detail::is_finish<Program>(Nest);
      launch_limits limits = limits_;
      if (finish) {
        const detail::nest_choice& before = choices_[Nest - 1];
        limits.team = before.merge_blocks > 0 ? merge_team(before.team) : before.team;
        limits.fixed_team = true;
      }
      const nest_info& info = plan_of<Program>.nests[Nest];
      const int most =
          info.terminal || info.scatters ? limits.max_blocks : limits.max_blocks_of_maps;
      const bool wide = !finish && detail::can_be_wide(t, s);
      choices_[Nest] = detail::divide(t, s, wide, limits, finish ? 1 : most, shapes_[Nest]);
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
    const auto& kinds =
        choices_[Nest].how == access::resident ? tables<Nest>::resident : tables<Nest>::looped;
    return kinds.values[reduction] == detail::total_kind::memory;
  }

  template <int First, int... K>
  void fill_group(const launch& l, group_arguments<Program, First>& made,
                  std::integer_sequence<int, K...>) {
    (arguments_for<First + K>(l, made.template nest<First + K>()), ...);
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
  program_arguments<Program> program_{};
  nest_shape shapes_[nest_count];
  detail::nest_choice choices_[nest_count];
  std::int64_t merged_at_[reduction_count + 1] = {};
  std::int64_t partial_at_[reduction_count + 1] = {};
  std::int64_t partial_count_[reduction_count + 1] = {};
  std::int64_t sorted_at_[nest_count] = {};
  std::int64_t shared_at_[nest_count] = {};
  sort_buffers sort_[nest_count];
  std::int64_t workspace_bytes_ = 0;
};

}  // namespace heddle::inline v0::exec::cuda
