// SPDX-License-Identifier: BSD-3-Clause
// The host kernel of one pass: a loop over blocks of lanes whose scalar, branch-free body evaluates
// every node of the pass. Each node is one small function keyed by the node's content, so programs
// share them; the compiler vectorises the lanes.
#pragma once

#include <heddle/exec/host/isa.hpp>
#include <heddle/exec/step.hpp>

namespace heddle::inline v0::exec::host {

/// Lanes of a block: a constant trip count, so that loops have neither prologue nor epilogue.
inline constexpr int lane_width = 32;

/// How a gather (or scatter) moves through its table, in elements.
struct gather_strides {
  std::int64_t indexed = 0;
  std::int64_t inner = 0;
  std::int64_t extent = 0;
};

/// What one call of a kernel works on: rows of lanes. Pointers stand at lane 0 of the first row,
/// and move on by `steps` bytes from row to row.
struct kernel_frame : step_context {
  const std::byte* const* reads = nullptr;   ///< per read of the pass
  const std::byte* const* values = nullptr;  ///< per reduction value that the pass uses
  std::byte* const* outputs = nullptr;       ///< per output; of a folded one, where its value goes
  std::byte* const* indices = nullptr;       ///< per output: where a scatter's indices go
  const gather_strides* gathers = nullptr;   ///< per read
  std::int64_t* bad_index = nullptr;  ///< an index outside of its extent is left here (else -1)
  std::int64_t blocks = 0;
  int valid = lane_width;  ///< lanes of a row's last block that count
  bool adds = false;       ///< folded row reductions are combined with what is there …
  bool adds_rows = false;  ///< … those of the second row and later ones
  std::int64_t rows = 1;
  const std::int64_t* steps = nullptr;     ///< per read, value and output, where there are rows
  std::int64_t* row_coordinate = nullptr;  ///< the one of `coordinates` that counts them, or none
  /// What is to be read after this call, fetched meanwhile: as many bytes for each block of lanes.
  const std::byte* ahead = nullptr;
  std::int64_t ahead_step = 0;   ///< from row to row
  std::int64_t ahead_bytes = 0;  ///< of a block

