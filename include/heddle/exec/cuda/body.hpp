// SPDX-License-Identifier: BSD-3-Clause
// The body of a nest on a CUDA device, written against a team: one template for maps, rows, kept
// and outer reductions. prepare.hpp decides how the work is divided; group.hpp finishes across the
// grid.
#pragma once

#include <heddle/exec/cuda/vectors.hpp>

namespace heddle::inline v0::exec::cuda::detail {

/// One thread's run through its units of a nest.
template <class Program, int Nest, access Access, class Team>
class nest_body : nest_vectors<Program, Nest, Access> {
  using layout = nest_layout<Program, Nest>;
  using operands = nest_vectors<Program, Nest, Access>;
  using operands::at_;
  using operands::begin_;
  using operands::coordinates_;
  using operands::lane_step;
  using operands::lanes_;
  using operands::load_vectors;
  using operands::move_to;
  using operands::nest_;
  using operands::program_;
  using operands::row_;
  using operands::slot_;
  using operands::valid_lanes;
  using typename operands::no_vectors;
  using typename operands::read_places;
  using typename operands::vectors;
  template <int Place>
  using operand_vector = typename operands::template operand_vector<Place>;
  using totals = accumulators<Program, Nest, Access>;
  static constexpr int vector = vector_width<Program, Nest, Access>;
  static constexpr int unroll = unroll_of<Program, Nest, Access>;
  static constexpr bool wide = Access != access::strided;
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

 public:
  HEDDLE_HD HEDDLE_INLINE nest_body(const Team& team, const program_arguments<Program>& program,
                                    const arguments_of<Program, Nest>& nest)
      : operands(program, nest, team.row_memory()), team_(team) {
    rank_ = team.rank() % nest.shape.width;
  }

  /// All units of this thread's group; partial results are left in device memory.
  HEDDLE_HD HEDDLE_INLINE void run() {
    const nest_shape& shape = nest_.shape;
    start_totals(reduction_indices<Program>{});
    const int group = team_.rank() / shape.width;
    if (group < shape.groups) {
      const std::int64_t units = shape.segments * shape.chunks;
      const std::int64_t step = static_cast<std::int64_t>(team_.blocks()) * shape.groups;
      for (std::int64_t u = static_cast<std::int64_t>(team_.block()) * shape.groups + group;
           u < units; u += step) {
        run_unit(shape.chunks == 1 ? u : u / shape.chunks,
                 shape.chunks == 1 ? 0 : u % shape.chunks);
      }
    }
    leave_totals(reduction_indices<Program>{});
  }

  /// Lanes [begin, begin + lanes) of operands that lie elsewhere, one pointer a cursor.
  HEDDLE_HD HEDDLE_INLINE void run_chunk(std::byte* const* bases, std::int64_t begin,
                                         std::int64_t lanes) {
    HEDDLE_UNROLL
    for (int c = 0; c < layout::cursor_count; ++c) at_[c] = bases[c];
    begin_ = begin;
    lanes_ = team_.limit(lanes);
    run_passes<0>();
  }

