// SPDX-License-Identifier: BSD-3-Clause
// The gradients of parameters as lists of one dtype and device, each changed by one launch.
#pragma once

#include <heddle/exec/multi.hpp>
#include <heddle/nn/state.hpp>
#include <heddle/optim/optimizer.hpp>

namespace heddle::inline v0::optim::detail {

/// Gradients of one dtype on one device.
struct gradient_list {
  dtype type;
  device where;
  std::vector<exec::multi_group<1>> groups;
};

/// The gradients that are there, of parameters of T…, to be changed in place.
template <class... T>
class gradient_lists {
 public:
  /// `function` is named where a parameter has another dtype: a type_error.
  gradient_lists(const char* function, const parameter_list& parameters) {
    for (const any_parameter& p : parameters) {
      const any_tensor gradient = p.grad();
      if (!gradient.defined()) continue;
      if (!holds_dtype<T...>(gradient.dtype())) raise_dtype(function, p);
      if (!is_listed(gradient)) alive_.push_back(gradient);
    }
    for (const any_tensor& gradient : alive_) {  // all of them lie contiguous
      exec::multi_group<1>& group =
          list_of(gradient.dtype(), gradient.device()).groups.emplace_back();
      group.set(0, gradient);
      group.count = gradient.size();
    }
  }
  gradient_lists(const gradient_lists&) = delete;
  gradient_lists& operator=(const gradient_lists&) = delete;

  [[nodiscard]] const std::vector<gradient_list>& all() const { return lists_; }
  /// f(type_identity<T>, list) for each list.
  template <class F>
  void for_each(F f) const {
    for (const gradient_list& list : lists_) {
      (visit<T>(list, f), ...);
    }
  }

 private:
  template <class V, class F>
  static void visit(const gradient_list& list, F& f) {
    if (list.type == dtype_of<V>) f(std::type_identity<V>{}, list);
  }
  /// Whether its memory is a gradient's before, as of a parameter that comes twice.
  [[nodiscard]] bool is_listed(const any_tensor& gradient) const {
    for (const any_tensor& known : alive_) {
      if (gradient.size() > 0 && known.data() == gradient.data()) return true;
    }
    return false;
  }
  gradient_list& list_of(dtype type, device where) {
    for (gradient_list& known : lists_) {
      if (known.type == type && known.where == where) return known;
    }
    return lists_.emplace_back(gradient_list{type, where, {}});
  }

  std::vector<any_tensor> alive_;
  std::vector<gradient_list> lists_;
};

}  // namespace heddle::inline v0::optim::detail
