// SPDX-License-Identifier: BSD-3-Clause
// Parameters and buffers: tensors of a module that stand for (extents, dtype, recipe) until their
// values are needed.
#pragma once

#include <atomic>
#include <string>

#include <heddle/autograd/variable.hpp>
#include <heddle/core/capture.hpp>
#include <heddle/core/threads.hpp>
#include <heddle/linalg/matmul.hpp>
#include <heddle/nn/init.hpp>
#include <heddle/nn/scope.hpp>

namespace heddle::inline v0 {

namespace detail {

/// FNV-1a (Fowler, Noll, Vo), then the finaliser of SplitMix64: the Philox key of a name's values.
inline std::uint64_t name_key(std::uint64_t seed, const std::string& name) {
  std::uint64_t hash = 0xCBF29CE484222325u ^ seed;
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  }
  hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9u;
  hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EBu;
  return hash ^ (hash >> 31);
}

/// Held while parameters are named: threads may call a module for the first time together.
inline constinit mutex naming_guard;

[[noreturn]] HEDDLE_COLD inline void raise_value_extents(const char* function,
                                                         const std::string& got,
                                                         const std::string& expected) {
  raise<shape_error>("heddle::", function, ": the values have other extents: ", got, "; ", expected,
                     " are expected");
}

/// What the copies of a parameter or buffer share.
class parameter_state : public counted {
 public:
  std::string name;  ///< qualified, once its root module was used
  /// The root whose use looked at the name last.
  const void* root = nullptr;
  const module_kind* root_kind = nullptr;
  /// Whether some root has modules with parameters: the name tells it from others in that model.
  bool is_enclosed = false;
  nn::init::recipe init;
  random_state origin;  ///< the seed, and a number of its own where values are random
  device where = cpu();
  dtype type = dtype::f32;
  int rank = 0;
  std::int64_t extents[max_rank] = {};
  bool is_buffer = false;
  /// Set when the values are there: what was written before is seen by who sees it set.
  std::atomic<bool> materialised{false};

  virtual void materialise() = 0;
  /// Materialises.
  virtual any_tensor value() = 0;
  /// Puts other values in place of these, of the same dtype and extents.
  virtual void replace(const any_tensor& value) = 0;
  virtual any_tensor grad() const = 0;
  virtual void set_grad(const any_tensor& gradient) = 0;
  /// Copies on a device, none where there is nothing to copy.
  struct moved_values {
    any_tensor value, gradient;
  };
  virtual moved_values copies_on(device to) const = 0;
  /// Keeps what copies_on returned. Does not throw.
  virtual void keep(device to, const moved_values& moved) = 0;
  void move_to(device to) { keep(to, copies_on(to)); }
  virtual handle<parameter_state> clone() const = 0;
  virtual void set_requires_grad(bool wanted) = 0;
  /// The leaf of the tape; null for buffers and where no gradient is wanted.
  virtual tape_node* leaf() = 0;

  std::int64_t size() const {
    std::int64_t count = 1;
    for (int i = 0; i < rank; ++i) count *= extents[i];
    return count;
  }

  /// As a member of a root, under this name there. A larger root's name replaces a smaller one's;
  /// of the names that one root has for it the first stays.
  void become(const std::string& qualified, bool enclosed, const void* of,
              const module_kind* kind) {
    if (root == of && root_kind == kind) return;
    root = of;
    root_kind = kind;
    is_enclosed = is_enclosed || enclosed;
    const bool larger = qualified.size() > name.size() && qualified.ends_with(name) &&
                        (name.empty() || qualified[qualified.size() - name.size() - 1] == '.');
    if (larger) name = qualified;
  }

