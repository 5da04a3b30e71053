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
///   all_reduce(buffer, op)               every rank's buffer becomes the combination of all, in
///   place reduce_scatter(from, to, op)         `from` holds size() parts; rank r's `to` becomes
///   part r combined all_gather(from, to)                 `to` becomes every rank's `from`, in the
///   order of ranks broadcast(buffer, root)              every rank's buffer becomes the root's
///   send(buffer, to), recv(buffer, from) between two ranks; both return when it is copied
///   barrier()                            returns when every rank has come
///   abort(reason)                        ends the group, from any thread
template <class C>
concept communicator = requires(C& c, const any_tensor& buffer, int rank, reduce_op op,
                                const std::string& reason) {
  { c.rank() } -> std::same_as<int>;
  { c.size() } -> std::same_as<int>;
  c.all_reduce(buffer, op);
  c.reduce_scatter(buffer, buffer, op);
  c.all_gather(buffer, buffer);
  c.broadcast(buffer, rank);
  c.send(buffer, rank);
  c.recv(buffer, rank);
  c.barrier();
  c.abort(reason);
};

}  // namespace heddle::inline v0
