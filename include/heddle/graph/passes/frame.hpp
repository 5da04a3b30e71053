// SPDX-License-Identifier: BSD-3-Clause
// From a trace to a graph: numbers the axis classes as axes of one iteration space, drops what no
// root needs, and rebuilds the nodes through the builder, which simplifies and shares them.
#pragma once

#include <heddle/graph/op_table.hpp>

namespace heddle::inline v0::graph {

/// Axis classes of a traced leaf, packed one byte a position; 0xFF: none.
constexpr std::uint64_t pack_classes(const symbol& s) {
  std::uint64_t packed = ~std::uint64_t{0};
  for (int i = 0; i < s.rank; ++i) {
    packed &= ~(std::uint64_t{0xFF} << (8 * i));
    packed |= static_cast<std::uint64_t>(s.axis[i]) << (8 * i);
  }
  return packed;
}
constexpr std::uint8_t class_at(std::uint64_t packed, int i) {
  return static_cast<std::uint8_t>(packed >> (8 * i));
}
/// The class byte that marks the axis a gather indexes.
inline constexpr std::uint8_t indexed_class = 0xFE;

/// Records operand `slot` of the statement: rank axes, those in `ones` (by position) of extent 1.
constexpr symbol trace_input(builder& b, int slot, dtype type, int rank, unsigned ones = 0) {
  symbol s;
  s.owner = &b;
  s.rank = static_cast<std::int8_t>(rank);
  for (int i = 0; i < rank; ++i) {
    s.axis[i] = (ones >> i & 1u) != 0 ? symbol::no_axis : b.new_axis();
    s.ghost[i] = symbol::no_axis;
  }
  s.id = b.emit({.code = op::input,
                 .type = type,
                 .a = static_cast<std::uint16_t>(slot),
                 .extra = pack_classes(s)});
  return s;
}

/// A run-time scalar in scalar slot `slot`; it takes the dtype of what it meets.
constexpr symbol trace_argument(builder& b, int slot, bool integral) {
  symbol s;
  s.owner = &b;
  s.id = static_cast<std::uint16_t>(slot);
  s.rank = 0;
  s.weak = symbol::scalar::argument;
  s.integral = integral;
  return s;
}

namespace detail {

constexpr bool has_axis_map(op code) {
  return code == op::input || code == op::gather || is_random(code) || is_root(code);
}

/// Marks what the given nodes need, the given ones included. Linear: operands precede users.
constexpr void mark_operands(const list<node>& nodes, list<bool>& needed) {
  for (std::size_t i = needed.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (int k = 0; k < operands_of(nodes[i]); ++k) needed[operand(nodes[i], k)] = true;
  }
}

/// The order of the iteration axes: the first root's, then each operand's hidden axes beside the
/// neighbours they have in that operand.
class axis_order {
 public:
  constexpr void append(const std::uint8_t* classes, int count) {
    for (int i = 0; i < count; ++i) {
      if (classes[i] >= indexed_class || find(classes[i]) >= 0) continue;
      int place = size_;
      bool placed = false;
      for (int j = i - 1; j >= 0 && !placed; --j) {
        if (classes[j] >= indexed_class) continue;
        if (const int at = find(classes[j]); at >= 0) {
          place = at + 1;
          placed = true;
        }
      }
      for (int j = i + 1; j < count && !placed; ++j) {
        if (classes[j] >= indexed_class) continue;
        if (const int at = find(classes[j]); at >= 0) {
          place = at;
          placed = true;
        }
      }
      insert(place, classes[i]);
    }
  }
  constexpr int find(std::uint8_t axis) const {
    for (int i = 0; i < size_; ++i) {
      if (order_[i] == axis) return i;
    }
    return -1;
  }
  constexpr int size() const { return size_; }
  /// Whether there were more axes than there is room for.
  constexpr bool overflows() const { return overflows_; }

