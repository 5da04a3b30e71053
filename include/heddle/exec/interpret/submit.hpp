// SPDX-License-Identifier: BSD-3-Clause
// Interpreted launches on the streams of devices.
#pragma once

#include <utility>
#include <vector>

#include <heddle/core/stream.hpp>
#include <heddle/exec/interpret/interpreter.hpp>
#include <heddle/exec/profiler.hpp>
#include <heddle/exec/staged.hpp>

namespace heddle::inline v0::exec {

/// A launch that owns all it needs.
struct interpreted_launch {
  graph::graph of;
  std::vector<operand> operands;        ///< inputs, then outputs
  std::vector<handle<storage>> owners;  ///< of each operand; empty where nobody owns its memory
  int inputs = 0;
  std::vector<scalar_bits> scalars;
  std::int64_t extents[graph::max_axes] = {};

  [[nodiscard]] int outputs() const { return static_cast<int>(operands.size()) - inputs; }
  /// Valid while this lives and is not changed.
  [[nodiscard]] launch description() const {
    launch l;
    for (int i = 0; i < graph::max_axes; ++i) l.extents[i] = extents[i];
    l.inputs = operands.data();
    l.outputs = operands.data() + inputs;
    l.scalars = scalars.data();
    return l;
  }
};

/// Interprets a launch on the current stream of its device: at once on cpu(), queued on cpu(i), on
/// a CUDA device by way of the host (see staged.hpp), on meta() not at all.
template <class Configuration = configuration>
void submit_interpreted(interpreted_launch&& l, device where) {
  if (where.is_meta()) return;
  heddle::detail::record_launch([&] {
    return launch_record{"interpret", nullptr, 0, static_cast<int>(l.of.size()), 0, 0, where, {}};
  });
  if (where.is_cuda()) {
    std::vector<storage*> owners;
    for (const handle<storage>& owner : l.owners) owners.push_back(owner.get());
    detail::staged_launch(l.description(), l.inputs, l.outputs(), owners.data())
        .run([&l](const launch& here) { interpret<Configuration>(l.of, here); });
    return;
  }
  if (where.is_inline()) return interpret<Configuration>(l.of, l.description());
  current_stream(where).enqueue(
      [l = std::move(l)] { interpret<Configuration>(l.of, l.description()); });
}
#if defined(HEDDLE_UNFUSED)
HEDDLE_ONCE(void submit_interpreted<configuration>(interpreted_launch&&, device));
#endif

}  // namespace heddle::inline v0::exec
