// SPDX-License-Identifier: BSD-3-Clause
// graph: an array of nodes in order of dependence. builder: the only way to make one; it gives
// equal nodes one id (common sub-expressions) and applies the rules of passes/simplify.hpp.
#pragma once

#include <string_view>

#include <heddle/graph/list.hpp>
#include <heddle/graph/node.hpp>

namespace heddle::inline v0 {

struct symbol;

/// The derivatives of an op with respect to its N operands; an entry left as `symbol{}` is zero.
template <int N>
struct grads;

namespace graph {

/// Which dtype an element-wise op gives for its (promoted) operands' dtype.
enum class result_rule : std::uint8_t {
  same,        ///< the promoted dtype
  floating,    ///< the promoted dtype, f32 for integral operands
  comparison,  ///< bool, from promoted operands
  logical,     ///< bool, from operands converted to bool
  selection,   ///< first operand converted to bool; the others promoted, as is the result
};

/// What the passes know of an element-wise op. One is made from each op_traits specialisation.
struct op_info {
  op code = op::neg;
  std::string_view name;
  int arity = 1;
  result_rule rule = result_rule::same;
  /// operands (arity of them), result and incoming gradient → gradients, at most three.
  void (*derivative)(const symbol* operands, const symbol& y, const symbol& g,
                     symbol* out) = nullptr;
  /// value at run time in double: serves the interpreter for ops that users add.
  double (*value)(const double* operands) = nullptr;
};

/// Nodes in order of dependence: an operand's id is less than its user's. Roots are the stores.
struct graph {
  list<node> nodes;
  list<const op_info*> user_ops;

  constexpr std::size_t size() const { return nodes.size(); }
  constexpr const node& operator[](std::size_t id) const { return nodes[id]; }
};

/// Number of ids of other nodes among a, b, c.
constexpr int operands_of(const node& n) {
  const int elementwise = n.c != no_node ? 3 : n.b != no_node ? 2 : 1;
  return operand_count(n.code, elementwise);
}
HEDDLE_HD constexpr std::uint16_t operand(const node& n, int i) {
  return i == 0 ? n.a : i == 1 ? n.b : n.c;
}

class builder {
 public:
  constexpr builder() : buckets_(bucket_count, no_node) {}

  /// While tracing, axes are classes (see symbol.hpp) and nodes are only recorded.
  bool tracing = false;
  /// Rules that round differently apply, too: to derivatives, whose terms nobody wrote in an order.
  bool reassociates = false;
  list<const op_info*> user_ops;

  constexpr const list<node>& nodes() const { return nodes_; }
  constexpr list<node>& nodes() { return nodes_; }
  constexpr const node& operator[](std::uint16_t id) const { return nodes_[id]; }

  /// The id of a node equal to n, made if there is none; simplified first unless tracing.
  constexpr std::uint16_t emit(node n);

  constexpr std::uint16_t constant(dtype type, double value) {
    node n{.code = op::constant, .type = type};
    if (type == dtype::boolean) return integer(type, value != 0);
    n.extra = is_floating(type) ? std::bit_cast<std::uint64_t>(value)
                                : static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
    return emit(n);
  }
  /// An integral constant, all 64 bits of it.
  constexpr std::uint16_t integer(dtype type, std::int64_t value) {
    if (type == dtype::boolean) value = value != 0;
    return emit({.code = op::constant, .type = type, .extra = static_cast<std::uint64_t>(value)});
  }
  constexpr std::uint16_t unary(op code, dtype type, std::uint16_t a, std::uint64_t extra = 0) {
    return emit({.code = code, .type = type, .a = a, .extra = extra});
  }
  constexpr std::uint16_t binary(op code, dtype type, std::uint16_t a, std::uint16_t b) {
    return emit({.code = code, .type = type, .a = a, .b = b});
  }
  constexpr std::uint16_t cast(dtype type, std::uint16_t a) {
    return nodes_[a].type == type ? a : unary(op::cast, type, a);
  }

  // Axis classes, while tracing: operands' axes that broadcasting aligns are one class.
  constexpr std::uint8_t new_axis() {
    if (parents_.size() >= 254) throw "heddle: the statement has more than 254 operand axes";
    parents_.push_back(static_cast<std::uint8_t>(parents_.size()));
    return parents_.back();
  }
  constexpr std::uint8_t axis_class(std::uint8_t axis) const {
    while (parents_[axis] != axis) axis = parents_[axis];
    return axis;
  }
  constexpr void unify(std::uint8_t x, std::uint8_t y) {
    x = axis_class(x);
    y = axis_class(y);
    if (x != y) parents_[x > y ? x : y] = x > y ? y : x;
  }
  constexpr std::size_t axis_count() const { return parents_.size(); }

  constexpr void add_user_op(const op_info* info) {
    for (const op_info* known : user_ops) {
      if (known->code == info->code) return;
    }
    user_ops.push_back(info);
  }

 private:
  static constexpr std::size_t bucket_count = 256;

  static constexpr std::size_t bucket_of(const node& n) {
    std::uint64_t h = encode_word(n) ^ (n.extra * 0x9E3779B97F4A7C15u);
    h ^= h >> 29;
    h *= 0xBF58476D1CE4E5B9u;
    return static_cast<std::size_t>(h >> 56) % bucket_count;
  }

  list<node> nodes_;
  list<std::uint16_t> buckets_;
  list<std::uint16_t> next_;
  list<std::uint8_t> parents_;
};

/// The iteration axes along which n varies, from its operands.
constexpr axis_mask varies_of(const list<node>& nodes, const node& n) {
  unsigned mask = 0;
  for (int i = 0; i < operands_of(n); ++i) mask |= nodes[operand(n, i)].varies;
  switch (n.code) {
    case op::input:
    case op::random_uniform:
    case op::random_normal:
    case op::gather:
    case op::store:
      mask |= mask_of(static_cast<axis_map>(n.extra));
      break;
    case op::iota:
      mask |= 1u << n.extra;
      break;
    case op::sum:
    case op::amax:
    case op::amin:
      mask &= ~static_cast<unsigned>(n.extra);
      break;
    default:
      break;
  }
  return static_cast<axis_mask>(mask);
}

/// passes/simplify.hpp: an id of an existing node that equals n, or no_node and n rewritten.
constexpr std::uint16_t simplify(builder& b, node& n);

constexpr std::uint16_t builder::emit(node n) {
  if (nodes_.size() >= no_node - 1) throw "heddle: the statement is too large: over 65 534 nodes";
  if (!tracing) {
    if (const std::uint16_t known = simplify(*this, n); known != no_node) return known;
    n.varies = varies_of(nodes_, n);
    const std::size_t bucket = bucket_of(n);
    for (std::uint16_t id = buckets_[bucket]; id != no_node; id = next_[id]) {
      if (nodes_[id] == n) return id;
    }
    next_.push_back(buckets_[bucket]);
    buckets_[bucket] = static_cast<std::uint16_t>(nodes_.size());
  }
  nodes_.push_back(n);
  return static_cast<std::uint16_t>(nodes_.size() - 1);
}

}  // namespace graph
}  // namespace heddle::inline v0

#include <heddle/graph/passes/simplify.hpp>  // the definition that emit needs
