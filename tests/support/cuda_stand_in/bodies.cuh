// SPDX-License-Identifier: BSD-3-Clause
// heddle's kernels on the stand-in: before a kernel is first launched, the stand-in is told what it
// does, its body on teams of fibres, and what memory a launch reaches. Every .cu unit of a test
// program includes this before anything that launches.
//
// Bodies are called by host code here with a team that only the host has. nvcc warns of that, so
// such units are compiled with -diag-suppress 20011,20013,20014.
#pragma once

#include "../host_team.hpp"
#include "fibres.hpp"
#include "stand_in.hpp"

#include <heddle/exec/cuda/kernel.cuh>
#include <heddle/exec/cuda/multi.hpp>
#include <heddle/exec/cuda/prepare.hpp>
#include <heddle/graph/text.hpp>
#include <heddle/tensor/cuda/copy.cuh>

namespace stand_in {

namespace cuda = heddle::exec::cuda;
namespace exec = heddle::exec;

using team = support::host_team<fibre_block>;

/// One block of a launch.
struct block_run {
  const void* arguments;
  int block;
  int blocks;
  support::team_fault fault;

  team member(fibre_block& of, int rank) const { return {of, rank, block, blocks, fault}; }
};

/// Runs the blocks of a grid one after the other, in an order that the seed gives: none waits for
/// another.
inline void run_grid(const char* name, const void* arguments, int blocks, int threads,
                     std::size_t shared_bytes, std::uint64_t seed,
                     void (*thread)(void*, fibre_block&, int)) {
  support::random_source random(seed);
  std::vector<int> turn(static_cast<std::size_t>(blocks));
  for (int i = 0; i < blocks; ++i) {
    const int k = random.below(i + 1);
    turn[static_cast<std::size_t>(i)] = turn[static_cast<std::size_t>(k)];
    turn[static_cast<std::size_t>(k)] = i;
  }
  block_run one{arguments, 0, blocks, {.missing_site = -1, .tail = team_fault() != 0}};
  for (const int b : turn) {
    one.block = b;
    if (run_block(threads, cuda::scratch_bytes + 16 + shared_bytes, random.word(), thread, &one)) {
      continue;
    }
    report(std::string("waits for ever: threads of kernel ") + name +
           " stand at different barriers");
    return;
  }
}

/// Ops of a program, for people.
template <class Program>
std::string ops_of(int nest, cuda::access how) {
  std::string name;
  const heddle::graph::graph g = heddle::graph::thaw(Program{});
  for (const heddle::graph::node& n : g.nodes) {
    if (n.code == heddle::op::input || n.code == heddle::op::store) continue;
    name += std::string(heddle::graph::name_of(n.code, g.user_ops)) + " ";
    if (name.size() > 60) {
      name += "... ";
      break;
    }
  }
  const char* const ways[] = {"strided", "wide", "resident", "held"};
  return name + "nest " + std::to_string(nest) + " " + ways[static_cast<int>(how)];
}

/// From the first byte of an operand to its last, as loops move it.
struct byte_span {
  std::int64_t low = 0;
  std::int64_t high;
  bool empty = false;

