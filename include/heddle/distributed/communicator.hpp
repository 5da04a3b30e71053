// SPDX-License-Identifier: BSD-3-Clause
// The communicator: what the reducer and everything above it ask of a group of ranks.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include <heddle/tensor/any_tensor.hpp>

namespace heddle::inline v0 {

/// How a collective combines the ranks' elements. 16-bit floats are combined in f32 and rounded
/// once.
enum class reduce_op : std::uint8_t { sum, max, min };

constexpr std::string_view name_of(reduce_op op) noexcept {
  return op == reduce_op::sum ? "sum" : op == reduce_op::max ? "max" : "min";
}
inline std::string to_string(reduce_op op) { return std::string(name_of(op)); }

/// One rank's end of a group of `size()` ranks, numbered from 0. Buffers are contiguous tensors,
/// all of one dtype and of the same extents on every rank; every rank calls the same collectives in
/// the same order. Where they differ, where a rank is missing at the deadline, or after `abort`, a
/// call throws communication_error on every rank, before a wrong value is released; from then on
/// all calls do.
///
/// - `device()`: where a rank's own small buffers go;
/// - `all_reduce(buffer, op)`: every rank's buffer becomes the combination of all, in place;
/// - `reduce_scatter(from, to, op)`: `from` holds size() parts; rank r's `to` becomes part r of all
///   combined;
/// - `all_gather(from, to)`: `to` becomes every rank's `from`, in the order of ranks;
/// - `broadcast(buffer, root)`: every rank's buffer becomes the root's;
/// - `send(buffer, to)`, `recv(buffer, from)`: between two ranks;
/// - `barrier()`: returns when every rank has come;
/// - `abort(reason)`: ends the group, from any thread.
///
/// What follows a call in the current stream of the buffers' device sees its result.
template <class C>
concept communicator = requires(C& c, const any_tensor& buffer, int rank, reduce_op op,
                                const std::string& reason) {
  { c.rank() } -> std::same_as<int>;
  { c.size() } -> std::same_as<int>;
  { c.device() } -> std::same_as<device>;
  c.all_reduce(buffer, op);
  c.reduce_scatter(buffer, buffer, op);
  c.all_gather(buffer, buffer);
  c.broadcast(buffer, rank);
  c.send(buffer, rank);
  c.recv(buffer, rank);
  c.barrier();
  c.abort(reason);
};

namespace detail {

// What every communicator checks of its arguments. They throw value_error, type_error, shape_error.

inline void check_contiguous(const char* name, const any_tensor& buffer) {
  if (buffer.is_contiguous()) return;
  raise<value_error>("heddle::", name, ": the buffer is not contiguous: strides ",
                     to_string(buffer.strides().data(), buffer.rank()), " of ",
                     to_string(buffer.extents().data(), buffer.rank()), "; use its contiguous()");
}
inline void check_combines(const char* name, reduce_op op, const any_tensor& buffer) {
  if (buffer.dtype() == dtype::boolean && op == reduce_op::sum) {
    raise<type_error>("heddle::", name, ": bool has no sum; use max for or, min for and");
  }
}
/// `whole` holds one `part` of each rank.
inline void check_parts(const char* name, const any_tensor& part, const any_tensor& whole,
                        int ranks) {
  if (whole.dtype() == part.dtype() && whole.size() == part.size() * ranks) return;
  raise<shape_error>("heddle::", name,
                     ": the larger buffer does not hold one part of each rank: ", whole.dtype(),
                     " ", whole.size(), " elements of parts ", part.dtype(), " ", part.size(), "; ",
                     part.size() * ranks, " are expected");
}
inline void check_rank(const char* name, int rank, int ranks) {
  if (rank >= 0 && rank < ranks) return;
  raise<value_error>("heddle::", name, ": there is no such rank: ", rank, "; ranks are 0 to ",
                     ranks - 1);
}
inline void check_other_rank(const char* name, int rank, int self, int ranks) {
  check_rank(name, rank, ranks);
  if (rank != self) return;
  raise<value_error>("heddle::", name, ": a rank names itself: ", rank, "; name another one");
}

}  // namespace detail

}  // namespace heddle::inline v0
