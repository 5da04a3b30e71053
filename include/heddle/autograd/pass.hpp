// SPDX-License-Identifier: BSD-3-Clause
// The backward pass: a resumable cursor over the nodes that a root reaches. One linear sweep counts
// the uses each node waits for; a node runs when its count is zero, the latest order first. Nothing
// recurses.
#pragma once

#include <algorithm>
#include <vector>

#include <heddle/autograd/node.hpp>

namespace heddle::inline v0 {

/// What a backward pass keeps.
struct backward_options {
  bool retain_graph = false;  ///< keep saved values: the same graph can be differentiated again
  bool create_graph = false;  ///< record the gradients' own computation (implies retain_graph)
};

namespace detail {

/// A gradient caught on its way into a node, for `grad`.
struct capture {
  tape_node* node = nullptr;
  std::uint16_t output = 0;
  gradient caught;
};

/// A derivative to run and to record: what higher orders need of a node.
struct derivative_request;

class backward_pass_state;

/// How gradients are computed where their own computation is recorded.
struct gradient_recorder {
  /// Runs a derivative and delivers its gradients.
  void (*derivative)(backward_pass_state&, derivative_request&&);
  /// Adds `more` to `place`; both have `count` elements of one floating dtype.
  void (*sum)(gradient& place, gradient&& more, dtype type, std::int64_t count, device where);
};

/// Gives a pass's lists blocks that wait for the next pass.
template <class T>
struct block_allocator {
  using value_type = T;
  block_allocator() = default;
  template <class U>
  block_allocator(const block_allocator<U>&) noexcept {}
  T* allocate(std::size_t count) { return static_cast<T*>(allocate_block(count * sizeof(T), -1)); }
  void deallocate(T* block, std::size_t count) noexcept {
    release_block(block, count * sizeof(T), -1);
  }
  friend bool operator==(block_allocator, block_allocator) noexcept { return true; }
};
template <class T>
using pass_list = std::vector<T, block_allocator<T>>;

/// What a pass knows of the leaves it reaches. It lies in the pass, not in the leaf: passes of
/// several threads may reach the same parameters at once.
class leaf_visits {
 public:
  struct visit {
    tape_node* leaf = nullptr;
    std::uint32_t pending = 0;
    gradient incoming;
  };

  /// The entry of a leaf, made if there is none. Valid until the next one is made; to look up one
  /// that is there allocates nothing.
  visit& operator[](tape_node* leaf) {
    if (!table_.empty()) {
      if (table_[last_].leaf == leaf) return table_[last_];
      last_ = place_of(leaf);
      if (table_[last_].leaf == leaf) return table_[last_];
    }
    return add(leaf);
  }
  const visit* find(tape_node* leaf) const {
    if (table_.empty()) return nullptr;
    const visit& found = table_[place_of(leaf)];
    return found.leaf == leaf ? &found : nullptr;
  }

 private:
  HEDDLE_NOINLINE visit& add(tape_node* leaf) {
    if (2 * (count_ + 1) > table_.size()) grow();
    last_ = place_of(leaf);
    visit& made = table_[last_];
    made.leaf = leaf;
    ++count_;
    return made;
  }
  std::size_t place_of(const tape_node* leaf) const {
    const std::size_t mask = table_.size() - 1;
    std::size_t at = (reinterpret_cast<std::uintptr_t>(leaf) >> 6) * 0x9E3779B97F4A7C15u >> 32;
    for (at &= mask; table_[at].leaf != nullptr && table_[at].leaf != leaf;) at = (at + 1) & mask;
    return at;
  }
  void grow() {
    pass_list<visit> before(table_.empty() ? 16 : 2 * table_.size());
    before.swap(table_);
    for (visit& each : before) {
      if (each.leaf != nullptr) table_[place_of(each.leaf)] = static_cast<visit&&>(each);
    }
  }

  pass_list<visit> table_;
  std::size_t count_ = 0;
  std::size_t last_ = 0;  ///< where the last one lies: asked for several times in a row
};

class backward_pass_state {
 public:
  explicit backward_pass_state(backward_options options) : options_(options) {}
  /// Of a pass that creates a graph: autograd/grad.hpp makes those. A pointer, so that programs
  /// without higher orders hold no interpreter.
  const gradient_recorder* recorder = nullptr;
  backward_pass_state(const backward_pass_state&) = delete;
  backward_pass_state& operator=(const backward_pass_state&) = delete;
  ~backward_pass_state() { abandon(); }

  const backward_options& options() const { return options_; }

  /// Adds a root with the gradient of one of its outputs. All roots are added before the first
  /// step.
  void add_root(const edge& root, gradient seed) {
    seeds_.push_back({root, static_cast<gradient&&>(seed)});
  }
  /// Gradients of these outputs are kept, and leaves collect none.
  void capture_at(tape_node* node, std::uint16_t output) {
    captures_.push_back({node, output, {}});
    keep_gradients();
  }
  /// Gradients of any output may be looked at while the pass runs: each is made as it is defined.
  void keep_gradients() noexcept { merges_ = false; }
  /// Whether one gradient is all that this output will get, and nobody looks at it: then the call
  /// that makes it may do work of the output's node, too.
  bool may_merge(const edge& to) {
    return merges_ && !options_.create_graph && to.node && !to.node->is_leaf() &&
           to.node->output_count == 1 && waits_for(to.node.get()) == 1 && !incoming_at(to);
  }
  std::vector<capture>& captures() { return captures_; }

