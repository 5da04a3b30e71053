// SPDX-License-Identifier: BSD-3-Clause
// Random graphs: 8 to 64 nodes of every op and dtype, broadcasts, nested reductions, gathers,
// several outputs. A graph is recorded as written ("raw") and again through the builder, which
// simplifies and shares; both must compute the same.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "random_source.hpp"
#include "rewritten_graph.hpp"

#include <heddle/exec/launch.hpp>

namespace heddle::inline v0 {

/// User ops of the tests: x³, and a b + c.
inline constexpr op cube = static_cast<op>(1024);
inline constexpr op multiply_add = static_cast<op>(1025);
template <>
struct op_traits<cube> {
  static constexpr std::string_view name = "cube";
  template <class T>
  HEDDLE_HD static T value(T x) {
    return x * x * x;
  }
  static constexpr grads<1> derivative(symbol x, symbol, symbol g) { return {g * 3 * x * x}; }
};
template <>
struct op_traits<multiply_add> {
  static constexpr std::string_view name = "multiply_add";
  template <class T>
  HEDDLE_HD static T value(T a, T b, T c) {
    return a * b + c;
  }
  static constexpr grads<3> derivative(symbol a, symbol b, symbol, symbol, symbol g) {
    return {g * b, g * a, g};
  }
};

}  // namespace heddle::inline v0

namespace support {

namespace graph = heddle::graph;
using heddle::dtype;
using heddle::op;

inline constexpr double infinite = std::numeric_limits<double>::infinity();
inline constexpr dtype all_dtypes[] = {dtype::f64, dtype::f32, dtype::bf16, dtype::f16,
                                       dtype::i64, dtype::i32, dtype::u8,   dtype::boolean};
inline constexpr dtype floating_dtypes[] = {dtype::f64, dtype::f32, dtype::f32, dtype::bf16,
                                            dtype::f16};
inline constexpr dtype integer_dtypes[] = {dtype::i64, dtype::i32, dtype::u8};

/// An operand or output of a random graph: how its memory is to be made.
struct slot {
  dtype type = dtype::f32;
  graph::axis_map map = graph::empty_map;
  int rank = 0;
  std::int64_t indexed_extent = 0;  ///< of the position that a gather or scatter indexes
  std::int64_t below = 0;           ///< values are indices in [0, below); 0: any values
};

/// What the generator may use.
struct style {
  bool smooth_f64 = false;  ///< only f64, differentiable, no special values: for gradients
  int least_nodes = 8;
  int most_nodes = 64;
  int points = 96;     ///< most points of the iteration space
  bool batch = false;  ///< axis 0 is there; no reduction removes it and no value counts along it
};

struct random_graph {
  graph::graph raw;
  graph::graph simplified;
  std::int64_t extents[graph::max_axes] = {1, 1, 1, 1, 1, 1, 1, 1};
  std::vector<slot> inputs;
  std::vector<slot> outputs;
  std::vector<heddle::exec::scalar_bits> scalars;
};

class graph_generator {
 public:
  graph_generator(std::uint64_t seed, style s = {}) : r_(seed), style_(s) { b_.tracing = true; }

  random_graph make() {
    choose_space();
    const int target = r_.between(style_.least_nodes, style_.most_nodes);
    // every leaf and root takes its share of the nodes
    const int leaves = r_.between(1, 4);
    for (int i = 0; i < leaves || b_.nodes().empty(); ++i) leaf();
    int tries = 0;
    while (static_cast<int>(b_.nodes().size()) < target - 3 && ++tries < 200) step();
    roots();
    made_.raw.nodes = b_.nodes();
    made_.raw.user_ops = b_.user_ops;
    made_.simplified = rebuilt(made_.raw);
    return std::move(made_);
  }

 private:
  using id = std::uint16_t;

