// SPDX-License-Identifier: BSD-3-Clause
// What a launch hands to the body of one nest: collapsed loops, pointers with their strides, and
// how the work is divided. Filled in by prepare.hpp on the host.
#pragma once

#include <heddle/exec/cuda/divisor.hpp>
#include <heddle/exec/step.hpp>

namespace heddle::inline v0::exec::cuda {

namespace detail {

using namespace heddle::exec::detail;

/// Where a nest's operands stand in its arguments: first what it reads, then reductions that
/// earlier nests left in memory, then what it writes (partial results of terminal reductions among
/// it).
template <class Program, int Nest>
struct nest_layout {
  static constexpr nest_info info = plan_of<Program>.nests[Nest];
  static constexpr int first_pass = info.first_pass;
  static constexpr int pass_count = info.pass_count;
  static constexpr int first_output = plan_of<Program>.passes[first_pass].first_output;
  static constexpr int output_count =
      plan_of<Program>.passes[first_pass + pass_count - 1].first_output +
      plan_of<Program>.passes[first_pass + pass_count - 1].output_count - first_output;

  static constexpr bool reads(std::size_t read) {
    const auto& p = plan_of<Program>;
    for (int k = 0; k < pass_count; ++k) {
      const pass_info pass = p.passes[static_cast<std::size_t>(first_pass + k)];
      for (int i = 0; i < pass.read_count; ++i) {
        if (p.pass_reads[static_cast<std::size_t>(pass.first_read + i)] == read) return true;
      }
    }
    return false;
  }
  /// Whether a pass needs the value that reduction r has in memory.
  static constexpr bool loads(std::size_t r) {
    const auto& p = plan_of<Program>;
    if (p.reductions[r].row && p.reductions[r].nest == Nest) return false;
    for (int k = 0; k < pass_count; ++k) {
      const pass_info pass = p.passes[static_cast<std::size_t>(first_pass + k)];
      for (int i = 0; i < pass.value_count; ++i) {
        if (p.pass_values[static_cast<std::size_t>(pass.first_value + i)] == r) return true;
      }
    }
    return false;
  }

  static constexpr int count_reads() {
    int n = 0;
    for (int i = 0; i < static_cast<int>(plan_of<Program>.sizes.reads); ++i) {
      n += reads(static_cast<std::size_t>(i)) ? 1 : 0;
    }
    return n;
  }
  static constexpr int count_values() {
    int n = 0;
    for (int i = 0; i < static_cast<int>(plan_of<Program>.sizes.reductions); ++i) {
      n += loads(static_cast<std::size_t>(i)) ? 1 : 0;
    }
    return n;
  }
  static constexpr int read_count = count_reads();
  static constexpr int value_count = count_values();
  static constexpr int cursor_count = read_count + value_count + output_count;

  /// The place of plan read `read`, and the read at a place.
  static consteval int place_of_read(std::size_t read) {
    int n = 0;
    for (std::size_t i = 0; i < read; ++i) n += reads(i) ? 1 : 0;
    return n;
  }
  static consteval std::size_t read_at(int place) {
    int n = 0;
    for (int i = 0; i < static_cast<int>(plan_of<Program>.sizes.reads); ++i) {
      if (reads(static_cast<std::size_t>(i)) && n++ == place) return static_cast<std::size_t>(i);
    }
    return 0;
  }
  static consteval int place_of_value(std::size_t reduction) {
    int n = read_count;
    for (std::size_t i = 0; i < reduction; ++i) n += loads(i) ? 1 : 0;
    return n;
  }
  static consteval std::size_t value_at(int place) {
    int n = read_count;
    for (int i = 0; i < static_cast<int>(plan_of<Program>.sizes.reductions); ++i) {
      if (loads(static_cast<std::size_t>(i)) && n++ == place) return static_cast<std::size_t>(i);
    }
    return 0;
  }
  /// Of output `output` of the plan.
  static consteval int place_of_output(int output) {
    return read_count + value_count + output - first_output;
  }

  /// Of the partial results of a terminal reduction.
  static consteval int place_of_total(int reduction) {
    for (int k = 0; k < output_count; ++k) {
      const output_info out = plan_of<Program>.outputs[static_cast<std::size_t>(first_output + k)];
      if (out.kind == graph::item_kind::terminal_reduction && out.slot == reduction) {
        return read_count + value_count + k;
      }
    }
    return read_count + value_count;
  }

