// SPDX-License-Identifier: BSD-3-Clause
// The runtime's functions about streams and events.
#include "simulator.hpp"

using namespace stand_in;

namespace {

cudaError_t make(cudaStream_t* to, unsigned flags, int priority, const char* name) {
  return call(call_kind::plain, name, [&](world& w, hold&) {
    if (to == nullptr || (flags & ~unsigned{cudaStreamNonBlocking}) != 0) {
      return cudaErrorInvalidValue;
    }
    const auto kind = flags == 0 ? stream_kind::blocking : stream_kind::non_blocking;
    *to = &w.streams.create_stream(current_device(), kind, priority);
    return cudaSuccess;
  });
}
cudaError_t make(cudaEvent_t* to, unsigned flags, const char* name) {
  return call(call_kind::plain, name, [&](world& w, hold&) {
    const unsigned known = cudaEventBlockingSync | cudaEventDisableTiming;
    if (to == nullptr || (flags & ~known) != 0) return cudaErrorInvalidValue;
    *to = &w.streams.create_event(current_device(), (flags & cudaEventDisableTiming) == 0);
    return cudaSuccess;
  });
}

/// f(world, lock, stream), if the handle is one.
template <class F>
cudaError_t with_stream(const char* name, cudaStream_t stream, F f) {
  return call(call_kind::plain, name, [&](world& w, hold& h) {
    CUstream_st* const s = w.streams.find(stream, current_device(), name);
    return s == nullptr ? cudaErrorInvalidResourceHandle : f(w, h, *s);
  });
}
template <class F>
cudaError_t with_event(const char* name, cudaEvent_t event, F f) {
  return call(call_kind::plain, name, [&](world& w, hold& h) {
    CUevent_st* const e = w.streams.find(event, name);
    return e == nullptr ? cudaErrorInvalidResourceHandle : f(w, h, *e);
  });
}

cudaError_t record(cudaEvent_t event, cudaStream_t stream, const char* name) {
  return with_event(name, event, [&](world& w, hold& h, CUevent_st& e) {
    CUstream_st* const s = w.streams.find(stream, current_device(), name);
    if (s == nullptr || s->device != e.device) return cudaErrorInvalidResourceHandle;
    if (!simulator::is_free(*s)) return cudaErrorStreamCaptureUnsupported;
    operation o = w.streams.place(*s, "record of event " + std::to_string(e.ordinal));
    e.recorded = true;
    e.at = o.at;
    e.clock = o.clock;
    e.tick = std::make_shared<std::uint64_t>(0);
    o.run = [&streams = w.streams, tick = e.tick] { *tick = streams.tick(); };
    w.streams.push(h, *s, std::move(o));
    return cudaSuccess;
  });
}

}  // namespace

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return make(stream, 0, 0, __func__); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return make(stream, flags, 0, __func__);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return make(stream, flags, priority, __func__);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call(call_kind::release, __func__, [&](world& w, hold&) {
    CUstream_st* const s = w.streams.find_made(stream, "cudaStreamDestroy");
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    s->destroyed = true;  // what is queued still runs
    return cudaSuccess;
  });
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return with_stream(__func__, stream, [](world& w, hold& h, CUstream_st& s) {
    if (!simulator::is_free(s)) return cudaErrorStreamCaptureUnsupported;
    w.streams.wait(h, w.streams.clock_of(s));
    return cudaSuccess;
  });
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return with_stream(__func__, stream, [](world& w, hold& h, CUstream_st& s) {
    if (!simulator::is_free(s)) return cudaErrorStreamCaptureUnsupported;
    return w.streams.ask(h, w.streams.clock_of(s)) ? cudaSuccess : cudaErrorNotReady;
  });
}
cudaError_t cudaStreamGetDevice(cudaStream_t stream, int* device) {
  return with_stream(__func__, stream, [&](world&, hold&, CUstream_st& s) {
    *device = s.device;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  return with_stream(__func__, stream, [&](world&, hold&, CUstream_st& s) {
    *flags = s.kind == stream_kind::non_blocking ? cudaStreamNonBlocking : cudaStreamDefault;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return with_event(__func__, event, [&](world& w, hold& h, CUevent_st& e) {
    CUstream_st* const s = w.streams.find(stream, current_device(), "cudaStreamWaitEvent");
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (flags != cudaEventWaitDefault) return cudaErrorInvalidValue;
    if (!simulator::is_free(*s)) return cudaErrorStreamCaptureUnsupported;
    if (!e.recorded) return cudaSuccess;
    operation o = w.streams.place(*s, "wait for event " + std::to_string(e.ordinal), &e.clock);
    w.streams.push(h, *s, std::move(o));
    return cudaSuccess;
  });
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return with_stream(__func__, stream, [&](world&, hold& h, CUstream_st& s) {
    if (function == nullptr) return cudaErrorInvalidValue;
    work w;
    w.name = "host function";
    w.run = [function, data] { function(data); };
    w.outside = w.host_function = true;
    simulator::instance().queue(h, s, std::move(w));
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return make(event, 0, __func__); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return make(event, flags, __func__);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call(call_kind::release, __func__, [&](world& w, hold&) {
    CUevent_st* const e = w.streams.find(event, "cudaEventDestroy");
    if (e == nullptr) return cudaErrorInvalidResourceHandle;
    e->destroyed = true;
    return cudaSuccess;
  });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return record(event, stream, __func__);
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  if (flags != cudaEventRecordDefault) {
    return call(call_kind::plain, __func__, [](world&, hold&) { return cudaErrorInvalidValue; });
  }
  return record(event, stream, __func__);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return with_event(__func__, event, [](world& w, hold& h, CUevent_st& e) {
    if (e.recorded) w.streams.wait(h, vector_clock(e.clock));
    return cudaSuccess;
  });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return with_event(__func__, event, [](world& w, hold& h, CUevent_st& e) {
    if (!e.recorded || w.streams.ask(h, vector_clock(e.clock))) return cudaSuccess;
    return cudaErrorNotReady;
  });
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return with_event(__func__, start, [&](world& w, hold&, CUevent_st& from) {
    CUevent_st* const to = w.streams.find(end, "cudaEventElapsedTime");
    if (to == nullptr || !from.recorded || !to->recorded || !from.timed || !to->timed) {
      return cudaErrorInvalidResourceHandle;
    }
    if (!w.streams.reached(from.clock) || !w.streams.reached(to->clock)) return cudaErrorNotReady;
    *milliseconds = static_cast<float>(*to->tick) - static_cast<float>(*from.tick);
    return cudaSuccess;
  });
}
