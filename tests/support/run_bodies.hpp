// SPDX-License-Identifier: BSD-3-Clause
// Runs a statement through the bodies of its CUDA kernels on host teams: the same preparation, the
// same templates, block after block or all at once.
#pragma once

#include <algorithm>
#include <limits>
#include <numeric>

#include "host_team.hpp"

#include <heddle/exec/cuda/prepare.hpp>
#include <heddle/exec/evaluate.hpp>

namespace support {

namespace exec = heddle::exec;
using heddle::dtype;
using heddle::op;

/// How bodies are run.
struct body_run {
  int team = 32;
  int blocks = 3;  ///< at most
  fibre_order order = fibre_order::forward;
  bool threads = false;
  team_fault fault = {};
  std::uint64_t seed = 1;
  std::int64_t sorted_rows = 0;  ///< scatters of so many rows sort them; 0: none does
  std::int64_t merged_apart = cuda::results_merged_apart;
  int members = 1;               ///< teams that may share a row
  std::int64_t wanted_rows = 0;  ///< bytes from which on they do
  bool side_by_side = false;     ///< independent nests share a launch
};

/// What happened.
struct body_report {
  std::vector<cuda::access> bodies;  ///< of each launch
  std::int64_t bad_index = 0;        ///< what a gather reported
  int launches = 0;
  bool waits_for_ever = false;  ///< threads of a team at different barriers
  int blocks = 0;               ///< of the largest launch
  bool held = false;            ///< a launch held rows in the team's memory
  int members = 1;              ///< teams that shared a row, at most
  bool values_held = false;     ///< what several passes need was computed once
  int sorts = 0;                ///< of a scatter's rows
  int merges = 0;               ///< launches that merge partial results
};

template <class Program>
class body_runner {
 public:
  body_runner(const exec::launch& l, const body_run& how, bool held = true)
      : l_(l), how_(how), ready_(l, limits(how, held)) {
    // memory that is not initialised is full of not-a-numbers
    workspace_.assign(static_cast<std::size_t>(ready_.workspace_bytes()) / 4 + 4,
                      std::numeric_limits<float>::quiet_NaN());
    ready_.place(reinterpret_cast<std::byte*>(workspace_.data()), &ticket_, &report_.bad_index);
    report_.bad_index = std::numeric_limits<std::int64_t>::min();
  }

  body_report run() {
    ready_.for_each_fill(l_, [](const cuda::identity_fill& fill) {
      exec::host::detail::fill_identity(fill.at, fill.count, fill.code, fill.type);
    });
    const exec::plan_view view = exec::view_of<Program>();
    for (int k = 0; k < view.nest_count; ++k) {
      if (view.nests[k].scatters) exec::host::detail::clear_scattered(view, view.nests[k], l_);
    }
    run_all();
    report_.values_held = exec::is_holding<Program>;
    return report_;
  }
  unsigned ticket() const { return ticket_; }
  bool holds() const { return ready_.holds(); }

 private:
  static cuda::launch_limits limits(const body_run& how, bool held) {
    cuda::launch_limits l;
    l.team = how.team;
    l.fixed_team = true;
    l.max_blocks = l.max_blocks_of_maps = how.blocks;
    l.row_memory = held ? row_bytes : 0;
    l.sorted_rows = how.sorted_rows;
    l.merged_apart = how.merged_apart;
    l.max_members = how.members;
    l.wanted_row_memory = how.wanted_rows;
    l.multiprocessors = how.blocks;
    if (how.side_by_side) l.side_by_side = exec::side_by_side_elements;
    return l;
  }

  void run_all() {
    if constexpr (exec::side_by_side_program<Program>) {
      if (ready_.side_by_side()) return run_parts();
    }
    run_from<0>();
  }
  void run_parts() {
    const auto arguments = ready_.parts(l_);
    ++report_.launches;
    cuda::detail::nest_choice all = ready_.choice(0);
    all.blocks = arguments.first_team[arguments.nests];
    report_.bodies.push_back(all.how);
    report_.blocks = all.blocks;
    run_grid(all, 1,
             [&arguments](const auto& team) { cuda::run_side_by_side<Program>(team, arguments); });
  }

  template <int First>
  void run_from() {
    if constexpr (First < static_cast<int>(exec::plan_of<Program>.sizes.nests)) {
      const cuda::detail::nest_choice choice = ready_.choice(First);
      if constexpr (cuda::detail::owned_scatter<Program, First>) {
        if (choice.sorted) sort_rows<First>(choice);
      }
      const auto arguments = ready_.template group<First>(l_);
      report_.bodies.push_back(choice.how);
      ++report_.launches;
      report_.held = report_.held || choice.how == cuda::access::held;
      const int members = arguments.template nest<First>().shape.members;
      if (members > report_.members) report_.members = members;
      if (choice.blocks > report_.blocks) report_.blocks = choice.blocks;
      if constexpr (cuda::detail::has_held_body<Program, First>()) {
        if (choice.how == cuda::access::held) launch<First, cuda::access::held>(arguments, choice);
      }
      if constexpr (cuda::detail::has_other_bodies<Program, First>()) {
        if (choice.how == cuda::access::strided) {
          launch<First, cuda::access::strided>(arguments, choice);
        } else if (choice.how == cuda::access::wide) {
          launch<First, cuda::access::wide>(arguments, choice);
        } else if constexpr (cuda::detail::nest_layout<Program, First>::inner_in_row) {
          if (choice.how == cuda::access::resident) {
            launch<First, cuda::access::resident>(arguments, choice);
          }
        }
      }
      if constexpr (cuda::detail::keeps_axes<Program, First>()) {
        if (choice.merge_blocks > 0) {
          merge<First>(arguments, choice);
          finish<First + 1, decltype(arguments)::end>();
        }
      }
      if constexpr (cuda::detail::owned_scatter<Program, First>) {
        if (choice.sorted) run_step<First, cuda::sorted_step::shared_sums>(arguments, choice);
      }
      run_from<decltype(arguments)::end>();
    }
  }

