// SPDX-License-Identifier: BSD-3-Clause
// grad: gradients of chosen variables, of any order. Orders above the first differentiate the
// graphs again at run time and interpret them: compiled ones would never end.
#pragma once

#include <heddle/autograd/record.hpp>
#include <heddle/exec/interpret/submit.hpp>

namespace heddle::inline v0 {

namespace detail {

// All of it is templates of the configuration: a unit that asks for no higher order compiles none.
template <class Configuration>
void record_by_interpretation(backward_pass_state& pass, derivative_request&& request);

/// A derivative that was interpreted: its own backward is interpreted in turn.
template <class Configuration>
class interpreted_node final : public tape_node {
 public:
  explicit interpreted_node(derivative_request&& made) : request_(std::move(made)) {
    const std::vector<bool> read = slots_read(request_.derivative, request_.operands.size());
    for (std::size_t i = 0; i < request_.operands.size(); ++i) {
      recorded_operand& o = request_.operands[i];
      o.version = o.memory ? o.memory->version() : 0;
      wanted_.push_back(read[i] && o.place.node);
      if (!wanted_.back()) continue;
      slots_.push_back(i);
      edges_.push_back(o.place);
    }
    for (const graph::node& n : request_.derivative.nodes) {
      if (is_root(n.code)) ++output_count;
    }
    incoming_.resize(output_count);
    input_count = static_cast<std::uint16_t>(edges_.size());
    inputs = edges_.data();
    incoming = incoming_.data();
    find_order();
  }

  void run(backward_pass_state& pass) override {
    record_by_interpretation<Configuration>(pass, differentiated());
  }
  void run_recorded(backward_pass_state& pass) override {
    record_by_interpretation<Configuration>(pass, differentiated());
  }
  void free_saved() noexcept override {
    for (edge& e : edges_) e.node.reset();
    for (recorded_operand& o : request_.operands) {
      o.memory.reset();
      o.place.node.reset();
    }
    freed_ = true;
  }

 private:
  /// The derivative of the derivative: operands as before, then seeds.
  derivative_request differentiated() {
    if (freed_) raise_freed();
    derivative_request next;
    graph::derivative_request wanted;
    for (const bool w : wanted_) wanted.wanted.push_back(w);
    wanted.seed_slot = static_cast<int>(request_.operands.size());
    next.derivative = graph::differentiate(request_.derivative, wanted);
    next.operands = request_.operands;
    const std::vector<bool> read = slots_read(next.derivative, next.operands.size());
    for (std::size_t i = 0; i < next.operands.size(); ++i) {
      const recorded_operand& o = next.operands[i];
      if (read[i] && o.memory && o.memory->version() != o.version) raise_stale();
    }
    next.scalars = request_.scalars;
    for (int i = 0; i < graph::max_axes; ++i) next.extents[i] = request_.extents[i];
    next.where = request_.where;
    next.node = this;
    for (const std::size_t slot : graph::gradient_slots(
             request_.derivative.nodes.begin(), request_.derivative.size(), wanted.wanted)) {
      std::size_t input = 0;
      while (slots_[input] != slot) ++input;
      next.slots.push_back(slot);
      next.inputs.push_back(input);
    }
    static constexpr double zero = 0;
    for (std::size_t k = 0; k < incoming_.size(); ++k) {
      recorded_operand seed{};  // one element, repeated
      seed.at.data = reinterpret_cast<std::byte*>(const_cast<double*>(&zero));
      if (incoming_[k]) {
        seed.memory = incoming_[k].memory;
        seed.at.data = incoming_[k].data;
        seed.place = incoming_[k].source;
        // the gradient of a gather's table: its rows are read by index
        if (k < request_.slots.size()) {
          seed.at.indexed_extent = request_.operands[request_.slots[k]].at.indexed_extent;
        }
        set_strides(seed.at, output_map(request_.derivative, static_cast<int>(k)));
      }
      next.operands.push_back(std::move(seed));
    }
    return next;
  }