  void choose_space() {
    axes_ = r_.between(style_.batch ? 1 : 0, 5);
    std::int64_t points = 1;
    for (int axis = 0; axis < axes_; ++axis) {
      std::int64_t extent = r_.between(1, 6);
      while (extent > 1 && points * extent > style_.points) --extent;
      if (!style_.smooth_f64 && r_.chance(0.015)) extent = 0;
      made_.extents[axis] = extent;
      if (extent > 0) points *= extent;
    }
  }

  // Recording, with a bound on the size of each value.
  id emit(graph::node n, double bound) {
    n.varies = graph::varies_of(b_.nodes(), n);
    if (n.code >= op::user) {
      b_.add_user_op(n.code == heddle::cube ? &graph::op_information<heddle::cube>
                                            : &graph::op_information<heddle::multiply_add>);
    }
    const id made = b_.emit(n);
    bounds_.push_back(bound);
    return made;
  }
  dtype type_of(id x) const { return b_[x].type; }
  double bound(id x) const { return bounds_[x]; }
  static bool real(dtype d) { return heddle::is_floating(d); }

  id constant(dtype type, double value) {
    graph::node n{.code = op::constant, .type = type};
    n.extra = real(type) ? std::bit_cast<std::uint64_t>(value)
                         : static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
    return emit(n, std::fabs(value));
  }
  id unary(op code, id x, double limit) {
    return emit({.code = code, .type = type_of(x), .a = x}, limit);
  }
  id binary(op code, id x, id y, double limit) {
    return emit({.code = code, .type = type_of(x), .a = x, .b = y}, limit);
  }
  /// x made no larger than `most`.
  id limited(id x, double most) {
    if (bound(x) <= most) return x;
    if (!real(type_of(x))) {
      const id one = constant(type_of(x), 3);
      return binary(op::maximum, binary(op::minimum, x, one, most), constant(type_of(x), -3), 3);
    }
    constexpr op squashing[] = {op::tanh, op::sigmoid, op::erf, op::sin, op::cos};
    return unary(squashing[r_.below(bound(x) > 100 ? 3 : 5)], x, 1);
  }
  id cast(id x, dtype type) {
    if (type_of(x) == type) return x;
    if (real(type_of(x)) && type == dtype::u8) {
      x = unary(op::abs, limited(x, 200), bound(x));
    } else if (real(type_of(x)) && heddle::is_integral(type)) {
      x = limited(x, 1e6);
    }
    return emit({.code = op::cast, .type = type, .a = x}, type == dtype::u8        ? 255
                                                          : type == dtype::boolean ? 1
                                                                                   : bound(x));
  }

  // Axis maps.
  graph::axis_mask random_axes(double p) {
    unsigned mask = 0;
    for (int axis = 0; axis < axes_; ++axis) mask |= r_.chance(p) ? 1u << axis : 0u;
    return static_cast<graph::axis_mask>(mask);
  }
  slot random_slot(dtype type, graph::axis_mask mask, bool indexed) {
    std::vector<unsigned> positions;
    for (unsigned axis = 0; axis < 8; ++axis) {
      if ((mask >> axis & 1) != 0) positions.push_back(axis);
    }
    if (indexed) positions.push_back(graph::indexed_axis);
    if (r_.chance(0.2)) positions.push_back(graph::broadcast_axis);
    for (std::size_t i = positions.size(); i > 1; --i) {
      if (r_.chance(0.5)) {
        std::swap(positions[i - 1],
                  positions[static_cast<std::size_t>(r_.below(static_cast<int>(i)))]);
      }
    }
    slot s;
    s.type = type;
    s.rank = static_cast<int>(positions.size());
    for (int p = 0; p < s.rank; ++p) {
      s.map = graph::with_axis(s.map, p, positions[static_cast<std::size_t>(p)]);
    }
    return s;
  }