 protected:
  std::uint64_t key() {
    if (current_call != nullptr) {
      const module_call& call = outermost(*current_call);
      bool seen = false;
      {
        const lock hold(naming_guard);
        seen = root == call.module() && root_kind == &call.kind();
      }
      if (!seen) call.kind().name_parameters(const_cast<void*>(call.module()));
    }
    const lock hold(naming_guard);
    if (is_enclosed) return name_key(origin.seed, name);
    // A layer by itself has the names that all such layers have: the number tells them apart.
    return name_key(origin.seed + (origin.offset + 1) * 0x9E3779B97F4A7C15u, {});
  }
};

template <class T, int Rank>
class typed_parameter final : public parameter_state {
 public:
  typed_parameter(const heddle::extents<Rank>& shape, const nn::init::recipe& recipe, bool buffer) {
    init = recipe;
    origin = recipe.distribution == nn::init::recipe::kind::constant ? default_generator().state()
                                                                     : default_generator().next();
    type = dtype_of<T>;
    rank = Rank;
    is_buffer = buffer;
    for (int i = 0; i < Rank; ++i) extents[i] = shape[i];
    static_cast<void>(checked_element_count(shape));
  }

  const variable<T, Rank>& as_variable() requires(is_floating(dtype_of<T>)) {
    if (!materialised.load(std::memory_order_acquire)) [[unlikely]]
      materialise();
    return held_;
  }
  const tensor<T, Rank>& as_tensor() {
    if (!materialised.load(std::memory_order_acquire)) [[unlikely]]
      materialise();
    if constexpr (is_floating(dtype_of<T>)) {
      return held_.value();
    } else {
      return held_;
    }
  }

  heddle::extents<Rank> shape() const {
    heddle::extents<Rank> result;
    for (int i = 0; i < Rank; ++i) result[i] = extents[i];
    return result;
  }

  void materialise() override {
    const lock first(guard_);
    const outside_capture kept;
    if (!materialised) hold(nn::init::draw<T, Rank>(init, shape(), key(), where));
  }
  any_tensor value() override { return as_tensor(); }
  void replace(const any_tensor& value) override { put(value.as<T, Rank>().to(where)); }
  /// The values, and where they are.
  void put(const tensor<T, Rank>& value) {
    if (value.extents() != shape()) {
      raise_value_extents("set_value", to_string(value.extents()), to_string(shape()));
    }
    hold(value.contiguous());
  }
  any_tensor grad() const override {
    if constexpr (is_floating(dtype_of<T>)) {
      if (materialised && held_.requires_grad()) {
        const tensor<T, Rank> g = held_.grad();
        if (g.defined()) return g;
      }
    }
    return {};
  }
  void set_grad(const any_tensor& gradient) override {
    if constexpr (is_floating(dtype_of<T>)) {
      if (!materialised || !held_.requires_grad()) return;
      held_.set_grad(gradient.defined() ? gradient.as<T, Rank>() : tensor<T, Rank>());
    }
  }
  moved_values copies_on(device to) const override {
    if (!materialised) return {};
    const any_tensor gradient = grad();
    return {const_cast<typed_parameter*>(this)->as_tensor().to(to),
            gradient.defined() ? gradient.to(to) : any_tensor()};
  }
  void keep(device to, const moved_values& moved) override {
    where = to;
    if (moved.value.defined()) hold(moved.value.as<T, Rank>());
    if (moved.gradient.defined()) set_grad(moved.gradient);
  }
  handle<parameter_state> clone() const override {
    auto copy = make_handle<typed_parameter>(shape(), init, is_buffer);
    {
      const lock hold(naming_guard);
      copy->name = name;
      copy->is_enclosed = is_enclosed;
    }
    copy->origin = origin;
    copy->where = where;
    copy->requires_grad_ = requires_grad_;
    if (materialised) {
      copy->hold(const_cast<typed_parameter*>(this)->as_tensor().clone());
    }
    return copy;
  }
  void set_requires_grad(bool wanted) override {
    if (wanted == requires_grad_) return;  // the leaf keeps its gradient and hooks
    requires_grad_ = wanted;
    if constexpr (is_floating(dtype_of<T>)) {
      if (materialised && !is_buffer) held_ = variable<T, Rank>(held_.value(), wanted);
    }
  }
  tape_node* leaf() override {
    if constexpr (is_floating(dtype_of<T>)) {
      if (is_buffer) return nullptr;
      return as_variable().place().node.get();
    } else {
      return nullptr;
    }
  }

