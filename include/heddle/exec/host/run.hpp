// SPDX-License-Identifier: BSD-3-Clause
// Runs a program's nests on the host: buffers for reductions that outlive a nest, shares of the
// work for the threads, and the merge of their partial results in a fixed order.
#pragma once

#include <heddle/exec/crossing.hpp>
#include <heddle/exec/host/walk.hpp>

namespace heddle::inline v0::exec::host {

namespace detail {

[[noreturn]] inline void raise_bad_index(std::int64_t index) {
  raise<index_error>("heddle::take: an index is out of range: ", index,
                     "; indices are 0 to the extent of the table's first axis, less 1");
}

/// Shares of the iteration space; the same for the same extents, whatever the number of threads.
inline void make_tasks(nest_state& s) {
  for (int k = 0; k < s.outer_count; ++k) {
    if (!s.outer[k].row) s.row_count *= s.outer[k].extent;
  }
  if (s.inner >= 0 && !s.inner_in_row) {
    s.inner_chunk = s.info->row != 0 ? chunk_lanes : map_task_lanes;
    if (s.inner_chunk > s.inner_extent) s.inner_chunk = s.inner_extent;
    s.inner_chunks = s.inner_chunk == 0 ? 0 : (s.inner_extent + s.inner_chunk - 1) / s.inner_chunk;
  }
  s.tasks = s.row_count * s.inner_chunks;
}

/// Bytes of the terminal buffers of one segment of nest k.
inline std::int64_t terminal_bytes(const plan_view& p, int nest, const launch& l) {
  std::int64_t bytes = 0;
  for (int r = 0; r < p.reduction_count; ++r) {
    if (p.reductions[r].row || p.reductions[r].nest != nest) continue;
    bytes += (elements_over(p.reductions[r].kept, l) * 8 + 63) / 64 * 64;
  }
  return bytes;
}

inline void place_terminals(const plan_view& p, int nest, const launch& l, std::byte* at,
                            std::byte** buffers) {
  for (int r = 0; r < p.reduction_count; ++r) {
    const reduction_info& info = p.reductions[r];
    if (info.row || info.nest != nest) continue;
    const std::int64_t count = elements_over(info.kept, l);
    buffers[r] = at;
    fill_identity(at, count, info.code, info.type);
    at += (count * 8 + 63) / 64 * 64;
  }
}

/// Merges the terminal reductions of a nest: to = combine(to, from).
inline void merge_terminals(const nest_state& s, std::byte* const* to, std::byte* const* from) {
  for (int r = 0; r < s.plan->reduction_count; ++r) {
    const reduction_info& info = s.plan->reductions[r];
    if (info.row || info.nest != s.nest) continue;
    merge(to[r], from[r], elements_over(info.kept, *s.l), info.code, info.type);
  }
}

/// Tasks [first, last) with their terminal reductions in `buffers`. A long sum is summed in parts:
/// a float that takes 10^7 additions, one after the other, keeps three digits.
inline void run_terminal_tasks(nest_state& s, std::byte** buffers, std::int64_t first,
                               std::int64_t last) {
  if (last - first <= summed_at_a_time) {
    walker w(s, buffers);
    w.run(first, last);
    if (w.failed()) raise_bad_index(w.bad_index());
    return;
  }
  const plan_view& p = *s.plan;
  const scratch memory(static_cast<std::size_t>(terminal_bytes(p, s.nest, *s.l)));
  const scratch pointers(static_cast<std::size_t>(p.reduction_count) * 8);
  std::byte** const part = reinterpret_cast<std::byte**>(pointers.data());
  for (; first < last; first += summed_at_a_time) {
    place_terminals(p, s.nest, *s.l, memory.data(), part);
    walker w(s, part);
    w.run(first, last - first < summed_at_a_time ? last : first + summed_at_a_time);
    if (w.failed()) raise_bad_index(w.bad_index());
    merge_terminals(s, buffers, part);
  }
}

template <class Configuration>
void run_nest(nest_state& s, std::byte** buffers) {
  const std::int64_t per_task =
      s.tasks == 0 ? 1 : elements_over(s.info->domain, *s.l) / s.tasks + 1;
  const std::int64_t grain = per_task >= thread_grain ? 1 : thread_grain / per_task;
  const plan_view& p = *s.plan;
  if (!s.info->terminal || s.tasks <= grain || s.info->scatters) {
    const std::int64_t whole = s.info->terminal || s.info->scatters ? s.tasks + 1 : grain;
    parallel_for(0, s.tasks, whole, [&](std::int64_t first, std::int64_t last) {
      if (s.info->terminal && !s.info->scatters) return run_terminal_tasks(s, buffers, first, last);
      walker w(s, buffers);
      w.run(first, last);
      if (w.failed()) raise_bad_index(w.bad_index());
    });
    return;
  }
  // Partial sums per segment; the number of segments depends on the extents only.
  std::int64_t segments = s.tasks / grain;
  if (segments > 16) segments = 16;
  const std::int64_t bytes = terminal_bytes(p, s.nest, *s.l);
  const scratch partial(static_cast<std::size_t>(segments * bytes));
  const auto count = static_cast<std::size_t>(p.reduction_count);
  const scratch pointers(static_cast<std::size_t>(segments) * count * 8);
  std::byte** const of_segment = reinterpret_cast<std::byte**>(pointers.data());
  parallel_for(0, segments, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t k = first; k < last; ++k) {
      std::byte** own = of_segment + k * p.reduction_count;
      place_terminals(p, s.nest, *s.l, partial.data() + k * bytes, own);
      run_terminal_tasks(s, own, s.tasks * k / segments, s.tasks * (k + 1) / segments);
    }
  });
  for (std::int64_t k = 0; k < segments; ++k) {
    merge_terminals(s, buffers, of_segment + k * p.reduction_count);
  }
}

