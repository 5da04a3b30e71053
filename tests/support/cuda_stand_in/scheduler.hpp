// SPDX-License-Identifier: BSD-3-Clause
// The stand-in's streams and events: queues of operations with vector clocks. Whatever the clocks
// allow may run next; a seed decides what does.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "../random_source.hpp"
#include "device_memory.hpp"
#include "memory.hpp"

namespace stand_in {

using hold = std::unique_lock<std::mutex>;

struct operation {
  label name;
  moment at;
  vector_clock clock;  ///< all that comes before it, and itself
  std::function<void()> run;
  bool outside = false;  ///< a program's own code: run without the lock
  bool host_function = false;
  /// Whether it may run, where that is for more than its clock to say; empty: it may.
  std::function<bool()> ready;
  /// Of what has `ready`: makes it ready, to do nothing. The answer: what it would wait for.
  std::function<std::string()> give_up;
};

struct captured_graph;

enum class stream_kind : std::uint8_t { blocking, non_blocking, legacy };

struct stream_state {
  std::uint64_t ordinal = 0;  ///< 0: made by no call
  std::size_t actor = 0;
  int device = 0;
  int priority = 0;
  stream_kind kind = stream_kind::blocking;
  bool destroyed = false;
  std::deque<operation> queue;
  std::uint64_t appended = 0;
  std::uint64_t completed = 0;
  vector_clock tail;                        ///< of the last operation
  std::shared_ptr<captured_graph> capture;  ///< what its work is recorded into
  bool capture_is_broken = false;           ///< by a call that cannot be recorded

  [[nodiscard]] std::string text() const;
};

struct event_state {
  std::uint64_t ordinal = 0;
  int device = 0;
  bool timed = true;
  bool destroyed = false;
  bool recorded = false;
  moment at;                                                                 ///< of the last record
  vector_clock clock;                                                        ///< likewise
  std::shared_ptr<std::uint64_t> tick = std::make_shared<std::uint64_t>(0);  ///< when that ran
};

}  // namespace stand_in

// The runtime's handles are pointers to these.
struct CUstream_st : stand_in::stream_state {};
struct CUevent_st : stand_in::event_state {};

namespace stand_in {

class scheduler {
 public:
  explicit scheduler(finding_list& findings) : findings_(&findings), random_(1) {}

  void set_seed(std::uint64_t seed) { random_ = support::random_source(seed); }
  void set_order(order how) { order_ = how; }
  void set_time_limit(std::chrono::milliseconds limit) { limit_ = limit; }
  std::uint64_t random_word() { return random_.word(); }

  /// What a call makes.
  CUstream_st& create_stream(int device, stream_kind kind, int priority);
  CUevent_st& create_event(int device, bool timed);
  /// The default stream of a device, and the one of cudaStreamPerThread.
  CUstream_st& default_stream(int device);
  CUstream_st& thread_stream(int device);
  /// Null and a finding where a handle is none, or no longer.
  CUstream_st* find(cudaStream_t handle, int device, const char* call);
  CUevent_st* find(cudaEvent_t handle, const char* call);
  /// Null and a finding where a handle is none of a stream that can be destroyed.
  CUstream_st* find_made(cudaStream_t handle, const char* call);
  [[nodiscard]] std::vector<live> live_streams() const;
  [[nodiscard]] std::vector<live> live_events() const;

  /// An operation's place behind what its stream, and what it comes after otherwise, have.
  operation place(stream_state& s, const std::string& name, const vector_clock* after = nullptr);
  /// Queues it; eagerly run, it is done then.
  void push(hold& h, stream_state& s, operation o);
  /// Ends the captures of a device's streams: the call is for the whole device. Whether there are
  /// any.
  bool break_captures(int device);
  /// What an operation placed now would come after.
  [[nodiscard]] vector_clock clock_of(const stream_state& s) const;
  [[nodiscard]] vector_clock clock_of_device(int device) const;

  /// Runs until `until` is reached; the host knows then. Where something is not ready, waits for
  /// other threads; a finding, and it is given up, if they do nothing before the time limit.
  void wait(hold& h, const vector_clock& until);
  /// Runs a little, as time goes by; whether `until` is reached (the host knows then).
  bool ask(hold& h, const vector_clock& until);
  void run_all(hold& h);
  /// As run_all(); what does not get ready is given up, and no finding.
  void finish(hold& h);
  /// Other threads that wait look again.
  void tell();
  /// Waits until tell() is called; false: it is not before the time limit.
  bool wait_for_others(hold& h);
  /// Nothing queued will run.
  void drop_all();
  [[nodiscard]] std::size_t queued() const;
  [[nodiscard]] bool reached(const vector_clock& until) const;

  /// What the host knows to have happened.
  [[nodiscard]] const vector_clock& host() const { return host_; }
  /// A moment of the host itself, after all it knows.
  moment host_moment();
  [[nodiscard]] std::uint64_t tick() const { return tick_; }

 private:
  /// Which heads of queues a wait lets run.
  enum class mood : std::uint8_t { needed, any, needed_last };

  CUstream_st& make_stream(int device, stream_kind kind);
  /// Whether all that comes before it has run.
  [[nodiscard]] bool comes_next(const operation& o) const;
  [[nodiscard]] bool can_run(const operation& o) const;
  /// Streams whose next operation is not ready, and nothing else keeps it.
  [[nodiscard]] std::vector<stream_state*> unready() const;
  void give_up_unready(bool is_finding);
  /// The host knows that `until` is reached.
  void learn(const vector_clock& until);
  stream_state* choose(const vector_clock* until, mood how);
  void run_head(hold& h, stream_state& s);
  /// Waits for another thread that runs an operation.
  bool wait_for_runner(hold& h);

  finding_list* findings_;
  support::random_source random_;
  order order_ = order::random;
  std::vector<std::unique_ptr<CUstream_st>> streams_;  // by actor - 1
  std::unordered_map<cudaEvent_t, std::unique_ptr<CUevent_st>> events_;
  std::vector<CUstream_st*> defaults_, of_threads_;  // by device
  std::uint64_t streams_made_ = 0, operations_ = 0, tick_ = 0;
  vector_clock host_;
  bool running_ = false;
  std::optional<device_memory::scope> rights_;  ///< while operations run
  std::chrono::milliseconds limit_ = std::chrono::seconds(10);
  std::uint64_t told_ = 0;
  std::condition_variable changed_;
};

/// Whether this thread is inside a host function.
bool& in_host_function();

}  // namespace stand_in