  /// The axis that lanes run along, -1 where the nest is one element.
  static constexpr int inner = detail::last_axis(info.domain);
  static constexpr bool inner_in_row = inner >= 0 && (info.row >> (inner < 0 ? 0 : inner) & 1) != 0;
  static constexpr int outer_bound = [] {
    const int axes = std::popcount(static_cast<unsigned>(info.domain));
    return axes > 1 ? axes - 1 : 1;
  }();
};

}  // namespace detail

/// Of a scatter: its rows, sorted by the rows of the table that they go to.
struct sorted_rows {
  std::uint64_t* words = nullptr;  ///< the table's row of each, ascending; none is the last
  std::int64_t* places = nullptr;  ///< the rows; null: they are not sorted
  /// Sums of rows of the table that several segments add to: [segment][before,
  /// after][output][lane], 8 bytes each.
  std::byte* shared = nullptr;
  std::int64_t table_rows = 0;  ///< of the largest table: the word of an index outside of it
};

/// The place of the lowest bit that is set.
HEDDLE_HD inline int place_of_bit(unsigned x) {
#if defined(__CUDA_ARCH__)
  return __ffs(static_cast<int>(x)) - 1;
#else
  return std::countr_zero(x);
#endif
}

/// How a nest's work is divided. Units are (segment of the parallel rows, chunk of the innermost
/// axis); each is done by one group of `width` threads, in order. Of rows that are held, a unit is
/// done by `members` teams, each its chunk of the lanes.
struct nest_shape {
  std::int64_t inner_extent = 1;
  std::int64_t rows = 1;       ///< product of the parallel outer loops
  std::int64_t row_steps = 1;  ///< product of the outer loops within a row
  std::int64_t segments = 1;
  std::int64_t chunk = 1;  ///< lanes of a unit; of rows that are held, those of a member
  std::int64_t chunks = 1;
  int width = 1;           ///< threads that share a row: a power of two up to 32, or the team
  int groups = 1;          ///< groups of a team
  std::int64_t slots = 1;  ///< parts of device memory for partial results: segments, or units
  bool slot_of_unit = false;
  int members = 1;            ///< teams that share a row; more than one: of rows that they hold
  std::int64_t exchange = 0;  ///< bytes of row memory before the rows, for what members send
  int merged_apart = 0;  ///< teams whose partial results a launch of its own merges; 0: none does
  int outer_count = 0;
  unsigned row_loops = 0;  ///< which outer loops run within a row, one bit each
  divisor by_segments;
  divisor by_chunks;
  sorted_rows sorted;

  /// The group that a thread of a team belongs to, and its rank there.
  [[nodiscard]] HEDDLE_HD int group_of(int rank, int team) const {
    return width == team ? 0 : rank >> place_of_bit(static_cast<unsigned>(width));
  }
  [[nodiscard]] HEDDLE_HD int rank_in_group(int rank, int team) const {
    return width == team ? rank : rank & (width - 1);
  }
};

/// The rows of a segment.
struct row_range {
  std::int64_t begin, end;

  HEDDLE_HD row_range(std::int64_t from, std::int64_t to) : begin(from), end(to) {}
  HEDDLE_HD row_range(const nest_shape& shape, std::int64_t segment)
      : begin(shape.by_segments.quotient(shape.rows * segment)),
        end(shape.by_segments.quotient(shape.rows * (segment + 1))) {}
};

/// Lanes of a shared sum, so that each begins where vectors may.
HEDDLE_HD constexpr std::int64_t shared_lanes(std::int64_t inner_extent) {
  return (inner_extent + 15) / 16 * 16;
}
/// Shared sum `which` (2 * segment, or one more for the rows at its end) of an output.
template <class T>
HEDDLE_HD T* shared_sum(const nest_shape& shape, int outputs, int output, std::int64_t which) {
  return reinterpret_cast<T*>(shape.sorted.shared +
                              8 * shared_lanes(shape.inner_extent) * (which * outputs + output));
}

template <int Cursors, int Outer>
struct nest_arguments {
  nest_shape shape;
  divisor loops[Outer] = {};     ///< extents of the outer loops
  std::int8_t axes[Outer] = {};  ///< the iteration axes they run along
  std::byte* base[Cursors == 0 ? 1 : Cursors] = {};
  std::int64_t strides[Cursors == 0 ? 1 : Cursors][Outer] = {};  ///< bytes, per outer loop
  std::int64_t lane[Cursors == 0 ? 1 : Cursors] = {};  ///< bytes, along the innermost axis
  /// Of a terminal reduction: the outer loops do not move it. Others start from its identity in
  /// memory.
  bool fixed[Cursors == 0 ? 1 : Cursors] = {};
};

template <class Program, int Nest>
using arguments_of = nest_arguments<detail::nest_layout<Program, Nest>::cursor_count,
                                    detail::nest_layout<Program, Nest>::outer_bound>;

/// How a gather or scatter moves through its table, in elements.
struct table_strides {
  std::int64_t indexed = 0;
  std::int64_t extent = 0;
};

/// What all nests of a program share.
template <class Program>
struct program_arguments {
  static constexpr auto sizes = plan_of<Program>.sizes;
  static constexpr int scalar_count = [] {
    int n = 0;
    for (int i = 0; i < Program::node_count; ++i) {
      const graph::node& node = plan_of<Program>.graph_nodes[static_cast<std::size_t>(i)];
      if (node.code == op::argument && node.a + 1 > n) n = node.a + 1;
    }
    return n;
  }();

  std::int64_t extents[graph::max_axes] = {};
  scalar_bits scalars[scalar_count == 0 ? 1 : scalar_count] = {};
  table_strides tables[sizes.reads == 0 ? 1 : sizes.reads] = {};       ///< of gathers, by plan read
  table_strides written[sizes.outputs == 0 ? 1 : sizes.outputs] = {};  ///< of scatters, by output
  std::uint64_t accumulates = 0;  ///< of the outputs by place in the plan: added to
  std::byte* merged[sizes.reductions == 0 ? 1 : sizes.reductions] = {};
  std::byte* partials[sizes.reductions == 0 ? 1 : sizes.reductions] = {};
  std::int64_t kept[sizes.reductions == 0 ? 1 : sizes.reductions] = {};  ///< elements
  std::int64_t* bad_index = nullptr;  ///< where an index outside of its table is left
  unsigned* ticket = nullptr;
};

}  // namespace heddle::inline v0::exec::cuda