/// Calls f(output, operand, elements) for the tables that a nest scatters into.
template <class F>
void for_each_table(const plan_view& p, const nest_info& nest, const launch& l, F f) {
  for (int k = 0; k < nest.pass_count; ++k) {
    const pass_info& pass = p.passes[nest.first_pass + k];
    for (int i = 0; i < pass.output_count; ++i) {
      const output_info& out = p.outputs[pass.first_output + i];
      if (out.kind != graph::item_kind::scatter) continue;
      const operand& o = l.outputs[out.slot];
      f(out, o, elements_over(graph::mask_of(out.map), l) * o.indexed_extent);
    }
  }
}

/// Scattered outputs start from 0, or from what they accumulate to.
inline void clear_scattered(const plan_view& p, const nest_info& nest, const launch& l) {
  for_each_table(p, nest, l, [](const output_info& out, const operand& o, std::int64_t count) {
    if (count > 0 && !o.accumulates) {
      __builtin_memset(o.data, 0, static_cast<std::size_t>(count) * size_of(out.type));
    }
  });
}

template <class T>
void convert_elements(void* to, const void* from, std::int64_t count, bool widen) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (widen) {
      static_cast<float*>(to)[i] = static_cast<float>(static_cast<const T*>(from)[i]);
    } else {
      static_cast<T*>(to)[i] = static_cast<T>(static_cast<const float*>(from)[i]);
    }
  }
}

/// Tables of 16-bit floats while a nest scatters into them: as float, rounded once at the end.
class widened_tables {
 public:
  widened_tables(const plan_view& p, const nest_info& nest, const launch& l)
      : plan_(p), nest_(nest), l_(l), memory_(bytes_needed(p, nest, l)) {
    operand* const moved = reinterpret_cast<operand*>(memory_.data());
    const int outputs = output_slots(p);
    for (int i = 0; i < outputs; ++i) moved[i] = l.outputs[i];
    std::byte* at = memory_.data() + operand_bytes(p);
    for_each_table(p, nest, l, [&](const output_info& out, const operand& o, std::int64_t count) {
      if (scatter_type(out.type) == out.type) return;
      moved[out.slot].data = at;
      convert(out.type, at, o.data, count, true);
      at += (count * 4 + 63) / 64 * 64;
    });
    outputs_ = moved;
  }
  const operand* outputs() const { return outputs_; }
  void write_back() const {
    for_each_table(plan_, nest_, l_,
                   [&](const output_info& out, const operand& o, std::int64_t count) {
                     if (scatter_type(out.type) == out.type) return;
                     convert(out.type, o.data, outputs_[out.slot].data, count, false);
                   });
  }

 private:
  static int output_slots(const plan_view& p) {
    const pass_info& last = p.passes[p.pass_count - 1];
    int slots = 0;
    for (int i = 0; i < last.first_output + last.output_count; ++i) {
      const output_info& out = p.outputs[i];
      if (graph::writes_result(out.kind) && out.slot + 1 > slots) slots = out.slot + 1;
    }
    return slots;
  }
  static std::size_t operand_bytes(const plan_view& p) {
    return (static_cast<std::size_t>(output_slots(p)) * sizeof(operand) + 63) / 64 * 64;
  }
  static void convert(dtype type, void* to, const void* from, std::int64_t count, bool widen) {
    type == dtype::bf16 ? convert_elements<bfloat16>(to, from, count, widen)
                        : convert_elements<float16>(to, from, count, widen);
  }
  static std::size_t bytes_needed(const plan_view& p, const nest_info& nest, const launch& l) {
    std::size_t bytes = operand_bytes(p);
    for_each_table(p, nest, l, [&](const output_info& out, const operand&, std::int64_t count) {
      if (scatter_type(out.type) != out.type) bytes += static_cast<std::size_t>(count) * 4 + 64;
    });
    return bytes;
  }

