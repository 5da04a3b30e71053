// SPDX-License-Identifier: BSD-3-Clause
// The short way through: element-wise programs over operands that all lie contiguous with one shape
// are one run of lanes, and need none of the loop nest's bookkeeping. Where some operands lack the
// outer axes, as a bias does, they are one run for each row.
#pragma once

#include <numeric>

#include <heddle/exec/bind.hpp>
#include <heddle/exec/host/nontemporal.hpp>
#include <heddle/exec/host/run.hpp>

namespace heddle::inline v0::exec::host {

/// Lanes that one thread runs by itself.
inline constexpr std::int64_t most_few = 2 * detail::thread_grain;

namespace detail {

inline constexpr int max_flat_reads = 16;
inline constexpr int max_flat_outputs = 16;
inline constexpr int max_flat_operands = max_flat_reads + max_flat_outputs;

/// One condition, not a series of returns: for some programs they are constants, and nvcc warns of
/// what stands behind a return.
template <class Plan>
constexpr bool is_flat_plan(const Plan& p, int node_count) {
  const auto domain = p.nests[0].domain;
  bool flat = p.sizes.nests == 1 && p.sizes.passes == 1 && p.sizes.reductions == 0;
  flat = flat && domain != 0 && p.nests[0].barrier == 0 && !p.nests[0].scatters;
  flat = flat && p.sizes.reads <= max_flat_reads && p.sizes.outputs <= max_flat_outputs;
  // what lacks the innermost axis is one element for all lanes of a kernel's run
  const int inner = p.passes[0].inner;
  for (int i = 0; flat && i < static_cast<int>(p.sizes.reads); ++i) {
    const graph::axis_mask mask = graph::mask_of(p.reads[i].map);
    flat = mask == 0 || (inner >= 0 && (mask >> inner & 1) != 0);
  }
  for (int i = 0; flat && i < static_cast<int>(p.sizes.outputs); ++i) {
    flat = graph::mask_of(p.outputs[i].map) == domain;
  }
  // `count` and coordinates want the real extents
  for (int i = 0; flat && i < node_count; ++i) {
    const op code = p.graph_nodes[static_cast<std::size_t>(i)].code;
    flat = code != op::iota && !is_random(code) && code != op::gather;
  }
  return flat;
}
template <class Program>
consteval bool is_flat() {
  return is_flat_plan(plan_of<Program>, Program::node_count);
}

/// Positions in increasing order lie on increasing axes: else the runs differ.
constexpr bool is_ordered(graph::axis_map map) {
  int last = -1;
  for (int i = 0; i < graph::max_axes; ++i) {
    const unsigned axis = graph::map_axis(map, i);
    if (axis >= graph::max_axes) continue;
    if (static_cast<int>(axis) < last) return false;
    last = static_cast<int>(axis);
  }
  return true;
}

template <class Program>
consteval bool reads_in_order() {
  const auto& p = plan_of<Program>;
  bool ordered = true;
  for (int i = 0; i < static_cast<int>(p.sizes.reads); ++i)
    ordered = ordered && is_ordered(p.reads[i].map);
  for (int i = 0; i < static_cast<int>(p.sizes.outputs); ++i)
    ordered = ordered && is_ordered(p.outputs[i].map);
  return ordered;
}

/// An operand or output of a flat program: the axes its positions lie on, in order.
struct flat_operand {
  std::uint16_t slot = 0;
  std::uint8_t size = 0;  ///< bytes per lane; 0: one element for all
  dtype type = dtype::f32;
  std::uint8_t rank = 0;
  std::uint16_t buffer = 0;      ///< where its last partial block is staged, in flat_buffers
  graph::axis_mask missing = 0;  ///< axes of the iteration space that it repeats along
  std::uint8_t positions[graph::max_axes] = {};
  std::uint8_t axes[graph::max_axes] = {};
};

/// Where the last partial block of each operand is staged. What earlier calls left in the lanes
/// that do not count is computed with and dropped; integers and floating numbers are apart, so that
/// it is no subnormal number, with which processors are slow.
struct flat_buffers {
  static constexpr int block_bytes = lane_width * 8;
  alignas(64) std::byte lanes[2 * max_flat_operands * block_bytes];

