// SPDX-License-Identifier: BSD-3-Clause
// Resident memory of the process, and by how much it grows while something is built.
#pragma once

#include <cstdio>

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <unistd.h>

namespace bench {

inline double resident_bytes() {
  long size = 0, resident = 0;
  if (std::FILE* f = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(f, "%ld %ld", &size, &resident) != 2) resident = 0;
    std::fclose(f);
  }
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

/// Bytes that appear while `build` runs and its result lives. Pages that malloc holds free are
/// given back first; what a library keeps of its own is not, so the first call in a process is the
/// one.
template <class Build>
double resident_growth(Build build) {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
  const double before = resident_bytes();
  [[maybe_unused]] const auto built = build();
  return resident_bytes() - before;
}

}  // namespace bench