  explicit byte_span(std::size_t element) : high(static_cast<std::int64_t>(element)) {}
  void along(std::int64_t extent, std::int64_t stride) {
    empty = empty || extent == 0;
    (stride < 0 ? low : high) += (extent - 1) * stride;
  }
};

/// Where the accesses of a launch go.
struct access_sink {
  void* context;
  add_access add;
  void operator()(const void* begin, std::int64_t bytes, touch how) const {
    add(context, begin, static_cast<std::size_t>(bytes), how);
  }
  void operator()(const std::byte* base, const byte_span& reached, touch how) const {
    if (base != nullptr && !reached.empty) {
      (*this)(base + reached.low, reached.high - reached.low, how);
    }
  }
};

/// What nest Nest reaches: operands, values and results; partial and merged totals.
template <class Program, int Nest>
void add_nest(const cuda::program_arguments<Program>& program,
              const cuda::arguments_of<Program, Nest>& nest, int blocks, const access_sink& add) {
  using layout = cuda::detail::nest_layout<Program, Nest>;
  static constexpr auto reads = cuda::detail::find_reads<Program, Nest>();
  static constexpr auto values = cuda::detail::find_values<Program, Nest>();
  const exec::plan_view p = exec::view_of<Program>();
  constexpr int results = layout::read_count + layout::value_count;
  for (int c = 0; c < layout::cursor_count; ++c) {
    const int at = layout::first_output + c - results;
    const exec::read_info* const read =
        c < layout::read_count ? p.reads + reads.values[c] : nullptr;
    const bool value = read == nullptr && c < results;
    const heddle::dtype type = read != nullptr ? read->type
                               : value ? p.reductions[values.values[c - layout::read_count]].type
                                       : p.outputs[at].type;
    const std::size_t size = heddle::size_of(type);
    byte_span reached(size);
    for (int k = 0; k < nest.shape.outer_count; ++k) {
      reached.along(nest.loops[k].by(), nest.strides[c][k]);
    }
    reached.along(nest.shape.inner_extent, nest.lane[c]);
    const bool scatters = c >= results && p.outputs[at].kind == heddle::graph::item_kind::scatter;
    if (scatters || (read != nullptr && read->gathered)) {
      const cuda::table_strides table =
          scatters ? program.written[at] : program.tables[reads.values[c]];
      reached.along(table.extent, table.indexed * static_cast<std::int64_t>(size));
    }
    add(nest.base[c], reached, c < results ? touch::read : touch::written);
  }
  for (int r = 0; r < p.reduction_count; ++r) {
    const exec::reduction_info& info = p.reductions[r];
    if (info.nest != Nest || info.row) continue;
    const std::int64_t slots = info.kept == 0 ? blocks : nest.shape.slots;
    add(program.merged[r], program.kept[r] * 8, touch::written);
    add(program.partials[r], slots * program.kept[r] * 8, touch::written);
  }
}

/// What the launches of a sorted scatter share.
inline void add_sorted(const cuda::nest_shape& shape, int outputs, const access_sink& add) {
  if (shape.sorted.places == nullptr) return;
  add(shape.sorted.words, shape.rows * 8, touch::written);
  add(shape.sorted.places, shape.rows * 8, touch::written);
  add(shape.sorted.shared,
      shape.segments * cuda::detail::shared_bytes_of_segment(shape.inner_extent, outputs),
      touch::written);
}

/// Whether an index may be out of its table.
template <class Program>
bool looks_up() {
  for (int i = 0; i < Program::node_count; ++i) {
    const heddle::op code = exec::plan_of<Program>.graph_nodes[static_cast<std::size_t>(i)].code;
    if (code == heddle::op::gather || code == heddle::op::scatter_add) return true;
  }
  return false;
}

/// cuda::kernel<Program, First, Access>.
template <class Program, int First, cuda::access Access>
struct group_kernel {
  using arguments = cuda::group_arguments<Program, First>;

  static const char* name() {
    static const std::string text = ops_of<Program>(First, Access);
    return text.c_str();
  }
  static void run_thread(void* context, fibre_block& of, int rank) {
    const block_run& one = *static_cast<const block_run*>(context);
    cuda::run_group<Program, First, Access>(one.member(of, rank),
                                            *static_cast<const arguments*>(one.arguments));
  }
  static void run(const void* with, int blocks, int threads, std::size_t shared_bytes,
                  std::uint64_t seed) {
    run_grid(name(), with, blocks, threads, shared_bytes, seed, &run_thread);
  }
  static void accesses(const void* with, int blocks, void* context, add_access add) {
    add_group(*static_cast<const arguments*>(with), blocks, {context, add});
  }
  static void add_group(const arguments& a, int blocks, const access_sink& add) {
    add_all(a, blocks, add, std::make_integer_sequence<int, arguments::end - First>{});
    add_sorted(a.template nest<First>().shape,
               cuda::detail::nest_layout<Program, First>::output_count, add);
  }

