// SPDX-License-Identifier: BSD-3-Clause
// An independent evaluation of a graph, in double, over every point of the iteration space: the
// oracle of the tests.
#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include "element_arithmetic.hpp"

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
        return computed(n, point);
    }
  }

  element computed(const node& n, std::int64_t point) const {
    const element& a = operand(n.a, point);
    if (n.code == op::where) return selected(a, operand(n.b, point), operand(n.c, point));
    const element none;
    const element& b = n.b == heddle::graph::no_node ? none : operand(n.b, point);
    if (n.code < op::user) return elementwise(n.code, g_[n.a].type, n.type, a, b);
    const element& c = n.c == heddle::graph::no_node ? none : operand(n.c, point);
    for (const user_formula& f : formulas_) {
      if (f.code == n.code) return formula_value(f.formula, n.type, a, b, c);
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
    return random_value(n.code, n.type, operand(n.a, point).integer, sample, position);
  }

  void reduce(const node& n, std::vector<element>& out) const {
    // an extremum over an axis along which the operand does not vary is the operand
    const auto removed =
        static_cast<unsigned>(n.extra) & (n.code == op::sum ? 0xFFu : g_[n.a].varies);
    bool empty = false;
    for (int axis = 0; axis < 8; ++axis) {
      empty = empty || ((removed >> axis & 1) != 0 && l_.extents[axis] == 0);
    }
    std::vector<reduction> groups(out.size(), reduction(n.code, n.type));
    const auto group_of = [&](std::int64_t point) {
      std::int64_t first = point;
      for (int axis = 0; axis < 8; ++axis) {
        if ((removed >> axis & 1) != 0) first -= coordinate(point, axis) * step_[axis];
      }
      return static_cast<std::size_t>(first);
    };
    for (std::int64_t p = 0; p < points_ && !empty; ++p) {
      groups[group_of(p)].add(operand(n.a, p));
    }
    for (std::int64_t p = 0; p < points_; ++p) {
      element& y = out[static_cast<std::size_t>(p)];
      y = groups[group_of(p)].result();
      if (n.code != op::sum || n.extra != 0 || !y.known()) continue;
      // over no axes: the operand, or +0 and the operand
      const element& x = operand(n.a, p);
      y.signless = x.signless || std::signbit(x.real);
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
