// SPDX-License-Identifier: BSD-3-Clause
// The body of a nest on a CUDA device, written against a team: one template for maps, rows, kept
// and outer reductions. divide.hpp decides how the work is divided; group.hpp finishes across the
// grid.
#pragma once

#include <heddle/exec/cuda/totals.hpp>

namespace heddle::inline v0::exec::cuda::detail {

/// One thread's run through its units of a nest.
template <class Program, int Nest, access Access, class Team>
class nest_body : nest_totals<Program, Nest, Access, Team> {
  using layout = nest_layout<Program, Nest>;
  using totals = nest_totals<Program, Nest, Access, Team>;
  using nodes = typename totals::nodes;
  using nodes::at_;
  using nodes::begin_;
  using nodes::lanes_;
  using nodes::move_to;
  using nodes::nest_;
  using nodes::program_;
  using nodes::row_;
  using nodes::slot_;
  using nodes::team_;
  using nodes::totals_;
  using nodes::valid_lanes;
  using totals::rank_;
  using totals::writes_;
  using typename nodes::no_vectors;
  using typename nodes::read_places;
  using typename nodes::slots;
  using typename nodes::vectors;
  static constexpr int vector = vector_width<Program, Nest, Access>;
  static constexpr bool wide = Access != access::strided;

  template <int Pass>
  static constexpr pass_info pass_of = nodes::template pass_of<Pass>;
  template <int Pass, int K>
  using output = typename nodes::template output<Pass, K>;
  template <int Pass, int K>
  static constexpr int output_place = nodes::template output_place<Pass, K>;
  template <int Pass>
  using node_indices = typename nodes::template node_indices<Pass>;

 public:
  HEDDLE_HD HEDDLE_INLINE nest_body(const Team& team, const program_arguments<Program>& program,
                                    const arguments_of<Program, Nest>& nest)
      : totals(team, program, nest) {}

  /// All units of this thread's group; partial results are left in device memory.
  HEDDLE_HD HEDDLE_INLINE void run() {
    const nest_shape& shape = nest_.shape;
    this->start_totals(reduction_indices<Program>{});
    if constexpr (Access == access::held) {
      run_held();
      return this->leave_totals(reduction_indices<Program>{});
    }
    const int group = shape.group_of(team_.rank(), team_.size());
    if (group < shape.groups) {
      const std::int64_t units = shape.segments * shape.chunks;
      const std::int64_t step = static_cast<std::int64_t>(team_.blocks()) * shape.groups;
      for (std::int64_t u = static_cast<std::int64_t>(team_.block()) * shape.groups + group;
           u < units; u += step) {
        const std::int64_t segment = shape.by_chunks.quotient(u);
        run_unit(segment, u - segment * shape.chunks);
      }
    }
    this->leave_totals(reduction_indices<Program>{});
  }

  /// Parts of tensors of a list: next(run) calls run(bases, begin, lanes) for the lanes [begin,
  /// begin + lanes) of operands that lie at `bases`, one pointer a cursor.
  template <class Next>
  HEDDLE_HD HEDDLE_INLINE void run_list(const Next& next) {
    this->start_totals(reduction_indices<Program>{});
    next([this](std::byte* const* bases, std::int64_t begin, std::int64_t lanes) {
      copy_cursors(at_, bases);
      begin_ = begin;
      lanes_ = team_.limit(lanes);
      run_passes<0>();
    });
    this->leave_totals(reduction_indices<Program>{});
  }

 private:
  HEDDLE_HD HEDDLE_INLINE void run_unit(std::int64_t segment, std::int64_t chunk) {
    const nest_shape& shape = nest_.shape;
    const bool one_each = shape.segments == shape.rows;
    const row_range range = one_each ? row_range{segment, segment + 1} : row_range(shape, segment);
    slot_ = shape.slot_of_unit ? segment * shape.chunks + chunk : segment;
    begin_ = chunk * shape.chunk;
    const std::int64_t rest = shape.inner_extent - begin_;
    lanes_ = team_.limit(rest < shape.chunk ? rest : shape.chunk);
    if constexpr (owned_scatter<Program, Nest>) {
      if (shape.sorted.places != nullptr) return run_sorted(segment);
      if (shape.segments > 1) return run_owned(segment);
    }
    for (row_ = range.begin; row_ < range.end; ++row_) {
      move_to(row_, 0);
      if constexpr (Access == access::resident) {
        const std::int64_t first = rank_ * vector;
        if (first < lanes_) {
          this->template load_vectors<-1>(resident_, first, valid_lanes(first), read_places{});
        }
      }
      run_passes<0>();
    }
    this->flush_totals(reduction_indices<Program>{});
  }