 private:
  template <int... K>
  static void add_all(const arguments& a, int blocks, const access_sink& add,
                      std::integer_sequence<int, K...>) {
    // what finishes the launch is done by one team
    (add_nest<Program, First + K>(a.program, a.template nest<First + K>(), K == 0 ? blocks : 1,
                                  add),
     ...);
    if (cuda::detail::has_terminals<Program, First>()) {
      add(a.program.ticket, sizeof(unsigned), touch::written);
    }
    if (looks_up<Program>()) add(a.program.bad_index, sizeof(std::int64_t), touch::atomic);
  }
};

/// cuda::side_by_side_kernel<Program>.
template <class Program>
struct side_by_side_kernel {
  using arguments = cuda::side_by_side_arguments<Program>;

  static const char* name() {
    static const std::string text = "side by side: " + ops_of<Program>(0, cuda::access::strided);
    return text.c_str();
  }
  static void run_thread(void* context, fibre_block& of, int rank) {
    const block_run& one = *static_cast<const block_run*>(context);
    cuda::run_side_by_side<Program>(one.member(of, rank),
                                    *static_cast<const arguments*>(one.arguments));
  }
  static void run(const void* with, int blocks, int threads, std::size_t shared_bytes,
                  std::uint64_t seed) {
    run_grid(name(), with, blocks, threads, shared_bytes, seed, &run_thread);
  }
  static void accesses(const void* with, int, void* context, add_access add) {
    add_all(*static_cast<const arguments*>(with), {context, add},
            std::make_integer_sequence<int, arguments::nests>{});
  }

 private:
  template <int... Nest>
  static void add_all(const arguments& a, const access_sink& add,
                      std::integer_sequence<int, Nest...>) {
    // what reads merged results is done by one team
    (add_nest<Program, Nest>(
         a.program, a.template nest<Nest>(),
         cuda::detail::has_part<Program, Nest> ? a.template teams_of<Nest>() : 1, add),
     ...);
    if (!(cuda::detail::has_part<Program, Nest> && ...)) {
      add(a.program.ticket, sizeof(unsigned), touch::written);
    }
    if (looks_up<Program>()) add(a.program.bad_index, sizeof(std::int64_t), touch::atomic);
  }
};

/// cuda::merge_kernel<Program, First>.
template <class Program, int First>
struct merge_kernel {
  using arguments = cuda::group_arguments<Program, First>;

  static const char* name() {
    static const std::string text = "merges: " + ops_of<Program>(First, cuda::access::strided);
    return text.c_str();
  }
  static void run_thread(void* context, fibre_block& of, int rank) {
    const block_run& one = *static_cast<const block_run*>(context);
    cuda::run_merge<Program, First>(one.member(of, rank),
                                    *static_cast<const arguments*>(one.arguments));
  }
  static void run(const void* with, int blocks, int threads, std::size_t, std::uint64_t seed) {
    run_grid(name(), with, blocks, threads, cuda::merge_bytes, seed, &run_thread);
  }
  static void accesses(const void* with, int blocks, void* context, add_access add) {
    group_kernel<Program, First, cuda::access::strided>::add_group(
        *static_cast<const arguments*>(with), blocks, {context, add});
  }
};

/// cuda::sorted_kernel<Program, First, Step>.
template <class Program, int First, cuda::sorted_step Step>
struct sorted_kernel {
  using arguments = cuda::group_arguments<Program, First>;

