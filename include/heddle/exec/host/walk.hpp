// SPDX-License-Identifier: BSD-3-Clause
// One thread's walk through its share of a nest: which rows a kernel runs over at a time, and what
// of them goes through buffers.
#pragma once

#include <heddle/exec/host/nest.hpp>

namespace heddle::inline v0::exec::host {

/// Lanes of each value that a thread holds from pass to pass, at most; of longer rows, values are
/// computed again, a few lanes at a time: it takes no memory. Tests lower it.
inline std::atomic<std::int64_t>& most_held_lanes() noexcept {
  static std::atomic<std::int64_t> lanes{std::int64_t{1} << 24};
  return lanes;
}

namespace detail {

/// Lanes of an operand that are staged at a time.
inline constexpr std::int64_t staged_lanes = 2048;
/// Lanes of the rows that go through all passes together: what these read once stays in the
/// first-level cache.
inline constexpr std::int64_t lanes_together = 4096;
/// Lanes of a row that a call of a kernel takes: no accumulator has more than summed_at_a_time
/// additions.
inline constexpr std::int64_t call_lanes = summed_at_a_time * lane_width;

/// A thread's part of a nest: pointers, staged lanes, row values. `buffers` are the (segment's
/// own) terminal buffers, by reduction.
class walker {
 public:
  walker(const nest_state& s, std::byte* const* buffers)
      : s_(s),
        buffers_(buffers),
        stage_(stage_size(s)),
        held_step_(whole_blocks(s.inner_in_row ? s.inner_extent : s.inner_chunk)),
        recomputes_(lanes_together_of(s) > most_held_lanes() && can_recompute(s)),
        held_lanes_(recomputes_ ? lanes_of_a_call() : lanes_together_of(s)),
        memory_(bytes_needed(s)) {
    std::byte* at = memory_.data();
    const auto take = [&at](std::int64_t bytes) {
      std::byte* taken = at;
      at += (bytes + 63) / 64 * 64;
      return taken;
    };
    const auto n = static_cast<std::int64_t>(s.cursor_count);
    pointers_ = reinterpret_cast<std::byte**>(take(n * 8));
    passed_ = reinterpret_cast<std::byte**>(take(n * 8));
    steps_ = reinterpret_cast<std::int64_t*>(take(n * 8));
    passed_steps_ = reinterpret_cast<std::int64_t*>(take(n * 8));
    gathers_ = reinterpret_cast<gather_strides*>(take(n * 24));
    indices_ = reinterpret_cast<std::byte**>(take(n * 8));
    row_values_ = take(s.plan->reduction_count * row_bytes);
    asides_ = take(s.plan->reduction_count * row_bytes);
    buffers_of_lanes_ = take(n * stage_ * 8);
    scattered_ = take(s.info->scatters ? n * stage_ * 8 : 0);
    if (s.addresses) prepare_gathers();
    held_ = reinterpret_cast<std::byte**>(take(s.plan->hold_count * 8));
    for_each_held(s, [&](int k, std::int64_t bytes) { held_[k] = take(bytes); });
    for (int k = 0; k < s.outer_count; ++k) {
      (s.outer[k].row ? row_loop_ : parallel_loop_) = k;
      if (s.outer[k].row) rows_of_a_row_ *= s.outer[k].extent;
    }
  }

  void run(std::int64_t first, std::int64_t last) {
    for (std::int64_t task = first; task < last;) {
      const std::int64_t rows = rows_from(task, last);
      run_rows(task, rows);
      task += rows;
    }
    if (wrote_past_caches_) end_nontemporal();
  }
  /// An index a gather or scatter met outside of its extent, or -1… below 0 for negative ones.
  std::int64_t bad_index() const { return bad_index_; }
  bool failed() const { return failed_; }

 private:
  static constexpr std::int64_t row_bytes = chunk_lanes * 8;

  /// Where a call of a kernel stands: its pass and the pass's first cursor.
  struct call_site {
    const pass_info& pass;
    kernel call;
    int reads;
    int values() const { return reads + pass.read_count; }
    int outputs() const { return values() + pass.value_count; }
    int end() const { return outputs() + pass.output_count; }
    int width() const { return pass.inner < 0 ? 1 : lane_width; }
  };
  /// Rows of lanes.
  struct area {
    std::int64_t row, rows;     ///< from one of those that pointers stand at the first of
    std::int64_t first, lanes;  ///< from coordinate `begin_` of the innermost axis
  };

