# SPDX-License-Identifier: BSD-3-Clause
# What ctest runs of this example: exit statuses, the one line of each failure, and the accuracy.
add_test(NAME example_digits COMMAND "${CMAKE_CURRENT_LIST_DIR}/check" "$<TARGET_FILE:digits>"
                                     "${CMAKE_CURRENT_LIST_DIR}/../data/digits.csv")
set_tests_properties(example_digits PROPERTIES LABELS host TIMEOUT 300)
