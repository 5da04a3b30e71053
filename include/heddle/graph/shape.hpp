// SPDX-License-Identifier: BSD-3-Clause
// Functions of symbols that change shapes or read by position: unsqueeze, permute, coordinates,
// gathers and random numbers.
#pragma once

#include <heddle/graph/passes/frame.hpp>

namespace heddle::inline v0 {

/// x with an axis of extent 1 before position Axis (negative: from the end of the result).
template <int Axis>
constexpr symbol unsqueeze(const symbol& x) {
  const int rank = x.rank + 1;
  const int at = Axis < 0 ? Axis + rank : Axis;
  if (at < 0 || at >= rank) throw "heddle::unsqueeze: the axis is out of range";
  symbol result = x;
  result.rank = static_cast<std::int8_t>(rank);
  for (int i = 0; i < rank; ++i) {
    result.axis[i] = i == at ? symbol::no_axis : x.axis[i < at ? i : i - 1];
    result.ghost[i] = i == at ? symbol::no_axis : x.ghost[i < at ? i : i - 1];
  }
  return result;
}

/// x without the axis at position Axis, whose extent is statically 1.
template <int Axis>
constexpr symbol squeeze(const symbol& x) {
  const int at = Axis < 0 ? Axis + x.rank : Axis;
  if (at < 0 || at >= x.rank) throw "heddle::squeeze: the axis is out of range";
  if (x.axis[at] != symbol::no_axis)
    throw "heddle::squeeze: the axis is not known to have extent 1";
  symbol result = x;
  result.rank = static_cast<std::int8_t>(x.rank - 1);
  for (int i = at; i + 1 < x.rank; ++i) {
    result.axis[i] = x.axis[i + 1];
    result.ghost[i] = x.ghost[i + 1];
  }
  return result;
}

/// x with its axes in the given order.
template <int... Axes>
constexpr symbol permute(const symbol& x) {
  constexpr int order[] = {Axes...};
  bool named[graph::max_axes] = {};
  bool each_once = sizeof...(Axes) == static_cast<std::size_t>(x.rank);
  for (int i = 0; each_once && i < x.rank; ++i) {
    const int from = order[i] < 0 ? order[i] + x.rank : order[i];
    each_once = from >= 0 && from < x.rank && !named[from];
    if (each_once) named[from] = true;
  }
  if (!each_once) throw "heddle::permute: name each axis of the operand once";
  symbol result = x;
  for (int i = 0; i < x.rank; ++i) {
    const int from = order[i] < 0 ? order[i] + x.rank : order[i];
    result.axis[i] = x.axis[from];
    result.ghost[i] = x.ghost[from];
  }
  return result;
}

/// The coordinate along Axis of each element of x, i64; x's shape, its other axes broadcast.
template <int Axis>
constexpr symbol iota(const symbol& x) {
  const int at = Axis < 0 ? Axis + x.rank : Axis;
  if (at < 0 || at >= x.rank) throw "heddle::iota: the axis is out of range";
  symbol result = x;
  for (int i = 0; i < x.rank; ++i) {
    result.ghost[i] = symbol::no_axis;
    if (i != at) result.axis[i] = symbol::no_axis;
  }
  result.id = result.axis[at] == symbol::no_axis
                  ? x.owner->constant(dtype::i64, 0)
                  : x.owner->emit({.code = op::iota,
                                   .type = dtype::i64,
                                   .c = x.id,
                                   .extra = ~std::uint64_t{0xFF} | result.axis[at]});
  return result;
}

namespace graph {

constexpr symbol random_like(op code, const symbol& x, const symbol& seed, const symbol& offset) {
  if (x.owner == nullptr) throw "heddle: random numbers need a traced value, whose shape they get";
  builder& b = *x.owner;
  symbol result = x;
  result.weak = symbol::scalar::none;
  node n{.code = code, .type = is_floating(x.type()) ? compute_dtype(x.type()) : dtype::f32};
  n.a = materialize(b, seed, dtype::i64).id;
  n.b = materialize(b, offset, dtype::i64).id;
  n.c = x.weak == symbol::scalar::none ? x.id : no_node;
  n.extra = pack_classes(x);
  result.id = b.emit(n);
  return result;
}

}  // namespace graph

/// Uniform numbers on [0, 1) of x's shape (f64 for f64, else f32): a pure function of the seed, of
/// the coordinate along axis 0 plus `offset`, and of the position along the other axes (Philox).
constexpr symbol uniform_like(const symbol& x, const symbol& seed, const symbol& offset) {
  return graph::random_like(op::random_uniform, x, seed, offset);
}
/// Standard normal numbers, drawn as by uniform_like; of one seed and offset, from the same bits.
constexpr symbol normal_like(const symbol& x, const symbol& seed, const symbol& offset) {
  return graph::random_like(op::random_normal, x, seed, offset);
}

/// Rows of a table: element (i…, j…) is table(index(i…), j…). The table must be an operand itself,
/// not a computed value; an index out of range throws index_error when the statement runs.
constexpr symbol take(const symbol& table, const symbol& index) {
  if (table.owner == nullptr || table.rank < 1 || (*table.owner)[table.id].code != op::input) {
    throw "heddle::take: the table must be a tensor of rank 1 or more, not an expression";
  }
  graph::builder& b = *table.owner;
  const graph::node read = b[table.id];
  symbol row = table;  // the table's axes behind the indexed one
  row.rank = static_cast<std::int8_t>(table.rank - 1);
  for (int i = 0; i < row.rank; ++i) {
    row.axis[i] = table.axis[i + 1];
    row.ghost[i] = table.ghost[i + 1];
  }
  if (index.rank + row.rank > graph::max_axes) throw "heddle::take: the result has over 8 axes";
  symbol result = index;
  result.owner = &b;
  result.weak = symbol::scalar::none;
  for (int i = 0; i < row.rank; ++i) {
    result.axis[index.rank + i] = row.axis[i];
    result.ghost[index.rank + i] = row.ghost[i];
  }
  result.rank = static_cast<std::int8_t>(index.rank + row.rank);
  std::uint64_t classes = graph::pack_classes(table);
  classes = (classes & ~std::uint64_t{0xFF}) | graph::indexed_class;
  result.id = b.emit({.code = op::gather,
                      .type = read.type,
                      .a = graph::materialize(b, index, dtype::i64).id,
                      .b = read.a,
                      .extra = classes});
  // a node that notes the shape; the gather's `extra` has the table's
  result.id =
      b.unary(op::cast, read.type, result.id, result.rank > 1 ? graph::noted_shape(result) : 0);
  return result;
}

}  // namespace heddle::inline v0