  /// Counts uses: linear in the nodes reached.
  void start() {
    pass_list<tape_node*> stack;
    stack.reserve(64);
    ready_.reserve(32);
    started_ = true;
    for (auto& [root, seed] : seeds_) {
      if (pending_of(*root.node)++ == 0) stack.push_back(root.node.get());
    }
    while (!stack.empty()) {
      tape_node* node = stack.back();
      stack.pop_back();
      for (int i = 0; i < node->input_count; ++i) {
        tape_node* input = node->inputs[i].node.get();
        if (input != nullptr && pending_of(*input)++ == 0) stack.push_back(input);
      }
    }
    for (auto& [root, seed] : seeds_) {
      incoming_at(root) = static_cast<gradient&&>(seed);
      finish_use(root.node);
    }
  }

  bool done() const { return ready_.empty(); }
  /// Whether all gradients of this node have come and it has yet to run.
  bool is_ready(const tape_node* node) const {
    for (const handle<tape_node>& waiting : ready_) {
      if (waiting.get() == node) return true;
    }
    return false;
  }

  /// The node that runs next.
  tape_node* next() const { return ready_.empty() ? nullptr : ready_.front().get(); }

  /// Runs one node. Its saved values are freed unless the graph is retained.
  void step() {
    std::pop_heap(ready_.begin(), ready_.end(), later);
    const handle<tape_node> node = static_cast<handle<tape_node>&&>(ready_.back());
    ready_.pop_back();
    for (capture& c : captures_) {
      if (c.node == node.get()) c.caught = incoming_at({node, c.output});
    }
    try {
      if (!captures_.empty() && node->is_leaf()) {
        // grad() leaves parameters alone
      } else if (options_.create_graph) {
        node->run_recorded(*this);
      } else {
        node->run(*this);
      }
    } catch (...) {
      // what is behind would be computed from gradients that never came
      finish_node(*node);
      abandon();
      throw;
    }
    finish_node(*node);
  }

  void run() {
    while (!done()) step();
  }

  /// The gradient that has come for an output so far.
  gradient& incoming_at(const edge& to) {
    return to.node->is_visited_by_pass() ? leaves_[to.node.get()].incoming
                                         : to.node->incoming[to.output];
  }
  /// How many uses of a node's outputs the pass still waits for.
  std::uint32_t waits_for(const tape_node* node) const {
    if (!node->is_visited_by_pass()) return node->pending;
    const leaf_visits::visit* const found = leaves_.find(const_cast<tape_node*>(node));
    return found == nullptr ? 0 : found->pending;
  }

  /// What has come for an output, where a launch on the device `where` may add to it in place:
  /// nobody else has the memory. On queued host devices launches that have yet to run hold it, too,
  /// and how many did would be a matter of chance.
  const gradient* addable(const edge& to, device where) {
    if (!to.node || (where.is_host() && !where.is_inline())) return nullptr;
    const gradient& come = incoming_at(to);
    if (!come || come.data != come.memory->data() || !come.memory->is_unique()) return nullptr;
    return &come;
  }

  /// Adds a gradient to what has come for an output. `count` elements of type T.
  template <class T, class Configuration = configuration>
  void deliver(const edge& to, gradient&& g, std::int64_t count, device where);

 private:
  // Leaves (order 0) run first: a parameter's hooks are called the moment its gradient is final.
  static bool later(const handle<tape_node>& a, const handle<tape_node>& b) {
    return a->order - 1u < b->order - 1u;
  }

  std::uint32_t& pending_of(tape_node& node) {
    return node.is_visited_by_pass() ? leaves_[&node].pending : node.pending;
  }
  void drop_incoming(tape_node& node) noexcept {
    if (node.is_visited_by_pass()) {
      leaves_[&node].incoming = gradient{};  // there already: nothing is allocated
    } else {
      node.drop_incoming();
    }
  }

  void finish_use(const handle<tape_node>& node) {
    if (--pending_of(*node) == 0) {
      ready_.push_back(node);
      std::push_heap(ready_.begin(), ready_.end(), later);
    }
  }

  void finish_node(tape_node& node) {
    drop_incoming(node);
    // the inputs' handles leave with free_saved, so take them first
    for (int i = 0; i < node.input_count; ++i) {
      if (node.inputs[i].node) finish_use(node.inputs[i].node);
    }
    if (!options_.retain_graph && !options_.create_graph) node.free_saved();
  }

  /// Visits what is left without computing, so that no count stays behind.
  void abandon() noexcept {
    if (!started_) return;
    while (!ready_.empty()) {
      std::pop_heap(ready_.begin(), ready_.end(), later);
      const handle<tape_node> node = static_cast<handle<tape_node>&&>(ready_.back());
      ready_.pop_back();
      drop_incoming(*node);
      for (int i = 0; i < node->input_count; ++i) {
        if (node->inputs[i].node) finish_use(node->inputs[i].node);
      }
    }
  }

  backward_options options_;
  bool started_ = false;
  bool merges_ = true;
  pass_list<std::pair<edge, gradient>> seeds_;
  pass_list<handle<tape_node>> ready_;
  leaf_visits leaves_;
  std::vector<capture> captures_;
};

}  // namespace detail
}  // namespace heddle::inline v0
