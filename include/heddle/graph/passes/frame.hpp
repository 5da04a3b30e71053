// SPDX-License-Identifier: BSD-3-Clause
// From a trace to a graph: numbers the axis classes as axes of one iteration space, drops what no
// root needs, and rebuilds the nodes through the builder, which simplifies and shares them.
#pragma once

#include <heddle/graph/op_table.hpp>
#include <heddle/graph/passes/extent_checks.hpp>

namespace heddle::inline v0::graph {

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
constexpr bool has_axis_set(op code) {
  return is_reduction(code) || code == op::count || code == op::iota;
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
  constexpr std::uint8_t at(int axis) const { return order_[axis]; }
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

/// Whether two positions have one class.
constexpr bool aligns(const builder& b, std::uint64_t packed) {
  std::uint8_t classes[max_axes] = {};
  const int count = classes_of(b, packed, classes);
  for (int i = 1; i < count; ++i) {
    for (int j = 0; j < i; ++j) {
      if (classes[i] == classes[j] && classes[i] < indexed_class) return true;
    }
  }
  return false;
}

constexpr axis_map map_classes(const builder& b, const axis_order& order, std::uint64_t packed) {
  std::uint8_t classes[max_axes] = {};
  const int count = classes_of(b, packed, classes);
  axis_map map = empty_map;
  for (int i = 0; i < count; ++i) {
    if (classes[i] == symbol::no_axis) continue;
    if (classes[i] == indexed_class) {
      map = with_axis(map, i, indexed_axis);
      continue;
    }
    // an axis no operand has any more is left out: its extent is 1
    if (const int axis = order.find(classes[i]); axis >= 0) {
      map = with_axis(map, i, static_cast<unsigned>(axis));
    }
  }
  return map;
}

}  // namespace detail

/// Why a traced statement has no graph. Told, not thrown: `exec::statement` then says it in one
/// line.
enum class framing_problem : std::uint8_t {
  none,
  axes,      ///< more than max_axes axes, reduced ones included
  aligned,   ///< broadcasting aligns two axes of one value with each other
  operands,  ///< more than max_operands operands
};

/// A traced statement: its graph, and how each operand slot lies in the iteration space. Operands
/// that no root needs have no place there; those that it needs and the simplified graph does not
/// read still take part in broadcasting.
struct framed {
  graph result;
  list<axis_map> operand_maps;
  list<extent_check> checks;
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

/// One statement being framed.
class framing {
 public:
  constexpr framing(const builder& trace, const symbol* roots, int root_count,
                    const operand_roles& roles)
      : trace_(trace),
        nodes_(trace.nodes()),
        roots_(roots),
        root_count_(root_count),
        roles_(roles),
        needed_(nodes_.size(), false),
        sources_(trace) {
    for (int i = 0; i < root_count; ++i) needed_[roots[i].id] = true;
    mark_operands(nodes_, needed_);
    shaping_ = needed_;
    for (std::size_t i = nodes_.size(); i-- > 0;) {
      if (!shaping_[i]) continue;
      for (int k = 0; k < operands_of(nodes_[i]); ++k) shaping_[operand(nodes_[i], k)] = true;
      if (takes_shape(nodes_[i].code) && nodes_[i].c != no_node) shaping_[nodes_[i].c] = true;
    }
    collect_slots();
  }

  constexpr framed make() {
    if (slots_.size() > max_operands) return refused(framing_problem::operands);
    order_axes();
    if (order_.overflows()) return refused(framing_problem::axes);
    if (aligns_axes()) return refused(framing_problem::aligned);
    rebuild();
    place_operands();
    add_checks();
    return static_cast<framed&&>(statement_);
  }

 private:
  constexpr framed refused(framing_problem problem) {
    framed statement;
    refuse(statement, problem, root_count_);
    return statement;
  }

