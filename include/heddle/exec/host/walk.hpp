// SPDX-License-Identifier: BSD-3-Clause
// One thread's walk through its share of a nest's rows.
#pragma once

#include <heddle/exec/host/nest.hpp>

namespace heddle::inline v0::exec::host::detail {

/// A thread's part of a nest: pointers, packed lanes, accumulators. `buffers` are the (segment's
/// own) terminal buffers, by reduction.
class walker {
 public:
  walker(const nest_state& s, std::byte* const* buffers)
      : s_(s), buffers_(buffers), memory_(bytes_needed(s)), bad_index_(-1) {
    std::byte* at = memory_.data();
    const auto take = [&at](std::int64_t bytes) {
      std::byte* taken = at;
      at += (bytes + 63) / 64 * 64;
      return taken;
    };
    const auto n = static_cast<std::int64_t>(s.cursor_count);
    pointers_ = reinterpret_cast<std::byte**>(take(n * 8));
    passed_ = reinterpret_cast<std::byte**>(take(n * 8));
    gathers_ = reinterpret_cast<gather_strides*>(take(n * 24));
    indices_ = reinterpret_cast<std::byte**>(take(n * 8));
    row_values_ = take(s.plan->reduction_count * row_bytes);
    asides_ = take(s.plan->reduction_count * row_bytes);
    packed_ = take(n * row_bytes);
    scattered_ = take(s.info->scatters ? n * row_bytes : 0);
    if (s.addresses) prepare_gathers();
  }

  void run(std::int64_t first, std::int64_t last) {
    for (std::int64_t task = first; task < last; ++task) run_task(task);
  }
  /// An index a gather or scatter met outside of its extent, or -1… below 0 for negative ones.
  std::int64_t bad_index() const { return bad_index_; }
  bool failed() const { return failed_; }

 private:
  static constexpr std::int64_t row_bytes = chunk_lanes * 8;