  /// Axes that reductions may remove and counts take in.
  unsigned removable(unsigned axes) const { return style_.batch ? axes & ~1u : axes; }
  int countable_axis() {
    const int first = style_.batch ? 1 : 0;
    return first < axes_ ? r_.between(first, axes_ - 1) : -1;
  }

  id input(dtype type, graph::axis_mask mask, std::int64_t below = 0) {
    slot s = random_slot(type, mask, false);
    s.below = below;
    made_.inputs.push_back(s);
    return emit({.code = op::input,
                 .type = type,
                 .a = static_cast<id>(made_.inputs.size() - 1),
                 .extra = s.map},
                below > 0                ? static_cast<double>(below)
                : type == dtype::boolean ? 1
                                         : 4);
  }
  id scalar(dtype type, bool integral, std::int64_t i, double d) {
    heddle::exec::scalar_bits bits{};
    if (integral) {
      bits.integral = i;
    } else {
      bits.floating = d;
    }
    made_.scalars.push_back(bits);
    return emit({.code = op::argument,
                 .type = type,
                 .a = static_cast<id>(made_.scalars.size() - 1),
                 .extra = integral ? 1u : 0u},
                std::fabs(integral ? static_cast<double>(i) : d));
  }

  void leaf() {
    const dtype type = style_.smooth_f64 ? dtype::f64 : r_.pick(all_dtypes);
    const int kind = r_.below(style_.smooth_f64 ? 13 : 16);
    if (kind < 10) {
      input(type, random_axes(kind < 7 ? 0.8 : 0.4));
    } else if (kind < 11) {
      constexpr double values[] = {0, -0.0, 1, -1, 2, 0.5, -0.25, 0.1, 3, -2.75};
      const double value = r_.pick(values);
      constant(type, type == dtype::boolean || type == dtype::u8 ? std::fabs(std::trunc(value)) > 0
                     : real(type)                                ? value
                                                                 : std::trunc(value));
    } else if (kind < 12) {
      const bool integral = r_.chance(0.4);
      scalar(type, integral, type == dtype::u8 ? r_.between(0, 5) : r_.between(-3, 5),
             type == dtype::u8 ? 2.5 : 0.25 * r_.between(-12, 12));
    } else if (kind < 13) {
      const unsigned mask = removable(random_axes(0.5));
      std::int64_t count = 1;
      for (int axis = 0; axis < 8; ++axis)
        count *= (mask >> axis & 1) != 0 ? made_.extents[axis] : 1;
      emit({.code = op::count,
            .type = style_.smooth_f64 ? dtype::f64
                    : r_.chance(0.2)  ? dtype::i64
                                      : r_.pick(floating_dtypes),
            .extra = mask},
           static_cast<double>(count));
    } else if (kind < 14) {
      const int axis = countable_axis();
      if (axis < 0) return;
      emit({.code = op::iota, .type = dtype::i64, .extra = static_cast<std::uint64_t>(axis)}, 6);
    } else {
      const id seed = scalar(dtype::i64, true, static_cast<std::int64_t>(r_.word()), 0);
      const id offset = r_.chance(0.5) ? constant(dtype::i64, r_.below(1000))
                                       : scalar(dtype::i64, true, r_.below(1000), 0);
      slot s = random_slot(r_.pick(floating_dtypes), random_axes(0.7), false);
      for (int p = 1; p < s.rank && style_.batch; ++p) {
        // the batch's axis tells samples apart: it is position 0
        if (graph::map_axis(s.map, p) != 0) continue;
        s.map = graph::with_axis(s.map, p, graph::map_axis(s.map, 0));
        s.map = graph::with_axis(s.map, 0, 0);
      }
      emit({.code = kind == 14 ? op::random_uniform : op::random_normal,
            .type = s.type,
            .a = seed,
            .b = offset,
            .extra = s.map},
           kind == 14 ? 1 : 6);
      bounds_[seed] = 1e18;
    }
  }

