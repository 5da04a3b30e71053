// SPDX-License-Identifier: BSD-3-Clause
// vjp: the derivative of a traced lambda as an expression of its own. What `backward` does for a
// statement, spelled out: so its result can be fused, recorded and differentiated again, compiled.
#pragma once

#include <heddle/graph/passes/differentiate.hpp>
#include <heddle/tensor/let.hpp>

namespace heddle::inline v0 {

namespace detail {

/// Records the nodes of a graph in a trace. operands[k]: what stands for operand slot k, whose
/// shape root k has. The classes of its axes are those of the operands' positions. Returns one
/// symbol per root, by output slot.
template <int Roots>
constexpr symbol_pack<Roots> import_graph(graph::builder& b, const graph::graph& g,
                                          const symbol* operands) {
  std::uint8_t classes[graph::max_axes] = {};
  for (std::uint8_t& c : classes) c = symbol::no_axis;
  for (const graph::node& n : g.nodes) {
    // an operand whose values are not needed is in the graph by its gradient alone
    if (n.code != op::input && n.code != op::store) continue;
    const symbol& s = operands[n.code == op::store ? n.b : n.a];
    for (int p = 0; p < s.rank; ++p) {
      const unsigned axis = graph::map_axis(static_cast<graph::axis_map>(n.extra), p);
      if (axis >= graph::max_axes || s.axis[p] == symbol::no_axis) continue;
      if (classes[axis] == symbol::no_axis) {
        classes[axis] = s.axis[p];
      } else {
        b.unify(classes[axis], s.axis[p]);
      }
    }
  }
  for (std::uint8_t& c : classes) {
    if (c == symbol::no_axis) c = b.new_axis();
  }
  const auto pack_mask = [&classes](std::uint64_t mask) {
    std::uint64_t packed = ~std::uint64_t{0};
    int used = 0;
    for (int axis = 0; axis < graph::max_axes; ++axis) {
      if ((mask >> axis & 1u) == 0) continue;
      packed &= ~(std::uint64_t{0xFF} << (8 * used));
      packed |= static_cast<std::uint64_t>(classes[axis]) << (8 * used++);
    }
    return packed;
  };
  const auto pack_map = [&classes](graph::axis_map map) {
    std::uint64_t packed = ~std::uint64_t{0};
    for (int p = 0; p < graph::max_axes; ++p) {
      const unsigned axis = graph::map_axis(map, p);
      if (axis == graph::broadcast_axis) continue;
      packed &= ~(std::uint64_t{0xFF} << (8 * p));
      packed |= static_cast<std::uint64_t>(axis == graph::indexed_axis ? graph::indexed_class
                                                                       : classes[axis])
                << (8 * p);
    }
    return packed;
  };
  for (const graph::op_info* info : g.user_ops) b.add_user_op(info);
  symbol_pack<Roots> roots{};
  graph::list<std::uint16_t> renamed(g.size(), graph::no_node);
  for (std::size_t i = 0; i < g.size(); ++i) {
    graph::node n = g[i];
    if (n.code == op::input) {
      renamed[i] = operands[n.a].id;
      continue;
    }
    const int count = graph::operands_of(n);
    if (count > 0) n.a = renamed[n.a];
    if (count > 1) n.b = renamed[n.b];
    if (count > 2) n.c = renamed[n.c];
    n.varies = 0;
    if (n.code == op::scatter_add) {
      throw "heddle::vjp: the lambda gathers from an operand, whose gradient is no expression";
    }
    if (n.code == op::store) {
      symbol& root = roots.values[g[i].b];
      root.owner = &b;
      root.id = n.a;
      root.rank = 0;
      for (int p = 0; p < graph::max_axes; ++p) {
        const unsigned axis = graph::map_axis(static_cast<graph::axis_map>(n.extra), p);
        root.axis[p] = axis < graph::max_axes ? classes[axis] : symbol::no_axis;
        root.ghost[p] = symbol::no_axis;
      }
      continue;
    }
    if (n.code == op::gather) n.b = b[operands[n.b].id].a;
    if (is_reduction(n.code) || n.code == op::count) n.extra = pack_mask(n.extra);
    if (n.code == op::iota) n.extra = pack_mask(std::uint64_t{1} << n.extra);
    if (is_random(n.code) || n.code == op::gather) {
      n.extra = pack_map(static_cast<graph::axis_map>(n.extra));
    }
    renamed[i] = b.emit(n);
  }
  return roots;
}

}  // namespace detail

/// The gradients of a traced lambda with respect to its operands: results of a vector-Jacobian
/// product.
template <class F, class Seed, class... E>
class [[nodiscard]] vjp_bundle {
  static_assert((!detail::weak_expression<E> && ...),
                "heddle::vjp: numbers have no gradients: write them into the lambda");

