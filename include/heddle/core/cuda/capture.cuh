// SPDX-License-Identifier: BSD-3-Clause
// Captures by the CUDA run-time: the memory that a graph owns, what it keeps alive, and the kernels
// whose parameters change from replay to replay.
#pragma once

#include <map>
#include <memory>

#include <heddle/core/capture.hpp>
#include <heddle/core/cuda/memory.cuh>

namespace heddle::inline v0::detail {

/// Makes a device current where an error cannot be told.
class set_device {
 public:
  explicit set_device(int index) noexcept : before_(index) {
    note_cuda(cudaGetDevice(&before_));
    note_cuda(cudaSetDevice(index));
  }
  ~set_device() { note_cuda(cudaSetDevice(before_)); }
  set_device(const set_device&) = delete;
  set_device& operator=(const set_device&) = delete;

 private:
  int before_;
};

/// Memory of graphs that are gone, until no capture runs.
class released_chunks : pooled {
 public:
  static released_chunks& instance() {
    static released_chunks& one = *new released_chunks;  // outlives the run-time
    return one;
  }
  void add(int device, const std::vector<std::byte*>& chunks) noexcept {
    lock hold(guard_);
    for (std::byte* const each : chunks) chunks_.emplace_back(device, each);
    free_all();
  }
  void begin_capture() noexcept {
    lock hold(guard_);
    ++running_captures();
  }
  void end_capture() noexcept {
    lock hold(guard_);
    --running_captures();
    free_all();
  }

 private:
  void free_all() noexcept {
    if (running_captures().load(std::memory_order_relaxed) > 0) return;
    for (const auto& [device, chunk] : chunks_) {
      const set_device current(device);
      note_cuda(cudaFree(chunk));
    }
    chunks_.clear();
  }

  mutex guard_;
  std::vector<std::pair<int, std::byte*>> chunks_;  // guarded
};

/// Memory of one graph, handed out in the order of its one stream: what is freed can be used again
/// by whatever comes later in the step.
class capture_pool final : public counted {
 public:
  explicit capture_pool(device where) : where_(where) { share(); }
  ~capture_pool() override = default;

  std::byte* take(std::size_t bytes) {
    const std::size_t size = (bytes + alignment - 1) / alignment * alignment;
    lock hold(guard_);
    for (auto range = free_.begin(); range != free_.end(); ++range) {
      if (range->second < size) continue;
      std::byte* const begin = range->first;
      const std::size_t rest = range->second - size;
      free_.erase(range);
      if (rest > 0) free_.emplace(begin + size, rest);
      return begin;
    }
    const std::size_t whole = (size + chunk - 1) / chunk * chunk;
    void* made = nullptr;
    const cudaError_t code = cudaMalloc(&made, whole);
    if (code == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      raise_cuda_memory(bytes, where_);
    }
    check_cuda(code, "allocate");
    auto* const begin = static_cast<std::byte*>(made);
    chunks_.push_back(begin);
    bytes_ += static_cast<std::int64_t>(whole);
    count_live(static_cast<std::int64_t>(whole));
    if (whole > size) free_.emplace(begin + size, whole - size);
    return begin;
  }

  void give_back(std::byte* begin, std::size_t bytes) noexcept {
    std::size_t size = (bytes + alignment - 1) / alignment * alignment;
    lock hold(guard_);
    auto after = free_.lower_bound(begin);
    if (after != free_.end() && begin + size == after->first) {
      size += after->second;
      after = free_.erase(after);
    }
    if (after != free_.begin()) {
      const auto before = std::prev(after);
      if (before->first + before->second == begin) {
        before->second += size;
        return;
      }
    }
    free_.emplace_hint(after, begin, size);
  }

  [[nodiscard]] std::int64_t bytes() const noexcept { return bytes_; }

  /// Says that work on a stream uses the memory.
  void record_stream(stream_state& user) {
    lock hold(guard_);
    for (const handle<stream_state>& known : users_) {
      if (known.get() == &user) return;
    }
    users_.push_back(handle<stream_state>::share(&user));
  }

 private:
  static constexpr std::size_t alignment = 512;
  static constexpr std::size_t chunk = std::size_t{2} << 20;

  void count_live(std::int64_t bytes) const noexcept {
    cuda_arena& arena = cuda_arena_of(where_.index);
    const std::int64_t live = arena.live.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    std::int64_t peak = arena.peak.load(std::memory_order_relaxed);
    while (live > peak &&
           !arena.peak.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
    }
  }
  void dispose() noexcept override {
    count_live(-bytes_);
    if (!cuda_is_lost().load(std::memory_order_relaxed)) {
      const set_device current(where_.index);
      bool unused = true;
      for (const handle<stream_state>& user : users_) {
        const cudaError_t code = cudaStreamSynchronize(cuda_state(user).get());
        note_cuda(code);
        unused = unused && code == cudaSuccess;
      }
      // without an answer the memory stays until the process ends
      if (unused) released_chunks::instance().add(where_.index, chunks_);
    }
    counted::dispose();
  }

