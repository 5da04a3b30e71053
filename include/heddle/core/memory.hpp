// SPDX-License-Identifier: BSD-3-Clause
// Memory of all devices that the program has.
#pragma once

#include <heddle/core/storage.hpp>

#if defined(__CUDACC__)
#include <heddle/core/cuda/services.cuh>  // puts the CUDA backend in place
#endif
