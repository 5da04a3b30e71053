// SPDX-License-Identifier: BSD-3-Clause
// Random expressions of ranks 0 to 4: 4 to 14 steps of every public function of symbols, ops in
// their domains most of the time, and shapes that broadcast.
#pragma once

#include <cmath>

#include "expression_writer.hpp"

namespace support {

class expression_generator : private expression_writer {
 public:
  expression_generator(std::uint64_t seed, std::int64_t* coverage,
                       symbol_fault fault = symbol_fault::none)
      : expression_writer(seed, coverage, fault) {
    for (std::int64_t& n : extents_) n = r_.between(2, 4);
  }

  expression make() {
    for (int leaves = r_.between(1, 3); leaves > 0; --leaves) leaf();
    for (int steps = r_.between(4, 14); steps > 0; --steps) step();
    const int roots = r_.between(1, 3);
    for (int i = 0; i < roots; ++i) e_.roots.push_back(i == 0 ? values_.back() : any());
    return std::move(e_);
  }

 private:
  twin any() {
    const int count = static_cast<int>(values_.size());
    return values_[static_cast<std::size_t>(
        r_.between(r_.chance(0.6) ? std::max(0, count - 5) : 0, count - 1))];
  }

  void leaf() { random_input(r_.pick(all_dtypes), r_.below(5)); }
  /// first: the extent of position 0, or -1.
  twin random_input(dtype type, int rank, std::int64_t first = -1, std::int64_t below = 0) {
    shape_of shape;
    unsigned ones = 0;
    for (int p = 0; p < rank; ++p) {
      std::int64_t n = r_.chance(0.04) ? 1 : r_.chance(0.01) ? 0 : r_.pick(extents_);
      if (p == 0 && first >= 0) n = first;
      if (elements_of(shape) * n > most_elements) n = 1;
      const bool full = e_.axes.axes() + p >= graph::max_axes && r_.chance(0.97);
      if ((full || r_.chance(0.12)) && (p > 0 || first < 0)) {
        ones |= 1u << p;
        n = 1;
      }
      shape.push_back(n);
    }
    return input(type, shape, ones, below);
  }
  twin number(bool integral) {
    const twin t =
        integral ? literal(std::int64_t{r_.between(0, 5)}) : literal(grid_value(r_, false));
    return r_.chance(0.5) ? argument(t) : t;
  }

  /// Whether values broadcast together, and no two axes of any value become one by it.
  bool fits(const std::vector<const twin*>& operands) {
    std::vector<const plain_array*> arrays;
    for (const twin* t : operands) arrays.push_back(&t->a);
    shape_of shape;
    if (!broadcast_shapes(arrays, shape) || elements_of(shape) > most_elements) return false;
    axis_model axes = e_.axes;
    twin result;
    axes.broadcast(operands, result);
    if (!axes.agrees()) return false;  // an axis that keepdim left behind, and one of other extent
    bool aligned = axes.aligns(result.label);
    for (const twin& t : values_) aligned = aligned || axes.aligns(t.label);
    return !aligned || r_.chance(0.005);
  }
  /// A value that broadcasts with those given; often a number.
  twin partner(const std::vector<const twin*>& with, bool integral) {
    for (int i = 0; i < 6 && !r_.chance(0.1); ++i) {
      const twin t = any();
      std::vector<const twin*> all = with;
      all.push_back(&t);
      if (fits(all)) return t;
    }
    return number(integral);
  }
  twin limited(const twin& x, double most) {
    constexpr op squashing[] = {op::tanh, op::sigmoid, op::erf};
    return x.bound <= most ? x : unary(r_.pick(squashing), x, 1);
  }
  twin positive(const twin& x, double least) {
    return binary(op::add, unary(op::abs, limited(x, 9), 9), literal(least), 9 + least);
  }

  void step() {
    const int kind = r_.below(100);
    if (kind < 6) {
      leaf();
    } else if (kind < 26) {
      unary_step();
    } else if (kind < 50) {
      binary_step();
    } else if (kind < 72) {
      reduction_step();
    } else if (kind < 84) {
      shape_step();
    } else if (kind < 88) {
      place_step();
    } else if (kind < 92) {
      cast_step();
    } else if (kind < 96) {
      const twin condition = any();
      const twin x = partner({&condition}, r_.chance(0.4));
      const twin y = partner({&condition, &x}, r_.chance(0.4));
      chosen(condition, x, y);
    } else {
      take_step();
    }
  }

  /// Records what has to be refused; false if nothing has to be.
  template <class Record>
  bool refused(bool expected, Record record) {
    if (!expected) return false;
    try {
      record();
      e_.wrong = "arithmetic that bools do not have was accepted";
    } catch (const char*) {
      ++e_.rejected;
    }
    return true;
  }

