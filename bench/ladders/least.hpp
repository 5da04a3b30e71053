// SPDX-License-Identifier: BSD-3-Clause
// What all ladders have in common: how a rung is timed.
#pragma once

#include <algorithm>
#include <vector>

#include <benchmark/benchmark.h>

namespace ladder {

/// The least of many short repetitions: what other programs take of a shared machine is left out.
inline void least_of_many(benchmark::internal::Benchmark* b) {
  b->MinTime(0.005)->Repetitions(60)->ReportAggregatesOnly(true)->ComputeStatistics(
      "least", [](const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); });
}

}  // namespace ladder
