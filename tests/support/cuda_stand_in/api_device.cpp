// SPDX-License-Identifier: BSD-3-Clause
// The runtime's functions about devices and errors.
#include <cstdio>
#include <cstring>

#include "simulator.hpp"

using namespace stand_in;

namespace {

struct named_error {
  cudaError_t code;
  const char* name;
  const char* text;
};
#define STAND_IN_ERROR(code, text) \
  { code, #code, text }
constexpr named_error errors[] = {
    STAND_IN_ERROR(cudaSuccess, "no error"),
    STAND_IN_ERROR(cudaErrorInvalidValue, "invalid argument"),
    STAND_IN_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    STAND_IN_ERROR(cudaErrorInitializationError, "initialization error"),
    STAND_IN_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    STAND_IN_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    STAND_IN_ERROR(cudaErrorStubLibrary, "CUDA driver is a stub library"),
    STAND_IN_ERROR(cudaErrorInsufficientDriver,
                   "CUDA driver version is insufficient for CUDA runtime version"),
    STAND_IN_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    STAND_IN_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    STAND_IN_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    STAND_IN_ERROR(cudaErrorECCUncorrectable, "uncorrectable ECC error encountered"),
    STAND_IN_ERROR(cudaErrorPeerAccessUnsupported,
                   "peer access is not supported between these two devices"),
    STAND_IN_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    STAND_IN_ERROR(cudaErrorNotReady, "device not ready"),
    STAND_IN_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    STAND_IN_ERROR(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    STAND_IN_ERROR(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
    STAND_IN_ERROR(cudaErrorPeerAccessAlreadyEnabled, "peer access is already enabled"),
    STAND_IN_ERROR(cudaErrorAssert, "device-side assert triggered"),
    STAND_IN_ERROR(cudaErrorIllegalInstruction, "an illegal instruction was encountered"),
    STAND_IN_ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    STAND_IN_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    STAND_IN_ERROR(cudaErrorNotPermitted, "operation not permitted"),
    STAND_IN_ERROR(cudaErrorNotSupported, "operation not supported"),
    STAND_IN_ERROR(cudaErrorUnknown, "unknown error"),
};

constexpr int processors = 2;
constexpr int threads_of_processor = 2048;

bool exists(const world& w, int device) { return device >= 0 && device < w.devices; }

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  for (const named_error& e : errors) {
    if (e.code == error) return e.name;
  }
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) {
  for (const named_error& e : errors) {
    if (e.code == error) return e.text;
  }
  return "unrecognized error code";
}
cudaError_t cudaPeekAtLastError() {
  simulator& s = simulator::instance();
  const hold h(s.guard);
  return s.now->sticky != cudaSuccess ? s.now->sticky : s.thread().last_error;
}
cudaError_t cudaGetLastError() {
  simulator& s = simulator::instance();
  const hold h(s.guard);
  const cudaError_t last = s.thread().last_error;
  s.thread().last_error = cudaSuccess;
  return s.now->sticky != cudaSuccess ? s.now->sticky : last;
}

cudaError_t cudaGetDeviceCount(int* count) {
  if (count != nullptr) *count = 0;
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    if (count == nullptr) return cudaErrorInvalidValue;
    if (w.devices == 0) return cudaErrorNoDevice;
    *count = w.devices;
    return cudaSuccess;
  });
}
cudaError_t cudaGetDevice(int* device) {
  return call(call_kind::plain, __func__, [&](world&, hold&) {
    *device = current_device();
    return cudaSuccess;
  });
}
cudaError_t cudaSetDevice(int device) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    if (!exists(w, device)) return cudaErrorInvalidDevice;
    simulator::instance().thread().device = device;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    if (!exists(w, device)) return cudaErrorInvalidDevice;
    switch (attribute) {
      case cudaDevAttrMultiProcessorCount:
        *value = processors;
        break;
      case cudaDevAttrMaxThreadsPerBlock:
      case cudaDevAttrMaxBlockDimX:
        *value = 1024;
        break;
      case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = threads_of_processor;
        break;
      case cudaDevAttrMaxBlocksPerMultiprocessor:
        *value = 32;
        break;
      case cudaDevAttrMaxGridDimX:
        *value = 0x7FFFFFFF;
        break;
      case cudaDevAttrWarpSize:
        *value = 32;
        break;
      case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = 48 << 10;
        break;
      case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = 228 << 10;
        break;
      case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = most_shared_memory;
        break;
      case cudaDevAttrMaxRegistersPerBlock:
      case cudaDevAttrMaxRegistersPerMultiprocessor:
        *value = 65536;
        break;
      case cudaDevAttrComputeCapabilityMajor:
        *value = 9;
        break;
      case cudaDevAttrL2CacheSize:
        *value = 4 << 20;
        break;
      case cudaDevAttrClockRate:
      case cudaDevAttrMemoryClockRate:
        *value = 1000000;
        break;
      case cudaDevAttrGlobalMemoryBusWidth:
        *value = 512;
        break;
      case cudaDevAttrAsyncEngineCount:
        *value = 2;
        break;
      case cudaDevAttrMemoryPoolsSupported:
      case cudaDevAttrUnifiedAddressing:
      case cudaDevAttrConcurrentKernels:
      case cudaDevAttrCanMapHostMemory:
      case cudaDevAttrStreamPrioritiesSupported:
        *value = 1;
        break;
      case cudaDevAttrComputeCapabilityMinor:
      case cudaDevAttrPageableMemoryAccess:
      case cudaDevAttrManagedMemory:
      case cudaDevAttrIntegrated:
      case cudaDevAttrClusterLaunch:  // blocks run one after the other
      case cudaDevAttrComputeMode:
      case cudaDevAttrEccEnabled:
      case cudaDevAttrPciBusId:
      case cudaDevAttrPciDomainId:
        *value = 0;
        break;
      case cudaDevAttrPciDeviceId:
        *value = device;
        break;
      default:
        w.findings.add("not modelled: cudaDeviceGetAttribute is asked for attribute " +
                       std::to_string(static_cast<int>(attribute)));
        return cudaErrorInvalidValue;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* to, int device) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    if (!exists(w, device)) return cudaErrorInvalidDevice;
    *to = {};
    std::snprintf(to->name, sizeof to->name, "stand-in %d", device);
    std::memcpy(to->uuid.bytes, &device, sizeof device);
    to->totalGlobalMem = w.memory.capacity(device);
    to->sharedMemPerBlock = 48 << 10;
    to->sharedMemPerBlockOptin = most_shared_memory;
    to->sharedMemPerMultiprocessor = 228 << 10;
    to->regsPerBlock = to->regsPerMultiprocessor = 65536;
    to->warpSize = 32;
    to->maxThreadsPerBlock = to->maxThreadsDim[0] = to->maxThreadsDim[1] = 1024;
    to->maxThreadsDim[2] = 64;
    to->maxGridSize[0] = 0x7FFFFFFF;
    to->maxGridSize[1] = to->maxGridSize[2] = 65535;
    to->totalConstMem = 64 << 10;
    to->major = 9;
    to->multiProcessorCount = processors;
    to->maxThreadsPerMultiProcessor = threads_of_processor;
    to->maxBlocksPerMultiProcessor = 32;
    to->canMapHostMemory = to->concurrentKernels = to->unifiedAddressing = 1;
    to->streamPrioritiesSupported = to->memoryPoolsSupported = 1;
    to->asyncEngineCount = 2;
    to->memoryBusWidth = 512;
    to->l2CacheSize = 4 << 20;
    to->pciDeviceID = device;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = version_of(library::runtime, CUDART_VERSION);
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  simulator& s = simulator::instance();
  const hold h(s.guard);
  *version = s.now->absent == cudaSuccess ? CUDART_VERSION : 0;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    const int device = current_device();
    *total = w.memory.capacity(device);
    *free = *total - w.memory.used(device, {});
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call(call_kind::plain, __func__, [](world& w, hold& h) {
    if (w.streams.break_captures(current_device())) return cudaErrorStreamCaptureUnsupported;
    w.streams.wait(h, w.streams.clock_of_device(current_device()));
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return call(call_kind::plain, __func__, [&](world&, hold&) {
    if (least != nullptr) *least = 0;
    if (greatest != nullptr) *greatest = -5;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    if (!exists(w, device) || !exists(w, peer)) return cudaErrorInvalidDevice;
    *can = w.peers && device != peer ? 1 : 0;
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    if (!exists(w, peer) || peer == current_device()) return cudaErrorInvalidDevice;
    if (flags != 0) return cudaErrorInvalidValue;
    if (!w.peers) return cudaErrorPeerAccessUnsupported;
    bool& on = w.memory.reaches(current_device(), peer);
    if (on) return cudaErrorPeerAccessAlreadyEnabled;
    on = true;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  return call(call_kind::plain, __func__, [&](world& w, hold&) {
    if (!exists(w, device)) return cudaErrorInvalidDevice;
    w.pools[device].device = device;
    *pool = &w.pools[device];
    return cudaSuccess;
  });
}

namespace {

/// f(world, the pool), if the handle is one.
template <class F>
cudaError_t with_pool(const char* name, cudaMemPool_t pool, F f) {
  return call(call_kind::plain, name, [&](world& w, hold&) {
    for (auto& [device, each] : w.pools) {
      if (&each == pool) return f(w, each);
    }
    w.findings.add(std::string("handle: ") + name + " is given a pool that does not exist");
    return cudaErrorInvalidValue;
  });
}

}  // namespace

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return with_pool(__func__, pool, [&](world&, CUmemPoolHandle_st& p) {
    switch (attribute) {
      case cudaMemPoolAttrReleaseThreshold:
        std::memcpy(&p.release_threshold, value, sizeof p.release_threshold);
        return cudaSuccess;
      case cudaMemPoolReuseFollowEventDependencies:
      case cudaMemPoolReuseAllowOpportunistic:
      case cudaMemPoolReuseAllowInternalDependencies:
        std::memcpy(&p.reuse[attribute], value, sizeof(int));
        return cudaSuccess;
      case cudaMemPoolAttrReservedMemHigh:
      case cudaMemPoolAttrUsedMemHigh:
        return cudaSuccess;  // may be set to 0
      default:
        return cudaErrorInvalidValue;
    }
  });
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return with_pool(__func__, pool, [&](world& w, CUmemPoolHandle_st& p) {
    switch (attribute) {
      case cudaMemPoolAttrReleaseThreshold:
        std::memcpy(value, &p.release_threshold, sizeof p.release_threshold);
        return cudaSuccess;
      case cudaMemPoolReuseFollowEventDependencies:
      case cudaMemPoolReuseAllowOpportunistic:
      case cudaMemPoolReuseAllowInternalDependencies:
        std::memcpy(value, &p.reuse[attribute], sizeof(int));
        return cudaSuccess;
      case cudaMemPoolAttrReservedMemCurrent:
      case cudaMemPoolAttrUsedMemCurrent: {
        // nothing freed is kept
        const std::uint64_t bytes = w.memory.used(p.device, {});
        std::memcpy(value, &bytes, sizeof bytes);
        return cudaSuccess;
      }
      default:
        w.findings.add("not modelled: cudaMemPoolGetAttribute is asked for attribute " +
                       std::to_string(static_cast<int>(attribute)));
        return cudaErrorInvalidValue;
    }
  });
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, std::size_t) {
  return with_pool(__func__, pool, [](world&, CUmemPoolHandle_st&) { return cudaSuccess; });
}
cudaError_t cudaMemPoolSetAccess(cudaMemPool_t pool, const cudaMemAccessDesc* list,
                                 std::size_t count) {
  return with_pool(__func__, pool, [&](world& w, CUmemPoolHandle_st& p) {
    for (std::size_t i = 0; i < count; ++i) {
      const int from = list[i].location.id;
      if (list[i].location.type != cudaMemLocationTypeDevice || !exists(w, from)) {
        return cudaErrorInvalidDevice;
      }
      if (!w.peers && from != p.device) return cudaErrorInvalidDevice;
      w.memory.reaches_pool(from, p.device) = list[i].flags != cudaMemAccessFlagsProtNone;
    }
    return cudaSuccess;
  });
}