  /// All rows of this team and those that share them with it, each its part of the lanes. The next
  /// row comes into memory while this one is computed.
  HEDDLE_HD HEDDLE_INLINE void run_held() {
    const nest_shape& shape = nest_.shape;
    const std::int64_t segment = team_.block() / shape.members;
    if (segment >= shape.segments) return;
    const int member = team_.member();
    const row_range range(shape, segment);
    slot_ = segment;
    begin_ = member * shape.chunk;
    const std::int64_t rest = shape.inner_extent - begin_;
    lanes_ = rest <= 0 ? 0 : team_.limit(rest < shape.chunk ? rest : shape.chunk);
    writes_ = rank_ == 0 && member == 0;
    this->start_held(reduction_indices<Program>{});
    team_.begin_exchanges();
    if (range.begin < range.end) {
      move_to(range.begin, 0);
      this->fetch_row(rank_ * vector, team_.size() * vector, read_places{});
    }
    for (row_ = range.begin; row_ < range.end; ++row_) {
      find_next(range.end);
      if constexpr (uses_coordinates<Program>()) move_to(row_, 0);
      team_.await_fetches();
      run_passes<0>();
      if (this->next_.is_there) copy_cursors(at_, this->next_.at);
    }
    this->flush_held(reduction_indices<Program>{});
  }
  /// Where the row behind this one is, before `end`.
  HEDDLE_HD HEDDLE_INLINE void find_next(std::int64_t end) {
    this->next_.is_there = row_ + 1 < end;
    if (!this->next_.is_there) return;
    std::byte* now[layout::cursor_count == 0 ? 1 : layout::cursor_count];
    copy_cursors(now, at_);
    move_to(row_ + 1, 0);
    copy_cursors(this->next_.at, at_);
    copy_cursors(at_, now);
  }
  HEDDLE_HD HEDDLE_INLINE static void copy_cursors(std::byte** to, std::byte* const* from) {
    HEDDLE_UNROLL
    for (int c = 0; c < layout::cursor_count; ++c) to[c] = from[c];
  }

  /// Of a scatter: all rows whose index this segment owns, in order, so that sums have one order
  /// however many share the work. The threads of the group look at one index each.
  HEDDLE_HD HEDDLE_INLINE void run_owned(std::int64_t segment) {
    const int width = nest_.shape.width;
    for (std::int64_t base = 0; base < nest_.shape.rows; base += width) {
      bool own = false;
      if (base + rank_ < nest_.shape.rows) {
        move_to(base + rank_, 0);
        own = owner() == segment;
      }
      for (unsigned mine = team_.ballot(own, width); mine != 0; mine &= mine - 1) {
        move_to(base + place_of_bit(mine), 0);
        run_passes<0>();
      }
    }
  }
  /// The segment that owns the row of the table which this position's index names; that of no row
  /// has an owner, too, who reports it.
  HEDDLE_HD HEDDLE_INLINE std::int64_t owner() {
    const std::int64_t index = this->scattered_to();
    if (index < 0) return 0;
    return index - nest_.shape.by_segments.quotient(index) * nest_.shape.segments;
  }

  /// Of a scatter whose rows are sorted by where they go: those of a segment. A row of the table
  /// that other segments add to, too, is summed apart.
  HEDDLE_HD HEDDLE_INLINE void run_sorted(std::int64_t segment) {
    const sorted_rows& sorted = nest_.shape.sorted;
    const row_range range(nest_.shape, segment);
    for (std::int64_t p = range.begin; p < range.end; ++p) {
      const std::uint64_t word = sorted.words[p];
      const bool before = range.begin > 0 && sorted.words[range.begin - 1] == word;
      const bool after = range.end < nest_.shape.rows && sorted.words[range.end] == word;
      shared_ = !before && !after ? -1 : 2 * segment + (before ? 0 : 1);
      starts_ = p == range.begin || sorted.words[p - 1] != word;
      row_ = sorted.places[p];
      move_to(row_, 0);
      run_passes<0>();
    }
  }

  // Passes.

  template <int P>
  HEDDLE_HD HEDDLE_INLINE void run_passes() {
    if constexpr (P < layout::pass_count) {
      run_pass<layout::first_pass + P>();
      run_passes<P + 1>();
    }
  }

