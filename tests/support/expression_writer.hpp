// SPDX-License-Identifier: BSD-3-Clause
// Writes expressions twice: each function here records one step with symbols, by heddle's public
// functions, and computes it with plain arrays.
#pragma once

#include <string>

#include "element_memory.hpp"
#include "expression.hpp"

namespace support {

/// A mistake made on the symbols' side on purpose.
enum class symbol_fault : std::uint8_t { none, wrong_position, ghost_ignored, wrong_order };

class expression_writer {
 public:
  /// coverage: counts by op code.
  expression_writer(std::uint64_t seed, std::int64_t* coverage, symbol_fault fault)
      : r_(seed), coverage_(coverage), fault_(fault) {
    e_.trace.tracing = true;
    special_ = r_.chance(0.1);
  }

 protected:
  static constexpr std::int64_t most_elements = 96;

  twin keep(twin t, op code) {
    ++coverage_[static_cast<int>(code)];
    values_.push_back(t);
    e_.shapes.push_back({t.s.id, t.label, t.a.shape});
    return t;
  }
  /// A position, counted from the front or from the end.
  int either_way(int position, int rank) { return r_.chance(0.5) ? position : position - rank; }
  static double bound_of(dtype type, double bound) {
    return type == dtype::u8 ? 255 : type == dtype::boolean ? 1 : bound;
  }

  /// An operand; positions in `ones` are statically of extent 1. below: its values are indices.
  twin input(dtype type, const shape_of& shape, unsigned ones, std::int64_t below = 0) {
    operand_memory m;
    m.type = type;
    m.shape = shape;
    for (std::size_t p = 0; p < shape.size(); ++p) {
      m.label.push_back((ones >> p & 1u) != 0 ? -1 : e_.axes.add(shape[p]));
    }
    twin t;
    t.s = graph::trace_input(e_.trace, static_cast<int>(e_.operands.size()), type,
                             static_cast<int>(shape.size()), ones);
    t.a.type = type;
    t.a.shape = shape;
    t.label = m.label;
    t.past.assign(shape.size(), -1);
    t.bound = below > 0 ? static_cast<double>(below) : bound_of(type, 9);
    const std::int64_t count = elements_of(shape);
    const auto width = static_cast<std::int64_t>(heddle::size_of(type));
    m.bytes.resize(static_cast<std::size_t>(count * width + 1));
    for (std::int64_t i = 0; i < count; ++i) {
      const double x = grid_value(r_, special_);
      write_element(m.bytes.data() + i * width, type, x,
                    below > 0 ? r_.below(static_cast<int>(below)) : grid_integer(r_, type));
      t.a.values.push_back(read(m.bytes.data(), i, type));
    }
    e_.operands.push_back(std::move(m));
    return keep(t, op::input);
  }

  /// A number written into the expression.
  twin literal(double value) {
    twin t;
    t.a.weak = plain_array::number::real;
    t.a.real = value;
    t.a.values.resize(1);
    t.s = symbol(value);
    ++coverage_[static_cast<int>(op::constant)];
    return t;
  }
  twin literal(std::int64_t value) {
    twin t = literal(0.0);
    t.a.weak = plain_array::number::integral;
    t.a.integer = value;
    t.s = symbol(value);
    return t;
  }
  /// A number given at run time.
  twin argument(const twin& number) {
    twin t = number;
    const bool integral = t.a.weak == plain_array::number::integral;
    heddle::exec::scalar_bits bits{};
    if (integral) {
      bits.integral = t.a.integer;
    } else {
      bits.floating = t.a.real;
    }
    t.s = graph::trace_argument(e_.trace, static_cast<int>(e_.scalars.size()), integral);
    e_.scalars.push_back(bits);
    ++coverage_[static_cast<int>(op::argument)];
    return t;
  }

  template <class Record>
  twin elementwise_twin(op code, const std::vector<const twin*>& operands, double bound,
                        Record record, formula user = nullptr) {
    twin t;
    t.s = record();
    e_.axes.broadcast(operands, t);
    std::vector<const plain_array*> arrays;
    for (const twin* x : operands) arrays.push_back(&x->a);
    t.a = computed(code, arrays, user);
    t.bound = bound_of(t.a.type, bound);
    return keep(t, code);
  }
  twin unary(op code, const twin& x, double bound) {
    for (const public_unary& f : public_unaries) {
      if (f.code != code) continue;
      const formula user =
          code == heddle::cube ? [](const double* v) { return v[0] * v[0] * v[0]; } : formula{};
      return elementwise_twin(
          code, {&x}, bound, [&] { return f.function(x.s); }, user);
    }
    return x;
  }
  twin binary(op code, const twin& x, const twin& y, double bound) {
    for (const public_binary& f : public_binaries) {
      if (f.code != code) continue;
      return elementwise_twin(code, {&x, &y}, bound, [&] { return f.function(x.s, y.s); });
    }
    return x;
  }
  twin chosen(const twin& condition, const twin& x, const twin& y) {
    return elementwise_twin(op::where, {&condition, &x, &y}, std::max(x.bound, y.bound),
                            [&] { return where(condition.s, x.s, y.s); });
  }

