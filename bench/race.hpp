// SPDX-License-Identifier: BSD-3-Clause
// How the goal benches measure: contenders take turns, each with its own thread count, and the
// medians of their turns count.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif
#include <sys/resource.h>
#include <unistd.h>

#include "contender.hpp"

#include <heddle/core/thread_pool.hpp>

namespace bench {

/// Starts the program again in the environment that serves the peers best: no OPENBLAS_* settings
/// (they halve OpenBLAS), a malloc that keeps large blocks (otherwise page faults dominate) in huge
/// pages, and LibTorch's AVX-512 kernels where the processor has it. What the caller set otherwise
/// stays. peers/serving.py does the same for the peers in Python.
inline void tune(char** arguments) {
  if (std::getenv("HEDDLE_BENCH_TUNED") != nullptr) return;
  unsetenv("OPENBLAS_CORETYPE");
  unsetenv("OPENBLAS_L2_SIZE");
  setenv("MALLOC_MMAP_THRESHOLD_", "17179869184", 0);
  setenv("MALLOC_TRIM_THRESHOLD_", "17179869184", 0);
  setenv("MALLOC_TOP_PAD_", "1073741824", 0);
  setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 0);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) setenv("ATEN_CPU_CAPABILITY", "avx512", 0);
#endif
  setenv("HEDDLE_BENCH_TUNED", "1", 1);
  execv("/proc/self/exe", arguments);
  std::perror("bench: the program could not be started again");
  std::exit(1);
}

inline double seconds_of(const std::function<void(std::int64_t)>& repeat, std::int64_t times) {
  const auto start = std::chrono::steady_clock::now();
  repeat(times);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// How often another process took a processor away from this one.
inline long interruptions() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nivcsw;
}

/// As seconds_of; a turn that was interrupted is repeated a few times, and the least interrupted
/// counts.
inline double undisturbed_seconds_of(const std::function<void(std::int64_t)>& repeat,
                                     std::int64_t times) {
  double best = 0;
  long fewest = -1;
  for (int attempt = 0; attempt < 8 && fewest != 0; ++attempt) {
    const long before = interruptions();
    const double taken = seconds_of(repeat, times);
    const long now = interruptions() - before;
    if (fewest >= 0 && now >= fewest) continue;
    fewest = now;
    best = taken;
  }
  return best;
}

/// Processors that this process may use, at most 2: the thread counts that are measured.
inline int most_threads() { return std::min(heddle::detail::processors(), 2); }
inline std::vector<int> thread_counts() {
  return most_threads() < 2 ? std::vector<int>{1} : std::vector<int>{1, 2};
}

inline void set_threads(int count) {
  heddle::set_num_threads(count);
#if defined(_OPENMP)
  omp_set_num_threads(count);
#endif
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// One turn of about `turn` seconds: what the contender reports of a repetition. The first turn
/// also finds out how many repetitions fill it.
inline double measure(contender& c, double turn) {
  set_threads(c.threads);
  if (c.count) return c.count();
  if (c.turn != turn) {
    c.turn = turn;
    c.times = 1;
    double taken = seconds_of(c.repeat, c.times);
    while (taken < turn) {
      c.times *= taken < turn / 16 ? 8 : 2;
      taken = seconds_of(c.repeat, c.times);
    }
  }
  c.repeat(1);  // to find the caches and the threads again
  return undisturbed_seconds_of(c.repeat, c.times) / static_cast<double>(c.times) * c.share;
}

/// Medians of `rounds` rounds in which all contenders take their turn, after a warm-up.
inline std::vector<double> race(std::vector<contender>& contenders, int rounds, double turn) {
  std::vector<std::vector<double>> measured(contenders.size());
  for (contender& c : contenders) measure(c, turn);
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      measured[i].push_back(measure(contenders[i], turn));
    }
  }
  std::vector<double> medians;
  for (const auto& m : measured) medians.push_back(median(m));
  return medians;
}

}  // namespace bench
