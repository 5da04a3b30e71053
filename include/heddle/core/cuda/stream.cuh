// SPDX-License-Identifier: BSD-3-Clause
// Streams and events of CUDA devices.
#pragma once

#include <utility>

#include <heddle/core/capture.hpp>
#include <heddle/core/cuda/error.cuh>

namespace heddle::inline v0::detail {

/// One recording of an event of the run-time.
class cuda_event final : public event_state {
 public:
  /// Records at the end of a stream of device `index`, which is current.
  explicit cuda_event(cudaStream_t where) {
    share();
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "event::record");
    const cudaError_t code = cudaEventRecord(event_, where);
    if (code != cudaSuccess) {
      note_cuda(cudaEventDestroy(event_));
      raise_cuda(code, "event::record");
    }
  }
  ~cuda_event() override {
    if (!cuda_is_lost().load(std::memory_order_relaxed)) note_cuda(cudaEventDestroy(event_));
  }

  handle<failure> wait() noexcept override {
    std::exception_ptr caught;
    try {
      check_cuda(cudaEventSynchronize(event_), "event::synchronize");
    } catch (...) {
      caught = std::current_exception();
    }
    if (!caught) return nullptr;
    return make_handle<failure>(std::move(caught));
  }
  bool query() noexcept override {
    const cudaError_t code = cudaEventQuery(event_);
    if (code == cudaErrorNotReady) static_cast<void>(cudaGetLastError());
    return code != cudaErrorNotReady;
  }
  void* native() const noexcept override { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class cuda_stream;
cuda_stream& cuda_state(const handle<stream_state>& state) noexcept;

/// A stream of the run-time, and the words that its kernels use.
class cuda_stream final : public stream_state {
 public:
  /// owned: destroyed with the last handle.
  cuda_stream(heddle::device where, cudaStream_t native, bool owned)
      : stream_state(where), stream_(native), owned_(owned) {
    share();
  }
  ~cuda_stream() override = default;

  [[nodiscard]] cudaStream_t get() const noexcept { return stream_; }
  void* native() const noexcept override { return stream_; }

  void push(task&& work) override {
    if (capture_ != nullptr) refuse_capture("queues a function of the host");
    const cuda_device_scope scope(device().index, "enqueue");
    sweep();
    auto* call = new host_call{{}, this, static_cast<task&&>(work)};
    ++pending_;
    const cudaError_t code = cudaLaunchHostFunc(
        stream_,
        [](void* given) {
          auto* const begun = static_cast<host_call*>(given);
          begun->where->run(begun);
        },
        call);
    if (code != cudaSuccess) {
      delete call;
      --pending_;
      raise_cuda(code, "enqueue");
    }
  }

  void synchronize() override {
    if (capture_ != nullptr) refuse_capture(waits);
    const cuda_device_scope scope(device().index, "synchronize");
    check_cuda(cudaStreamSynchronize(stream_), "synchronize");
    sweep();
    report_failures();
  }

  handle<event_state> record() override {
    if (capture_ != nullptr) refuse_capture(orders);
    const cuda_device_scope scope(device().index, "event::record");
    return make_handle<cuda_event>(stream_);
  }

  /// A host device's event is waited for here: the run-time cannot.
  void wait(const handle<event_state>& point) override {
    if (capture_ != nullptr) refuse_capture(orders);
    const cuda_device_scope scope(device().index, "event::wait");
    if (void* native = point->native()) {
      check_cuda(cudaStreamWaitEvent(stream_, static_cast<cudaEvent_t>(native), 0), "event::wait");
    } else if (const handle<failure> failed = point->wait()) {
      failed->report();
    }
  }

  /// What the stream's kernels share, made with the first that needs it.
  struct words {
    unsigned* ticket = nullptr;         ///< device memory, 0 between kernels
    std::byte* zero = nullptr;          ///< device memory, 16 bytes that stay 0
    std::int64_t* bad_index = nullptr;  ///< host memory that the device sees
  };
  static constexpr std::int64_t no_index = INT64_MIN;

  words get_words() {
    if (words_of_) return cuda_state(words_of_).get_words();
    lock hold(guard_);
    if (words_.ticket == nullptr) make_words();
    return words_;
  }

  static constexpr const char* orders =
      "orders its stream among others; a graph holds the work of one";
  static constexpr const char* waits =
      "waits for the device, where nothing runs yet; read results after a replay";

  /// Has the kernels of this stream use another's words.
  void lend_words(handle<stream_state> owner) noexcept { words_of_ = std::move(owner); }
  void keep(storage& used) override {
    if (capture_ != nullptr) capture_->keep(used);
  }
  /// Told of memory that a launch writes.
  void note_written(storage* used) const {
    if (capture_ != nullptr && used != nullptr) capture_->note_written(*used);
  }
  /// What its work is recorded into instead of running, or null.
  [[nodiscard]] graph_capture* get_capture() const noexcept { return capture_; }
  void set_capture(graph_capture* into) noexcept { capture_ = into; }

  /// Throws what the work up to the last synchronization left: an index outside of its table, or
  /// the exception of a task.
  void report_failures() {
    handle<failure> failed;
    std::int64_t index = no_index;
    {
      lock hold(guard_);
      failed = std::move(failed_);
      if (words_.bad_index != nullptr) {
        index = *static_cast<volatile std::int64_t*>(words_.bad_index);
        if (index != no_index) *words_.bad_index = no_index;
      }
    }
    if (failed) failed->report();
    if (index != no_index) {
      raise<index_error>("heddle::take: an index is outside of its table: ", index, ", on ",
                         device());
    }
  }

 private:
  /// A task in the stream. It is deleted by the stream's users: what it holds may use the run-time,
  /// which the threads of host functions must not.
  struct host_call : pooled {
    cuda_stream* where;
    task work;
    host_call* next = nullptr;
  };

  void run(host_call* call) noexcept {
    std::exception_ptr caught;
    bool failed = false;
    {
      lock hold(guard_);
      failed = static_cast<bool>(failed_);
    }
    if (!failed) {
      try {
        call->work();
      } catch (...) {
        caught = std::current_exception();
      }
    }
    lock hold(guard_);
    if (caught && !failed_) failed_ = make_handle<failure>(std::move(caught));
    call->next = std::exchange(done_, call);
  }

  /// Deletes the tasks that have run.
  void sweep() noexcept {
    host_call* done = nullptr;
    {
      lock hold(guard_);
      done = std::exchange(done_, nullptr);
    }
    while (done != nullptr) {
      delete std::exchange(done, done->next);
      --pending_;
    }
  }

  void make_words() {
    const cuda_device_scope scope(device().index, "evaluate");
    void* host = nullptr;
    check_cuda(cudaHostAlloc(&host, sizeof(std::int64_t), cudaHostAllocPortable), "evaluate");
    void* ticket = nullptr;
    constexpr std::size_t zero_at = 16, bytes = 32;
    cudaError_t code = cudaMalloc(&ticket, bytes);
    if (code == cudaSuccess) code = cudaMemsetAsync(ticket, 0, bytes, stream_);
    if (code != cudaSuccess) {
      if (ticket != nullptr) note_cuda(cudaFree(ticket));
      note_cuda(cudaFreeHost(host));
      raise_cuda(code, "evaluate");
    }
    words_.bad_index = static_cast<std::int64_t*>(host);
    *words_.bad_index = no_index;
    words_.ticket = static_cast<unsigned*>(ticket);
    words_.zero = static_cast<std::byte*>(ticket) + zero_at;
  }

  void dispose() noexcept override {
    if (!cuda_is_lost().load(std::memory_order_relaxed)) {
      // no task and no kernel uses any more what is given back
      if (pending_ > 0 || words_.ticket != nullptr) note_cuda(cudaStreamSynchronize(stream_));
      if (words_.ticket != nullptr) note_cuda(cudaFree(words_.ticket));
      if (words_.bad_index != nullptr) note_cuda(cudaFreeHost(words_.bad_index));
      if (owned_) note_cuda(cudaStreamDestroy(stream_));
    }
    sweep();
    counted::dispose();
  }

  cudaStream_t stream_;
  bool owned_;
  graph_capture* capture_ = nullptr;
  handle<stream_state> words_of_;
  mutex guard_;
  words words_;             // guarded, as are all below
  handle<failure> failed_;  // of a task
  host_call* done_ = nullptr;
  std::atomic<int> pending_{0};  // tasks that are not deleted yet
};

inline cuda_stream& cuda_state(const handle<stream_state>& state) noexcept {
  return static_cast<cuda_stream&>(*state);
}

}  // namespace heddle::inline v0::detail
