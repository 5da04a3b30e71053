// SPDX-License-Identifier: BSD-3-Clause
// backward_pass: a backward pass that stops where it is told to and goes on later.
#pragma once

#include <heddle/autograd/record.hpp>

namespace heddle::inline v0 {

/// A backward pass in steps: `run_until(h)` gives the gradient of h as soon as it is final, before
/// anything behind h is computed; `run()` does the rest. What has not run when it is destroyed does
/// not run: gradients of variables that were not reached stay as they were, and the part of the
/// graph that was not visited can be differentiated by another pass.
///
/// While one lives, no other pass may visit statements that it has yet to run. Passes of several
/// threads may end in the same leaves.
class backward_pass {
 public:
  /// From a variable of rank 0, a loss. Throws state_error for one that requires no gradient.
  template <class T>
  explicit backward_pass(const variable<T, 0>& loss, backward_options options = {})
      : backward_pass(loss, full<T, 0>({}, 1, loss.device()), options) {}

  /// With the gradient of something computed from `output`. Throws shape_error where its extents
  /// are not the variable's.
  template <class T, int Rank>
  backward_pass(const variable<T, Rank>& output, const tensor<T, Rank>& seed,
                backward_options options = {})
      : state_(options) {
    static_cast<void>(output.device());
    if (!output.place().node) detail::raise_not_recorded();
    if (seed.extents() != output.extents()) {
      raise<shape_error>("heddle::backward_pass: the gradient's extents are not the variable's: ",
                         seed.extents(), "; ", output.extents(), " are expected");
    }
    if (seed.device() != output.device()) {
      detail::raise_gradient_device("backward_pass", seed.device(), output.device());
    }
    if (options.create_graph) {
      raise<state_error>(
          "heddle::backward_pass: create_graph is for grad(output, inputs), which returns the "
          "recorded gradients");
    }
    state_.keep_gradients();
    state_.add_root(output.place(), detail::gradient_of(seed));
    state_.start();
  }

  /// Runs until the gradient of v is final, and returns it; what computed v has not run then.
  /// Throws state_error where v's gradient is not ahead: v is not below the root, or has already
  /// run.
  template <class T, int Rank>
  tensor<T, Rank> run_until(const variable<T, Rank>& v) {
    detail::tape_node* const node = v.place().node.get();
    if (node == nullptr || (state_.waits_for(node) == 0 && !state_.is_ready(node))) raise_behind();
    while (state_.waits_for(node) != 0 && !state_.done()) state_.step();
    if (state_.waits_for(node) != 0) raise_behind();  // another pass waits for it
    const detail::gradient& g = state_.incoming_at(v.place());
    if (!g) return zeros<T, Rank>(v.extents(), v.device());
    return detail::tensor_of<T, Rank>(g, v.extents());
  }

  /// Runs what is left.
  void run() { state_.run(); }
  /// Whether nothing is left.
  [[nodiscard]] bool done() const { return state_.done(); }

 private:
  [[noreturn]] HEDDLE_COLD static void raise_behind() {
    raise<state_error>(
        "heddle::backward_pass: the variable is not ahead of this pass: it is not below the root, "
        "requires no gradient, or was passed already; ask for one that is");
  }

  detail::backward_pass_state state_;
};

}  // namespace heddle::inline v0
