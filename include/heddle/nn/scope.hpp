// SPDX-License-Identifier: BSD-3-Clause
// The scope of a module's call: who calls whom, on which device, and who watches.
#pragma once

#include <string>

#include <heddle/core/backend.hpp>

namespace heddle::inline v0 {

class member_visitor;

/// Has members listed by HEDDLE_MODULE.
template <class M>
concept module = requires(M& m, member_visitor& v) {
  m.visit_members(v);
};

namespace detail {

/// What is known of a type of modules at run time; one object a type.
struct module_kind {
  void (*visit)(void* module, member_visitor& visitor);
  void (*name_parameters)(void* module);  ///< as the root's
};

}  // namespace detail

/// One call of a module that has begun and not ended.
class module_call {
 public:
  /// The module's address while it is called: its identity together with `kind()`.
  [[nodiscard]] const void* module() const noexcept { return module_; }
  /// One object for each type of modules: a module and its first member have the same address.
  [[nodiscard]] const detail::module_kind& kind() const noexcept { return *kind_; }
  /// The call within which this one was made; null for the outermost.
  [[nodiscard]] const module_call* parent() const noexcept { return parent_; }
  /// Where the module's own parameters are; without any, where its first input is.
  [[nodiscard]] heddle::device device() const noexcept { return device_; }
  /// As in the state dict of the outermost module: "layers.0.attention"; empty for that one itself.
  [[nodiscard]] std::string qualified_name() const;

  module_call(const module_call&) = delete;
  module_call& operator=(const module_call&) = delete;

 protected:
  module_call(void* module, const detail::module_kind& kind, heddle::device device,
              const module_call* parent) noexcept
      : module_(module), kind_(&kind), parent_(parent), device_(device) {}
  ~module_call() = default;

 private:
  void* module_;
  const detail::module_kind* kind_;
  const module_call* parent_;
  heddle::device device_;
};

/// Is told of the calls of a thread's modules: where placement, costs and hooks attach. Both
/// functions may block, and `enter` may throw.
class call_observer {
 public:
  /// Before the inputs are moved to the module's device.
  virtual void enter(const module_call& call) = 0;
  /// When the call has returned or thrown.
  virtual void leave(const module_call& call) noexcept = 0;

 protected:
  ~call_observer() = default;
};

namespace detail {

inline constinit thread_local const module_call* current_call = nullptr;
inline constinit thread_local call_observer* current_observer = nullptr;
inline constinit thread_local bool moves_inputs = false;

inline const module_call& outermost(const module_call& call) {
  const module_call* found = &call;
  while (found->parent() != nullptr) found = found->parent();
  return *found;
}

}  // namespace detail

/// The innermost call of this thread; null outside of all.
[[nodiscard]] inline const module_call* current_module_call() noexcept {
  return detail::current_call;
}

/// While one lives, `observer` is told of this thread's calls.
class [[nodiscard]] observe_calls {
 public:
  explicit observe_calls(call_observer& observer) noexcept : previous_(detail::current_observer) {
    detail::current_observer = &observer;
  }
  observe_calls(const observe_calls&) = delete;
  observe_calls& operator=(const observe_calls&) = delete;
  ~observe_calls() { detail::current_observer = previous_; }

 private:
  call_observer* previous_;
};

/// While one lives, modules called in this thread get their inputs on their own device: by a copy
/// that the tape records. Elsewhere an input on another device is an error.
class [[nodiscard]] placement_scope {
 public:
  placement_scope() noexcept : previous_(detail::moves_inputs) { detail::moves_inputs = true; }
  placement_scope(const placement_scope&) = delete;
  placement_scope& operator=(const placement_scope&) = delete;
  ~placement_scope() { detail::moves_inputs = previous_; }

 private:
  bool previous_;
};

namespace detail {

class call_scope : public module_call {
 public:
  call_scope(void* module, const module_kind& kind, heddle::device device)
      : module_call(module, kind, device, current_call), observer_(current_observer) {
    if (observer_ != nullptr) [[unlikely]]
      observer_->enter(*this);
    current_call = this;
    if (device.is_cuda()) [[unlikely]]
      open_range();
  }
  ~call_scope() {
    if (services_ != nullptr) services_->pop_range();
    current_call = parent();
    if (observer_ != nullptr) [[unlikely]]
      observer_->leave(*this);
  }

 private:
  /// For a profiler of the device's: a range of the module's name.
  HEDDLE_COLD void open_range() {
    const cuda_services* const found = cuda_services_in_place.load(std::memory_order_acquire);
    if (found == nullptr || !found->ranges_are_read()) return;
    const std::string name = qualified_name();
    found->push_range(name.empty() ? "model" : name.c_str());
    services_ = found;
  }

  call_observer* observer_;
  const cuda_services* services_ = nullptr;
};

}  // namespace detail

}  // namespace heddle::inline v0