  static std::int64_t whole_blocks(std::int64_t lanes) {
    return (lanes + lane_width - 1) / lane_width * lane_width;
  }
  static std::int64_t stage_size(const nest_state& s) {
    const std::int64_t all = whole_blocks(s.inner_extent) * elements_over(s.info->domain, *s.l) /
                             (s.inner_extent > 0 ? s.inner_extent : 1);
    return all < lane_width ? lane_width : all < staged_lanes ? all : staged_lanes;
  }
  std::size_t bytes_needed(const nest_state& s) const {
    const auto n = static_cast<std::size_t>(s.cursor_count);
    const auto stage = static_cast<std::size_t>(stage_) * 8;
    std::size_t held = static_cast<std::size_t>(s.plan->hold_count) * 8 + 64;
    for_each_held(s,
                  [&](int, std::int64_t bytes) { held += static_cast<std::size_t>(bytes) + 64; });
    return n * (5 * 8 + 24 + (s.info->scatters ? 2 : 1) * stage) + 10 * 64 +
           2 * static_cast<std::size_t>(s.plan->reduction_count) * row_bytes + held;
  }

  /// Whole blocks of lanes of all rows that go through the passes together.
  std::int64_t lanes_together_of(const nest_state& s) const {
    std::int64_t rows = 1;
    bool together = s.inner_chunks == 1 && s.outer_count > 0;
    for (int k = 0; k < s.outer_count; ++k) {
      if (s.outer[k].row) rows *= s.outer[k].extent;
      together = together && !s.outer[k].row;
    }
    return (together ? most_together(s) : rows) * held_step_;
  }
  std::int64_t lanes_of_a_call() const {
    const std::int64_t lanes = held_step_ < call_lanes ? held_step_ : call_lanes;
    return lanes < stage_ ? stage_ : lanes;
  }
  /// Whether the passes that hold something can run twice: they do nothing else but reduce rows.
  static bool can_recompute(const nest_state& s) {
    for (int k = 0; k < s.info->pass_count; ++k) {
      const pass_info& pass = s.plan->passes[s.info->first_pass + k];
      bool holds = false, more = false;
      for (int i = 0; i < pass.output_count; ++i) {
        const graph::item_kind kind = s.plan->outputs[pass.first_output + i].kind;
        holds = holds || kind == graph::item_kind::hold;
        more = more || (kind != graph::item_kind::hold && kind != graph::item_kind::row_reduction);
      }
      if (holds && more) return false;
    }
    return true;
  }
  /// Calls f(index, bytes of its buffer) for the values that the nest holds.
  template <class F>
  void for_each_held(const nest_state& s, F f) const {
    for (int k = 0; k < s.plan->hold_count; ++k) {
      const hold_info& held = s.plan->holds[k];
      if (held.nest != s.nest) continue;
      f(k, held_lanes_ * static_cast<std::int64_t>(size_of(held.type)));
    }
  }

  void prepare_gathers() {
    const plan_view& p = *s_.plan;
    int at = 0;
    for (int k = 0; k < s_.info->pass_count; ++k) {
      const pass_info& pass = p.passes[s_.info->first_pass + k];
      const auto set = [&](const operand& o, graph::axis_map map) {
        const cursor& c = s_.cursors[at];
        gathers_[at].indexed = indexed_stride(o, map);
        gathers_[at].extent = o.indexed_extent;
        gathers_[at].inner = pass.inner >= 0 ? c.strides[pass.inner] / c.size : 0;
      };
      for (int i = 0; i < pass.read_count; ++i, ++at) {
        const read_info& r = p.reads[p.pass_reads[pass.first_read + i]];
        if (r.gathered) set(s_.l->inputs[r.slot], r.map);
      }
      at += pass.value_count;
      for (int i = 0; i < pass.output_count; ++i, ++at) {
        const output_info& out = p.outputs[pass.first_output + i];
        if (out.kind == graph::item_kind::scatter) set(s_.outputs[out.slot], out.map);
      }
    }
  }

  /// How many of the tasks are rows, one after the other along one loop, that go through the passes
  /// together.
  std::int64_t rows_from(std::int64_t task, std::int64_t last) const {
    const bool whole_rows = s_.inner_chunks == 1 && row_loop_ < 0;
    if (!whole_rows || parallel_loop_ < 0 || s_.info->scatters) return 1;
    const std::int64_t extent = s_.outer[parallel_loop_].extent;
    const std::int64_t left = extent - task % extent;
    std::int64_t rows = most_together(s_);
    rows = rows < left ? rows : left;
    return rows < last - task ? rows : last - task;
  }

