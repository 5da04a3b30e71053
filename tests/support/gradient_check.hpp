// SPDX-License-Identifier: BSD-3-Clause
// The derivative of an f64 graph against central differences, both interpreted.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "random_source.hpp"

#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/graph/passes/differentiate.hpp>

namespace support {

namespace exec = heddle::exec;

/// A directional derivative, both ways.
struct gradient_comparison {
  double derived = 0;      ///< gradient · direction
  double difference = 0;   ///< by central differences, extrapolated
  double uncertainty = 0;  ///< of the difference: how far two step widths disagree
  double kink = 0;         ///< the jump of the slope within the differences' reach; 0 where smooth
  double scale = 0;        ///< sum of |gradient| |direction|, and of the outputs' sizes times 1e-9
};

/// A graph of f64 operands (others are held fixed) with memory of its own, row-major, for
/// gradients.
class gradient_check {
 public:
  /// inputs: one per operand slot, with enough memory behind each; lengths in elements.
  gradient_check(const heddle::graph::graph& forward, const std::int64_t* extents,
                 std::vector<exec::operand> inputs, std::vector<std::vector<double>*> values,
                 const exec::scalar_bits* scalars)
      : forward_(forward), inputs_(std::move(inputs)), values_(std::move(values)) {
    for (int i = 0; i < 8; ++i) launch_.extents[i] = extents[i];
    launch_.scalars = scalars;
    for (const heddle::graph::node& n : forward.nodes) {
      if (n.code == heddle::op::store) make_output(n);
    }
  }

  /// backward: the derivative of forward for slots whose `values` are not null; seeds follow the
  /// operands, saved outputs the seeds.
  gradient_comparison compare(const heddle::graph::graph& backward, std::uint64_t seed) {
    random_source r(seed);
    for (array& a : outputs_) {
      for (double& x : a.seed) x = 2 * r.unit() - 1;
    }
    std::vector<std::vector<double>> direction(values_.size());
    std::vector<std::vector<double>> start(values_.size());
    for (std::size_t s = 0; s < values_.size(); ++s) {
      if (values_[s] == nullptr) continue;
      start[s] = *values_[s];
      direction[s].resize(start[s].size());
      for (double& d : direction[s]) d = 2 * r.unit() - 1;
    }
    const auto along = [&](double h) {
      for (std::size_t s = 0; s < values_.size(); ++s) {
        for (std::size_t i = 0; i < direction[s].size(); ++i) {
          (*values_[s])[i] = start[s][i] + h * direction[s][i];
        }
      }
      return value();
    };
    gradient_comparison c;
    const double h = 1e-4;
    const double at = along(0);
    const double near_up = along(h);
    const double near_down = along(-h);
    const double far_up = along(2 * h);
    const double far_down = along(-2 * h);
    const double narrow = (near_up - near_down) / (2 * h);
    const double wide = (far_up - far_down) / (4 * h);
    // second differences double with the step where the function is smooth, and stay at a kink
    c.kink =
        std::fabs(2 * (near_up - 2 * at + near_down) / h - (far_up - 2 * at + far_down) / (2 * h));
    c.difference = narrow + (narrow - wide) / 3;
    c.scale = std::fabs(along(0)) * 1e-9;  // leaves the values as they were
    for (const array& a : outputs_) {
      for (std::size_t i = 0; i < a.value.size(); ++i) {
        c.scale += std::fabs(a.value[i] * a.seed[i]) * 1e-9;
      }
    }
    c.uncertainty = std::fabs(narrow - wide);
    run_backward(backward);
    std::size_t output = 0;
    for (std::size_t s = 0; s < values_.size(); ++s) {
      if (values_[s] == nullptr) continue;
      const std::vector<double>& g = gradients_[output++];
      // the gradient is row-major over the operand's own shape; so must the operand be
      for (std::size_t i = 0; i < g.size() && i < direction[s].size(); ++i) {
        c.derived += g[i] * direction[s][i];
        c.scale += std::fabs(g[i] * direction[s][i]);
      }
    }
    return c;
  }

  const std::vector<std::vector<double>>& gradients() const { return gradients_; }

 private:
  struct array {
    std::size_t slot = 0;
    std::vector<double> value;
    std::vector<double> seed;
    exec::operand where;
  };

  void make_output(const heddle::graph::node& n) {
    array a;
    a.slot = n.b;
    std::int64_t count = 1;
    for (int p = 7; p >= 0; --p) {
      const unsigned axis =
          heddle::graph::map_axis(static_cast<heddle::graph::axis_map>(n.extra), p);
      if (axis > 7) continue;
      a.where.strides[p] = count;
      count *= launch_.extents[axis];
    }
    a.value.resize(static_cast<std::size_t>(count));
    a.seed.resize(static_cast<std::size_t>(count));
    if (outputs_.size() <= n.b) outputs_.resize(std::size_t{n.b} + 1);
    outputs_[n.b] = std::move(a);
  }

  static std::byte* bytes(std::vector<double>& v) { return reinterpret_cast<std::byte*>(v.data()); }

  double value() {
    std::vector<exec::operand> out;
    for (array& a : outputs_) {
      out.push_back(a.where);
      out.back().data = bytes(a.value);
    }
    launch_.inputs = inputs_.data();
    launch_.outputs = out.data();
    exec::interpret(forward_, launch_);
    double total = 0;
    for (const array& a : outputs_) {
      for (std::size_t i = 0; i < a.value.size(); ++i) total += a.value[i] * a.seed[i];
    }
    return total;
  }

  void run_backward(const heddle::graph::graph& backward) {
    std::vector<exec::operand> in = inputs_;
    for (array& a : outputs_) {
      in.push_back(a.where);
      in.back().data = bytes(a.seed);
    }
    for (array& a : outputs_) {
      in.push_back(a.where);
      in.back().data = bytes(a.value);
    }
    gradients_.clear();
    std::vector<exec::operand> out;
    for (std::size_t s = 0; s < values_.size(); ++s) {
      if (values_[s] == nullptr) continue;
      gradients_.emplace_back(values_[s]->size(), 0.0);
      out.push_back(inputs_[s]);
    }
    for (std::size_t i = 0; i < out.size(); ++i) out[i].data = bytes(gradients_[i]);
    launch_.inputs = in.data();
    launch_.outputs = out.data();
    exec::interpret(backward, launch_);
  }

  const heddle::graph::graph& forward_;
  exec::launch launch_;
  std::vector<exec::operand> inputs_;
  std::vector<std::vector<double>*> values_;
  std::vector<array> outputs_;
  std::vector<std::vector<double>> gradients_;
};

}  // namespace support
