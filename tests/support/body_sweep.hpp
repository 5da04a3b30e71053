// SPDX-License-Identifier: BSD-3-Clause
// A statement run by bodies on many teams: whether it is right on all, and whether a fault of a
// team is noticed on one.
#pragma once

#include "body_outcome.hpp"
#include <doctest/doctest.h>

namespace support {

/// Whether the statement is right on teams of every size, in every order, on grids of several
/// blocks; what else `how` says is kept.
template <class... E>
bool right_everywhere(body_run how, double tolerance, const E&... e) {
  bool right = true;
  for (const int team : {1, 2, 31, 32, 33, 256}) {
    for (const fibre_order order :
         {fibre_order::forward, fibre_order::backward, fibre_order::shuffled}) {
      const int blocks = order == fibre_order::forward ? 1 : order == fibre_order::backward ? 3 : 7;
      how.team = team;
      how.blocks = blocks;
      how.order = order;
      how.merged_apart = order == fibre_order::shuffled ? 1 : cuda::results_merged_apart;
      how.members = order == fibre_order::forward ? 1 : 4;
      const outcome o = run_as(how, e...);
      if (!(o.worst <= tolerance) || !o.intact) {
        MESSAGE("team " << team << ", order " << static_cast<int>(order) << ": off by " << o.worst
                        << (o.intact ? "" : ", and wrote beside its output"));
        right = false;
      }
    }
  }
  return right;
}
template <class... E>
bool right_everywhere(double tolerance, const E&... e) {
  return right_everywhere(body_run{}, tolerance, e...);
}

/// Whether a fault is noticed on some team: wrong values, or memory beside the output written.
template <class... E>
bool noticed(body_run how, const team_fault& fault, const E&... e) {
  for (const int team : {32, 33, 64, 256}) {
    for (const fibre_order order :
         {fibre_order::forward, fibre_order::backward, fibre_order::shuffled}) {
      how.team = team;
      how.blocks = 5;
      how.order = order;
      how.fault = fault;
      const outcome o = run_as(how, e...);
      if (!(o.worst <= 1e-4) || !o.intact) return true;
    }
  }
  return false;
}
template <class... E>
bool noticed(const team_fault& fault, const E&... e) {
  return noticed(body_run{}, fault, e...);
}

}  // namespace support
