// SPDX-License-Identifier: BSD-3-Clause
// The host loop nest: walks the iteration space of each nest of a program, hands contiguous runs of
// the innermost axis to the program's kernels and carries reductions from pass to pass. One driver
// for all programs; only kernels are generated.
#pragma once

#include <heddle/core/allocator.hpp>
#include <heddle/core/thread_pool.hpp>
#include <heddle/exec/host/accumulate.hpp>
#include <heddle/exec/host/nontemporal.hpp>

namespace heddle::inline v0::exec::host {

namespace detail {

/// Lanes that are packed, or kept per row, at a time.
inline constexpr std::int64_t chunk_lanes = 256;
/// Elements below which another thread does not pay.
inline constexpr std::int64_t thread_grain = 32768;
/// Additions to one accumulator after which a sum is put aside.
inline constexpr std::int64_t summed_at_a_time = 1024;
/// Lanes of one task of a nest without rows.
inline constexpr std::int64_t map_task_lanes = 16384;

/// A block of scratch memory.
class scratch {
 public:
  explicit scratch(std::size_t bytes)
      : bytes_(bytes == 0 ? 64 : bytes),
        data_(static_cast<std::byte*>(heddle::detail::allocate_block(bytes_, -1))) {}
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() { heddle::detail::release_block(data_, bytes_, -1); }
  std::byte* data() const { return data_; }