  static const char* name() {
    static const std::string text =
        (Step == cuda::sorted_step::words ? "words of: " : "shared sums of: ") +
        ops_of<Program>(First, cuda::access::strided);
    return text.c_str();
  }
  static void run_thread(void* context, fibre_block& of, int rank) {
    const block_run& one = *static_cast<const block_run*>(context);
    cuda::run_sorted_step<Program, First, Step>(one.member(of, rank),
                                                *static_cast<const arguments*>(one.arguments));
  }
  static void run(const void* with, int blocks, int threads, std::size_t shared_bytes,
                  std::uint64_t seed) {
    run_grid(name(), with, blocks, threads, shared_bytes, seed, &run_thread);
  }
  static void accesses(const void* with, int blocks, void* context, add_access add) {
    group_kernel<Program, First, cuda::access::strided>::add_group(
        *static_cast<const arguments*>(with), blocks, {context, add});
  }
};

/// The kernel of launches over lists of tensors.
template <class Program, cuda::access Access, int Groups>
struct list_kernel {
  using arguments = cuda::multi_arguments<Program, Groups>;
  using layout = typename arguments::layout;

  static const char* name() {
    static const std::string text = "over a list: " + ops_of<Program>(0, Access);
    return text.c_str();
  }
  static void run_thread(void* context, fibre_block& of, int rank) {
    const block_run& one = *static_cast<const block_run*>(context);
    cuda::run_multi<Program, Access>(one.member(of, rank),
                                     *static_cast<const arguments*>(one.arguments));
  }
  static void run(const void* with, int blocks, int threads, std::size_t shared_bytes,
                  std::uint64_t seed) {
    run_grid(name(), with, blocks, threads, shared_bytes, seed, &run_thread);
  }
  static void accesses(const void* with, int blocks, void* context, add_access add) {
    const arguments& a = *static_cast<const arguments*>(with);
    const access_sink sink{context, add};
    for (int g = 0; g < a.groups; ++g) {
      for (int c = 0; c < layout::cursor_count; ++c) {
        if (a.base[g][c] == nullptr) continue;  // of a reduction
        // what all groups share is one element of 1 byte or more
        const std::int64_t lane = a.group.template nest<0>().lane[c];
        sink(a.base[g][c], lane == 0 ? 1 : a.count[g] * lane,
             c < layout::read_count ? touch::read : touch::written);
      }
    }
    add_results(a, blocks, sink, std::make_integer_sequence<int, group::end - 1>{});
  }

 private:
  using group = cuda::group_arguments<Program, 0>;

  template <int... K>
  static void add_results(const arguments& a, int blocks, const access_sink& add,
                          std::integer_sequence<int, K...>) {
    const int reductions = exec::view_of<Program>().reduction_count;
    const bool last = a.merged_teams > 0;
    for (int r = 0; r < reductions; ++r) {
      add(a.group.program.partials[r], 8 * (last ? a.merged_teams : blocks), touch::written);
      if (last) add(a.group.program.merged[r], 8, touch::written);
    }
    if (!last || reductions == 0) return;
    (add_nest<Program, K + 1>(a.group.program, a.group.template nest<K + 1>(), 1, add), ...);
    add(a.group.program.ticket, sizeof(unsigned), touch::written);
  }
};

/// Copies and fills of any strides.
template <class Word>
struct copy_body {
  using arguments = heddle::detail::copy_arguments;

  static const char* name() { return "copy of any strides"; }
  static void run(const void* with, int blocks, int threads, std::size_t, std::uint64_t) {
    const std::int64_t all = std::int64_t{blocks} * threads;
    for (std::int64_t i = 0; i < all; ++i) {
      heddle::detail::copy_part<Word>(*static_cast<const arguments*>(with), i, all);
    }
  }
  static void accesses(const void* with, int, void* context, add_access add) {
    const arguments& a = *static_cast<const arguments*>(with);
    std::int64_t to = sizeof(Word), from = sizeof(Word);
    for (int axis = 0; axis < a.rank; ++axis) {
      const std::int64_t steps = a.extents[axis] - 1;
      to += steps * a.to_strides[axis] * static_cast<std::int64_t>(sizeof(Word));
      from += steps * a.from_strides[axis] * static_cast<std::int64_t>(sizeof(Word));
    }
    const access_sink sink{context, add};
    sink(a.to, to, touch::written);
    if (a.from != nullptr) sink(a.from, from, touch::read);
  }
};

/// The kernel of copies and fills.
template <class Word>
struct copy_kernel {
  using arguments = heddle::detail::copy_arguments;