  void unary_step() {
    const public_unary& f = public_unaries[r_.below(static_cast<int>(std::size(public_unaries)))];
    twin x = any();
    const bool truth = x.a.type == dtype::boolean;
    if (refused(truth && f.code == op::neg, [&] { (void)f.function(x.s); })) return;
    double bound = x.bound;
    if (f.code == op::exp || f.code == op::expm1) {
      x = limited(x, 6);
      bound = std::exp(x.bound);
    } else if (f.code == op::square || f.code == heddle::cube) {
      x = limited(x, 9);
      bound = 729;
    } else if (f.code == op::sin || f.code == op::cos) {
      x = limited(x, 300);
    }
    const bool halved =
        f.code == op::log || f.code == op::log1p || f.code == op::sqrt || f.code == op::rsqrt;
    if (halved && r_.chance(0.95)) x = positive(x, 0.25);
    unary(f.code, x, bound);
  }

  void binary_step() {
    const public_binary& f =
        public_binaries[r_.below(static_cast<int>(std::size(public_binaries)))];
    const bool power = f.code == op::pow;
    twin x = any();
    if (f.code == op::mul || power) x = limited(x, 100);
    if (power && r_.chance(0.95)) x = positive(x, 0.25);
    twin y = partner({&x}, r_.chance(0.4) || is_logical(f.code));
    if (!y.is_number() && power) y = limited(y, 3);
    if (!y.is_number() && f.code == op::mul) y = limited(y, 100);
    if (!y.is_number() && f.code == op::div && r_.chance(0.95)) y = positive(y, 0.5);
    const bool in_order = !y.is_number() || power || f.code == op::div || r_.chance(0.5);
    const twin& a = in_order ? x : y;
    const twin& b = in_order ? y : x;
    const bool truths = operand_type(f.code, {&x.a, &y.a}) == dtype::boolean;
    if (refused(truths && f.code == op::sub, [&] { (void)f.function(a.s, b.s); })) return;
    binary(f.code, a, b, f.code == op::mul || power ? 1e4 : 2 * (x.bound + y.bound));
  }

  void reduction_step() {
    constexpr op codes[] = {op::sum, op::sum, op::amax, op::amin, op::count};
    twin x = any();
    if (x.a.rank() == 0) x = any();
    const bool mean = r_.chance(0.2);
    const op code = mean ? op::sum : r_.pick(codes);
    const bool keepdim = r_.chance(0.5);
    const auto mask = static_cast<unsigned>(r_.below(1 << x.a.rank()));
    const twin total = reduced_twin(code, x, mask, keepdim);
    if (mean) {
      binary(op::div, total, reduced_twin(op::count, x, mask, false), x.bound);
    } else if (keepdim && code != op::count && r_.chance(0.6)) {
      // what keepdim is for; a tensor that is named again is an operand of its own
      constexpr op combining[] = {op::sub, op::div, op::less, op::equal, op::mul};
      const bool again = r_.chance(0.5) && e_.axes.axes() + x.a.rank() < graph::max_axes;
      const twin named = again ? input(x.a.type, x.a.shape, 0) : x;
      if (x.a.type == dtype::boolean || !fits({&named, &total})) return;
      binary(r_.pick(combining), named, total, 1e6);
    }
  }

  void shape_step() {
    const twin t = any();
    const int kind = r_.below(3);
    if (kind == 0 && t.a.rank() < 4) {
      unsqueezed(t, r_.below(t.a.rank() + 1));
    } else if (kind == 1) {
      for (int at = t.a.rank(); at-- > 0;) {
        if (t.label[static_cast<std::size_t>(at)] >= 0) continue;
        squeezed(t, at);
        return;
      }
    } else {
      const public_order& f = public_orders[r_.below(static_cast<int>(std::size(public_orders)))];
      if (f.order.size() == t.a.shape.size()) reordered(t, f);
    }
  }

  /// Coordinates and random numbers: of a value's places, not of its elements.
  void place_step() {
    const twin x = any();
    if (r_.chance(0.5) && x.a.rank() > 0) {
      coordinates_of(x, r_.below(x.a.rank()));
    } else {
      const twin seed = literal(static_cast<std::int64_t>(r_.word() >> 2));
      random_like(x, r_.chance(0.5), r_.chance(0.5) ? argument(seed) : seed, number(true));
    }
  }

  void cast_step() {
    twin x = any();
    const dtype type = r_.pick(all_dtypes);
    if (floating(x.a.type) && heddle::is_integral(type)) {
      x = limited(x, 100);
      if (type == dtype::u8) x = unary(op::abs, x, x.bound);
    }
    cast_twin(x, type);
  }

  void take_step() {
    const std::int64_t rows = r_.between(1, 4);
    constexpr dtype integers[] = {dtype::i64, dtype::i32, dtype::u8};
    const twin index = random_input(r_.pick(integers), r_.below(3), -1, rows);
    const twin table = random_input(r_.pick(all_dtypes), r_.between(1, 3), rows);
    const std::int64_t row = elements_of(table.a.shape) / rows;
    if (elements_of(index.a.shape) * row <= most_elements) rows_of(table, index);
  }

  std::int64_t extents_[2] = {};
};

}  // namespace support
