# SPDX-License-Identifier: BSD-3-Clause
# An overlay port of this source tree: vcpkg install heddle --overlay-ports=<tree>/cmake/vcpkg
# vcpkg keeps what it built of equal port files: after a change elsewhere in the tree add --no-binarycaching.
# Written from vcpkg's documentation; vcpkg itself has not installed it yet.
set(VCPKG_BUILD_TYPE release) # headers only: nothing differs in debug
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
vcpkg_cmake_configure(SOURCE_PATH "${SOURCE_PATH}" OPTIONS -DHEDDLE_BUILD_TESTS=OFF -DHEDDLE_BUILD_EXAMPLES=OFF
                      -DHEDDLE_INSTALL=ON)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/heddle)
vcpkg_fixup_pkgconfig()
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/licenses") # stands as share/heddle/copyright
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