  device where_;
  mutex guard_;
  std::map<std::byte*, std::size_t> free_;  // guarded, as is all below
  std::vector<std::byte*> chunks_;
  std::vector<handle<stream_state>> users_;
  std::int64_t bytes_ = 0;
};

/// What a step allocates while it is captured.
class captured_storage final : public storage, public pooled {
 public:
  captured_storage(std::byte* data, std::size_t bytes, heddle::device where,
                   handle<capture_pool> pool) noexcept
      : storage(data, bytes, where), pool_(std::move(pool)) {}
  ~captured_storage() override = default;

  /// The graph's own work has the memory in its order; another graph's keeps it.
  void record_stream(stream_state& user) override;

 private:
  void dispose() noexcept override {
    if (data() != nullptr) pool_->give_back(data(), bytes());
    delete this;
  }

  handle<capture_pool> pool_;
};

class cuda_capture final : public graph_capture {
 public:
  explicit cuda_capture(device where)
      : home_(state_of(current_stream(where))), pool_(make_handle<capture_pool>(where)) {
    const cuda_device_scope scope(present_index(where, "cuda_graph"), "cuda_graph");
    if (this_thread_capture != nullptr) refuse_capture("makes or replays a graph itself");
    cuda_state(home_).get_words();  // that the step's kernels use: nothing is made while it records
    cudaStream_t made = nullptr;
    check_cuda(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cuda_graph");
    stream_ = make_handle<cuda_stream>(where, made, true);
    cuda_state(stream_).lend_words(home_);
    share();
  }
  ~cuda_capture() override {
    if (cuda_is_lost().load(std::memory_order_relaxed)) return;
    const set_device current(device().index);
    if (exec_ != nullptr) {
      // what the graph kept may go when no replay reads it any more; without an answer it stays
      const cudaError_t code = cudaStreamSynchronize(cuda_state(home_).get());
      note_cuda(code);
      if (code != cudaSuccess) {
        for (auto& [place, used] : kept_) static_cast<void>(used.memory.detach());
      }
      note_cuda(cudaGraphExecDestroy(exec_));
    }
    if (graph_ != nullptr) note_cuda(cudaGraphDestroy(graph_));
  }

  void begin() override {
    const cuda_device_scope scope(device().index, "cuda_graph");
    // Only what this thread queues here is recorded; what else it asks for happens at once.
    released_chunks::instance().begin_capture();
    const cudaError_t code = cudaStreamBeginCapture(stream().get(), cudaStreamCaptureModeRelaxed);
    if (code != cudaSuccess) {
      released_chunks::instance().end_capture();
      raise_cuda(code, "cuda_graph");
    }
    stream().set_capture(this);
    before_ = std::exchange(current_state(device()), stream_.get());
  }
  void end() override {
    const set_device current(device().index);
    check_cuda(leave(), "cuda_graph");
    pool_->record_stream(*home_);
    check_cuda(cudaGraphInstantiate(&exec_, graph_, 0), "cuda_graph");
  }
  void abandon() noexcept override {
    const set_device current(device().index);
    note_cuda(leave());
  }
  void replay() override {
    if (this_thread_capture != nullptr) refuse_capture("makes or replays a graph itself");
    const cuda_device_scope scope(device().index, "cuda_graph::replay");
    std::size_t done = 0;
    try {
      for (; done < at_replay_.size(); ++done) at_replay_[done].call();
      check_cuda(cudaGraphLaunch(exec_, cuda_state(home_).get()), "cuda_graph::replay");
    } catch (...) {
      while (done-- > 0) {
        if (at_replay_[done].undo) at_replay_[done].undo();
      }
      throw;
    }
    for (auto& [place, used] : kept_) {
      if (used.written) used.memory->bump_version();
    }
  }
  [[nodiscard]] std::int64_t bytes() const noexcept override { return pool_->bytes(); }
  [[nodiscard]] stream_state& home() const noexcept override { return *home_; }

  /// Memory of the graph.
  handle<storage> allocate(std::size_t bytes, heddle::device where) {
    if (where != device()) refuse_capture(one_stream);
    const cuda_device_scope scope(where.index, "allocate");
    std::byte* const data = bytes > 0 ? pool_->take(bytes) : nullptr;
    try {
      return handle<storage>::adopt(new captured_storage(data, bytes, where, pool_));
    } catch (...) {
      if (data != nullptr) pool_->give_back(data, bytes);
      throw;
    }
  }
  void keep(storage& used) override {
    kept_.try_emplace(&used, kept{handle<storage>::share(&used)});
  }
  void note_written(storage& used) override {
    const auto known = kept_.find(&used);
    if (known != kept_.end()) known->second.written = true;
  }
  [[nodiscard]] const capture_pool* pool() const noexcept { return pool_.get(); }

  /// A generator's state, new in each replay.
  void note_draw(generator& from, random_state drawn) override {
    if (find_draw(drawn).index >= 0) {
      refuse_capture(
          "draws twice from one state of a generator; replays could not tell them apart");
    }
    draws_.push_back({drawn, drawn});
    at_replay(task([this, &from, at = draws_.size() - 1] { draws_[at].now = from.next(); }));
  }
  /// A draw of the step, which a statement may use as a key.
  struct draw_place {
    int index = -1;
    bool as_key = false;
  };
  /// The draw that gave a state; index -1 where none did, and it is a constant of the step.
  [[nodiscard]] draw_place find_draw(random_state captured) const noexcept {
    for (std::size_t i = draws_.size(); i-- > 0;) {
      if (draws_[i].captured == captured) return {static_cast<int>(i), false};
      if (draws_[i].captured.as_key() == captured) return {static_cast<int>(i), true};
    }
    return {};
  }
  [[nodiscard]] random_state draw(draw_place of) const {
    const random_state now = draws_[static_cast<std::size_t>(of.index)].now;
    return of.as_key ? now.as_key() : now;
  }

  /// Has write(arguments) change the parameter of the kernel that was queued last, before each
  /// replay.
  template <class Arguments, class Write>
  void change_kernel(const void* kernel, dim3 blocks, dim3 threads, std::size_t shared_bytes,
                     const Arguments& arguments, Write write) {
    at_replay(task([this, node = last_node(), kernel, blocks, threads, shared_bytes,
                    with = std::make_shared<Arguments>(arguments), write] {
      write(*with);
      void* pointers[] = {with.get()};
      cudaKernelNodeParams parameters{};
      parameters.func = const_cast<void*>(kernel);
      parameters.gridDim = blocks;
      parameters.blockDim = threads;
      parameters.sharedMemBytes = static_cast<unsigned>(shared_bytes);
      parameters.kernelParams = pointers;
      check_cuda(cudaGraphExecKernelNodeSetParams(exec_, node, &parameters), "cuda_graph::replay");
    }));
  }

 private:
  struct drawn {
    random_state captured, now;
  };

  struct kept {
    handle<storage> memory;
    bool written = false;
  };

  [[nodiscard]] heddle::device device() const noexcept { return home_->device(); }
  [[nodiscard]] cuda_stream& stream() const noexcept { return cuda_state(stream_); }
  /// Ends the recording; the run-time's answer.
  cudaError_t leave() noexcept {
    stream().set_capture(nullptr);
    current_state(device()) = before_;
    const cudaError_t code = cudaStreamEndCapture(stream().get(), &graph_);
    released_chunks::instance().end_capture();
    return code;
  }
  [[nodiscard]] cudaGraphNode_t last_node() const {
    cudaStreamCaptureStatus status{};
    cudaGraph_t graph = nullptr;
    const cudaGraphNode_t* last = nullptr;
    std::size_t count = 0;
#if CUDART_VERSION >= 13000
    check_cuda(
        cudaStreamGetCaptureInfo(stream().get(), &status, nullptr, &graph, &last, nullptr, &count),
        "cuda_graph");
#else
    check_cuda(cudaStreamGetCaptureInfo_v2(stream().get(), &status, nullptr, &graph, &last, &count),
               "cuda_graph");
#endif
    if (status != cudaStreamCaptureStatusActive || count != 1) {
      raise_cuda(cudaErrorStreamCaptureInvalidated, "cuda_graph");
    }
    return last[0];
  }

  handle<stream_state> home_;    // that replays go to
  handle<stream_state> stream_;  // that records
  stream_state* before_ = nullptr;
  handle<capture_pool> pool_;
  std::map<storage*, kept> kept_;
  std::vector<drawn> draws_;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t exec_ = nullptr;
};

inline void captured_storage::record_stream(stream_state& user) {
  const graph_capture* const into = static_cast<cuda_stream&>(user).get_capture();
  if (into == nullptr) {
    pool_->record_stream(user);
  } else if (static_cast<const cuda_capture*>(into)->pool() != pool_.get()) {
    user.keep(*this);
  }
}

/// The capture that this thread's work for a CUDA device goes to, or null.
inline cuda_capture* current_cuda_capture() noexcept {
  return static_cast<cuda_capture*>(this_thread_capture);
}

inline handle<graph_capture> new_cuda_capture(device where) {
  return make_handle<cuda_capture>(where);
}

/// Memory of a device, or of the graph that this thread captures.
inline handle<storage> allocate_in_order(std::size_t bytes, device where) {
  if (cuda_capture* const into = current_cuda_capture()) [[unlikely]] {
    return into->allocate(bytes, where);
  }
  return allocate_cuda(bytes, where);
}

}  // namespace heddle::inline v0::detail
