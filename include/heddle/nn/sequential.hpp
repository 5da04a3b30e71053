// SPDX-License-Identifier: BSD-3-Clause
// Modules in a row: sequential, of any types, and module_list, of one.
#pragma once

#include <utility>

#include <heddle/nn/any_module.hpp>

namespace heddle::inline v0::nn {

/// Modules of any types, each called with what the one before returned; named "0", "1", … Each is
/// one virtual call, and one instantiation however often its type occurs.
template <class In = variable<float, 2>>
class basic_sequential {
 public:
  basic_sequential() = default;
  template <class... M>
  requires(sizeof...(M) > 0 && (module<M> && ...)) explicit basic_sequential(M... modules) {
    modules_.reserve(sizeof...(M));
    (modules_.push_back(any_module<In>(static_cast<M&&>(modules))), ...);
  }

  /// Adds a module, of any type, at the end; its name is its number.
  void push_back(any_module<In> m) { modules_.push_back(static_cast<any_module<In>&&>(m)); }
  /// The number of modules.
  [[nodiscard]] std::size_t size() const noexcept { return modules_.size(); }
  any_module<In>& operator[](std::size_t i) { return modules_[i]; }

  /// The modules, named by their number.
  void visit_members(member_visitor& visitor) {
    for (std::size_t i = 0; i < modules_.size(); ++i) visitor(std::to_string(i), modules_[i]);
  }
  /// Null: the modules in it move their inputs themselves.
  const heddle::detail::parameter_state* first_parameter() const { return nullptr; }

  /// x through all modules in turn; x itself if there is none.
  In forward(const In& x) const {
    In result = x;
    for (const any_module<In>& m : modules_) result = m(result);
    return result;
  }
  template <class X>
  auto operator()(const X& x) const {
    if constexpr (heddle::detail::holds_inference<X>) {
      return heddle::detail::as_inference(
          heddle::call(*this, In(heddle::detail::evaluated_input(x), false)));
    } else if constexpr (heddle::detail::holds_variable<X>) {
      return heddle::call(*this, x);
    } else {
      return heddle::call(*this, In(evaluate(x), false));
    }
  }

 private:
  std::vector<any_module<In>> modules_;
};
/// Of matrices of floats, (N, features).
using sequential = basic_sequential<>;

/// Modules of one type, named "0", "1", …: for stacks of equal blocks. It is no function: its owner
/// calls them, `for (auto& block : layers) x = block(x);`.
template <class Block>
class module_list {
 public:
  module_list() = default;
  /// `count` blocks, each made from the same arguments.
  template <class... Arguments>
  explicit module_list(std::size_t count, const Arguments&... arguments) {
    blocks_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) blocks_.emplace_back(arguments...);
  }

  /// Makes a block at the end, and returns it. References to other blocks end.
  template <class... Arguments>
  Block& emplace_back(Arguments&&... arguments) {
    return blocks_.emplace_back(std::forward<Arguments>(arguments)...);
  }
  /// Adds a block at the end; its parameters are shared with the one given.
  void push_back(Block block) { blocks_.push_back(static_cast<Block&&>(block)); }
  /// The number of blocks.
  [[nodiscard]] std::size_t size() const noexcept { return blocks_.size(); }
  Block& operator[](std::size_t i) { return blocks_[i]; }
  const Block& operator[](std::size_t i) const { return blocks_[i]; }
  auto begin() { return blocks_.begin(); }
  auto end() { return blocks_.end(); }
  auto begin() const { return blocks_.begin(); }
  auto end() const { return blocks_.end(); }

  /// The modules, named by their number.
  void visit_members(member_visitor& visitor) {
    for (std::size_t i = 0; i < blocks_.size(); ++i) visitor(std::to_string(i), blocks_[i]);
  }
  /// Null: the modules in it move their inputs themselves.
  const heddle::detail::parameter_state* first_parameter() const { return nullptr; }

 private:
  std::vector<Block> blocks_;
};

}  // namespace heddle::inline v0::nn
