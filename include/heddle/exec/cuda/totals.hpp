// SPDX-License-Identifier: BSD-3-Clause
// The reductions of a nest on a CUDA device: where they are accumulated, and how threads agree on
// those of a row.
#pragma once

#include <heddle/exec/cuda/nodes.hpp>

namespace heddle::inline v0::exec::cuda::detail {

template <class Program, int Nest, access Access, class Team>
class nest_totals : protected nest_nodes<Program, Nest, Access, Team> {
  using layout = nest_layout<Program, Nest>;

 protected:
  using nodes = nest_nodes<Program, Nest, Access, Team>;
  using nodes::at_;
  using nodes::begin_;
  using nodes::lanes_;
  using nodes::nest_;
  using nodes::program_;
  using nodes::slot_;
  using nodes::team_;
  using nodes::totals_;
  static constexpr int vector = vector_width<Program, Nest, Access>;
  template <int Pass>
  static constexpr pass_info pass_of = nodes::template pass_of<Pass>;
  template <int Pass, int K>
  using output = typename nodes::template output<Pass, K>;
  template <int Pass, int K>
  static constexpr int output_place = nodes::template output_place<Pass, K>;

  HEDDLE_HD HEDDLE_INLINE nest_totals(const Team& team, const program_arguments<Program>& program,
                                      const arguments_of<Program, Nest>& nest)
      : nodes(team, program, nest),
        rank_(nest.shape.rank_in_group(team.rank(), team.size())),
        writes_(rank_ == 0) {}

  template <int... R>
  HEDDLE_HD HEDDLE_INLINE void start_totals(std::integer_sequence<int, R...>) {
    (start_total<R>(), ...);
  }
  template <int R>
  HEDDLE_HD HEDDLE_INLINE void start_total() {
    constexpr total_kind how = kind_of_total<Program, Nest, Access, R>;
    if constexpr (how == total_kind::full || how == total_kind::lanes) {
      totals_.template start<R>();
    }
    kept_at_[R] = nullptr;
  }

  template <int Pass, int... K>
  HEDDLE_HD HEDDLE_INLINE void start_rows(std::integer_sequence<int, K...>) {
    (start_row<Pass, K>(), ...);
  }
  template <int Pass, int K>
  HEDDLE_HD HEDDLE_INLINE void start_row() {
    if constexpr (output<Pass, K>::info.kind == graph::item_kind::row_reduction) {
      totals_.template start<output<Pass, K>::info.slot>();
    }
  }
  /// Threads that share a row agree on its reductions.
  template <int Pass, int... K>
  HEDDLE_HD HEDDLE_INLINE void finish_rows(std::integer_sequence<int, K...>) {
    if constexpr (Access == access::held) {
      constexpr int before[] = {(is_row_reduction<Pass, K> ? 1 : 0)..., 0};
      constexpr auto rank = [before](int k) {
        int n = 0;
        for (int i = 0; i < k; ++i) n += before[i];
        return n;
      };
      if constexpr ((is_row_reduction<Pass, K> || ...)) {
        exchange_rows<Pass, K...>(std::integer_sequence<int, rank(K)...>{});
      }
    } else {
      (finish_row<Pass, K>(), ...);
    }
  }
  template <int Pass, int K>
  static constexpr bool is_row_reduction =
      output<Pass, K>::info.kind == graph::item_kind::row_reduction;
  template <int Pass, int K>
  HEDDLE_HD HEDDLE_INLINE void finish_row() {
    if constexpr (is_row_reduction<Pass, K> && layout::inner_in_row) {
      constexpr int r = output<Pass, K>::info.slot;
      auto& total = totals_.template get<r>().of[0];
      total = reduce_row(team_, total, nest_.shape.width, combiner<r>{});
    }
  }
  /// All reductions of a row that a pass has, behind one barrier.
  template <int Pass, int... K, int... Rank>
  HEDDLE_HD HEDDLE_INLINE void exchange_rows(std::integer_sequence<int, Rank...>) {
    constexpr int count = (0 + ... + (is_row_reduction<Pass, K> ? 1 : 0));
    (send_row<Pass, K, Rank>(), ...);
    await_exchange(count);
    (take_row<Pass, K, Rank>(), ...);
    ++exchanges_;
  }
  template <int Pass, int K, int Rank>
  HEDDLE_HD HEDDLE_INLINE void send_row() {
    if constexpr (is_row_reduction<Pass, K>) {
      constexpr int r = output<Pass, K>::info.slot;
      send_to_members(team_, exchange(Rank), totals_.template get<r>().of[0], exchanges_,
                      combiner<r>{});
    }
  }
  template <int Pass, int K, int Rank>
  HEDDLE_HD HEDDLE_INLINE void take_row() {
    if constexpr (is_row_reduction<Pass, K>) {
      constexpr int r = output<Pass, K>::info.slot;
      totals_.template get<r>().of[0] =
          take_from_members<total_type<Program, r>>(team_, exchange(Rank), combiner<r>{});
    }
  }
  /// One reduction alone.
  template <int R, class T>
  HEDDLE_HD HEDDLE_INLINE T exchange_value(T x) {
    send_to_members(team_, exchange(0), x, exchanges_, combiner<R>{});
    await_exchange(1);
    x = take_from_members<T>(team_, exchange(0), combiner<R>{});
    ++exchanges_;
    return x;
  }
  /// Where the members send the values of one reduction. Those of the next exchange go elsewhere:
  /// when they come, all have read those of the one before.
  HEDDLE_HD HEDDLE_INLINE std::uint64_t* exchange(int rank) const {
    constexpr int most = most_row_reductions<Program, Nest>();
    const int place = (exchanges_ % 2 == 0 ? 0 : most) + rank;
    return reinterpret_cast<std::uint64_t*>(team_.row_memory()) + exchange_words +
           place * nest_.shape.members * warps_of(team_);
  }
  HEDDLE_HD HEDDLE_INLINE void await_exchange(int reductions) const {
    team_.template await_sent<site::values_sent>(
        exchanges_, reductions * nest_.shape.members * warps_of(team_));
  }
  template <int R>
  struct combiner {
    template <class T>
    HEDDLE_HD HEDDLE_INLINE T operator()(T a, T b) const {
      return combine<total_code<Program, R>>(a, b);
    }
  };

