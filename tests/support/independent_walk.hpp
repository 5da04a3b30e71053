// SPDX-License-Identifier: BSD-3-Clause
// An independent evaluation of a graph, in double, over every point of the iteration space: the
// oracle of the tests.
#pragma once

#include <utility>
#include <vector>

#include "element.hpp"

#include <heddle/exec/launch.hpp>
#include <heddle/graph/builder.hpp>

namespace support {

/// What an output must hold at `offset` (in elements).
struct expectation {
  std::int64_t offset = 0;
  element value;
};

/// The formulas of user ops, by code, in double.
struct user_formula {
  op code;
  double (*formula)(const double*);
};

class independent_walk {
 public:
  independent_walk(const heddle::graph::graph& g, const heddle::exec::launch& l,
                   std::vector<user_formula> formulas = {})
      : g_(g), l_(l), formulas_(std::move(formulas)) {
    for (int axis = 7; axis >= 0; --axis) {
      step_[axis] = points_;
      size_[axis] = l.extents[axis] > 0 ? l.extents[axis] : 1;
      points_ *= size_[axis];
    }
    values_.resize(g.size());
    for (std::size_t i = 0; i < g.size(); ++i) {
      if (g[i].code != op::store && g[i].code != op::scatter_add) evaluate(i);
    }
  }

  /// What output root `id` (a store or scatter_add) must have written.
  std::vector<expectation> expected(std::size_t id) const {
    return g_[id].code == op::store ? stored(g_[id]) : scattered(g_[id]);
  }
  const std::vector<element>& values(std::size_t id) const { return values_[id]; }

 private:
  using node = heddle::graph::node;

  std::int64_t coordinate(std::int64_t point, int axis) const {
    return point / step_[axis] % size_[axis];
  }
  static int position_axis(const node& n, int position) {
    return static_cast<int>(n.extra >> (4 * position) & 15);
  }
  /// A node along an axis without elements has no values.
  bool is_void(unsigned axes) const {
    for (int axis = 0; axis < 8; ++axis) {
      if ((axes >> axis & 1) != 0 && l_.extents[axis] == 0) return true;
    }
    return false;
  }
  std::int64_t offset_at(const heddle::exec::operand& o, const node& n, std::int64_t point,
                         std::int64_t index) const {
    std::int64_t offset = 0;
    for (int p = 0; p < 8; ++p) {
      const int axis = position_axis(n, p);
      if (axis < 8) offset += coordinate(point, axis) * o.strides[p];
      if (axis == 14) offset += index * o.strides[p];
    }
    return offset;
  }

  void evaluate(std::size_t id) {
    const node& n = g_[id];
    if (is_void(n.varies)) return;
    std::vector<element>& out = values_[id];
    out.resize(static_cast<std::size_t>(points_));
    if (n.code == op::sum || n.code == op::amax || n.code == op::amin) return reduce(n, out);
    for (std::int64_t p = 0; p < points_; ++p) out[static_cast<std::size_t>(p)] = at(n, p);
  }

  const element& operand(std::uint16_t id, std::int64_t point) const {
    return values_[id][static_cast<std::size_t>(point)];
  }

  element number(double x, dtype type) const {
    element e;
    if (floating(type)) {
      e.real = x;
      return with_rounding(e, type, 1);
    }
    e.real = x;
    return converted(e, dtype::f64, type);
  }
  element number(std::int64_t x, dtype type) const {
    element e;
    e.integer = x;
    const bool narrow = type == dtype::bf16 || type == dtype::f16;
    return converted(e, dtype::i64, narrow ? dtype::f32 : type);
  }

  element at(const node& n, std::int64_t point) const {
    switch (n.code) {
      case op::input:
        return read(l_.inputs[n.a].data, offset_at(l_.inputs[n.a], n, point, 0), n.type);
      case op::gather: {
        const element& index = operand(n.a, point);
        if (!index.known() || index.integer < 0 || index.integer >= l_.inputs[n.b].indexed_extent) {
          return {0, unknown, 0};
        }
        return read(l_.inputs[n.b].data, offset_at(l_.inputs[n.b], n, point, index.integer),
                    n.type);
      }
      case op::argument:
        return n.extra == 1 ? number(l_.scalars[n.a].integral, n.type)
                            : number(l_.scalars[n.a].floating, n.type);
      case op::constant: {
        if (!floating(n.type)) return number(static_cast<std::int64_t>(n.extra), n.type);
        double x = 0;
        std::memcpy(&x, &n.extra, 8);
        return number(x, n.type);
      }
      case op::count: {
        std::int64_t count = 1;
        for (int axis = 0; axis < 8; ++axis) {
          if ((n.extra >> axis & 1) != 0) count *= l_.extents[axis];
        }
        return number(count, n.type);
      }
      case op::iota:
        return number(coordinate(point, static_cast<int>(n.extra)), n.type);
      case op::random_uniform:
      case op::random_normal:
        return random(n, point);
      case op::cast:
        return converted(operand(n.a, point), g_[n.a].type, n.type);
      default:
        return elementwise(n, point);
    }
  }