  static std::size_t bytes_needed(const nest_state& s) {
    const auto n = static_cast<std::size_t>(s.cursor_count);
    const auto row = static_cast<std::size_t>(row_bytes);
    return n * (8 + 8 + 24 + 8 + (s.info->scatters ? 2 : 1) * row) + 8 * 64 +
           2 * static_cast<std::size_t>(s.plan->reduction_count) * row;
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

  void run_task(std::int64_t task) {
    const bool whole_rows = s_.inner_chunks == 1;
    const std::int64_t row = whole_rows ? task : task / s_.inner_chunks;
    const std::int64_t chunk = whole_rows ? 0 : task % s_.inner_chunks;
    for (std::int64_t& c : coordinates_) c = 0;
    std::int64_t rest = row;
    for (int k = s_.outer_count - 1; k >= 0; --k) {
      if (s_.outer[k].row) continue;
      coordinates_[s_.outer[k].axis] = rest % s_.outer[k].extent;
      rest /= s_.outer[k].extent;
    }
    const bool inner_is_parallel = s_.inner >= 0 && !s_.inner_in_row;
    const std::int64_t begin = inner_is_parallel ? chunk * s_.inner_chunk : 0;
    const std::int64_t lanes = inner_is_parallel && s_.inner_extent - begin < s_.inner_chunk
                                   ? s_.inner_extent - begin
                               : inner_is_parallel ? s_.inner_chunk
                                                   : s_.inner_extent;
    int first_cursor = 0;
    for (int k = 0; k < s_.info->pass_count; ++k) {
      const pass_info& pass = s_.plan->passes[s_.info->first_pass + k];
      run_pass_of_row(pass, s_.kernels[s_.info->first_pass + k], first_cursor, begin, lanes);
      first_cursor += pass.read_count + pass.value_count + pass.output_count;
    }
  }

  void run_pass_of_row(const pass_info& pass, kernel call, int first, std::int64_t begin,
                       std::int64_t lanes) {
    const int outputs = first + pass.read_count + pass.value_count;
    start_row_reductions(pass, outputs);
    if (pass.row_pass) {
      for (int k = 0; k < s_.outer_count; ++k) {
        if (s_.outer[k].row) coordinates_[s_.outer[k].axis] = 0;
      }
      run_lanes(pass, call, first, pass.inner < 0 ? 0 : begin, pass.inner < 0 ? 1 : lanes);
    } else {
      walk_rows(pass, call, first, begin, lanes);
    }
    fold_row_lanes(pass, outputs, false);
  }

  /// Folds the lanes of row reductions into their values; `again`: to be accumulated in further.
  void fold_row_lanes(const pass_info& pass, int outputs, bool again) {
    for (int i = 0; i < pass.output_count; ++i) {
      const cursor& c = s_.cursors[outputs + i];
      if (c.where != place::lanes) continue;
      const reduction_info& r = s_.plan->reductions[c.reduction];
      fold_lanes(row_value(c.reduction), lanes_of(outputs + i), r.code, r.type, true);
      if (again) fill_identity(lanes_of(outputs + i), lane_width, r.code, r.type);
    }
    lanes_since_fold_ = 0;
  }

  /// All coordinates of the row's outer loops.
  void walk_rows(const pass_info& pass, kernel call, int first, std::int64_t begin,
                 std::int64_t lanes) {
    std::int64_t rows = 1;
    for (int k = 0; k < s_.outer_count; ++k) {
      if (s_.outer[k].row) rows *= s_.outer[k].extent;
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      std::int64_t rest = row;
      for (int k = s_.outer_count - 1; k >= 0; --k) {
        if (!s_.outer[k].row) continue;
        coordinates_[s_.outer[k].axis] = rest % s_.outer[k].extent;
        rest /= s_.outer[k].extent;
      }
      run_lanes(pass, call, first, begin, lanes);
      if ((row + 1) % summed_at_a_time == 0 && row + 1 < rows) put_rows_aside(pass, first, row);
      if (row + 1 == rows && rows > summed_at_a_time) take_rows_back(pass, first);
    }
  }

  /// Rows side by side are summed in parts, as are terminal reductions.
  void put_rows_aside(const pass_info& pass, int first, std::int64_t row) {
    for_each_row_value(pass, first, [&](int reduction, const reduction_info& r) {
      if (row < summed_at_a_time) fill_identity(aside(reduction), chunk_lanes, r.code, r.type);
      merge(aside(reduction), row_value(reduction), chunk_lanes, r.code, r.type);
      fill_identity(row_value(reduction), chunk_lanes, r.code, r.type);
    });
  }
  void take_rows_back(const pass_info& pass, int first) {
    for_each_row_value(pass, first, [&](int reduction, const reduction_info& r) {
      merge(row_value(reduction), aside(reduction), chunk_lanes, r.code, r.type);
    });
  }
  template <class F>
  void for_each_row_value(const pass_info& pass, int first, F f) {
    const int outputs = first + pass.read_count + pass.value_count;
    for (int i = 0; i < pass.output_count; ++i) {
      const cursor& c = s_.cursors[outputs + i];
      if (c.where == place::row_value) f(c.reduction, s_.plan->reductions[c.reduction]);
    }
  }

  void start_row_reductions(const pass_info& pass, int outputs) {
    for (int i = 0; i < pass.output_count; ++i) {
      const cursor& c = s_.cursors[outputs + i];
      if (c.where != place::lanes && c.where != place::row_value) continue;
      const reduction_info& r = s_.plan->reductions[c.reduction];
      if (c.where == place::lanes) {
        fill_identity(lanes_of(outputs + i), lane_width, r.code, r.type);
        fill_identity(row_value(c.reduction), 1, r.code, r.type);
      } else {
        fill_identity(row_value(c.reduction), chunk_lanes, r.code, r.type);
      }
    }
  }

  std::byte* row_value(int reduction) const { return row_values_ + reduction * row_bytes; }
  std::byte* aside(int reduction) const { return asides_ + reduction * row_bytes; }
  std::byte* lanes_of(int cursor_id) const { return packed_ + cursor_id * row_bytes; }

  /// Runs a kernel over `lanes` lanes from coordinate `begin` of the innermost axis.
  void run_lanes(const pass_info& pass, kernel call, int first, std::int64_t begin,
                 std::int64_t lanes) {
    const int count = pass.read_count + pass.value_count + pass.output_count;
    bool packs = false;
    for (int i = first; i < first + count; ++i) {
      const cursor& c = s_.cursors[i];
      if (c.where == place::row_value) {
        pointers_[i] = row_value(c.reduction);
      } else if (c.where == place::lanes) {
        pointers_[i] = lanes_of(i);
      } else {
        std::byte* at = c.where == place::segment ? buffers_[c.reduction] : c.base;
        for (int k = 0; k < s_.outer_count; ++k) {
          at += coordinates_[s_.outer[k].axis] * c.strides[s_.outer[k].axis];
        }
        if (c.lane) at += begin * c.strides[pass.inner];
        pointers_[i] = at;
      }
      if (c.lane && c.where == place::memory && !c.direct && c.strides[pass.inner] != c.size) {
        packs = true;
      }
      if (c.direct && i >= first + pass.read_count + pass.value_count) packs = true;
      if (c.accumulates) packs = true;
    }
    std::int64_t done = 0;
    const std::int64_t whole = lanes / lane_width * lane_width;
    // in parts: no accumulator takes more than summed_at_a_time additions
    constexpr std::int64_t part_lanes = summed_at_a_time * lane_width;
    while (!packs && done < whole) {
      const std::int64_t now = whole - done < part_lanes ? whole - done : part_lanes;
      call_kernel(pass, call, first, begin, done, now, false);
      done += now;
    }
    while (done < lanes) {
      const std::int64_t now = lanes - done < chunk_lanes ? lanes - done : chunk_lanes;
      const std::int64_t blocks = now / lane_width * lane_width;
      const std::int64_t part = blocks > 0 ? blocks : now;
      call_kernel(pass, call, first, begin, done, part, true);
      done += part;
    }
  }

  /// One kernel call over lanes [offset, offset + lanes) of the run. staged: lanes that are
  /// strided, or short of a block, go through buffers.
  void call_kernel(const pass_info& pass, kernel call, int first, std::int64_t begin,
                   std::int64_t offset, std::int64_t lanes, bool staged) {
    const int reads = first + pass.read_count;
    const int outputs = reads + pass.value_count;
    const int end = outputs + pass.output_count;
    const bool partial = lanes < lane_width;
    if ((lanes_since_fold_ += lanes) > summed_at_a_time * lane_width) {
      fold_row_lanes(pass, outputs, true);
      lanes_since_fold_ = lanes;
    }
    for (int i = first; i < end; ++i) {
      const cursor& c = s_.cursors[i];
      std::byte* at = pointers_[i];
      const bool output = i >= outputs;
      if (c.where == place::row_value) {
        passed_[i] = c.lane ? at + offset * c.size : at;
        continue;
      }
      if (c.where == place::lanes) {
        passed_[i] = at;
        continue;
      }
      if (c.where == place::segment && !c.lane) {  // folded: lanes first, the buffer after
        passed_[i] = lanes_of(i);
        const reduction_info& r = s_.plan->reductions[c.reduction];
        fill_identity(passed_[i], lane_width, r.code, r.type);
        continue;
      }
      const std::int64_t stride = c.lane ? c.strides[pass.inner] : 0;
      at += offset * stride;
      if (output && c.direct) {  // scatter: values and indices first
        passed_[i] = lanes_of(i);
        indices_[i] = scattered_ + i * row_bytes;
        continue;
      }
      const bool in_place = stride == c.size && !partial && c.lane && !c.accumulates;
      if (c.direct || (!output && !c.lane) || !staged || in_place) {
        passed_[i] = at;
        continue;
      }
      passed_[i] = lanes_of(i);
      if (!output || c.where == place::segment) {
        move_strided<true>(passed_[i], at, stride, lanes, c.size);
        fill_up(passed_[i], lanes, c.size);
      }
    }
    std::int64_t at_lane[graph::max_axes];
    for (int k = 0; k < graph::max_axes; ++k) at_lane[k] = coordinates_[k];
    if (pass.inner >= 0) at_lane[pass.inner] += begin + offset;
    constexpr std::int64_t none = std::int64_t{1} << 62;
    std::int64_t bad = none;
    kernel_frame f;
    f.extents = s_.l->extents;
    f.coordinates = at_lane;
    f.scalars = s_.l->scalars;
    f.reads = passed_ + first;
    f.values = passed_ + reads;
    f.outputs = passed_ + outputs;
    f.indices = indices_ + outputs;
    f.gathers = gathers_ + first;
    f.bad_index = &bad;
    f.blocks = (lanes + lane_width - 1) / lane_width;
    f.valid = partial ? static_cast<int>(lanes) : lane_width;
    call(f);
    for (int i = outputs; i < end; ++i) {
      const cursor& c = s_.cursors[i];
      if (c.where == place::segment && !c.lane) {
        const reduction_info& r = s_.plan->reductions[c.reduction];
        fold_lanes(pointers_[i], passed_[i], r.code, r.type, true);
      } else if (c.direct) {
        scatter(pointers_[i] + (c.lane ? offset * c.strides[pass.inner] : 0), gathers_[i],
                passed_[i], reinterpret_cast<const std::int64_t*>(indices_[i]), lanes, c.type,
                &bad);
      } else if (c.accumulates) {
        const std::int64_t stride = c.lane ? c.strides[pass.inner] : 0;
        exec::detail::add_elements(pointers_[i] + offset * stride, stride / c.size, passed_[i],
                                   c.lane ? lanes : 1, c.type);
      } else if (passed_[i] == lanes_of(i) && c.where != place::lanes) {
        const std::int64_t stride = c.lane ? c.strides[pass.inner] : 0;
        move_strided<false>(pointers_[i] + offset * stride, passed_[i], stride, c.lane ? lanes : 1,
                            c.size);
      }
    }
    if (bad != none) {
      bad_index_ = bad;
      failed_ = true;
    }
  }

  const nest_state& s_;
  std::byte* const* buffers_;
  scratch memory_;
  std::byte** pointers_;
  std::byte** passed_;
  gather_strides* gathers_;
  std::byte** indices_;
  std::byte* row_values_;
  std::byte* asides_;
  std::byte* packed_;
  std::byte* scattered_;
  std::int64_t coordinates_[graph::max_axes] = {};
  std::int64_t bad_index_;
  std::int64_t lanes_since_fold_ = 0;
  bool failed_ = false;
};

}  // namespace heddle::inline v0::exec::host::detail