  // Reductions kept in memory or along lanes: before and after each step of a row.
  template <int Pass, int... K>
  HEDDLE_HD HEDDLE_INLINE void begin_memory(std::integer_sequence<int, K...>) {
    (begin_kept<Pass, K>(), ...);
  }
  template <int Pass, int K>
  HEDDLE_HD HEDDLE_INLINE void begin_kept() {
    if constexpr (output<Pass, K>::info.kind == graph::item_kind::terminal_reduction) {
      constexpr int r = output<Pass, K>::info.slot;
      constexpr total_kind how = kind_of_total<Program, Nest, Access, r>;
      if constexpr (how == total_kind::lanes) {
        std::byte* const now = at_[output_place<Pass, K>];
        if (kept_at_[r] != now) {
          if (kept_at_[r] != nullptr) flush_total<r>();
          kept_at_[r] = now;
        }
      } else if constexpr (how == total_kind::memory && !keeps_lanes<Program, Nest>(r)) {
        totals_.template start<r>();
      }
    }
  }
  template <int Pass, int... K>
  HEDDLE_HD HEDDLE_INLINE void end_memory(std::integer_sequence<int, K...>) {
    (end_kept<Pass, K>(), ...);
  }
  template <int Pass, int K>
  HEDDLE_HD HEDDLE_INLINE void end_kept() {
    if constexpr (output<Pass, K>::info.kind == graph::item_kind::terminal_reduction) {
      constexpr int r = output<Pass, K>::info.slot;
      if constexpr (kind_of_total<Program, Nest, Access, r> == total_kind::memory &&
                    !keeps_lanes<Program, Nest>(r)) {
        auto total = totals_.template get<r>().of[0];
        if constexpr (pass_of<Pass>.inner >= 0 && Access == access::held) {
          total = exchange_value<r>(total);
        } else if constexpr (pass_of<Pass>.inner >= 0) {
          total = reduce_row(team_, total, nest_.shape.width, combiner<r>{});
        }
        if (writes_) {
          auto& to = *reinterpret_cast<total_type<Program, r>*>(at_[output_place<Pass, K>]);
          to = combiner<r>{}(to, total);
        }
      }
    }
  }

  // Reductions kept along lanes in the team's memory.