  element elementwise(const node& n, std::int64_t point) const {
    const element& a = operand(n.a, point);
    if (n.code == op::where) {
      if (!a.known()) {
        const element& x = operand(n.b, point);
        const element& z = operand(n.c, point);
        const bool alike = x.real == z.real && x.integer == z.integer;
        return alike && x.known() && z.known() ? (x.error > z.error ? x : z)
                                               : element{0, unknown, 0};
      }
      return operand(a.integer != 0 ? n.b : n.c, point);
    }
    const element none;
    const element& b = n.b == heddle::graph::no_node ? none : operand(n.b, point);
    if (!a.known() || !b.known()) return {0, unknown, 0};
    if (is_comparison(n.code)) {
      element y;
      if (!floating(g_[n.a].type)) {
        y.integer = compared(n.code, a.integer, b.integer);
      } else {
        y.integer = compared(n.code, a.real, b.real);
        const double error = a.error + b.error;
        if (error > 0 && std::fabs(a.real - b.real) <= error) y.error = unknown;
      }
      return y;
    }
    if (n.code >= op::user) return user(n, a, b, point);
    if (!floating(n.type)) {
      element y;
      y.integer = narrowed(integer_op(n.code, a.integer, b.integer), n.type);
      return y;
    }
    const double units = rounding_units(n.code);
    const element y = real_op(n.code, a, b);
    return units == 0 ? y : with_rounding(y, n.type, units);
  }

  element user(const node& n, const element& a, const element& b, std::int64_t point) const {
    for (const user_formula& f : formulas_) {
      if (f.code != n.code) continue;
      const element none;
      const element& c = n.c == heddle::graph::no_node ? none : operand(n.c, point);
      if (!c.known()) return {0, unknown, 0};
      const double x[3] = {a.real, b.real, c.real};
      element y;
      y.real = f.formula(x);
      for (int corner = 0; corner < 8; ++corner) {
        const double near[3] = {x[0] + ((corner & 1) != 0 ? a.error : -a.error),
                                x[1] + ((corner & 2) != 0 ? b.error : -b.error),
                                x[2] + ((corner & 4) != 0 ? c.error : -c.error)};
        const double error = std::fabs(f.formula(near) - y.real);
        if (!(error <= y.error)) y.error = error;
      }
      y.error *= 2;
      return with_rounding(y, n.type, 8);
    }
    return {0, unknown, 0};
  }

  element random(const node& n, std::int64_t point) const {
    std::int64_t sample = operand(n.b, point).integer;
    std::int64_t position = 0;
    for (int p = 0; p < 8; ++p) {
      const int axis = position_axis(n, p);
      if (axis > 7) continue;
      if (p == 0) {
        sample += coordinate(point, axis);
      } else {
        position = position * l_.extents[axis] + coordinate(point, axis);
      }
    }
    std::uint32_t w[4];
    philox_block(static_cast<std::uint64_t>(operand(n.a, point).integer),
                 static_cast<std::uint64_t>(position), static_cast<std::uint64_t>(sample), w);
    const bool wide = n.type == dtype::f64;
    const auto two_words = [](std::uint32_t high, std::uint32_t low) {
      return std::ldexp(static_cast<double>((static_cast<std::uint64_t>(high) << 21) | low >> 11),
                        -53);
    };
    const double u = wide ? two_words(w[0], w[1]) : std::ldexp(w[0] >> 8, -24);
    element y;
    y.real = u;
    if (n.code == op::random_uniform) return y;
    const double v = wide ? two_words(w[2], w[3]) : std::ldexp(w[1] >> 8, -24);
    const double radius = std::sqrt(-2 * std::log(1 - u));
    y.real = radius * std::cos(2 * 3.14159265358979323846 * v);
    y.error = radius * (wide ? 1e-14 : 3e-6);
    return y;
  }

