// SPDX-License-Identifier: BSD-3-Clause
// Recording statements that are interpreted (HEDDLE_UNFUSED): their nodes differentiate a graph
// when backward asks for it.
#pragma once

#include <heddle/autograd/grad.hpp>

namespace heddle::inline v0::detail {

/// Collects leaves, and the places of the variables among them by operand slot.
struct traced_collector : exec::detail::collector {
  std::vector<edge> places;

  template <class L>
  void leaf(const L& l) {
    this->add(l);
    places.emplace_back();
    if constexpr (requires { L::is_variable; }) places.back() = l.place();
  }
};

/// The node of a traced statement; none where no gradient is wanted.
template <class Configuration>
handle<tape_node> record_interpreted(const exec::traced_bound& b, std::vector<edge>&& places) {
  bool any = false;
  for (std::size_t i = 0; i < places.size(); ++i) any = any || (b.of->wanted[i] && places[i].node);
  if (!any) return {};
  const exec::interpreted_launch l = exec::detail::begin_launch<Configuration>(b);
  derivative_request r;
  r.derivative = l.of;
  r.scalars = l.scalars;
  for (int i = 0; i < graph::max_axes; ++i) r.extents[i] = b.extents[i];
  r.where = b.device;
  for (std::size_t i = 0; i < b.leaves.size(); ++i) {
    recorded_operand& o = r.operands.emplace_back();
    o.memory = l.owners[i];
    o.at = l.operands[i];
    if (!b.of->wanted[i]) continue;
    o.place = std::move(places[i]);
    const exec::leaf_view& leaf = b.leaves[i];
    for (int k = 0; k < leaf.rank; ++k) {
      const unsigned axis = graph::map_axis(b.of->operand_maps[i], k);
      if (axis < graph::max_axes && leaf.extents[k] == 1 && b.extents[axis] != 1) {
        o.repeats |= static_cast<std::uint8_t>(1u << k);
      }
    }
  }
  return make_handle<interpreted_node<Configuration>>(static_cast<derivative_request&&>(r));
}
#if defined(HEDDLE_UNFUSED)
HEDDLE_ONCE(handle<tape_node> record_interpreted<configuration>(const exec::traced_bound&,
                                                                std::vector<edge>&&));
#endif

template <class Configuration, class... E>
auto record_traced(const E&... e) {
  using results = decltype(exec::detail::result_tensors<E...>());
  traced_collector found{};
  const exec::traced_bound b = exec::bind_traced<Configuration>(found, e...);
  results made = exec::detail::allocate_results<results>(b);
  std::apply([&](const auto&... t) { exec::run_traced<Configuration>(b, t...); }, made);
  handle<tape_node> node;
  if constexpr (any_floating<results>) {
    if (recording) node = record_interpreted<Configuration>(b, std::move(found.places));
  }
  return with_places(made, node);
}

}  // namespace heddle::inline v0::detail