  template <int First>
  void sort_rows(const cuda::detail::nest_choice& choice) {
    ++report_.sorts;
    ready_.template sort_rows<First>(
        l_,
        [&](const cuda::group_arguments<Program, First>& arguments) {
          run_step<First, cuda::sorted_step::words>(arguments, choice);
        },
        [](cuda::sort_buffers& b, std::int64_t count, int bits) {
          const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
          std::vector<std::int64_t> order(static_cast<std::size_t>(count));
          std::iota(order.begin(), order.end(), 0);
          std::stable_sort(order.begin(), order.end(), [&](std::int64_t x, std::int64_t y) {
            return (b.words[x] & mask) < (b.words[y] & mask);
          });
          for (std::int64_t i = 0; i < count; ++i) {
            b.words_room[i] = b.words[order[static_cast<std::size_t>(i)]];
            b.places_room[i] = b.places[order[static_cast<std::size_t>(i)]];
          }
          std::swap(b.words, b.words_room);
          std::swap(b.places, b.places_room);
        });
  }

  template <int First, cuda::access Access>
  void launch(const cuda::group_arguments<Program, First>& arguments,
              const cuda::detail::nest_choice& choice) {
    run_grid(choice, arguments.template nest<First>().shape.members,
             [&](const auto& team) { cuda::run_group<Program, First, Access>(team, arguments); });
  }
  template <int First>
  void merge(const cuda::group_arguments<Program, First>& arguments,
             cuda::detail::nest_choice choice) {
    ++report_.merges;
    choice.blocks = choice.merge_blocks;
    choice.team = cuda::merge_team(choice.team);
    run_grid(choice, 1,
             [&arguments](const auto& team) { cuda::run_merge<Program, First>(team, arguments); });
  }
  template <int Nest, int End>
  void finish() {
    if constexpr (Nest < End) {
      const cuda::detail::nest_choice choice = ready_.choice(Nest);
      launch<Nest, cuda::access::strided>(ready_.template group<Nest>(l_), choice);
      finish<cuda::detail::finish_end<Program>(Nest), End>();
    }
  }
  template <int First, cuda::sorted_step Step>
  void run_step(const cuda::group_arguments<Program, First>& arguments,
                const cuda::detail::nest_choice& choice) {
    run_grid(choice, 1, [&arguments](const auto& team) {
      cuda::run_sorted_step<Program, First, Step>(team, arguments);
    });
  }

  /// thread(team) for each thread of the grid, `members` teams of which share rows.
  template <class Thread>
  void run_grid(const cuda::detail::nest_choice& choice, int members, const Thread& thread) {
    if (how_.threads) {
      // all teams of the grid at once
      std::vector<std::unique_ptr<thread_scheduler>> teams;
      std::vector<std::thread> blocks;
      for (int b = 0; b < choice.blocks; ++b) {
        teams.push_back(std::make_unique<thread_scheduler>(choice.team));
      }
      for (int b = 0; b < choice.blocks; ++b) {
        blocks.emplace_back([&, b] {
          thread_scheduler& team = *teams[static_cast<std::size_t>(b)];
          team.run([&](int rank) {
            thread(host_team<thread_scheduler>(team, rank, b, choice.blocks, how_.fault));
          });
        });
      }
      for (std::thread& t : blocks) t.join();
      return;
    }
    fibre_grid grid(choice.team, choice.blocks, members, how_.order, how_.seed);
    const bool ended = grid.run([&](fibre_grid::block& block, int b, int rank) {
      thread(host_team<fibre_grid::block>(block, rank, b, choice.blocks, how_.fault));
    });
    if (!ended) report_.waits_for_ever = true;
  }

  exec::launch l_;
  body_run how_;
  cuda::prepared<Program> ready_;
  std::vector<float> workspace_;
  unsigned ticket_ = 0;
  body_report report_;
};

/// Evaluates expressions of tensors by the bodies; results go into `results`, contiguous tensors.
template <class... E, class... T, int... Rank>
body_report run_bodies(const body_run& how, const std::tuple<heddle::tensor<T, Rank>...>& results,
                       const E&... e) {
  using statement = exec::statement<E...>;
  using program = exec::cut_program<typename statement::program>;
  const exec::bound<statement> b(e...);
  exec::operand inputs[statement::operand_count + 1];
  b.bind_operands(inputs);
  exec::operand outputs[sizeof...(T) + 1];
  int k = 0;
  std::apply([&](const auto&... t) { ((outputs[k++] = exec::detail::operand_of(t)), ...); },
             results);
  exec::launch l;
  for (int i = 0; i < heddle::graph::max_axes; ++i) l.extents[i] = b.extents[i];
  l.inputs = inputs;
  l.outputs = outputs;
  l.scalars = b.scalars;
  if constexpr (exec::detail::computes_twice<program>()) {
    if (body_runner<program>(l, how).holds()) {
      body_runner<exec::holding<program>> with_values(l, how);
      if (with_values.holds()) return with_values.run();
      return body_runner<program>(l, how, false).run();
    }
  }
  return body_runner<program>(l, how).run();
}

}  // namespace support