  /// A reduction, or the count of what it takes in, over the positions of a mask.
  twin reduced_twin(op code, const twin& x, unsigned mask, bool keepdim) {
    const int rank = x.a.rank();
    int positions[8] = {};
    int count = 0;
    for (int p = 0; p < rank; ++p) {
      if ((mask >> p & 1u) == 0) continue;
      const bool moved = fault_ == symbol_fault::wrong_position;
      positions[count++] = either_way(moved ? (p + 1) % rank : p, rank);
    }
    twin t;
    t.s = graph::reduce(code, x.s, positions, count, keepdim);
    bool nothing = true;
    std::int64_t elements = 1;
    for (int p = 0; p < rank; ++p) {
      const auto at = static_cast<std::size_t>(p);
      const bool removed = (mask >> p & 1u) != 0;
      if (removed && x.label[at] >= 0) nothing = false;
      if (removed) elements *= x.a.shape[at];
      if ((removed && !keepdim) || code == op::count) continue;
      t.label.push_back(removed ? -1 : x.label[at]);
      t.past.push_back(removed && x.label[at] >= 0 ? x.label[at] : x.past[at]);
    }
    if (code == op::count) {
      t.a.type = floating(x.a.type) ? x.a.type : dtype::f32;
      t.a.values = {number(elements, t.a.type)};
    } else {
      t.a = reduced(code, x.a, mask, keepdim, nothing);
    }
    if (fault_ == symbol_fault::ghost_ignored) {
      for (std::uint8_t& ghost : t.s.ghost) ghost = symbol::no_axis;
    }
    t.bound = code == op::amax || code == op::amin ? x.bound
              : code == op::sum                    ? x.bound * most_elements
                                                   : most_elements;
    return keep(t, code);
  }

  twin unsqueezed(twin t, int at) {
    t.s = unsqueezed_at(t.s, either_way(at, t.a.rank() + 1), places{});
    t.a.shape.insert(t.a.shape.begin() + at, 1);
    t.label.insert(t.label.begin() + at, -1);
    t.past.insert(t.past.begin() + at, -1);
    values_.push_back(t);
    return t;
  }
  twin squeezed(twin t, int at) {
    t.s = squeezed_at(t.s, either_way(at, t.a.rank()), places{});
    t.a.shape.erase(t.a.shape.begin() + at);
    t.label.erase(t.label.begin() + at);
    t.past.erase(t.past.begin() + at);
    values_.push_back(t);
    return t;
  }
  twin reordered(const twin& x, const public_order& f) {
    twin t = x;
    if (fault_ != symbol_fault::wrong_order) t.s = f.function(x.s);
    t.a = permuted(x.a, f.order);
    for (std::size_t p = 0; p < f.order.size(); ++p) {
      t.label[p] = x.label[static_cast<std::size_t>(f.order[p])];
      t.past[p] = x.past[static_cast<std::size_t>(f.order[p])];
    }
    values_.push_back(t);
    return t;
  }

  twin coordinates_of(const twin& x, int at) {
    twin t;
    t.s = enumerated_at(x.s, either_way(at, x.a.rank()), places{});
    t.a = enumerated(x.a, at);
    t.label.assign(x.label.size(), -1);
    t.past.assign(x.past.size(), -1);
    t.label[static_cast<std::size_t>(at)] = x.label[static_cast<std::size_t>(at)];
    t.bound = most_elements;
    return keep(t, op::iota);
  }
  twin random_like(const twin& x, bool normal, const twin& seed, const twin& offset) {
    twin t = x;
    t.s = normal ? normal_like(x.s, seed.s, offset.s) : uniform_like(x.s, seed.s, offset.s);
    const op code = normal ? op::random_normal : op::random_uniform;
    t.a = drawn(code, x.a, seed.a.integer, offset.a.integer);
    t.bound = 6;
    return keep(t, code);
  }
  twin cast_twin(const twin& x, dtype type) {
    twin t = x;
    t.s = cast_to(x.s, type);
    t.a = as_type(x.a, type);
    t.bound = bound_of(type, x.bound);
    return keep(t, op::cast);
  }
  twin rows_of(const twin& table, const twin& index) {
    twin t = index;
    t.s = take(table.s, index.s);
    t.a = taken(table.a, index.a);
    t.label.insert(t.label.end(), table.label.begin() + 1, table.label.end());
    t.past.insert(t.past.end(), table.past.begin() + 1, table.past.end());
    t.bound = table.bound;
    return keep(t, op::gather);
  }

  random_source r_;
  std::vector<twin> values_;
  expression e_;

 private:
  std::int64_t* coverage_;
  symbol_fault fault_;
  bool special_ = false;
};

}  // namespace support
