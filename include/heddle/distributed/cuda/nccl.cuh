// SPDX-License-Identifier: BSD-3-Clause
// Ranks on CUDA devices, by NCCL. Needs the target heddle::nccl, which links the library. Compiled
// by nvcc or, beside a unit of nvcc's, by the host's compiler.
#pragma once

#include <cstring>
#include <string>
#include <type_traits>

#include <nccl.h>

#include <heddle/core/cuda/range.cuh>
#include <heddle/core/cuda/services.cuh>
#include <heddle/core/monitor.hpp>
#include <heddle/distributed/communicator.hpp>

namespace heddle::inline v0 {

/// What the ranks of a group have in common: one rank makes it, and hands its bytes to the others.
struct nccl_id {
  /// The library's own; its bytes may be sent by any means.
  ncclUniqueId value{};

  /// Throws cuda_error where the library does not answer or is not that of the headers.
  [[nodiscard]] static nccl_id make();
};
static_assert(std::is_trivially_copyable_v<nccl_id>);

/// How the ranks of a group of NCCL's wait.
struct nccl_options {
  /// How long a rank waits for the others when the group is made, in seconds; PyTorch's default.
  double deadline = 600;
};

namespace detail {

/// Throws cuda_error where the library is of another major version than the headers, or older.
inline void check_nccl_version(const char* function) {
  int found = 0;
  static_cast<void>(ncclGetVersion(&found));
  if (found / 10000 == NCCL_MAJOR && found >= NCCL_VERSION_CODE) return;
  raise<cuda_error>("heddle::", function, ": NCCL is not the one of the headers: ", found / 10000,
                    ".", found % 10000 / 100, ".", found % 100, "; ", NCCL_MAJOR, ".", NCCL_MINOR,
                    ".", NCCL_PATCH, " or a later ", NCCL_MAJOR, ".x is expected");
}

inline bool is_nccl_error(ncclResult_t code) noexcept {
  return code != ncclSuccess && code != ncclInProgress;
}
inline std::string words_of_nccl(ncclResult_t code, ncclComm_t c) {
  const char* const last = ncclGetLastError(c);
  std::string text = std::string("NCCL says ") + ncclGetErrorString(code);
  if (last != nullptr && *last != '\0') text += std::string(" (") + last + ")";
  return text;
}

inline ncclDataType_t nccl_type_of(dtype type) noexcept {
  switch (type) {
    case dtype::f64:
      return ncclFloat64;
    case dtype::f32:
      return ncclFloat32;
    case dtype::bf16:
      return ncclBfloat16;
    case dtype::f16:
      return ncclFloat16;
    case dtype::i64:
      return ncclInt64;
    case dtype::i32:
      return ncclInt32;
    default:
      return ncclUint8;  // bool: 0 or 1
  }
}
constexpr ncclRedOp_t nccl_op_of(reduce_op op) noexcept {
  return op == reduce_op::sum ? ncclSum : op == reduce_op::max ? ncclMax : ncclMin;
}

}  // namespace detail

inline nccl_id nccl_id::make() {
  detail::check_nccl_version("nccl_id");
  nccl_id made;
  const ncclResult_t code = ncclGetUniqueId(&made.value);
  if (code != ncclSuccess) {
    raise<cuda_error>("heddle::nccl_id: ", detail::words_of_nccl(code, nullptr));
  }
  return made;
}

/// One rank's end of a group of ranks, each with a CUDA device of its own; models `communicator`.
///
/// Collectives are queued on the current stream of the device and return at once; what follows in
/// that stream sees their result. `barrier` waits. Sums are NCCL's: the same on every rank, in an
/// order that hangs on the machine. An error of the library, or `abort`, ends the group for this
/// rank: this call and all later ones throw communication_error. Arguments are not compared between
/// ranks: all are to call the same collectives with the same dtypes and extents in the same order.
class nccl_communicator {
 public:
  /// Joins the group; every rank calls this with the same id and size, and returns when all have.
  /// Throws device_error for a device that is not a CUDA device, value_error for a rank outside of
  /// the size, communication_error where ranks are missing at the deadline or NCCL refuses (two
  /// ranks on one device), cuda_error.
  nccl_communicator(const nccl_id& id, int size, int rank, device where, nccl_options options = {})
      : options_(options), where_(where), size_(size), rank_(rank) {
    constexpr const char* name = "nccl_communicator";
    if (!where.is_cuda()) {
      raise<device_error>("heddle::", name, ": NCCL works on CUDA devices: ", where,
                          "; on hosts use local_communicator");
    }
    detail::check_rank(name, rank, size);
    detail::check_nccl_version(name);
    const detail::cuda_device_scope scope(detail::present_index(where, name), name);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;  // so that waiting can end
    const ncclResult_t code = ncclCommInitRankConfig(&raw_, size, id.value, rank, &config);
    try {
      settle(name, code);
    } catch (...) {
      release();  // the destructor will not run
      throw;
    }
  }
  nccl_communicator(const nccl_communicator&) = delete;
  nccl_communicator& operator=(const nccl_communicator&) = delete;
  /// Waits for this rank's collectives, and so for the ranks that take part in them; after a
  /// failure for nothing.
  ~nccl_communicator() { release(); }