  void reduce(const node& n, std::vector<element>& out) const {
    // an extremum over an axis along which the operand does not vary is the operand
    const auto removed =
        static_cast<unsigned>(n.extra) & (n.code == op::sum ? 0xFFu : g_[n.a].varies);
    bool empty = false;
    for (int axis = 0; axis < 8; ++axis) {
      empty = empty || ((removed >> axis & 1) != 0 && l_.extents[axis] == 0);
    }
    const bool real = floating(n.type);
    element identity;
    if (n.code != op::sum) {
      const bool largest = n.code == op::amax;
      identity.real = largest ? -unknown : unknown;
      if (empty && real) identity.error = unknown;  // infinite, and so are factors of empty sums
      identity.integer = n.type == dtype::i64   ? (largest ? INT64_MIN : INT64_MAX)
                         : n.type == dtype::i32 ? (largest ? INT32_MIN : INT32_MAX)
                         : n.type == dtype::u8  ? (largest ? 0 : 255)
                                                : (largest ? 0 : 1);
    }
    std::vector<element> groups(out.size(), identity);
    std::vector<double> sizes(out.size(), 0.0);
    std::vector<double> terms(out.size(), 0.0);
    const auto group_of = [&](std::int64_t point) {
      std::int64_t first = point;
      for (int axis = 0; axis < 8; ++axis) {
        if ((removed >> axis & 1) != 0) first -= coordinate(point, axis) * step_[axis];
      }
      return static_cast<std::size_t>(first);
    };
    for (std::int64_t p = 0; p < points_ && !empty; ++p) {
      const element& x = operand(n.a, p);
      const std::size_t at = group_of(p);
      element& total = groups[at];
      if (!x.known()) total.error = unknown;
      if (!total.known()) continue;
      if (!real) {
        total.integer = narrowed(integer_op(n.code == op::sum    ? op::add
                                            : n.code == op::amax ? op::maximum
                                                                 : op::minimum,
                                            total.integer, x.integer),
                                 n.type);
      } else if (n.code == op::sum) {
        total.real += x.real;
        total.error += x.error;
        sizes[at] += std::fabs(x.real);
        terms[at] += 1;
      } else {
        total = real_op(n.code == op::amax ? op::maximum : op::minimum, total, x);
      }
    }
    for (std::int64_t p = 0; p < points_; ++p) {
      const std::size_t at = group_of(p);
      element y = groups[at];
      if (real && n.code == op::sum && y.known()) {
        const bool wide = n.type == dtype::f64;
        if (sizes[at] > (wide ? DBL_MAX : FLT_MAX) / 2) y.error = std::isnan(y.real) ? 0 : unknown;
        const bool exact = y.error == 0 && !wide && std::fabs(sizes[at]) < 0x1p20 &&
                           std::nearbyint(sizes[at] * 16) == sizes[at] * 16;
        if (!exact && std::isfinite(y.real)) {
          y.error += terms[at] * sizes[at] * (wide ? 0x1p-52 : 0x1p-24);
        }
        if (std::isinf(y.real) && y.error > 0) y.error = unknown;
        y = with_rounding(y, n.type, 1);
      }
      out[static_cast<std::size_t>(p)] = y;
    }
  }

  template <class Visit>
  void for_each_point(unsigned axes, Visit visit) const {
    if (is_void(axes)) return;
    for (std::int64_t p = 0; p < points_; ++p) {
      bool first = true;
      for (int axis = 0; axis < 8; ++axis) {
        first = first && ((axes >> axis & 1) != 0 || coordinate(p, axis) == 0);
      }
      if (first) visit(p);
    }
  }

  unsigned axes_of(const node& n) const {
    unsigned axes = 0;
    for (int p = 0; p < 8; ++p) {
      if (position_axis(n, p) < 8) axes |= 1u << position_axis(n, p);
    }
    return axes;
  }

  std::vector<expectation> stored(const node& n) const {
    std::vector<expectation> out;
    for_each_point(axes_of(n) | g_[n.a].varies, [&](std::int64_t p) {
      out.push_back(
          {offset_at(l_.outputs[n.b], n, p, 0), converted(operand(n.a, p), g_[n.a].type, n.type)});
    });
    return out;
  }

  std::vector<expectation> scattered(const node& n) const {
    const heddle::exec::operand& o = l_.outputs[n.c];
    const unsigned kept = axes_of(n);
    const bool real = floating(g_[n.a].type);
    std::vector<expectation> out;
    for (std::int64_t index = 0; index < o.indexed_extent; ++index) {
      for_each_point(kept, [&](std::int64_t p) {
        element total;
        double size = 0;
        double terms = 0;
        for_each_point(kept | g_[n.a].varies | g_[n.b].varies, [&](std::int64_t q) {
          for (int axis = 0; axis < 8; ++axis) {
            if ((kept >> axis & 1) != 0 && coordinate(p, axis) != coordinate(q, axis)) return;
          }
          const element& at = operand(n.b, q);
          if (at.known() && at.integer != index) return;
          const element& x = operand(n.a, q);
          total.error += at.known() ? x.error : unknown;
          total.real += x.real;
          total.integer = integer_op(op::add, total.integer, x.integer);
          size += std::fabs(x.real);
          terms += 1;
        });
        if (real && !std::isnan(total.error)) {
          const dtype type = g_[n.a].type;
          if (total.known() && std::isfinite(total.real)) {
            total.error += terms * size * (type == dtype::f64 ? 0x1p-52 : 0x1p-24);
          }
          total = with_rounding(total, type, 1);
        }
        out.push_back({offset_at(o, n, p, index), converted(total, g_[n.a].type, n.type)});
      });
    }
    return out;
  }

  const heddle::graph::graph& g_;
  const heddle::exec::launch& l_;
  std::vector<user_formula> formulas_;
  std::int64_t points_ = 1;
  std::int64_t step_[8] = {};
  std::int64_t size_[8] = {};
  std::vector<std::vector<element>> values_;
};

}  // namespace support