  template <int Pass>
  HEDDLE_HD HEDDLE_INLINE void run_pass() {
    using outputs = std::make_integer_sequence<int, pass_of<Pass>.output_count>;
    this->template start_rows<Pass>(outputs{});
    constexpr bool one_step = Access == access::held || pass_of<Pass>.row_pass;
    const std::int64_t steps = one_step ? 1 : nest_.shape.row_steps;
    for (std::int64_t step = 0; step < steps; ++step) {
      if (Access != access::held && nest_.shape.row_steps > 1) move_to(row_, step);
      this->template begin_memory<Pass>(outputs{});
      if constexpr (pass_of<Pass>.inner < 0) {
        run_element<Pass>();
      } else {
        run_lanes<Pass>();
      }
      this->template end_memory<Pass>(outputs{});
    }
    this->template finish_rows<Pass>(outputs{});
  }

  /// A pass of one element: all threads of the group compute it, the first one writes.
  template <int Pass>
  HEDDLE_HD HEDDLE_INLINE void run_element() {
    // what a row has one of concerns one warp, the others go on
    if constexpr (Access == access::held && pass_of<Pass>.row_pass) {
      if (team_.rank() >= warp_width || team_.member() > 0) return;
    }
    slots once;
    slots none;
    no_vectors no;
    this->template evaluate<Pass, false>(once, none, no, 0, 0, 1, node_indices<Pass>{});
    written<Pass> results;
    write_lane<Pass>(results, once, none, 0, 0, writes_ ? 1 : 0,
                     std::make_integer_sequence<int, pass_of<Pass>.output_count>{});
    put_results<Pass>(results, once, 0, writes_ ? 1 : 0,
                      std::make_integer_sequence<int, pass_of<Pass>.output_count>{});
  }

  template <int Pass>
  HEDDLE_HD HEDDLE_INLINE void run_lanes() {
    slots once;
    {
      slots none;
      no_vectors no;
      this->template evaluate<Pass, false>(once, none, no, 0, 0, 1, node_indices<Pass>{});
    }
    // what a team holds has few lanes
    using lane_index = std::conditional_t<Access == access::held, int, std::int64_t>;
    lane_index i = rank_ * vector;
    if constexpr (Access == access::resident) {
      if (i < lanes_) run_vector<Pass>(once, resident_, i, valid_lanes(i));
    } else {
      constexpr int unroll = unroll_of<Program, Nest, Access, Pass>;
      const lane_index step = static_cast<lane_index>(nest_.shape.width) * vector;
      const auto lanes = static_cast<lane_index>(lanes_);
      if constexpr (wide) {
        // as long as all vectors are whole, nothing is asked of each
        for (; i + (unroll - 1) * step + vector <= lanes; i += unroll * step) {
          vectors loaded[unroll];
          HEDDLE_UNROLL
          for (int u = 0; u < unroll; ++u) {
            this->template load_vectors<Pass>(loaded[u], i + u * step, vector, read_places{});
          }
          if constexpr (unroll > 1 && Access != access::held) nodes::loads_are_under_way();
          HEDDLE_UNROLL
          for (int u = 0; u < unroll; ++u) run_vector<Pass>(once, loaded[u], i + u * step, vector);
          if constexpr (Access == access::held) {
            HEDDLE_UNROLL
            for (int u = 0; u < unroll; ++u) {
              this->template fetch_next<Pass>(i + u * step, vector, read_places{});
            }
          }
        }
      }
      for (; i < lanes; i += step) {
        vectors loaded;
        const int valid = valid_lanes(i);
        this->template load_vectors<Pass>(loaded, i, valid, read_places{});
        run_vector<Pass>(once, loaded, i, valid);
        if constexpr (Access == access::held) {
          this->template fetch_next<Pass>(i, valid, read_places{});
        }
      }
    }
  }

  /// Lanes [i, i + vector) of the unit, as far as there are any.
  template <int Pass>
  HEDDLE_HD HEDDLE_INLINE void run_vector(slots& once, const vectors& loaded, std::int64_t i,
                                          int valid) {
    using outputs = std::make_integer_sequence<int, pass_of<Pass>.output_count>;
    written<Pass> results;
    HEDDLE_UNROLL
    for (int v = 0; v < vector; ++v) {
      slots lane;
      this->template evaluate<Pass, true>(once, lane, loaded, begin_ + i, v, valid,
                                          node_indices<Pass>{});
      write_lane<Pass>(results, once, lane, begin_ + i, v, valid, outputs{});
    }
    put_results<Pass>(results, once, begin_ + i, valid, outputs{});
  }
  // Results.

