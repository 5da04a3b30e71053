// SPDX-License-Identifier: BSD-3-Clause
// Recording statements: the node a statement leaves on the tape, whose backward is the statement's
// differentiated program.
#pragma once

#include <heddle/autograd/derivative.hpp>
#include <heddle/autograd/request.hpp>
#include <heddle/autograd/variable.hpp>
#include <heddle/exec/host/sum_to.hpp>

namespace heddle::inline v0 {

namespace detail {

[[noreturn]] HEDDLE_COLD inline void raise_stale() {
  raise<state_error>(
      "heddle::backward: a tensor that this gradient needs was written in place after it was read: "
      "its version has changed; clone it before writing, or write after backward");
}
[[noreturn]] HEDDLE_COLD inline void raise_freed() {
  raise<state_error>(
      "heddle::backward: the graph was already differentiated and its saved values freed; pass "
      "retain_graph to the first backward");
}

/// Collects leaves, and the places of the variables among them.
template <int Variables>
struct recording_collector : exec::detail::collector {
  edge places[Variables + 1];
  int next = 0;
  bool any = false;

  template <class L>
  void leaf(const L& l) {
    this->add(l);
    if constexpr (requires { L::is_variable; }) {
      any = any || l.place().node;
      places[next++] = l.place();
    }
  }
};

/// An array that may have no elements, and then takes no room.
template <class T, int Count>
struct room {
  T values[Count];
  T& operator[](int i) { return values[i]; }
  const T& operator[](int i) const { return values[i]; }
  T* data() { return values; }
};
template <class T>
struct room<T, 0> {
  T& operator[](int) const { __builtin_unreachable(); }
  T* data() { return nullptr; }
};

/// The node of one statement. A chain of 10^6 is a sweep over memory: what a statement does not
/// need takes no room.
template <class Statement, class Configuration>
class statement_node : public tape_node {
  using derivative = derivative_of<Statement>;
  static constexpr int operands = Statement::operand_count;
  static constexpr int outputs = Statement::output_count;
  static constexpr int wanted = derivative::wanted;
  static constexpr int gradients = derivative::gradients;

 public:
  template <class Results>
  statement_node(const exec::bound<Statement>& b, edge* places, const Results& results,
                 const kept_memory<Statement>& row_values) {
    input_count = wanted;
    output_count = outputs;
    inputs = edges_;
    incoming = incoming_;
    int seen = 0;
    int kept = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(operands); ++i) {
      if (!Statement::table.variables[i]) continue;
      if (Statement::table.wanted[i]) {
        edges_[kept] = static_cast<edge&&>(places[seen]);
        edges_[kept++].repeats = 0;
      }
      ++seen;
    }
    for (int i = 0; i < derivative::axes; ++i) extents_[i] = b.extents[i];
    for (int i = 0; i < Statement::scalar_count; ++i) scalars_[i] = b.scalars[i];
    device_ = b.device;
    int slot = 0;
    std::int64_t* strides = strides_.data();
    int next = 0;
    for (; slot < operands; ++slot) {
      const exec::leaf_view& l = b.leaves[slot];
      if (b.common == nullptr || keeps_first_extents) note_repeats(slot, l);
      if (!derivative::saves(slot)) continue;
      save(next++, l.storage, l.data);
      *strides++ = l.rank > 0 ? l.extents[0] : 0;
      exec::operand o;
      exec::detail::bind_leaf(o, l, Statement::table.operand_maps.values[slot], b.extents);
      for (int k = 0; k < l.rank; ++k) *strides++ = o.strides[k];
    }
    slot = operands + outputs;
    std::apply(
        [&](const auto&... t) {
          ((derivative::saves(slot++)
                ? save(next++, t.storage().get(), reinterpret_cast<std::byte*>(t.data()))
                : void()),
           ...);
        },
        results);
    for (int k = 0; k < derivative::kept; ++k) {
      save(next++, row_values[k].get(), row_values[k]->data());
    }
    find_order();
  }

  void run(backward_pass_state& pass) override {
    if (inputs == nullptr) raise_freed();
    gradient made[gradients + 1];
    const gradient* places[gradients + 1];
    [&]<int... K>(std::integer_sequence<int, K...>) {
      (place_output<output_order[K]>(pass, places, made), ...);
    }
    (std::make_integer_sequence<int, gradients>{});
    if (!run_few(places, made)) run_general(places, made);
    [&]<int... J>(std::integer_sequence<int, J...>) {
      ((places[J] == &made[J] ? send<J>(pass, made[J]) : void()), ...);
    }
    (std::make_integer_sequence<int, gradients>{});
  }

