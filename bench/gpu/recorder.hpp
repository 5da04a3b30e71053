// SPDX-License-Identifier: BSD-3-Clause
// A CUDA run-time that runs nothing and writes down what is launched; see recorder.cpp.
#pragma once

#include <string>

namespace recorder {

/// What a launch's arguments say of its work: members of a JSON object, none, or ", "-led.
using describe = std::string (*)(const void* arguments);
/// Says how to describe the launches of a kernel, which its stub names.
void tell(const void* stub, describe how);

}  // namespace recorder
