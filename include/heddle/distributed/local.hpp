// SPDX-License-Identifier: BSD-3-Clause
// Ranks as threads of one process: the communicator `local`, for tests and for one process that
// owns several devices.
#pragma once

#include <cstddef>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <heddle/core/stream.hpp>
#include <heddle/core/threads.hpp>
#include <heddle/distributed/communicator.hpp>
#include <heddle/distributed/local_world.hpp>

namespace heddle::inline v0 {

/// One rank's end of a `local_world`; models `communicator`. Sums are formed in the order of ranks,
/// so they are the same on every rank and in every run. Work queued on the buffers' device is
/// waited for; buffers on CUDA devices pass through host memory.
class local_communicator {
 public:
  [[nodiscard]] int rank() const noexcept { return rank_; }
  /// The number of ranks.
  [[nodiscard]] int size() const noexcept { return world_->size(); }
  /// cpu(), whatever devices the ranks compute on.
  [[nodiscard]] heddle::device device() const noexcept { return cpu(); }

  /// Combines the ranks' buffers, each rank's own in place. Throws type_error for sums of bool.
  void all_reduce(const any_tensor& buffer, reduce_op op = reduce_op::sum) {
    if (const staged here(buffer); here) return all_reduce(here.copy, op), here.write_back();
    auto call = describe("all_reduce", detail::collective::all_reduce, buffer);
    detail::check_combines("all_reduce", op, buffer);
    call.op = op;
    call.to = written(buffer);
    world_->run(rank_, call);
  }
  /// Combines the ranks' `from`, of size() parts; rank r's `to` becomes part r. Throws shape_error
  /// where the sizes do not fit.
  void reduce_scatter(const any_tensor& from, const any_tensor& to, reduce_op op = reduce_op::sum) {
    if (const staged in(from), out(to); in || out) {
      return reduce_scatter(in.copy, out.copy, op), out.write_back();
    }
    auto call = describe("reduce_scatter", detail::collective::reduce_scatter, from);
    detail::check_combines("reduce_scatter", op, from);
    call.op = op;
    check_parts("reduce_scatter", to, from);
    call.to = written(to);
    world_->run(rank_, call);
  }
  /// Puts all ranks' `from` into `to`, in the order of ranks. Throws shape_error where the sizes do
  /// not fit.
  void all_gather(const any_tensor& from, const any_tensor& to) {
    if (const staged in(from), out(to); in || out) {
      return all_gather(in.copy, out.copy), out.write_back();
    }
    auto call = describe("all_gather", detail::collective::all_gather, from);
    check_parts("all_gather", from, to);
    call.to = written(to);
    world_->run(rank_, call);
  }
  /// Copies the root's buffer into all others.
  void broadcast(const any_tensor& buffer, int root = 0) {
    if (const staged here(buffer); here) return broadcast(here.copy, root), here.write_back();
    detail::check_rank("broadcast", root, size());
    auto call = describe("broadcast", detail::collective::broadcast, buffer);
    call.root = root;
    if (rank_ != root) call.to = written(buffer);
    world_->run(rank_, call);
  }
  /// Returns when all ranks have come.
  void barrier() {
    detail::collective_call call;
    call.name = "barrier";
    world_->run(rank_, call);
  }
  /// Returns when the other rank has received. Two ranks that both send first wait for each other
  /// until the deadline, which is an error.
  void send(const any_tensor& buffer, int to) {
    if (const staged here(buffer); here) return send(here.copy, to);
    detail::check_other_rank("send", to, rank_, size());
    world_->send(rank_, to, describe("send", detail::collective::message, buffer));
  }
  /// Receives what `from` sends: the same dtype and extents.
  void recv(const any_tensor& buffer, int from) {
    if (const staged here(buffer); here) return recv(here.copy, from), here.write_back();
    detail::check_other_rank("recv", from, rank_, size());
    auto call = describe("recv", detail::collective::message, buffer);
    call.to = written(buffer);
    world_->receive(from, rank_, call);
  }
  /// Ends the group: all ranks' calls, also those under way, throw communication_error with the
  /// reason.
  void abort(const std::string& reason) { world_->abort(reason); }