  static std::int64_t most_together(const nest_state& s) {
    const std::int64_t rows = s.inner_extent == 0 ? 1 : lanes_together / s.inner_extent;
    return rows < 1 ? 1 : rows < chunk_lanes ? rows : chunk_lanes;
  }

  void run_rows(std::int64_t task, std::int64_t rows) {
    const std::int64_t chunk = task % s_.inner_chunks;
    std::int64_t rest = task / s_.inner_chunks;
    for (int k = s_.outer_count - 1; k >= 0; --k) {
      const loop& each = s_.outer[k];
      coordinates_[each.axis] = each.row ? 0 : rest % each.extent;
      if (!each.row) rest /= each.extent;
    }
    const bool inner_is_parallel = s_.inner >= 0 && !s_.inner_in_row;
    begin_ = inner_is_parallel ? chunk * s_.inner_chunk : 0;
    std::int64_t lanes = s_.inner_extent;
    if (inner_is_parallel) {
      const std::int64_t left = s_.inner_extent - begin_;
      lanes = left < s_.inner_chunk ? left : s_.inner_chunk;
    }
    int first_cursor = 0;
    for (int k = 0; k < s_.info->pass_count; ++k) {
      const int id = s_.info->first_pass + k;
      const call_site site{s_.plan->passes[id], s_.kernels[id], first_cursor};
      start_row_reductions(site, lanes);
      const std::int64_t width = site.pass.inner < 0 ? 1 : lanes;
      choose_ahead(k, task, rows, lanes);
      if (site.pass.row_pass || row_loop_ < 0) {
        point(site, parallel_loop_);
        run_area(site, parallel_loop_, {0, rows, 0, width}, false);
      } else {
        walk_row(site, width);
      }
      first_cursor = site.end();
    }
  }

  /// While the second pass runs, which finds its operands in the cache, the first one's operand of
  /// the next rows is fetched: reading and computing overlap. Where the first pass reads several
  /// streams, the processor keeps enough of them in flight by itself.
  void choose_ahead(int pass, std::int64_t task, std::int64_t rows, std::int64_t lanes) {
    constexpr std::int64_t most = 16384;  // lanes, so that all passes' operands stay in the cache
    ahead_ = -1;
    ahead_rows_ = rows;
    if (pass != 1 || row_loop_ >= 0 || parallel_loop_ < 0 || rows * lanes > most) return;
    const std::int64_t extent = s_.outer[parallel_loop_].extent;
    if (task % extent + 2 * rows > extent) return;
    const pass_info& first = s_.plan->passes[s_.info->first_pass];
    int streams = 0;
    for (int i = 0; i < first.read_count; ++i) {
      const cursor& c = s_.cursors[i];
      if (!c.lane || steps_[i] == 0) continue;
      ++streams;
      if (!c.direct && c.strides[first.inner] == c.size) ahead_ = i;
    }
    if (streams != 1) ahead_ = -1;
  }

  /// The loops within one row.
  void walk_row(const call_site& site, std::int64_t lanes) {
    const std::int64_t along = s_.outer[row_loop_].extent;
    std::int64_t since = 0;  // rows since sums were put aside
    bool put_aside = false;
    for (std::int64_t done = 0; done < rows_of_a_row_;) {
      std::int64_t rest = done / along;
      for (int k = row_loop_ - 1; k >= 0; --k) {
        if (!s_.outer[k].row) continue;
        coordinates_[s_.outer[k].axis] = rest % s_.outer[k].extent;
        rest /= s_.outer[k].extent;
      }
      coordinates_[s_.outer[row_loop_].axis] = 0;
      point(site, row_loop_);
      for (std::int64_t row = 0; row < along;) {
        const std::int64_t room = summed_at_a_time - since;
        const std::int64_t now = along - row < room ? along - row : room;
        run_area(site, row_loop_, {row, now, 0, lanes}, since > 0);
        since += now;
        row += now;
        done += now;
        if (since < summed_at_a_time || done == rows_of_a_row_) continue;
        for_each_row_value(site, [&](int reduction, const reduction_info& r, std::int64_t count) {
          if (!put_aside) fill_identity(aside(reduction), count, r.code, r.type);
          merge(aside(reduction), row_value(reduction), count, r.code, r.type);
          fill_identity(row_value(reduction), count, r.code, r.type);
        });
        put_aside = true;
        since = 0;
      }
    }
    for (int k = 0; k < s_.outer_count; ++k) {
      if (s_.outer[k].row) coordinates_[s_.outer[k].axis] = 0;
    }
    if (!put_aside) return;
    for_each_row_value(site, [&](int reduction, const reduction_info& r, std::int64_t count) {
      merge(row_value(reduction), aside(reduction), count, r.code, r.type);
    });
  }
  /// Calls f(reduction, its description, how many values of it there are).
  template <class F>
  void for_each_row_value(const call_site& site, F f) {
    for (int i = site.outputs(); i < site.end(); ++i) {
      const cursor& c = s_.cursors[i];
      if (c.where != place::row_value && c.where != place::lanes) continue;
      const std::int64_t count = c.where == place::lanes ? 1 : chunk_lanes;
      f(c.reduction, s_.plan->reductions[c.reduction], count);
    }
  }

