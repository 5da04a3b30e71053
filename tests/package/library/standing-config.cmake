# SPDX-License-Identifier: BSD-3-Clause
include(CMakeFindDependencyMacro)
find_dependency(heddle 0.1 CONFIG COMPONENTS io)
include("${CMAKE_CURRENT_LIST_DIR}/standing-targets.cmake")