  /// The input node of each operand slot.
  constexpr void collect_slots() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].code != op::input) continue;
      if (slots_.size() <= nodes_[i].a) slots_.resize(nodes_[i].a + 1u, no_node);
      slots_[nodes_[i].a] = static_cast<std::uint16_t>(i);
    }
  }

  constexpr void order_axes() {
    for (int i = 0; i < root_count_; ++i) append(pack_classes(roots_[i]));
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (needed_[i] && (has_axis_map(nodes_[i].code) || has_axis_set(nodes_[i].code))) {
        append(nodes_[i].extra);
      }
    }
  }
  constexpr void append(std::uint64_t packed) {
    std::uint8_t classes[max_axes] = {};
    order_.append(classes, classes_of(trace_, packed, classes));
  }

  /// Whether two axes of a value, or of what gives one its shape, are one.
  constexpr bool aligns_axes() const {
    std::uint64_t seen = 0;  // the last shape looked at
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (!shaping_[i]) continue;
      const node& n = nodes_[i];
      const bool noted = is_elementwise(n.code) || n.code == op::cast;
      if (!noted && !has_axis_map(n.code) && !is_reduction(n.code)) continue;
      const std::uint64_t shape = noted ? ~n.extra : n.extra;
      if (shape != seen && aligns(trace_, shape)) return true;
      seen = shape;
    }
    for (int i = 0; i < root_count_; ++i) {
      if (aligns(trace_, pack_classes(roots_[i]))) return true;
    }
    return false;
  }

  /// The nodes that roots need through the builder, and the stores.
  constexpr void rebuild() {
    builder b;
    b.user_ops = trace_.user_ops;
    list<std::uint16_t> renamed(nodes_.size(), no_node);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (!needed_[i]) continue;
      node n = nodes_[i];
      const int operands = operands_of(n);
      if (operands > 0) n.a = renamed[n.a];
      if (operands > 1) n.b = renamed[n.b];
      if (operands > 2) n.c = renamed[n.c];
      if (has_axis_map(n.code)) {
        n.extra = map_of(n.extra);
      } else if (has_axis_set(n.code)) {
        n.extra = mask_of(map_of(n.extra));
        if (n.code == op::iota && n.extra == 0) {
          n = {.code = op::constant, .type = n.type};  // along an axis of extent 1 there is only 0
        } else if (n.code == op::iota) {
          n.extra = static_cast<std::uint64_t>(std::countr_zero(n.extra));
        }
      } else if (is_elementwise(n.code) || n.code == op::cast) {
        n.extra = 0;  // the shape it noted
      }
      if (takes_shape(n.code)) n.c = no_node;
      renamed[i] = b.emit(n);
    }
    for (int i = 0; i < root_count_; ++i) {
      const std::uint16_t value = renamed[roots_[i].id];
      b.emit({.code = op::store,
              .type = b[value].type,
              .a = value,
              .b = static_cast<std::uint16_t>(i),
              .extra = map_of(pack_classes(roots_[i]))});
    }
    statement_.result.nodes = b.nodes();
    statement_.result.user_ops = b.user_ops;
  }
  constexpr axis_map map_of(std::uint64_t packed) const {
    return map_classes(trace_, order_, packed);
  }

  /// Operands that roots need lie along all their axes; those that only give an extent along it.
  constexpr void place_operands() {
    list<axis_mask> placed(slots_.size(), 0);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const node& n = nodes_[i];
      if (n.code == op::input && (needed_[i] || roles_.kept.has(n.a) || roles_.whole.has(n.a))) {
        placed[n.a] = all_axes;
      }
      if (n.code == op::gather && needed_[i]) placed[n.b] = all_axes;
      if (!takes_shape(n.code) || !needed_[i] || n.c == no_node) continue;
      for (int axis = 0; axis < order_.size(); ++axis) {
        if (!holds_class(trace_, n.extra, order_.at(axis))) continue;
        const extent_source found = sources_.find(n.c, order_.at(axis));
        for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
          if (found.slots.has(slot)) placed[slot] |= static_cast<axis_mask>(1u << axis);
        }
        if (found.all_known) shapes_.push_back({static_cast<axis_mask>(1u << axis), found.slots});
      }
    }
    statement_.operand_maps.resize(slots_.size(), empty_map);
    for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot] == no_node) continue;
      axis_map& map = statement_.operand_maps[slot];
      for (int i = 0; i < max_axes; ++i) {
        const std::uint8_t axis = class_at(nodes_[slots_[slot]].extra, i);
        if (axis >= indexed_class) continue;
        const int at = order_.find(trace_.axis_class(axis));
        if (at < 0 || (placed[slot] >> at & 1) == 0) continue;
        map = with_axis(map, i, static_cast<unsigned>(at));
        having_[at].add(slot);
      }
    }
  }

  /// What is removed, counted, enumerated or returned is as long as the iteration space is.
  constexpr void add_checks() {
    check_list checks(statement_.checks, having_);
    for (const extent_check& shape : shapes_) checks.add(shape.axis, shape.slots);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (needed_[i] && is_reduction(nodes_[i].code)) {
        add_check(checks, nodes_[i].a, nodes_[i].extra, {});
      }
    }
    for (int i = 0; i < root_count_; ++i) {
      add_check(checks, roots_[i].id, pack_classes(roots_[i]), roles_.kept);
    }
    for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
      if (!roles_.whole.has(slot)) continue;
      slot_set alone;
      alone.add(slot);
      for (int axis = 0; axis < order_.size(); ++axis) {
        if (having_[axis].has(slot)) checks.add(static_cast<axis_mask>(1u << axis), alone);
      }
    }
  }
  /// The extents of a value along each of the classes; `others` may give them too.
  constexpr void add_check(check_list& checks, std::uint16_t value, std::uint64_t classes,
                           const slot_set& others) {
    for (int axis = 0; axis < order_.size(); ++axis) {
      if (having_[axis].size() < 2 || !holds_class(trace_, classes, order_.at(axis))) continue;
      extent_source found = sources_.find(value, order_.at(axis));
      if (!found.all_known) continue;
      found.slots.add(others & having_[axis]);
      checks.add(static_cast<axis_mask>(1u << axis), found.slots);
    }
  }

  static constexpr axis_mask all_axes = 0xFF;

  const builder& trace_;
  const list<node>& nodes_;
  const symbol* roots_;
  int root_count_;
  const operand_roles& roles_;
  list<bool> needed_;          ///< by roots, per node
  list<bool> shaping_;         ///< needed, or what gives a needed node its shape
  list<std::uint16_t> slots_;  ///< the input node of each operand slot
  axis_order order_;
  extent_sources sources_;
  list<extent_check> shapes_;       ///< of counts, coordinates and random numbers
  slot_set having_[max_axes] = {};  ///< the operands that lie along each axis
  framed statement_;
};

}  // namespace detail

/// The graph of the traced roots; root k becomes the store of output slot k.
constexpr framed frame_statement(const builder& trace, const symbol* roots, int root_count,
                                 const operand_roles& roles = {}) {
  return detail::framing(trace, roots, root_count, roles).make();
}

/// Throws the sentence of a statement's problem, if it has one.
constexpr void refuse_problem(framing_problem problem) {
  if (problem == framing_problem::axes) {
    throw "heddle: the statement has more than 8 axes, reduced ones included: store a part of it "
          "in a tensor first";
  }
  if (problem == framing_problem::aligned) {
    throw "heddle: broadcasting aligns two axes of one value with each other (a reduction without "
          "keepdim combined with its own operand?): use keepdim";
  }
  if (problem == framing_problem::operands) {
    throw "heddle: the statement has more than 256 operands: store a part of it in a tensor first";
  }
}

/// The graph alone. Throws the sentence of its problem.
constexpr graph frame(const builder& trace, const symbol* roots, int root_count) {
  framed statement = frame_statement(trace, roots, root_count);
  refuse_problem(statement.problem);
  return statement.result;
}

}  // namespace heddle::inline v0::graph