  static const char* name() { return "of a strided copy or fill"; }
  static void run(const void* with, int blocks, int threads, std::size_t, std::uint64_t seed) {
    const std::int64_t all = std::int64_t{blocks} * threads;
    const auto first = static_cast<std::int64_t>(seed % static_cast<std::uint64_t>(all));
    for (std::int64_t i = 0; i < all; ++i) {
      heddle::detail::copy_part<Word>(*static_cast<const arguments*>(with), (first + i) % all, all);
    }
  }
  static void accesses(const void* with, int, void* context, add_access add) {
    const arguments& a = *static_cast<const arguments*>(with);
    const access_sink sink{context, add};
    add_side(a, a.from, a.from_strides, touch::read, sink);
    add_side(a, a.to, a.to_strides, touch::written, sink);
  }

 private:
  static void add_side(const arguments& a, const std::byte* data, const std::int64_t* strides,
                       touch how, const access_sink& add) {
    byte_span reached(sizeof(Word));
    for (int axis = 0; axis < a.rank; ++axis) {
      reached.along(a.extents[axis], strides[axis] * std::int64_t{sizeof(Word)});
    }
    add(data, reached, how);
  }
};

/// Tells the stand-in of a kernel.
template <class Kernel>
bool tell(const void* stub, int max_threads) {
  register_kernel(stub, {Kernel::name(), sizeof(typename Kernel::arguments), max_threads,
                         &Kernel::run, &Kernel::accesses});
  return true;
}

}  // namespace stand_in

namespace heddle::inline v0::detail {

template <class Program, int First, exec::cuda::access Access>
struct kernel_observer<exec::cuda::kernel_id<Program, First, Access>> {
  static void before_launch() {
    [[maybe_unused]] static const bool told =
        stand_in::tell<stand_in::group_kernel<Program, First, Access>>(
            reinterpret_cast<const void*>(&exec::cuda::kernel<Program, First, Access>),
            exec::cuda::block_limit(Access));
  }
};
template <class Program>
struct kernel_observer<exec::cuda::side_by_side_kernel_id<Program>> {
  static void before_launch() {
    [[maybe_unused]] static const bool told =
        stand_in::tell<stand_in::side_by_side_kernel<Program>>(
            reinterpret_cast<const void*>(&exec::cuda::side_by_side_kernel<Program>),
            exec::cuda::block_limit(exec::cuda::access::strided));
  }
};
template <class Program, int First>
struct kernel_observer<exec::cuda::merge_kernel_id<Program, First>> {
  static void before_launch() {
    [[maybe_unused]] static const bool told =
        stand_in::tell<stand_in::merge_kernel<Program, First>>(
            reinterpret_cast<const void*>(&exec::cuda::merge_kernel<Program, First>), 256);
  }
};
template <class Program, int First, exec::cuda::sorted_step Step>
struct kernel_observer<exec::cuda::sorted_kernel_id<Program, First, Step>> {
  static void before_launch() {
    [[maybe_unused]] static const bool told =
        stand_in::tell<stand_in::sorted_kernel<Program, First, Step>>(
            reinterpret_cast<const void*>(&exec::cuda::sorted_kernel<Program, First, Step>), 256);
  }
};
template <class Program, exec::cuda::access Access, int Groups>
struct kernel_observer<exec::cuda::multi_kernel_id<Program, Access, Groups>> {
  static void before_launch() {
    [[maybe_unused]] static const bool told =
        stand_in::tell<stand_in::list_kernel<Program, Access, Groups>>(
            reinterpret_cast<const void*>(&exec::cuda::multi_kernel<Program, Access, Groups>),
            exec::cuda::block_limit(Access));
  }
};
template <class Word>
struct kernel_observer<copy_kernel_id<Word>> {
  static void before_launch() {
    [[maybe_unused]] static const bool told = stand_in::tell<stand_in::copy_kernel<Word>>(
        reinterpret_cast<const void*>(&detail::copy_kernel<Word>), 256);
  }
};

}  // namespace heddle::inline v0::detail
