// SPDX-License-Identifier: BSD-3-Clause
// A CUDA run-time that runs nothing: it says that there is an H100, gives out addresses without
// memory behind them, and writes a JSON line for each launch between two timing events. Linked in
// place of cudart with a program that never looks at its results, so that what heddle would launch
// there, on operands of any size, is known without a GPU.
#include "recorder.hpp"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

#include <cuda_runtime_api.h>

namespace {

// CUDA Programming Guide, compute capability 9.0; H100 SXM.
constexpr int multiprocessors = 132;
constexpr int shared_of_block = 227 << 10;
constexpr std::size_t all_memory = std::size_t{80} << 30;

std::map<const void*, std::string>& names() {
  static std::map<const void*, std::string> of;
  return of;
}
std::map<const void*, recorder::describe>& descriptions() {
  static std::map<const void*, recorder::describe> of;
  return of;
}

struct configuration {
  dim3 grid, block;
  std::size_t shared;
};
std::vector<configuration> pushed;

bool timing = false;  // between a pair of events that have a clock
cudaError_t current = cudaSuccess;

/// Addresses: nothing reads or writes there.
void* take(std::size_t bytes) {
  static std::uintptr_t next = std::uintptr_t{1} << 40;
  const std::uintptr_t at = next;
  next += (bytes + 511) / 512 * 512;
  return reinterpret_cast<void*>(at);
}

}  // namespace

void recorder::tell(const void* stub, describe how) { descriptions()[stub] = how; }

struct CUevent_st {
  bool has_clock;
};
struct CUstream_st {};
struct CUmemPoolHandle_st {};

extern "C" {

void** __cudaRegisterFatBinary(void* binary) { return new void*(binary); }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void** handle) { delete handle; }
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void**, const char* stub, char*, const char* name, int, uint3*, uint3*,
                            dim3*, dim3*, int*) {
  names()[stub] = name;
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, CUstream_st*) {
  pushed.push_back({grid, block, shared});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
  *grid = pushed.back().grid;
  *block = pushed.back().block;
  *shared = pushed.back().shared;
  *static_cast<cudaStream_t*>(stream) = nullptr;
  pushed.pop_back();
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* stub) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(stub));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               std::size_t shared, cudaStream_t) {
  if (!timing) return cudaSuccess;
  const void* const stub = reinterpret_cast<const void*>(kernel);
  const auto how = descriptions().find(stub);
  const std::string said = how == descriptions().end() ? std::string() : how->second(arguments[0]);
  std::printf("{\"kernel\": \"%s\", \"blocks\": %u, \"threads\": %u, \"dynamic\": %zu%s}\n",
              names()[stub].c_str(), grid.x, block.x, shared, said.c_str());
  return cudaSuccess;
}

}  // extern "C"

cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount            ? multiprocessors
           : attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? shared_of_block
                                                                  : 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { return *can = 0, cudaSuccess; }
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  static CUmemPoolHandle_st one;
  return *pool = &one, cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value) {
  return *static_cast<std::uint64_t*>(value) = 0, cudaSuccess;
}
cudaError_t cudaMemPoolSetAccess(cudaMemPool_t, const cudaMemAccessDesc*, std::size_t) {
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) { return cudaSuccess; }
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* all) {
  return *free = *all = all_memory, cudaSuccess;
}
cudaError_t cudaMalloc(void** to, std::size_t bytes) { return *to = take(bytes), cudaSuccess; }
cudaError_t cudaMallocAsync(void** to, std::size_t bytes, cudaStream_t) {
  return *to = take(bytes), cudaSuccess;
}
cudaError_t cudaFree(void*) { return cudaSuccess; }
cudaError_t cudaFreeAsync(void*, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaHostAlloc(void** to, std::size_t bytes, unsigned) {
  return *to = std::calloc(bytes, 1), cudaSuccess;
}
cudaError_t cudaFreeHost(void* at) { return std::free(at), cudaSuccess; }
cudaError_t cudaMemcpyAsync(void*, const void*, std::size_t, cudaMemcpyKind, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaMemcpyPeerAsync(void*, int, const void*, int, std::size_t, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void*, int, std::size_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return *stream = new CUstream_st, cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t function, void* with) {
  return function(with), cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return *event = new CUevent_st{(flags & cudaEventDisableTiming) == 0}, cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  if (event->has_clock) timing = !timing;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  return *milliseconds = 1, cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaGetLastError() { return current; }
cudaError_t cudaPeekAtLastError() { return current; }
const char* cudaGetErrorName(cudaError_t) { return "none"; }
const char* cudaGetErrorString(cudaError_t) { return "no error"; }

// Nothing is captured.
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  return cudaErrorNotSupported;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t*) { return cudaErrorNotSupported; }
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus*, unsigned long long*,
                                     cudaGraph_t*, const cudaGraphNode_t**,
                                     const cudaGraphEdgeData**, std::size_t*) {
  return cudaErrorNotSupported;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t*, cudaGraph_t, unsigned long long) {
  return cudaErrorNotSupported;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) { return cudaErrorNotSupported; }
cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t, cudaGraphNode_t,
                                             const cudaKernelNodeParams*) {
  return cudaErrorNotSupported;
}
cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cudaSuccess; }
