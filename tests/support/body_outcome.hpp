// SPDX-License-Identifier: BSD-3-Clause
// What a statement run by bodies gives beside what the host's own loops give.
#pragma once

#include <algorithm>
#include <cmath>

#include "run_bodies.hpp"

#include <heddle/nn/functional.hpp>
#include <heddle/tensor/creation.hpp>

namespace support {

using heddle::tensor;

/// The largest distance between what bodies compute and what the host computes, in units of the
/// largest value; infinite where not-a-numbers differ.
template <class T, int Rank>
double distance(const tensor<T, Rank>& got, const tensor<T, Rank>& want) {
  double scale = 1e-30;
  double worst = 0;
  auto g = got.begin();
  for (const T w : want) {
    const auto a = static_cast<double>(w);
    const auto b = static_cast<double>(*g);
    ++g;
    if (std::isnan(a) || std::isnan(b)) {
      if (std::isnan(a) != std::isnan(b)) worst = INFINITY;
      continue;
    }
    scale = std::max(scale, std::fabs(a));
    worst = std::max(worst, std::fabs(a - b));
  }
  return worst / scale;
}

/// Rooms of one statement's results between guards that no body may touch.
template <class T, int Rank>
struct guarded {
  tensor<T, 1> memory;
  tensor<T, Rank> inside;
  static constexpr std::int64_t guard = 64;

  explicit guarded(const tensor<T, Rank>& like)
      : memory(heddle::full<T, 1>({like.size() + 2 * guard}, heddle::compute_type<T>(99))),
        inside(memory.storage(), memory.data() + guard, like.extents(),
               heddle::contiguous_strides(like.extents())) {}
  bool intact() const {
    for (std::int64_t i = 0; i < guard; ++i) {
      if (memory(i) != T(99) || memory(memory.size() - 1 - i) != T(99)) return false;
    }
    return true;
  }
};

struct outcome {
  double worst = 0;
  bool intact = true;
  bool reported = false;
  int members = 1;
  int launches = 0;
  bool values_held = false;
};

/// Runs a statement by bodies as `how` says and compares it with the host's loops.
template <class... E>
outcome run_as(const body_run& how, const E&... e) {
  const auto wanted = std::tuple_cat([](auto made) {
    if constexpr (requires { made.data(); }) {
      return std::tuple{made};
    } else {
      return made;
    }
  }(heddle::evaluate(e...)));
  return std::apply(
      [&](const auto&... want) {
        const auto rooms = std::tuple{guarded(want)...};
        return std::apply(
            [&](const auto&... room) {
              const body_report report = run_bodies(how, std::tuple{room.inside...}, e...);
              outcome o;
              o.reported = report.bad_index != std::numeric_limits<std::int64_t>::min();
              o.members = report.members;
              o.launches = report.launches;
              o.values_held = report.values_held;
              if (report.waits_for_ever) o.worst = INFINITY;
              ((o.worst = std::max(o.worst, distance(room.inside, want))), ...);
              ((o.intact = o.intact && room.intact()), ...);
              return o;
            },
            rooms);
      },
      wanted);
}

/// dx, dgamma and dbeta of a layer norm in one statement: rows, and two columns' sums beside them.
inline constexpr auto layer_norm_gradient = heddle::fused([](auto x, auto gamma, auto g) {
  const auto centred = x - heddle::mean<-1>(x, heddle::keepdim);
  const auto scale = rsqrt(heddle::mean<-1>(square(centred), heddle::keepdim) + 1e-5);
  const auto normal = centred * scale;
  const auto h = g * gamma;
  return heddle::outputs(scale * (h - heddle::mean<-1>(h, heddle::keepdim) -
                                  normal * heddle::mean<-1>(h * normal, heddle::keepdim)),
                         heddle::sum<0>(g * normal), heddle::sum<0>(g));
});

}  // namespace support
