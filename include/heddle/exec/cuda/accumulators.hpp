// SPDX-License-Identifier: BSD-3-Clause
// What a thread of a CUDA body keeps: vectors of operands, and the accumulators of reductions.
#pragma once

#include <heddle/exec/cuda/arguments.hpp>
#include <heddle/exec/cuda/team.hpp>
#include <heddle/exec/cuda/tuning.hpp>

namespace heddle::inline v0::exec::cuda {

/// How a body reaches its lanes. A program has at most these bodies.
enum class access : std::uint8_t {
  strided,   ///< element by element, any layout
  wide,      ///< vectors of 16 bytes: lanes contiguous and aligned
  resident,  ///< likewise, and a row fits one vector a thread: it is read once for all passes
  held       ///< likewise, and a row fits the memory that a team has, or that several have together
};

namespace detail {

/// Whether operand or output with this map moves along the lanes of nest `Nest`.
template <class Program, int Nest>
consteval bool along_lanes(graph::axis_mask mask) {
  constexpr int inner = nest_layout<Program, Nest>::inner;
  return inner >= 0 && (mask >> (inner < 0 ? 0 : inner) & 1) != 0;
}

/// Lanes of one vector: 16 bytes of the narrowest operand, 2 to 8 of them.
template <class Program, int Nest, access Access>
consteval int find_vector_width() {
  if (Access == access::strided) return 1;
  using layout = nest_layout<Program, Nest>;
  const auto& p = plan_of<Program>;
  std::size_t narrowest = 16;
  for (int i = 0; i < layout::read_count; ++i) {
    const read_info r = p.reads[layout::read_at(i)];
    if (r.gathered || !along_lanes<Program, Nest>(graph::mask_of(r.map))) continue;
    if (size_of(r.type) < narrowest) narrowest = size_of(r.type);
  }
  for (int i = 0; i < layout::output_count; ++i) {
    const output_info out = p.outputs[static_cast<std::size_t>(layout::first_output + i)];
    if (out.kind != graph::item_kind::store) continue;
    if (!along_lanes<Program, Nest>(graph::mask_of(out.map))) continue;
    if (size_of(out.type) < narrowest) narrowest = size_of(out.type);
  }
  return narrowest <= 2 ? 8 : narrowest == 16 ? 4 : static_cast<int>(16 / narrowest);
}
template <class Program, int Nest, access Access>
inline constexpr int vector_width = find_vector_width<Program, Nest, Access>();

/// How a reduction of this nest is accumulated.
enum class total_kind : std::uint8_t {
  none,    ///< not one of this nest's
  row,     ///< over a row: read by later passes
  full,    ///< one value: in a register to the end
  lanes,   ///< kept along the lanes, which stay with their thread: in registers
  held,    ///< likewise, in the team's memory
  memory,  ///< kept otherwise: in the segment's part of device memory
};

template <class Program>
consteval int reduction_of_node(int id) {
  const auto& p = plan_of<Program>;
  for (int r = 0; r < static_cast<int>(p.sizes.reductions); ++r) {
    if (p.reductions[static_cast<std::size_t>(r)].node == id) return r;
  }
  return 0;
}
template <class Program>
consteval int pass_of_reduction(int reduction) {
  const auto& p = plan_of<Program>;
  for (std::size_t k = 0; k < p.sizes.passes; ++k) {
    for (int i = 0; i < p.passes[k].output_count; ++i) {
      const output_info out = p.outputs[static_cast<std::size_t>(p.passes[k].first_output + i)];
      if (out.node == p.reductions[static_cast<std::size_t>(reduction)].node &&
          (out.kind == graph::item_kind::row_reduction ||
           out.kind == graph::item_kind::terminal_reduction)) {
        return static_cast<int>(k);
      }
    }
  }
  return -1;
}

/// Whether reduction r of nest Nest has an element for each lane.
template <class Program, int Nest>
consteval bool keeps_lanes(int r) {
  const auto& p = plan_of<Program>;
  const pass_info pass = p.passes[static_cast<std::size_t>(pass_of_reduction<Program>(r))];
  return pass.inner >= 0 &&
         along_lanes<Program, Nest>(p.reductions[static_cast<std::size_t>(r)].kept);
}

/// Whether a terminal reduction of the nest keeps axes, but not the lanes'.
template <class Program, int Nest>
consteval bool find_folds_lanes() {
  const auto& p = plan_of<Program>;
  for (int r = 0; r < static_cast<int>(p.sizes.reductions); ++r) {
    const reduction_info& info = p.reductions[static_cast<std::size_t>(r)];
    if (info.nest == Nest && !info.row && info.kept != 0 && !keeps_lanes<Program, Nest>(r)) {
      return true;
    }
  }
  return false;
}
template <class Program, int Nest>
inline constexpr bool folds_lanes = find_folds_lanes<Program, Nest>();

/// Whether a lane stays with its thread from row to row.
template <class Program, int Nest, access Access>
inline constexpr bool lanes_stay = Access == access::resident ||
                                   (!nest_layout<Program, Nest>::inner_in_row &&
                                    !(nest_layout<Program, Nest>::info.row == 0 &&
                                      folds_lanes<Program, Nest>));

template <class Program, int Nest, access Access>
consteval total_kind find_kind(int reduction) {
  const reduction_info r = plan_of<Program>.reductions[static_cast<std::size_t>(reduction)];
  if (r.nest != Nest) return total_kind::none;
  if (r.row) return total_kind::row;
  if (r.kept == 0) return total_kind::full;
  const auto row = nest_layout<Program, Nest>::info.row;
  if (Access == access::held && keeps_lanes<Program, Nest>(reduction) && (r.kept & ~row) == 0) {
    return total_kind::held;
  }
  return keeps_lanes<Program, Nest>(reduction) && lanes_stay<Program, Nest, Access>
             ? total_kind::lanes
             : total_kind::memory;
}
/// Whether the nest only scatters, whole lanes of it to a row that one index names: then several
/// groups may share the work, each the rows of the table that it owns.
template <class Program, int Nest>
consteval bool find_owned_scatter() {
  using layout = nest_layout<Program, Nest>;
  const auto& p = plan_of<Program>;
  const pass_info pass = p.passes[static_cast<std::size_t>(layout::first_pass)];
  bool owned = layout::info.scatters && layout::pass_count == 1 && layout::info.row == 0 &&
               layout::inner >= 0 && pass.inner >= 0;
  int index = -1;
  for (int i = 0; i < layout::output_count; ++i) {
    const output_info out = p.outputs[static_cast<std::size_t>(layout::first_output + i)];
    owned = owned && out.kind == graph::item_kind::scatter;
    if (!owned) continue;
    const int of = p.graph_nodes[out.node].b;
    owned = (index < 0 || index == of) && !is_lane<Program>(pass, of);
    index = of;
  }
  return owned;
}
template <class Program, int Nest>
inline constexpr bool owned_scatter = find_owned_scatter<Program, Nest>();

/// What becomes of a lane's value: it is stored, held or added to an element of its own in memory,
/// or not kept until the vector is complete.
enum class lane_use : std::uint8_t { none, stored, added };
template <class Program, int Nest, access Access>
consteval lane_use find_use(const output_info& out) {
  if (out.kind == graph::item_kind::store) return lane_use::stored;
  if (out.kind == graph::item_kind::hold) return lane_use::added;
  if (owned_scatter<Program, Nest>) return lane_use::added;
  if (out.kind != graph::item_kind::terminal_reduction) return lane_use::none;
  const total_kind how = find_kind<Program, Nest, Access>(out.slot);
  return how == total_kind::held ||
                 (how == total_kind::memory && keeps_lanes<Program, Nest>(out.slot))
             ? lane_use::added
             : lane_use::none;
}
template <class Program, int Nest, access Access, int R>
inline constexpr total_kind kind_of_total = find_kind<Program, Nest, Access>(R);

template <class Program>
using reduction_indices =
    std::make_integer_sequence<int, static_cast<int>(plan_of<Program>.sizes.reductions)>;

template <class Program, int Nest, access Access>
consteval bool has_total(total_kind kind) {
  for (int r = 0; r < static_cast<int>(plan_of<Program>.sizes.reductions); ++r) {
    if (find_kind<Program, Nest, Access>(r) == kind) return true;
  }
  return false;
}
/// Whether a nest leaves partial results.
template <class Program, int Nest>
consteval bool has_terminals() {
  return plan_of<Program>.nests[Nest].terminal;
}

/// Vectors of each operand of a pass that a thread has under way.
template <class Program, int Nest, access Access, int Pass>
inline constexpr int unroll_of = [] {
  using layout = nest_layout<Program, Nest>;
  if (Access == access::held) return held_vectors_under_way;
  if (Access != access::wide || layout::info.scatters) return 1;
  // a row's accumulators along the lanes are those of one vector
  if (layout::info.row != 0 && !layout::inner_in_row) return 1;
  if (has_total<Program, Nest, Access>(total_kind::lanes) ||
      has_total<Program, Nest, Access>(total_kind::memory)) {
    return 1;
  }
  return vectors_under_way(plan_of<Program>.passes[Pass].read_count);
}();

template <class Program, int R>
using total_type = lane_t<plan_of<Program>.reductions[R].type>;
template <class Program, int R>
inline constexpr op total_code = plan_of<Program>.reductions[R].code;

/// The accumulator of one reduction in a thread.
template <class T, int R, int Lanes>
struct accumulator {
  T of[Lanes];
};
template <class Program, int Nest, access Access, int R>
inline constexpr int accumulator_lanes = [] {
  switch (kind_of_total<Program, Nest, Access, R>) {
    case total_kind::none:
    case total_kind::held:
      return 0;
    case total_kind::row:
      return nest_layout<Program, Nest>::inner_in_row ? 1 : vector_width<Program, Nest, Access>;
    case total_kind::lanes:
      return vector_width<Program, Nest, Access>;
    default:
      return 1;
  }
}();
template <class T, int R>
struct accumulator<T, R, 0> {};

template <class Program, int Nest, access Access, class Indices>
struct accumulators_over;
template <class Program, int Nest, access Access, int... R>
struct accumulators_over<Program, Nest, Access, std::integer_sequence<int, R...>>
    : accumulator<total_type<Program, R>, R, accumulator_lanes<Program, Nest, Access, R>>... {
  template <int K>
  using of = accumulator<total_type<Program, K>, K, accumulator_lanes<Program, Nest, Access, K>>;

  template <int K>
  HEDDLE_HD HEDDLE_INLINE of<K>& get() {
    return static_cast<of<K>&>(*this);
  }
  template <int K>
  HEDDLE_HD HEDDLE_INLINE void start() {
    using T = total_type<Program, K>;
    constexpr T none = identity<total_code<Program, K>, T>();
    constexpr int lanes = accumulator_lanes<Program, Nest, Access, K>;
    HEDDLE_UNROLL
    for (int v = 0; v < lanes; ++v) get<K>().of[v] = none;
  }
};
template <class Program, int Nest, access Access>
using accumulators = accumulators_over<Program, Nest, Access, reduction_indices<Program>>;

/// What a cursor of the nest reads.
template <class Program, int Nest>
consteval read_info read_of(int place) {
  return plan_of<Program>.reads[nest_layout<Program, Nest>::read_at(place)];
}
/// Whether it is read as vectors along the lanes.
template <class Program, int Nest>
consteval bool is_vector(int place) {
  const read_info r = read_of<Program, Nest>(place);
  return !r.gathered && along_lanes<Program, Nest>(graph::mask_of(r.map));
}
/// Whether a pass (-1: any) reads it.
template <class Program, int Nest>
consteval bool pass_reads(int pass, int place) {
  if (pass < 0) return true;
  const auto& p = plan_of<Program>;
  const pass_info info = p.passes[static_cast<std::size_t>(pass)];
  for (int i = 0; i < info.read_count; ++i) {
    if (p.pass_reads[static_cast<std::size_t>(info.first_read + i)] ==
        nest_layout<Program, Nest>::read_at(place)) {
      return true;
    }
  }
  return false;
}
/// Whether its elements are read once by each pass: no axis of the nest leaves it where it is.
template <class Program, int Nest>
consteval bool moves_everywhere(int place) {
  const auto domain = nest_layout<Program, Nest>::info.domain;
  return (domain & ~graph::mask_of(read_of<Program, Nest>(place).map)) == 0;
}
/// The first pass of the nest that reads it, and whether another one does.
template <class Program, int Nest>
consteval int first_pass_of(int place) {
  using layout = nest_layout<Program, Nest>;
  for (int k = layout::first_pass; k < layout::first_pass + layout::pass_count; ++k) {
    if (pass_reads<Program, Nest>(k, place)) return k;
  }
  return -1;
}
template <class Program, int Nest>
consteval bool is_reread(int place) {
  using layout = nest_layout<Program, Nest>;
  int passes = 0;
  for (int k = layout::first_pass; k < layout::first_pass + layout::pass_count; ++k) {
    passes += pass_reads<Program, Nest>(k, place) ? 1 : 0;
  }
  return passes > 1 && is_vector<Program, Nest>(place);
}
/// The last pass of the nest that reads it.
template <class Program, int Nest>
consteval int last_pass_of(int place) {
  using layout = nest_layout<Program, Nest>;
  for (int k = layout::first_pass + layout::pass_count - 1; k > layout::first_pass; --k) {
    if (pass_reads<Program, Nest>(k, place)) return k;
  }
  return layout::first_pass;
}
/// Whether it is the same for all rows, as gamma and beta of a layer norm are.
template <class Program, int Nest>
consteval bool is_same_for_rows(int place) {
  const auto domain = nest_layout<Program, Nest>::info.domain;
  const auto row = nest_layout<Program, Nest>::info.row;
  const graph::axis_mask moves = graph::mask_of(read_of<Program, Nest>(place).map);
  return is_vector<Program, Nest>(place) && (moves & domain & ~row) == 0;
}
/// The cursor of an input or gather node of a pass.
template <class Program, int Nest>
consteval int place_of_leaf(int pass, int id) {
  const auto& p = plan_of<Program>;
  const pass_info info = p.passes[static_cast<std::size_t>(pass)];
  return nest_layout<Program, Nest>::place_of_read(
      p.pass_reads[static_cast<std::size_t>(info.first_read + position_of<Program>(info, id))]);
}

/// A vector of an operand's elements, as it lies in memory.
template <class T, int Vector>
struct alignas(sizeof(T) * Vector >= 16 ? 16 : sizeof(T) * Vector) pack {
  T of[Vector];
};
template <dtype Type>
using element_t = std::conditional_t<Type == dtype::boolean, std::uint8_t, type_of<Type>>;

/// Sixteen bytes of any elements: what one access moves.
struct __attribute__((may_alias, aligned(16))) bits_128 {
  std::uint32_t of[4];
};

/// How often a nest reads an operand's elements: those that it reads once need no place in the
/// first cache, which rows of others may have.
enum class reading : std::uint8_t { again, once };

template <reading How>
HEDDLE_HD HEDDLE_INLINE bits_128 read_128(const std::byte* from) {
#if defined(__CUDA_ARCH__)
  if constexpr (How == reading::once) {
    bits_128 to;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to.of[0]), "=r"(to.of[1]), "=r"(to.of[2]), "=r"(to.of[3])
                 : "l"(__cvta_generic_to_global(from))
                 : "memory");
    return to;
  }
#endif
  return *reinterpret_cast<const bits_128*>(from);
}

