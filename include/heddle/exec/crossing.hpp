// SPDX-License-Identifier: BSD-3-Clause
// Memory of the values that one nest of a launch stores for later ones: operands and outputs behind
// the launch's own.
#pragma once

#include <heddle/exec/launch.hpp>
#include <heddle/exec/plan.hpp>

namespace heddle::inline v0::exec {

namespace detail {

/// What begins at a multiple of this can be read in vectors.
inline constexpr std::int64_t crossing_alignment = 256;

/// Describes a value that crosses; returns the bytes that it takes.
inline std::int64_t describe_crossing(const crossing_info& c, const launch& l, operand& o) {
  const std::int64_t bytes =
      contiguous_strides(o, c.map, l.extents) * static_cast<std::int64_t>(size_of(c.type));
  return (bytes + crossing_alignment - 1) / crossing_alignment * crossing_alignment;
}

}  // namespace detail

/// Bytes that the values which cross from nest to nest take in memory.
inline std::int64_t crossing_bytes(const plan_view& p, const launch& l) {
  std::int64_t bytes = 0;
  operand unplaced;
  for (int i = 0; i < p.crossing_count; ++i) {
    bytes += detail::describe_crossing(p.crossings[i], l, unplaced);
  }
  return bytes;
}

/// The launch with what crosses in `memory`. `inputs` and `outputs` have room for the operands and
/// outputs that the plan names, its own and those.
inline launch with_crossings(const plan_view& p, const launch& l, operand* inputs, operand* outputs,
                             std::byte* memory) {
  for (int i = 0; i < p.crossings[0].input; ++i) inputs[i] = l.inputs[i];
  for (int i = 0; i < p.crossings[0].output; ++i) outputs[i] = l.outputs[i];
  for (int i = 0; i < p.crossing_count; ++i) {
    const crossing_info& c = p.crossings[i];
    operand o;
    o.data = memory;
    const std::int64_t bytes = detail::describe_crossing(c, l, o);
    if (memory != nullptr) memory += bytes;
    inputs[c.input] = outputs[c.output] = o;
  }
  launch made = l;
  made.inputs = inputs;
  made.outputs = outputs;
  return made;
}

}  // namespace heddle::inline v0::exec
