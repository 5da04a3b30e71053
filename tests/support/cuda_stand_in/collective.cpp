// SPDX-License-Identifier: BSD-3-Clause
// Exchanges of ranks: names, matching, and the arithmetic of reductions.
#include "collective.hpp"

#include <cmath>
#include <cstring>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace stand_in {

namespace {

/// How an element is loaded, combined and stored: 16-bit floats in float, rounded once.
template <class T>
struct element {
  using wide = T;
  static wide load(T x) { return x; }
  static T store(wide x) { return x; }
};
template <>
struct element<__half> {
  using wide = float;
  static wide load(__half x) { return __half2float(x); }
  static __half store(wide x) { return __float2half_rn(x); }
};
template <>
struct element<__nv_bfloat16> {
  using wide = float;
  static wide load(__nv_bfloat16 x) { return __bfloat162float(x); }
  static __nv_bfloat16 store(wide x) { return __float2bfloat16_rn(x); }
};

/// Integers wrap; of a number and a not-a-number, the number is the larger and the smaller one.
template <class T>
T combine(ncclRedOp_t op, T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    switch (op) {
      case ncclProd:
        return a * b;
      case ncclMax:
        return std::fmax(a, b);
      case ncclMin:
        return std::fmin(a, b);
      default:
        return a + b;
    }
  } else {
    const auto x = static_cast<std::uint64_t>(a);
    const auto y = static_cast<std::uint64_t>(b);
    switch (op) {
      case ncclProd:
        return static_cast<T>(x * y);
      case ncclMax:
        return std::max(a, b);
      case ncclMin:
        return std::min(a, b);
      default:
        return static_cast<T>(x + y);
    }
  }
}

/// f(an element of the type).
template <class F>
void with_type(ncclDataType_t type, F f) {
  switch (type) {
    case ncclInt8:
      return f(std::int8_t{});
    case ncclUint8:
      return f(std::uint8_t{});
    case ncclInt32:
      return f(std::int32_t{});
    case ncclUint32:
      return f(std::uint32_t{});
    case ncclInt64:
      return f(std::int64_t{});
    case ncclUint64:
      return f(std::uint64_t{});
    case ncclFloat16:
      return f(__half{});
    case ncclBfloat16:
      return f(__nv_bfloat16{});
    case ncclFloat32:
      return f(float{});
    case ncclFloat64:
      return f(double{});
    default:
      return;
  }
}

const char* name_of(ncclDataType_t type) {
  constexpr const char* names[] = {"int8",   "uint8",   "int32",   "uint32",  "int64",
                                   "uint64", "float16", "float32", "float64", "bfloat16"};
  return type >= 0 && type <= ncclBfloat16 ? names[type] : "of another type";
}
const char* name_of(ncclRedOp_t op) {
  constexpr const char* names[] = {"sum", "product", "max", "min", "average"};
  return op >= 0 && op < ncclNumOps ? names[op] : "another reduction";
}

/// The combination, in the order of ranks, of the elements from `first` on.
template <class T>
void reduce(const meeting& m, const request& what, std::size_t first) {
  using how = element<T>;
  using wide = typename how::wide;
  for (std::size_t i = 0; i < what.count; ++i) {
    const auto at = [&](const meeting::place& p) {
      T x;
      std::memcpy(&x, p.sent.data() + (first + i) * sizeof x, sizeof x);
      return how::load(x);
    };
    wide all = at(m.places[0]);
    for (std::size_t r = 1; r < m.places.size(); ++r) all = combine(what.op, all, at(m.places[r]));
    if (what.op == ncclAvg) all = static_cast<wide>(all / static_cast<wide>(m.places.size()));
    const T x = how::store(all);
    std::memcpy(static_cast<std::byte*>(what.to) + i * sizeof x, &x, sizeof x);
  }
}

void copy(void* to, const std::vector<std::byte>& from) {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

bool same(const request& a, const request& b) {
  if (a.count != b.count || a.type != b.type) return false;
  if (a.is_transfer() || b.is_transfer()) return a.is_transfer() && b.is_transfer();
  return a.kind == b.kind && (!a.reduces() || a.op == b.op) && (!a.has_root() || a.root == b.root);
}

}  // namespace

std::size_t size_of(ncclDataType_t type) {
  std::size_t size = 0;
  with_type(type, [&](auto x) { size = sizeof x; });
  return size;
}

