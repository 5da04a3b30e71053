# SPDX-License-Identifier: BSD-3-Clause
# The components of heddle: what each links and defines. Read by the build tree and by the installed
# package, so that both offer the same targets. Targets carry only what is needed to compile.

set(heddle_components host io cuda nccl compiled unfused)
# The directory of heddle's headers; the installed package sets its own.
if(NOT DEFINED heddle_include_directory)
  get_filename_component(heddle_include_directory "${CMAKE_CURRENT_LIST_DIR}/../include" ABSOLUTE)
endif()

# heddle_find_component(<name> [GLOBAL]): creates heddle::<name> if its dependencies are found.
# Sets heddle_<name>_FOUND, and heddle_<name>_NOT_FOUND_MESSAGE (one sentence) when it is not.
macro(heddle_find_component heddle_component)
  set(heddle_${heddle_component}_FOUND FALSE)
  set(heddle_${heddle_component}_NOT_FOUND_MESSAGE "")
  if(TARGET heddle::${heddle_component})
    set(heddle_${heddle_component}_FOUND TRUE)
  elseif("${heddle_component}" IN_LIST heddle_components)
    set(heddle_saved_targets_global "${CMAKE_FIND_PACKAGE_TARGETS_GLOBAL}")
    if("${ARGN}" STREQUAL "GLOBAL")
      set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL TRUE)
    endif()
    cmake_language(CALL heddle_find_${heddle_component} ${ARGN})
    set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL "${heddle_saved_targets_global}")
    unset(heddle_saved_targets_global)
    if(TARGET heddle::${heddle_component})
      set(heddle_${heddle_component}_FOUND TRUE)
    endif()
  else()
    list(JOIN heddle_components ", " heddle_component_names)
    set(heddle_${heddle_component}_NOT_FOUND_MESSAGE
        "heddle has no component '${heddle_component}'; it has: ${heddle_component_names}.")
    unset(heddle_component_names)
  endif()
endmacro()

