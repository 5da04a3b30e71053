// SPDX-License-Identifier: BSD-3-Clause
// NCCL on the stand-in. Ranks are threads, or communicators of one thread within a group. An
// exchange is two operations of each rank's stream: the first copies what the rank sends, the
// second writes what it receives, and is ready when all have done their first. Those of a group are
// all first ones, then all second ones; what a group of several streams orders besides is not
// relied on.
#include <array>
#include <atomic>
#include <cstdint>
#include <utility>

#include "collective.hpp"
#include "library.hpp"

using namespace stand_in;

namespace {

constexpr const char* communicator = "communicator";

/// What an id holds.
struct id_words {
  std::uint64_t sign;
  std::uint64_t generation;
  std::uint64_t number;
};
constexpr std::uint64_t sign_of_id = 0x68656464'6C656964;

struct entry {
  ncclComm_t* to;
  std::uint64_t number;
  int ranks, rank, device;
  bool blocking;
  const char* call;
};
struct issue {
  std::shared_ptr<ncclComm> by;
  request what;
  CUstream_st* stream;
};

/// What a thread has called since ncclGroupStart.
struct group_state {
  std::uint64_t generation = 0;
  int depth = 0;
  ncclResult_t error = ncclSuccess;
  std::vector<entry> entries;
  std::vector<issue> issues;
};
group_state& group() {
  thread_local group_state state;
  const std::uint64_t now = simulator::instance().generation;
  if (state.generation != now) {
    state = {};
    state.generation = now;
  }
  return state;
}
/// A number of the thread; std::thread's are used again.
std::uint64_t this_thread() {
  static std::atomic<std::uint64_t> threads{0};
  thread_local const std::uint64_t number = ++threads;
  return number;
}
std::string& last_error() {
  thread_local std::string text;
  return text;
}

bool is_error(ncclResult_t how) { return how != ncclSuccess && how != ncclInProgress; }

/// The frame around a function; an error within a group is the group's.
template <class F>
ncclResult_t library_call(call_kind kind, const char* name, F f) {
  ncclResult_t (*const status_of)(cudaError_t) = [](cudaError_t) { return ncclUnhandledCudaError; };
  const ncclResult_t how = call_library(kind, name, status_of, f);
  if (is_error(how)) {
    last_error() = std::string(name) + ": " + ncclGetErrorString(how);
    if (group().depth > 0 && group().error == ncclSuccess) group().error = how;
  }
  return how;
}

/// f(world, lock, communicator), if the handle is one.
template <class F>
ncclResult_t with_communicator(call_kind kind, const char* name, ncclComm_t handle, F f) {
  return library_call(kind, name, [&](world& w, hold& h) {
    const library_object* const found = find_object(w, handle, communicator, name);
    if (found == nullptr) return ncclInvalidArgument;
    return f(w, h, std::static_pointer_cast<ncclComm>(found->value));
  });
}

// How cliques come together.

/// A rank comes; an error that is all ranks' breaks the clique.
ncclResult_t enter(world& w, const entry& e) {
  std::shared_ptr<clique>& c = w.cliques[e.number];
  if (c == nullptr) {
    c = std::make_shared<clique>();
    c->ranks = e.ranks;
  }
  if (is_error(c->state)) return c->state;
  const std::string who = std::string("handle: ") + e.call + " of rank " + std::to_string(e.rank);
  if (c->ranks != e.ranks) {
    w.findings.add(who + " is told of " + std::to_string(e.ranks) + " ranks, another one of " +
                   std::to_string(c->ranks));
    c->break_off(ncclInvalidUsage);
  } else if (c->devices.count(e.rank) > 0) {
    w.findings.add(who + " is called twice with one id");
    if (c->works()) return ncclInvalidUsage;
    c->break_off(ncclInvalidUsage);
  } else {
    // as NCCL answers it: two ranks on one device
    for (const auto& [rank, device] : c->devices) {
      if (device == e.device) c->break_off(ncclInvalidUsage);
    }
    c->devices[e.rank] = e.device;
    if (c->state == ncclInProgress && c->missing().empty()) c->state = ncclSuccess;
  }
  w.streams.tell();
  return is_error(c->state) ? c->state : ncclSuccess;
}

/// Waits until all ranks have come; past the time limit it is a finding.
ncclResult_t meet_all(world& w, hold& h, const entry& e) {
  const std::shared_ptr<clique> c = w.cliques[e.number];
  while (e.blocking && c->state == ncclInProgress && w.sticky == cudaSuccess) {
    if (w.streams.wait_for_others(h)) continue;
    w.findings.add(std::string("waits for ever: ") + e.call + " of rank " + std::to_string(e.rank) +
                   " of " + std::to_string(e.ranks) + ": " + c->missing());
    c->break_off(ncclSystemError);
    w.streams.tell();
  }
  if (w.sticky != cudaSuccess) c->break_off(ncclUnhandledCudaError);
  if (is_error(c->state)) return c->state;
  auto made = std::make_shared<ncclComm>();
  made->of = c;
  made->rank = e.rank;
  made->device = e.device;
  *e.to = add_object(w, made, communicator, e.device);
  return c->state;
}

// How exchanges are queued.

struct ticket {
  issue of;
  std::shared_ptr<meeting> at;
  std::size_t place = 0;
};

work part_of(const ticket& t) {
  work w;
  w.name = t.of.by->text(t.of.what);
  w.device = t.of.by->device;
  return w;
}
range range_of(const void* at, std::size_t bytes, touch how) {
  return {static_cast<const std::byte*>(at), bytes, how};
}

void queue_first(hold& h, const ticket& t) {
  const request& what = t.of.what;
  ncclComm& by = *t.of.by;
  const std::size_t bytes = what.bytes_sent(by.rank, by.of->ranks);
  work w = part_of(t);
  w.accesses = {range_of(what.from, bytes, touch::read)};
  w.run = [c = by.of, m = t.at, place = t.place, from = what.from, bytes] {
    if (!c->works()) return;
    meeting::place& to = m->places[place];
    const auto* const begin = static_cast<const std::byte*>(from);
    if (bytes > 0) to.sent.assign(begin, begin + bytes);
    to.arrived = true;
  };
  moment at;
  if (!simulator::instance().queue(h, *t.of.stream, std::move(w), &at,
                                   &t.at->places[t.place].clock)) {
    by.of->break_off(ncclUnhandledCudaError);
  }
  by.issued.add(at);
}

void queue_second(hold& h, const ticket& t) {
  const request& what = t.of.what;
  ncclComm& by = *t.of.by;
  work w = part_of(t);
  w.accesses = {range_of(what.to, what.bytes_received(by.rank, by.of->ranks), touch::written)};
  w.ready = [c = by.of, m = t.at] { return !c->works() || m->all_arrived(); };
  w.give_up = [c = by.of, m = t.at] {
    c->break_off(ncclSystemError);
    return m->missing();
  };
  w.run = [c = by.of, m = t.at, place = t.place, s = t.of.stream] {
    if (!c->works()) return;
    m->deliver(place);
    for (std::size_t from = 0; from < m->places.size(); ++from) {
      if (m->depends(place, from)) s->tail.join(m->places[from].clock);
    }
  };
  moment at;
  if (!simulator::instance().queue(h, *t.of.stream, std::move(w), &at)) {
    by.of->break_off(ncclUnhandledCudaError);
  }
  by.issued.add(at);
}

void launch(world& w, hold& h, const std::vector<issue>& issues) {
  const std::uint64_t number = ++w.groups;
  std::vector<ticket> tickets;
  for (const issue& i : issues) {
    const auto [at, place] = i.by->meet(i.what);
    at->places[place].thread = this_thread();
    at->places[place].group = number;
    std::string wrong = at->mismatch();
    if (!wrong.empty()) i.by->of->break_off(ncclInvalidUsage);
    if (wrong.empty()) wrong = at->ungrouped();
    if (!wrong.empty()) w.findings.add(wrong);
    tickets.push_back({i, at, place});
  }
  for (const ticket& t : tickets) queue_first(h, t);
  for (const ticket& t : tickets) queue_second(h, t);
  w.streams.tell();
}

/// Does what the outermost group holds.
ncclResult_t end_group(world& w, hold& h) {
  const group_state held =
      std::exchange(group(), {simulator::instance().generation, 0, {}, {}, {}});
  if (held.error != ncclSuccess) return held.error;
  if (!held.entries.empty() && !held.issues.empty()) {
    w.findings.add("group: communicators are made in one with exchanges");
    return ncclInvalidUsage;
  }
  for (const issue& i : held.issues) {
    if (is_error(i.by->of->state)) return i.by->of->state;
  }
  launch(w, h, held.issues);
  std::vector<ncclResult_t> answers;
  for (const entry& e : held.entries) {
    *e.to = nullptr;
    answers.push_back(enter(w, e));
  }
  ncclResult_t all = ncclSuccess;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!is_error(answers[i])) answers[i] = meet_all(w, h, held.entries[i]);
    if (is_error(answers[i]) ? !is_error(all) : all == ncclSuccess) all = answers[i];
  }
  return all;
}

