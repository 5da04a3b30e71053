# SPDX-License-Identifier: BSD-3-Clause
# heddle_warnings: the warnings heddle's own tests, examples and benches compile under. Never exported.
option(HEDDLE_WERROR "Treat warnings in heddle's tests, examples and benches as errors" OFF)

add_library(heddle_warnings INTERFACE)
target_compile_options(heddle_warnings INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow>")
if(HEDDLE_WERROR)
  target_compile_options(heddle_warnings INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:-Werror>"
                                         "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
endif()