# Host contractions on oneDNN, host threads on OpenMP (one pool for both). oneDNN is found by its
# header and library: Debian's package configuration of it also demands OpenCL, which heddle does not.
macro(heddle_find_host)
  find_package(OpenMP QUIET COMPONENTS CXX)
  if(NOT TARGET DNNL::dnnl)
    find_path(HEDDLE_DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
    find_library(HEDDLE_DNNL_LIBRARY dnnl)
    mark_as_advanced(HEDDLE_DNNL_INCLUDE_DIR HEDDLE_DNNL_LIBRARY)
    if(HEDDLE_DNNL_INCLUDE_DIR AND HEDDLE_DNNL_LIBRARY)
      add_library(DNNL::dnnl UNKNOWN IMPORTED ${ARGN})
      set_target_properties(
        DNNL::dnnl PROPERTIES IMPORTED_LOCATION "${HEDDLE_DNNL_LIBRARY}"
                              INTERFACE_INCLUDE_DIRECTORIES "${HEDDLE_DNNL_INCLUDE_DIR}")
    endif()
  endif()
  if(NOT TARGET DNNL::dnnl)
    set(heddle_host_NOT_FOUND_MESSAGE
        "Component 'host' of heddle needs oneDNN, which was not found: install libdnnl-dev.")
  elseif(NOT TARGET OpenMP::OpenMP_CXX)
    set(heddle_host_NOT_FOUND_MESSAGE
        "Component 'host' of heddle needs OpenMP, which was not found: install g++ (with clang, libomp-dev).")
  else()
    add_library(heddle::host INTERFACE IMPORTED ${ARGN})
    target_compile_definitions(heddle::host INTERFACE HEDDLE_WITH_ONEDNN=1)
    target_link_libraries(heddle::host INTERFACE heddle::heddle DNNL::dnnl OpenMP::OpenMP_CXX)
  endif()
endmacro()

# File formats that need JSON; TensorBoard's, which need Protocol Buffers and zlib. protozero is found by
# its header: it has no package configuration.
macro(heddle_find_io)
  find_package(nlohmann_json CONFIG QUIET)
  find_package(ZLIB QUIET)
  find_path(HEDDLE_PROTOZERO_INCLUDE_DIR protozero/pbf_writer.hpp)
  mark_as_advanced(HEDDLE_PROTOZERO_INCLUDE_DIR)
  if(NOT TARGET nlohmann_json::nlohmann_json)
    set(heddle_io_NOT_FOUND_MESSAGE
        "Component 'io' of heddle needs nlohmann-json, which was not found: install nlohmann-json3-dev.")
  elseif(NOT HEDDLE_PROTOZERO_INCLUDE_DIR)
    set(heddle_io_NOT_FOUND_MESSAGE
        "Component 'io' of heddle needs protozero, which was not found: install libprotozero-dev.")
  elseif(NOT TARGET ZLIB::ZLIB)
    set(heddle_io_NOT_FOUND_MESSAGE
        "Component 'io' of heddle needs zlib, which was not found: install zlib1g-dev.")
  else()
    add_library(heddle::io INTERFACE IMPORTED ${ARGN})
    target_compile_definitions(heddle::io INTERFACE HEDDLE_WITH_JSON=1)
    target_include_directories(heddle::io SYSTEM INTERFACE "${HEDDLE_PROTOZERO_INCLUDE_DIR}")
    target_link_libraries(heddle::io INTERFACE heddle::heddle nlohmann_json::nlohmann_json ZLIB::ZLIB)
  endif()
endmacro()

# CUDA: the run-time and cuBLASLt. Units that nvcc compiles bring the kernels; those of other compilers
# reach the devices through them.
macro(heddle_find_cuda)
  find_package(CUDAToolkit 12.4 QUIET)
  if(NOT TARGET CUDA::cudart OR NOT TARGET CUDA::cublasLt)
    set(heddle_cuda_NOT_FOUND_MESSAGE
        "Component 'cuda' of heddle needs the CUDA Toolkit, 12.4 or later, with cuBLASLt, which was not found: install it, or set CUDAToolkit_ROOT.")
  else()
    add_library(heddle::cuda INTERFACE IMPORTED ${ARGN})
    target_compile_definitions(heddle::cuda INTERFACE HEDDLE_WITH_CUBLASLT=1)
    # CMake 3.25 does not know how nvcc is asked for C++20.
    target_compile_options(heddle::cuda INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>")
    target_link_libraries(heddle::cuda INTERFACE heddle::heddle CUDA::cudart CUDA::cublasLt)
  endif()
endmacro()

# Ranks on CUDA devices. NCCL has no package configuration of its own.
macro(heddle_find_nccl)
  if(NOT TARGET heddle::cuda)
    heddle_find_cuda(${ARGN})
  endif()
  if(NOT TARGET NCCL::nccl)
    find_path(HEDDLE_NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
    find_library(HEDDLE_NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
    mark_as_advanced(HEDDLE_NCCL_INCLUDE_DIR HEDDLE_NCCL_LIBRARY)
    if(HEDDLE_NCCL_INCLUDE_DIR AND HEDDLE_NCCL_LIBRARY)
      add_library(NCCL::nccl UNKNOWN IMPORTED ${ARGN})
      set_target_properties(
        NCCL::nccl PROPERTIES IMPORTED_LOCATION "${HEDDLE_NCCL_LIBRARY}"
                              INTERFACE_INCLUDE_DIRECTORIES "${HEDDLE_NCCL_INCLUDE_DIR}")
    endif()
  endif()
  if(NOT TARGET heddle::cuda)
    string(REPLACE "'cuda'" "'nccl'" heddle_nccl_NOT_FOUND_MESSAGE
                   "${heddle_cuda_NOT_FOUND_MESSAGE}")
  elseif(NOT TARGET NCCL::nccl)
    set(heddle_nccl_NOT_FOUND_MESSAGE
        "Component 'nccl' of heddle needs NCCL, which was not found: install libnccl-dev.")
  else()
    add_library(heddle::nccl INTERFACE IMPORTED ${ARGN})
    target_link_libraries(heddle::nccl INTERFACE heddle::cuda NCCL::nccl)
  endif()
endmacro()

# What does not depend on a program's own types, compiled once for all its units. Units that nvcc compiles
# stay as they are: their configuration is another.
macro(heddle_find_compiled)
  add_library(heddle::compiled INTERFACE IMPORTED ${ARGN})
  target_compile_definitions(heddle::compiled
                             INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:HEDDLE_COMPILED=1>")
  target_sources(heddle::compiled INTERFACE "${heddle_include_directory}/heddle/compiled.cpp")
  target_link_libraries(heddle::compiled INTERFACE heddle::heddle)
endmacro()

# A build that compiles fast and runs slowly: statements are interpreted.
macro(heddle_find_unfused)
  if(NOT TARGET heddle::compiled)
    heddle_find_compiled(${ARGN})
  endif()
  add_library(heddle::unfused INTERFACE IMPORTED ${ARGN})
  target_compile_definitions(heddle::unfused INTERFACE HEDDLE_UNFUSED=1)
  target_link_libraries(heddle::unfused INTERFACE heddle::compiled)
endmacro()
