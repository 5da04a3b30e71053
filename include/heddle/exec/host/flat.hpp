// SPDX-License-Identifier: BSD-3-Clause
// The short way through: element-wise programs over operands that all lie contiguous with one shape
// are one run of lanes, and need none of the loop nest's bookkeeping.
#pragma once

#include <heddle/exec/host/run.hpp>

namespace heddle::inline v0::exec::host {

namespace detail {

template <class Program>
consteval bool is_flat() {
  const auto& p = plan_of<Program>;
  if (p.sizes.nests != 1 || p.sizes.passes != 1 || p.sizes.reductions != 0) return false;
  if (p.nests[0].domain == 0 || p.nests[0].barrier != 0 || p.nests[0].scatters) return false;
  if (p.sizes.reads > 16 || p.sizes.outputs > 16) return false;
  for (std::size_t i = 0; i < p.sizes.reads; ++i) {
    const graph::axis_mask mask = graph::mask_of(p.reads[i].map);
    if (mask != 0 && mask != p.nests[0].domain) return false;
  }
  for (std::size_t i = 0; i < p.sizes.outputs; ++i) {
    if (graph::mask_of(p.outputs[i].map) != p.nests[0].domain) return false;
  }
  // `count` and coordinates want the real extents
  for (int i = 0; i < Program::node_count; ++i) {
    const op code = p.graph_nodes[static_cast<std::size_t>(i)].code;
    if (code == op::iota || is_random(code) || code == op::gather) return false;
  }
  return true;
}

/// Whether an operand is row-major over the iteration space without gaps (axes in order).
inline bool lies_flat(const operand& o, graph::axis_map map, const std::int64_t* extents) {
  std::int64_t expected = 1;
  for (int i = graph::max_axes - 1; i >= 0; --i) {
    const unsigned axis = graph::map_axis(map, i);
    if (axis >= graph::max_axes) continue;
    if (extents[axis] == 1) continue;
    if (o.strides[i] != expected) return false;
    expected *= extents[axis];
  }
  return true;
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
  for (std::size_t i = 0; i < p.sizes.reads; ++i) ordered = ordered && is_ordered(p.reads[i].map);
  for (std::size_t i = 0; i < p.sizes.outputs; ++i) ordered = ordered && is_ordered(p.outputs[i].map);
  return ordered;
}

struct flat_pointer {
  std::byte* data;
  std::int64_t size;  ///< bytes per lane; 0: one element for all
};

/// Runs lanes [first, last) of one kernel; the last partial block goes through buffers.
inline void run_flat_lanes(kernel call, const launch& l, const flat_pointer* pointers, int reads,
                           int outputs, std::int64_t first, std::int64_t last) {
  std::byte* at[32];
  const int count = reads + outputs;
  for (int i = 0; i < count; ++i) at[i] = pointers[i].data + first * pointers[i].size;
  std::int64_t bad = 0;
  const std::int64_t none[graph::max_axes] = {};
  kernel_frame f{at,        nullptr, at + reads, nullptr, nullptr, l.extents, none, l.scalars, &bad,
                 (last - first) / lane_width};
  if (f.blocks > 0) call(f);
  const std::int64_t rest = (last - first) % lane_width;
  if (rest == 0) return;
  const std::int64_t done = last - first - rest;
  alignas(64) std::byte buffers[32][lane_width * 8];
  for (int i = 0; i < count; ++i) {
    const flat_pointer& p = pointers[i];
    if (p.size == 0) continue;
    std::byte* from = p.data + (first + done) * p.size;
    at[i] = buffers[i];
    if (i >= reads) continue;
    const auto bytes = static_cast<std::size_t>(rest * p.size);
    __builtin_memcpy(buffers[i], from, bytes);
    __builtin_memset(buffers[i] + bytes, 0, static_cast<std::size_t>(lane_width * p.size) - bytes);
  }
  f.blocks = 1;
  f.valid = static_cast<int>(rest);
  call(f);
  for (int i = reads; i < count; ++i) {
    const flat_pointer& p = pointers[i];
    __builtin_memcpy(p.data + (first + done) * p.size, buffers[i],
                     static_cast<std::size_t>(rest * p.size));
  }
}

}  // namespace detail

/// Runs the program the short way, if it and its operands allow; false: nothing was done.
template <class Program, class Configuration>
bool run_flat(const launch& l) {
  using namespace detail;
  if constexpr (!is_flat<Program>() || !reads_in_order<Program>()) {
    return false;
  } else {
    constexpr auto& p = plan_of<Program>;
    constexpr int reads = static_cast<int>(p.sizes.reads);
    constexpr int outputs = static_cast<int>(p.sizes.outputs);
    flat_pointer pointers[reads + outputs];
    constexpr pass_info pass = p.passes[0];
    for (int i = 0; i < reads; ++i) {
      const read_info& r = p.reads[p.pass_reads[static_cast<std::size_t>(pass.first_read + i)]];
      const operand& o = l.inputs[r.slot];
      if (!lies_flat(o, r.map, l.extents)) return false;
      pointers[i] = {o.data, r.map == graph::empty_map || graph::mask_of(r.map) == 0
                                 ? 0
                                 : static_cast<std::int64_t>(size_of(r.type))};
    }
    for (int i = 0; i < outputs; ++i) {
      const output_info& out = p.outputs[static_cast<std::size_t>(i)];
      const operand& o = l.outputs[out.slot];
      if (!lies_flat(o, out.map, l.extents)) return false;
      pointers[reads + i] = {o.data, static_cast<std::int64_t>(size_of(out.type))};
    }
    const std::int64_t count = elements_over(p.nests[0].domain, l);
    const kernel call = kernels_of<Program, Configuration>()[0];
    if (count <= 2 * thread_grain) {
      run_flat_lanes(call, l, pointers, reads, outputs, 0, count);
      return true;
    }
    const std::int64_t blocks = (count + lane_width - 1) / lane_width;
    parallel_for(0, blocks, thread_grain / lane_width,
                 [&](std::int64_t first, std::int64_t last) {
                   const std::int64_t end = last * lane_width < count ? last * lane_width : count;
                   run_flat_lanes(call, l, pointers, reads, outputs, first * lane_width, end);
                 });
    return true;
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