  [[nodiscard]] int rank() const noexcept { return rank_; }
  /// The number of ranks.
  [[nodiscard]] int size() const noexcept { return size_; }
  /// The CUDA device that all buffers are on.
  [[nodiscard]] heddle::device device() const noexcept { return where_; }

  /// Combines the ranks' buffers, each rank's own in place. Throws type_error for sums of bool.
  void all_reduce(const any_tensor& buffer, reduce_op op = reduce_op::sum) {
    constexpr const char* name = "all_reduce";
    check_buffer(name, buffer);
    detail::check_combines(name, op, buffer);
    write(buffer);
    queue(name, [&](cudaStream_t s) {
      use(buffer);
      return ncclAllReduce(buffer.data(), buffer.data(), count_of(buffer),
                           detail::nccl_type_of(buffer.dtype()), detail::nccl_op_of(op), raw_, s);
    });
  }
  /// Combines the ranks' `from`, of size() parts; rank r's `to` becomes part r. Throws shape_error.
  void reduce_scatter(const any_tensor& from, const any_tensor& to, reduce_op op = reduce_op::sum) {
    constexpr const char* name = "reduce_scatter";
    check_parts(name, to, from);
    detail::check_combines(name, op, from);
    write(to);
    queue(name, [&](cudaStream_t s) {
      use(from), use(to);
      return ncclReduceScatter(from.data(), to.data(), count_of(to),
                               detail::nccl_type_of(from.dtype()), detail::nccl_op_of(op), raw_, s);
    });
  }
  /// Puts all ranks' `from` into `to`, in the order of ranks. Throws shape_error.
  void all_gather(const any_tensor& from, const any_tensor& to) {
    constexpr const char* name = "all_gather";
    check_parts(name, from, to);
    write(to);
    queue(name, [&](cudaStream_t s) {
      use(from), use(to);
      return ncclAllGather(from.data(), to.data(), bytes_of(from), ncclUint8, raw_, s);
    });
  }
  /// Copies the root's buffer into all others.
  void broadcast(const any_tensor& buffer, int root = 0) {
    constexpr const char* name = "broadcast";
    check_buffer(name, buffer);
    detail::check_rank(name, root, size_);
    if (rank_ != root) write(buffer);
    queue(name, [&](cudaStream_t s) {
      use(buffer);
      return ncclBroadcast(buffer.data(), buffer.data(), bytes_of(buffer), ncclUint8, root, raw_,
                           s);
    });
  }
  /// Queues a message; the other rank's `recv` takes it.
  void send(const any_tensor& buffer, int to) {
    constexpr const char* name = "send";
    check_buffer(name, buffer);
    detail::check_other_rank(name, to, rank_, size_);
    queue(name, [&](cudaStream_t s) {
      use(buffer);
      return ncclSend(buffer.data(), bytes_of(buffer), ncclUint8, to, raw_, s);
    });
  }
  /// Queues a receipt of what `from` sends: the same number of bytes.
  void recv(const any_tensor& buffer, int from) {
    constexpr const char* name = "recv";
    check_buffer(name, buffer);
    detail::check_other_rank(name, from, rank_, size_);
    write(buffer);
    queue(name, [&](cudaStream_t s) {
      use(buffer);
      return ncclRecv(buffer.data(), bytes_of(buffer), ncclUint8, from, raw_, s);
    });
  }
  /// Waits for every rank, and for the device's current stream; at most as long as the options say.
  void barrier() {
    constexpr const char* name = "barrier";
    const detail::cuda_device_scope scope(where_.index, name);  // whose default stream is meant
    const std::int64_t one[] = {1};
    const any_tensor token = any_tensor::allocate(dtype::u8, one, where_);
    detail::check_cuda(cudaMemsetAsync(token.data(), 0, 1, current_native()), name);
    all_reduce(token, reduce_op::max);
    wait_for(name, [&] {
      const cudaError_t code = cudaStreamQuery(current_native());
      if (code == cudaErrorNotReady) return ncclInProgress;
      detail::check_cuda(code, name);
      return ncclSuccess;
    });
    settle(name, ncclSuccess);  // what the library met while it ran
  }
  /// Ends the group for this rank, and makes its collectives return on the device, from any thread.
  void abort(const std::string& reason) {
    const detail::monitor::scope hold(guard_);
    fail("it was aborted: " + reason);
  }