  static constexpr int place_of(int operand, dtype type) {
    return (operand + (is_floating(type) ? max_flat_operands : 0)) * block_bytes;
  }
};
inline constinit thread_local flat_buffers this_thread_flat_buffers{};

struct flat_plan {
  int reads = 0;
  int outputs = 0;
  int axis_count = 0;
  std::uint8_t axes[graph::max_axes] = {};  ///< of the iteration space, outermost first
  flat_operand operands[max_flat_operands] = {};
};

constexpr flat_operand make_flat_operand(std::uint16_t slot, graph::axis_map map, dtype type,
                                         graph::axis_mask domain) {
  flat_operand o;
  o.missing = static_cast<graph::axis_mask>(domain & ~graph::mask_of(map));
  o.slot = slot;
  o.type = type;
  for (int i = 0; i < graph::max_axes; ++i) {
    const unsigned axis = graph::map_axis(map, i);
    if (axis >= graph::max_axes) continue;
    o.positions[o.rank] = static_cast<std::uint8_t>(i);
    o.axes[o.rank++] = static_cast<std::uint8_t>(axis);
  }
  o.size = o.rank == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(size_of(type));
  return o;
}

template <class Program>
consteval flat_plan make_flat_plan() {
  const auto& p = plan_of<Program>;
  flat_plan f;
  const pass_info pass = p.passes[0];
  const graph::axis_mask domain = p.nests[0].domain;
  for (int i = 0; i < static_cast<int>(p.sizes.reads); ++i) {
    const read_info& r = p.reads[p.pass_reads[pass.first_read + i]];
    f.operands[f.reads++] = make_flat_operand(r.slot, r.map, r.type, domain);
  }
  for (int i = 0; i < static_cast<int>(p.sizes.outputs); ++i) {
    const output_info& out = p.outputs[i];
    f.operands[f.reads + f.outputs++] = make_flat_operand(out.slot, out.map, out.type, domain);
    f.operands[f.reads + f.outputs - 1].size = static_cast<std::uint8_t>(size_of(out.type));
  }
  for (int i = 0; i < f.reads + f.outputs; ++i) {
    flat_operand& o = f.operands[i];
    o.buffer = static_cast<std::uint16_t>(flat_buffers::place_of(i, o.type));
  }
  for (int axis = 0; axis < graph::max_axes; ++axis) {
    if ((p.nests[0].domain >> axis & 1) != 0) {
      f.axes[f.axis_count++] = static_cast<std::uint8_t>(axis);
    }
  }
  return f;
}
template <class Program>
inline constexpr flat_plan flat_plan_of = make_flat_plan<Program>();

/// The first and the last Bytes of a range no longer than both.
template <std::size_t Bytes>
HEDDLE_INLINE void copy_ends(std::byte* to, const std::byte* from, std::int64_t bytes) {
  const std::int64_t last = bytes - static_cast<std::int64_t>(Bytes);
  __builtin_memcpy(to, from, Bytes);
  __builtin_memcpy(to + last, from + last, Bytes);
}
/// Up to a block's bytes, between buffers; a call of the C library's would cost as much as the
/// kernel.
inline void copy_short(std::byte* to, const std::byte* from, std::int64_t bytes) {
  while (bytes > 64) {
    __builtin_memcpy(to, from, 32);
    to += 32;
    from += 32;
    bytes -= 32;
  }
  if (bytes >= 32) return copy_ends<32>(to, from, bytes);
  if (bytes >= 16) return copy_ends<16>(to, from, bytes);
  if (bytes >= 8) return copy_ends<8>(to, from, bytes);
  if (bytes >= 4) return copy_ends<4>(to, from, bytes);
  for (std::int64_t i = 0; i < bytes; ++i) to[i] = from[i];
}

/// Outputs that a kernel writes to a buffer first, by their place in the plan.
struct flat_staging {
  std::uint32_t sums = 0;         ///< those that are added to what is there
  std::uint32_t nontemporal = 0;  ///< those that go past the caches

