// SPDX-License-Identifier: BSD-3-Clause
// Streams, events and what runs next.
#include "scheduler.hpp"

namespace stand_in {

bool& in_host_function() {
  thread_local bool inside = false;
  return inside;
}

namespace {

/// The devices work no longer when its scope ends, but for another thread: the program goes on.
struct leave_closed {
  std::optional<device_memory::scope>& rights;
  const bool& still_running;
  ~leave_closed() {
    if (!still_running) rights.reset();
  }
};

void run_outside(const operation& o) {
  if (!o.host_function) return o.run();
  const device_memory::scope no_rights(device_memory::use::program);
  in_host_function() = true;
  o.run();
  in_host_function() = false;
}

}  // namespace

std::string stream_state::text() const {
  const std::string which = kind == stream_kind::legacy ? "the default stream"
                            : ordinal == 0              ? "the thread's stream"
                                                        : "stream " + std::to_string(ordinal);
  return which + " of device " + std::to_string(device);
}

CUstream_st& scheduler::make_stream(int device, stream_kind kind) {
  streams_.push_back(std::make_unique<CUstream_st>());
  CUstream_st& s = *streams_.back();
  s.actor = streams_.size();
  s.device = device;
  s.kind = kind;
  return s;
}
CUstream_st& scheduler::create_stream(int device, stream_kind kind, int priority) {
  CUstream_st& s = make_stream(device, kind);
  s.ordinal = ++streams_made_;
  s.priority = priority;
  return s;
}

CUevent_st& scheduler::create_event(int device, bool timed) {
  auto made = std::make_unique<CUevent_st>();
  CUevent_st& e = *made;
  e.ordinal = events_.size() + 1;
  e.device = device;
  e.timed = timed;
  events_.emplace(&e, std::move(made));
  return e;
}

CUstream_st& scheduler::default_stream(int device) {
  const auto at = static_cast<std::size_t>(device);
  if (at >= defaults_.size()) defaults_.resize(at + 1);
  if (defaults_[at] == nullptr) defaults_[at] = &make_stream(device, stream_kind::legacy);
  return *defaults_[at];
}
CUstream_st& scheduler::thread_stream(int device) {
  const auto at = static_cast<std::size_t>(device);
  if (at >= of_threads_.size()) of_threads_.resize(at + 1);
  if (of_threads_[at] == nullptr) of_threads_[at] = &make_stream(device, stream_kind::blocking);
  return *of_threads_[at];
}

CUstream_st* scheduler::find_made(cudaStream_t handle, const char* call) {
  for (const auto& s : streams_) {
    if (s.get() != handle || s->ordinal == 0) continue;
    if (!s->destroyed) return s.get();
    findings_->add(std::string("handle: ") + call + " is given " + s->text() +
                   ", which was destroyed");
    return nullptr;
  }
  findings_->add(std::string("handle: ") + call + " is given a stream that does not exist");
  return nullptr;
}
CUstream_st* scheduler::find(cudaStream_t handle, int device, const char* call) {
  if (handle == nullptr || handle == cudaStreamLegacy) return &default_stream(device);
  if (handle == cudaStreamPerThread) return &thread_stream(device);
  return find_made(handle, call);
}
CUevent_st* scheduler::find(cudaEvent_t handle, const char* call) {
  const auto found = events_.find(handle);
  if (found == events_.end()) {
    findings_->add(std::string("handle: ") + call + " is given an event that does not exist");
    return nullptr;
  }
  if (!found->second->destroyed) return found->second.get();
  findings_->add(std::string("handle: ") + call + " is given event " +
                 std::to_string(found->second->ordinal) + ", which was destroyed");
  return nullptr;
}

std::vector<live> scheduler::live_streams() const {
  std::vector<live> made;
  for (const auto& s : streams_) {
    if (s->ordinal != 0 && !s->destroyed) made.push_back({s->ordinal, s->device, 0, s->text()});
  }
  return made;
}
std::vector<live> scheduler::live_events() const {
  std::vector<live> made;
  for (const auto& [handle, e] : events_) {
    if (!e->destroyed) made.push_back({e->ordinal, e->device, 0, ""});
  }
  std::sort(made.begin(), made.end(),
            [](const live& a, const live& b) { return a.ordinal < b.ordinal; });
  return made;
}

vector_clock scheduler::clock_of(const stream_state& s) const {
  vector_clock clock = s.tail;
  clock.join(host_);
  if (s.kind == stream_kind::non_blocking) return clock;
  // the default stream waits for all that block, and they for it
  for (const auto& other : streams_) {
    if (other->device != s.device || other->kind == stream_kind::non_blocking) continue;
    if (s.kind == stream_kind::legacy || other->kind == stream_kind::legacy) {
      clock.join(other->tail);
    }
  }
  return clock;
}
vector_clock scheduler::clock_of_device(int device) const {
  vector_clock clock = host_;
  for (const auto& s : streams_) {
    if (s->device == device) clock.join(s->tail);
  }
  return clock;
}

operation scheduler::place(stream_state& s, const std::string& name, const vector_clock* after) {
  operation o;
  o.name = std::make_shared<const std::string>("#" + std::to_string(++operations_) + " " + name +
                                               " (" + s.text() + ")");
  o.clock = clock_of(s);
  if (after != nullptr) o.clock.join(*after);
  o.at = {s.actor, ++s.appended};
  o.clock.add(o.at);
  s.tail = o.clock;
  return o;
}

void scheduler::push(hold& h, stream_state& s, operation o) {
  s.queue.push_back(std::move(o));
  tell();
  if (order_ == order::eager) run_all(h);
}

bool scheduler::break_captures(int device) {
  bool any = false;
  for (const auto& s : streams_) {
    if (s->device != device || s->capture == nullptr) continue;
    s->capture_is_broken = any = true;
  }
  return any;
}

bool scheduler::reached(const vector_clock& until) const {
  for (const auto& s : streams_) {
    if (s->completed < until.of(s->actor)) return false;
  }
  return true;
}

bool scheduler::comes_next(const operation& o) const {
  for (const auto& s : streams_) {
    const std::uint64_t before = o.clock.of(s->actor) - (s->actor == o.at.actor ? 1 : 0);
    if (s->completed < before) return false;
  }
  return true;
}
bool scheduler::can_run(const operation& o) const {
  return comes_next(o) && (!o.ready || o.ready());
}
std::vector<stream_state*> scheduler::unready() const {
  std::vector<stream_state*> found;
  for (const auto& s : streams_) {
    if (s->queue.empty()) continue;
    const operation& next = s->queue.front();
    if (next.ready && comes_next(next) && !next.ready()) found.push_back(s.get());
  }
  return found;
}

stream_state* scheduler::choose(const vector_clock* until, mood how) {
  stream_state* chosen = nullptr;
  int candidates = 0;
  bool chosen_is_needed = true;
  for (const auto& s : streams_) {
    if (s->queue.empty() || !can_run(s->queue.front())) continue;
    const bool needed = until != nullptr && s->completed < until->of(s->actor);
    if (how == mood::needed && !needed) continue;
    if (how == mood::needed_last && chosen != nullptr && needed != chosen_is_needed) {
      if (needed) continue;
      candidates = 0;
    }
    if (random_.below(++candidates) == 0) {
      chosen = s.get();
      chosen_is_needed = needed;
    }
  }
  return chosen;
}

bool scheduler::wait_for_runner(hold& h) {
  if (!running_) return false;
  changed_.wait(h, [&] { return !running_; });
  return true;
}
void scheduler::tell() {
  ++told_;
  changed_.notify_all();
}
bool scheduler::wait_for_others(hold& h) {
  const std::uint64_t seen = told_;
  return changed_.wait_for(h, limit_, [&] { return told_ != seen; });
}
void scheduler::give_up_unready(bool is_finding) {
  for (stream_state* s : unready()) {
    operation& next = s->queue.front();
    if (next.ready()) continue;  // since another was given up
    const std::string missing = next.give_up();
    if (is_finding) findings_->add("waits for ever: " + *next.name + ": " + missing);
  }
  tell();
}

void scheduler::run_head(hold& h, stream_state& s) {
  operation o = std::move(s.queue.front());
  s.queue.pop_front();
  ++tick_;
  if (!rights_) rights_.emplace(device_memory::use::devices);
  if (o.outside) {
    running_ = true;
    h.unlock();
    run_outside(o);
    h.lock();
    running_ = false;
  } else if (o.run) {
    o.run();
  }
  // an error may have dropped the rest
  if (s.completed < o.at.number) s.completed = o.at.number;
  tell();
}

void scheduler::learn(const vector_clock& until) {
  host_.join(until);
  // a last operation may have learnt from others when it ran
  for (const auto& s : streams_) {
    if (s->appended > 0 && host_.of(s->actor) >= s->appended) host_.join(s->tail);
  }
}

void scheduler::wait(hold& h, const vector_clock& until) {
  const leave_closed at_end{rights_, running_};
  const mood moods[] = {mood::needed, mood::any, mood::needed_last};
  const mood how = order_ == order::eager ? mood::any : random_.pick(moods);
  while (!reached(until)) {
    if (wait_for_runner(h)) continue;
    stream_state* next = choose(&until, how);
    // what is needed may not be ready before something else has run
    if (next == nullptr) next = choose(&until, mood::any);
    if (next != nullptr) {
      run_head(h, *next);
    } else if (unready().empty()) {
      break;
    } else if (!wait_for_others(h)) {
      give_up_unready(true);
    }
  }
  learn(until);
}

bool scheduler::ask(hold& h, const vector_clock& until) {
  const leave_closed at_end{rights_, running_};
  for (int some = random_.below(4); some > 0 && !reached(until); --some) {
    if (wait_for_runner(h)) continue;
    stream_state* const next = choose(&until, mood::any);
    if (next == nullptr) break;
    run_head(h, *next);
  }
  if (!reached(until)) return false;
  learn(until);
  return true;
}

void scheduler::run_all(hold& h) {
  const leave_closed at_end{rights_, running_};
  while (queued() > 0) {
    if (wait_for_runner(h)) continue;
    stream_state* const next = choose(nullptr, mood::any);
    if (next == nullptr) break;
    run_head(h, *next);
  }
  wait_for_runner(h);
}
void scheduler::finish(hold& h) {
  run_all(h);
  while (!unready().empty()) {
    give_up_unready(false);
    run_all(h);
  }
}

void scheduler::drop_all() {
  for (const auto& s : streams_) {
    s->queue.clear();
    s->completed = s->appended;
  }
  tell();
}

std::size_t scheduler::queued() const {
  std::size_t n = 0;
  for (const auto& s : streams_) n += s->queue.size();
  return n;
}

moment scheduler::host_moment() {
  const moment now{0, host_.of(0) + 1};
  host_.add(now);
  return now;
}

}  // namespace stand_in