 private:
  constexpr void insert(int place, std::uint8_t axis) {
    if (size_ == max_axes) {
      overflows_ = true;
      return;
    }
    for (int i = size_; i > place; --i) order_[i] = order_[i - 1];
    order_[place] = axis;
    ++size_;
  }
  std::uint8_t order_[max_axes] = {};
  int size_ = 0;
  bool overflows_ = false;
};

constexpr int classes_of(const builder& b, std::uint64_t packed, std::uint8_t* out) {
  int count = 0;
  for (int i = 0; i < max_axes; ++i) {
    const std::uint8_t axis = class_at(packed, i);
    out[i] = axis >= indexed_class ? axis : b.axis_class(axis);
    if (axis != symbol::no_axis) count = i + 1;
  }
  return count;
}

constexpr axis_map map_classes(const builder& b, const axis_order& order, std::uint64_t packed,
                               bool& aligned) {
  std::uint8_t classes[max_axes] = {};
  const int count = classes_of(b, packed, classes);
  axis_map map = empty_map;
  unsigned seen = 0;
  for (int i = 0; i < count; ++i) {
    if (classes[i] == symbol::no_axis) continue;
    if (classes[i] == indexed_class) {
      map = with_axis(map, i, indexed_axis);
      continue;
    }
    const auto axis = static_cast<unsigned>(order.find(classes[i]));
    if ((seen >> axis & 1u) != 0) aligned = true;
    seen |= 1u << axis;
    map = with_axis(map, i, axis);
  }
  return map;
}

}  // namespace detail

/// Why a traced statement has no graph. Told, not thrown: `exec::statement` then says it in one
/// line.
enum class framing_problem : std::uint8_t {
  none,
  axes,     ///< more than max_axes axes, reduced ones included
  aligned,  ///< broadcasting aligns two axes of one operand with each other
};

/// A traced statement: its graph, and how each operand slot lies in the iteration space (operands
/// that no root needs any more still take part in broadcasting).
struct framed {
  graph result;
  list<axis_map> operand_maps;
  framing_problem problem = framing_problem::none;
};

namespace detail {

/// Stands in for a statement that cannot be framed: its roots are constants.
constexpr void refuse(framed& statement, framing_problem problem, int root_count) {
  builder b;
  const std::uint16_t zero = b.constant(dtype::f32, 0);
  for (int i = 0; i < root_count; ++i) {
    b.emit({.code = op::store,
            .type = dtype::f32,
            .a = zero,
            .b = static_cast<std::uint16_t>(i),
            .extra = empty_map});
  }
  statement.result.nodes = b.nodes();
  statement.problem = problem;
}

}  // namespace detail

/// The graph of the traced roots; root k becomes the store of output slot k.
constexpr framed frame_statement(const builder& trace, const symbol* roots, int root_count) {
  const list<node>& old = trace.nodes();
  list<bool> needed(old.size(), false);
  for (int i = 0; i < root_count; ++i) needed[roots[i].id] = true;
  detail::mark_operands(old, needed);

  detail::axis_order order;
  for (int i = 0; i < root_count; ++i) {
    std::uint8_t classes[max_axes] = {};
    order.append(classes, detail::classes_of(trace, pack_classes(roots[i]), classes));
  }
  for (std::size_t i = 0; i < old.size(); ++i) {
    if (!needed[i] || !detail::has_axis_map(old[i].code)) continue;
    std::uint8_t classes[max_axes] = {};
    order.append(classes, detail::classes_of(trace, old[i].extra, classes));
  }

  framed statement;
  if (order.overflows()) {
    detail::refuse(statement, framing_problem::axes, root_count);
    return statement;
  }
  bool aligned = false;
  builder b;
  b.user_ops = trace.user_ops;
  list<std::uint16_t> renamed(old.size(), no_node);
  for (std::size_t i = 0; i < old.size(); ++i) {
    if (!needed[i]) continue;
    node n = old[i];
    const int operands = operands_of(n);
    if (operands > 0) n.a = renamed[n.a];
    if (operands > 1) n.b = renamed[n.b];
    if (operands > 2) n.c = renamed[n.c];
    if (detail::has_axis_map(n.code)) {
      n.extra = detail::map_classes(trace, order, n.extra, aligned);
    } else if (is_reduction(n.code) || n.code == op::count || n.code == op::iota) {
      unsigned mask = 0;
      for (int k = 0; k < max_axes; ++k) {
        const std::uint8_t axis = class_at(n.extra, k);
        if (axis == symbol::no_axis) continue;
        // an axis no operand has any more: its extent is 1
        if (const int at = order.find(trace.axis_class(axis)); at >= 0) mask |= 1u << at;
      }
      n.extra = mask;
      if (n.code == op::iota && mask == 0) {
        n = {.code = op::constant, .type = n.type};  // along an axis of extent 1 there is only 0
      } else if (n.code == op::iota) {
        n.extra = static_cast<std::uint64_t>(std::countr_zero(mask));
      }
    }
    renamed[i] = b.emit(n);
  }
  for (int i = 0; i < root_count; ++i) {
    const std::uint16_t value = renamed[roots[i].id];
    b.emit({.code = op::store,
            .type = b[value].type,
            .a = value,
            .b = static_cast<std::uint16_t>(i),
            .extra = detail::map_classes(trace, order, pack_classes(roots[i]), aligned)});
  }
  if (aligned) {
    detail::refuse(statement, framing_problem::aligned, root_count);
    return statement;
  }
  statement.result.nodes = b.nodes();
  statement.result.user_ops = b.user_ops;
  for (const node& n : old) {
    if (n.code != op::input) continue;
    if (statement.operand_maps.size() <= n.a) statement.operand_maps.resize(n.a + 1u, empty_map);
    axis_map map = empty_map;
    for (int i = 0; i < max_axes; ++i) {
      const std::uint8_t axis = class_at(n.extra, i);
      if (axis >= indexed_class) continue;
      // an axis that only dead operands have, or that a gather indexes, is not iterated over
      const int at = order.find(trace.axis_class(axis));
      if (at >= 0) map = with_axis(map, i, static_cast<unsigned>(at));
    }
    statement.operand_maps[n.a] = map;
  }
  return statement;
}

/// The graph alone. Throws the sentence of its problem.
constexpr graph frame(const builder& trace, const symbol* roots, int root_count) {
  framed statement = frame_statement(trace, roots, root_count);
  if (statement.problem == framing_problem::axes) {
    throw "heddle: the statement has more than 8 axes, reduced ones included: store a part of it "
          "in a tensor first";
  }
  if (statement.problem == framing_problem::aligned) {
    throw "heddle: broadcasting aligns two axes of one operand with each other (a reduction "
          "without keepdim combined with its own operand?): use keepdim";
  }
  return statement.result;
}

}  // namespace heddle::inline v0::graph
