// SPDX-License-Identifier: BSD-3-Clause
// distributed_data_parallel: a module of which every rank has a copy, and whose gradients are
// averaged over the ranks while backward runs.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <heddle/autograd/record.hpp>
#include <heddle/core/reference.hpp>
#include <heddle/distributed/communicator.hpp>
#include <heddle/nn/state.hpp>
#include <heddle/tensor/creation.hpp>

namespace heddle::inline v0 {

namespace detail {

/// Gradients of one dtype on one device, reduced together. Each begins at a multiple of 64 bytes.
struct gradient_bucket {
  struct place {
    any_parameter parameter;
    std::string name;
    std::int64_t offset = 0;  // in elements
    bool filled = false;
  };
  dtype type = dtype::f32;
  device where;
  std::vector<place> places;
  std::int64_t size = 0;  // in elements
  std::size_t filled = 0;
  any_tensor flat;  // while gradients come; then they are views of it
};

template <class F>
auto with_floating_type(dtype type, F f) {
  switch (type) {
    case dtype::f64:
      return f(double{});
    case dtype::bf16:
      return f(bfloat16{});
    case dtype::f16:
      return f(float16{});
    default:
      return f(float{});
  }
}

/// The elements of `flat` from `offset` on, with these extents.
template <class T, int Rank = 0>
any_tensor part_of(const any_tensor& flat, std::int64_t offset,
                   std::span<const std::int64_t> shape) {
  if constexpr (Rank < max_rank) {
    if (shape.size() != Rank) return part_of<T, Rank + 1>(flat, offset, shape);
  }
  extents<Rank> e;
  for (int i = 0; i < Rank; ++i) e[i] = shape[static_cast<std::size_t>(i)];
  return tensor<T, Rank>(flat.storage(), reinterpret_cast<T*>(flat.data()) + offset, e,
                         contiguous_strides(e));
}

/// What the hooks of the parameters share. The last gradient of a bucket starts its reduction;
/// buckets are reduced in the order of their indices on every rank, whatever order gradients come
/// in.
template <class Communicator>
class reducer : public counted {
 public:
  explicit reducer(Communicator& c) : communicator_(&c) {}

  void add(const std::string& name, const any_parameter& p) {
    std::size_t b = 0;
    while (b < buckets_.size() &&
           (buckets_[b].type != p.dtype() || buckets_[b].where != p.device()))
      ++b;
    if (b == buckets_.size()) {
      buckets_.emplace_back();
      buckets_[b].type = p.dtype();
      buckets_[b].where = p.device();
    }
    gradient_bucket& bucket = buckets_[b];
    const std::size_t index = bucket.places.size();
    bucket.places.push_back({p, name, bucket.size});
    const auto line = static_cast<std::int64_t>(64 / size_of(p.dtype()));
    bucket.size += (p.size() + line - 1) / line * line;
    const auto self = handle<reducer>::share(this);
    p.add_gradient_hook([self, b, index](const any_tensor& g) { self->take(b, index, g); });
  }
  /// The hooks outlive the reducer's owner: from now on they do nothing. Also undoes the circle of
  /// parameters that hold hooks that hold parameters.
  void detach() noexcept { buckets_.clear(); }

  /// Throws state_error where some gradients of the last backward came and others did not.
  void check_complete() const {
    std::string missing;
    bool begun = next_ > 0;
    for (const gradient_bucket& b : buckets_) {
      begun = begun || b.filled > 0;
      for (const gradient_bucket::place& p : b.places) {
        if (!p.filled) missing += (missing.empty() ? "" : ", ") + p.name;
      }
    }
    if (begun && !missing.empty()) {
      raise<state_error>(
          "heddle::distributed_data_parallel: parameters got no gradient in the last "
          "backward pass: ",
          missing, "; every parameter is to be used in each");
    }
  }

 private:
  // Runs within backward, when the gradient of one parameter is final.
  void take(std::size_t b, std::size_t index, const any_tensor& gradient) {
    if (buckets_.empty()) return;
    gradient_bucket& bucket = buckets_[b];
    gradient_bucket::place& place = bucket.places[index];
    if (place.filled) check_complete();
    if (!bucket.flat.defined()) {
      const std::int64_t shape[] = {bucket.size};
      bucket.flat = any_tensor::allocate(bucket.type, shape, bucket.where);
      with_floating_type(bucket.type, [&]<class T>(T) { bucket.flat.as<T, 1>().zero_(); });
    }
    // Divided before they are summed: 16-bit floats overflow late.
    with_floating_type(bucket.type, [&]<class T>(T) {
      const std::int64_t shape[] = {place.parameter.size()};
      const auto to = part_of<T>(bucket.flat, place.offset, shape).template as<T, 1>();
      const auto from = part_of<T>(gradient.contiguous(), 0, shape).template as<T, 1>();
      assign(to, from * (1.0 / communicator_->size()));
    });
    place.filled = true;
    ++bucket.filled;
    while (next_ < buckets_.size() && buckets_[next_].filled == buckets_[next_].places.size()) {
      reduce(buckets_[next_++]);
    }
    if (next_ == buckets_.size()) restart();
  }
  void reduce(gradient_bucket& bucket) {
    communicator_->all_reduce(bucket.flat, reduce_op::sum);
    with_floating_type(bucket.type, [&]<class T>(T) {
      for (gradient_bucket::place& p : bucket.places) {
        p.parameter.set_grad(part_of<T>(bucket.flat, p.offset, p.parameter.extents()));
      }
    });
    bucket.flat = {};
  }
  void restart() {
    next_ = 0;
    for (gradient_bucket& bucket : buckets_) {
      bucket.filled = 0;
      for (gradient_bucket::place& p : bucket.places) p.filled = false;
    }
  }