 private:
  friend class local_world;
  local_communicator(local_world& world, int rank) noexcept : world_(&world), rank_(rank) {}

  /// A buffer of a CUDA device on the host. True where it is a copy.
  struct staged {
    any_tensor buffer, copy;
    explicit staged(const any_tensor& given)
        : buffer(given), copy(given.device().is_cuda() ? given.to(cpu()) : given) {}
    explicit operator bool() const { return buffer.device().is_cuda(); }
    void write_back() const {
      if (*this) buffer.copy_(copy);
    }
  };

  // Throws device_error, value_error or state_error for what no rank could use.
  static void check_buffer(const char* name, const any_tensor& buffer) {
    const heddle::device where = buffer.device();
    if (!where.is_host()) {
      raise<device_error>("heddle::", name, ": the buffer has no elements, being on ", where,
                          "; host and CUDA devices have memory");
    }
    detail::check_contiguous(name, buffer);
    synchronize(where);
  }
  static detail::collective_call describe(const char* name, detail::collective what,
                                          const any_tensor& buffer) {
    check_buffer(name, buffer);
    detail::collective_call call;
    call.name = name;
    call.what = what;
    call.type = buffer.dtype();
    call.rank = buffer.rank();
    for (int i = 0; i < call.rank; ++i)
      call.extents[i] = buffer.extents()[static_cast<std::size_t>(i)];
    call.count = buffer.size();
    call.from = buffer.data();
    return call;
  }
  static std::byte* written(const any_tensor& buffer) {
    buffer.storage()->bump_version();
    return buffer.data();
  }
  void check_parts(const char* name, const any_tensor& part, const any_tensor& whole) const {
    check_buffer(name, part);
    check_buffer(name, whole);
    detail::check_parts(name, part, whole, size());
  }

  local_world* world_;
  int rank_;
};

static_assert(communicator<local_communicator>);

inline local_communicator local_world::communicator(int rank) {
  detail::check_rank("local_world::communicator", rank, size());
  const local_communicator made(*this, rank);
  const detail::monitor::scope hold(monitor_);
  gone_[static_cast<std::size_t>(rank)] = false;
  return made;
}

/// Runs body(communicator) as every rank of a group, each in a thread of its own, and waits for
/// all. Where a rank throws, the group is aborted; the first exception is thrown on.
template <class Body>
void run_ranks(local_world& world, Body&& body) {
  struct shared_state {
    local_world& world;
    Body& body;
    detail::mutex guard;
    std::exception_ptr first;  // guarded
  } shared{world, body, {}, nullptr};
  struct rank_thread {
    shared_state* shared;
    local_communicator end;
    pthread_t thread{};
  };
  const auto run_one = [](void* argument) -> void* {
    auto& mine = *static_cast<rank_thread*>(argument);
    shared_state& all = *mine.shared;
    const auto keep = [&](const char* why) {
      {
        const detail::lock hold(all.guard);
        if (!all.first) all.first = std::current_exception();
      }
      all.world.abort("rank " + std::to_string(mine.end.rank()) + " ended with an error: " + why);
    };
    try {
      all.body(mine.end);
    } catch (const std::exception& e) {
      keep(e.what());
    } catch (...) {
      keep("an exception of unknown type");
    }
    all.world.leave(mine.end.rank());
    return nullptr;
  };
  std::vector<rank_thread> ranks;
  for (int rank = 0; rank < world.size(); ++rank) {
    ranks.push_back({&shared, world.communicator(rank)});
  }
  std::size_t started = 0;
  try {
    for (; started < ranks.size(); ++started) {
      ranks[started].thread = detail::start_thread(run_one, &ranks[started]);
    }
  } catch (...) {
    world.abort("a rank's thread could not be started");
    for (std::size_t k = 0; k < started; ++k) pthread_join(ranks[k].thread, nullptr);
    throw;
  }
  for (const rank_thread& each : ranks) pthread_join(each.thread, nullptr);
  if (shared.first) std::rethrow_exception(std::exchange(shared.first, nullptr));
}
/// The same with a group made for the call.
template <class Body>
void run_ranks(int size, Body&& body, local_options options = {}) {
  local_world world(size, options);
  run_ranks(world, body);
}

}  // namespace heddle::inline v0