  void run_recorded(backward_pass_state& pass) override {
    if (inputs == nullptr) raise_freed();
    exec::operand in[derivative::slots];
    storage* owners[derivative::slots];
    fill_operands(in, owners);
    std::int64_t all[graph::max_axes];
    all_extents(all);
    pass.recorder->derivative(
        pass, make_request(request_tables, *this, in, owners, all, scalars_.data(), device_,
                           keeps_first_extents ? first_extent_.data() : nullptr));
  }

  void free_saved() noexcept override {
    for (int i = 0; i < wanted; ++i) edges_[i].node.reset();
    for (int i = 0; i < derivative::saved; ++i) saved_[i].reset();
    inputs = nullptr;
    input_count = 0;
  }

 protected:
  /// Where the gradient of wanted operand `variable` goes.
  const edge& wanted_edge(int variable) const { return edges_[variable]; }
  const gradient& come() const { return incoming_[0]; }
  heddle::device where() const { return device_; }

 private:
  /// Whether the first axis of a wanted operand is none of the iteration space's: a gather's table.
  static constexpr bool keeps_first_extents = [] {
    for (std::size_t i = 0; i < static_cast<std::size_t>(operands); ++i) {
      if (Statement::table.wanted[i] && Statement::table.operand_ranks[i] > 0 &&
          graph::map_axis(Statement::table.operand_maps[i], 0) >= graph::max_axes) {
        return true;
      }
    }
    return false;
  }();
  static graph::graph thaw() { return graph::thaw(typename derivative::recorded_program{}); }
  static constexpr derivative_tables request_tables = {&thaw,
                                                       operands,
                                                       outputs,
                                                       Statement::scalar_count,
                                                       gradients,
                                                       Statement::table.wanted.values,
                                                       derivative::places.values};
  template <int J>
  static constexpr int slot_of = derivative::places[static_cast<std::size_t>(J)].slot;
  /// Which of the node's inputs gradient j goes to.
  static constexpr int input_of(int j) {
    return derivative::places[static_cast<std::size_t>(j)].variable;
  }
  /// Where the program writes its gradients, by gradient; a scattered one's map has an indexed
  /// axis.
  static constexpr auto roots = [] {
    exec::detail::table<exec::output_info, static_cast<std::size_t>(gradients)> t;
    const auto& p = exec::plan_of<typename derivative::program>;
    for (std::size_t i = 0; i < p.sizes.outputs; ++i) {
      const exec::output_info& o = p.outputs[i];
      if (graph::writes_result(o.kind)) t.values[o.slot] = o;
    }
    return t;
  }();
  template <int J>
  static constexpr dtype wanted_type = roots[static_cast<std::size_t>(J)].type;

  void save(int k, storage* s, std::byte* data) {
    // without a storage: one element of zeros, which stays
    if (s != nullptr) saved_[k] = handle<storage>::share(s);
    data_[k] = data;
    versions_[k] = s != nullptr ? s->version() : 0;
  }

  /// Remembers axes along which operand `slot` happened to have extent 1.
  void note_repeats(int slot, const exec::leaf_view& l) {
    int j = 0;
    for (int i = 0; i < slot; ++i) {
      j += Statement::table.wanted[static_cast<std::size_t>(i)] ? 1 : 0;
    }
    if (!Statement::table.wanted[static_cast<std::size_t>(slot)]) return;
    if constexpr (keeps_first_extents) first_extent_[j] = l.rank > 0 ? l.extents[0] : 1;
    for (int k = 0; k < l.rank; ++k) {
      const unsigned axis = graph::map_axis(Statement::table.operand_maps.values[slot], k);
      if (axis < graph::max_axes && l.extents[k] == 1 && extents_[axis] != 1) {
        edges_[j].repeats |= static_cast<std::uint8_t>(1u << k);
      }
    }
  }

  void all_extents(std::int64_t* all) const {
    for (int i = 0; i < graph::max_axes; ++i) all[i] = i < derivative::axes ? extents_[i] : 1;
  }