  Communicator* communicator_;
  std::vector<gradient_bucket> buckets_;
  std::size_t next_ = 0;  // the bucket to be reduced next
};

/// FNV-1a over name, dtype and extents.
inline std::int64_t identity_of(const std::string& name, const any_parameter& p) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  const auto add = [&hash](std::uint64_t value) {
    for (int i = 0; i < 8; ++i) hash = (hash ^ (value >> (8 * i) & 0xff)) * 0x100000001B3u;
  };
  for (const char c : name) add(static_cast<unsigned char>(c));
  add(static_cast<std::uint64_t>(p.dtype()));
  for (const std::int64_t extent : p.extents()) add(static_cast<std::uint64_t>(extent));
  return static_cast<std::int64_t>(hash);
}

}  // namespace detail

/// Wraps a module of which every rank has one. At construction the ranks compare their parameters,
/// and all get rank 0's parameters and buffers. Then each backward pass averages the gradients over
/// the ranks: when it returns, `grad()` is the mean over all ranks' batches, whole batches being
/// the same size. Called like the module. The module and the communicator outlive it.
///
/// Every parameter takes part in every backward pass; one that does not is an error at the next
/// call.
template <class Module, communicator Communicator>
class distributed_data_parallel {
 public:
  /// Throws communication_error where the ranks' parameters differ: which one, and on which rank.
  distributed_data_parallel(Module& module, Communicator& c)
      : module_(&module), reducer_(make_handle<detail::reducer<Communicator>>(c)) {
    const auto named = named_parameters(module);
    compare(named, c);
    for (const auto& [name, value] : state_dict(module)) c.broadcast(value, 0);
    for (const auto& [name, p] : named) {
      if (p.state().leaf() != nullptr) reducer_->add(name, p);
    }
  }
  distributed_data_parallel(const distributed_data_parallel&) = delete;
  distributed_data_parallel& operator=(const distributed_data_parallel&) = delete;
  ~distributed_data_parallel() { reducer_->detach(); }

  template <class... X>
  decltype(auto) operator()(const X&... x) {
    reducer_->check_complete();
    return (*module_)(x...);
  }
  /// The module itself: for its parameters and its state dict.
  [[nodiscard]] Module& module() noexcept { return *module_; }

 private:
  static void compare(const std::vector<std::pair<std::string, any_parameter>>& named,
                      Communicator& c) {
    // counts first: a gather of lists of different lengths would be refused without a name
    const auto count = static_cast<std::int64_t>(named.size());
    const auto counts = gather({count}, c);
    for (int rank = 0; rank < c.size(); ++rank) {
      if (counts(rank, 0) == counts(0, 0)) continue;
      raise<communication_error>(
          "heddle::distributed_data_parallel: the ranks' modules differ: rank ", rank, " has ",
          counts(rank, 0), " parameters, rank 0 has ", counts(0, 0), "; all are to have the same");
    }
    const auto mine = tensor<std::int64_t, 1>::allocate({count}, cpu());
    for (std::int64_t i = 0; i < count; ++i) {
      const auto& [name, p] = named[static_cast<std::size_t>(i)];
      mine(i) = detail::identity_of(name, p);
    }
    const auto all = gather(mine, c);
    for (std::int64_t i = 0; i < count; ++i) {
      for (int rank = 0; rank < c.size(); ++rank) {
        if (all(rank, i) == all(0, i)) continue;
        raise<communication_error>(
            "heddle::distributed_data_parallel: the ranks' modules differ: parameter ", i,
            ", here ", named[static_cast<std::size_t>(i)].first,
            ", has another name, dtype or shape on rank ", rank,
            " than on rank 0; all are to have the same");
      }
    }
  }

  /// (n) of each rank, as (ranks, n) on the host.
  static tensor<std::int64_t, 2> gather(const tensor<std::int64_t, 1>& mine, Communicator& c) {
    const auto all = tensor<std::int64_t, 2>::allocate({c.size(), mine.size()}, c.device());
    c.all_gather(mine.to(c.device()), all);
    return all.to(cpu());
  }

  Module* module_;
  handle<detail::reducer<Communicator>> reducer_;
};

}  // namespace heddle::inline v0