  /// Which of the first `count` operand slots a graph reads.
  static std::vector<bool> slots_read(const graph::graph& g, std::size_t count) {
    std::vector<bool> read(count, false);
    for (const graph::node& n : g.nodes) {
      if (n.code != op::input && n.code != op::gather) continue;
      const std::size_t slot = n.code == op::input ? n.a : n.b;
      if (slot < count) read[slot] = true;
    }
    return read;
  }
  static graph::axis_map output_map(const graph::graph& g, int slot) {
    for (const graph::node& n : g.nodes) {
      if (is_root(n.code) && (n.code == op::store ? n.b : n.c) == slot) {
        return static_cast<graph::axis_map>(n.extra);
      }
    }
    return graph::empty_map;
  }
  void set_strides(exec::operand& o, graph::axis_map map) const {
    std::int64_t stride = 1;
    for (int i = graph::max_axes - 1; i >= 0; --i) {
      const unsigned axis = graph::map_axis(map, i);
      if (axis == graph::indexed_axis) o.strides[i] = stride;  // the first one
      if (axis >= graph::max_axes) continue;
      o.strides[i] = stride;
      stride *= request_.extents[axis];
    }
  }

  derivative_request request_;
  std::vector<bool> wanted_;
  std::vector<std::size_t> slots_;
  std::vector<edge> edges_;
  std::vector<gradient> incoming_;
  bool freed_ = false;
};

/// Calls f with a value of a floating dtype's element type.
template <class F>
void with_floating(dtype type, F f) {
  switch (type) {
    case dtype::f64:
      return f(double{});
    case dtype::f32:
      return f(float{});
    case dtype::bf16:
      return f(bfloat16{});
    default:
      return f(float16{});
  }
}

/// Interprets a derivative on its device; the storages stay alive until it has run.
template <class Configuration>
void interpret_request(const derivative_request& r, const std::vector<exec::operand>& outputs,
                       const std::vector<gradient>& made) {
  exec::interpreted_launch l;
  l.of = r.derivative;
  l.inputs = static_cast<int>(r.operands.size());
  for (const recorded_operand& o : r.operands) {
    l.operands.push_back(o.at);
    l.owners.push_back(o.memory);
  }
  l.operands.insert(l.operands.end(), outputs.begin(), outputs.end());
  for (const gradient& g : made) l.owners.push_back(g.memory);
  l.scalars = r.scalars;
  for (int i = 0; i < graph::max_axes; ++i) l.extents[i] = r.extents[i];
  exec::submit_interpreted<Configuration>(std::move(l), r.where);
}

/// One output of an interpreted graph.
struct interpreted_output {
  dtype type = dtype::f32;
  extents<max_rank> shape = extents<max_rank>::filled(1);
  int rank = 0;
  gradient value;
};

/// Interprets request.derivative into new memory. Where `record` says so, the outputs get places on
/// the tape. table_extents[j]: the first extent of a gather's table that output j is the gradient
/// of.
template <class Configuration>
std::vector<interpreted_output> interpret_recorded(derivative_request&& request, bool record,
                                                   const std::vector<std::int64_t>& table_extents) {
  std::vector<interpreted_output> outputs(table_extents.size());
  std::vector<exec::operand> places(outputs.size());
  std::vector<gradient> made(outputs.size());
  for (const graph::node& n : request.derivative.nodes) {
    if (!is_root(n.code)) continue;
    const std::size_t j = n.code == op::store ? n.b : n.c;
    const auto map = static_cast<graph::axis_map>(n.extra);
    interpreted_output& o = outputs[j];
    o.type = n.type;
    for (int k = 0; k < graph::max_axes; ++k) {
      const unsigned axis = graph::map_axis(map, k);
      if (axis != graph::broadcast_axis) o.rank = k + 1;
      o.shape[k] = axis < graph::max_axes        ? request.extents[axis]
                   : axis == graph::indexed_axis ? table_extents[j]
                                                 : 1;
    }
    const any_tensor t = any_tensor::allocate(
        o.type, {o.shape.data(), static_cast<std::size_t>(o.rank)}, request.where);
    o.value = {t.storage(), t.data(), {}};
    made[j] = o.value;
    places[j].data = t.data();
    places[j].indexed_extent = o.rank > 0 ? o.shape[0] : 0;
    const extents<max_rank> strides = contiguous_strides(o.shape);
    for (int k = 0; k < o.rank; ++k) places[j].strides[k] = strides[k];
  }
  interpret_request<Configuration>(request, places, made);
  bool any = false;
  for (const recorded_operand& o : request.operands) any = any || o.place.node;
  if (record && any) {
    const handle<tape_node> node = make_handle<interpreted_node<Configuration>>(std::move(request));
    for (std::size_t j = 0; j < outputs.size(); ++j) {
      outputs[j].value.source = {node, static_cast<std::uint16_t>(j)};
    }
  }
  return outputs;
}

/// Sums an output over axes along which its operand happened to have extent 1.
template <class Configuration>
void sum_repeats(interpreted_output& o, std::uint8_t repeats, device where, bool record) {
  graph::builder b;
  graph::axis_map whole = graph::empty_map;
  graph::axis_map kept = graph::empty_map;
  derivative_request request;
  for (int k = 0; k < o.rank; ++k) {
    whole = graph::with_axis(whole, k, static_cast<unsigned>(k));
    if ((repeats >> k & 1) == 0) kept = graph::with_axis(kept, k, static_cast<unsigned>(k));
    request.extents[k] = o.shape[k];
  }
  for (int k = o.rank; k < graph::max_axes; ++k) request.extents[k] = 1;
  const std::uint16_t x = b.emit({.code = op::input, .type = o.type, .a = 0, .extra = whole});
  const std::uint16_t sum = b.unary(op::sum, o.type, x, repeats);
  b.emit({.code = op::store, .type = o.type, .a = sum, .b = 0, .extra = kept});
  request.derivative.nodes = b.nodes();
  request.where = where;
  recorded_operand operand;
  operand.memory = o.value.memory;
  operand.at.data = o.value.data;
  const extents<max_rank> strides = contiguous_strides(o.shape);
  for (int k = 0; k < o.rank; ++k) operand.at.strides[k] = strides[k];
  operand.place = o.value.source;
  request.operands.push_back(operand);
  const int rank = o.rank;
  o = interpret_recorded<Configuration>(std::move(request), record, {1})[0];
  o.rank = rank;  // trailing axes that are now 1 still count
}

/// Runs a derivative by interpretation and sends its outputs on.
template <class Configuration>
void record_by_interpretation(backward_pass_state& pass, derivative_request&& request) {
  tape_node* const node = request.node;
  const device where = request.where;
  const bool record = pass.options().create_graph;
  std::vector<std::int64_t> table_extents;
  std::vector<std::uint8_t> repeats;
  const std::vector<std::size_t> node_inputs = request.inputs;
  for (const std::size_t slot : request.slots) {
    table_extents.push_back(request.operands[slot].at.indexed_extent);
    repeats.push_back(request.operands[slot].repeats);
  }
  auto outputs = interpret_recorded<Configuration>(std::move(request), record, table_extents);
  for (std::size_t j = 0; j < outputs.size(); ++j) {
    interpreted_output& o = outputs[j];
    if (repeats[j] != 0) sum_repeats<Configuration>(o, repeats[j], where, record);
    with_floating(o.type, [&](auto element) {
      pass.deliver<decltype(element), Configuration>(node->inputs[node_inputs[j]],
                                                     static_cast<gradient&&>(o.value),
                                                     element_count(o.shape), where);
    });
  }
}

/// Adds a gradient to what has come for an output, by interpretation.
template <class Configuration>
void record_sum(gradient& place, gradient&& more, dtype type, std::int64_t count, device where) {
  graph::builder b;
  const graph::axis_map flat = graph::with_axis(graph::empty_map, 0, 0);
  const std::uint16_t x = b.emit({.code = op::input, .type = type, .a = 0, .extra = flat});
  const std::uint16_t y = b.emit({.code = op::input, .type = type, .a = 1, .extra = flat});
  const std::uint16_t sum = b.binary(op::add, type, x, y);
  b.emit({.code = op::store, .type = type, .a = sum, .b = 0, .extra = flat});
  derivative_request request;
  request.derivative.nodes = b.nodes();
  for (std::int64_t& extent : request.extents) extent = 1;
  request.extents[0] = count;
  request.where = where;
  for (gradient* const each : {&place, &more}) {
    recorded_operand& operand = request.operands.emplace_back();
    operand.memory = each->memory;
    operand.at.data = each->data;
    operand.at.strides[0] = 1;
    operand.place = each->source;
  }
  place = interpret_recorded<Configuration>(std::move(request), true, {1})[0].value;
}

template <class Configuration>
inline constexpr gradient_recorder interpreting_recorder = {
    &record_by_interpretation<Configuration>, &record_sum<Configuration>};

}  // namespace detail

/// The gradients of `output` (of rank 0, or with the gradient `seed` of something computed from it)
/// with respect to variables anywhere on its tape; leaves collect nothing. With create_graph the
/// gradients are variables that can be differentiated again. An input that the output does not
/// depend on has gradient 0. Returns a tuple of variables, in the order of the inputs.
template <class T, int Rank, class... U, int... R, class Configuration = configuration>
auto grad(const variable<T, Rank>& output, const std::tuple<variable<U, R>...>& inputs,
          const tensor<T, Rank>& seed, backward_options options = {}) {
  if (!output.place().node) detail::raise_not_recorded();
  if (seed.extents() != output.extents()) {
    raise<shape_error>("heddle::grad: the gradient's extents are not the output's: ",
                       seed.extents(), "; ", output.extents(), " are expected");
  }
  if (seed.device() != output.device()) {
    detail::raise_gradient_device("grad", seed.device(), output.device());
  }
  detail::backward_pass_state pass(options);
  if (options.create_graph) {
    pass.recorder = &detail::interpreting_recorder<Configuration>;
  }
  pass.add_root(output.place(), detail::gradient_of(seed));
  std::apply(
      [&](const auto&... v) { (pass.capture_at(v.place().node.get(), v.place().output), ...); },
      inputs);
  pass.start();
  pass.run();
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    const auto one = [&]<class V, int N>(const variable<V, N>& v, detail::capture& c) {
      if (!c.caught) return variable<V, N>(zeros<V, N>(v.extents(), v.device()), false);
      tensor<V, N> caught = detail::tensor_of<V, N>(c.caught, v.extents());
      c.caught.memory = {};
      // memory that others hold, the seed's say, is not the caller's to keep
      if (!caught.storage()->is_unique()) caught = caught.clone();
      return variable<V, N>(static_cast<tensor<V, N>&&>(caught), c.caught.source);
    };
    return std::tuple{one(std::get<I>(inputs), pass.captures()[I])...};
  }
  (std::make_index_sequence<sizeof...(U)>{});
}

template <class T, class... U, int... R, class Configuration = configuration>
auto grad(const variable<T, 0>& output, const std::tuple<variable<U, R>...>& inputs,
          backward_options options = {}) {
  return grad(output, inputs, full<T, 0>({}, 1, output.device()), options);
}
/// Of one input: the gradient itself.
template <class T, class U, int R, class Configuration = configuration>
variable<U, R> grad(const variable<T, 0>& output, const variable<U, R>& input,
                    backward_options options = {}) {
  return std::get<0>(grad(output, std::tuple<variable<U, R>>(input), options));
}

}  // namespace heddle::inline v0

#if defined(HEDDLE_UNFUSED)
#include <heddle/autograd/traced.hpp>  // what record.hpp's statements need
#endif
