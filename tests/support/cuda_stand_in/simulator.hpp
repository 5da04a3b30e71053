// SPDX-License-Identifier: BSD-3-Clause
// The one stand-in of the process: memory, streams and faults behind a lock, and the frame around
// each of the runtime's functions.
#pragma once

#include <map>

#include "scheduler.hpp"

// What a memory pool's handle points to; each device has its default one.
struct CUmemPoolHandle_st {
  int device = 0;
  std::uint64_t release_threshold = 0;
  int reuse[4] = {1, 1, 1, 1};
};

namespace stand_in {

/// How a call counts and fails.
enum class call_kind : std::uint8_t {
  plain,
  allocation,
  launch,
  release,  ///< fails only after a sticky error, and releases even then
};

/// What belongs to a thread of the program.
struct thread_state {
  std::uint64_t generation = 0;
  int device = 0;
  cudaError_t last_error = cudaSuccess;
  struct configuration {
    dim3 grid, block;
    std::size_t shared_bytes;
    cudaStream_t stream;
  };
  std::vector<configuration> pushed;  ///< by <<<…>>>
};

/// What an operation of the runtime is.
struct work {
  std::string name;
  std::vector<range> accesses;
  std::function<void()> run;
  bool outside = false;
  bool host_function = false;
  const vector_clock* after = nullptr;  ///< an event's
  int device = -1;                      ///< of a kernel
  std::function<bool()> ready;          ///< as an operation's
  std::function<std::string()> give_up;
};

/// What a captured operation is: made anew, from its parameter, whenever the graph is launched.
struct captured_node {
  std::function<work(const std::shared_ptr<const void>& parameter)> make;
  std::shared_ptr<const void> parameter;  ///< of a kernel
  std::size_t parameter_bytes = 0;
  const void* stub = nullptr;
};
struct captured_graph {
  std::vector<std::shared_ptr<captured_node>> nodes;
};

/// A copy of a kernel's parameter.
std::shared_ptr<const void> copy_parameter(const void* from, std::size_t bytes);

/// What is behind a handle of a library.
struct library_object {
  const char* kind = "";
  std::uint64_t ordinal = 0;
  int device = 0;
  bool destroyed = false;
  std::shared_ptr<void> value;
};

struct clique;

/// What reset() makes anew.
struct world {
  finding_list findings;
  memory_map memory{findings};
  scheduler streams{findings};
  int devices = 2;
  bool peers = true;
  int versions[3] = {};              ///< of the libraries; 0: the headers'
  cudaError_t absent = cudaSuccess;  ///< no device, and why
  cudaError_t sticky = cudaSuccess;
  std::map<int, CUmemPoolHandle_st> pools;
  std::map<const void*, library_object> objects;
  std::uint64_t objects_made = 0;
  std::map<std::uint64_t, std::shared_ptr<clique>> cliques;  ///< of ranks, by the number in an id
  std::uint64_t groups = 0;  ///< of calls to NCCL; a call without one is one

  struct counted {
    std::uint64_t done = 0;
    std::uint64_t left = 0;  ///< until one fails; 0: none does
    cudaError_t how = cudaErrorMemoryAllocation;
    /// Whether this one fails.
    bool count() { return ++done, left > 0 && --left == 0; }
  };
  counted calls, allocations, launches;
};

/// What a block may have, where its kernel was allowed to: as a device of compute capability 9.0.
inline constexpr int most_shared_memory = 227 << 10;

class simulator {
 public:
  static simulator& instance();

  std::mutex guard;
  std::unique_ptr<world> now = std::make_unique<world>();
  std::uint64_t generation = 1;
  int team_fault = 0;
  std::map<const void*, kernel_body> bodies;  ///< by stub
  /// By stub and device: shared memory that launches may ask for, where more than 48 KiB.
  std::map<std::pair<const void*, int>, std::size_t> shared_allowed;
  std::map<const void*, std::string> kernel_names;  ///< by stub, of all kernels in the program
  std::vector<std::string> variables;               ///< device variables that were registered
  std::vector<std::unique_ptr<world>> past;         ///< so that no handle is ever used again

  thread_state& thread();

  /// Whether a call goes on.
  cudaError_t begin_call(call_kind kind, const char* name);
  cudaError_t end_call(cudaError_t how);
  /// From now on every call answers `how`, and nothing runs.
  void break_down(cudaError_t how);

  /// Queues an operation, or records it where the stream is captured; false where an access is out
  /// of range, and it does not run.
  bool queue(hold& h, stream_state& s, work w, moment* at = nullptr, vector_clock* clock = nullptr);
  /// Whether a call can go on with a stream; it cannot, and breaks the capture, where the stream's
  /// work is being recorded and a graph does not hold what the call does.
  static bool is_free(stream_state& s);
  /// The clock and label of something the host does itself.
  accessor host_does(const std::string& name, vector_clock& clock);
};

bool is_sticky(cudaError_t how);

/// The frame around a function of the runtime: f(world, lock) is its answer.
template <class F>
cudaError_t call(call_kind kind, const char* name, F f) {
  simulator& s = simulator::instance();
  hold h(s.guard);
  const cudaError_t may = s.begin_call(kind, name);
  if (may != cudaSuccess) return s.end_call(may);
  return s.end_call(f(*s.now, h));
}

/// What a library says of its version.
inline int version_of(library which, int of_headers) {
  simulator& s = simulator::instance();
  const hold h(s.guard);
  const int told = s.now->versions[static_cast<int>(which)];
  return told != 0 ? told : of_headers;
}

/// Which device a call is for.
inline int current_device() { return simulator::instance().thread().device; }

}  // namespace stand_in
