// SPDX-License-Identifier: BSD-3-Clause
// Scatters of many rows. They are sorted by the row of the table that each goes to: one kernel
// leaves these numbers, a sort orders them, the scatter's own kernel adds segment by segment, and a
// last kernel adds what several segments have for one row of the table. So the work divides evenly
// whichever rows of the table are asked for most, and the sums have one order.
#pragma once

#include <atomic>

#include <heddle/core/device.hpp>
#include <heddle/exec/cuda/nodes.hpp>

namespace heddle::inline v0::exec::cuda {

/// Words and places, and room for a sorted copy of them, in a device's memory.
struct sort_buffers {
  std::uint64_t* words = nullptr;
  std::uint64_t* words_room = nullptr;
  std::int64_t* places = nullptr;
  std::int64_t* places_room = nullptr;
};

/// Sorts pairs by the lowest bits of the words, on the device's current stream; equal words keep
/// their order. Sets words and places to where they are then.
using word_sorter = void (*)(sort_buffers& buffers, std::int64_t count, int bits, device where);

/// Null where no unit of the program includes heddle/algorithm/cuda/cub.cuh.
inline constinit std::atomic<word_sorter> word_sorter_in_place{nullptr};

/// The kernels around that of a sorted scatter.
enum class sorted_step : std::uint8_t { words, shared_sums };

namespace detail {

template <class Program, int Nest, class Team>
class sorted_body : nest_nodes<Program, Nest, access::strided, Team> {
  using layout = nest_layout<Program, Nest>;
  using nodes = nest_nodes<Program, Nest, access::strided, Team>;
  using nodes::nest_;
  using nodes::program_;
  using nodes::team_;

 public:
  HEDDLE_HD HEDDLE_INLINE sorted_body(const Team& team, const program_arguments<Program>& program,
                                      const arguments_of<Program, Nest>& nest)
      : nodes(team, program, nest) {}

  /// Leaves the table's row and the place of each row. An index that is outside of the table is
  /// behind all others; who adds its row reports it.
  HEDDLE_HD HEDDLE_INLINE void leave_words() {
    const std::int64_t outside = nest_.shape.sorted.table_rows;
    const std::int64_t rows = team_.limit(nest_.shape.rows);
    const std::int64_t threads = std::int64_t{team_.blocks()} * team_.size();
    for (std::int64_t row = std::int64_t{team_.block()} * team_.size() + team_.rank(); row < rows;
         row += threads) {
      this->move_to(row, 0);
      const std::int64_t index = this->scattered_to();
      nest_.shape.sorted.words[row] =
          static_cast<std::uint64_t>(index < 0 || index > outside ? outside : index);
      nest_.shape.sorted.places[row] = row;
    }
  }

  /// Adds what segments have for one row of the table: the first of them, and those behind it.
  HEDDLE_HD HEDDLE_INLINE void add_shared_sums() {
    const nest_shape& shape = nest_.shape;
    const std::uint64_t* const words = shape.sorted.words;
    const int group = shape.group_of(team_.rank(), team_.size());
    if (group >= shape.groups) return;
    const std::int64_t step = std::int64_t{team_.blocks()} * shape.groups;
    for (std::int64_t s = std::int64_t{team_.block()} * shape.groups + group; s < shape.segments;
         s += step) {
      const row_range own(shape, s);
      const std::uint64_t word = words[own.end - 1];
      const bool goes_on = own.end < shape.rows && words[own.end] == word;
      const bool began_before = own.begin > 0 && words[own.begin - 1] == word;
      if (!goes_on || began_before) continue;
      std::int64_t last = s + 1;
      while (last + 1 < shape.segments && words[row_range(shape, last + 1).begin] == word) ++last;
      add_outputs(static_cast<std::int64_t>(word), s, last,
                  std::make_integer_sequence<int, layout::output_count>{});
    }
  }

 private:
  template <int... K>
  HEDDLE_HD HEDDLE_INLINE void add_outputs(std::int64_t row, std::int64_t first, std::int64_t last,
                                           std::integer_sequence<int, K...>) {
    (add_output<K>(row, first, last), ...);
  }
  template <int K>
  HEDDLE_HD HEDDLE_INLINE void add_output(std::int64_t row, std::int64_t first, std::int64_t last) {
    using out = typename nodes::template output<layout::first_pass, K>;
    using T = typename out::type;
    using E = element_t<out::info.type>;
    constexpr int place = layout::place_of_output(layout::first_output + K);
    const nest_shape& shape = nest_.shape;
    const table_strides table = program_.written[layout::first_output + K];
    if (row >= table.extent) return;  // nothing was added
    std::byte* const base =
        nest_.base[place] + row * table.indexed * static_cast<std::int64_t>(sizeof(E));
    const std::int64_t lanes = team_.limit(shape.inner_extent);
    for (std::int64_t i = shape.rank_in_group(team_.rank(), team_.size()); i < lanes;
         i += shape.width) {
      T total = shared_sum<T>(shape, layout::output_count, K, 2 * first + 1)[i];
      for (std::int64_t s = first + 1; s <= last; ++s) {
        total += shared_sum<T>(shape, layout::output_count, K, 2 * s)[i];
      }
      E& to = *reinterpret_cast<E*>(base + i * nest_.lane[place]);
      to = static_cast<E>(static_cast<T>(to) + total);
    }
  }
};

}  // namespace detail
}  // namespace heddle::inline v0::exec::cuda
