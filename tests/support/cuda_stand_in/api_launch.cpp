// SPDX-License-Identifier: BSD-3-Clause
// Kernels: what objects compiled by nvcc register, and what a launch comes to. `<<<…>>>` pushes its
// configuration and calls the stub; the stub asks __cudaGetKernel for a handle once, pops the
// configuration and calls __cudaLaunchKernel (crt/host_runtime.h, CUDA 13).
#include <cstdlib>
#include <cstring>

#include "simulator.hpp"
#include <cxxabi.h>

using namespace stand_in;

namespace {

/// A readable name, not too long: names of programs are lists of numbers.
std::string short_name(const char* mangled) {
  int status = 0;
  char* const plain = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  std::string name = status == 0 ? plain : mangled;
  std::free(plain);
  constexpr std::size_t most = 100;
  if (name.size() > most) name = name.substr(0, most - 3) + "...";
  return name;
}

std::string name_of(const simulator& s, const void* stub) {
  const auto body = s.bodies.find(stub);
  if (body != s.bodies.end() && body->second.name != nullptr) return body->second.name;
  const auto known = s.kernel_names.find(stub);
  return known == s.kernel_names.end() ? "of no name" : known->second;
}

/// What an added access goes into.
void add_range(void* context, const void* begin, std::size_t bytes, touch how) {
  static_cast<std::vector<range>*>(context)->push_back(
      {static_cast<const std::byte*>(begin), bytes, how});
}

cudaError_t launch(const void* stub, dim3 grid, dim3 block, void** arguments,
                   std::size_t shared_bytes, cudaStream_t stream) {
  return call(call_kind::launch, "cudaLaunchKernel", [&](world& now, hold& h) {
    simulator& all = simulator::instance();
    CUstream_st* const s = now.streams.find(stream, current_device(), "a kernel launch");
    if (s == nullptr || s->device != current_device()) return cudaErrorInvalidResourceHandle;
    const std::string name = "kernel " + name_of(all, stub);
    const auto found = all.bodies.find(stub);
    if (found == all.bodies.end()) {
      now.findings.add("unknown kernel: no body was registered for " + name);
      return cudaErrorInvalidDeviceFunction;
    }
    const kernel_body body = found->second;
    if (grid.x == 0 || block.x == 0 || block.x > 1024 || grid.x > 0x7FFFFFFF) {
      return cudaErrorInvalidConfiguration;
    }
    if (grid.y * grid.z * block.y * block.z != 1) {
      now.findings.add("not modelled: " + name + " has a grid of several dimensions");
      return cudaErrorInvalidConfiguration;
    }
    if (static_cast<int>(block.x) > body.max_threads) return cudaErrorInvalidValue;
    constexpr std::size_t most_without_asking = std::size_t{48} << 10;
    const auto allowed = all.shared_allowed.find({stub, s->device});
    if (shared_bytes >
        (allowed == all.shared_allowed.end() ? most_without_asking : allowed->second)) {
      return cudaErrorInvalidValue;
    }
    const int blocks = static_cast<int>(grid.x);
    const int threads = static_cast<int>(block.x);
    const auto make = [=, device = s->device,
                       seed = now.streams.random_word()](const std::shared_ptr<const void>& with) {
      work w;
      w.name = name;
      w.device = device;
      w.outside = true;
      body.accesses(with.get(), blocks, &w.accesses, add_range);
      w.run = [=] { body.run(with.get(), blocks, threads, shared_bytes, seed); };
      return w;
    };
    const auto with = copy_parameter(arguments[0], body.argument_bytes);
    if (s->capture != nullptr) {
      s->capture->nodes.push_back(
          std::make_shared<captured_node>(captured_node{make, with, body.argument_bytes, stub}));
      return cudaSuccess;
    }
    work w = make(with);
    if (now.launches.count()) {
      // the error comes out when the stream gets here
      w.outside = false;
      w.run = [&all, how = now.launches.how] { all.break_down(how); };
    }
    all.queue(h, *s, std::move(w));
    return cudaSuccess;
  });
}

bool is_kernel(const simulator& s, const void* stub) {
  return s.kernel_names.count(stub) + s.bodies.count(stub) > 0;
}

cudaError_t occupancy(int* blocks, const void* stub, int threads, const char* name) {
  return call(call_kind::plain, name, [&](world&, hold&) {
    if (!is_kernel(simulator::instance(), stub)) return cudaErrorInvalidDeviceFunction;
    if (threads <= 0 || threads > 1024) return cudaErrorInvalidValue;
    *blocks = 2048 / ((threads + 31) / 32 * 32);
    return cudaSuccess;
  });
}

}  // namespace