/// Reads or writes `valid` of a vector's elements, `stride` bytes apart; a whole vector by accesses
/// of up to 16 bytes where lanes are contiguous.
template <bool Wide, reading How = reading::again, class T, int Vector>
HEDDLE_HD HEDDLE_INLINE void load(pack<T, Vector>& to, const std::byte* from, std::int64_t stride,
                                  int valid) {
  if constexpr (Wide) {
    if (valid == Vector) {
      if constexpr (sizeof to >= 16) {
        auto* const blocks = reinterpret_cast<bits_128*>(&to);
        HEDDLE_UNROLL
        for (std::size_t i = 0; i < sizeof to / 16; ++i) {
          blocks[i] = read_128<How>(from + 16 * i);
        }
      } else {
        to = *reinterpret_cast<const pack<T, Vector>*>(from);
      }
      return;
    }
    stride = sizeof(T);
  }
  HEDDLE_UNROLL
  for (int v = 0; v < Vector; ++v) {
    to.of[v] = v < valid ? *reinterpret_cast<const T*>(from + v * stride) : T{};
  }
}
template <bool Wide, class T, int Vector>
HEDDLE_HD HEDDLE_INLINE void put(std::byte* to, const pack<T, Vector>& from, std::int64_t stride,
                                 int valid) {
  if constexpr (Wide) {
    if (valid == Vector) {
      if constexpr (sizeof from >= 16) {
        const auto* const blocks = reinterpret_cast<const bits_128*>(&from);
        HEDDLE_UNROLL
        for (std::size_t i = 0; i < sizeof from / 16; ++i) {
          reinterpret_cast<bits_128*>(to)[i] = blocks[i];
        }
      } else {
        *reinterpret_cast<pack<T, Vector>*>(to) = from;
      }
      return;
    }
    stride = sizeof(T);
  }
  HEDDLE_UNROLL
  for (int v = 0; v < Vector; ++v) {
    if (v < valid) *reinterpret_cast<T*>(to + v * stride) = from.of[v];
  }
}

}  // namespace detail
}  // namespace heddle::inline v0::exec::cuda