// The bodies of functions.

ncclUniqueId new_id(world& w) {
  const std::uint64_t number = w.cliques.size() + 1;
  w.cliques[number] = nullptr;
  const id_words words{sign_of_id, simulator::instance().generation, number};
  ncclUniqueId id{};
  std::memcpy(&id, &words, sizeof words);
  return id;
}

ncclResult_t init(ncclComm_t* to, int ranks, const ncclUniqueId& id, int rank,
                  const ncclConfig_t* config, const char* name) {
  return library_call(call_kind::plain, name, [&](world& w, hold& h) {
    if (to == nullptr || ranks < 1 || rank < 0 || rank >= ranks) return ncclInvalidArgument;
    if (config != nullptr && config->magic != 0xcafebeef) return ncclInvalidArgument;
    id_words words;
    std::memcpy(&words, &id, sizeof words);
    if (words.sign != sign_of_id || words.generation != simulator::instance().generation ||
        w.cliques.count(words.number) == 0) {
      w.findings.add(std::string("handle: ") + name + " is given an id that is none");
      return ncclInvalidArgument;
    }
    const bool blocking = config == nullptr || config->blocking != 0;
    group().entries.push_back({to, words.number, ranks, rank, current_device(), blocking, name});
    return group().depth > 0 ? ncclSuccess : end_group(w, h);
  });
}