std::size_t request::bytes_sent(int rank, int ranks) const {
  const std::size_t bytes = count * size_of(type);
  switch (kind) {
    case exchange::broadcast:
      return rank == root ? bytes : 0;
    case exchange::reduce_scatter:
      return bytes * static_cast<std::size_t>(ranks);
    case exchange::receive:
      return 0;
    default:
      return bytes;
  }
}
std::size_t request::bytes_received(int rank, int ranks) const {
  const std::size_t bytes = count * size_of(type);
  switch (kind) {
    case exchange::reduce:
      return rank == root ? bytes : 0;
    case exchange::all_gather:
      return bytes * static_cast<std::size_t>(ranks);
    case exchange::send:
      return 0;
    default:
      return bytes;
  }
}
bool request::overlaps(int rank, int ranks) const {
  const auto* const begin = static_cast<const std::byte*>(from);
  const auto* const target = static_cast<const std::byte*>(to);
  const std::size_t out = bytes_sent(rank, ranks);
  const std::size_t in = bytes_received(rank, ranks);
  if (out == 0 || in == 0 || begin + out <= target || target + in <= begin) return false;
  const std::size_t part = count * size_of(type) * static_cast<std::size_t>(rank);
  if (kind == exchange::all_gather) return begin != target + part;
  if (kind == exchange::reduce_scatter) return target != begin + part;
  return begin != target;
}
std::string request::text() const {
  std::string made = std::string(call) + " of " + std::to_string(count) + " " + name_of(type);
  if (reduces()) made += std::string(" by ") + name_of(op);
  if (has_root()) {
    const bool goes = kind == exchange::send || kind == exchange::reduce;
    made += std::string(goes ? " to" : " from") + " rank " + std::to_string(root);
  }
  return made;
}

bool meeting::all_called() const {
  return std::all_of(places.begin(), places.end(), [](const place& p) { return p.called; });
}
bool meeting::all_arrived() const {
  return std::all_of(places.begin(), places.end(), [](const place& p) { return p.arrived; });
}
std::string meeting::missing() const {
  std::string made;
  for (const place& p : places) {
    if (p.arrived) continue;
    made += std::string(made.empty() ? "" : ", ") + "rank " + std::to_string(p.rank) +
            (p.called ? " has called, but its stream does not come to it" : " has not called");
  }
  return made;
}
std::string meeting::mismatch() const {
  const place* first = nullptr;
  for (const place& p : places) {
    if (!p.called) continue;
    if (first == nullptr) first = &p;
    if (same(first->what, p.what)) continue;
    return "collective mismatch: rank " + std::to_string(first->rank) + " calls " +
           first->what.text() + ", rank " + std::to_string(p.rank) + " calls " + p.what.text();
  }
  return {};
}
std::string meeting::ungrouped() const {
  for (const place& a : places) {
    for (const place& b : places) {
      if (!a.called || !b.called || a.thread != b.thread || a.group >= b.group) continue;
      return "group: one thread calls " + a.what.text() + " for rank " + std::to_string(a.rank) +
             ", then for rank " + std::to_string(b.rank) + " in no group with it";
    }
  }
  return {};
}

bool meeting::depends(std::size_t to, std::size_t from) const {
  const request& what = places[to].what;
  switch (what.kind) {
    case exchange::reduce:
      return places[to].rank == what.root;
    case exchange::broadcast:
      return places[from].rank == what.root;
    case exchange::send:
      return false;
    default:
      return true;
  }
}

void meeting::deliver(std::size_t to) const {
  const request& what = places[to].what;
  const auto root = static_cast<std::size_t>(what.root);
  const std::size_t first = what.kind == exchange::reduce_scatter ? to * what.count : 0;
  switch (what.kind) {
    case exchange::send:
      break;
    case exchange::receive:
      copy(what.to, places[0].sent);
      break;
    case exchange::broadcast:
      copy(what.to, places[root].sent);
      break;
    case exchange::all_gather:
      for (std::size_t r = 0; r < places.size(); ++r) {
        const std::vector<std::byte>& part = places[r].sent;
        copy(static_cast<std::byte*>(what.to) + r * part.size(), part);
      }
      break;
    default:
      if (what.kind == exchange::reduce && to != root) break;
      with_type(what.type, [&](auto x) { reduce<decltype(x)>(*this, what, first); });
  }
}

std::string clique::missing() const {
  std::string made;
  for (int r = 0; r < ranks; ++r) {
    if (devices.count(r) > 0) continue;
    made += std::string(made.empty() ? "" : ", ") + "rank " + std::to_string(r) + " has not called";
  }
  return made;
}

}  // namespace stand_in

std::string ncclComm::text(const stand_in::request& what) const {
  return what.text() + " of rank " + std::to_string(rank) + " of " + std::to_string(of->ranks);
}

std::pair<std::shared_ptr<stand_in::meeting>, std::size_t> ncclComm::meet(
    const stand_in::request& what) {
  using stand_in::exchange;
  const auto join = [&](auto& open, const auto& key, const std::vector<int>& who, std::size_t at) {
    std::shared_ptr<stand_in::meeting>& found = open[key];
    if (found == nullptr) {
      found = std::make_shared<stand_in::meeting>();
      for (const int r : who) found->places.emplace_back().rank = r;
    }
    const std::shared_ptr<stand_in::meeting> met = found;
    met->places[at].called = true;
    met->places[at].what = what;
    if (met->all_called()) open.erase(key);
    return std::pair(met, at);
  };
  if (what.is_transfer()) {
    const bool sends = what.kind == exchange::send;
    const int from = sends ? rank : what.root;
    const int to = sends ? what.root : rank;
    const std::uint64_t n = ++(sends ? sent[to] : received[from]);
    return join(of->transfers, std::tuple(from, to, n), {from, to}, sends ? 0 : 1);
  }
  std::vector<int> all(static_cast<std::size_t>(of->ranks));
  for (std::size_t r = 0; r < all.size(); ++r) all[r] = static_cast<int>(r);
  return join(of->collectives, ++collectives, all, static_cast<std::size_t>(rank));
}
