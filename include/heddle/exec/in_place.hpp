// SPDX-License-Identifier: BSD-3-Clause
// Which operands of a statement may lie where its results are written.
#pragma once

#include <heddle/exec/bind.hpp>
#include <heddle/exec/plan.hpp>

namespace heddle::inline v0::detail {

/// Whether writing `to` while `read` is read could change what is read later. Both are taken
/// through their places in the iteration space: the same address at the same point is safe where
/// that is read in place, anything else that overlaps is not (by address: memory may have two
/// storages).
template <class T, int Rank>
bool conflicts(const tensor<T, Rank>& to, graph::axis_map to_map, const exec::leaf_view& read,
               graph::axis_map read_map, std::size_t read_size, const std::int64_t* extents,
               bool in_place) {
  const memory_map written{to.data(), to.extents().data(), to.strides().data(), Rank, sizeof(T)};
  const memory_map other{read.data, read.extents, read.strides, read.rank, read_size};
  if (written.empty() || other.empty()) return false;
  if (in_place && written.data == other.data && sizeof(T) == read_size) {
    exec::operand first{}, second{};
    for (int i = 0; i < Rank; ++i) first.strides[i] = to.strides()[i];
    exec::detail::bind_leaf(second, read, read_map, extents);
    bool same = true;
    for (int axis = 0; axis < graph::max_axes; ++axis) {
      same = same && (extents[axis] == 1 || exec::stride_along(first, to_map, axis) ==
                                                exec::stride_along(second, read_map, axis));
    }
    if (same) return false;
  }
  return same_map(written, other) || overlaps(written, other);
}

/// Whether an operand is read at all: the shape of a destination is only looked at.
template <class Statement>
inline constexpr auto operand_is_read = [] {
  exec::detail::table<bool, static_cast<std::size_t>(Statement::operand_count)> t;
  const auto& p = exec::plan_of<exec::cut_program<typename Statement::program>>;
  for (int i = 0; i < static_cast<int>(p.sizes.reads); ++i) {
    if (p.reads[i].slot < Statement::operand_count) t.values[p.reads[i].slot] = true;
  }
  return t;
}();

/// Whether each element of an operand is read where that of a result is written, and nowhere else:
/// by the one pass of an element-wise nest.
constexpr bool is_read_in_place(const exec::plan_view& p, int operand, int result) {
  bool in_place = true;
  for (int k = 0; k < p.pass_count; ++k) {
    const exec::pass_info& pass = p.passes[k];
    bool reads = false, writes = false, reduces = false;
    for (int i = 0; i < pass.read_count; ++i) {
      const exec::read_info& read = p.reads[p.pass_reads[pass.first_read + i]];
      if (read.held || read.slot != operand) continue;
      reads = true;
      in_place = in_place && !read.gathered;
    }
    for (int i = 0; i < pass.output_count; ++i) {
      const exec::output_info& out = p.outputs[pass.first_output + i];
      writes = writes || (graph::writes_result(out.kind) && out.slot == result);
      reduces = reduces || out.kind != graph::item_kind::store;
    }
    if (reads) in_place = in_place && writes && !reduces && p.nests[pass.nest].pass_count == 1;
  }
  return in_place;
}
template <class Statement>
inline constexpr auto read_in_place = [] {
  constexpr auto operands = static_cast<std::size_t>(Statement::operand_count);
  constexpr auto results = static_cast<std::size_t>(Statement::output_count);
  exec::detail::table<bool, operands * results> t;
  for (std::size_t k = 0; k < results; ++k) {
    for (std::size_t i = 0; i < operands; ++i) {
      t.values[k * operands + i] =
          is_read_in_place(exec::view_of<exec::cut_program<typename Statement::program>>(),
                           static_cast<int>(i), static_cast<int>(k));
    }
  }
  return t;
}();

}  // namespace heddle::inline v0::detail
