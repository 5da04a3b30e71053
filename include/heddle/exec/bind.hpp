// SPDX-License-Identifier: BSD-3-Clause
// Binding: from the leaves of a statement at run time to the launch of its program. Checks that
// extents broadcast and that devices agree.
#pragma once

#include <bit>

#include <heddle/core/memory.hpp>
#include <heddle/exec/launch.hpp>
#include <heddle/exec/statement.hpp>

namespace heddle::inline v0::exec {

/// A leaf as it is found in the expression; pointers into the tensor's own extents and strides.
struct leaf_view {
  std::byte* data;
  const std::int64_t* extents;
  const std::int64_t* strides;
  heddle::storage* storage;
  int rank;
  std::uint8_t size;  ///< of an element, in bytes
};

namespace detail {

inline std::string leaf_text(const leaf_view& l) { return heddle::to_string(l.extents, l.rank); }

[[noreturn]] HEDDLE_COLD inline void raise_broadcast(const leaf_view* leaves, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += (i == 0 ? "" : ", ") + leaf_text(leaves[i]);
  raise<shape_error>("heddle::evaluate: the operands cannot be broadcast together: ", all,
                     "; aligned from the right, extents must be equal or 1");
}

[[noreturn]] HEDDLE_COLD inline void raise_extent(const leaf_view* leaves, int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += (i == 0 ? "" : ", ") + leaf_text(leaves[i]);
  raise<shape_error>(
      "heddle::evaluate: what is reduced, counted, enumerated or one of several results has extent "
      "1 along an axis that other operands of the statement lengthen (a reduction with keepdim "
      "among them?): operands are ",
      all, "; store that part in a tensor first");
}

/// The extents of the iteration space.
inline void broadcast_extents(const leaf_view* leaves, const graph::axis_map* maps, int count,
                              std::int64_t* extents) {
  for (int axis = 0; axis < graph::max_axes; ++axis) extents[axis] = 1;
  for (int i = 0; i < count; ++i) {
    for (int k = 0; k < leaves[i].rank; ++k) {
      const unsigned axis = graph::map_axis(maps[i], k);
      if (axis >= graph::max_axes) continue;
      const std::int64_t n = leaves[i].extents[k];
      if (extents[axis] == n || n == 1) continue;
      if (extents[axis] != 1) raise_broadcast(leaves, count);
      extents[axis] = n;
    }
  }
}

/// Whether elements lie contiguous, over those extents. As the next, unrolled where the rank is
/// known, and without branches that depend on the values.
HEDDLE_INLINE bool is_row_major(const std::int64_t* extents, const std::int64_t* strides,
                                int rank) {
  bool contiguous = true;
  std::int64_t stride = 1;
  for (int k = rank - 1; k >= 0; --k) {
    contiguous &= (strides[k] == stride) | (extents[k] == 1);
    stride *= extents[k];
  }
  return contiguous;
}
HEDDLE_INLINE bool same_extents(const std::int64_t* a, const std::int64_t* b, int rank) {
  bool same = true;
  for (int k = 0; k < rank; ++k) same &= a[k] == b[k];
  return same;
}

/// Extents of what is reduced, counted, enumerated or returned come from its own operands.
inline void check_extents(const graph::extent_check* checks, std::size_t check_count,
                          const leaf_view* leaves, const graph::axis_map* maps, int count,
                          const std::int64_t* extents) {
  for (std::size_t c = 0; c < check_count; ++c) {
    const int axis = std::countr_zero(static_cast<unsigned>(checks[c].axis));
    if (extents[axis] == 1) continue;
    bool found = false;
    for (int i = 0; i < count; ++i) {
      if (!checks[c].slots.has(static_cast<std::size_t>(i))) continue;
      for (int k = 0; k < leaves[i].rank; ++k) {
        found = found || (graph::map_axis(maps[i], k) == static_cast<unsigned>(axis) &&
                          leaves[i].extents[k] == extents[axis]);
      }
    }
    if (!found) raise_extent(leaves, count);
  }
}

/// The operand of a leaf; an extent that happens to be 1 repeats its element.
inline void bind_leaf(operand& o, const leaf_view& l, graph::axis_map map,
                      const std::int64_t* extents) {
  o.data = l.data;
  o.indexed_extent = l.rank > 0 ? l.extents[0] : 0;
  for (int k = 0; k < l.rank; ++k) {
    const unsigned axis = graph::map_axis(map, k);
    const bool repeated = axis < graph::max_axes && l.extents[k] == 1 && extents[axis] != 1;
    o.strides[k] = repeated ? 0 : l.strides[k];
  }
}

[[noreturn]] HEDDLE_COLD inline void raise_undefined(int i) {
  raise<state_error>("heddle::evaluate: operand ", i,
                     " is an undefined tensor; assign one that has elements first");
}

[[noreturn]] HEDDLE_COLD inline void raise_devices(device found, device other) {
  raise<device_error>("heddle::evaluate: operands are on different devices: ", found, " and ",
                      other, "; move one with to(device)");
}

template <class T, int Rank>
operand operand_of(const tensor<T, Rank>& t) {
  operand o;
  o.data = reinterpret_cast<std::byte*>(t.data());
  o.indexed_extent = Rank > 0 ? t.extents().data()[0] : 0;
  for (int i = 0; i < Rank; ++i) o.strides[i] = t.strides()[i];
  return o;
}

/// The one device of all leaves; `cpu()` where there is none.
inline device common_device(const leaf_view* leaves, int count) {
  device found = cpu();
  for (int i = 0; i < count; ++i) {
    if (leaves[i].storage == nullptr) [[unlikely]]
      raise_undefined(i);
    const device d = leaves[i].storage->device();
    if (i == 0) found = d;
    if (found != d) [[unlikely]]
      raise_devices(found, d);
  }
  return found;
}

/// Collects leaves and scalars of expressions in the order of their trace.
struct collector {
  leaf_view* leaves;
  scalar_bits* scalars;