 private:
  HEDDLE_HD HEDDLE_INLINE void run_unit(std::int64_t segment, std::int64_t chunk) {
    const nest_shape& shape = nest_.shape;
    const bool one_each = shape.segments == shape.rows;
    const std::int64_t first = one_each ? segment : shape.rows * segment / shape.segments;
    const std::int64_t last = one_each ? segment + 1 : shape.rows * (segment + 1) / shape.segments;
    slot_ = shape.slot_of_unit ? segment * shape.chunks + chunk : segment;
    begin_ = chunk * shape.chunk;
    const std::int64_t rest = shape.inner_extent - begin_;
    lanes_ = team_.limit(rest < shape.chunk ? rest : shape.chunk);
    if constexpr (owned_scatter<Program, Nest>) {
      if (shape.segments > 1) return run_owned(segment);
    }
    for (row_ = first; row_ < last; ++row_) {
      move_to(row_, 0);
      if constexpr (Access == access::resident) {
        this->template load_vectors<-1>(resident_, rank_ * vector, read_places{});
      }
      run_passes<0>();
    }
    flush_totals(reduction_indices<Program>{});
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
        move_to(base + lowest_bit(mine), 0);
        run_passes<0>();
      }
    }
  }
  HEDDLE_HD HEDDLE_INLINE static int lowest_bit(unsigned x) {
#if defined(__CUDA_ARCH__)
    return __ffs(static_cast<int>(x)) - 1;
#else
    return std::countr_zero(x);
#endif
  }
  /// The segment that owns the row of the table which this position's index names; that of no row
  /// has an owner, too, who reports it.
  HEDDLE_HD HEDDLE_INLINE std::int64_t owner() {
    constexpr int pass = layout::first_pass;
    using out = output<pass, 0>;
    slots once;
    slots none;
    no_vectors no;
    evaluate<pass, false>(once, none, no, 0, 0, 1, node_indices<pass>{});
    const auto index = static_cast<std::int64_t>(slot<lane_t<out::index_type>, out::index>(once));
    const std::int64_t extent = program_.written[pass_of<pass>.first_output].extent;
    if (index < 0 || index >= extent) return 0;
    if (index >> 32 == 0) {
      return static_cast<std::uint32_t>(index) % static_cast<std::uint32_t>(nest_.shape.segments);
    }
    return index % nest_.shape.segments;
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
    start_rows<Pass>(outputs{});
    const std::int64_t steps = pass_of<Pass>.row_pass ? 1 : nest_.shape.row_steps;
    for (std::int64_t step = 0; step < steps; ++step) {
      if (nest_.shape.row_steps > 1) move_to(row_, step);
      begin_memory<Pass>(outputs{});
      if constexpr (pass_of<Pass>.inner < 0) {
        run_element<Pass>();
      } else {
        run_lanes<Pass>();
      }
      end_memory<Pass>(outputs{});
    }
    finish_rows<Pass>(outputs{});
  }

  template <int Pass>
  using node_indices = std::make_integer_sequence<int, pass_of<Pass>.node_count>;
  template <int Pass, int K>
  static constexpr int node_id =
      plan_of<Program>.nodes[static_cast<std::size_t>(pass_of<Pass>.first_node + K)];

  /// A pass of one element: all threads of the group compute it, the first one writes.
  template <int Pass>
  HEDDLE_HD HEDDLE_INLINE void run_element() {
    slots once;
    slots none;
    no_vectors no;
    evaluate<Pass, false>(once, none, no, 0, 0, 1, node_indices<Pass>{});
    written<Pass> results;
    write_lane<Pass>(results, once, none, 0, 0, rank_ == 0 ? 1 : 0,
                     std::make_integer_sequence<int, pass_of<Pass>.output_count>{});
    put_results<Pass>(results, 0, rank_ == 0 ? 1 : 0,
                      std::make_integer_sequence<int, pass_of<Pass>.output_count>{});
  }

  template <int Pass>
  HEDDLE_HD HEDDLE_INLINE void run_lanes() {
    slots once;
    {
      slots none;
      no_vectors no;
      evaluate<Pass, false>(once, none, no, 0, 0, 1, node_indices<Pass>{});
    }
    const std::int64_t step = static_cast<std::int64_t>(nest_.shape.width) * vector;
    for (std::int64_t i = rank_ * vector; i < lanes_; i += step * unroll) {
      if constexpr (Access == access::resident) {
        run_vector<Pass>(once, resident_, i);
        return;
      } else {
        vectors loaded[unroll];
        HEDDLE_UNROLL
        for (int u = 0; u < unroll; ++u) {
          this->template load_vectors<Pass>(loaded[u], i + u * step, read_places{});
        }
        HEDDLE_UNROLL
        for (int u = 0; u < unroll; ++u) {
          if (u == 0 || i + u * step < lanes_) run_vector<Pass>(once, loaded[u], i + u * step);
        }
      }
    }
  }

  /// Lanes [i, i + vector) of the unit, as far as there are any.
  template <int Pass>
  HEDDLE_HD HEDDLE_INLINE void run_vector(slots& once, const vectors& loaded, std::int64_t i) {
    const int valid = valid_lanes(i);
    using outputs = std::make_integer_sequence<int, pass_of<Pass>.output_count>;
    written<Pass> results;
    HEDDLE_UNROLL
    for (int v = 0; v < vector; ++v) {
      slots lane;
      evaluate<Pass, true>(once, lane, loaded, begin_ + i, v, valid, node_indices<Pass>{});
      write_lane<Pass>(results, once, lane, begin_ + i, v, valid, outputs{});
    }
    put_results<Pass>(results, begin_ + i, valid, outputs{});
  }
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
    if constexpr (is_lane<Program>(pass_of<Pass>, Id) == Lanes) {
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
    } else if constexpr (kind == graph::item_kind::carry) {
      if (v < valid) {
        const std::int64_t lane_offset =
            pass_of<Pass>.inner >= 0 ? (first + v) * nest_.lane[place] : 0;
        *reinterpret_cast<T*>(at_[place] + lane_offset) = x;
      }
    } else if constexpr (kind == graph::item_kind::scatter) {
      if (v < valid) scatter<Pass, K>(x, once, lane, first + v);
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
  /// Adds to the row of a table that the index names; prepare.hpp gives each lane of a row to one
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
  HEDDLE_HD HEDDLE_INLINE void put_results(written<Pass>& results, std::int64_t first, int valid,
                                           std::integer_sequence<int, K...>) {
    (put_result<Pass, K>(results, first, valid), ...);
  }
  template <int Pass, int K>
  HEDDLE_HD HEDDLE_INLINE void put_result([[maybe_unused]] written<Pass>& results,
                                          std::int64_t first, int valid) {
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
    } else if constexpr (use_of<Pass, K> == lane_use::added) {
      // the buffer is contiguous along the lanes, its parts begin at multiples of a row
      constexpr int place = output_place<Pass, K>;
      constexpr int r = out::info.slot;
      using T = typename out::type;
      auto& lanes = static_cast<result_of_output<Pass, K>&>(results).lanes;
      std::byte* const to = at_[place] + first * nest_.lane[place];
      pack<T, vector> before;
      load<wide>(before, to, nest_.lane[place], valid);
      HEDDLE_UNROLL
      for (int v = 0; v < vector; ++v) lanes.of[v] = combiner<r>{}(before.of[v], lanes.of[v]);
      put<wide>(to, lanes, nest_.lane[place], valid);
    }
  }

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
    (finish_row<Pass, K>(), ...);
  }
  template <int Pass, int K>
  HEDDLE_HD HEDDLE_INLINE void finish_row() {
    if constexpr (output<Pass, K>::info.kind == graph::item_kind::row_reduction &&
                  layout::inner_in_row) {
      constexpr int r = output<Pass, K>::info.slot;
      auto& total = totals_.template get<r>().of[0];
      total = reduce_row(team_, total, nest_.shape.width, combiner<r>{});
    }
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
        if constexpr (pass_of<Pass>.inner >= 0) {
          total = reduce_row(team_, total, nest_.shape.width, combiner<r>{});
        }
        if (rank_ == 0) {
          auto& to = *reinterpret_cast<total_type<Program, r>*>(at_[output_place<Pass, K>]);
          to = combiner<r>{}(to, total);
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

  const Team& team_;
  int rank_;  ///< in its group
  std::byte* kept_at_[program_arguments<Program>::sizes.reductions == 0
                          ? 1
                          : program_arguments<Program>::sizes.reductions];
  [[no_unique_address]] totals totals_;
  [[no_unique_address]] std::conditional_t<Access == access::resident, vectors, no_vectors>
      resident_;
};

}  // namespace heddle::inline v0::exec::cuda::detail