  /// What kernels add to, and values of rows without any lanes.
  void start_row_reductions(const call_site& site, std::int64_t lanes) {
    for (int i = site.outputs(); i < site.end(); ++i) {
      const cursor& c = s_.cursors[i];
      const bool empty = lanes == 0 || rows_of_a_row_ == 0;
      if (c.where == place::row_value || (c.where == place::lanes && empty)) {
        const reduction_info& r = s_.plan->reductions[c.reduction];
        fill_identity(row_value(c.reduction), chunk_lanes, r.code, r.type);
      }
    }
  }

  std::byte* row_value(int reduction) const { return row_values_ + reduction * row_bytes; }
  std::byte* aside(int reduction) const { return asides_ + reduction * row_bytes; }
  std::byte* lanes_of(int cursor_id) const { return buffers_of_lanes_ + cursor_id * stage_ * 8; }

  /// Sets the pass's pointers to the coordinates, and their steps along a loop (-1: there is none).
  void point(const call_site& site, int along) {
    const int axis = along < 0 ? -1 : s_.outer[along].axis;
    const bool row_by_row = along == parallel_loop_;
    for (int i = site.reads; i < site.end(); ++i) {
      const cursor& c = s_.cursors[i];
      if (c.where == place::row_value || c.where == place::lanes) {
        pointers_[i] = row_value(c.reduction);
        steps_[i] = row_by_row && !c.lane ? c.size : 0;
        continue;
      }
      if (c.where == place::held) {
        steps_[i] = recomputes_ ? 0 : held_step_ * c.size;
        pointers_[i] = held_[c.reduction] + row_of_a_row() * steps_[i];
        continue;
      }
      std::byte* at = c.where == place::segment ? buffers_[c.reduction] : c.base;
      for (int k = 0; k < s_.outer_count; ++k) {
        at += coordinates_[s_.outer[k].axis] * c.strides[s_.outer[k].axis];
      }
      if (c.lane) at += begin_ * c.strides[site.pass.inner];
      pointers_[i] = at;
      steps_[i] = axis < 0 ? 0 : c.strides[axis];
    }
  }

  /// Where the coordinates stand among the rows of lanes of one row.
  std::int64_t row_of_a_row() const {
    std::int64_t at = 0;
    for (int k = 0; k < s_.outer_count; ++k) {
      if (s_.outer[k].row) at = at * s_.outer[k].extent + coordinates_[s_.outer[k].axis];
    }
    return at;
  }

  /// Whether an operand's lanes go through a buffer however many they are.
  bool is_staged(const call_site& site, int i) const {
    const cursor& c = s_.cursors[i];
    if (c.where == place::held) return recomputes_ && i < site.outputs();
    if (i >= site.outputs() && (c.direct || c.accumulates || c.past_caches)) return true;
    return c.lane && c.where == place::memory && !c.direct && c.strides[site.pass.inner] != c.size;
  }

