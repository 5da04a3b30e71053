// SPDX-License-Identifier: BSD-3-Clause
// What every test of the CUDA backend begins and ends with. On the stand-in for the run-time,
// streams run in a random order, and at the end nothing has been found and no stream has leaked;
// HEDDLE_TEST_SEED repeats an order. With HEDDLE_TEST_ON_GPU tests run on a real device.
#pragma once

#if defined(HEDDLE_TEST_ON_GPU)

#include <heddle/core/memory.hpp>

namespace support {

struct cuda_case {
  cuda_case() = default;
  cuda_case(const cuda_case&) = delete;
  cuda_case& operator=(const cuda_case&) = delete;
  ~cuda_case() { heddle::collect_references(); }
};

}  // namespace support

#else

#include <cstdlib>
#include <string>

#include "../support/cuda_stand_in/bodies.cuh"
#include <doctest/doctest.h>

#include <heddle/core/memory.hpp>

namespace support {

class cuda_case {
 public:
  cuda_case() {
    const char* const given = std::getenv("HEDDLE_TEST_SEED");
    stand_in::set_order(stand_in::order::random);
    stand_in::set_seed(given != nullptr ? std::strtoull(given, nullptr, 0) : 1);
    // what the library keeps for the whole process is there before anything is counted
    for (int i = 0; i < heddle::cuda_device_count(); ++i) {
      static_cast<void>(heddle::default_stream(heddle::cuda(i)));
    }
    streams_ = stand_in::live_streams().size();
  }
  cuda_case(const cuda_case&) = delete;
  cuda_case& operator=(const cuda_case&) = delete;
  ~cuda_case() {
    settle();
    CHECK(stand_in::live_streams().size() == streams_);
  }
  /// All that was queued has run, and nothing was found; freed memory is forgotten.
  static void settle() {
    heddle::collect_references();
    cudaDeviceSynchronize();
    for (const std::string& finding : stand_in::findings()) FAIL_CHECK(finding);
    stand_in::recover();
  }

 private:
  std::size_t streams_ = 0;
};

}  // namespace support

#endif

namespace support {

/// Another device than cuda(0), where there is one.
inline heddle::device second_device() {
  return heddle::cuda_device_count() > 1 ? heddle::cuda(1) : heddle::cuda(0);
}

}  // namespace support