  /// Not constexpr: a compiler that knows the values clears all of them by one slow instruction
  /// (`rep stos`) first.
  kernel_frame() noexcept {}
};

using kernel = void (*)(const kernel_frame&);

namespace detail {

using namespace heddle::exec::detail;

/// Evaluates a node, id I of its program: into v if it varies along the lanes, else into s.
template <std::uint64_t Word, std::uint64_t Extra, std::uint64_t Info, int I, int N>
HEDDLE_INLINE void host_step(values<N>& s, values<N>& v, const kernel_frame& f, std::int64_t i) {
  namespace bits = step_bits;
  constexpr graph::node n = graph::decode_word(Word);
  using T = lane_t<n.type>;
  [[maybe_unused]] T& result = slot<T, I>(bits::lane(Info) ? v : s);
  [[maybe_unused]] const std::int64_t at = bits::lane(Info) ? i : 0;
  if constexpr (n.code == op::input) {
    const std::byte* from = f.reads[bits::index(Info)];
    if constexpr (n.type == dtype::boolean) {
      result = reinterpret_cast<const std::uint8_t*>(from)[at] != 0;
    } else {
      result = static_cast<T>(reinterpret_cast<const type_of<n.type>*>(from)[at]);
    }
  } else if constexpr (is_reduction(n.code)) {
    result = reinterpret_cast<const T*>(f.values[bits::index(Info)])[at];
  } else if constexpr (n.code == op::gather) {
    const gather_strides g = f.gathers[bits::index(Info)];
    using index_type = lane_t<bits::operand_type(Info, 0)>;
    auto index = static_cast<std::int64_t>(
        slot<index_type, graph::operand(n, 0)>(bits::operand_lane(Info, 0) ? v : s));
    // lanes that fill a block up have no place of their own in the table
    const bool counts = at < (f.blocks - 1) * lane_width + f.valid;
    if (index < 0 || index >= g.extent) [[unlikely]] {
      if (counts) *f.bad_index = index;
      index = 0;
    }
    // any readable memory stands in for a table without rows
    const std::byte* const table =
        g.extent == 0 ? reinterpret_cast<const std::byte*>(f.extents) : f.reads[bits::index(Info)];
    const auto* from = reinterpret_cast<const type_of<n.type>*>(table);
    const std::int64_t along = counts ? at * g.inner : 0;
    result = static_cast<T>(from[g.extent == 0 ? 0 : index * g.indexed + along]);
  } else {
    return step<Word, Extra, Info, I>(s, v, f, i);
  }
  if constexpr (bits::exact(Info)) result = rounded(result, f.guard);
}

/// Which of the pass's reads has the value of node `id`, held by an earlier pass; -1: none.
template <class Program>
consteval int held_read(const pass_info& pass, int id) {
  const auto& p = plan_of<Program>;
  for (int i = 0; is_holding<Program> && i < pass.read_count; ++i) {
    const read_info& r = p.reads[p.pass_reads[static_cast<std::size_t>(pass.first_read + i)]];
    if (r.held && p.holds[r.slot].node == id) return i;
  }
  return -1;
}

template <class Program, int Pass, int Id, bool Lane, int N>
HEDDLE_INLINE void step_if(values<N>& s, values<N>& v, const kernel_frame& f, std::int64_t i) {
  constexpr int held = held_read<Program>(plan_of<Program>.passes[Pass], Id);
  if constexpr (held >= 0) {
    using T = lane_t<plan_of<Program>.graph_nodes[Id].type>;
    if constexpr (Lane) slot<T, Id>(v) = reinterpret_cast<const T*>(f.reads[held])[i];
  } else if constexpr (is_lane<Program>(plan_of<Program>.passes[Pass], Id) == Lane) {
    host_step<step_word<Program>(Id), step_extra<Program>(Id), step_info<Program, Pass>(Id), Id>(
        s, v, f, i);
  }
}

/// Bytes of the widest lane that a long chain computes in a pass, of which a processor's window
/// holds few vectors' worth; 0: there is none, or the pass has so many values that registers would
/// not hold those of several vectors.
template <class Program, int Pass>
consteval int long_chain_bytes() {
  const auto& p = plan_of<Program>;
  const pass_info pass = p.passes[Pass];
  int bytes = 0;
  for (int k = 0; k < pass.node_count; ++k) {
    const int id = p.nodes[static_cast<std::size_t>(pass.first_node + k)];
    const graph::node n = graph::decode_word(step_word<Program>(id));
    if (!is_lane<Program>(pass, id) || !graph::is_long_chain(n.code)) continue;
    if (held_read<Program>(pass, id) >= 0) continue;
    const int size = size_of(n.type) < 4 ? 4 : static_cast<int>(size_of(n.type));
    bytes = size > bytes ? size : bytes;
  }
  return pass.node_count <= 48 ? bytes : 0;
}

/// What g++'s vectoriser takes its pace from: a step of a loop is as many iterations as fill one
/// vector of the narrowest type that the loop stores. Storing a narrow value beside the lanes makes
/// that up to four vectors of the wider ones, instruction by instruction side by side, and so four
/// chains in flight where the window has room for the instructions of four vectors.
template <int Bytes>
struct lane_pace {
  using type = std::conditional_t<Bytes == 1, std::uint8_t, std::uint16_t>;
  alignas(64) type lanes[lane_width];
  HEDDLE_INLINE void store(int lane, std::int64_t x) { lanes[lane] = static_cast<type>(x); }
  HEDDLE_INLINE void keep() const { asm volatile("" : : "m"(lanes)); }
};
template <>
struct lane_pace<0> {
  HEDDLE_INLINE void store(int, std::int64_t) {}
  HEDDLE_INLINE void keep() const {}
};
template <class Program, int Pass, int VectorBytes>
consteval int pace_bytes() {
#if defined(__clang__)
  return 0;
#else
  constexpr int chain = long_chain_bytes<Program, Pass>() / 4;  // four vectors together
  constexpr int least = VectorBytes / lane_width;               // a step of a block at most
  return chain == 0 ? 0 : (chain > least ? chain : least);
#endif
}

/// Lanes of one accumulator in one value, in a fixed order: halves first.
template <op Code, class T>
HEDDLE_INLINE T folded_lanes(const T (&lanes)[lane_width]) {
  T folded[lane_width / 2];
  for (int l = 0; l < lane_width / 2; ++l) {
    folded[l] = combine<Code>(lanes[l], lanes[l + lane_width / 2]);
  }
  for (int half = lane_width / 4; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) folded[l] = combine<Code>(folded[l], folded[l + half]);
  }
  return folded[0];
}
template <op Code, class T>
HEDDLE_INLINE T folded_lanes(const T (&lanes)[1]) {
  return lanes[0];
}

/// Accumulators of the folded outputs, in registers while the kernel runs along a row.
template <class Output, int K>
struct accumulator {
  static constexpr int size = !Output::folded ? 1 : Output::pass.inner < 0 ? 1 : lane_width;
  typename Output::type lanes[size];

