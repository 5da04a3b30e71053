// SPDX-License-Identifier: BSD-3-Clause
// A stand-in for the CUDA runtime: a test program linked with it (and with `-cudart none`) runs its
// host side without a GPU. Device memory is host memory; what is queued runs when something waits
// for it, in a random legal order; races, misuse and leaks are found. This is what a test says to
// it and asks it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

namespace stand_in {

// How queued operations run.

enum class order {
  eager,   ///< each at once, in the calling thread
  random,  ///< when something is waited for or asked about, streams interleaved by the seed
};
void set_order(order how);
void set_seed(std::uint64_t seed);
/// How long a thread waits for what only other threads can bring about (a rank that has not
/// called), from the last that they did; then it is a finding. 10 s until said otherwise or
/// reset().
void set_time_limit(std::chrono::milliseconds limit);
/// Operations that have not run yet.
std::size_t queued();

// The machine: two devices of 4 GiB that reach each other, until said otherwise or reset().

void set_devices(int count);
void set_capacity(int device, std::size_t bytes);
/// Whether devices can be given access to each other's memory.
void set_peer_access(bool possible);
/// What the libraries say of their versions; those of the headers until said otherwise or reset().
enum class library : std::uint8_t { runtime, cublaslt, nccl };
void set_version(library of, int version);
/// Every call answers `how` (cudaErrorInsufficientDriver, cudaErrorStubLibrary, cudaErrorNoDevice);
/// cudaSuccess: there are devices again.
void no_device(cudaError_t how);

// What was found.

/// Sentences, in the order they were found: races, accesses to memory that is freed or not yet
/// allocated, out of range or of another device without peer access, guard zones and freed memory
/// written to, misuse of handles, calls from host functions, unknown kernels. Looks at all guards.
std::vector<std::string> findings();
/// Adds a finding.
void report(const std::string& sentence);

/// What has been made and not released.
struct live {
  std::uint64_t ordinal = 0;  ///< among those of its kind since reset(), from 1
  int device = 0;
  std::size_t bytes = 0;  ///< of an allocation
  std::string made_by;    ///< the call
};
std::vector<live> live_allocations();
std::vector<live> live_streams();
std::vector<live> live_events();
std::vector<live> live_library_objects();  ///< of cuBLASLt, and communicators of NCCL

/// Runs what is queued, then forgets planted faults, errors (sticky ones too), findings and freed
/// memory. What is live stays, and so does what the host does not know to have happened.
void recover();
/// As at the start of the process: no handle made before is valid. Kernels stay registered.
void reset();

// Faults. A sticky error (cudaErrorIllegalAddress, cudaErrorLaunchFailure and their like) is then
// the answer to every call until recover() or reset(), and nothing queued runs.

/// The k-th call that allocates from now, 1 the next, answers cudaErrorMemoryAllocation.
void fail_allocation(std::uint64_t k);
/// The k-th call from now, of those that calls() counts, answers `how` and does nothing.
void fail_call(std::uint64_t k, cudaError_t how);
/// The k-th kernel launched from now does not run; `how`, a sticky error, comes out where it would.
void fail_kernel(std::uint64_t k, cudaError_t how);
/// Calls that may fail: all but those that release something or ask for the last error.
std::uint64_t calls();
std::uint64_t allocations();  ///< of them those that allocate
std::uint64_t launches();     ///< of them kernel launches
void reset_counters();
/// Not 0: threads of kernels go one element beyond each bound that they ask their team for.
void set_team_fault(int fault);
int team_fault();

// Accesses.

enum class touch : std::uint8_t { read, written, atomic };  ///< atomics do not race with each other
inline constexpr std::size_t whole_allocation = ~std::size_t{0};
/// Says that the program itself reads or writes pinned memory here and now.
void host_access(const void* begin, std::size_t bytes, touch how);

// Kernels.

/// Told of a range that an operation reaches; `bytes` may be whole_allocation. No bytes and a null
/// `begin` are no access.
using add_access = void (*)(void* context, const void* begin, std::size_t bytes, touch how);

/// What a kernel does, on the host.
struct kernel_body {
  const char* name = nullptr;
  std::size_t argument_bytes = 0;  ///< of the kernel's only parameter
  int max_threads = 1024;          ///< its launch bound
  /// shared_bytes: what the launch asks for beside its own.
  void (*run)(const void* arguments, int blocks, int threads, std::size_t shared_bytes,
              std::uint64_t seed) = nullptr;
  /// Tells all memory that a launch reaches.
  void (*accesses)(const void* arguments, int blocks, void* context, add_access add) = nullptr;
};
/// stub: the kernel's address in host code.
void register_kernel(const void* stub, const kernel_body& body);

}  // namespace stand_in
