// SPDX-License-Identifier: BSD-3-Clause
// Host functions over memory of a CUDA device: on copies, which go back afterwards. This is how
// statements run that have no kernels, as the unit they are in was not compiled by nvcc, and what
// is interpreted. Right, and slow; the caller waits for the device.
#pragma once

#include <vector>

#include <heddle/exec/launch.hpp>
#include <heddle/tensor/copy.hpp>

namespace heddle::inline v0::exec::detail {

/// Copies of storages on the host, each once.
class host_copies {
 public:
  /// Whether a copy goes back is said by `written`.
  void add(storage* owner, bool written) {
    if (owner == nullptr) return;
    for (copy& known : copies_) {
      if (known.of.get() != owner) continue;
      known.written = known.written || written;
      return;
    }
    const handle<storage> here = storage::allocate(owner->bytes(), cpu());
    copies_.push_back({handle<storage>::share(owner), here, written});
    transfer(here, copies_.back().of);
  }
  /// Where the copy of a place of the device's memory is.
  std::byte* place_of(const storage* owner, std::byte* at) const {
    for (const copy& known : copies_) {
      if (known.of.get() == owner) return known.here->data() + (at - owner->data());
    }
    return at;
  }
  void write_back() const {
    for (const copy& known : copies_) {
      if (known.written) transfer(known.of, known.here);
    }
  }

 private:
  struct copy {
    handle<storage> of, here;
    bool written;
  };
  static void transfer(const handle<storage>& to, const handle<storage>& from) {
    const std::int64_t bytes = static_cast<std::int64_t>(to->bytes());
    const std::int64_t stride = 1;
    if (bytes == 0) return;
    heddle::detail::copy_elements({to, to->data(), &stride}, {from, from->data(), &stride}, &bytes,
                                  1, 1);
  }

  std::vector<copy> copies_;
};

/// A launch whose operands are in host copies. Outputs are operands `inputs` on among the owners.
class staged_launch {
 public:
  staged_launch(const launch& l, int inputs, int outputs, storage* const* owners) : l_(l) {
    for (int i = 0; i < inputs + outputs; ++i) copies_.add(owners[i], i >= inputs);
    for (int i = 0; i < inputs + outputs; ++i) {
      operands_.push_back(i < inputs ? l.inputs[i] : l.outputs[i - inputs]);
      operands_.back().data = copies_.place_of(owners[i], operands_.back().data);
    }
    l_.inputs = operands_.data();
    l_.outputs = operands_.data() + inputs;
  }
  template <class F>
  void run(F f) {
    f(static_cast<const launch&>(l_));
    copies_.write_back();
  }

 private:
  launch l_;
  host_copies copies_;
  std::vector<operand> operands_;
};

}  // namespace heddle::inline v0::exec::detail
