// SPDX-License-Identifier: BSD-3-Clause
// Nodes of the tape: what one statement or library call leaves behind so that gradients can pass
// through it.
#pragma once

#include <heddle/core/allocator.hpp>
#include <heddle/core/memory.hpp>
#include <heddle/tensor/any_tensor.hpp>

namespace heddle::inline v0 {

namespace detail {

class backward_pass_state;
class tape_node;

/// One output of a node.
struct edge {
  handle<tape_node> node;
  std::uint16_t output = 0;
  std::uint8_t repeats = 0;  ///< of a node's input: axes along which its extent happened to be 1
};

/// The gradient of one output while a backward pass runs: contiguous elements of the output's
/// extents. `source` is set where gradients are themselves recorded.
struct gradient {
  handle<storage> memory;
  std::byte* data = nullptr;
  [[no_unique_address]] edge source;
  /// The library call that made it has done a part of what its node has to do: see epilogue.hpp.
  bool applied = false;

  explicit operator bool() const noexcept { return static_cast<bool>(memory); }
};

/// What a node asks of the product whose result is the whole gradient of its output.
struct epilogue_offer;

/// A node: counted, pooled, intrusive. `order` is 1 + the largest order of its inputs.
class tape_node : public counted, public pooled {
 public:
  // The smallest last: derived nodes go on in the same eight bytes.
  edge* inputs = nullptr;  ///< in the derived object
  union {
    gradient* incoming = nullptr;  ///< likewise, one per output
    tape_node* waiting;            ///< of a node that is being disposed of: the next one
  };
  std::uint32_t order = 0;
  std::uint32_t pending = 0;  ///< uses of its outputs that a backward pass still waits for
  std::uint16_t input_count = 0;
  std::uint16_t output_count = 0;

  /// Sends the gradients of the inputs on, from the incoming ones.
  virtual void run(backward_pass_state& pass) = 0;
  /// As run, but by recorded statements, so that the gradients can be differentiated.
  virtual void run_recorded(backward_pass_state& pass) = 0;
  /// Drops what was saved for run.
  virtual void free_saved() noexcept = 0;
  /// What the product that makes this node's incoming gradient could compute for it; null: nothing.
  virtual epilogue_offer* offer(backward_pass_state&) { return nullptr; }
  /// Leaves of the tape (parameters) collect gradients and have no inputs.
  virtual bool is_leaf() const noexcept { return false; }

  /// Whether passes keep what they know of this node themselves: leaves, which have order 0.
  bool is_visited_by_pass() const noexcept { return order == 0; }

  void find_order() noexcept {
    order = 0;
    for (int i = 0; i < input_count; ++i) {
      if (inputs[i].node && inputs[i].node->order >= order) order = inputs[i].node->order + 1;
    }
  }
  void drop_incoming() noexcept {
    for (int i = 0; i < output_count; ++i) incoming[i] = gradient{};
  }

 protected:
  /// Long chains are destroyed in a loop: destroying a node drops handles to its inputs, whose own
  /// disposal is put off until this one has returned.
  void dispose() noexcept override {
    static constinit thread_local tape_node* first = nullptr;
    static constinit thread_local bool draining = false;
    if (draining) {
      waiting = first;
      first = this;
      return;
    }
    draining = true;
    counted::dispose();
    while (first != nullptr) {
      tape_node* node = first;
      first = node->waiting;
      node->counted::dispose();
    }
    draining = false;
  }
};

/// Whether this thread records.
inline constinit thread_local bool recording = true;

}  // namespace detail

/// While one lives, statements of this thread are not recorded: results are variables that require
/// no gradient.
class [[nodiscard]] no_grad {
 public:
  no_grad() noexcept : previous_(detail::recording) { detail::recording = false; }
  no_grad(const no_grad&) = delete;
  no_grad& operator=(const no_grad&) = delete;
  ~no_grad() { detail::recording = previous_; }

 private:
  bool previous_;
};

/// While one lives, statements of this thread are recorded again, within a no_grad scope.
class [[nodiscard]] enable_grad {
 public:
  enable_grad() noexcept : previous_(detail::recording) { detail::recording = true; }
  enable_grad(const enable_grad&) = delete;
  enable_grad& operator=(const enable_grad&) = delete;
  ~enable_grad() { detail::recording = previous_; }

 private:
  bool previous_;
};

/// Whether statements of this thread are recorded.
inline bool is_grad_enabled() noexcept { return detail::recording; }

}  // namespace heddle::inline v0