  /// Runs a pass over rows along a loop, in areas that its kernel can take at once.
  void run_area(const call_site& site, int along, const area& all, bool adds) {
    if (all.lanes == 0 || all.rows == 0) return;
    bool stages = false;
    for (int i = site.reads; i < site.end(); ++i) stages = stages || is_staged(site, i);
    const std::int64_t whole = all.lanes / site.width() * site.width();
    std::int64_t done = 0;
    if (!stages && (whole == all.lanes || whole >= 512)) {
      for (; done < whole; done += call_lanes) {
        const std::int64_t now = whole - done < call_lanes ? whole - done : call_lanes;
        call_kernel(site, along, {all.row, all.rows, done, now}, adds || done > 0, false);
      }
      done = whole;
    }
    for (std::int64_t now = 0; done < all.lanes; done += now) {
      now = all.lanes - done < stage_ ? all.lanes - done : stage_;
      const std::int64_t padded = site.width() == 1 ? 1 : whole_blocks(now);
      const std::int64_t rows = s_.info->scatters ? 1 : stage_ / padded;
      for (std::int64_t row = 0; row < all.rows; row += rows) {
        const std::int64_t count = all.rows - row < rows ? all.rows - row : rows;
        const bool later = done > 0 || (row > 0 && along == row_loop_);
        call_kernel(site, along, {all.row + row, count, done, now}, adds || later, true);
      }
    }
  }

  /// One call of a kernel. staged: what is strided, short of a block or not to be written yet goes
  /// through buffers.
  void call_kernel(const call_site& site, int along, const area& a, bool adds, bool staged) {
    const pass_info& pass = site.pass;
    const bool partial = site.width() != 1 && a.lanes % lane_width != 0;
    const std::int64_t padded = site.width() == 1 ? 1 : whole_blocks(a.lanes);
    for (int i = site.reads; i < site.end(); ++i) {
      const cursor& c = s_.cursors[i];
      const std::int64_t stride = c.lane ? c.strides[pass.inner] : 0;
      std::byte* const at = pointers_[i] + a.row * steps_[i];
      passed_steps_[i] = steps_[i];
      if (c.where == place::held && recomputes_) {
        passed_[i] = held_[c.reduction];
        passed_steps_[i] = staged ? padded * c.size : 0;
        continue;
      }
      if (c.where == place::row_value || c.where == place::lanes || c.where == place::held) {
        passed_[i] = c.lane ? at + a.first * c.size : at;
        continue;
      }
      passed_[i] = at + a.first * stride;
      const bool moves = is_staged(site, i) || (partial && c.lane && !c.direct);
      if (!staged || !moves) continue;
      stage(site, i, a, padded);
    }
    std::int64_t coordinates[graph::max_axes];
    for (int k = 0; k < graph::max_axes; ++k) coordinates[k] = coordinates_[k];
    if (pass.inner >= 0) coordinates[pass.inner] += begin_ + a.first;
    constexpr std::int64_t none = std::int64_t{1} << 62;
    std::int64_t bad = none;
    kernel_frame f;
    f.extents = s_.l->extents;
    f.coordinates = coordinates;
    f.scalars = s_.l->scalars;
    f.reads = passed_ + site.reads;
    f.values = passed_ + site.values();
    f.outputs = passed_ + site.outputs();
    f.indices = indices_ + site.outputs();
    f.gathers = gathers_ + site.reads;
    f.bad_index = &bad;
    f.blocks = site.width() == 1 ? 1 : padded / lane_width;
    f.valid = static_cast<int>(a.lanes - (f.blocks - 1) * site.width());
    f.adds = adds;
    f.adds_rows = adds || along == row_loop_;
    f.rows = a.rows;
    f.steps = passed_steps_ + site.reads;
    if (ahead_ >= 0 && site.width() != 1) {
      const std::int64_t size = s_.cursors[ahead_].size;
      f.ahead = pointers_[ahead_] + (ahead_rows_ + a.row) * steps_[ahead_] + a.first * size;
      f.ahead_step = steps_[ahead_];
      f.ahead_bytes = lane_width * size;
    }
    if (along >= 0) {
      coordinates[s_.outer[along].axis] += a.row;
      f.row_coordinate = coordinates + s_.outer[along].axis;
    }
    if (recomputes_) recompute(site, along, a);
    site.call(f);
    for (int i = site.outputs(); staged && i < site.end(); ++i) {
      if (passed_[i] == lanes_of(i)) unstage(site, i, a, padded, &bad);
    }
    if (bad != none) {
      bad_index_ = bad;
      failed_ = true;
    }
  }

