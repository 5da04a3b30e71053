// SPDX-License-Identifier: BSD-3-Clause
// What a thread of a CUDA body computes of one lane: the nodes of a pass, one after the other.
#pragma once

#include <cmath>

#include <heddle/exec/cuda/vectors.hpp>

namespace heddle::inline v0::exec::cuda::detail {

template <class Program, int Nest, access Access, class Team>
class nest_nodes : protected nest_vectors<Program, Nest, Access, Team> {
  using layout = nest_layout<Program, Nest>;

 protected:
  using operands = nest_vectors<Program, Nest, Access, Team>;
  using operands::at_;
  using operands::coordinates_;
  using operands::move_to;
  using operands::nest_;
  using operands::program_;
  using operands::team_;
  using typename operands::no_vectors;
  template <int Place>
  using operand_vector = typename operands::template operand_vector<Place>;
  // few sizes, so that programs share their steps
  static constexpr int size = Program::node_count <= 64    ? 64
                              : Program::node_count <= 256 ? 256
                                                           : Program::node_count;
  using slots = values<size>;

  template <int Pass>
  static constexpr pass_info pass_of = plan_of<Program>.passes[Pass];
  template <int Pass, int K>
  using output = output_of<Program, Pass, K>;
  template <int Pass, int K>
  static constexpr int output_place = layout::place_of_output(pass_of<Pass>.first_output + K);
  template <int Pass>
  using node_indices = std::make_integer_sequence<int, pass_of<Pass>.node_count>;
  template <int Pass, int K>
  static constexpr int node_id =
      plan_of<Program>.nodes[static_cast<std::size_t>(pass_of<Pass>.first_node + K)];

  HEDDLE_HD HEDDLE_INLINE nest_nodes(const Team& team, const program_arguments<Program>& program,
                                     const arguments_of<Program, Nest>& nest)
      : operands(team, program, nest) {}

  template <int Pass, bool Lanes, class Vectors, int... K>
  HEDDLE_HD HEDDLE_INLINE void evaluate(slots& once, slots& lane, const Vectors& loaded,
                                        std::int64_t first, int v, int valid,
                                        std::integer_sequence<int, K...>) {
    (evaluate_node<Pass, Lanes, node_id<Pass, K>>(once, lane, loaded, first, v, valid), ...);
  }

  /// Node Id of a pass, if it varies along the lanes as Lanes says.
  template <int Pass, bool Lanes, int Id, class Vectors>
  HEDDLE_HD HEDDLE_INLINE void evaluate_node(slots& once, slots& lane, const Vectors& loaded,
                                             std::int64_t first, int v, int valid) {
    constexpr int held = place_of_hold<Program, Nest>(Pass, Id);
    if constexpr (held >= 0) {
      using T = lane_t<plan_of<Program>.graph_nodes[Id].type>;
      if constexpr (Lanes) {
        slot<T, Id>(lane) = static_cast<const operand_vector<held>&>(loaded).lanes.of[v];
      }
    } else if constexpr (!Lanes && divides_by_one_value<Pass, Id>()) {
      constexpr graph::node n = plan_of<Program>.graph_nodes[Id];
      const float divisor = slot<float, n.b>(once);
      slot<float, Id>(once) = 1 / (divisor * scale_of(divisor));
    } else if constexpr (is_lane<Program>(pass_of<Pass>, Id) == Lanes) {
      constexpr graph::node n = plan_of<Program>.graph_nodes[Id];
      using T = lane_t<n.type>;
      [[maybe_unused]] T& value = slot<T, Id>(Lanes ? lane : once);
      if constexpr (n.code == op::input) {
        constexpr int place = place_of_leaf<Program, Nest>(Pass, Id);
        if constexpr (Lanes) {
          value = widened<T>(static_cast<const operand_vector<place>&>(loaded).lanes.of[v]);
        } else {
          value = widened<T>(*reinterpret_cast<const element_t<n.type>*>(at_[place]));
        }
      } else if constexpr (n.code == op::gather) {
        value = gathered<Pass, Lanes, Id>(once, lane, first + v, v < valid);
      } else if constexpr (is_reduction(n.code)) {
        value = reduced<Pass, Lanes, Id>(first, v, valid);
      } else if constexpr (Lanes && finds_lane<Pass, Id>()) {
        value = lane_at(slot<std::int64_t, n.a>(once), first) == v;
      } else if constexpr (Lanes && divides_by_one_value<Pass, Id>()) {
        const float divisor = slot<T, n.b>(once);
        value = quotient(slot<T, n.a>(lane), divisor, slot<T, Id>(once));
      } else {
        // made here: a pointer to itself would keep this object out of registers
        step_context context;
        context.extents = program_.extents;
        context.coordinates = coordinates_;
        context.scalars = program_.scalars;
        step<step_word<Program>(Id), step_extra<Program>(Id), step_info<Program, Pass>(Id), Id>(
            once, lane, context, first + v);
      }
      if constexpr (compares_extrema<Program> &&
                    (n.code == op::input || n.code == op::gather || is_reduction(n.code))) {
        value = rounded(value, 0.0f);
      }
    }
  }

