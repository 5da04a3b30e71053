// SPDX-License-Identifier: BSD-3-Clause
// One step of a pass: what a node computes, as a small function keyed by the node's content, so
// that programs share them. Host kernels and CUDA bodies are folds over the same steps; only how
// operands are loaded and results written differs.
#pragma once

#include <limits>

#include <heddle/exec/launch.hpp>
#include <heddle/exec/plan.hpp>
#include <heddle/exec/random.hpp>

namespace heddle::inline v0::exec {

/// What steps read beside values.
struct step_context {
  const std::int64_t* extents = nullptr;      ///< of the iteration space
  const std::int64_t* coordinates = nullptr;  ///< of lane 0, per axis
  const scalar_bits* scalars = nullptr;
  float guard = 0;  ///< always 0: see rounded
};

namespace detail {

template <dtype Type>
struct lane_type_of {
  using type = type_of<Type>;
};
template <>
struct lane_type_of<dtype::bf16> {
  using type = float;
};
template <>
struct lane_type_of<dtype::f16> {
  using type = float;
};
/// The type a node of this dtype is computed in.
template <dtype Type>
using lane_t = typename lane_type_of<Type>::type;

template <class T, int N>
struct lane_values {
  T of[N];
};
/// Values of the nodes, one array a type; indices are constants, so the arrays become registers.
template <int N>
struct values : lane_values<float, N>,
                lane_values<double, N>,
                lane_values<std::int64_t, N>,
                lane_values<std::int32_t, N>,
                lane_values<std::uint8_t, N>,
                lane_values<bool, N> {};

template <class T, int I, int N>
HEDDLE_HD HEDDLE_INLINE T& slot(values<N>& v) {
  return static_cast<lane_values<T, N>&>(v).of[I];
}

/// Conversion between lane types, then the rounding that a 16-bit dtype asks for.
template <dtype To, class From>
HEDDLE_HD HEDDLE_INLINE lane_t<To> convert(From x) {
  using T = lane_t<To>;
  if constexpr (std::is_same_v<From, bool>) {
    return x ? T(1) : T(0);
  } else if constexpr (To == dtype::boolean) {
    return x != From(0);
  } else if constexpr (To == dtype::bf16 || To == dtype::f16) {
    if constexpr (std::is_integral_v<From>) return static_cast<float>(type_of<To>(x));
    return static_cast<float>(type_of<To>(convert<dtype::f32>(x)));
  } else if constexpr (std::is_same_v<T, std::int64_t> && std::is_floating_point_v<From>) {
    return math::to_int64(x);
  } else if constexpr (std::is_same_v<From, std::int64_t> && std::is_floating_point_v<T>) {
    return math::from_int64<T>(x);
  } else {
    return static_cast<T>(x);
  }
}

template <op Code, class T>
HEDDLE_HD HEDDLE_INLINE T combine(T a, T b) {
  if constexpr (Code == op::sum) {
    return math::add(a, b);
  } else if constexpr (std::is_floating_point_v<T>) {
    return Code == op::amax ? math::maximum(a, b) : math::minimum(a, b);
  } else {
    return Code == op::amax ? (a > b ? a : b) : (a < b ? a : b);
  }
}

/// The value that combining leaves unchanged.
template <op Code, class T>
consteval T identity() {
  if constexpr (Code == op::sum) {
    return T(0);
  } else if constexpr (std::is_floating_point_v<T>) {
    return Code == op::amax ? -std::numeric_limits<T>::infinity()
                            : std::numeric_limits<T>::infinity();
  } else {
    return Code == op::amax ? std::numeric_limits<T>::lowest() : std::numeric_limits<T>::max();
  }
}

// What a step needs to know beyond its node's words, packed so that equal nodes of two programs are
// one function: dtypes of the operands (4 bits each), which of them vary from lane to lane (3
// bits), whether the node does (1), whether the lanes' axis matters and which it is (4), and the
// index of its read or value (16), and whether the value must be the same in all passes (1).
namespace step_bits {
HEDDLE_HD constexpr dtype operand_type(std::uint64_t info, int i) {
  return static_cast<dtype>(info >> (4 * i) & 0xFu);
}
HEDDLE_HD constexpr bool operand_lane(std::uint64_t info, int i) {
  return (info >> (12 + i) & 1u) != 0;
}
HEDDLE_HD constexpr bool lane(std::uint64_t info) { return (info >> 15 & 1u) != 0; }
HEDDLE_HD constexpr int inner(std::uint64_t info) {
  return static_cast<int>(info >> 16 & 0xFu) - 1;
}
HEDDLE_HD constexpr int index(std::uint64_t info) { return static_cast<int>(info >> 20 & 0xFFFFu); }
HEDDLE_HD constexpr bool exact(std::uint64_t info) { return (info >> 36 & 1u) != 0; }
}  // namespace step_bits

template <class Program>
consteval bool is_lane(const pass_info& pass, int id) {
  if (pass.inner < 0) return false;
  return (plan_of<Program>.graph_nodes[static_cast<std::size_t>(id)].varies >> pass.inner & 1) != 0;
}

/// Index, among the pass's reads or values, of the one that node `id` stands for.
template <class Program>
consteval int position_of(const pass_info& pass, int id) {
  const auto& p = plan_of<Program>;
  const graph::node& n = p.graph_nodes[static_cast<std::size_t>(id)];
  if (is_reduction(n.code)) {
    for (int i = 0; i < pass.value_count; ++i) {
      const std::uint16_t v = p.pass_values[static_cast<std::size_t>(pass.first_value + i)];
      if (p.reductions[v].node == id) return i;
    }
  }
  if (n.code != op::input && n.code != op::gather) return 0;
  for (int i = 0; i < pass.read_count; ++i) {
    const read_info& r = p.reads[p.pass_reads[static_cast<std::size_t>(pass.first_read + i)]];
    const bool gathered = n.code == op::gather;
    if (!r.held && r.slot == (gathered ? n.b : n.a) &&
        r.map == static_cast<graph::axis_map>(n.extra) && r.gathered == gathered) {
      return i;
    }
  }
  return 0;
}

/// Whether values are compared with an extremum of them that another pass found, as the derivative
/// of amax does: then all passes must round alike.
template <class Program>
inline constexpr bool compares_extrema = [] {
  const auto& p = plan_of<Program>;
  for (int id = 0; id < Program::node_count; ++id) {
    const graph::node& n = p.graph_nodes[static_cast<std::size_t>(id)];
    if (n.code < op::equal || n.code > op::greater_equal) continue;
    for (const std::uint16_t x : {n.a, n.b}) {
      const op code = p.graph_nodes[x].code;
      if (code == op::amax || code == op::amin) return true;
    }
  }
  return false;
}();

/// x, rounded: no multiplication is contracted with what adds its result. On the host the compiler
/// does not know that `guard` is 0, and the bits go through integers, which it does vectorise.
template <class T>
HEDDLE_HD HEDDLE_INLINE T rounded(T x, [[maybe_unused]] float guard) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, float>) asm("" : "+f"(x));
  if constexpr (std::is_same_v<T, double>) asm("" : "+d"(x));
  return x;
#else
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) |
                                std::bit_cast<std::uint32_t>(guard));
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) |
                                 std::bit_cast<std::uint32_t>(guard));
  } else {
    return x;
  }