  /// Runs the passes again whose held values a call is to read, over its lanes. Their reductions,
  /// which are complete, go where none are kept.
  void recompute(const call_site& site, int along, const area& a) {
    int first_cursor = 0;
    for (int id = s_.info->first_pass; &s_.plan->passes[id] != &site.pass; ++id) {
      const call_site holder{s_.plan->passes[id], s_.kernels[id], first_cursor};
      first_cursor = holder.end();
      bool wanted = false;
      for (int i = holder.outputs(); i < holder.end(); ++i) {
        wanted = wanted || (s_.cursors[i].where == place::held && reads_held(site, i));
      }
      if (!wanted) continue;
      point(holder, along);
      for (int i = holder.outputs(); i < holder.end(); ++i) {
        const cursor& c = s_.cursors[i];
        if (c.where != place::held) pointers_[i] = aside(c.reduction);
      }
      call_kernel(holder, along, a, false, true);
    }
  }
  bool reads_held(const call_site& site, int output) const {
    for (int i = site.reads; i < site.values(); ++i) {
      const cursor& c = s_.cursors[i];
      if (c.where == place::held && c.reduction == s_.cursors[output].reduction) return true;
    }
    return false;
  }

  /// Passes a buffer in an operand's place, with the lanes that are read or added to; an operand
  /// that does not move from row to row once.
  void stage(const call_site& site, int i, const area& a, std::int64_t padded) {
    const cursor& c = s_.cursors[i];
    const bool output = i >= site.outputs();
    if (output && c.direct) indices_[i] = scattered_ + i * stage_ * 8;
    const bool reads = !output || c.where == place::segment;
    const std::int64_t stride = c.lane ? c.strides[site.pass.inner] : 0;
    std::byte* const to = lanes_of(i);
    for (std::int64_t row = 0; reads && row < (steps_[i] == 0 ? 1 : a.rows); ++row) {
      std::byte* const lanes = to + row * padded * c.size;
      move_strided<true>(lanes, passed_[i] + row * steps_[i], stride, a.lanes, c.size);
      if (padded > a.lanes) fill_up(lanes, a.lanes, padded, c.size);
    }
    passed_[i] = to;
    passed_steps_[i] = steps_[i] == 0 && reads ? 0 : padded * c.size;
  }

  /// Moves what a kernel wrote to a buffer to its place.
  void unstage(const call_site& site, int i, const area& a, std::int64_t padded,
               std::int64_t* bad) {
    const cursor& c = s_.cursors[i];
    const std::int64_t stride = c.lane ? c.strides[site.pass.inner] : 0;
    const bool once = c.where == place::segment && steps_[i] == 0;
    const std::int64_t lanes = c.lane ? a.lanes : 1;
    for (std::int64_t row = 0; row < (once ? 1 : a.rows); ++row) {
      std::byte* const to = pointers_[i] + (a.row + row) * steps_[i] + a.first * stride;
      const std::byte* const from = lanes_of(i) + row * padded * c.size;
      if (c.direct) {
        scatter(to, gathers_[i], from, reinterpret_cast<const std::int64_t*>(indices_[i]), a.lanes,
                c.type, bad);
      } else if (c.accumulates) {
        exec::detail::add_elements(to, stride / c.size, from, lanes, c.type);
      } else if (c.past_caches) {
        copy_nontemporal(to, from, lanes * c.size);
        wrote_past_caches_ = true;
      } else {
        move_strided<false>(to, from, stride, lanes, c.size);
      }
    }
  }

  const nest_state& s_;
  std::byte* const* buffers_;
  std::int64_t stage_;      ///< lanes of each buffer
  std::int64_t held_step_;  ///< lanes from a held row to the next
  bool recomputes_;         ///< rows are too long to be held: a call's lanes are computed before it
  std::int64_t held_lanes_;
  scratch memory_;
  std::byte** pointers_;
  std::byte** passed_;
  std::int64_t* steps_;
  std::int64_t* passed_steps_;
  gather_strides* gathers_;
  std::byte** indices_;
  std::byte* row_values_;
  std::byte* asides_;
  std::byte* buffers_of_lanes_;
  std::byte* scattered_;
  std::byte** held_;        ///< by index of the held value
  int parallel_loop_ = -1;  ///< the innermost parallel one of the outer loops
  int row_loop_ = -1;       ///< … and of those within a row
  std::int64_t rows_of_a_row_ = 1;
  std::int64_t begin_ = 0;
  int ahead_ = -1;  ///< the read of the first pass whose next rows are fetched
  std::int64_t ahead_rows_ = 0;
  std::int64_t coordinates_[graph::max_axes] = {};
  std::int64_t bad_index_ = -1;
  bool failed_ = false;
  bool wrote_past_caches_ = false;
};

}  // namespace detail
}  // namespace heddle::inline v0::exec::host
