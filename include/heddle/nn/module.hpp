// SPDX-License-Identifier: BSD-3-Clause
// Modules: plain structs that list their members once, and are called through one entry.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <heddle/nn/input.hpp>
#include <heddle/nn/scope.hpp>

namespace heddle::inline v0 {

/// Whether a module is being trained, for modules that do something else then: a member, listed
/// like the others. True until `eval(m)`.
class training_flag {
 public:
  explicit operator bool() const noexcept { return value_; }
  /// What `train` and `eval` call.
  void set(bool value) noexcept { value_ = value; }

 private:
  bool value_ = true;
};

namespace detail {

/// What a module consists of, found by visiting it.
struct module_members {
  struct named_parameter {
    std::string name;
    handle<parameter_state>* slot;  ///< in the module: where the module lives, this stays valid
  };
  struct named_module {
    std::string name;
    const void* address;
    const module_kind* kind;
  };
  std::vector<named_parameter> parameters;
  std::vector<named_module> modules;
  std::vector<training_flag*> flags;
  const void* root = nullptr;
  const module_kind* root_kind = nullptr;
  bool copy_erased = false;  ///< any_modules are to copy what they share
};

template <class M>
const module_kind& kind_of_module() noexcept;

template <class X>
inline constexpr bool is_parameter = std::is_base_of_v<parameter_handle, X>;

/// Whether X is a container of modules or parameters that lists no members itself.
template <class X>
inline constexpr bool hides_members = false;
template <class X>
requires(!module<X> && !is_parameter<X> &&
         requires { typename X::value_type; }) inline constexpr bool hides_members<X> =
    is_parameter<typename X::value_type> || module<typename X::value_type>;
template <class X, std::size_t Count>
inline constexpr bool hides_members<X[Count]> = module<X> || is_parameter<X>;

}  // namespace detail

/// Visits the members of a module and of those below it. Members that are neither modules nor
/// parameters, buffers and training flags are left alone; containers of such are an error.
class member_visitor {
 public:
  explicit member_visitor(detail::module_members& found) : found_(found) {}

  template <class X>
  void operator()(std::string_view name, X& member) {
    static_assert(!detail::hides_members<X>,
                  "heddle: a member that HEDDLE_MODULE lists is a container of modules or "
                  "parameters, which would be neither named, saved nor trained; list a "
                  "nn::module_list or nn::sequential");
    if constexpr (detail::is_parameter<X>) {
      if (member.defined()) add_parameter<>(name, member.state_handle());
    } else if constexpr (module<X>) {
      const std::size_t length = prefix_.size();
      enter<>(name, &member, detail::kind_of_module<X>());
      member.visit_members(*this);
      prefix_.resize(length);
    } else if constexpr (std::is_same_v<X, training_flag>) {
      found_.flags.push_back(&member);
    }
  }
  /// Whether modules behind erased handles are to be copied before they are visited.
  [[nodiscard]] bool copies_erased() const noexcept { return found_.copy_erased; }
  /// Of an erased module: its own identity, under the name it is visited with.
  void rename_identity(const void* address, const detail::module_kind& kind) {
    found_.modules.push_back(
        {prefix_.substr(0, prefix_.empty() ? 0 : prefix_.size() - 1), address, &kind});
  }

 private:
  template <class Configuration = configuration>
  void add_parameter(std::string_view name, handle<detail::parameter_state>& slot) {
    found_.parameters.push_back({prefix_ + std::string(name), &slot});
  }
  template <class Configuration = configuration>
  void enter(std::string_view name, const void* address, const detail::module_kind& kind) {
    prefix_.append(name);
    found_.modules.push_back({prefix_, address, &kind});
    prefix_.push_back('.');
  }

