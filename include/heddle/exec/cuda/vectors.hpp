// SPDX-License-Identifier: BSD-3-Clause
// Vectors of the operands that a CUDA body reads along its lanes.
#pragma once

#include <heddle/exec/cuda/position.hpp>

namespace heddle::inline v0::exec::cuda::detail {

template <class Program, int Nest, access Access, class Team>
class nest_vectors : protected nest_position<Program, Nest> {
  using layout = nest_layout<Program, Nest>;

 protected:
  using position = nest_position<Program, Nest>;
  using position::at_;
  using position::begin_;
  using position::nest_;
  HEDDLE_HD HEDDLE_INLINE nest_vectors(const Team& team, const program_arguments<Program>& program,
                                       const arguments_of<Program, Nest>& nest)
      : position(program, nest), team_(team) {}
  static constexpr int vector = vector_width<Program, Nest, Access>;
  static constexpr bool wide = Access != access::strided;

  // Vectors of the operands that move along the lanes.
  template <int Place,
            bool Vector = is_vector<Program, Nest>(Place) || is_hold<Program, Nest>(Place)>
  struct operand_vector {
    pack<element_t<read_of<Program, Nest>(Place).type>, vector> lanes;
  };
  template <int Place>
  struct operand_vector<Place, false> {};
  template <class Places>
  struct vectors_over;
  template <int... Place>
  struct vectors_over<std::integer_sequence<int, Place...>> : operand_vector<Place>... {};
  using read_places = std::make_integer_sequence<int, layout::read_count>;
  using vectors = vectors_over<read_places>;
  struct no_vectors {};

  HEDDLE_HD HEDDLE_INLINE int valid_lanes(std::int64_t i) const {
    return lanes_ - i < vector ? static_cast<int>(lanes_ - i) : vector;
  }

  /// The vectors of a pass (-1: of all passes) at lane i of the unit, `valid` lanes of them.
  template <int Pass, int... Place>
  HEDDLE_HD HEDDLE_INLINE void load_vectors([[maybe_unused]] vectors& to,
                                            [[maybe_unused]] std::int64_t i,
                                            [[maybe_unused]] int valid,
                                            std::integer_sequence<int, Place...>) {
    (load_vector<Pass, Place>(to, begin_ + i, valid), ...);
  }
  template <int Pass, int Place>
  HEDDLE_HD HEDDLE_INLINE void load_vector(vectors& to, std::int64_t lane, int valid) {
    if constexpr (is_hold<Program, Nest>(Place) && pass_reads<Program, Nest>(Pass, Place)) {
      auto& lanes = static_cast<operand_vector<Place>&>(to).lanes;
      load<wide>(lanes, held_value<read_of<Program, Nest>(Place).slot>(lane), sizeof lanes / vector,
                 valid);
    } else if constexpr (is_vector<Program, Nest>(Place) &&
                         pass_reads<Program, Nest>(Pass, Place)) {
      auto& lanes = static_cast<operand_vector<Place>&>(to).lanes;
      constexpr reading how =
          moves_everywhere<Program, Nest>(Place) ? reading::once : reading::again;
      if constexpr (Access == access::held && is_held<Program, Nest>(Place)) {
        load<wide>(lanes, held_operand<Place>(lane), sizeof lanes / vector, valid);
      } else {
        load<wide, how>(lanes, at_[Place] + lane * lane_step<Place>(), lane_step<Place>(), valid);
      }
    }
  }

  // Rows that the team holds. Each thread fetches the lanes that it reads: nobody waits for others.