#endif
}

template <class Program, int Pass>
consteval std::uint64_t step_info(int id) {
  const auto& p = plan_of<Program>;
  const graph::node& n = p.graph_nodes[static_cast<std::size_t>(id)];
  const pass_info& pass = p.passes[Pass];
  std::uint64_t info = 0;
  const int operands = is_reduction(n.code) ? 0 : graph::operands_of(n);
  for (int i = 0; i < operands; ++i) {
    const std::uint16_t x = graph::operand(n, i);
    info |= static_cast<std::uint64_t>(p.graph_nodes[x].type) << (4 * i);
    if (is_lane<Program>(pass, x)) info |= 1u << (12 + i);
  }
  if (is_lane<Program>(pass, id)) info |= 1u << 15;
  if (n.code == op::iota || is_random(n.code) || n.code == op::gather) {
    info |= static_cast<std::uint64_t>(pass.inner + 1) << 16;
  }
  if (compares_extrema<Program>) info |= std::uint64_t{1} << 36;
  return info | static_cast<std::uint64_t>(position_of<Program>(pass, id)) << 20;
}

template <class Program>
consteval std::uint64_t step_word(int id) {
  const auto& p = plan_of<Program>;
  graph::node n = p.graph_nodes[static_cast<std::size_t>(id)];
  if (n.code == op::input || is_reduction(n.code)) {
    n.a = 0;  // the position in the pass tells all
    n.extra = 0;
  }
  return encode_word(n);
}