  detail::module_members& found_;
  std::string prefix_;
};
HEDDLE_ONCE(void member_visitor::add_parameter<configuration>(std::string_view,
                                                              handle<detail::parameter_state>&));
HEDDLE_ONCE(void member_visitor::enter<configuration>(std::string_view, const void*,
                                                      const detail::module_kind&));

namespace detail {

template <class M>
module_members members_of(const M& m, bool copy_erased = false) {
  constexpr bool lists_members = module<M>;
  static_assert(
      lists_members,
      "heddle: this type is no module: it lists no members; write HEDDLE_MODULE(type, its "
      "members) in it");
  module_members found;
  found.copy_erased = copy_erased;
  if constexpr (module<M>) {
    found.root = &m;
    found.root_kind = &kind_of_module<M>();
  }
  member_visitor visitor(found);
  // Parameters are handles: what is found through them may be changed.
  if constexpr (module<M>) const_cast<M&>(m).visit_members(visitor);
  return found;
}

inline module_members members_of(const module_call& call) {
  module_members found;
  member_visitor visitor(found);
  call.kind().visit(const_cast<void*>(call.module()), visitor);
  return found;
}

template <class Configuration = configuration>
void name_parameters(const module_members& found) {
  bool encloses = false;
  for (const auto& p : found.parameters) encloses = encloses || p.name.find('.') != p.name.npos;
  const lock hold(naming_guard);
  for (const auto& [name, slot] : found.parameters) {
    (*slot)->become(name, encloses, found.root, found.root_kind);
  }
}
HEDDLE_ONCE(void name_parameters<configuration>(const module_members&));

template <class M>
const module_kind& kind_of_module() noexcept {
  static constexpr module_kind kind{
      [](void* m, member_visitor& visitor) { static_cast<M*>(m)->visit_members(visitor); },
      [](void* m) { name_parameters(members_of(*static_cast<M*>(m))); }};
  return kind;
}

/// "fc1, fc2" split at the commas, each name with its member.
template <class Configuration = configuration>
std::string_view first_name(std::string_view& names) {
  const std::size_t comma = names.find(',');
  std::string_view name = names.substr(0, comma);
  names.remove_prefix(comma == names.npos ? names.size() : comma + 1);
  while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
  while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
  return name;
}
HEDDLE_ONCE(std::string_view first_name<configuration>(std::string_view&));
template <class... Members>
void visit_listed(member_visitor& visitor, [[maybe_unused]] std::string_view names,
                  Members&... members) {
  (visitor(first_name<>(names), members), ...);
}

/// The first parameter or buffer among the members themselves; null if there is none.
inline const parameter_state* first_parameter() noexcept { return nullptr; }
template <class First, class... Rest>
const parameter_state* first_parameter(const First& first, const Rest&... rest) {
  if constexpr (is_parameter<First>) {
    return first.defined() ? &first.state() : first_parameter(rest...);
  } else {
    return first_parameter(rest...);
  }
}

template <class... Members>
struct member_types {
  /// The size of a struct of these members in this order.
  static constexpr std::size_t size() {
    std::size_t end = 0;
    std::size_t alignment = 1;
    [[maybe_unused]] const auto add = [&](std::size_t bytes, std::size_t aligned) {
      end = (end + aligned - 1) / aligned * aligned + bytes;
      alignment = aligned > alignment ? aligned : alignment;
    };
    (add(sizeof(Members), alignof(Members)), ...);
    end = (end + alignment - 1) / alignment * alignment;
    return end == 0 ? 1 : end;
  }
};
template <class... Members>
member_types<Members...> types_of(const Members&...);

template <class M>
device module_device(const M& m, bool& has_own) {
  const parameter_state* own = m.first_parameter();
  has_own = own != nullptr;
  return has_own ? own->where : cpu();
}

[[noreturn]] HEDDLE_COLD inline void raise_input_device(const module_call& call, device where) {
  const std::string name = call.qualified_name();
  raise<device_error>("heddle::call: an input of ", name.empty() ? "the module" : name, " is on ",
                      where, ", its parameters are on ", call.device(),
                      "; move one with to(device), or place the model");
}

/// Inputs of a module that has parameters go where these are.
template <class X>
void place_input(const module_call& call, X& x) {
  device where;
  if (find_device(x, where) && where != call.device()) [[unlikely]] {
    if (!moves_inputs) raise_input_device(call, where);
    if constexpr (expression<X>) x = moved_input(x, call.device());
  }
}

template <class M, class... X>
decltype(auto) call_evaluated(M& m, X&&... x) {
  bool has_own = false;
  device where = module_device(m, has_own);
  if (!has_own) static_cast<void>((find_device(x, where) || ...));
  const call_scope scope(const_cast<std::remove_const_t<M>*>(&m),
                         kind_of_module<std::remove_const_t<M>>(), where);
  if (has_own) (place_input(scope, x), ...);
  if constexpr ((holds_inference<std::remove_cvref_t<X>> || ...)) {
    return inference_result(m.forward(static_cast<const X&>(x)...));
  } else {
    return m.forward(static_cast<const X&>(x)...);
  }
}

}  // namespace detail

/// Calls a module, `m(x…)`: the one way in. Arguments that are expressions are evaluated, and go to
/// the device of the module's own parameters within a placement_scope; elsewhere being on another
/// one is an error (device_error). While forward runs, the call is `current_module_call()`.
template <class M, class... X>
decltype(auto) call(M& m, const X&... x) {
  constexpr bool is_module = module<std::remove_const_t<M>>;
  static_assert(is_module,
                "heddle::call: this type is no module: it lists no members; write "
                "HEDDLE_MODULE(type, its members) in it");
  if constexpr (is_module) return detail::call_evaluated(m, detail::evaluated_input(x)...);
}

/// Makes a struct a module: names the struct and all of its data members, in the order of their
/// declaration. A member that is left out is an error. The struct defines `forward`; calling the
/// module, `m(x)`, calls it through `heddle::call`.
///
///     struct mlp {
///       nn::linear fc1{784, 32}, fc2{32, 10};
///       HEDDLE_MODULE(mlp, fc1, fc2)
///       auto forward(const auto& x) { return fc2(heddle::relu(fc1(x))); }
///     };
#define HEDDLE_MODULE(type_, ...)                                                                  \
  void visit_members(::heddle::member_visitor& heddle_visitor) {                                   \
    static_assert(decltype(::heddle::detail::types_of(__VA_ARGS__))::size() == sizeof(type_),      \
                  "heddle: " #type_                                                                \
                  " has members that HEDDLE_MODULE does not list: list them all, in the order of " \
                  "their declaration");                                                            \
    ::heddle::detail::visit_listed(heddle_visitor, #__VA_ARGS__ __VA_OPT__(, ) __VA_ARGS__);       \
  }                                                                                                \
  const ::heddle::detail::parameter_state* first_parameter() const {                               \
    return ::heddle::detail::first_parameter(__VA_ARGS__);                                         \
  }                                                                                                \
  template <class... HeddleArguments>                                                              \
  decltype(auto) operator()(const HeddleArguments&... heddle_arguments) {                          \
    return ::heddle::call(*this, heddle_arguments...);                                             \
  }                                                                                                \
  template <class... HeddleArguments>                                                              \
  decltype(auto) operator()(const HeddleArguments&... heddle_arguments) const {                    \
    return ::heddle::call(*this, heddle_arguments...);                                             \
  }

inline std::string module_call::qualified_name() const {
  const module_call& root = detail::outermost(*this);
  if (&root == this) return {};
  for (const auto& m : detail::members_of(root).modules) {
    if (m.address == module_ && m.kind == kind_) return m.name;
  }
  // not below the outermost module: as its own root
  return {};
}

}  // namespace heddle::inline v0
