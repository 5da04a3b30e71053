// SPDX-License-Identifier: BSD-3-Clause
// CoDiPack's general tape of Jacobians, in single precision.
#include "codipack.hpp"

#include "../resident.hpp"
#include <codi.hpp>

namespace bench {

namespace {

using number = codi::RealReverseGen<float>;

// A tape that is empty again afterwards.
struct recording {
  number::Tape& tape = number::getTape();
  number x = 1.f;
  recording() {
    tape.setActive();
    tape.registerInput(x);
  }
  recording(const recording&) = delete;
  recording& operator=(const recording&) = delete;
  ~recording() { tape.reset(); }

  number chain(std::int64_t length) const {
    number z = x;
    for (std::int64_t i = 0; i < length; ++i) z = z * 1.000001f;
    return z;
  }
  void differentiate(number& z) {
    tape.registerOutput(z);
    tape.setPassive();
    z.setGradient(1.f);
    tape.evaluate();
  }
};

template <class See>
void chain(std::int64_t length, See see) {
  recording r;
  number z = r.chain(length);
  r.differentiate(z);
  see(static_cast<double>(z.getValue()));
  see(static_cast<double>(r.x.getGradient()));
}

}  // namespace

contender codipack_chain(std::int64_t length) {
  contender c = enter("codipack", "", 1, [length](auto see) { chain(length, see); });
  c.values = [] {
    std::vector<double> values;
    chain(1000, sampled{&values});
    return values;
  };
  c.share = 1 / static_cast<double>(length);
  return c;
}

contender codipack_recording(std::int64_t length) {
  contender c = enter("codipack", "", 1, [length](auto see) {
    const recording r;
    see(static_cast<double>(r.chain(length).getValue()));
  });
  c.values = nullptr;
  c.share = 1 / static_cast<double>(length);
  return c;
}

contender codipack_memory(std::int64_t length) {
  return counted("codipack", "", [length, bytes = 0.0]() mutable {
    if (bytes > 0) return bytes;
    recording r;
    number z;
    bytes = resident_growth([&] {
              z = r.chain(length);
              return 0;
            }) /
            static_cast<double>(length);
    return bytes;
  });
}

contender codipack_product() {
  return enter("codipack", "", 1, [](auto see) {
    recording r;
    number w = 1.000001f;
    r.tape.registerInput(w);
    number z = r.x;
    for (int i = 0; i < 8; ++i) z = z * w;
    r.differentiate(z);
    see(static_cast<double>(z.getValue()));
    see(static_cast<double>(r.x.getGradient()));
    see(static_cast<double>(w.getGradient()));
  });
}

}  // namespace bench
