// SPDX-License-Identifier: BSD-3-Clause
// What ranks of NCCL exchange on the stand-in: who meets whom, whether they ask for the same, and
// what each one receives.
#pragma once

#include <tuple>

#include "simulator.hpp"
#include <nccl.h>

namespace stand_in {

enum class exchange : std::uint8_t {
  all_reduce,
  reduce,
  broadcast,
  all_gather,
  reduce_scatter,
  send,
  receive,
};

/// What a rank asks for.
struct request {
  exchange kind = exchange::all_reduce;
  const char* call = "";
  const void* from = nullptr;
  void* to = nullptr;
  std::size_t count = 0;
  ncclDataType_t type = ncclFloat32;
  ncclRedOp_t op = ncclSum;
  int root = 0;  ///< or the other rank of a transfer

  [[nodiscard]] bool is_transfer() const {
    return kind == exchange::send || kind == exchange::receive;
  }
  [[nodiscard]] bool has_root() const {
    return is_transfer() || kind == exchange::reduce || kind == exchange::broadcast;
  }
  [[nodiscard]] bool reduces() const {
    return kind == exchange::all_reduce || kind == exchange::reduce ||
           kind == exchange::reduce_scatter;
  }
  /// Bytes that this rank, of so many, sends and receives; 0: it does not.
  [[nodiscard]] std::size_t bytes_sent(int rank, int ranks) const;
  [[nodiscard]] std::size_t bytes_received(int rank, int ranks) const;
  /// Whether the buffers of this rank overlap other than NCCL allows.
  [[nodiscard]] bool overlaps(int rank, int ranks) const;
  /// Such as "ncclReduce of 4 float32 by sum to rank 1".
  [[nodiscard]] std::string text() const;
};

/// 0: the stand-in does not have it.
std::size_t size_of(ncclDataType_t type);

/// One exchange: the n-th collective of all ranks, or the n-th transfer from one to another.
struct meeting {
  struct place {
    int rank = 0;
    bool called = false;
    bool arrived = false;  ///< its stream has come to it
    request what;
    std::vector<std::byte> sent;
    vector_clock clock;  ///< of the operation that sends
    // who called, and in which group
    std::uint64_t thread = 0;
    std::uint64_t group = 0;
  };
  std::vector<place> places;  ///< by rank, or sender and receiver

  [[nodiscard]] bool all_called() const;
  [[nodiscard]] bool all_arrived() const;
  /// Who has not arrived, as a sentence.
  [[nodiscard]] std::string missing() const;
  /// Empty where all that have called ask for the same; otherwise two that do not.
  [[nodiscard]] std::string mismatch() const;
  /// Empty, or two ranks that one thread calls for, one after the other.
  [[nodiscard]] std::string ungrouped() const;
  /// Whether what the one at `to` receives depends on the one at `from`.
  [[nodiscard]] bool depends(std::size_t to, std::size_t from) const;
  /// Writes what the one at a place receives.
  void deliver(std::size_t to) const;
};

/// Ranks with one id. A clique that is broken exchanges nothing any more.
struct clique {
  int ranks = 0;
  std::map<int, int> devices;  ///< of the ranks that have come
  /// ncclInProgress until all have come; an error: how it is broken.
  ncclResult_t state = ncclInProgress;
  // those that not all have called
  std::map<std::uint64_t, std::shared_ptr<meeting>> collectives;
  std::map<std::tuple<int, int, std::uint64_t>, std::shared_ptr<meeting>> transfers;

  [[nodiscard]] bool works() const { return state == ncclSuccess; }
  void break_off(ncclResult_t how) {
    if (state == ncclSuccess || state == ncclInProgress) state = how;
  }
  /// Such as "rank 0 has not called, rank 2 has not called".
  [[nodiscard]] std::string missing() const;
};

}  // namespace stand_in

/// What a communicator's handle points to.
struct ncclComm {
  std::shared_ptr<stand_in::clique> of;
  int rank = 0;
  int device = 0;
  stand_in::vector_clock issued;  ///< all its operations
  std::uint64_t collectives = 0;  ///< called
  std::map<int, std::uint64_t> sent, received;

  /// Where it meets the others for a request, and as which one of them.
  std::pair<std::shared_ptr<stand_in::meeting>, std::size_t> meet(const stand_in::request& what);
  /// Such as "ncclAllGather of 4 float32 of rank 1 of 2".
  [[nodiscard]] std::string text(const stand_in::request& what) const;
};
