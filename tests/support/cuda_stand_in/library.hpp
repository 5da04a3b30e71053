// SPDX-License-Identifier: BSD-3-Clause
// What the stand-in's libraries share: the frame around each of their functions, and the objects
// behind their handles.
#pragma once

#include <cstring>

#include "simulator.hpp"

namespace stand_in {

/// As call(), for a library: an error is told as status_of says, and not left for cudaGetLastError.
template <class Status, class F>
Status call_library(call_kind kind, const char* name, Status (*status_of)(cudaError_t), F f) {
  simulator& s = simulator::instance();
  hold h(s.guard);
  const cudaError_t may = s.begin_call(kind, name);
  if (may != cudaSuccess) return status_of(may);
  const Status how = f(*s.now, h);
  return s.now->sticky != cudaSuccess ? status_of(s.now->sticky) : how;
}

/// The handle of a new object.
template <class T>
T* add_object(world& w, const std::shared_ptr<T>& value, const char* kind, int device) {
  w.objects[value.get()] = {kind, ++w.objects_made, device, false, value};
  return value.get();
}

/// What a handle stands for; null and a finding if nothing of this kind, or no longer.
inline library_object* find_object(world& w, const void* handle, const char* kind,
                                   const char* call) {
  const auto found = w.objects.find(handle);
  if (found == w.objects.end() || found->second.destroyed ||
      std::strcmp(found->second.kind, kind) != 0) {
    w.findings.add(std::string("handle: ") + call + " is given no " + kind +
                   ", or one that was destroyed");
    return nullptr;
  }
  return &found->second;
}
template <class T>
T* find(world& w, const void* handle, const char* kind, const char* call) {
  library_object* const found = find_object(w, handle, kind, call);
  return found == nullptr ? nullptr : static_cast<T*>(found->value.get());
}

}  // namespace stand_in
