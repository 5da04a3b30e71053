// SPDX-License-Identifier: BSD-3-Clause
// A derivative to be run and recorded: what higher orders need of a statement's node.
#pragma once

#include <vector>

#include <heddle/autograd/node.hpp>
#include <heddle/exec/launch.hpp>
#include <heddle/graph/program.hpp>

namespace heddle::inline v0::detail {

/// An operand of a derivative at run time.
struct recorded_operand {
  handle<storage> memory;
  exec::operand at{};
  edge place;                ///< where its own gradient goes, if anywhere
  std::uint8_t repeats = 0;  ///< axes along which its extent happened to be 1
  std::uint32_t version = 0;
};

struct derivative_request {
  graph::graph derivative;
  std::vector<recorded_operand> operands;
  std::vector<std::size_t> slots;   ///< the operand that output j is a gradient of
  std::vector<std::size_t> inputs;  ///< and the node's input that it goes to
  std::vector<exec::scalar_bits> scalars;
  std::int64_t extents[graph::max_axes] = {};
  device where;
  tape_node* node = nullptr;
};

/// A gradient that a derivative writes: of which operand, and the place of that among the wanted.
struct gradient_place {
  int slot = 0;
  int variable = 0;
};

/// What a request needs to know of a statement's derivative, without its type.
struct derivative_tables {
  graph::graph (*thaw)();
  int operands, outputs, scalars, gradients;
  const bool* wanted;            ///< by operand
  const gradient_place* places;  ///< by gradient
};

/// A derivative to be recorded. A function of tables: higher orders are rare, and each statement
/// would have its own copy. first_extents: of wanted operands, where they are kept, else null.
HEDDLE_COLD inline derivative_request make_request(const derivative_tables& t, tape_node& node,
                                                   const exec::operand* in, storage* const* owners,
                                                   const std::int64_t* extents,
                                                   const exec::scalar_bits* scalars, device where,
                                                   const std::int64_t* first_extents) {
  const int slots = t.operands + 2 * t.outputs;
  derivative_request request;
  request.derivative = t.thaw();
  request.scalars.assign(scalars, scalars + t.scalars);
  for (int i = 0; i < graph::max_axes; ++i) request.extents[i] = extents[i];
  request.where = where;
  request.node = &node;
  request.operands.resize(static_cast<std::size_t>(slots));
  int variable = 0;
  for (int i = 0; i < slots; ++i) {
    recorded_operand& o = request.operands[static_cast<std::size_t>(i)];
    o.at = in[i];
    if (owners[i] != nullptr) o.memory = handle<storage>::share(owners[i]);
    if (i < t.operands) {
      if (!t.wanted[i]) continue;
      o.place = node.inputs[variable];
      // needed where the table is not saved, too
      if (first_extents != nullptr) o.at.indexed_extent = first_extents[variable];
      o.repeats = node.inputs[variable++].repeats;
    } else if (i < t.operands + t.outputs) {
      o.place = node.incoming[i - t.operands].source;
    } else {
      o.place = {handle<tape_node>::share(&node),
                 static_cast<std::uint16_t>(i - t.operands - t.outputs)};
    }
  }
  for (int k = 0; k < t.gradients; ++k) {
    request.slots.push_back(static_cast<std::size_t>(t.places[k].slot));
    request.inputs.push_back(static_cast<std::size_t>(t.places[k].variable));
  }
  return request;
}

}  // namespace heddle::inline v0::detail