  void fill_operands(exec::operand* in, storage** owners) {
    static constexpr double zero = 0;
    for (int i = 0; i < derivative::slots; ++i) owners[i] = nullptr;
    int next = 0;
    const std::int64_t* strides = strides_.data();
    for (int slot = 0; slot < operands; ++slot) {
      if (!derivative::saves(slot)) continue;
      check_version(next);
      in[slot].data = data_[next];
      owners[slot] = saved_[next++].get();
      in[slot].indexed_extent = *strides++;
      const int rank = Statement::table.operand_ranks[static_cast<std::size_t>(slot)];
      for (int k = 0; k < rank; ++k) in[slot].strides[k] = *strides++;
    }
    for (int k = 0; k < outputs; ++k) {
      exec::operand& seed = in[operands + k];
      if (incoming_[k]) {
        seed.data = incoming_[k].data;
        owners[operands + k] = incoming_[k].memory.get();
        contiguous_strides(seed, Statement::table.output_maps.values[k], extents_.data());
      } else {
        // a result that nothing used: its gradient is 0, one element for all
        seed = {reinterpret_cast<std::byte*>(const_cast<double*>(&zero)), {}};
      }
    }
    for (int k = 0; k < outputs; ++k) {
      const int slot = operands + outputs + k;
      if (!derivative::saves(slot)) continue;
      check_version(next);
      in[slot].data = data_[next];
      owners[slot] = saved_[next++].get();
      contiguous_strides(in[slot], Statement::table.output_maps.values[k], extents_.data());
    }
    int kept = 0;
    for (int slot = derivative::kept_slot; slot < derivative::slots; ++slot) {
      if (!derivative::saves(slot)) continue;
      in[slot].data = data_[next];
      owners[slot] = saved_[next++].get();
      const auto& value = derivative::kept_values[static_cast<std::size_t>(kept++)];
      contiguous_strides(in[slot], value.map, extents_.data());
    }
  }

  /// Runs the derivative where each operand is one run of elements, or one element: without the
  /// descriptions that a launch takes. False: nothing was done.
  bool run_few([[maybe_unused]] const gradient* const* places,
               [[maybe_unused]] const gradient* made) {
    using program = typename derivative::program;
    if constexpr (exec::host::runs_few<program>) {
      bool plain =
          device_.is_inline() && profiler::active().load(std::memory_order_acquire) == nullptr;
      for (int k = 0; k < outputs; ++k) plain = plain && incoming_[k];
      constexpr graph::axis_mask domain = exec::plan_of<program>.nests[0].domain;
      std::int64_t count = 1;
      for (int axis = 0; axis < derivative::axes; ++axis) {
        if ((domain >> axis & 1) != 0) count *= extents_[axis];
      }
      if (!plain || count > exec::host::most_few || !saved_lie_contiguous()) return false;
      for (int k = 0; k < derivative::saved; ++k) check_version(k);
      exec::host::run_few<program, Configuration>(
          extents_.data(), scalars_.data(), count,
          [this](int slot) {
            return slot >= operands && slot < operands + outputs ? incoming_[slot - operands].data
                                                                 : data_[saved_place(slot)];
          },
          [places](int slot) { return places[slot]->data; },
          [places, made](int slot) { return places[slot] != made + slot; });
      return true;
    } else {
      return false;
    }
  }

  HEDDLE_NOINLINE void run_general(const gradient* const* places, const gradient* made) {
    exec::operand in[derivative::slots];
    storage* owners[derivative::slots + gradients];
    fill_operands(in, owners);
    exec::operand out[gradients + 1];
    [&]<int... J>(std::integer_sequence<int, J...>) {
      ((out[J] = exec::detail::operand_of(
            tensor_of<type_of<wanted_type<J>>>(*places[J], output_extents<J>()))),
       ...);
    }
    (std::make_integer_sequence<int, gradients>{});
    for (int j = 0; j < gradients; ++j) {
      out[j].accumulates = places[j] != made + j;
      owners[derivative::slots + j] = places[j]->memory.get();
    }
    std::int64_t all[graph::max_axes];
    all_extents(all);
    exec::detail::submit<typename derivative::program, Configuration, derivative::slots, gradients,
                         Statement::scalar_count>(in, out, scalars_.data(), all, owners, device_);
  }

  /// The place of a saved slot among those that are saved.
  static constexpr int saved_place(int slot) {
    int n = 0;
    for (int i = 0; i < slot; ++i) n += derivative::saves(i) ? 1 : 0;
    return n;
  }

  /// Of the operands; results do.
  bool saved_lie_contiguous() {
    bool contiguous = true;
    const std::int64_t* strides = strides_.data();
    for (int slot = 0; slot < operands; ++slot) {
      if (!derivative::saves(slot)) continue;
      ++strides;
      const int rank = Statement::table.operand_ranks[static_cast<std::size_t>(slot)];
      std::int64_t stride = 1;
      for (int k = rank - 1; k >= 0; --k) {
        const unsigned axis = graph::map_axis(Statement::table.operand_maps.values[slot], k);
        if (axis >= graph::max_axes) return false;
        const std::int64_t extent = extents_[static_cast<int>(axis)];
        contiguous &= (strides[k] == stride) | (extent == 1);
        stride *= extent;
      }
      strides += rank;
    }
    return contiguous;
  }