 private:
  void hold(tensor<T, Rank> value) {
    // only if it changes: others may be reading it while the values are drawn
    if (where != value.device()) where = value.device();
    if constexpr (is_floating(dtype_of<T>)) {
      if (materialised) {
        held_.set_value(static_cast<tensor<T, Rank>&&>(value));
      } else {
        held_ =
            variable<T, Rank>(static_cast<tensor<T, Rank>&&>(value), !is_buffer && requires_grad_);
      }
    } else {
      held_ = static_cast<tensor<T, Rank>&&>(value);
    }
    materialised.store(true, std::memory_order_release);
  }

  mutex guard_;  // while values are drawn
  std::conditional_t<is_floating(dtype_of<T>), variable<T, Rank>, tensor<T, Rank>> held_;
  bool requires_grad_ = true;
};
HEDDLE_ONCE(class typed_parameter<float, 1>);
HEDDLE_ONCE(class typed_parameter<float, 2>);

/// What parameters and buffers of any dtype and rank have in common.
class parameter_handle {
 public:
  parameter_handle() = default;
  explicit parameter_handle(handle<parameter_state> state)
      : state_(static_cast<handle<parameter_state>&&>(state)) {}

  [[nodiscard]] bool defined() const noexcept { return static_cast<bool>(state_); }
  /// The qualified name in the largest root module that was used; empty before.
  [[nodiscard]] const std::string& name() const { return state().name; }
  /// Where the values are, or will be.
  [[nodiscard]] heddle::device device() const { return state().where; }
  /// The number of elements; nothing is materialised.
  [[nodiscard]] std::int64_t size() const { return state().size(); }
  /// Whether the values are there yet.
  [[nodiscard]] bool is_materialised() const { return state().materialised; }
  /// Draws the values now, if they are not there.
  void materialise() const { state().materialise(); }
  /// Whether gradients are collected. A change makes a new leaf of the tape, without gradient and
  /// hooks.
  void requires_grad_(bool wanted) const { state().set_requires_grad(wanted); }
  /// Drops the gradient.
  void zero_grad() const { state().set_grad({}); }
  /// Whether both are handles to one parameter (== compares elements).
  [[nodiscard]] bool is_same(const parameter_handle& other) const noexcept {
    return state_ == other.state_;
  }

  // for collections and clones
  [[nodiscard]] handle<parameter_state>& state_handle() noexcept { return state_; }
  [[nodiscard]] parameter_state& state() const {
    if (!state_) [[unlikely]] {
      raise<state_error>(
          "heddle::parameter: the parameter has no extents: it was made by default; give extents "
          "and a recipe");
    }
    return *state_;
  }

 private:
  handle<parameter_state> state_;
};

}  // namespace detail

/// A tensor that training changes: a member of a module. It is (extents, dtype, recipe) until first
/// used, moved or loaded: then element i is drawn from (seed, qualified name, i), so that a model's
/// values depend neither on the order of construction or calls nor on the device. The seed is the
/// default generator's when the parameter is made (`manual_seed`). The name is that in the root
/// module then: of the call under way, or the largest whose `parameters` or `state_dict` were asked
/// for. A layer that is a root itself, or a parameter of no module, has no name to tell it from
/// others: a number of its own, the use of the default generator that its construction was, stands
/// in the name's place. Threads may use a parameter for the first time together.
///
/// It is an expression, a leaf that the tape differentiates. Copies share the values;
/// `clone(module)` copies them.
template <class T, int Rank>
class parameter : public detail::parameter_handle {
  static_assert(is_floating(dtype_of<T>),
                "heddle::parameter: only floating-point tensors have gradients; use a buffer");

 public:
  using expression_tag = void;
  static constexpr bool is_variable = true;
  using value_type = T;
  static constexpr int rank = Rank;
  static constexpr dtype type = dtype_of<T>;

