// SPDX-License-Identifier: BSD-3-Clause
// `cuda_graph`: a step of a CUDA device, captured once and replayed by one call.
#pragma once

#include <utility>

#include <heddle/core/capture.hpp>

namespace heddle::inline v0 {

namespace detail {

inline handle<graph_capture> new_capture(device where) {
  if (!where.is_cuda()) {
    raise<device_error>("heddle::cuda_graph: the device has no graphs: ", where,
                        "; only CUDA devices have");
  }
  return cuda_backend(where, "cuda_graph").new_capture(where);
}

}  // namespace detail

/// What a function queues on a CUDA device, captured when the graph is made and replayed by one
/// call of the run-time: a training step, or an evaluation, of always the same shapes. Nothing runs
/// while it is captured.
///
///     const auto x = zeros<float, 2>({64, 784}, cuda(0));  // inputs have a fixed place
///     const auto y = zeros<std::int64_t, 1>({64}, cuda(0));
///     tensor<float, 0> loss;
///     cuda_graph step(cuda(0), [&] {
///       variable l = cross_entropy(model(x), y);
///       optimizer.zero_grad();
///       l.backward();
///       optimizer.step();
///       loss = l.value();
///     });
///     for (const auto& batch : batches) {
///       assign(x, batch.x.to(cuda(0)));
///       assign(y, batch.y.to(cuda(0)));
///       step.replay();
///     }
///     print(loss.item());
///
/// * Tensors that are made in the step lie in memory of the graph's own; those that outlive it hold
///   what the last replay wrote. Tensors from outside are kept alive and must not be exchanged for
///   others: write into them. Parameters that are first used in the step, and an optimizer's
///   states, are made outside of it.
/// * Scalars of statements are those of the capture. What an optimizer steps by (its learning rate,
///   its number of steps) and the state of each draw from a `generator` are new in every replay: an
///   optimizer and a generator must stay where they are as long as the graph lives.
/// * What the host does in the step is done once, while it is captured: a scheduler steps between
///   replays, not in the step. Whether a gradient is made or added to is decided then, too: drop
///   gradients at the begin of the step, or have them before.
/// * A graph holds the work of one stream. A step that waits for the device (`item`, `print`), one
///   that copies to or from the host, and one that uses another device or stream is refused by a
///   state_error. Gradients of a step that was refused have no values: drop them.
/// * One thread at a time may replay.
///
/// Memory is given back when the graph and all tensors in it are gone.
class cuda_graph {
 public:
  /// Calls step() once, on a stream of its own, and keeps what it queued on the device. Throws
  /// device_error where the device is not a CUDA device, state_error for what a graph cannot hold,
  /// and what step() throws.
  template <class Step>
  requires std::is_invocable_v<Step&>
  explicit cuda_graph(device where, Step&& step) : capture_(detail::new_capture(where)) {
    detail::capture_scope recording(*capture_);
    static_cast<void>(step());
    recording.end();
  }

  /// Queues the step on the stream that was current when the graph was made.
  void replay() const { capture_->replay(); }

  /// Bytes of memory that the graph holds.
  [[nodiscard]] std::int64_t bytes() const noexcept { return capture_->bytes(); }

 private:
  handle<detail::graph_capture> capture_;
};

}  // namespace heddle::inline v0