  void check_version(int k) const {
    if (saved_[k] && saved_[k]->version() != versions_[k]) raise_stale();
  }

  /// The extents in which the derivative gives the gradient of wanted operand J.
  template <int J>
  auto output_extents() const {
    constexpr int slot = slot_of<J>;
    constexpr int rank = Statement::table.operand_ranks[static_cast<std::size_t>(slot)];
    extents<rank> e;
    for (int k = 0; k < rank; ++k) {
      const unsigned axis = graph::map_axis(Statement::table.operand_maps.values[slot], k);
      // a gather's table has its own first extent
      if (axis < graph::max_axes) {
        e[k] = extents_[static_cast<int>(axis)];
      } else {
        e[k] = 1;
        if constexpr (keeps_first_extents) {
          if (k == 0) e[k] = first_extent_[input_of(J)];
        }
      }
    }
    return e;
  }

  /// The wanted gradients in the order in which the program writes them.
  static constexpr auto output_order = [] {
    exec::detail::table<int, static_cast<std::size_t>(gradients)> order;
    const auto& p = exec::plan_of<exec::cut_program<typename derivative::program>>;
    std::size_t next = 0;
    for (std::size_t i = 0; i < p.sizes.outputs; ++i) {
      const exec::output_info& o = p.outputs[i];
      if (graph::writes_result(o.kind) && o.slot < gradients) order.values[next++] = o.slot;
    }
    return order;
  }();

  /// Where the program writes gradient J: new memory, or what has come for the same variable
  /// already, this statement's own earlier gradients included, to which it adds.
  template <int J>
  void place_output(backward_pass_state& pass, const gradient** places, gradient* made) {
    using T = type_of<wanted_type<J>>;
    const edge& to = edges_[input_of(J)];
    if (to.node && to.repeats == 0) {
      const gradient* come = pass.addable(to, device_);
      for (int k = 0; k < gradients && output_order[static_cast<std::size_t>(k)] != J; ++k) {
        const int i = output_order[static_cast<std::size_t>(k)];
        const edge& other = edges_[input_of(i)];
        // laid out alike: each element is then written where it is added to, by one thread
        if (other.node == to.node && other.output == to.output && other.repeats == 0 &&
            roots[static_cast<std::size_t>(i)].map == roots[static_cast<std::size_t>(J)].map) {
          places[J] = places[i];
          return;
        }
        if (places[i] == come) come = nullptr;  // taken, in another layout
      }
      places[J] = come;
      if (come != nullptr) return;
    }
    const auto e = output_extents<J>();
    const auto t = tensor<T, std::remove_cvref_t<decltype(e)>::rank()>::allocate(e, device_);
    made[J] = {t.storage(), reinterpret_cast<std::byte*>(t.data()), {}};
    places[J] = &made[J];
  }

  template <int J>
  void send(backward_pass_state& pass, gradient& g) {
    using T = type_of<wanted_type<J>>;
    auto e = output_extents<J>();
    const edge& to = edges_[input_of(J)];
    if (to.repeats != 0) g = exec::host::sum_to<T>(g, e, to.repeats, device_);
    pass.deliver<T, Configuration>(to, static_cast<gradient&&>(g), element_count(e), device_);
  }

  device device_;
  [[no_unique_address]] room<std::uint32_t, derivative::saved> versions_;
  edge edges_[wanted == 0 ? 1 : wanted];
  gradient incoming_[outputs];
  [[no_unique_address]] room<handle<storage>, derivative::saved> saved_;
  [[no_unique_address]] room<std::byte*, derivative::saved> data_;
  [[no_unique_address]] room<std::int64_t, derivative::saved_strides> strides_;
  [[no_unique_address]] room<std::int64_t, derivative::axes> extents_;
  [[no_unique_address]] room<std::int64_t, keeps_first_extents ? wanted : 0> first_extent_;
  [[no_unique_address]] room<exec::scalar_bits, Statement::scalar_count> scalars_;
};

/// Tensors of floating dtype become variables with a place; the others stay tensors.
template <class T, int Rank>
auto with_place(tensor<T, Rank>& t, const handle<tape_node>& node, int output) {
  if constexpr (is_floating(dtype_of<T>)) {
    return variable<T, Rank>(static_cast<tensor<T, Rank>&&>(t),
                             edge{node, static_cast<std::uint16_t>(output)});
  } else {
    return static_cast<tensor<T, Rank>&&>(t);
  }
}

template <class Tuple>
auto with_places(Tuple& results, const handle<tape_node>& node) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    if constexpr (sizeof...(I) == 1) {
      return with_place(std::get<0>(results), node, 0);
    } else {
      return std::tuple{with_place(std::get<I>(results), node, static_cast<int>(I))...};
    }
  }
  (std::make_index_sequence<std::tuple_size_v<Tuple>>{});
}