cudaError_t cudaLaunchKernel(const void* stub, dim3 grid, dim3 block, void** arguments,
                             std::size_t shared_bytes, cudaStream_t stream) {
  return launch(stub, grid, block, arguments, shared_bytes, stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* how, const void* stub, void** arguments) {
  if (how->numAttrs != 0) return cudaErrorNotSupported;  // blocks run one after the other
  return launch(stub, how->gridDim, how->blockDim, arguments, how->dynamicSmemBytes, how->stream);
}
cudaError_t cudaOccupancyMaxActiveClusters(int*, const void*, const cudaLaunchConfig_t*) {
  return cudaErrorNotSupported;
}

cudaError_t cudaFuncSetAttribute(const void* stub, cudaFuncAttribute attribute, int value) {
  return call(call_kind::plain, __func__, [&](world& now, hold&) {
    simulator& s = simulator::instance();
    if (!is_kernel(s, stub)) return cudaErrorInvalidDeviceFunction;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) {
      now.findings.add("not modelled: cudaFuncSetAttribute of another attribute");
      return cudaErrorInvalidValue;
    }
    if (value < 0 || value > most_shared_memory) return cudaErrorInvalidValue;
    s.shared_allowed[{stub, current_device()}] = static_cast<std::size_t>(value);
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* to, const void* stub) {
  return call(call_kind::plain, __func__, [&](world&, hold&) {
    simulator& s = simulator::instance();
    if (!is_kernel(s, stub)) return cudaErrorInvalidDeviceFunction;
    const auto body = s.bodies.find(stub);
    *to = {};
    to->maxThreadsPerBlock = body == s.bodies.end() ? 1024 : body->second.max_threads;
    to->numRegs = 32;
    to->ptxVersion = to->binaryVersion = 90;
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* stub,
                                                          int threads, std::size_t) {
  return occupancy(blocks, stub, threads, __func__);
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* stub,
                                                                   int threads, std::size_t,
                                                                   unsigned) {
  return occupancy(blocks, stub, threads, __func__);
}

// What the compiler calls: declared in headers that only it includes.
extern "C" {

void** __cudaRegisterFatBinary(void* binary) {
  // any address that tells binaries apart
  return new void*(binary);
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void** handle) { delete handle; }
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void**, const char* stub, char*, const char* name, int, uint3*, uint3*,
                            dim3*, dim3*, int*) {
  simulator& s = simulator::instance();
  const hold h(s.guard);
  s.kernel_names[stub] = short_name(name);
}
void __cudaRegisterVar(void**, char*, char*, const char* name, int, std::size_t, int, int) {
  simulator& s = simulator::instance();
  const hold h(s.guard);
  s.variables.push_back(short_name(name));
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared_bytes,
                                     CUstream_st* stream) {
  simulator& s = simulator::instance();
  const hold h(s.guard);
  s.thread().pushed.push_back({grid, block, shared_bytes, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes,
                                       void* stream) {
  simulator& s = simulator::instance();
  const hold h(s.guard);
  auto& pushed = s.thread().pushed;
  if (pushed.empty()) return cudaErrorMissingConfiguration;
  *grid = pushed.back().grid;
  *block = pushed.back().block;
  *shared_bytes = pushed.back().shared_bytes;
  *static_cast<cudaStream_t*>(stream) = pushed.back().stream;
  pushed.pop_back();
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* stub) {
  // the handle of a kernel is the address of its stub
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(stub));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               std::size_t shared_bytes, cudaStream_t stream) {
  return launch(kernel, grid, block, arguments, shared_bytes, stream);
}
}
