// SPDX-License-Identifier: BSD-3-Clause
// The runtime's graphs: a stream's work recorded, launched as often as one likes, and its kernels'
// parameters changed between launches. A graph is the work of one stream.
#include <cstring>
#include <utility>

#include "library.hpp"

using namespace stand_in;

namespace {

constexpr const char* of_graph = "graph";
constexpr const char* of_executable = "executable graph";

struct executable {
  std::vector<captured_node> nodes;
  std::shared_ptr<captured_graph> made_from;  ///< whose nodes' handles name its own
};

cudaGraphNode_t handle_of(const captured_node& node) {
  return reinterpret_cast<cudaGraphNode_t>(const_cast<captured_node*>(&node));
}

/// The runtime's answer to a stream whose capture cannot be ended or asked about.
cudaError_t state_of(const CUstream_st& s) {
  if (s.capture == nullptr) return cudaErrorIllegalState;
  return s.capture_is_broken ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}

template <class Handle>
cudaError_t destroy(Handle handle, const char* kind, const char* name) {
  return call(call_kind::release, name, [&](world& w, hold&) {
    library_object* const found = find_object(w, handle, kind, name);
    if (found == nullptr) return cudaErrorInvalidValue;
    found->destroyed = true;
    return cudaSuccess;
  });
}

}  // namespace

namespace stand_in {

std::shared_ptr<const void> copy_parameter(const void* from, std::size_t bytes) {
  const auto memory = std::make_shared<std::vector<std::max_align_t>>(
      (bytes + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t));
  std::memcpy(memory->data(), from, bytes);
  return {memory, memory->data()};
}

}  // namespace stand_in

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    CUstream_st* const s = w.streams.find(stream, current_device(), "cudaStreamBeginCapture");
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (s->kind == stream_kind::legacy) return cudaErrorStreamCaptureUnsupported;
    if (s->capture != nullptr) return cudaErrorIllegalState;
    if (mode != cudaStreamCaptureModeRelaxed || s->kind != stream_kind::non_blocking) {
      w.findings.add("not modelled: a capture that forbids what other streams do");
      return cudaErrorInvalidValue;
    }
    s->capture = std::make_shared<captured_graph>();
    s->capture_is_broken = false;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call(call_kind::release, __func__, [&](world& w, hold&) {
    CUstream_st* const s = w.streams.find(stream, current_device(), "cudaStreamEndCapture");
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    const cudaError_t state = state_of(*s);
    const auto recorded = std::exchange(s->capture, nullptr);
    *graph = nullptr;
    if (state != cudaSuccess) return state;
    *graph = reinterpret_cast<cudaGraph_t>(add_object(w, recorded, of_graph, s->device));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t* graph,
                                     const cudaGraphNode_t** last, const cudaGraphEdgeData** edges,
                                     std::size_t* count) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    CUstream_st* const s = w.streams.find(stream, current_device(), "cudaStreamGetCaptureInfo");
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    *status = s->capture == nullptr  ? cudaStreamCaptureStatusNone
              : s->capture_is_broken ? cudaStreamCaptureStatusInvalidated
                                     : cudaStreamCaptureStatusActive;
    if (id != nullptr) *id = s->ordinal;
    if (edges != nullptr) *edges = nullptr;
    if (graph != nullptr) *graph = nullptr;
    thread_local cudaGraphNode_t node = nullptr;
    const bool any = s->capture != nullptr && !s->capture->nodes.empty();
    if (any) node = handle_of(*s->capture->nodes.back());
    if (last != nullptr) *last = &node;
    if (count != nullptr) *count = any ? 1 : 0;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* to, cudaGraph_t graph, unsigned long long flags) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    if (flags != 0) return cudaErrorInvalidValue;
    library_object* const found = find_object(w, graph, of_graph, "cudaGraphInstantiate");
    if (found == nullptr) return cudaErrorInvalidValue;
    auto made = std::make_shared<executable>();
    made->made_from = std::static_pointer_cast<captured_graph>(found->value);
    for (const auto& node : made->made_from->nodes) made->nodes.push_back(*node);
    *to = reinterpret_cast<cudaGraphExec_t>(add_object(w, made, of_executable, found->device));
    return cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream) {
  return call(call_kind::launch, __func__, [&](world& w, hold& h) {
    const auto* const e = find<executable>(w, handle, of_executable, "cudaGraphLaunch");
    CUstream_st* const s = w.streams.find(stream, current_device(), "cudaGraphLaunch");
    if (e == nullptr || s == nullptr) return cudaErrorInvalidResourceHandle;
    for (const captured_node& node : e->nodes) {
      if (!simulator::instance().queue(h, *s, node.make(node.parameter))) {
        return cudaErrorInvalidValue;
      }
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t handle, cudaGraphNode_t node,
                                             const cudaKernelNodeParams* to) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    auto* const e = find<executable>(w, handle, of_executable, "cudaGraphExecKernelNodeSetParams");
    if (e == nullptr || to == nullptr) return cudaErrorInvalidValue;
    for (std::size_t i = 0; i < e->nodes.size(); ++i) {
      if (handle_of(*e->made_from->nodes[i]) != node) continue;
      captured_node& changed = e->nodes[i];
      if (changed.stub == nullptr || changed.stub != to->func) return cudaErrorInvalidValue;
      changed.parameter = copy_parameter(to->kernelParams[0], changed.parameter_bytes);
      return cudaSuccess;
    }
    w.findings.add("handle: cudaGraphExecKernelNodeSetParams is given a node of another graph");
    return cudaErrorInvalidValue;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
  return destroy(handle, of_executable, "cudaGraphExecDestroy");
}
cudaError_t cudaGraphDestroy(cudaGraph_t handle) {
  return destroy(handle, of_graph, "cudaGraphDestroy");
}
