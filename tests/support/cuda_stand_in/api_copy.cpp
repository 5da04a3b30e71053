// SPDX-License-Identifier: BSD-3-Clause
// The runtime's copies and fills. What each one waits for is what the runtime's documentation says
// under "API synchronization behavior".
#include <cstring>
#include <vector>

#include "simulator.hpp"

using namespace stand_in;

namespace {

struct copy {
  void* to;
  const void* from;
  std::size_t bytes;
  cudaMemcpyKind kind;
};

/// Which memory an end of a copy is in.
enum class place : std::uint8_t { pageable, pinned, device };
place place_of(world& w, const void* address) {
  const allocation* const a = w.memory.find(address);
  if (a == nullptr) return place::pageable;
  return a->kind == memory_kind::pinned ? place::pinned : place::device;
}

bool as_said(cudaMemcpyKind kind, place to, place from) {
  const bool to_device = to == place::device;
  const bool from_device = from == place::device;
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    default:
      return true;
  }
}

const char* direction(place to, place from) {
  if (to == place::device) return from == place::device ? "device to device" : "host to device";
  return from == place::device ? "device to host" : "host to host";
}

range range_of(const void* at, std::size_t bytes, touch how) {
  return {static_cast<const std::byte*>(at), bytes, how};
}

/// synchronous: cudaMemcpy and its like, which know more waits than copies queued in a stream.
cudaError_t run_copy(world& world_now, hold& h, CUstream_st& s, const copy& c, bool synchronous,
                     const char* name) {
  if (c.bytes == 0) return cudaSuccess;
  if (c.to == nullptr || c.from == nullptr) return cudaErrorInvalidValue;
  const place to = place_of(world_now, c.to);
  const place from = place_of(world_now, c.from);
  if (!as_said(c.kind, to, from)) {
    world_now.findings.add(std::string("direction: ") + name + " is told another one than " +
                           direction(to, from));
    return cudaErrorInvalidValue;
  }
  const bool on_host = to != place::device && from != place::device;
  if (on_host || (synchronous && from == place::pageable))
    world_now.streams.wait(h, world_now.streams.clock_of(s));
  work w;
  w.name = "copy of " + std::to_string(c.bytes) + " bytes, " + direction(to, from);
  if (from != place::pageable) w.accesses.push_back(range_of(c.from, c.bytes, touch::read));
  if (to != place::pageable) w.accesses.push_back(range_of(c.to, c.bytes, touch::written));
  if (from == place::pageable) {
    // staged: the caller may change the source as soon as this returns
    const auto* const begin = static_cast<const std::byte*>(c.from);
    w.run = [c, staged = std::vector<std::byte>(begin, begin + c.bytes)] {
      std::memcpy(c.to, staged.data(), c.bytes);
    };
  } else {
    w.run = [c] { std::memmove(c.to, c.from, c.bytes); };
  }
  if (!simulator::instance().queue(h, s, std::move(w))) return cudaErrorInvalidValue;
  const bool to_host = to != place::device;
  const bool waits = synchronous ? to_host || from == place::pinned : to == place::pageable;
  if (waits || on_host) world_now.streams.wait(h, vector_clock(s.tail));
  return cudaSuccess;
}

cudaError_t queue_copy(const copy& c, cudaStream_t stream, const char* name) {
  return call(call_kind::plain, name, [&](world& w, hold& h) {
    CUstream_st* const s = w.streams.find(stream, current_device(), name);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    return run_copy(w, h, *s, c, false, name);
  });
}

/// Waits only where the memory is pinned and the function is not one that queues.
cudaError_t fill(void* at, int value, std::size_t bytes, cudaStream_t stream, bool synchronous,
                 const char* name) {
  return call(call_kind::plain, name, [&](world& now, hold& h) {
    CUstream_st* const s = now.streams.find(stream, current_device(), name);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (bytes == 0) return cudaSuccess;
    work w;
    w.name = "fill of " + std::to_string(bytes) + " bytes";
    w.accesses.push_back(range_of(at, bytes, touch::written));
    w.run = [at, value, bytes] { std::memset(at, value, bytes); };
    const bool pinned = place_of(now, at) == place::pinned;
    if (at == nullptr || !simulator::instance().queue(h, *s, std::move(w))) {
      return cudaErrorInvalidValue;
    }
    if (synchronous && pinned) now.streams.wait(h, vector_clock(s->tail));
    return cudaSuccess;
  });
}

}  // namespace

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return call(call_kind::plain, __func__, [&](world& w, hold& h) {
    CUstream_st& s = w.streams.default_stream(current_device());
    return run_copy(w, h, s, {to, from, bytes, kind}, true, "cudaMemcpy");
  });
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return queue_copy({to, from, bytes, kind}, stream, __func__);
}
cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t bytes,
                                cudaStream_t stream) {
  return queue_copy({to, from, bytes, cudaMemcpyDeviceToDevice}, stream, __func__);
}
cudaError_t cudaMemset(void* at, int value, std::size_t bytes) {
  return fill(at, value, bytes, nullptr, true, __func__);
}
cudaError_t cudaMemsetAsync(void* at, int value, std::size_t bytes, cudaStream_t stream) {
  return fill(at, value, bytes, stream, false, __func__);
}