 private:
  std::size_t bytes_;
  std::byte* data_;
};

enum class place : std::uint8_t {
  memory,     ///< an operand, output or stored reduction: base + strides
  row_value,  ///< a row reduction's value: thread-local
  lanes,      ///< lane accumulators of a folded output: thread-local
  held,       ///< what a pass holds for later ones: thread-local
  segment,    ///< a terminal reduction: the segment's own buffer + strides
};

/// One pointer that a pass needs, and how it moves.
struct cursor {
  std::byte* base = nullptr;
  std::int64_t strides[graph::max_axes] = {};  ///< bytes, per loop (per axis until collapsed)
  graph::axis_mask has = 0;                    ///< the axes its map names
  place where = place::memory;
  bool lane = false;            ///< moves along the innermost axis
  bool direct = false;          ///< a gather: the kernel addresses it itself
  bool accumulates = false;     ///< an output that is added to
  bool past_caches = false;     ///< an output that is written past them
  dtype type = dtype::f32;      ///< of the elements of an output
  std::uint16_t reduction = 0;  ///< or the held value
  std::uint8_t size = 4;        ///< bytes of an element
};

struct loop {
  std::int64_t extent = 1;
  int axis = -1;  ///< of the iteration space
  bool row = false;
};

/// Everything fixed while a nest runs.
struct nest_state {
  const plan_view* plan;
  const kernel* kernels;
  const launch* l;
  const operand* outputs;  ///< the launch's; tables that are scattered into may lie elsewhere
  const nest_info* info;
  int nest;
  int inner = -1;  ///< innermost axis
  bool inner_in_row = false;
  loop outer[graph::max_axes];
  int outer_count = 0;
  std::int64_t inner_extent = 1;
  cursor* cursors;  ///< per pass: reads, values, outputs
  int cursor_count = 0;
  bool addresses = false;  ///< some cursor is of a gather or scatter
  std::int64_t tasks = 1;
  std::int64_t inner_chunk = 1;  ///< lanes of a task, where the innermost axis is parallel
  std::int64_t inner_chunks = 1;
  std::int64_t row_count = 1;  ///< parallel outer iterations
};

constexpr bool is_reducing(const output_info& out) {
  return out.kind == graph::item_kind::row_reduction ||
         out.kind == graph::item_kind::terminal_reduction;
}

/// Sets the strides of a new cursor from the strides and the map of an operand.
inline void place_operand(cursor& c, const operand& o, graph::axis_map map) {
  c.base = o.data;
  for (int i = graph::max_axes - 1; i >= 0; --i) {
    const unsigned axis = graph::map_axis(map, i);
    if (axis >= graph::max_axes) continue;
    c.strides[axis] = o.strides[i] * c.size;
    c.has = static_cast<graph::axis_mask>(c.has | 1u << axis);
  }
}

/// Row-major strides over the kept axes of a reduction's buffer.
inline void place_buffer(cursor& c, std::byte* base, graph::axis_mask kept, const launch& l) {
  c.base = base;
  c.has = kept;
  std::int64_t stride = c.size;
  for (int axis = graph::max_axes - 1; axis >= 0; --axis) {
    if ((kept >> axis & 1) == 0) continue;
    c.strides[axis] = stride;
    stride *= l.extents[axis];
  }
}

/// Where a value is held is the thread's own affair; it does not keep loops from merging.
inline void place_held(cursor& c, std::uint16_t slot) {
  c.where = place::held;
  c.reduction = slot;
  c.lane = true;
}

inline std::int64_t elements_over(graph::axis_mask mask, const launch& l) {
  std::int64_t count = 1;
  for (int axis = 0; axis < graph::max_axes; ++axis) {
    if ((mask >> axis & 1) != 0) count *= l.extents[axis];
  }
  return count;
}

/// Merges neighbouring axes that every cursor walks as one, and splits the rest into loops.
inline void collapse(nest_state& s) {
  int axes[graph::max_axes];
  int count = 0;
  std::int64_t extents[graph::max_axes];
  for (int axis = 0; axis < graph::max_axes; ++axis) {
    if ((s.info->domain >> axis & 1) == 0) continue;
    axes[count] = axis;
    extents[count++] = s.l->extents[axis];
  }
  if (count == 0) return;
  s.inner = axes[count - 1];
  s.inner_in_row = (s.info->row >> s.inner & 1) != 0;
  // from the innermost outwards: axes[k - 1] joins axes[k]
  for (int k = count - 1; k > 0; --k) {
    const int near = axes[k];
    const int far = axes[k - 1];
    if (near != far + 1 || (s.info->barrier >> near & 1) != 0) continue;
    bool merges = true;
    for (int c = 0; c < s.cursor_count && merges; ++c) {
      const cursor& x = s.cursors[c];
      std::int64_t near_stride = x.strides[near];
      if (extents[k] == 1 && (x.has >> near & 1) != 0) near_stride = x.strides[far];
      if (extents[k - 1] != 1 && x.strides[far] != near_stride * extents[k]) merges = false;
    }
    if (!merges) continue;
    for (int c = 0; c < s.cursor_count; ++c) {
      cursor& x = s.cursors[c];
      if (extents[k] == 1 && (x.has >> near & 1) != 0) x.strides[near] = x.strides[far];
      if (extents[k] == 1 && extents[k - 1] != 1 && (x.has >> near & 1) == 0) x.strides[near] = 0;
    }
    extents[k] *= extents[k - 1];
    for (int m = k - 1; m + 1 < count; ++m) {
      axes[m] = axes[m + 1];
      extents[m] = extents[m + 1];
    }
    --count;
  }
  s.inner_extent = extents[count - 1];
  for (int k = 0; k + 1 < count; ++k) {
    s.outer[s.outer_count++] = {extents[k], axes[k], (s.info->row >> axes[k] & 1) != 0};
  }
}

/// The dtype that a scattered table is summed in: 16-bit ones are rounded once, at the end.
constexpr dtype scatter_type(dtype type) {
  return type == dtype::bf16 || type == dtype::f16 ? dtype::f32 : type;
}

/// The cursors of all passes of the nest, in the order reads, values, outputs of each pass.
inline void make_cursors(nest_state& s, std::byte* const* buffers) {
  const plan_view& p = *s.plan;
  cursor* next = s.cursors;
  for (int k = 0; k < s.info->pass_count; ++k) {
    const pass_info& pass = p.passes[s.info->first_pass + k];
    const auto moves = [&pass](graph::axis_mask mask) {
      return pass.inner >= 0 && (mask >> pass.inner & 1) != 0;
    };
    for (int i = 0; i < pass.read_count; ++i, ++next) {
      const read_info& r = p.reads[p.pass_reads[pass.first_read + i]];
      next->size = static_cast<std::uint8_t>(size_of(r.type));
      if (r.held) {
        place_held(*next, r.slot);
        continue;
      }
      place_operand(*next, s.l->inputs[r.slot], r.map);
      next->lane = moves(next->has);
      next->direct = r.gathered;
      s.addresses = s.addresses || r.gathered;
    }
    for (int i = 0; i < pass.value_count; ++i, ++next) {
      const std::uint16_t id = p.pass_values[pass.first_value + i];
      const reduction_info& r = p.reductions[id];
      next->size = static_cast<std::uint8_t>(size_of(r.type));
      next->lane = moves(r.kept);
      next->reduction = id;
      if (r.row && r.nest == s.nest) {
        next->where = place::row_value;
      } else {
        place_buffer(*next, buffers[id], r.kept, *s.l);
      }
    }
    for (int i = 0; i < pass.output_count; ++i, ++next) {
      const output_info& out = p.outputs[pass.first_output + i];
      next->size = static_cast<std::uint8_t>(size_of(out.type));
      next->type = out.type;
      next->reduction = out.slot;
      switch (out.kind) {
        case graph::item_kind::store:
        case graph::item_kind::scatter:
          next->direct = out.kind == graph::item_kind::scatter;
          if (next->direct) {
            s.addresses = true;
            next->type = scatter_type(out.type);
            next->size = static_cast<std::uint8_t>(size_of(next->type));
          }
          place_operand(*next, s.outputs[out.slot], out.map);
          next->lane = moves(next->has);
          next->accumulates = s.outputs[out.slot].accumulates && !next->direct;
          break;
        case graph::item_kind::hold:
          place_held(*next, out.slot);
          break;
        case graph::item_kind::carry:
          place_buffer(*next, buffers[out.slot], p.reductions[out.slot].kept, *s.l);
          next->lane = moves(next->has);
          break;
        default: {
          const reduction_info& r = p.reductions[out.slot];
          const bool folded = pass.inner < 0 || moves(r.removed);
          if (out.kind == graph::item_kind::row_reduction) {
            next->where = folded ? place::lanes : place::row_value;
          } else {
            next->where = place::segment;
            place_buffer(*next, nullptr, r.kept, *s.l);
          }
          next->lane = !folded;
        }
      }
    }
  }
  s.cursor_count = static_cast<int>(next - s.cursors);
}

/// Chooses the outputs that are written past the caches: long ones, contiguous along the lanes, and
/// not read by the nest, which would bring their lines to the caches anyway.
inline void choose_past_caches(nest_state& s) {
  const plan_view& p = *s.plan;
  int at = 0;
  for (int k = 0; k < s.info->pass_count; ++k) {
    const pass_info& pass = p.passes[s.info->first_pass + k];
    at += pass.read_count + pass.value_count;
    for (int i = 0; i < pass.output_count; ++i, ++at) {
      cursor& c = s.cursors[at];
      const output_info& out = p.outputs[pass.first_output + i];
      if (out.kind != graph::item_kind::store || !c.lane || c.accumulates) continue;
      if (c.strides[pass.inner] != c.size) continue;
      c.past_caches = is_written_past_caches(elements_over(graph::mask_of(out.map), *s.l) * c.size);
      for (int other = 0; other < s.cursor_count && c.past_caches; ++other) {
        if (other != at && s.cursors[other].base == c.base) c.past_caches = false;
      }
    }
  }
}

}  // namespace detail
}  // namespace heddle::inline v0::exec::host