bool valid(const request& what, const ncclComm& by) {
  const int ranks = by.of->ranks;
  const std::size_t size = size_of(what.type);
  if (size == 0) return false;
  if (what.count > PTRDIFF_MAX / size / static_cast<std::size_t>(ranks)) return false;
  if (what.reduces() && (what.op < ncclSum || what.op >= ncclNumOps)) return false;
  if (what.has_root() && (what.root < 0 || what.root >= ranks)) return false;
  return (what.bytes_sent(by.rank, ranks) == 0 || what.from != nullptr) &&
         (what.bytes_received(by.rank, ranks) == 0 || what.to != nullptr);
}

ncclResult_t exchange_by(ncclComm_t handle, cudaStream_t stream, const request& what) {
  const auto body = [&](world& w, hold& h, const std::shared_ptr<ncclComm>& by) {
    // one that is not complete may not be used yet
    if (by->of->state == ncclInProgress) return ncclInvalidArgument;
    if (!by->of->works()) return by->of->state;
    if (what.type == ncclFloat8e4m3 || what.type == ncclFloat8e5m2) {
      w.findings.add(std::string("not modelled: ") + what.call + " of 8-bit floats");
    }
    CUstream_st* const s = w.streams.find(stream, by->device, what.call);
    if (s == nullptr || !valid(what, *by)) return ncclInvalidArgument;
    if (s->device != by->device) {
      w.findings.add(std::string("handle: ") + what.call +
                     " is given a stream of another device than the communicator's");
      return ncclInvalidArgument;
    }
    if (what.overlaps(by->rank, by->of->ranks)) {
      w.findings.add("overlap: the buffers of " + by->text(what) + " do, and not in place");
    }
    group().issues.push_back({by, what, s});
    return group().depth > 0 ? ncclSuccess : end_group(w, h);
  };
  return with_communicator(call_kind::plain, what.call, handle, body);
}