  id any() {
    const int count = static_cast<int>(b_.nodes().size());
    const int first = r_.chance(0.6) ? std::max(0, count - 8) : 0;
    return static_cast<id>(r_.between(first, count - 1));
  }
  /// A value of the dtype: one there is, or another converted.
  id any_of(dtype type) {
    for (int i = 0; i < 4; ++i) {
      const id x = any();
      if (type_of(x) == type) return x;
    }
    return cast(any(), type);
  }
  dtype random_float() { return style_.smooth_f64 ? dtype::f64 : r_.pick(floating_dtypes); }
  dtype random_number() {
    return style_.smooth_f64 || r_.chance(0.65) ? random_float() : r_.pick(integer_dtypes);
  }
  /// Whether to keep operands inside of the op's domain.
  bool guarded() { return style_.smooth_f64 || r_.chance(0.95); }
  id positive(id x, double least) {
    x = unary(style_.smooth_f64 ? op::square : op::abs, limited(x, 8), style_.smooth_f64 ? 64 : 8);
    return binary(op::add, x, constant(type_of(x), least), bound(x) + least);
  }

  void step() {
    if (r_.chance(0.08)) return leaf();
    const int kind = r_.below(100);
    if (kind < 30) return unary_step();
    if (kind < 58) return binary_step();
    if (kind < 62) return void(cast(any(), style_.smooth_f64 ? dtype::f64 : r_.pick(all_dtypes)));
    if (kind < 80) return reduction_step();
    if (kind < 84) return gather_step();
    if (kind < 88) return user_step();
    if (kind < 91) return where_step();
    if (style_.smooth_f64) return binary_step();
    if (kind < 94) return simplifiable_step();
    if (kind < 97) return comparison_step();
    logical_step();
  }

  void unary_step() {
    constexpr op codes[] = {op::neg,  op::exp,   op::log,   op::log1p,  op::expm1, op::tanh,
                            op::sqrt, op::rsqrt, op::abs,   op::square, op::erf,   op::sigmoid,
                            op::sin,  op::cos,   op::floor, op::sign,   op::detach};
    const op code = codes[r_.below(style_.smooth_f64 ? 14 : 17)];
    const bool same = code == op::neg || code == op::abs || code == op::square ||
                      code == op::floor || code == op::sign || code == op::detach;
    if (same) {
      dtype type = random_number();
      if (code != op::neg && !style_.smooth_f64 && r_.chance(0.04)) type = dtype::boolean;
      id x = any_of(type);
      if (code == op::square) x = limited(x, 64);
      const double b = bound(x);
      unary(code, x, code == op::square ? b * b : type == dtype::u8 ? 255 : b);
      return;
    }
    id x = limited(any_of(random_float()), code == op::exp || code == op::expm1 ? 6 : 64);
    double limit = 1;
    if (code == op::exp || code == op::expm1) limit = std::exp(bound(x));
    if (code == op::log) {
      if (guarded()) x = positive(x, 0.25);
      limit = 5;
    }
    if (code == op::log1p) {
      if (guarded()) x = positive(x, 0.25);
      limit = 5;
    }
    if (code == op::sqrt) {
      if (guarded()) x = positive(x, style_.smooth_f64 ? 0.5 : 0.0);
      limit = 8;
    }
    if (code == op::rsqrt) {
      if (guarded()) x = positive(x, 0.5);
      limit = 1.5;
    }
    unary(code, x, limit);
  }

  void binary_step() {
    constexpr op codes[] = {op::add, op::sub, op::mul, op::mul,     op::div,
                            op::add, op::sub, op::pow, op::maximum, op::minimum};
    const op code = r_.pick(codes);
    const dtype type = code == op::div || code == op::pow ? random_float() : random_number();
    id x = any_of(type);
    id y = any_of(type);
    double limit = bound(x) + bound(y);
    if (code == op::mul) {
      x = limited(x, 100);
      y = limited(y, 100);
      limit = bound(x) * bound(y);
    }
    if (code == op::div) {
      if (guarded()) y = positive(y, 0.5);
      limit = 2 * bound(x);
    }
    if (code == op::pow) {
      if (guarded()) x = positive(x, 0.25);
      y = limited(y, 3);
      limit = 1e4;
    }
    binary(code, x, y, type == dtype::u8 ? 255 : limit);
  }

