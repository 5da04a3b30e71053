// SPDX-License-Identifier: BSD-3-Clause
// Vectors of the operands that a CUDA body reads along its lanes.
#pragma once

#include <heddle/exec/cuda/position.hpp>

namespace heddle::inline v0::exec::cuda::detail {

template <class Program, int Nest, access Access>
class nest_vectors : protected nest_position<Program, Nest> {
  using layout = nest_layout<Program, Nest>;

 protected:
  using position = nest_position<Program, Nest>;
  using position::at_;
  using position::begin_;
  using position::nest_;
  HEDDLE_HD HEDDLE_INLINE nest_vectors(const program_arguments<Program>& program,
                                       const arguments_of<Program, Nest>& nest, std::byte* rows)
      : position(program, nest), rows_(rows) {}
  static constexpr int vector = vector_width<Program, Nest, Access>;
  static constexpr bool wide = Access != access::strided;

  // Vectors of the operands that move along the lanes.
  template <int Place, bool Vector = is_vector<Program, Nest>(Place)>
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
    if constexpr (is_vector<Program, Nest>(Place) && pass_reads<Program, Nest>(Pass, Place)) {
      auto& lanes = static_cast<operand_vector<Place>&>(to).lanes;
      constexpr reading how =
          moves_everywhere<Program, Nest>(Place) ? reading::once : reading::again;
      constexpr bool may_hold =
          Access == access::wide && layout::inner_in_row && is_reread<Program, Nest>(Place);
      if constexpr (may_hold) {
        // each thread reads the lanes that it wrote itself: nobody waits
        constexpr std::int64_t size = sizeof lanes / vector;
        std::byte* const held =
            rows_ + reread_bytes<Program, Nest>(Place) * held_lanes(nest_.shape.inner_extent) +
            lane * size;
        constexpr bool first = Pass == first_pass_of<Program, Nest>(Place);
        if (!first && nest_.shape.held) {
          load<wide>(lanes, held, size, valid);
          return;
        }
        load<wide, how>(lanes, at_[Place] + lane * size, size, valid);
        if (first && nest_.shape.held) put<wide>(held, lanes, size, valid);
      } else {
        load<wide, how>(lanes, at_[Place] + lane * lane_step<Place>(), lane_step<Place>(), valid);
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

  std::byte* rows_;         ///< memory of the team, for rows that it holds
  std::int64_t lanes_ = 0;  ///< of the unit
};

}  // namespace heddle::inline v0::exec::cuda::detail
