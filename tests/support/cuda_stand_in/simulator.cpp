// SPDX-License-Identifier: BSD-3-Clause
// Counting calls, planting faults, and what tests say and ask.
#include "simulator.hpp"

#include <algorithm>

#if defined(CUDA_API_PER_THREAD_DEFAULT_STREAM)
#error "the stand-in has no per-thread default streams"
#endif

namespace stand_in {

simulator& simulator::instance() {
  // objects compiled by nvcc unregister themselves when the process ends: it lives on
  static auto* const one = new simulator;
  return *one;
}

thread_state& simulator::thread() {
  thread_local thread_state state;
  if (state.generation != generation) {
    state = {};
    state.generation = generation;
  }
  return state;
}

bool is_sticky(cudaError_t how) {
  switch (how) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorExternalDevice:
      return true;
    default:
      return false;
  }
}

void simulator::break_down(cudaError_t how) {
  now->sticky = how;
  now->streams.drop_all();
}

cudaError_t simulator::begin_call(call_kind kind, const char* name) {
  if (in_host_function()) {
    now->findings.add(std::string("host function: ") + name + " is called within one");
    return cudaErrorNotPermitted;
  }
  if (now->absent != cudaSuccess) return now->absent;
  if (kind == call_kind::release) return cudaSuccess;
  const bool fails = now->calls.count();
  const bool no_memory = kind == call_kind::allocation && now->allocations.count();
  if (now->sticky != cudaSuccess) return now->sticky;
  if (fails) {
    if (is_sticky(now->calls.how)) break_down(now->calls.how);
    return now->calls.how;
  }
  return no_memory ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t simulator::end_call(cudaError_t how) {
  if (now->sticky != cudaSuccess) how = now->sticky;
  if (how != cudaSuccess && how != cudaErrorNotReady) thread().last_error = how;
  return how;
}

bool simulator::is_free(stream_state& s) {
  if (s.capture != nullptr) s.capture_is_broken = true;
  return s.capture == nullptr;
}

bool simulator::queue(hold& h, stream_state& s, work w, moment* at, vector_clock* clock) {
  if (s.capture != nullptr) {
    auto node = std::make_shared<captured_node>();
    node->make = [w = std::move(w)](const std::shared_ptr<const void>&) { return w; };
    s.capture->nodes.push_back(std::move(node));
    return true;
  }
  operation o = now->streams.place(s, w.name, w.after);
  if (at != nullptr) *at = o.at;
  if (clock != nullptr) *clock = o.clock;
  bool in_range = true;
  for (const range& r : w.accesses) {
    if (!now->memory.check({o.name, o.at, &o.clock, w.device}, r)) in_range = false;
  }
  if (in_range) o.run = std::move(w.run);
  o.outside = w.outside && in_range;
  o.host_function = w.host_function;
  o.ready = std::move(w.ready);
  o.give_up = std::move(w.give_up);
  now->streams.push(h, s, std::move(o));
  return in_range;
}

accessor simulator::host_does(const std::string& name, vector_clock& clock) {
  const moment at = now->streams.host_moment();
  clock = now->streams.host();
  return {std::make_shared<const std::string>(name), at, &clock, -1};
}

namespace {

/// Calls f(simulator, its world, lock).
template <class F>
auto with(F f) {
  simulator& s = simulator::instance();
  hold h(s.guard);
  return f(s, *s.now, h);
}

}  // namespace

void set_order(order how) {
  with([&](simulator&, world& w, hold& h) {
    w.streams.set_order(how);
    if (how == order::eager) w.streams.run_all(h);
  });
}
void set_seed(std::uint64_t seed) {
  with([&](simulator&, world& w, hold&) { w.streams.set_seed(seed); });
}
std::size_t queued() {
  return with([](simulator&, world& w, hold&) { return w.streams.queued(); });
}
void set_time_limit(std::chrono::milliseconds limit) {
  with([&](simulator&, world& w, hold&) { w.streams.set_time_limit(limit); });
}
void set_devices(int count) {
  with([&](simulator&, world& w, hold&) { w.devices = count; });
}
void set_capacity(int device, std::size_t bytes) {
  with([&](simulator&, world& w, hold&) { w.memory.set_capacity(device, bytes); });
}
void set_peer_access(bool possible) {
  with([&](simulator&, world& w, hold&) { w.peers = possible; });
}
void set_version(library of, int version) {
  with([&](simulator&, world& w, hold&) { w.versions[static_cast<int>(of)] = version; });
}
void no_device(cudaError_t how) {
  with([&](simulator&, world& w, hold&) { w.absent = how; });
}

std::vector<std::string> findings() {
  return with([](simulator&, world& w, hold&) {
    w.memory.check_guards();
    return w.findings.all();
  });
}
void report(const std::string& sentence) {
  with([&](simulator&, world& w, hold&) { w.findings.add(sentence); });
}
std::vector<live> live_allocations() {
  return with([](simulator&, world& w, hold&) { return w.memory.all_live(); });
}
std::vector<live> live_streams() {
  return with([](simulator&, world& w, hold&) { return w.streams.live_streams(); });
}
std::vector<live> live_events() {
  return with([](simulator&, world& w, hold&) { return w.streams.live_events(); });
}

std::vector<live> live_library_objects() {
  return with([](simulator&, world& w, hold&) {
    std::vector<live> made;
    for (const auto& [handle, o] : w.objects) {
      if (!o.destroyed) made.push_back({o.ordinal, o.device, 0, o.kind});
    }
    std::sort(made.begin(), made.end(),
              [](const live& a, const live& b) { return a.ordinal < b.ordinal; });
    return made;
  });
}

void recover() {
  with([](simulator& s, world& w, hold& h) {
    w.streams.finish(h);
    w.memory.forget_freed();
    std::erase_if(w.objects, [](const auto& each) { return each.second.destroyed; });
    w.findings = {};
    w.sticky = cudaSuccess;
    w.calls.left = w.allocations.left = w.launches.left = 0;
    s.thread().last_error = cudaSuccess;
  });
}
void reset() {
  with([](simulator& s, world& w, hold&) {
    w.streams.drop_all();
    s.past.push_back(std::move(s.now));
    s.now = std::make_unique<world>();
    s.past.back()->memory = memory_map(s.past.back()->findings);
    ++s.generation;
    s.team_fault = 0;
  });
}

void fail_allocation(std::uint64_t k) {
  with([&](simulator&, world& w, hold&) { w.allocations.left = k; });
}
void fail_call(std::uint64_t k, cudaError_t how) {
  with([&](simulator&, world& w, hold&) { w.calls.left = k, w.calls.how = how; });
}
void fail_kernel(std::uint64_t k, cudaError_t how) {
  with([&](simulator&, world& w, hold&) { w.launches.left = k, w.launches.how = how; });
}
std::uint64_t calls() {
  return with([](simulator&, world& w, hold&) { return w.calls.done; });
}
std::uint64_t allocations() {
  return with([](simulator&, world& w, hold&) { return w.allocations.done; });
}
std::uint64_t launches() {
  return with([](simulator&, world& w, hold&) { return w.launches.done; });
}
void reset_counters() {
  with(
      [](simulator&, world& w, hold&) { w.calls.done = w.allocations.done = w.launches.done = 0; });
}
void set_team_fault(int fault) {
  with([&](simulator& s, world&, hold&) { s.team_fault = fault; });
}
int team_fault() {
  return with([](simulator& s, world&, hold&) { return s.team_fault; });
}

void host_access(const void* begin, std::size_t bytes, touch how) {
  with([&](simulator& s, world& w, hold&) {
    vector_clock clock;
    const accessor by = s.host_does("the program", clock);
    w.memory.check(by, {static_cast<const std::byte*>(begin), bytes, how});
  });
}

void register_kernel(const void* stub, const kernel_body& body) {
  with([&](simulator& s, world&, hold&) { s.bodies[stub] = body; });
}

}  // namespace stand_in