  template <int... R>
  HEDDLE_HD HEDDLE_INLINE void start_held(std::integer_sequence<int, R...>) {
    (start_held_total<R>(), ...);
  }
  template <int R>
  HEDDLE_HD HEDDLE_INLINE void start_held_total() {
    if constexpr (kind_of_total<Program, Nest, Access, R> == total_kind::held) {
      using T = total_type<Program, R>;
      for_held_lanes<R>([](T& total, std::int64_t) {
        constexpr T none = identity<total_code<Program, R>, T>();
        total = none;
      });
    }
  }
  /// To the segment's part of device memory.
  template <int... R>
  HEDDLE_HD HEDDLE_INLINE void flush_held(std::integer_sequence<int, R...>) {
    (flush_held_total<R>(), ...);
  }
  template <int R>
  HEDDLE_HD HEDDLE_INLINE void flush_held_total() {
    if constexpr (kind_of_total<Program, Nest, Access, R> == total_kind::held) {
      using T = total_type<Program, R>;
      auto* const to = reinterpret_cast<T*>(program_.partials[R]) + slot_ * program_.kept[R];
      for_held_lanes<R>([&](const T& total, std::int64_t lane) { to[lane] = total; });
    }
  }
  /// f(total, lane) for the lanes of this thread.
  template <int R, class F>
  HEDDLE_HD HEDDLE_INLINE void for_held_lanes(F f) {
    if constexpr (kind_of_total<Program, Nest, Access, R> == total_kind::held) {
      using T = total_type<Program, R>;
      const std::int64_t step = std::int64_t{team_.size()} * vector;
      for (std::int64_t i = rank_ * vector; i < lanes_; i += step) {
        T* const totals = reinterpret_cast<T*>(this->template held_total<R>(begin_ + i));
        HEDDLE_UNROLL
        for (int v = 0; v < vector; ++v) {
          if (i + v < lanes_) f(totals[v], begin_ + i + v);
        }
      }
    }
  }

  /// Writes lanes kept in registers to the segment's part of device memory, and starts them again.
  template <int R>
  HEDDLE_HD HEDDLE_INLINE void flush_total() {
    using T = total_type<Program, R>;
    constexpr int place = layout::place_of_total(R);
    auto& total = totals_.template get<R>();
    const std::int64_t i = rank_ * vector;
    HEDDLE_UNROLL
    for (int v = 0; v < vector; ++v) {
      if (i + v >= lanes_) continue;
      T& to = *reinterpret_cast<T*>(kept_at_[R] + (begin_ + i + v) * nest_.lane[place]);
      to = nest_.fixed[place] ? total.of[v] : combiner<R>{}(to, total.of[v]);
    }
    totals_.template start<R>();
  }
  template <int... R>
  HEDDLE_HD HEDDLE_INLINE void flush_totals(std::integer_sequence<int, R...>) {
    (flush_last<R>(), ...);
  }
  template <int R>
  HEDDLE_HD HEDDLE_INLINE void flush_last() {
    if constexpr (kind_of_total<Program, Nest, Access, R> == total_kind::lanes) {
      if (kept_at_[R] != nullptr) flush_total<R>();
      kept_at_[R] = nullptr;
    }
  }

  /// Full reductions: one value a team.
  template <int... R>
  HEDDLE_HD HEDDLE_INLINE void leave_totals(std::integer_sequence<int, R...>) {
    (leave_total<R>(), ...);
  }
  template <int R>
  HEDDLE_HD HEDDLE_INLINE void leave_total() {
    if constexpr (kind_of_total<Program, Nest, Access, R> == total_kind::full) {
      using T = total_type<Program, R>;
      const T total = reduce_team(team_, totals_.template get<R>().of[0], combiner<R>{});
      if (team_.rank() == 0) reinterpret_cast<T*>(program_.partials[R])[team_.block()] = total;
    }
  }

  int rank_;           ///< in its group
  bool writes_;        ///< the thread that writes what a row has one of
  int exchanges_ = 0;  ///< with the teams that share rows, until now
  std::byte* kept_at_[program_arguments<Program>::sizes.reductions == 0
                          ? 1
                          : program_arguments<Program>::sizes.reductions];
};

}  // namespace heddle::inline v0::exec::cuda::detail