  template <int Pass, int K>
  static constexpr lane_use use_of = find_use<Program, Nest, Access>(output<Pass, K>::info);
  template <class Output, int K, lane_use Use>
  struct result {
    using type = std::conditional_t<Use == lane_use::stored, element_t<Output::value_type>,
                                    typename Output::type>;
    pack<type, vector> lanes;
  };
  template <class Output, int K>
  struct result<Output, K, lane_use::none> {};
  template <int Pass, int K>
  using result_of_output = result<output<Pass, K>, K, use_of<Pass, K>>;
  template <int Pass, class Indices>
  struct results_over;
  template <int Pass, int... K>
  struct results_over<Pass, std::integer_sequence<int, K...>> : result_of_output<Pass, K>... {};
  template <int Pass>
  using written = results_over<Pass, std::make_integer_sequence<int, pass_of<Pass>.output_count>>;

  template <int Pass, int... K>
  HEDDLE_HD HEDDLE_INLINE void write_lane(written<Pass>& results, slots& once, slots& lane,
                                          std::int64_t first, int v, int valid,
                                          std::integer_sequence<int, K...>) {
    (write_output<Pass, K>(results, once, lane, first, v, valid), ...);
  }

  template <int Pass, int K>
  HEDDLE_HD HEDDLE_INLINE void write_output([[maybe_unused]] written<Pass>& results, slots& once,
                                            slots& lane, std::int64_t first, int v, int valid) {
    using out = output<Pass, K>;
    using T = typename out::type;
    constexpr graph::item_kind kind = out::info.kind;
    constexpr int place = output_place<Pass, K>;
    const T x = slot<T, out::value>(out::lane ? lane : once);
    if constexpr (kind == graph::item_kind::store) {
      auto& to = static_cast<result_of_output<Pass, K>&>(results).lanes.of[v];
      if constexpr (out::value_type == dtype::boolean) {
        to = x ? 1 : 0;
      } else {
        to = static_cast<element_t<out::value_type>>(x);
      }
    } else if constexpr (kind == graph::item_kind::hold) {
      static_cast<result_of_output<Pass, K>&>(results).lanes.of[v] = x;
    } else if constexpr (kind == graph::item_kind::carry) {
      if (v < valid) {
        const std::int64_t lane_offset =
            pass_of<Pass>.inner >= 0 ? (first + v) * nest_.lane[place] : 0;
        *reinterpret_cast<T*>(at_[place] + lane_offset) = x;
      }
    } else if constexpr (kind == graph::item_kind::scatter) {
      if constexpr (use_of<Pass, K> == lane_use::added) {
        static_cast<result_of_output<Pass, K>&>(results).lanes.of[v] = x;
      } else if (v < valid) {
        scatter<Pass, K>(x, once, lane, first + v);
      }
    } else {
      constexpr int r = out::info.slot;
      constexpr op code = total_code<Program, r>;
      constexpr total_kind how = kind_of_total<Program, Nest, Access, r>;
      constexpr T none = identity<code, T>();
      const T counted = v < valid ? x : none;
      if constexpr (use_of<Pass, K> == lane_use::added) {
        static_cast<result_of_output<Pass, K>&>(results).lanes.of[v] = x;
      } else {
        constexpr bool each =
            how == total_kind::lanes || (how == total_kind::row && !layout::inner_in_row);
        T& to = totals_.template get<r>().of[each ? v : 0];
        to = combine<code>(to, counted);
      }
    }
  }
  /// Adds to the row of a table that the index names; divide.hpp gives each lane of a row to one
  /// thread.
  template <int Pass, int K, class T>
  HEDDLE_HD HEDDLE_INLINE void scatter(T x, slots& once, slots& lane, std::int64_t at) {
    using out = output<Pass, K>;
    using E = element_t<out::info.type>;
    constexpr int place = output_place<Pass, K>;
    const table_strides table = program_.written[pass_of<Pass>.first_output + K];
    const auto index = static_cast<std::int64_t>(
        slot<lane_t<out::index_type>, out::index>(out::index_lane ? lane : once));
    if (index < 0 || index >= table.extent) return team_.report(program_.bad_index, index);
    E& to = *reinterpret_cast<E*>(at_[place] +
                                  index * table.indexed * static_cast<std::int64_t>(sizeof(E)) +
                                  at * nest_.lane[place]);
    to = static_cast<E>(static_cast<T>(to) + x);
  }