template <class Program>
consteval std::uint64_t step_extra(int id) {
  const graph::node& n = plan_of<Program>.graph_nodes[static_cast<std::size_t>(id)];
  return n.code == op::constant || is_random(n.code) ? n.extra : 0;
}

/// Where a random node's lane draws: row-major index over positions 1… of its map, and position 0.
struct random_counter {
  std::int64_t element = 0;
  std::int64_t sample = 0;
};
HEDDLE_HD HEDDLE_INLINE random_counter counter_of(graph::axis_map map, const step_context& f,
                                                  int inner, std::int64_t lane) {
  random_counter c;
  for (int i = 0; i < graph::max_axes; ++i) {
    const unsigned axis = graph::map_axis(map, i);
    if (axis >= graph::max_axes) continue;
    const std::int64_t at =
        f.coordinates[axis] + (static_cast<int>(axis) == inner ? lane : std::int64_t{0});
    if (i == 0) {
      c.sample = at;
    } else {
      c.element = c.element * f.extents[axis] + at;
    }
  }
  return c;
}

/// A constant from the bits of a double or of an int64.
template <class T>
consteval T constant_of(bool floating, std::uint64_t bits) {
  return floating ? static_cast<T>(std::bit_cast<double>(bits))
                  : static_cast<T>(static_cast<std::int64_t>(bits));
}

/// Evaluates a node that is neither an operand, a gather nor a reduction, id I of its program: into
/// v if it varies along the lanes, else into s. `i` is the lane's distance from the coordinates.
template <std::uint64_t Word, std::uint64_t Extra, std::uint64_t Info, int I, int N>
HEDDLE_HD HEDDLE_INLINE void step(values<N>& s, values<N>& v, const step_context& f,
                                  std::int64_t i) {
  namespace bits = step_bits;
  constexpr graph::node n = graph::decode_word(Word);
  using T = lane_t<n.type>;
  T& result = slot<T, I>(bits::lane(Info) ? v : s);
  using first = std::integral_constant<int, 0>;
  using second = std::integral_constant<int, 1>;
  using third = std::integral_constant<int, 2>;
  [[maybe_unused]] const auto get = [&](auto position) -> decltype(auto) {
    constexpr int k = decltype(position)::value;
    using X = lane_t<bits::operand_type(Info, k)>;
    return slot<X, graph::operand(n, k)>(bits::operand_lane(Info, k) ? v : s);
  };
  [[maybe_unused]] const std::int64_t at = bits::lane(Info) ? i : 0;
  if constexpr (n.code == op::constant) {
    constexpr T value = constant_of<T>(is_floating(n.type), Extra);
    result = value;
  } else if constexpr (n.code == op::argument) {
    const scalar_bits bits_of = f.scalars[n.a];
    result = n.extra != 0 ? static_cast<T>(bits_of.integral) : static_cast<T>(bits_of.floating);
  } else if constexpr (n.code == op::count) {
    std::int64_t product = 1;
    for (int axis = 0; axis < graph::max_axes; ++axis) {
      if ((n.extra >> axis & 1u) != 0) product *= f.extents[axis];
    }
    result = static_cast<T>(product);
  } else if constexpr (n.code == op::iota) {
    result = static_cast<T>(f.coordinates[n.extra] +
                            (static_cast<int>(n.extra) == bits::inner(Info) ? i : 0));
  } else if constexpr (is_random(n.code)) {
    const random_counter c =
        counter_of(static_cast<graph::axis_map>(Extra), f, bits::inner(Info), at);
    const auto seed = static_cast<std::uint64_t>(get(first{}));
    const auto element = static_cast<std::uint64_t>(c.element);
    const auto sample = static_cast<std::uint64_t>(c.sample + get(second{}));
    result = n.code == op::random_uniform ? random_uniform<T>(seed, element, sample)
                                          : random_normal<T>(seed, element, sample);
  } else if constexpr (n.code == op::cast) {
    result = convert<n.type>(get(first{}));
  } else if constexpr (n.c != graph::no_node) {
    result = static_cast<T>(op_traits<n.code>::value(get(first{}), get(second{}), get(third{})));
  } else if constexpr (n.b != graph::no_node) {
    result = static_cast<T>(op_traits<n.code>::value(get(first{}), get(second{})));
  } else {
    result = static_cast<T>(op_traits<n.code>::value(get(first{})));
  }
  if constexpr (bits::exact(Info)) result = rounded(result, f.guard);
}

