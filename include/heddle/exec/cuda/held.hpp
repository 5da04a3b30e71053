// SPDX-License-Identifier: BSD-3-Clause
// What the held body keeps in a team's memory, lane by lane: operands, reductions that keep the
// lanes, values that several passes need.
#pragma once

#include <heddle/exec/cuda/accumulators.hpp>

namespace heddle::inline v0::exec::cuda::detail {

/// Whether the held body keeps it in the team's memory.
template <class Program, int Nest>
consteval bool is_held(int place) {
  return is_reread<Program, Nest>(place) || is_same_for_rows<Program, Nest>(place);
}

/// Whether a nest has a held body: its rows have something to be read again.
template <class Program, int Nest>
consteval bool find_holds_rows() {
  using layout = nest_layout<Program, Nest>;
  bool any = false;
  for (int i = 0; i < layout::read_count; ++i) any = any || is_reread<Program, Nest>(i);
  return any && layout::inner_in_row && !layout::info.scatters;
}
template <class Program, int Nest>
inline constexpr bool holds_rows = find_holds_rows<Program, Nest>();

// Held values: what a pass computes at a cost and a later one needs again (graph/passes/hold.hpp).

/// Whether nest Nest of a program holds values.
template <class Program, int Nest>
consteval bool has_holds() {
  const auto& p = plan_of<Program>;
  const int count = static_cast<int>(p.sizes.holds);
  for (int h = 0; h < count; ++h) {
    if (p.holds[static_cast<std::size_t>(h)].nest == Nest) return true;
  }
  return false;
}
/// The program whose held bodies a program's rows take.
template <class Program>
using program_of_rows = std::conditional_t<computes_twice<Program>(), holding<Program>, Program>;
/// Whether the held body is compiled for a nest: where values are computed twice, for the program
/// that holds them.
template <class Program, int Nest>
consteval bool has_held_body() {
  return holds_rows<Program, Nest> && (is_holding<Program> || !computes_twice<Program>());
}
/// Whether the others are.
template <class Program, int Nest>
consteval bool has_other_bodies() {
  return !has_holds<Program, Nest>();
}
/// Whether a cursor of the nest stands for a held value.
template <class Program, int Nest>
consteval bool is_hold(int place) {
  return read_of<Program, Nest>(place).held;
}
/// The cursor that a pass reads node `id` by, which an earlier pass holds; -1: it computes it.
template <class Program, int Nest>
consteval int place_of_hold(int pass, int id) {
  const auto& p = plan_of<Program>;
  for (int i = 0; i < nest_layout<Program, Nest>::read_count; ++i) {
    const read_info r = read_of<Program, Nest>(i);
    if (r.held && p.holds[r.slot].node == id && pass_reads<Program, Nest>(pass, i)) return i;
  }
  return -1;
}
/// The pass that writes held value `hold`, and the last one that reads it.
template <class Program, int Nest>
consteval int writer_of_hold(int hold) {
  using layout = nest_layout<Program, Nest>;
  const auto& p = plan_of<Program>;
  for (int k = layout::first_pass; k < layout::first_pass + layout::pass_count; ++k) {
    const pass_info pass = p.passes[static_cast<std::size_t>(k)];
    for (int i = 0; i < pass.output_count; ++i) {
      const output_info out = p.outputs[static_cast<std::size_t>(pass.first_output + i)];
      if (out.kind == graph::item_kind::hold && out.slot == hold) return k;
    }
  }
  return -1;
}
template <class Program, int Nest>
consteval int last_reader_of_hold(int hold) {
  int last = -1;
  for (int i = 0; i < nest_layout<Program, Nest>::read_count; ++i) {
    const read_info r = read_of<Program, Nest>(i);
    if (r.held && r.slot == hold) last = last_pass_of<Program, Nest>(i);
  }
  return last;
}
/// The held operand whose lanes a held value takes: one of its size that nobody reads behind the
/// pass that writes it; each has one value at most. -1: none.
template <class Program, int Nest>
consteval int place_under_hold(int hold) {
  const auto& p = plan_of<Program>;
  bool taken[nest_layout<Program, Nest>::read_count + 1] = {};
  for (int h = 0; h <= hold; ++h) {
    if (p.holds[static_cast<std::size_t>(h)].nest != Nest) continue;
    const std::size_t size = size_of(p.holds[static_cast<std::size_t>(h)].type);
    int found = -1;
    for (int i = 0; i < nest_layout<Program, Nest>::read_count && found < 0; ++i) {
      const bool fits = is_held<Program, Nest>(i) && !is_same_for_rows<Program, Nest>(i) &&
                        size_of(read_of<Program, Nest>(i).type) == size && !taken[i];
      if (fits && last_pass_of<Program, Nest>(i) == writer_of_hold<Program, Nest>(h)) found = i;
    }
    if (found >= 0) taken[found] = true;
    if (h == hold) return found;
  }
  return -1;
}
/// The last pass that needs the lanes of a held operand, which a held value may have taken.
template <class Program, int Nest>
consteval int last_use_of(int place) {
  const auto& p = plan_of<Program>;
  const int count = static_cast<int>(p.sizes.holds);
  for (int h = 0; h < count; ++h) {
    if (p.holds[static_cast<std::size_t>(h)].nest != Nest) continue;
    if (place_under_hold<Program, Nest>(h) == place) return last_reader_of_hold<Program, Nest>(h);
  }
  return last_pass_of<Program, Nest>(place);
}

/// Bytes that the held body keeps for a lane: of the operands before `place`, or all.
template <class Program, int Nest>
consteval int held_operand_bytes(int place = nest_layout<Program, Nest>::read_count) {
  int bytes = 0;
  for (int i = 0; i < place; ++i) {
    if (is_held<Program, Nest>(i)) {
      bytes += static_cast<int>(size_of(read_of<Program, Nest>(i).type));
    }
  }
  return bytes;
}
/// Of those, and of the reductions before `reduction`, or all.
template <class Program, int Nest>
consteval int held_bytes(int reduction = static_cast<int>(plan_of<Program>.sizes.reductions)) {
  int bytes = held_operand_bytes<Program, Nest>();
  for (int r = 0; r < reduction; ++r) {
    if (find_kind<Program, Nest, access::held>(r) == total_kind::held) {
      bytes += static_cast<int>(size_of(plan_of<Program>.reductions[r].type));
    }
  }
  return bytes;
}

/// And of the held values before `hold` that take no operand's place, or all: of a lane, all bytes.
template <class Program, int Nest>
consteval int lane_bytes(int hold = static_cast<int>(plan_of<Program>.sizes.holds)) {
  int bytes = held_bytes<Program, Nest>();
  for (int h = 0; h < hold; ++h) {
    const hold_info& value = plan_of<Program>.holds[static_cast<std::size_t>(h)];
    if (value.nest == Nest && place_under_hold<Program, Nest>(h) < 0) {
      bytes += static_cast<int>(size_of(value.type));
    }
  }
  return bytes;
}
/// Where a held value begins, in bytes a lane.
template <class Program, int Nest>
consteval int hold_bytes_before(int hold) {
  const int under = place_under_hold<Program, Nest>(hold);
  return under >= 0 ? held_operand_bytes<Program, Nest>(under) : lane_bytes<Program, Nest>(hold);
}

/// Lanes that a team holds of a row: each operand's begin at a multiple of 16 bytes.
HEDDLE_HD constexpr std::int64_t held_lanes(std::int64_t lanes) { return (lanes + 15) / 16 * 16; }

/// Reductions of a row that a pass of the nest has, at most.
template <class Program, int Nest>
consteval int most_row_reductions() {
  using layout = nest_layout<Program, Nest>;
  const auto& p = plan_of<Program>;
  int most = 1;
  for (int k = layout::first_pass; k < layout::first_pass + layout::pass_count; ++k) {
    const pass_info pass = p.passes[static_cast<std::size_t>(k)];
    int count = 0;
    for (int i = 0; i < pass.output_count; ++i) {
      const output_info out = p.outputs[static_cast<std::size_t>(pass.first_output + i)];
      count += out.kind == graph::item_kind::row_reduction ? 1 : 0;
    }
    most = count > most ? count : most;
  }
  return most;
}
/// Bytes of row memory that the teams which share a row exchange values by: two buffers, used in
/// turn, so that nobody waits for those who still read.
constexpr std::int64_t exchange_bytes(int reductions, int team, int members) {
  const std::int64_t warps = (team + warp_width - 1) / warp_width;
  return (8 * (exchange_words + 2 * reductions * warps * members) + 15) / 16 * 16;
}

}  // namespace heddle::inline v0::exec::cuda::detail
