// SPDX-License-Identifier: BSD-3-Clause
// What every launch of a kernel passes.
#pragma once

#include <heddle/core/cuda/error.cuh>

namespace heddle::inline v0::detail {

/// Told of each kernel before it is launched. `Id` names the kernel; a test specialises this to
/// learn which bodies belong to it.
template <class Id>
struct kernel_observer {
  static void before_launch() {}
};

}  // namespace heddle::inline v0::detail