  /// Undefined: it must be given extents before it is used.
  parameter() = default;
  explicit parameter(const heddle::extents<Rank>& extents,
                     const nn::init::recipe& init = nn::init::zeros())
      : parameter_handle(make_handle<detail::typed_parameter<T, Rank>>(extents, init, false)) {}
  /// With these values.
  explicit parameter(const tensor<T, Rank>& value) : parameter(value.extents(), nn::init::zeros()) {
    typed().put(value);
  }

  /// The variable, materialised.
  [[nodiscard]] const heddle::variable<T, Rank>& variable() const { return typed().as_variable(); }
  /// The elements, materialised; shared.
  [[nodiscard]] const tensor<T, Rank>& value() const { return variable().value(); }
  /// Where the tape collects its gradient, for what records statements.
  [[nodiscard]] const detail::edge& place() const { return variable().place(); }
  /// The collected gradient; undefined if there is none. Throws state_error where none is wanted.
  [[nodiscard]] tensor<T, Rank> grad() const { return variable().grad(); }
  /// Replaces the gradient; an undefined tensor drops it. Throws shape_error, device_error, and
  /// state_error where none is wanted.
  void set_grad(tensor<T, Rank> g) const { variable().set_grad(static_cast<tensor<T, Rank>&&>(g)); }
  /// Nothing is materialised.
  [[nodiscard]] heddle::extents<Rank> extents() const { return typed().shape(); }
  /// Negative axes count from the end. Nothing is materialised.
  [[nodiscard]] std::int64_t extent(int axis) const {
    return typed().extents[axis < 0 ? axis + Rank : axis];
  }

 private:
  detail::typed_parameter<T, Rank>& typed() const {
    return static_cast<detail::typed_parameter<T, Rank>&>(state());
  }
};

/// A tensor of a module that is saved and moved with it, and that no optimizer changes: running
/// means, masks. Otherwise as parameter.
template <class T, int Rank>
class buffer : public detail::parameter_handle {
 public:
  using expression_tag = void;
  using value_type = T;
  static constexpr int rank = Rank;
  static constexpr dtype type = dtype_of<T>;

  buffer() = default;
  explicit buffer(const heddle::extents<Rank>& extents,
                  const nn::init::recipe& init = nn::init::zeros())
      : parameter_handle(make_handle<detail::typed_parameter<T, Rank>>(extents, init, true)) {}
  explicit buffer(const tensor<T, Rank>& value) : buffer(value.extents(), nn::init::zeros()) {
    typed().put(value);
  }

  /// The values, materialised. `assign(b.value(), e)` writes into them.
  [[nodiscard]] const tensor<T, Rank>& value() const { return typed().as_tensor(); }
  /// Nothing is materialised.
  [[nodiscard]] heddle::extents<Rank> extents() const { return typed().shape(); }
  /// Other values, shared where contiguous; the buffer is then on their device. Throws shape_error.
  void set_value(const tensor<T, Rank>& value) const { typed().put(value); }

 private:
  detail::typed_parameter<T, Rank>& typed() const {
    return static_cast<detail::typed_parameter<T, Rank>&>(state());
  }
};

namespace linalg::detail {

// For matmul, a parameter is its variable and a buffer its tensor.
template <class T, int Rank>
struct argument<parameter<T, Rank>> {
  static constexpr bool is_transposed = false;
  static constexpr bool valid = true;
  using expression_type = variable<T, Rank>;
  static variable<T, Rank> leaf(const parameter<T, Rank>& x) { return x.variable(); }
};
template <class T, int Rank>
struct argument<buffer<T, Rank>> {
  static constexpr bool is_transposed = false;
  static constexpr bool valid = true;
  using expression_type = tensor<T, Rank>;
  static tensor<T, Rank> leaf(const buffer<T, Rank>& x) { return x.value(); }
};
template <class T, int Rank>
struct argument<transposed_operand<parameter<T, Rank>>> {
  static constexpr bool is_transposed = true;
  static constexpr bool valid = true;
  using expression_type = variable<T, Rank>;
  static variable<T, Rank> leaf(const transposed_operand<parameter<T, Rank>>& x) {
    return x.leaf.variable();
  }
};

}  // namespace linalg::detail
}  // namespace heddle::inline v0