  HEDDLE_INLINE void begin() {
    if constexpr (Output::folded) {
      for (int l = 0; l < size; ++l) {
        lanes[l] = identity<Output::root.code, typename Output::type>();
      }
    }
  }
  /// Terminal reductions always add to what is there.
  HEDDLE_INLINE void end(std::byte* to, bool adds) const {
    if constexpr (Output::folded) {
      constexpr op code = Output::root.code;
      using T = typename Output::type;
      constexpr bool terminal = Output::info.kind == graph::item_kind::terminal_reduction;
      T& result = *reinterpret_cast<T*>(to);
      const T folded = folded_lanes<code, T>(lanes);
      result = terminal || adds ? combine<code>(result, folded) : folded;
    }
  }
};

template <class Output, int N>
HEDDLE_INLINE typename Output::type value_of(values<N>& s, values<N>& v) {
  return slot<typename Output::type, Output::value>(Output::lane ? v : s);
}

template <class Output, int K, int N>
HEDDLE_INLINE void write(accumulator<Output, K>& sums, values<N>& s, values<N>& v,
                         const kernel_frame& f, std::int64_t i, int lane, int valid) {
  using T = typename Output::type;
  const T x = value_of<Output>(s, v);
  if constexpr (Output::reduces) {
    constexpr op code = Output::root.code;
    const T counted = lane < valid ? x : identity<code, T>();
    if constexpr (Output::folded) {
      sums.lanes[lane] = combine<code>(sums.lanes[lane], counted);
    } else {
      T* to = reinterpret_cast<T*>(f.outputs[K]);
      to[i] = combine<code>(to[i], counted);
    }
  } else if constexpr (Output::info.kind == graph::item_kind::carry ||
                       Output::info.kind == graph::item_kind::hold) {
    reinterpret_cast<T*>(f.outputs[K])[i] = x;
  } else if constexpr (Output::info.kind == graph::item_kind::scatter) {
    reinterpret_cast<T*>(f.outputs[K])[i] = x;
    using index_type = lane_t<Output::index_type>;
    reinterpret_cast<std::int64_t*>(f.indices[K])[i] =
        static_cast<std::int64_t>(slot<index_type, Output::index>(Output::index_lane ? v : s));
  } else if constexpr (Output::value_type == dtype::boolean) {
    reinterpret_cast<std::uint8_t*>(f.outputs[K])[i] = x ? 1 : 0;
  } else {
    reinterpret_cast<type_of<Output::value_type>*>(f.outputs[K])[i] =
        static_cast<type_of<Output::value_type>>(x);
  }
}

/// Into the second-level cache: the first one is the current rows'.
HEDDLE_INLINE void fetch_ahead(const kernel_frame& f, std::int64_t block) {
  if (f.ahead_bytes == 0) return;
  const std::byte* const from = f.ahead + block * f.ahead_bytes;
  __builtin_prefetch(from, 0, 2);
  __builtin_prefetch(from + f.ahead_bytes / 2, 0, 2);
}

template <class Program, int Pass, class Nodes, class Outputs>
struct pass_body;

template <class Program, int Pass, int... Node, int... Output>
struct pass_body<Program, Pass, std::integer_sequence<int, Node...>,
                 std::integer_sequence<int, Output...>> {
  static constexpr pass_info pass = plan_of<Program>.passes[Pass];
  // few sizes, so that programs share their steps
  static constexpr int size = Program::node_count <= 64    ? 64
                              : Program::node_count <= 256 ? 256
                                                           : Program::node_count;
  template <int K>
  using output = output_of<Program, Pass, K>;
  template <int K>
  static constexpr int id = plan_of<Program>.nodes[static_cast<std::size_t>(pass.first_node + K)];
  struct accumulators : accumulator<output<Output>, Output>... {};

  /// In vectors of so many bytes.
  template <int VectorBytes>
  HEDDLE_INLINE static void run(const kernel_frame& given) {
    // The pointers in locals: stores through them cannot change them.
    const std::byte* reads[pass.read_count + 1];
    const std::byte* inputs[pass.value_count + 1];
    std::byte* outputs[pass.output_count + 1];
    for (int k = 0; k < pass.read_count; ++k) reads[k] = given.reads[k];
    for (int k = 0; k < pass.value_count; ++k) inputs[k] = given.values[k];
    for (int k = 0; k < pass.output_count; ++k) outputs[k] = given.outputs[k];
    kernel_frame f = given;
    f.reads = reads;
    f.values = inputs;
    f.outputs = outputs;
    bool adds = f.adds;
    for (std::int64_t row = 0;;) {
      run_row<VectorBytes>(f, adds);
      if (++row >= given.rows) return;
      adds = f.adds_rows;
      const std::int64_t* step = f.steps;
      for (int k = 0; k < pass.read_count; ++k) reads[k] += *step++;
      for (int k = 0; k < pass.value_count; ++k) inputs[k] += *step++;
      for (int k = 0; k < pass.output_count; ++k) outputs[k] += *step++;
      if (f.row_coordinate != nullptr) ++*f.row_coordinate;
      f.ahead += f.ahead_step;
    }
  }

 private:
  template <int VectorBytes>
  HEDDLE_INLINE static void run_row(const kernel_frame& f, bool adds) {
    constexpr int lanes = pass.inner < 0 ? 1 : lane_width;
    values<size> once;
    accumulators sums;
    (static_cast<accumulator<output<Output>, Output>&>(sums).begin(), ...);
    {
      values<size> none;
      (step_if<Program, Pass, id<Node>, false>(once, none, f, 0), ...);
    }
    lane_pace<pace_bytes<Program, Pass, VectorBytes>()> pace;
    for (std::int64_t block = 0; block < f.blocks; ++block) {
      const int valid = block + 1 == f.blocks ? f.valid : lane_width;
      fetch_ahead(f, block);
      HEDDLE_LANE_LOOP
      for (int l = 0; l < lanes; ++l) {
        const std::int64_t i = block * lane_width + l;
        values<size> v;
        (step_if<Program, Pass, id<Node>, true>(once, v, f, i), ...);
        (write<output<Output>, Output>(sums, once, v, f, i, l, valid), ...);
        pace.store(l, f.blocks);
      }
      pace.keep();
    }
    (static_cast<accumulator<output<Output>, Output>&>(sums).end(f.outputs[Output], adds), ...);
  }
};

template <class Program, int Pass>
using body_of =
    pass_body<Program, Pass,
              std::make_integer_sequence<int, plan_of<Program>.passes[Pass].node_count>,
              std::make_integer_sequence<int, plan_of<Program>.passes[Pass].output_count>>;

// g++'s inliner gives a caller without a floating-point expression of its own the flags of its
// callees, and no-trapping-math would be lost: the comparison with `guard` is that expression.
template <class Program, int Pass, class Configuration>
HEDDLE_VECTORIZE HEDDLE_TARGET_UNIT void run_pass(const kernel_frame& f) {
  if (f.guard < 0.0f) return;
  body_of<Program, Pass>::template run<HEDDLE_UNIT_VECTOR_BYTES>(f);
}
#if HEDDLE_ISA_CHOICE
template <class Program, int Pass, class Configuration>
HEDDLE_VECTORIZE HEDDLE_TARGET_AVX2 void run_pass_avx2(const kernel_frame& f) {
  if (f.guard < 0.0f) return;
  body_of<Program, Pass>::template run<32>(f);
}
template <class Program, int Pass, class Configuration>
HEDDLE_VECTORIZE HEDDLE_TARGET_AVX512 void run_pass_avx512(const kernel_frame& f) {
  if (f.guard < 0.0f) return;
  body_of<Program, Pass>::template run<64>(f);
}
#endif

template <class Program, class Configuration, int... Pass>
const kernel* kernels_for([[maybe_unused]] isa level, std::integer_sequence<int, Pass...>) {
#if HEDDLE_ISA_CHOICE
  static constexpr kernel avx512[] = {&run_pass_avx512<Program, Pass, Configuration>...};
  static constexpr kernel avx2[] = {&run_pass_avx2<Program, Pass, Configuration>...};
  if (level == isa::avx512) return avx512;
  if (level == isa::avx2) return avx2;
#endif
  static constexpr kernel baseline[] = {&run_pass<Program, Pass, Configuration>...};
  return baseline;
}

}  // namespace detail

/// A program as the host's nests run it.
template <class Program>
using nest_program = std::conditional_t<detail::computes_twice<cut_program<Program>>(),
                                        holding<cut_program<Program>>, cut_program<Program>>;

/// The kernels of a program's passes, for this processor.
template <class Program, class Configuration = configuration>
const kernel* kernels_of() {
  return detail::kernels_for<nest_program<Program>, Configuration>(
      best_isa<Configuration>(), std::make_integer_sequence<int, plan_of<Program>.sizes.passes>{});
}

}  // namespace heddle::inline v0::exec::host
