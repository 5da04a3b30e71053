// SPDX-License-Identifier: BSD-3-Clause
// How the work of a nest is divided on a CUDA device: loops are collapsed, a body is chosen by the
// layout of the operands, rows and lanes are given to teams. Runs on the host.
#pragma once

#include <algorithm>
#include <bit>

#include <heddle/exec/cuda/group.hpp>
#include <heddle/exec/host/nest.hpp>

namespace heddle::inline v0::exec::cuda::detail {

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
  int held_bytes;              ///< of a row's lane; 0: rows are not held
  int row_reductions;          ///< of a pass, at most
  int teams;                   ///< that a multiprocessor has room for
  int vector, unroll;          ///< of the wide body
  const total_kind* looped;    ///< per reduction, of the strided and the wide body
  const total_kind* resident;  ///< of the resident body
  const total_kind* held;      ///< of the held body
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
    if (r.held) continue;  // in the team's memory
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
      case graph::item_kind::hold:
        break;  // in registers, and in the team's memory
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
    // partial results in memory are dense: with such rows, vectors of them are not aligned
    if (out != nullptr && out->kind == graph::item_kind::terminal_reduction && c.lane &&
        t.looped[out->slot] == total_kind::memory && s.inner_extent % t.vector != 0) {
      return false;
    }
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
    const bool memory = kinds[r] == total_kind::memory;
    if (!memory && kinds[r] != total_kind::lanes && kinds[r] != total_kind::held) continue;
    (memory ? kept.memory : kept.lanes) = true;
    const std::int64_t n = host::detail::elements_over(t.plan->reductions[r].kept, *t.l);
    if (n > kept.elements) kept.elements = n;
  }
  return kept;
}

/// Segments whose partial results have room.
inline std::int64_t segments_that_fit(const launch_limits& limits, const kept_totals& kept) {
  const std::int64_t elements = kept.elements > 0 ? kept.elements : 1;
  return std::max(limits.max_partial_bytes / (8 * elements), std::int64_t{1});
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

/// Rows that teams hold: how many share a row, and how many rows are under way. False: a row does
/// not fit, or holding it is not worth it.
inline bool hold_rows(const nest_tables& t, const launch_limits& limits, int most_blocks,
                      nest_shape& shape, nest_choice& made) {
  if (t.held_bytes == 0) return false;
  const int given_team = made.team;
  if (!limits.fixed_team) made.team = held_team;
  const auto lanes_of = [&](int members) {
    return held_lanes(ceil_divide(shape.inner_extent, members));
  };
  const auto bytes_of = [&](int members) {
    return exchange_bytes(t.row_reductions, made.team, members) + t.held_bytes * lanes_of(members);
  };
  const std::int64_t team_lanes = std::int64_t{made.team} * t.vector;
  const auto can_double = [&](int members) {
    return 2 * members <= limits.max_members && lanes_of(2 * members) >= team_lanes &&
           2 * members <= most_blocks;
  };
  int members = 1;
  while (can_double(members) && (bytes_of(members) > limits.wanted_row_memory ||
                                 shape.rows * members < limits.multiprocessors)) {
    members *= 2;
  }
  // a device may have no room for so many
  int at_a_time = 0;
  while (members > 1 && limits.teams_at_a_time != nullptr) {
    at_a_time =
        bytes_of(members) > limits.row_memory
            ? 0
            : limits.teams_at_a_time(limits.context, t.nest, made.team, bytes_of(members), members);
    if (at_a_time > 0) break;
    members /= 2;
  }
  const std::int64_t bytes = bytes_of(members);
  if (bytes > limits.row_memory) {
    made.team = given_team;
    return false;
  }
  std::int64_t teams = std::int64_t{limits.multiprocessors} *
                       std::clamp(limits.shared_memory / (bytes + shared_reserved), std::int64_t{1},
                                  std::int64_t{t.teams});
  if (at_a_time > 0) teams = at_a_time;
  made.how = access::held;
  made.row_bytes = bytes;
  shape.members = members;
  shape.exchange = exchange_bytes(t.row_reductions, made.team, members);
  shape.width = made.team;
  shape.groups = 1;
  shape.chunk = lanes_of(members);
  const std::int64_t most = std::min<std::int64_t>(teams, most_blocks) / members;
  shape.segments = std::clamp(most, std::int64_t{1}, std::max(shape.rows, std::int64_t{1}));
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
    if (made.how == access::wide && shape.row_steps == 1 && shape.groups == 1) {
      hold_rows(t, limits, most_blocks, shape, made);
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
  const bool held = made.how == access::held;
  if (made.how == access::resident) kept = find_kept(t, t.resident);
  if (held) kept = find_kept(t, t.held);
  shape.chunks = shape.chunk == 0 ? 0 : ceil_divide(shape.inner_extent, shape.chunk);
  if (shape.chunks == 0) shape.chunks = shape.inner_extent == 0 ? 0 : 1;
  if (held) {
    shape.chunks = 1;
    shape.segments = std::min(shape.segments, segments_that_fit(limits, kept));
  } else {
    shape.segments = shape.rows;
  }
  if (held) {
    // as many as are under way
  } else if (made.sorted) {
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
    const std::int64_t most = std::clamp(wanted, std::int64_t{1}, segments_that_fit(limits, kept));
    if (shape.segments > most) shape.segments = most;
  }
  shape.slot_of_unit = kept.memory;
  shape.slots = shape.slot_of_unit ? shape.segments * shape.chunks : shape.segments;
  shape.by_segments = divisor(shape.segments);
  shape.by_chunks = divisor(shape.chunks);
  const std::int64_t units = shape.segments * shape.chunks;
  const std::int64_t blocks = ceil_divide(units, shape.groups) * shape.members;
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

}  // namespace heddle::inline v0::exec::cuda::detail