/// Whether output k of a pass folds its lanes into one value per call.
template <class Program>
consteval bool folds(const pass_info& pass, int k) {
  const output_info& out =
      plan_of<Program>.outputs[static_cast<std::size_t>(pass.first_output + k)];
  if (out.kind != graph::item_kind::row_reduction &&
      out.kind != graph::item_kind::terminal_reduction) {
    return false;
  }
  return pass.inner < 0 || (plan_of<Program>.reductions[out.slot].removed >> pass.inner & 1) != 0;
}

template <class Program, int Pass, int K>
struct output_of {
  static constexpr pass_info pass = plan_of<Program>.passes[Pass];
  static constexpr output_info info =
      plan_of<Program>.outputs[static_cast<std::size_t>(pass.first_output + K)];
  static constexpr bool folded = folds<Program>(pass, K);
  static constexpr bool reduces = info.kind == graph::item_kind::row_reduction ||
                                  info.kind == graph::item_kind::terminal_reduction;
  static constexpr graph::node root = plan_of<Program>.graph_nodes[info.node];
  /// the node whose value is written: the carried or held one itself, else the root's operand
  static constexpr int value =
      info.kind == graph::item_kind::carry || info.kind == graph::item_kind::hold
          ? static_cast<int>(info.node)
          : static_cast<int>(root.a);
  static constexpr dtype value_type =
      plan_of<Program>.graph_nodes[static_cast<std::size_t>(value)].type;
  using type = lane_t<value_type>;
  static constexpr bool lane = is_lane<Program>(pass, value);
  // of a scatter
  static constexpr int index = info.kind == graph::item_kind::scatter ? root.b : 0;
  static constexpr dtype index_type =
      plan_of<Program>.graph_nodes[static_cast<std::size_t>(index)].type;
  static constexpr bool index_lane = is_lane<Program>(pass, index);
};

/// Whether two passes of a nest compute the same value at a cost.
template <class Program>
consteval bool computes_twice() {
  const auto& p = plan_of<Program>;
  for (std::size_t k = 0; k < p.sizes.nests; ++k) {
    bool seen[Program::node_count] = {};
    for (int i = 0; i < p.nests[k].pass_count && p.nests[k].pass_count > 1; ++i) {
      const pass_info pass = p.passes[static_cast<std::size_t>(p.nests[k].first_pass + i)];
      for (int j = 0; j < pass.node_count; ++j) {
        const int id = p.nodes[static_cast<std::size_t>(pass.first_node + j)];
        if (!graph::is_costly(p.graph_nodes[static_cast<std::size_t>(id)].code)) continue;
        if (!is_lane<Program>(pass, id)) continue;
        if (seen[id]) return true;
        seen[id] = true;
      }
    }
  }
  return false;
}

}  // namespace detail
}  // namespace heddle::inline v0::exec
