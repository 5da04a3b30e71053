// SPDX-License-Identifier: BSD-3-Clause
// The runtime's functions that allocate and release.
#include "simulator.hpp"

using namespace stand_in;

namespace {

std::string free_of(const allocation& a) {
  return "free of allocation " + std::to_string(a.ordinal);
}

cudaError_t make(void** to, std::size_t bytes, memory_kind kind, const char* name) {
  return call(call_kind::allocation, name, [&](world& w, hold&) {
    if (to == nullptr) return cudaErrorInvalidValue;
    *to = nullptr;
    if (bytes == 0) return cudaSuccess;
    allocation* const a = w.memory.make(kind, current_device(), bytes, name, w.streams.host());
    if (a == nullptr) return cudaErrorMemoryAllocation;
    *to = a->begin;
    return cudaSuccess;
  });
}

/// The live allocation that begins at an address; null and a finding if there is none, or if it is
/// not for this call to free.
allocation* to_free(world& w, void* address, bool pinned, const char* name) {
  allocation* const a = w.memory.find(address);
  const std::string call_is = std::string("bad free: ") + name + " is given ";
  if (a == nullptr) {
    w.findings.add(call_is + "a pointer that no allocation has");
  } else if (address != a->begin) {
    w.findings.add(call_is + "a pointer into " + a->text());
  } else if (a->freed) {
    w.findings.add(call_is + a->text() + ", which " + *a->freed_by + " frees");
  } else if ((a->kind == memory_kind::pinned) != pinned) {
    w.findings.add(call_is + a->text());
  } else {
    return a;
  }
  return nullptr;
}

/// A device that broke down has lost its memory: nothing is checked.
void forget_accesses(const world& w, allocation& a) {
  if (w.sticky == cudaSuccess) return;
  a.history.clear();
  a.made = {};
}

/// The runtime may wait for the device here, and may not: what is queued must be known to be done.
cudaError_t free_now(void* address, bool pinned, const char* name) {
  return call(call_kind::release, name, [&](world& w, hold&) {
    if (address == nullptr) return cudaSuccess;
    allocation* const a = to_free(w, address, pinned, name);
    if (a == nullptr) return cudaErrorInvalidValue;
    // the runtime may wait for the device
    if (w.streams.break_captures(a->device)) {
      w.findings.add(std::string("capture: ") + name + " ends a capture of its device");
    }
    forget_accesses(w, *a);
    vector_clock clock;
    const accessor by = simulator::instance().host_does(name, clock);
    w.memory.check_free(by, *a);
    w.memory.retire(*a);
    return cudaSuccess;
  });
}

}  // namespace

cudaError_t cudaMalloc(void** to, std::size_t bytes) {
  return make(to, bytes, memory_kind::device, __func__);
}
cudaError_t cudaMallocHost(void** to, std::size_t bytes) {
  return make(to, bytes, memory_kind::pinned, __func__);
}
cudaError_t cudaHostAlloc(void** to, std::size_t bytes, unsigned) {
  return make(to, bytes, memory_kind::pinned, __func__);
}
cudaError_t cudaFree(void* address) { return free_now(address, false, __func__); }
cudaError_t cudaFreeHost(void* address) { return free_now(address, true, __func__); }

cudaError_t cudaMallocAsync(void** to, std::size_t bytes, cudaStream_t stream) {
  return call(call_kind::allocation, __func__, [&](world& w, hold& h) {
    if (to == nullptr) return cudaErrorInvalidValue;
    *to = nullptr;
    CUstream_st* const s = w.streams.find(stream, current_device(), "cudaMallocAsync");
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (!simulator::is_free(*s)) return cudaErrorStreamCaptureUnsupported;
    if (bytes == 0) return cudaSuccess;
    allocation* const a = w.memory.make(memory_kind::pool, s->device, bytes, "cudaMallocAsync",
                                        w.streams.clock_of(*s));
    if (a == nullptr) return cudaErrorMemoryAllocation;
    *to = a->begin;
    operation o = w.streams.place(*s, "making of allocation " + std::to_string(a->ordinal));
    a->made = o.at;
    // its memory held something else until here
    o.run = [a] { memory_map::fill_new(*a); };
    w.streams.push(h, *s, std::move(o));
    return cudaSuccess;
  });
}
cudaError_t cudaFreeAsync(void* address, cudaStream_t stream) {
  return call(call_kind::release, __func__, [&](world& w, hold& h) {
    if (address == nullptr) return cudaSuccess;
    CUstream_st* const s = w.streams.find(stream, current_device(), "cudaFreeAsync");
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (!simulator::is_free(*s)) return cudaErrorStreamCaptureUnsupported;
    allocation* const a = to_free(w, address, false, "cudaFreeAsync");
    if (a == nullptr) return cudaErrorInvalidValue;
    forget_accesses(w, *a);
    operation o = w.streams.place(*s, free_of(*a));
    w.memory.check_free({o.name, o.at, &o.clock, -1}, *a);
    if (w.sticky != cudaSuccess) {
      w.memory.retire(*a);
      s->completed = s->appended;
      return cudaSuccess;
    }
    o.run = [&w, a] { w.memory.retire(*a); };
    w.streams.push(h, *s, std::move(o));
    return cudaSuccess;
  });
}

cudaError_t cudaHostGetDevicePointer(void** to, void* host, unsigned flags) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    const allocation* const a = w.memory.find(host);
    if (flags != 0 || a == nullptr || a->freed || a->kind != memory_kind::pinned) {
      return cudaErrorInvalidValue;
    }
    *to = host;
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* to, const void* address) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    *to = {};
    to->type = cudaMemoryTypeUnregistered;
    to->device = -2;  // as the driver says of memory it does not know
    to->hostPointer = const_cast<void*>(address);
    const auto* const at = static_cast<const std::byte*>(address);
    const allocation* const a = w.memory.find(address);
    if (a == nullptr || a->freed || at < a->begin || at >= a->begin + a->bytes) return cudaSuccess;
    const bool pinned = a->kind == memory_kind::pinned;
    to->type = pinned ? cudaMemoryTypeHost : cudaMemoryTypeDevice;
    to->device = a->device;
    to->devicePointer = const_cast<void*>(address);
    if (!pinned) to->hostPointer = nullptr;
    return cudaSuccess;
  });
}