  void reduction_step() {
    constexpr op codes[] = {op::sum, op::sum, op::amax, op::amin};
    const op code = r_.pick(codes);
    id x = any();
    if (b_[x].varies == 0) x = any();
    dtype type = type_of(x);
    if (code == op::sum && !real(type)) x = cast(x, type = dtype::i64);
    const unsigned varies = removable(b_[x].varies);
    unsigned axes = varies & random_axes(0.6);
    if (axes == 0) axes = varies & (0u - varies);
    if (r_.chance(0.1)) axes |= removable(random_axes(0.3));
    if (axes == 0 && !r_.chance(0.1)) return;
    emit({.code = code, .type = type, .a = x, .extra = axes},
         code == op::sum ? bound(x) * style_.points : bound(x));
  }

  /// An index node with values in [0, below).
  id index(std::int64_t below) {
    if (r_.chance(0.2)) {
      for (int axis = style_.batch ? 1 : 0; axis < axes_; ++axis) {
        if (made_.extents[axis] <= below) {
          return emit(
              {.code = op::iota, .type = dtype::i64, .extra = static_cast<std::uint64_t>(axis)}, 6);
        }
      }
    }
    return input(r_.pick(integer_dtypes), random_axes(0.5), below);
  }

  void gather_step() {
    const std::int64_t extent = r_.between(1, 6);
    const id at = index(extent);
    slot s =
        random_slot(style_.smooth_f64 ? dtype::f64 : r_.pick(all_dtypes), random_axes(0.4), true);
    s.indexed_extent = extent;
    made_.inputs.push_back(s);
    emit({.code = op::gather,
          .type = s.type,
          .a = at,
          .b = static_cast<id>(made_.inputs.size() - 1),
          .extra = s.map},
         4);
  }

  void user_step() {
    const dtype type = random_float();
    const id x = limited(any_of(type), 8);
    if (r_.chance(0.5)) {
      unary(heddle::cube, x, 512);
      return;
    }
    const id y = limited(any_of(type), 8);
    const id z = any_of(type);
    emit({.code = heddle::multiply_add, .type = type, .a = x, .b = y, .c = z}, 64 + bound(z));
  }

  id condition() {
    return style_.smooth_f64 ? input(dtype::boolean, random_axes(0.5)) : any_of(dtype::boolean);
  }

  void where_step() {
    const id c = condition();
    dtype type = random_number();
    if (!style_.smooth_f64 && r_.chance(0.1)) type = dtype::boolean;
    const id x = any_of(type);
    const id y = any_of(type);
    emit({.code = op::where, .type = type, .a = c, .b = x, .c = y}, std::max(bound(x), bound(y)));
  }