 private:
  void check_buffer(const char* name, const any_tensor& buffer) const {
    if (buffer.device() != where_) {
      raise<device_error>("heddle::", name,
                          ": the buffer is not on the communicator's device: ", buffer.device(),
                          "; ", where_, " is expected");
    }
    detail::check_contiguous(name, buffer);
  }
  void check_parts(const char* name, const any_tensor& part, const any_tensor& whole) const {
    check_buffer(name, part);
    check_buffer(name, whole);
    detail::check_parts(name, part, whole, size_);
  }
  static void write(const any_tensor& buffer) { buffer.storage()->bump_version(); }
  /// The current stream uses the buffer from now on.
  void use(const any_tensor& buffer) const {
    buffer.storage()->record_stream(*detail::state_of(current_stream(where_)));
  }
  static std::size_t count_of(const any_tensor& buffer) {
    return static_cast<std::size_t>(buffer.size());
  }
  static std::size_t bytes_of(const any_tensor& buffer) {
    return count_of(buffer) * size_of(buffer.dtype());
  }

  /// call(stream), and what comes of it.
  template <class Call>
  void queue(const char* name, Call call) {
    const detail::launch_range range(name);
    const handle<detail::stream_state> state = detail::state_of(current_stream(where_));
    const detail::cuda_device_scope scope(where_.index, name);
    ncclResult_t code = ncclSuccess;
    {
      const detail::monitor::scope hold(guard_);
      check_works(name);
      ncclResult_t before = ncclSuccess;
      code = ncclCommGetAsyncError(raw_, &before);
      if (code == ncclSuccess) code = before;
      if (!detail::is_nccl_error(code)) code = call(detail::cuda_state(state).get());
    }
    settle(name, code);
  }

  // The caller holds guard_.
  void check_works(const char* name) const {
    if (failure_.empty()) return;
    raise<communication_error>("heddle::", name, ": rank ", rank_, " of ", size_,
                               " has left the group: ", failure_);
  }
  void fail(const std::string& why) {
    if (!failure_.empty()) return;
    failure_ = why;
    if (raw_ == nullptr || detail::cuda_is_lost()) return;
    static_cast<void>(ncclCommAbort(raw_));
    raw_ = nullptr;
  }
  [[nodiscard]] cudaStream_t current_native() const {
    return detail::cuda_state(detail::state_of(current_stream(where_))).get();
  }
  /// Waits until the library has done what it answered `code` to.
  void settle(const char* name, ncclResult_t code) {
    wait_for(name, [&] {
      if (detail::is_nccl_error(code)) return code;
      const ncclResult_t asked = ncclCommGetAsyncError(raw_, &code);
      return asked != ncclSuccess ? asked : code;
    });
  }
  /// Asks again and again, until the answer is not ncclInProgress. Throws when it is an error,
  /// another thread aborts, or time is up.
  template <class Ask>
  void wait_for(const char* name, Ask ask) {
    const detail::deadline until = detail::deadline::after(options_.deadline);
    for (;; detail::pause_briefly()) {
      const detail::monitor::scope hold(guard_);
      check_works(name);
      const ncclResult_t code = ask();
      if (code == ncclSuccess) return;
      if (detail::is_nccl_error(code)) {
        fail(std::string(name) + ": " + detail::words_of_nccl(code, raw_));
      } else if (until.has_passed()) {
        fail(std::string(name) + ": the other ranks did not come within " +
             detail::text_of(options_.deadline) + " s");
      }
      check_works(name);
    }
  }
  void release() noexcept {
    const detail::monitor::scope hold(guard_);
    if (raw_ == nullptr || detail::cuda_is_lost()) return;
    // Finalizing waits for this rank's collectives; destroying does not, once that is done.
    ncclResult_t code = ncclCommFinalize(raw_);
    const detail::deadline until = detail::deadline::after(options_.deadline);
    while (code == ncclInProgress && !until.has_passed()) {
      detail::pause_briefly();
      if (ncclCommGetAsyncError(raw_, &code) != ncclSuccess) code = ncclInternalError;
    }
    static_cast<void>(code == ncclSuccess ? ncclCommDestroy(raw_) : ncclCommAbort(raw_));
    raw_ = nullptr;
  }

  nccl_options options_;
  heddle::device where_;
  int size_;
  int rank_;
  detail::monitor guard_;
  ncclComm_t raw_ = nullptr;  // guarded
  std::string failure_;       // guarded; empty while the group works
};

static_assert(communicator<nccl_communicator>);

}  // namespace heddle::inline v0