  const plan_view& plan_;
  const nest_info& nest_;
  const launch& l_;
  scratch memory_;
  const operand* outputs_ = nullptr;
};

template <class Configuration>
void run_collapsed(nest_state& s, std::byte** buffers) {
  make_cursors(s, buffers);
  collapse(s);
  choose_past_caches(s);
  make_tasks(s);
  run_nest<Configuration>(s, buffers);
}

}  // namespace detail

/// Several launches of one program: `move_to(context, k)` makes the launch that is given the k-th.
struct launch_list {
  std::int64_t count = 1;
  void* context = nullptr;
  void (*move_to)(void* context, std::int64_t k) = nullptr;
};

namespace detail {

template <class Configuration>
void run_one_nest(const plan_view& p, const kernel* kernels, const launch& l, int nest,
                  std::byte** buffers) {
  nest_state s{};
  s.plan = &p;
  s.kernels = kernels;
  s.l = &l;
  s.info = p.nests + nest;
  s.nest = nest;
  int cursors = 0;
  for (int i = 0; i < s.info->pass_count; ++i) {
    const pass_info& pass = p.passes[s.info->first_pass + i];
    cursors += pass.read_count + pass.value_count + pass.output_count;
  }
  const scratch cursor_memory(static_cast<std::size_t>(cursors + 1) * sizeof(cursor));
  s.cursors = reinterpret_cast<cursor*>(cursor_memory.data());
  for (int i = 0; i < cursors; ++i) new (s.cursors + i) cursor();
  s.outputs = l.outputs;
  if (s.info->scatters) {
    clear_scattered(p, *s.info, l);
    const widened_tables tables(p, *s.info, l);
    s.outputs = tables.outputs();
    run_collapsed<Configuration>(s, buffers);
    tables.write_back();
  } else {
    run_collapsed<Configuration>(s, buffers);
  }
}

template <class Configuration>
void run_each_nest(const plan_view& p, const kernel* kernels, const launch& l,
                   const launch_list& list) {
  std::int64_t stored = 0;
  for (int r = 0; r < p.reduction_count; ++r) {
    if (p.reductions[r].stored()) stored += (elements_over(p.reductions[r].kept, l) * 8 + 63) / 64;
  }
  const scratch memory(static_cast<std::size_t>(stored * 64 + p.reduction_count * 8 + 64));
  std::byte** buffers = reinterpret_cast<std::byte**>(memory.data());
  std::byte* at = memory.data() + (p.reduction_count * 8 + 63) / 64 * 64;
  for (int r = 0; r < p.reduction_count; ++r) {
    const reduction_info& info = p.reductions[r];
    buffers[r] = at;
    if (!info.stored()) continue;
    const std::int64_t count = elements_over(info.kept, l);
    fill_identity(at, count, info.code, info.type);
    at += (count * 8 + 63) / 64 * 64;
  }
  for (std::int64_t k = 0; k < list.count; ++k) {
    if (list.move_to != nullptr) list.move_to(list.context, k);
    run_one_nest<Configuration>(p, kernels, l, 0, buffers);
  }
  for (int nest = 1; nest < p.nest_count; ++nest) {
    run_one_nest<Configuration>(p, kernels, l, nest, buffers);
  }
}

}  // namespace detail

/// Runs all nests of a plan; the first one over all launches of a list, whose reductions it takes
/// together: then nothing crosses from nest to nest. Outputs of scatters must be contiguous. Throws
/// index_error where a gather or scatter meets an index outside of its table, out_of_memory where
/// scratch memory is short.
template <class Configuration = configuration>
void run_nests(const plan_view& p, const kernel* kernels, const launch& l,
               const launch_list& list = {}) {
  if (p.crossing_count == 0) return detail::run_each_nest<Configuration>(p, kernels, l, list);
  const detail::scratch memory(static_cast<std::size_t>(crossing_bytes(p, l)));
  const int inputs = p.crossings[0].input + p.crossing_count;
  const int outputs = p.crossings[0].output + p.crossing_count;
  const detail::scratch descriptions(static_cast<std::size_t>(inputs + outputs) * sizeof(operand));
  operand* const described = reinterpret_cast<operand*>(descriptions.data());
  for (int i = 0; i < inputs + outputs; ++i) new (described + i) operand();
  detail::run_each_nest<Configuration>(
      p, kernels, with_crossings(p, l, described, described + inputs, memory.data()), list);
}
HEDDLE_ONCE(void run_nests<configuration>(const plan_view&, const kernel*, const launch&,
                                          const launch_list&));

}  // namespace heddle::inline v0::exec::host