  template <int Pass, int... K>
  HEDDLE_HD HEDDLE_INLINE void put_results(written<Pass>& results, slots& once, std::int64_t first,
                                           int valid, std::integer_sequence<int, K...>) {
    (put_result<Pass, K>(results, once, first, valid), ...);
  }
  template <int Pass, int K>
  HEDDLE_HD HEDDLE_INLINE void put_result([[maybe_unused]] written<Pass>& results,
                                          [[maybe_unused]] slots& once, std::int64_t first,
                                          int valid) {
    using out = output<Pass, K>;
    if constexpr (out::info.kind == graph::item_kind::store) {
      constexpr int place = output_place<Pass, K>;
      constexpr bool along = along_lanes<Program, Nest>(graph::mask_of(out::info.map));
      auto& lanes = static_cast<result_of_output<Pass, K>&>(results).lanes;
      using E = element_t<out::value_type>;
      const std::int64_t stride =
          wide && along ? static_cast<std::int64_t>(sizeof(E)) : nest_.lane[place];
      std::byte* const to = at_[place] + (along ? first * stride : 0);
      constexpr bool as_vector = wide && along && pass_of<Pass>.inner >= 0;
      if constexpr (is_floating(out::value_type)) {
        if ((program_.accumulates >> (pass_of<Pass>.first_output + K) & 1u) != 0) {
          pack<E, vector> before;
          load<as_vector>(before, to, stride, valid);
          using T = typename out::type;
          HEDDLE_UNROLL
          for (int v = 0; v < vector; ++v) {
            lanes.of[v] =
                static_cast<E>(static_cast<T>(before.of[v]) + static_cast<T>(lanes.of[v]));
          }
        }
      }
      put<as_vector>(to, lanes, stride, valid);
    } else if constexpr (out::info.kind == graph::item_kind::hold) {
      put<wide>(this->template held_value<out::info.slot>(first),
                static_cast<result_of_output<Pass, K>&>(results).lanes, sizeof(typename out::type),
                valid);
    } else if constexpr (use_of<Pass, K> == lane_use::added) {
      constexpr int place = output_place<Pass, K>;
      using T = typename out::type;
      auto& lanes = static_cast<result_of_output<Pass, K>&>(results).lanes;
      std::byte* to = at_[place] + first * nest_.lane[place];
      if constexpr (out::info.kind == graph::item_kind::scatter) {
        using E = element_t<out::info.type>;
        const table_strides table = program_.written[pass_of<Pass>.first_output + K];
        const auto index =
            static_cast<std::int64_t>(slot<lane_t<out::index_type>, out::index>(once));
        if (index < 0 || index >= table.extent) return team_.report(program_.bad_index, index);
        if (shared_ >= 0) {
          T* const sum = shared_sum<T>(nest_.shape, layout::output_count, K, shared_) + first;
          add_lanes<wide, T>(reinterpret_cast<std::byte*>(sum), sizeof(T), lanes, valid, starts_);
        } else {
          add_lanes<wide, E>(to + index * table.indexed * static_cast<std::int64_t>(sizeof(E)),
                             nest_.lane[place], lanes, valid, false);
        }
      } else {
        // the buffer is contiguous along the lanes, its parts begin at multiples of a row
        constexpr int r = out::info.slot;
        std::int64_t stride = nest_.lane[place];
        if constexpr (kind_of_total<Program, Nest, Access, r> == total_kind::held) {
          to = this->template held_total<r>(first);
          stride = sizeof(T);
        }
        pack<T, vector> before;
        load<wide>(before, to, stride, valid);
        HEDDLE_UNROLL
        for (int v = 0; v < vector; ++v)
          lanes.of[v] = typename totals::template combiner<r>{}(before.of[v], lanes.of[v]);
        put<wide>(to, lanes, stride, valid);
      }
    }
  }
  /// Adds lanes to memory; `first`: they are the first that are.
  template <bool Wide, class E, class T>
  HEDDLE_HD HEDDLE_INLINE static void add_lanes(std::byte* to, std::int64_t stride,
                                                const pack<T, vector>& lanes, int valid,
                                                bool first) {
    pack<E, vector> sums{};
    if (!first) load<Wide>(sums, to, stride, valid);
    HEDDLE_UNROLL
    for (int v = 0; v < vector; ++v) {
      sums.of[v] = static_cast<E>(first ? lanes.of[v] : static_cast<T>(sums.of[v]) + lanes.of[v]);
    }
    put<Wide>(to, sums, stride, valid);
  }

  std::int64_t shared_ = -1;  ///< of a sorted scatter: where a row of several segments is summed
  bool starts_ = false;       ///< and whether this is the segment's first row of the sum
  [[no_unique_address]] std::conditional_t<Access == access::resident, vectors, no_vectors>
      resident_;
};

}  // namespace heddle::inline v0::exec::cuda::detail