 public:
  /// Marks what `evaluate` gives as a tuple.
  using bundle_tag = void;
  /// How many gradients there are: one for each operand of the lambda.
  static constexpr int count = sizeof...(E);
  /// Ranks and dtypes of the gradients: those of the operands.
  static constexpr auto signature = [] {
    detail::let_signature<count> s;
    const int ranks[] = {E::rank...};
    const dtype types[] = {E::type...};
    for (int i = 0; i < count; ++i) {
      s.ranks[i] = ranks[i];
      s.types[i] = types[i];
    }
    return s;
  }();
  /// The lambda's operands, then the seed.
  using operand_list = detail::operand_pack<E..., Seed>;

  template <class... A>
  constexpr explicit vjp_bundle(A&&... operands) : operands_(static_cast<A&&>(operands)...) {}

  /// Traces the derivative, for all of the gradients.
  static constexpr symbol_pack<count> trace_pack(detail::tracer& t) {
    const int first = t.operands;
    const symbol operands[] = {detail::trace_operand<E>(t)..., detail::trace_operand<Seed>(t)};
    for (int i = first; i < first + count; ++i) t.roles.whole.add(static_cast<std::size_t>(i));
    symbol_pack<count> roots = detail::import_graph<count>(t.builder, derivative(), operands);
    for (int i = 0; i < count; ++i) {
      roots.values[i].rank = static_cast<std::int8_t>(signature.ranks[i]);
    }
    return roots;
  }
  template <class Visitor>
  void visit(Visitor& v) const {
    operands_.visit(v);
  }

 private:
  /// Operand slots: the lambda's, then the seed.
  static constexpr graph::graph derivative() {
    detail::tracer t;
    const symbol inner[] = {graph::trace_input(t.builder, t.operands++, E::type, E::rank)...};
    const symbol root = call(inner, std::make_integer_sequence<int, count>{});
    if (root.rank != Seed::rank) throw "heddle::vjp: the seed's rank is not the lambda's result's";
    graph::derivative_request request;
    request.wanted.resize(static_cast<std::size_t>(count), true);
    request.seed_slot = count;
    return graph::differentiate(graph::frame(t.builder, &root, 1), request);
  }
  template <int... I>
  static constexpr symbol call(const symbol* operands, std::integer_sequence<int, I...>) {
    return F{}(operands[I]...);
  }

  operand_list operands_;
};

/// `evaluate(vjp(f, g, x, y))`: the gradients of f(x, y) with respect to x and y, for the gradient
/// g of its result. x, y and g are tensors or variables. A statement like any other: with variables
/// it is recorded, and its own backward, the second derivative, is compiled.
template <class F, class Seed, class... A>
constexpr auto vjp(fused_function<F>, Seed&& seed, A&&... operands) {
  return vjp_bundle<F, std::remove_cvref_t<Seed>, std::remove_cvref_t<A>...>(
      static_cast<A&&>(operands)..., static_cast<Seed&&>(seed));
}

}  // namespace heddle::inline v0