  bool any() const { return (sums | nontemporal) != 0; }
  bool holds(int output) const { return ((sums | nontemporal) >> output & 1u) != 0; }
};

/// Moves staged lanes to where they belong: all outputs of the last block, else those staged.
inline void put_flat_lanes(const flat_plan& plan, flat_staging staging, std::byte* const* pointers,
                           std::byte* const* staged, std::int64_t first, std::int64_t lanes,
                           bool all) {
  for (int k = 0; k < plan.outputs; ++k) {
    const flat_operand& f = plan.operands[plan.reads + k];
    std::byte* const to = pointers[plan.reads + k] + first * f.size;
    const std::byte* const from = staged[plan.reads + k];
    if ((staging.sums >> k & 1u) != 0) {
      exec::detail::add_elements(to, 1, from, lanes, f.type);
    } else if (all) {
      copy_short(to, from, lanes * f.size);
    } else if (staging.holds(k)) {
      copy_nontemporal(to, from, lanes * f.size);
    }
  }
}

/// Runs whole blocks from lane `first` on where outputs are staged.
inline void run_flat_staged(kernel call, kernel_frame& f, const flat_plan& plan,
                            flat_staging staging, std::byte* const* pointers, std::byte** at,
                            std::int64_t first) {
  constexpr std::int64_t most = 8;  // blocks of lanes that are staged at a time
  alignas(64) std::byte buffers[max_flat_outputs][most * lane_width * 8];
  const std::int64_t blocks = f.blocks;
  for (std::int64_t done = 0; done < blocks; done += most) {
    f.blocks = blocks - done < most ? blocks - done : most;
    const std::int64_t lane = first + done * lane_width;
    for (int i = 0; i < plan.reads + plan.outputs; ++i) {
      const bool buffered = i >= plan.reads && staging.holds(i - plan.reads);
      at[i] = buffered ? buffers[i - plan.reads] : pointers[i] + lane * plan.operands[i].size;
    }
    call(f);
    put_flat_lanes(plan, staging, pointers, at, lane, f.blocks * lane_width, false);
  }
  if (staging.nontemporal != 0) end_nontemporal();
}

/// What a flat program reads beside its operands.
struct flat_arguments {
  const std::int64_t* extents;
  const scalar_bits* scalars;
};

/// Runs lanes [first, last) of one kernel; the last partial block goes through buffers.
inline void run_flat_lanes(kernel call, flat_arguments l, const flat_plan& plan,
                           std::byte* const* pointers, std::int64_t first, std::int64_t last,
                           flat_staging staging) {
  static constexpr std::int64_t origin[graph::max_axes] = {};
  std::byte* at[max_flat_operands];
  std::int64_t bad = 0;
  kernel_frame f;
  f.extents = l.extents;
  f.coordinates = origin;
  f.scalars = l.scalars;
  f.reads = at;
  f.outputs = at + plan.reads;
  f.bad_index = &bad;
  f.blocks = (last - first) / lane_width;
  const int count = plan.reads + plan.outputs;
  if (f.blocks > 0 && staging.any()) {
    run_flat_staged(call, f, plan, staging, pointers, at, first);
  } else if (f.blocks > 0) {
    for (int i = 0; i < count; ++i) at[i] = pointers[i] + first * plan.operands[i].size;
    call(f);
  }
  const std::int64_t rest = (last - first) % lane_width;
  if (rest == 0) return;
  const std::int64_t done = last - rest;
  std::byte* const buffers = this_thread_flat_buffers.lanes;
  for (int i = 0; i < count; ++i) {
    const flat_operand& o = plan.operands[i];
    at[i] = o.size == 0 ? pointers[i] : buffers + o.buffer;
    if (i >= plan.reads || o.size == 0) continue;
    copy_short(at[i], pointers[i] + done * o.size, rest * o.size);
  }
  f.blocks = 1;
  f.valid = static_cast<int>(rest);
  call(f);
  put_flat_lanes(plan, staging, pointers, at, done, rest, true);
}

/// The outputs that go past the caches. Not what is read in the same place: its lines are in the
/// caches already.
inline std::uint32_t nontemporal_outputs(const flat_plan& plan, std::byte* const* pointers,
                                         std::int64_t count) {
  std::uint32_t found = 0;
  for (int k = 0; k < plan.outputs; ++k) {
    std::byte* const to = pointers[plan.reads + k];
    bool chosen = is_written_past_caches(count * plan.operands[plan.reads + k].size);
    for (int i = 0; i < plan.reads; ++i) chosen = chosen && pointers[i] != to;
    if (chosen) found |= 1u << k;
  }
  return found;
}

/// Short rows are run several at a time, and what starts anew with each row is repeated for as
/// many: all of them, or as many as fill whole blocks of lanes.
constexpr std::int64_t rows_at_a_time(std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t most = 2048;  // lanes
  if (columns >= 512) return 1;
  if (rows * columns <= most) return rows;
  const std::int64_t period = lane_width / std::gcd(std::int64_t{lane_width}, columns);
  return period * columns > most ? 1 : most / (period * columns) * period;
}

/// Runs a flat program row by row: some operands lack the axes in `outer`, and start anew with each
/// row. Those must be the first axes, and each operand have all of them or none.
template <class Configuration>
bool run_flat_rows(const flat_plan& plan, kernel call, const launch& l, std::byte* const* pointers,
                   flat_staging staging, unsigned outer) {
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  for (int k = 0; k < plan.axis_count; ++k) {
    const int axis = plan.axes[k];
    const std::int64_t n = l.extents[axis];
    if ((outer >> axis & 1u) != 0) {
      if (columns != 1) return false;
      rows *= n;
    } else {
      if (n != 1 && (outer >> axis) != 0) return false;
      columns *= n;
    }
  }
  if (rows * columns == 0) return true;
  const int count = plan.reads + plan.outputs;
  const std::int64_t together = rows_at_a_time(rows, columns);
  std::byte* starts[max_flat_operands];
  std::int64_t steps[max_flat_operands];  // bytes from row to row
  std::int64_t repeated = 0;              // bytes of a row that starts anew
  for (int i = 0; i < count; ++i) {
    const flat_operand& f = plan.operands[i];
    const unsigned missing = f.missing & outer;
    if (missing != 0 && missing != outer) return false;
    starts[i] = pointers[i];
    steps[i] = missing == outer ? 0 : columns * f.size;
    if (steps[i] == 0) repeated += (columns * f.size + 63) / 64 * 64;
  }
  const scratch memory(static_cast<std::size_t>(together > 1 ? repeated * together : 0));
  std::byte* next = memory.data();
  for (int i = 0; together > 1 && i < plan.reads; ++i) {
    const std::int64_t bytes = columns * plan.operands[i].size;
    if (steps[i] != 0 || bytes == 0) continue;
    starts[i] = next;
    for (std::int64_t row = 0; row < together; ++row, next += bytes) {
      copy_short(next, pointers[i], bytes);
    }
    next = memory.data() + (next - memory.data() + 63) / 64 * 64;
  }
  if (rows * columns > most_few) {
    staging.nontemporal = nontemporal_outputs(plan, pointers, rows * columns) & ~staging.sums;
  }
  const auto share = [&](std::int64_t first, std::int64_t last) {
    std::byte* at[max_flat_operands];
    for (std::int64_t group = first; group < last; ++group) {
      const std::int64_t row = group * together;
      const std::int64_t lanes = (rows - row < together ? rows - row : together) * columns;
      for (int i = 0; i < count; ++i) at[i] = starts[i] + row * steps[i];
      run_flat_lanes(call, {l.extents, l.scalars}, plan, at, 0, lanes, staging);
    }
  };
  const std::int64_t groups = (rows + together - 1) / together;
  const std::int64_t grain = thread_grain / (together * columns + 1) + 1;
  if (groups <= 2 * grain) {
    share(0, groups);
  } else {
    parallel_for<decltype(share)&, Configuration>(0, groups, grain, share);
  }
  return true;
}

/// Runs a flat program, if its operands lie contiguous over the iteration space, or over all but
/// its outer axes, which they then lack.
template <class Configuration>
bool run_flat_plan(const flat_plan& plan, kernel call, const launch& l) {
  std::int64_t strides[graph::max_axes];
  std::int64_t count = 1;
  unsigned long_axes = 0;
  for (int k = plan.axis_count - 1; k >= 0; --k) {
    const int axis = plan.axes[k];
    strides[axis] = count;
    count *= l.extents[axis];
    long_axes |= static_cast<unsigned>(l.extents[axis] != 1) << axis;
  }
  std::byte* pointers[max_flat_operands];
  flat_staging staging;
  unsigned outer = 0;
  for (int i = 0; i < plan.reads + plan.outputs; ++i) {
    const flat_operand& f = plan.operands[i];
    const operand& o = i < plan.reads ? l.inputs[f.slot] : l.outputs[f.slot];
    for (int k = 0; k < f.rank; ++k) {
      const int axis = f.axes[k];
      if (o.strides[f.positions[k]] != strides[axis] && l.extents[axis] != 1) return false;
    }
    if (f.size != 0) outer |= f.missing & long_axes;
    pointers[i] = o.data;
    if (i >= plan.reads && o.accumulates) staging.sums |= 1u << (i - plan.reads);
  }
  if (outer != 0) return run_flat_rows<Configuration>(plan, call, l, pointers, staging, outer);
  if (count <= most_few) {
    run_flat_lanes(call, {l.extents, l.scalars}, plan, pointers, 0, count, staging);
    return true;
  }
  staging.nontemporal = nontemporal_outputs(plan, pointers, count) & ~staging.sums;
  const std::int64_t blocks = (count + lane_width - 1) / lane_width;
  const auto share = [&](std::int64_t first, std::int64_t last) {
    const std::int64_t end = last * lane_width < count ? last * lane_width : count;
    run_flat_lanes(call, {l.extents, l.scalars}, plan, pointers, first * lane_width, end, staging);
  };
  parallel_for<decltype(share)&, Configuration>(0, blocks, thread_grain / lane_width, share);
  return true;
}
HEDDLE_ONCE(bool run_flat_plan<configuration>(const flat_plan&, kernel, const launch&));

/// Runs a flat program over `count` lanes that lie contiguous in all operands: `pointers` are by
/// place in the plan, outputs whose bit is set in `sums` are added to.
template <class Configuration>
void run_few_lanes(const flat_plan& plan, kernel call, const std::int64_t* extents,
                   const scalar_bits* scalars, std::byte* const* pointers, std::int64_t count,
                   std::uint32_t sums) {
  run_flat_lanes(call, {extents, scalars}, plan, pointers, 0, count, {sums, 0});
}
HEDDLE_ONCE(void run_few_lanes<configuration>(const flat_plan&, kernel, const std::int64_t*,
                                              const scalar_bits*, std::byte* const*, std::int64_t,
                                              std::uint32_t));

}  // namespace detail

template <class Program>
inline constexpr bool runs_flat = detail::is_flat<Program>() && detail::reads_in_order<Program>();

/// Whether a program may run by `run_few`: no operand lacks some of its axes, but not all.
template <class Program>
inline constexpr bool runs_few = [] {
  const auto& p = plan_of<Program>;
  bool whole = runs_flat<Program>;
  for (int i = 0; whole && i < static_cast<int>(p.sizes.reads); ++i) {
    const graph::axis_mask mask = graph::mask_of(p.reads[i].map);
    whole = mask == 0 || mask == p.nests[0].domain;
  }
  return whole;
}();

/// Runs a program over at most `most_few` lanes, here and now: operands and outputs lie contiguous,
/// or are one element for all. `inputs(slot)` and `outputs(slot)` say where; outputs for which
/// `adds(slot)` holds are added to.
template <class Program, class Configuration, class Inputs, class Outputs, class Adds>
HEDDLE_INLINE void run_few(const std::int64_t* extents, const scalar_bits* scalars,
                           std::int64_t count, const Inputs& inputs, const Outputs& outputs,
                           const Adds& adds) {
  static constexpr const detail::flat_plan& plan = detail::flat_plan_of<Program>;
  std::byte* pointers[plan.reads + plan.outputs];
  std::uint32_t sums = 0;
  [&]<int... I>(std::integer_sequence<int, I...>) {
    ((pointers[I] = inputs(plan.operands[I].slot)), ...);
  }
  (std::make_integer_sequence<int, plan.reads>{});
  [&]<int... K>(std::integer_sequence<int, K...>) {
    ((pointers[plan.reads + K] = outputs(plan.operands[plan.reads + K].slot)), ...);
    ((sums |= static_cast<std::uint32_t>(adds(plan.operands[plan.reads + K].slot)) << K), ...);
  }
  (std::make_integer_sequence<int, plan.outputs>{});
  detail::run_few_lanes<Configuration>(plan, kernels_of<Program, Configuration>()[0], extents,
                                       scalars, pointers, count, sums);
}

/// Runs a small pointwise program whose operands all have the result's extents, or rank 0, and lie
/// contiguous; false: nothing was done.
template <class Program, class Configuration, class T, int Rank>
bool run_pointwise(const leaf_view* leaves, const std::int64_t* extents, const scalar_bits* scalars,
                   const tensor<T, Rank>& result) {
  if constexpr (!runs_few<Program>) {
    return false;
  } else {
    std::int64_t count = 1;
    for (int k = 0; k < Rank; ++k) count *= extents[k];
    const std::int64_t* const own = result.extents().data();
    const bool fits = exec::detail::same_extents(own, extents, Rank) &
                      exec::detail::is_row_major(own, result.strides().data(), Rank);
    if (!fits || count > most_few) return false;
    run_few<Program, Configuration>(
        extents, scalars, count, [&](int slot) { return leaves[slot].data; },
        [&](int) { return reinterpret_cast<std::byte*>(result.data()); },
        [](int) { return false; });
    return true;
  }
}

/// Runs the program the short way, if it and its operands allow; false: nothing was done.
template <class Program, class Configuration>
bool run_flat(const launch& l) {
  if constexpr (!runs_flat<Program>) {
    return false;
  } else {
    return detail::run_flat_plan<Configuration>(detail::flat_plan_of<Program>,
                                                kernels_of<Program, Configuration>()[0], l);
  }
}

/// The plan of a program as the host's nests run it.
template <class Program>
inline constexpr plan_view nest_plan = view_of<nest_program<Program>>();

/// Runs a program on the host.
template <class Program, class Configuration = configuration>
void run(const launch& l) {
  if (run_flat<Program, Configuration>(l)) return;
  run_nests<Configuration>(nest_plan<Program>, kernels_of<Program, Configuration>(), l);
}

/// Runs a program whose later nests are one element each, and finish what the first one reduced
/// over all launches of a list.
template <class Program, class Configuration = configuration>
void run_list(const launch& l, const launch_list& list) {
  run_nests<Configuration>(nest_plan<Program>, kernels_of<Program, Configuration>(), l, list);
}

}  // namespace heddle::inline v0::exec::host