template <class Tuple>
inline constexpr bool any_floating = false;
template <class... T, int... Rank>
inline constexpr bool any_floating<std::tuple<tensor<T, Rank>...>> = (is_floating(dtype_of<T>) ||
                                                                      ...);

/// Computes a statement that is a library call, and makes its node where it has one; false where it
/// is to be computed as any. linalg/epilogue.hpp says which are; autograd/epilogue.hpp defines it.
template <class Configuration, class Statement, class Results, class E>
bool evaluate_by_library(Results& made, handle<tape_node>& node, const E& e);

template <class Configuration, class... E>
auto record_compiled(const E&... e) {
  using statement = exec::statement<E...>;
  using results = decltype(exec::detail::result_tensors<E...>());
  if constexpr (!any_floating<results> || derivative_of<statement>::wanted == 0) {
    const exec::bound<statement> b(e...);
    results made = exec::detail::allocate_results<results>(b);
    std::apply([&](const auto&... t) { exec::detail::run_into<Configuration>(b, t...); }, made);
    return with_places(made, {});
  } else {
    if constexpr (exec::library_statement<Configuration, statement>::exists) {
      results made;
      handle<tape_node> node;
      if (evaluate_by_library<Configuration, statement>(made, node, e...)) {
        return with_places(made, node);
      }
    }
    recording_collector<derivative_of<statement>::variables> places;
    const exec::bound<statement> b(exec::detail::with_visitor{}, places, e...);
    results made = exec::detail::allocate_results<results>(b);
    kept_memory<statement> kept;
    std::apply([&](const auto&... t) { run_recorded_into<Configuration>(b, kept, t...); }, made);
    handle<tape_node> node;
    if (places.any && recording) {
      node = make_handle<statement_node<statement, Configuration>>(b, places.places, made, kept);
    }
    return with_places(made, node);
  }
}

/// The same where nothing is compiled: autograd/traced.hpp.
template <class Configuration, class... E>
auto record_traced(const E&... e);

template <class Configuration, class... E>
auto evaluate_recorded(const E&... e) {
  if constexpr (is_unfused<Configuration>) {
    return record_traced<Configuration>(e...);
  } else {
    return record_compiled<Configuration>(e...);
  }
}

/// Runs backward from one output with a seed.
template <class Configuration = configuration>
void run_backward(const edge& root, gradient seed, backward_options options) {
  backward_pass_state pass(options);
  pass.add_root(root, static_cast<gradient&&>(seed));
  pass.start();
  pass.run();
}
HEDDLE_ONCE(void run_backward<configuration>(const edge&, gradient, backward_options));

[[noreturn]] HEDDLE_COLD inline void raise_not_recorded() {
  raise<state_error>(
      "heddle::backward: the variable requires no gradient: no variable that requires one was used "
      "to compute it, or it was computed within no_grad");
}

}  // namespace detail

template <class T, int Rank>
void variable<T, Rank>::backward(backward_options options) const {
  static_assert(
      Rank == 0,
      "heddle::backward: only a variable of rank 0 (a loss) has an implied gradient of 1: "
      "pass the gradient, or reduce it with sum or mean");
  backward(full<T, Rank>(value_.extents(), 1, value_.device()), options);
}

template <class T, int Rank>
void variable<T, Rank>::backward(const tensor<T, Rank>& seed, backward_options options) const {
  if (!place_.node) detail::raise_not_recorded();
  if (seed.extents() != value_.extents()) {
    raise<shape_error>("heddle::backward: the gradient's extents are not the variable's: ",
                       seed.extents(), "; ", value_.extents(), " are expected");
  }
  if (seed.device() != value_.device()) {
    detail::raise_gradient_device("backward", seed.device(), value_.device());
  }
  if (options.create_graph) {
    raise<state_error>(
        "heddle::backward: create_graph is for grad(output, inputs), which returns the recorded "
        "gradients; leaves collect tensors");
  }
  detail::run_backward<>(place_, detail::gradient_of(seed), options);
}

}  // namespace heddle::inline v0

#if defined(HEDDLE_UNFUSED)
#include <heddle/autograd/grad.hpp>  // and with it record_traced
#endif
