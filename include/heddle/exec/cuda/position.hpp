// SPDX-License-Identifier: BSD-3-Clause
// Where a thread of a CUDA body stands: the row, the step within it, and a pointer into each
// operand.
#pragma once

#include <heddle/exec/cuda/held.hpp>

namespace heddle::inline v0::exec::cuda::detail {

/// Whether nodes look at coordinates.
template <class Program>
consteval bool uses_coordinates() {
  for (int i = 0; i < Program::node_count; ++i) {
    const op code = plan_of<Program>.graph_nodes[static_cast<std::size_t>(i)].code;
    if (code == op::iota || is_random(code)) return true;
  }
  return false;
}

/// The reduction whose partial results a cursor stands for, or -1.
template <class Program, int Nest>
consteval int partial_of(int cursor) {
  using layout = nest_layout<Program, Nest>;
  const int k = cursor - layout::read_count - layout::value_count;
  if (k < 0) return -1;
  const output_info out =
      plan_of<Program>.outputs[static_cast<std::size_t>(layout::first_output + k)];
  return out.kind == graph::item_kind::terminal_reduction ? out.slot : -1;
}

template <class Program, int Nest>
class nest_position {
  using layout = nest_layout<Program, Nest>;

 protected:
  HEDDLE_HD HEDDLE_INLINE nest_position(const program_arguments<Program>& program,
                                        const arguments_of<Program, Nest>& nest)
      : program_(program), nest_(nest) {}

  /// Sets pointers and coordinates for a row and a step within it.
  HEDDLE_HD HEDDLE_INLINE void move_to(std::int64_t row, std::int64_t step) {
    std::int64_t at[layout::outer_bound] = {};
    HEDDLE_UNROLL
    for (int k = layout::outer_bound - 1; k >= 0; --k) {
      if (k >= nest_.shape.outer_count) continue;
      const bool in_row = (nest_.shape.row_loops >> k & 1u) != 0;
      const std::int64_t position = in_row ? step : row;
      // nothing is left of it behind the outermost loop
      const std::int64_t rest = k == 0 ? 0 : nest_.loops[k].quotient(position);
      at[k] = position - rest * nest_.loops[k].by();
      step = in_row ? rest : step;
      row = in_row ? row : rest;
      if constexpr (uses_coordinates<Program>()) set_coordinate(nest_.axes[k], at[k]);
    }
    move_cursors(at, std::make_integer_sequence<int, layout::cursor_count>{});
  }
  const program_arguments<Program>& program_;
  const arguments_of<Program, Nest>& nest_;
  std::int64_t slot_ = 0;   ///< the part of device memory for partial results
  std::int64_t begin_ = 0;  ///< first lane of the unit
  std::int64_t row_ = 0;
  std::int64_t coordinates_[graph::max_axes] = {};
  std::byte* at_[layout::cursor_count == 0 ? 1 : layout::cursor_count];

 private:
  HEDDLE_HD HEDDLE_INLINE void set_coordinate(int axis, std::int64_t at) {
    HEDDLE_UNROLL
    for (int k = 0; k < graph::max_axes; ++k) {
      if (k == axis) coordinates_[k] = at;
    }
  }
  template <int... C>
  HEDDLE_HD HEDDLE_INLINE void move_cursors(const std::int64_t* at,
                                            std::integer_sequence<int, C...>) {
    (move_cursor<C>(at), ...);
  }
  template <int C>
  HEDDLE_HD HEDDLE_INLINE void move_cursor(const std::int64_t* at) {
    constexpr int partial = partial_of<Program, Nest>(C);
    std::byte* to = nest_.base[C];
    if constexpr (partial >= 0) {
      to = program_.partials[partial] +
           slot_ * program_.kept[partial] *
               static_cast<std::int64_t>(sizeof(total_type<Program, partial>));
    }
    HEDDLE_UNROLL
    for (int k = 0; k < layout::outer_bound; ++k) {
      if (k < nest_.shape.outer_count) to += at[k] * nest_.strides[C][k];
    }
    at_[C] = to;
  }
};

}  // namespace heddle::inline v0::exec::cuda::detail