/// Waits for the communicator's operations, and for the other ranks that they wait for.
void flush(world& w, hold& h, const ncclComm& c) { w.streams.wait(h, vector_clock(c.issued)); }

}  // namespace

ncclResult_t ncclGetVersion(int* version) {
  if (version == nullptr) return ncclInvalidArgument;
  *version = version_of(library::nccl, NCCL_VERSION_CODE);
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  constexpr std::array<const char*, ncclNumResults> texts = {
      "no error",
      "unhandled cuda error",
      "unhandled system error",
      "internal error",
      "invalid argument",
      "invalid usage",
      "remote process exited or there was a network error",
      "NCCL operation in progress"};
  const auto at = static_cast<std::size_t>(result);
  return at < texts.size() ? texts[at] : "unknown result code";
}
const char* ncclGetLastError(ncclComm_t) { return last_error().c_str(); }

ncclResult_t ncclGetUniqueId(ncclUniqueId* to) {
  return library_call(call_kind::plain, __func__, [&](world& w, hold&) {
    if (to == nullptr) return ncclInvalidArgument;
    *to = new_id(w);
    return ncclSuccess;
  });
}

ncclResult_t ncclCommInitRank(ncclComm_t* to, int ranks, ncclUniqueId id, int rank) {
  return init(to, ranks, id, rank, nullptr, __func__);
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* to, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  return init(to, ranks, id, rank, config, __func__);
}
ncclResult_t ncclCommInitAll(ncclComm_t* to, int ranks, const int* devices) {
  return library_call(call_kind::plain, __func__, [&](world& w, hold& h) {
    if (to == nullptr || ranks < 1 || ranks > w.devices) return ncclInvalidArgument;
    for (int r = 0; r < ranks && devices != nullptr; ++r) {
      if (devices[r] < 0 || devices[r] >= w.devices) return ncclUnhandledCudaError;
    }
    const ncclUniqueId id = new_id(w);
    id_words words;
    std::memcpy(&words, &id, sizeof words);
    for (int r = 0; r < ranks; ++r) {
      const int device = devices == nullptr ? r : devices[r];
      group().entries.push_back({to + r, words.number, ranks, r, device, true, "ncclCommInitAll"});
    }
    return group().depth > 0 ? ncclSuccess : end_group(w, h);
  });
}

ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  return with_communicator(call_kind::plain, __func__, handle,
                           [](world& w, hold& h, const std::shared_ptr<ncclComm>& c) {
                             flush(w, h, *c);
                             return ncclSuccess;
                           });
}
ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  if (handle == nullptr) return ncclSuccess;
  return with_communicator(call_kind::release, __func__, handle,
                           [&](world& w, hold& h, const std::shared_ptr<ncclComm>& c) {
                             w.objects[handle].destroyed = true;
                             if (c->of->state == ncclInProgress) {
                               c->of->break_off(ncclRemoteError);
                             }
                             flush(w, h, *c);
                             return ncclSuccess;
                           });
}
ncclResult_t ncclCommAbort(ncclComm_t handle) {
  if (handle == nullptr) return ncclSuccess;
  return with_communicator(call_kind::release, __func__, handle,
                           [&](world& w, hold&, const std::shared_ptr<ncclComm>& c) {
                             w.objects[handle].destroyed = true;
                             c->of->break_off(ncclRemoteError);
                             w.streams.tell();
                             return ncclSuccess;
                           });
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* to) {
  return with_communicator(call_kind::plain, __func__, handle,
                           [&](world&, hold&, const std::shared_ptr<ncclComm>& c) {
                             if (to == nullptr) return ncclInvalidArgument;
                             *to = c->of->state;
                             return ncclSuccess;
                           });
}
ncclResult_t ncclCommCount(const ncclComm_t handle, int* to) {
  return with_communicator(call_kind::plain, __func__, handle,
                           [&](world&, hold&, const std::shared_ptr<ncclComm>& c) {
                             if (to == nullptr) return ncclInvalidArgument;
                             *to = c->of->ranks;
                             return ncclSuccess;
                           });
}
ncclResult_t ncclCommCuDevice(const ncclComm_t handle, int* to) {
  return with_communicator(call_kind::plain, __func__, handle,
                           [&](world&, hold&, const std::shared_ptr<ncclComm>& c) {
                             if (to == nullptr) return ncclInvalidArgument;
                             *to = c->device;
                             return ncclSuccess;
                           });
}
ncclResult_t ncclCommUserRank(const ncclComm_t handle, int* to) {
  return with_communicator(call_kind::plain, __func__, handle,
                           [&](world&, hold&, const std::shared_ptr<ncclComm>& c) {
                             if (to == nullptr) return ncclInvalidArgument;
                             *to = c->rank;
                             return ncclSuccess;
                           });
}

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t by, cudaStream_t stream) {
  return exchange_by(by, stream, {exchange::all_reduce, __func__, from, to, count, type, op, 0});
}
ncclResult_t ncclReduce(const void* from, void* to, std::size_t count, ncclDataType_t type,
                        ncclRedOp_t op, int root, ncclComm_t by, cudaStream_t stream) {
  return exchange_by(by, stream, {exchange::reduce, __func__, from, to, count, type, op, root});
}
ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           int root, ncclComm_t by, cudaStream_t stream) {
  return exchange_by(by, stream,
                     {exchange::broadcast, __func__, from, to, count, type, ncclSum, root});
}
ncclResult_t ncclBcast(void* buffer, std::size_t count, ncclDataType_t type, int root,
                       ncclComm_t by, cudaStream_t stream) {
  return exchange_by(by, stream,
                     {exchange::broadcast, __func__, buffer, buffer, count, type, ncclSum, root});
}
ncclResult_t ncclAllGather(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclComm_t by, cudaStream_t stream) {
  return exchange_by(by, stream,
                     {exchange::all_gather, __func__, from, to, count, type, ncclSum, 0});
}
ncclResult_t ncclReduceScatter(const void* from, void* to, std::size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t by, cudaStream_t stream) {
  return exchange_by(by, stream,
                     {exchange::reduce_scatter, __func__, from, to, count, type, op, 0});
}
ncclResult_t ncclSend(const void* from, std::size_t count, ncclDataType_t type, int peer,
                      ncclComm_t by, cudaStream_t stream) {
  return exchange_by(by, stream,
                     {exchange::send, __func__, from, nullptr, count, type, ncclSum, peer});
}
ncclResult_t ncclRecv(void* to, std::size_t count, ncclDataType_t type, int peer, ncclComm_t by,
                      cudaStream_t stream) {
  return exchange_by(by, stream,
                     {exchange::receive, __func__, nullptr, to, count, type, ncclSum, peer});
}

ncclResult_t ncclGroupStart() {
  return library_call(call_kind::plain, __func__, [](world&, hold&) {
    ++group().depth;
    return ncclSuccess;
  });
}
ncclResult_t ncclGroupEnd() {
  bool failed = true;
  const ncclResult_t how = library_call(call_kind::plain, __func__, [&](world& w, hold& h) {
    failed = false;
    if (group().depth == 0) return ncclInvalidUsage;
    return --group().depth > 0 ? ncclSuccess : end_group(w, h);
  });
  // one that fails ends the group even so, and nothing of it is done
  if (failed && group().depth > 0 && --group().depth == 0) {
    group() = {simulator::instance().generation, 0, {}, {}, {}};
  }
  return how;
}