  /// Whether a node compares an index that is the same for all lanes with where they stand: of a
  /// one-hot mask.
  template <int Pass, int Id>
  static consteval bool finds_lane() {
    constexpr const auto& nodes = plan_of<Program>.graph_nodes;
    constexpr graph::node n = nodes[Id];
    if constexpr (n.code == op::equal) {
      constexpr graph::node other = nodes[n.b];
      return other.code == op::iota && static_cast<int>(other.extra) == layout::inner &&
             nodes[n.a].type == dtype::i64 && !is_lane<Program>(pass_of<Pass>, n.a) &&
             is_lane<Program>(pass_of<Pass>, n.b);
    } else {
      return false;
    }
  }
  /// The lane of a vector that begins at `first` which stands at a position; -1: none of it.
  HEDDLE_HD HEDDLE_INLINE static int lane_at(std::int64_t position, std::int64_t first) {
    const auto lane = static_cast<std::uint64_t>(position) - static_cast<std::uint64_t>(first);
    return lane < 64 ? static_cast<int>(lane) : -1;
  }

  /// Whether a node divides all lanes by the same value.
  template <int Pass, int Id>
  static consteval bool divides_by_one_value() {
    constexpr graph::node n = plan_of<Program>.graph_nodes[Id];
    if constexpr (n.code == op::div && compute_dtype(n.type) == dtype::f32) {
      return !compares_extrema<Program> && is_lane<Program>(pass_of<Pass>, n.a) &&
             !is_lane<Program>(pass_of<Pass>, n.b);
    } else {
      return false;
    }
  }
  /// x / y, where y is the same for many and its reciprocal is known: one step of Newton's method
  /// makes the quotient the nearest one (Markstein, IA-64 and Elementary Functions, 2000, chapter
  /// 8), or one beside it where x is below 2^-100. Powers of two keep what is between from the ends
  /// of a float's range.
  HEDDLE_HD HEDDLE_INLINE static float quotient(float x, float y, float reciprocal) {
    const float scale = scale_of(y);
    const float dividend = x * scale;
    const float q = dividend * reciprocal;
    const float rest = ::fmaf(-q, y * scale, dividend);
    // of an infinite x, q or reciprocal nothing is left to correct, and zeros keep their sign
    constexpr float largest = 0x1.fffffep127f;
    return rest != 0 && ::fabsf(rest) <= largest ? ::fmaf(rest, reciprocal, q) : q;
  }
  HEDDLE_HD HEDDLE_INLINE static float scale_of(float y) {
    return ::fabsf(y) < 0x1p-60f ? 0x1p40f : ::fabsf(y) > 0x1p60f ? 0x1p-40f : 1.0f;
  }

  template <class T, class E>
  HEDDLE_HD HEDDLE_INLINE static T widened(E x) {
    if constexpr (std::is_same_v<T, bool>) {
      return x != 0;
    } else {
      return static_cast<T>(x);
    }
  }

  template <int Pass, bool Lanes, int Id>
  HEDDLE_HD HEDDLE_INLINE auto gathered(slots& once, slots& lane, std::int64_t at, bool counts) {
    constexpr graph::node n = plan_of<Program>.graph_nodes[Id];
    constexpr graph::node index_node = plan_of<Program>.graph_nodes[n.a];
    constexpr int place = place_of_leaf<Program, Nest>(Pass, Id);
    using E = element_t<n.type>;
    const table_strides table = program_.tables[layout::read_at(place)];
    auto index = static_cast<std::int64_t>(
        slot<lane_t<index_node.type>, n.a>(is_lane<Program>(pass_of<Pass>, n.a) ? lane : once));
    if (!counts) return lane_t<n.type>{};
    if (index < 0 || index >= table.extent) {
      team_.report(program_.bad_index, index);
      return lane_t<n.type>{};
    }
    const std::byte* from =
        at_[place] + index * table.indexed * static_cast<std::int64_t>(sizeof(E));
    if constexpr (Lanes) from += at * nest_.lane[place];
    return widened<lane_t<n.type>>(*reinterpret_cast<const E*>(from));
  }

  template <int Pass, bool Lanes, int Id>
  HEDDLE_HD HEDDLE_INLINE auto reduced(std::int64_t first, int v, int valid) {
    constexpr int r = reduction_of_node<Program>(Id);
    using T = total_type<Program, r>;
    if constexpr (kind_of_total<Program, Nest, Access, r> == total_kind::row) {
      return totals_.template get<r>().of[Lanes ? v : 0];
    } else {
      constexpr int place = layout::place_of_value(r);
      if (v >= valid) return T{};
      return *reinterpret_cast<const T*>(at_[place] +
                                         (Lanes ? (first + v) * nest_.lane[place] : 0));
    }
  }

  /// Of a scatter whose index is one for all lanes: the index at this position.
  HEDDLE_HD HEDDLE_INLINE std::int64_t scattered_to() {
    constexpr int pass = layout::first_pass;
    using out = output<pass, 0>;
    slots once;
    slots none;
    no_vectors no;
    evaluate<pass, false>(once, none, no, 0, 0, 1, node_indices<pass>{});
    return static_cast<std::int64_t>(slot<lane_t<out::index_type>, out::index>(once));
  }

  [[no_unique_address]] accumulators<Program, Nest, Access> totals_;
};

}  // namespace heddle::inline v0::exec::cuda::detail