  template <class L>
  void leaf(const L& l) {
    add(l);
  }
  template <class L>
  void add(const L& l) {
    const auto& t = [&l]() -> const auto& {
      if constexpr (requires { l.value(); }) {
        return l.value();
      } else {
        return l;
      }
    }
    ();
    *leaves++ = {reinterpret_cast<std::byte*>(t.data()),
                 t.extents().data(),
                 t.strides().data(),
                 t.storage().get(),
                 std::remove_cvref_t<decltype(t)>::rank,
                 static_cast<std::uint8_t>(size_of(std::remove_cvref_t<decltype(t)>::type))};
  }
  void scalar(double value) { (scalars++)->floating = value; }
  void scalar(std::int64_t value) { (scalars++)->integral = value; }
};

/// Tag: a visitor of one's own, derived from collector, collects.
struct with_visitor {};

}  // namespace detail

/// A statement with its leaves. Valid while the expressions it was made from live.
template <class Statement>
struct bound {
  static constexpr int operands = Statement::operand_count;
  static constexpr int scalar_count = Statement::scalar_count;
  static constexpr int outputs = Statement::output_count;

  leaf_view leaves[operands + 1];
  scalar_bits scalars[scalar_count + 1];
  std::int64_t extents[graph::max_axes];
  heddle::device device;
  /// Axes of a statement's first result, those of extent 1 that it adds apart.
  static constexpr int common_rank =
      std::popcount(static_cast<unsigned>(graph::mask_of(Statement::table.output_maps.values[0])));
  /// Of a pointwise statement: the extents that all leaves have but those of rank 0, else null; and
  /// whether they lie contiguous.
  const std::int64_t* common = nullptr;
  bool contiguous = false;

  template <class... E>
  explicit bound(const E&... e) {
    detail::collector c{leaves, scalars};
    (heddle::detail::visit_operand(e, c), ...);
    finish();
  }
  /// With a visitor of one's own, which calls c.add(leaf) and c.scalar(value).
  template <class Visitor, class... E>
  bound(detail::with_visitor, Visitor& visitor, const E&... e) {
    static_cast<detail::collector&>(visitor) = {leaves, scalars};
    (heddle::detail::visit_operand(e, visitor), ...);
    finish();
  }

  void finish() {
    constexpr auto& t = Statement::table;
    device = detail::common_device(leaves, operands);
    if constexpr (Statement::pointwise) {
      constexpr graph::axis_map map = t.output_maps.values[0];
      constexpr int rank = common_rank;
      find_common<rank>(std::make_integer_sequence<int, operands>{});
      if (common != nullptr) {
        for (std::int64_t& extent : extents) extent = 1;
        for (int k = 0; k < rank; ++k) extents[graph::map_axis(map, k)] = common[k];
        return;
      }
    }
    detail::broadcast_extents(leaves, t.operand_maps.values, operands, extents);
    if constexpr (Statement::size.checks > 0) {
      detail::check_extents(t.checks.values, Statement::size.checks, leaves, t.operand_maps.values,
                            operands, extents);
    }
  }

  void bind_operands(operand* to) const {
    for (int i = 0; i < operands; ++i) {
      detail::bind_leaf(to[i], leaves[i], Statement::table.operand_maps.values[i], extents);
    }
  }

  template <int Rank, int... I>
  void find_common(std::integer_sequence<int, I...>) {
    constexpr const auto& ranks = Statement::table.operand_ranks.values;
    if constexpr (((ranks[I] == 0 || ranks[I] == Rank) && ...) && ((ranks[I] == Rank) || ...)) {
      constexpr int first = [] {
        int i = 0;
        while (ranks[i] != Rank) ++i;
        return i;
      }();
      const std::int64_t* const found = leaves[first].extents;
      if (!(detail::same_extents(leaves[I].extents, found, ranks[I]) & ...)) return;
      common = found;
      contiguous = (detail::is_row_major(found, leaves[I].strides, ranks[I]) & ...);
    }
  }

  /// The extents of result k.
  template <int Rank>
  heddle::extents<Rank> output_extents(int k) const {
    heddle::extents<Rank> result;
    for (int i = 0; i < Rank; ++i) {
      const unsigned axis =
          graph::map_axis(Statement::table.output_maps.values[static_cast<std::size_t>(k)], i);
      result[i] = axis < graph::max_axes ? extents[axis] : 1;
    }
    return result;
  }
};

}  // namespace heddle::inline v0::exec