  HEDDLE_HD HEDDLE_INLINE std::byte* held_at(int bytes_before, std::int64_t lane,
                                             std::size_t size) const {
    return team_.row_memory() + nest_.shape.exchange +
           static_cast<int>(bytes_before * held_lanes(nest_.shape.chunk)) +
           static_cast<int>(lane - begin_) * static_cast<int>(size);
  }
  template <int Place>
  HEDDLE_HD HEDDLE_INLINE std::byte* held_operand(std::int64_t lane) const {
    return held_at(held_operand_bytes<Program, Nest>(Place), lane,
                   size_of(read_of<Program, Nest>(Place).type));
  }
  /// Of a value that several passes need.
  template <int Hold>
  HEDDLE_HD HEDDLE_INLINE std::byte* held_value(std::int64_t lane) const {
    return held_at(hold_bytes_before<Program, Nest>(Hold), lane,
                   size_of(plan_of<Program>.holds[Hold].type));
  }
  /// Of a reduction that keeps the lanes.
  template <int R>
  HEDDLE_HD HEDDLE_INLINE std::byte* held_total(std::int64_t lane) const {
    return held_at(held_bytes<Program, Nest>(R), lane, sizeof(total_type<Program, R>));
  }

  /// Fetches what this thread reads of the held operands of the row at hand.
  template <int... Place>
  HEDDLE_HD HEDDLE_INLINE void fetch_row(int first, int step,
                                         std::integer_sequence<int, Place...>) {
    HEDDLE_NO_UNROLL
    for (int i = first; i < lanes_; i += step) {
      (fetch_operand<Place, is_held<Program, Nest>(Place)>(at_, i, valid_lanes(i)), ...);
    }
  }
  /// Lanes of the next row, behind the last pass that reads those of this one.
  template <int Pass, int... Place>
  HEDDLE_HD HEDDLE_INLINE void fetch_next(int i, int valid, std::integer_sequence<int, Place...>) {
    if constexpr ((is_left<Pass, Place>() || ...)) {
      if (next_.is_there) (fetch_operand<Place, is_left<Pass, Place>()>(next_.at, i, valid), ...);
    }
  }
  template <int Pass, int Place>
  static consteval bool is_left() {
    return is_held<Program, Nest>(Place) && !is_same_for_rows<Program, Nest>(Place) &&
           last_use_of<Program, Nest>(Place) == Pass;
  }
  template <int Place, bool Fetches>
  HEDDLE_HD HEDDLE_INLINE void fetch_operand(std::byte* const* row, int i, int valid) {
    if constexpr (Fetches) {
      using E = element_t<read_of<Program, Nest>(Place).type>;
      constexpr int size = static_cast<int>(sizeof(E));
      const std::byte* const from = row[Place] + begin_ * size + i * size;
      std::byte* const to = held_operand<Place>(begin_ + i);
      if (valid == vector) {
        team_.template fetch<size * vector>(to, from);
      } else {
        pack<E, vector> part;
        load<false>(part, from, size, valid);
        put<false>(to, part, size, valid);
      }
    }
  }

  /// Between the loads of several vectors and what is made of them. The assembler moves no access
  /// over it; left to itself, it asks for a vector when it is needed.
  HEDDLE_HD HEDDLE_INLINE static void loads_are_under_way() {
#if defined(__CUDA_ARCH__)
    __syncwarp(__activemask());
#endif
  }
  /// Bytes from lane to lane.
  template <int Place>
  HEDDLE_HD HEDDLE_INLINE std::int64_t lane_step() const {
    if constexpr (wide && Place < layout::read_count) {
      if constexpr (is_vector<Program, Nest>(Place))
        return sizeof(element_t<read_of<Program, Nest>(Place).type>);
    }
    return nest_.lane[Place];
  }

  /// Where the operands of the next row are.
  struct next_row {
    bool is_there = false;
    std::byte* at[layout::cursor_count == 0 ? 1 : layout::cursor_count];
  };
  struct no_row {};

  const Team& team_;
  std::int64_t lanes_ = 0;  ///< of the unit
  [[no_unique_address]] std::conditional_t<Access == access::held, next_row, no_row> next_;
};

}  // namespace heddle::inline v0::exec::cuda::detail
