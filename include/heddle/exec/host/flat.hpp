// SPDX-License-Identifier: BSD-3-Clause
// The short way through: element-wise programs over operands that all lie contiguous with one shape
// are one run of lanes, and need none of the loop nest's bookkeeping.
#pragma once

#include <heddle/exec/host/run.hpp>

namespace heddle::inline v0::exec::host {

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
  for (int i = 0; flat && i < static_cast<int>(p.sizes.reads); ++i) {
    const graph::axis_mask mask = graph::mask_of(p.reads[i].map);
    flat = mask == 0 || mask == domain;
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
  std::uint8_t positions[graph::max_axes] = {};
  std::uint8_t axes[graph::max_axes] = {};
};

struct flat_plan {
  int reads = 0;
  int outputs = 0;
  int axis_count = 0;
  std::uint8_t axes[graph::max_axes] = {};  ///< of the iteration space, outermost first
  flat_operand operands[max_flat_operands] = {};
};

constexpr flat_operand make_flat_operand(std::uint16_t slot, graph::axis_map map, dtype type) {
  flat_operand o;
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
  for (int i = 0; i < static_cast<int>(p.sizes.reads); ++i) {
    const read_info& r = p.reads[p.pass_reads[pass.first_read + i]];
    f.operands[f.reads++] = make_flat_operand(r.slot, r.map, r.type);
  }
  for (int i = 0; i < static_cast<int>(p.sizes.outputs); ++i) {
    const output_info& out = p.outputs[i];
    f.operands[f.reads + f.outputs++] = make_flat_operand(out.slot, out.map, out.type);
    f.operands[f.reads + f.outputs - 1].size = static_cast<std::uint8_t>(size_of(out.type));
  }
  for (int axis = 0; axis < graph::max_axes; ++axis) {
    if ((p.nests[0].domain >> axis & 1) != 0) {
      f.axes[f.axis_count++] = static_cast<std::uint8_t>(axis);
    }
  }
  return f;
}

/// Up to a block's bytes; a call of the C library's would cost as much as the kernel.
inline void copy_short(std::byte* to, const std::byte* from, std::int64_t bytes) {
  std::int64_t i = 0;
  for (; i + 16 <= bytes; i += 16) __builtin_memcpy(to + i, from + i, 16);
  for (; i + 4 <= bytes; i += 4) __builtin_memcpy(to + i, from + i, 4);
  for (; i < bytes; ++i) to[i] = from[i];
}

/// Adds staged lanes to the outputs that accumulate, writes the other staged ones.
inline void put_flat_lanes(const launch& l, const flat_plan& plan, std::byte* const* pointers,
                           std::byte* const* staged, std::int64_t first, std::int64_t lanes,
                           bool all) {
  for (int i = plan.reads; i < plan.reads + plan.outputs; ++i) {
    const flat_operand& f = plan.operands[i];
    std::byte* const to = pointers[i] + first * f.size;
    if (l.outputs[f.slot].accumulates) {
      exec::detail::add_elements(to, 1, staged[i], lanes, f.type);
    } else if (all) {
      copy_short(to, staged[i], lanes * f.size);
    }
  }
}

/// Runs whole blocks from lane `first` on where outputs accumulate: those are staged.
inline void run_flat_sums(kernel call, kernel_frame& f, const launch& l, const flat_plan& plan,
                          std::byte* const* pointers, std::byte** at, std::int64_t first) {
  constexpr std::int64_t most = 8;  // blocks of lanes that are staged at a time
  alignas(64) std::byte buffers[max_flat_outputs][most * lane_width * 8];
  const std::int64_t blocks = f.blocks;
  for (std::int64_t done = 0; done < blocks; done += most) {
    f.blocks = blocks - done < most ? blocks - done : most;
    const std::int64_t lane = first + done * lane_width;
    for (int i = 0; i < plan.reads + plan.outputs; ++i) {
      const flat_operand& o = plan.operands[i];
      const bool sums = i >= plan.reads && l.outputs[o.slot].accumulates;
      at[i] = sums ? buffers[i - plan.reads] : pointers[i] + lane * o.size;
    }
    call(f);
    put_flat_lanes(l, plan, pointers, at, lane, f.blocks * lane_width, false);
  }
}

/// Runs lanes [first, last) of one kernel; the last partial block goes through buffers.
inline void run_flat_lanes(kernel call, const launch& l, const flat_plan& plan,
                           std::byte* const* pointers, std::int64_t first, std::int64_t last,
                           bool accumulates) {
  std::byte* at[max_flat_operands];
  const int count = plan.reads + plan.outputs;
  for (int i = 0; i < count; ++i) at[i] = pointers[i] + first * plan.operands[i].size;
  std::int64_t bad = 0;
  const std::int64_t none[graph::max_axes] = {};
  kernel_frame f;
  f.extents = l.extents;
  f.coordinates = none;
  f.scalars = l.scalars;
  f.reads = at;
  f.outputs = at + plan.reads;
  f.bad_index = &bad;
  f.blocks = (last - first) / lane_width;
  if (accumulates) {
    run_flat_sums(call, f, l, plan, pointers, at, first);
  } else if (f.blocks > 0) {
    call(f);
  }
  const std::int64_t rest = (last - first) % lane_width;
  if (rest == 0) return;
  const std::int64_t done = last - rest;
  alignas(64) std::byte buffers[max_flat_operands][lane_width * 8];
  for (int i = 0; i < count; ++i) {
    const std::int64_t size = plan.operands[i].size;
    if (size == 0) continue;
    at[i] = buffers[i];
    if (i >= plan.reads) continue;
    constexpr std::byte zeros[16] = {};
    for (std::int64_t b = rest * size / 16 * 16; b < lane_width * size; b += 16) {
      __builtin_memcpy(buffers[i] + b, zeros, 16);
    }
    copy_short(buffers[i], pointers[i] + done * size, rest * size);
  }
  f.blocks = 1;
  f.valid = static_cast<int>(rest);
  call(f);
  put_flat_lanes(l, plan, pointers, at, done, rest, true);
}

/// Runs a flat program, if its operands lie contiguous over the iteration space.
template <class Configuration>
bool run_flat_plan(const flat_plan& plan, kernel call, const launch& l) {
  std::int64_t strides[graph::max_axes];
  std::int64_t count = 1;
  for (int k = plan.axis_count - 1; k >= 0; --k) {
    strides[plan.axes[k]] = count;
    count *= l.extents[plan.axes[k]];
  }
  std::byte* pointers[max_flat_operands];
  bool accumulates = false;
  for (int i = 0; i < plan.reads + plan.outputs; ++i) {
    const flat_operand& f = plan.operands[i];
    const operand& o = i < plan.reads ? l.inputs[f.slot] : l.outputs[f.slot];
    for (int k = 0; k < f.rank; ++k) {
      const int axis = f.axes[k];
      if (o.strides[f.positions[k]] != strides[axis] && l.extents[axis] != 1) return false;
    }
    pointers[i] = o.data;
    accumulates = accumulates || (i >= plan.reads && o.accumulates);
  }
  if (count <= 2 * thread_grain) {
    run_flat_lanes(call, l, plan, pointers, 0, count, accumulates);
    return true;
  }
  const std::int64_t blocks = (count + lane_width - 1) / lane_width;
  const auto share = [&](std::int64_t first, std::int64_t last) {
    const std::int64_t end = last * lane_width < count ? last * lane_width : count;
    run_flat_lanes(call, l, plan, pointers, first * lane_width, end, accumulates);
  };
  parallel_for<decltype(share)&, Configuration>(0, blocks, thread_grain / lane_width, share);
  return true;
}

}  // namespace detail

/// Runs the program the short way, if it and its operands allow; false: nothing was done.
template <class Program, class Configuration>
bool run_flat(const launch& l) {
  if constexpr (!detail::is_flat<Program>() || !detail::reads_in_order<Program>()) {
    return false;
  } else {
    static constexpr detail::flat_plan plan = detail::make_flat_plan<Program>();
    return detail::run_flat_plan<Configuration>(plan, kernels_of<Program, Configuration>()[0], l);
  }
}

/// Runs a program on the host.
template <class Program, class Configuration = configuration>
void run(const launch& l) {
  if (run_flat<Program, Configuration>(l)) return;
  static constexpr plan_view view = view_of<Program>();
  run_nests<Configuration>(view, kernels_of<Program, Configuration>(), l);
}

}  // namespace heddle::inline v0::exec::host
