// SPDX-License-Identifier: BSD-3-Clause
// How the goal benches measure: contenders take turns in one process, each with its own thread
// count, and their medians stand side by side in a row of a table, with the physical limit beside
// them.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif
#include <sys/resource.h>
#include <unistd.h>

#include <heddle/core/thread_pool.hpp>

#if defined(HEDDLE_BENCH_LIBTORCH)
#include <ATen/Parallel.h>
#endif

namespace bench {

/// Starts the program again in the environment that serves the peers best: no OPENBLAS_* settings
/// (they halve OpenBLAS), a malloc that keeps large blocks (otherwise page faults dominate) in huge
/// pages, and LibTorch's AVX-512 kernels where the processor has it. What the caller set otherwise
/// stays.
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

/// The value is needed, in memory.
template <class T>
inline void keep(const T& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

struct contender {
  std::string name;
  int threads = 1;
  std::function<void(std::int64_t)> repeat;  ///< runs the work so many times
};

/// `work` is called once per repetition.
template <class Work>
contender enter(std::string name, int threads, Work work) {
  return {std::move(name), threads, [work = std::move(work)](std::int64_t times) mutable {
            for (std::int64_t i = 0; i < times; ++i) work();
          }};
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

inline void set_threads(int count) {
  heddle::set_num_threads(count);
#if defined(_OPENMP)
  omp_set_num_threads(count);
#endif
#if defined(HEDDLE_BENCH_LIBTORCH)
  at::set_num_threads(count);
#endif
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Seconds per repetition of each contender: medians of `rounds` rounds in which all take their
/// turn, each for about `turn` seconds, after a warm-up.
inline std::vector<double> race(const std::vector<contender>& contenders, int rounds = 9,
                                double turn = 0.004) {
  std::vector<std::int64_t> times;
  std::vector<std::vector<double>> measured(contenders.size());
  for (const contender& c : contenders) {
    set_threads(c.threads);
    std::int64_t count = 1;
    double taken = seconds_of(c.repeat, count);
    while (taken < turn) {
      count *= taken < turn / 16 ? 8 : 2;
      taken = seconds_of(c.repeat, count);
    }
    times.push_back(count);
  }
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      set_threads(contenders[i].threads);
      // one repetition to find the caches and the threads again
      contenders[i].repeat(1);
      measured[i].push_back(undisturbed_seconds_of(contenders[i].repeat, times[i]) /
                            static_cast<double>(times[i]));
    }
  }
  std::vector<double> medians;
  for (const auto& m : measured) medians.push_back(median(m));
  return medians;
}

inline std::string time_text(double seconds) {
  char text[32];
  if (seconds <= 0) return "—";
  if (seconds < 1e-6) {
    std::snprintf(text, sizeof text, "%.1f ns", seconds * 1e9);
  } else if (seconds < 1e-3) {
    std::snprintf(text, sizeof text, "%.2f µs", seconds * 1e6);
  } else {
    std::snprintf(text, sizeof text, "%.2f ms", seconds * 1e3);
  }
  return text;
}

inline std::string ratio_text(double ratio) {
  char text[32];
  if (ratio <= 0) return "—";
  std::snprintf(text, sizeof text, "%.2f", ratio);
  return text;
}

/// Prints the table's head, with how busy the machine is.
inline void head(const char* goal) {
  double load = 0;
  if (getloadavg(&load, 1) == 1 && load > 0.5) {
    std::printf("\nThe machine is not quiet: load %.1f.\n", load);
  }
  std::printf(
      "\n%s\n\n| work | contender | time | × heddle | of the limit |\n|---|---|---|---|---|\n",
      goal);
}

/// Races contenders, heddle's first, and prints a row each. `limit`: seconds that the machine needs
/// at least; 0: not known.
inline std::vector<double> row(const std::string& work, double limit,
                               const std::vector<contender>& contenders, int rounds = 9,
                               double turn = 0.004) {
  const std::vector<double> times = race(contenders, rounds, turn);
  for (std::size_t i = 0; i < times.size(); ++i) {
    std::printf("| %s | %s, %d thread%s | %s | %s | %s |\n", work.c_str(),
                contenders[i].name.c_str(), contenders[i].threads,
                contenders[i].threads == 1 ? "" : "s", time_text(times[i]).c_str(),
                ratio_text(times[i] / times[0]).c_str(), ratio_text(limit / times[i]).c_str());
  }
  if (limit > 0) {
    std::printf("| %s | limit | %s | %s | 1 |\n", work.c_str(), time_text(limit).c_str(),
                ratio_text(limit / times[0]).c_str());
  }
  std::fflush(stdout);
  return times;
}

/// Processors that this process may use, at most 2: the thread counts that are measured.
inline int most_threads() {
  const int found = heddle::detail::processors();
  return found < 2 ? found : 2;
}

}  // namespace bench