  /// What the simplifier has rules for, more often than chance makes it.
  void simplifiable_step() {
    const dtype type = random_number();
    id x = any_of(type);
    const double most = type == dtype::f64 ? 1e308 : 1e38;
    const double values[] = {0, -0.0, 0, -0.0, 1, -1, -2, most, 1 / most, infinite};
    const auto number = [&](int choices) {
      const double value = values[r_.below(real(type) ? choices : 7)];
      return constant(type, value);
    };
    const auto sum = [&](id y, double limit) {
      if (!real(type_of(y))) y = cast(y, dtype::i64);
      unsigned axes = random_axes(0.5);
      if (r_.chance(0.7)) axes |= b_[y].varies & random_axes(0.8);
      emit({.code = op::sum, .type = type_of(y), .a = y, .extra = removable(axes)},
           limit * style_.points);
    };
    const double limit = type == dtype::u8 ? 255 : bound(x);
    constexpr op codes[] = {op::add, op::sub, op::mul};
    switch (r_.below(6)) {
      case 0:
        binary(r_.pick(codes), x, number(6), limit);
        return;
      case 1:
        binary(r_.pick(codes), number(6), x, limit);
        return;
      case 2: {
        const id y = any_of(type);
        const id difference = binary(op::sub, x, r_.chance(0.3) ? x : y, limit + bound(y));
        unary(op::neg, difference, limit + bound(y));
        return;
      }
      case 3:
        sum(unary(op::neg, x, limit), limit);
        return;
      case 4: {
        const bool divides = real(type) && r_.chance(0.4);
        x = limited(x, 8);
        sum(binary(divides ? op::div : op::mul, x, number(10), 1e300), 1e300);
        return;
      }
      default:
        // the only cast to its own dtype that does something
        if (heddle::compute_dtype(type) != type) {
          emit({.code = op::cast, .type = type, .a = x}, bound(x));
        } else {
          sum(x, limit);
        }
    }
  }

  void comparison_step() {
    constexpr op codes[] = {op::equal,      op::not_equal, op::less,
                            op::less_equal, op::greater,   op::greater_equal};
    const dtype type = r_.chance(0.1) ? dtype::boolean : random_number();
    const id x = any_of(type);
    emit({.code = r_.pick(codes), .type = dtype::boolean, .a = x, .b = any_of(type)}, 1);
  }

  void logical_step() {
    constexpr op codes[] = {op::logical_and, op::logical_or, op::logical_xor};
    const id x = any_of(dtype::boolean);
    if (r_.chance(0.3)) {
      unary(op::logical_not, x, 1);
    } else {
      binary(r_.pick(codes), x, any_of(dtype::boolean), 1);
    }
  }

  void roots() {
    const int count = r_.between(1, 4);
    const std::size_t values = b_.nodes().size();
    for (int i = 0; i < count; ++i) {
      id x = i == 0 ? static_cast<id>(values - 1) : any();
      while (heddle::is_root(b_[x].code)) --x;
      if (style_.smooth_f64 && !real(type_of(x))) x = cast(x, dtype::f64);
      const auto out = static_cast<id>(made_.outputs.size());
      const bool converts = !style_.smooth_f64 && r_.chance(0.1);
      if (!style_.smooth_f64 && type_of(x) != dtype::boolean && r_.chance(0.12)) {
        if (!real(type_of(x))) x = cast(x, dtype::i64);
        const std::int64_t extent = r_.between(1, 5);
        const id at = index(extent);
        // the index and the map span the domain; the value varies within it
        unsigned rest = b_[x].varies & ~static_cast<unsigned>(b_[at].varies);
        if (style_.batch) rest |= (b_[x].varies | b_[at].varies) & 1u;
        slot s =
            random_slot(type_of(x), static_cast<graph::axis_mask>(random_axes(0.3) | rest), true);
        s.indexed_extent = extent;
        if (converts) s.type = real(s.type) ? r_.pick(floating_dtypes) : r_.pick(all_dtypes);
        made_.outputs.push_back(s);
        emit({.code = op::scatter_add, .type = s.type, .a = x, .b = at, .c = out, .extra = s.map},
             0);
        continue;
      }
      slot s = random_slot(
          converts ? r_.pick(all_dtypes) : type_of(x),
          static_cast<graph::axis_mask>(b_[x].varies | (r_.chance(0.1) ? random_axes(0.5) : 0)),
          false);
      made_.outputs.push_back(s);
      emit({.code = op::store, .type = s.type, .a = x, .b = out, .extra = s.map}, 0);
    }
  }

  random_source r_;
  style style_;
  graph::builder b_;
  std::vector<double> bounds_;
  random_graph made_;
  int axes_ = 0;
};

}  // namespace support
